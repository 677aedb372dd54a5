"""What is learned of deliveries from: order lines as of a moment, what their items are, and spells in each state."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from features import columns as c
from features.dataset import Dataset, versions_as_of
from features.history import customer_subject
from features.ids import Vocabulary
from features.moments import DAY, format_instant
from features.orders import OrderLine, Step
from serving.delivery import CLASS_EDGES, CLASSES, STATES, class_of

Doubles = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Kinds:
    """What items are, as of a moment.

    Args:
        items: their ids.
        category: int32[n], a code of the category; -1 unknown.
        lead_class: int8[n], place in `CLASSES` by the lead time that the catalogue says; -1: it says none.
    """

    items: Vocabulary
    category: npt.NDArray[np.int32]
    lead_class: npt.NDArray[np.int8]

    def of(self, line: OrderLine) -> tuple[int, int, int]:
        """Row, category and lead class of a line's item; the class by the promise where the catalogue says none."""
        return self._at(self.items.find(line.item_id), line)

    def of_each(self, lines: Sequence[OrderLine]) -> Whole:
        """int64[n, 3]: `of` each of some lines. Millions of them are about far fewer items: each is looked up once."""
        rows = {text: self.items.find(text) for text in {line.item_id for line in lines}}
        return np.array([self._at(rows[line.item_id], line) for line in lines], np.int64).reshape(-1, 3)

    def _at(self, row: int | None, line: OrderLine) -> tuple[int, int, int]:
        if row is None:
            return -1, -1, class_of(line)
        known = int(self.lead_class[row])
        return row, int(self.category[row]), known if known >= 0 else class_of(line)


def kinds_of(
    dataset: Dataset, as_of: int, *, items: Vocabulary | None = None, category: npt.NDArray[np.int32] | None = None
) -> Kinds:
    """What the items of a dataset are, as of a moment.

    Args:
        dataset: the tables.
        as_of: microseconds.
        items: whose rows are meant; default: all that the catalogue or an order names, sorted.
        category: int32[n], codes that are used already; default: places of the sorted paths.
    """
    with dataset.connect() as duck:
        columns = f"{c.ITEM_ID}, array_to_string({c.CATEGORY}, ' > ') AS path, lead_time_days"
        rows = duck.sql(f"SELECT {columns} FROM ({versions_as_of('items', as_of)})").to_arrow_table().to_pydict()
        if items is None:
            named = duck.sql(f"SELECT DISTINCT {c.ITEM_ID} FROM orders WHERE {c.ITEM_ID} IS NOT NULL").fetchall()
            items = Vocabulary.of(sorted({*rows[c.ITEM_ID], *(name for (name,) in named)}))
    places = {path: code for code, path in enumerate(sorted({path for path in rows["path"] if path}))}
    codes, classes = np.full(len(items), -1, np.int32), np.full(len(items), -1, np.int8)
    for at, path, days in zip(items.rows_of(rows[c.ITEM_ID]), rows["path"], rows["lead_time_days"], strict=True):
        if at >= 0:
            codes[at] = places.get(path, -1)
            classes[at] = -1 if days is None else bisect_right(CLASS_EDGES, days)
    return Kinds(items, codes if category is None else category, classes)


def read_lines(
    dataset: Dataset, as_of: int, left_out: Callable[[str], bool] = lambda subject: False
) -> list[OrderLine]:
    """All order lines with the steps before a moment, by order and line; what a step does not say is as said last.

    A line is its customer's whichever of its steps names him; those of subjects that are left out are not read.

    The table has no column for what a carrier confirms, so `confirmed_for` is not known here.
    """
    with dataset.connect() as duck:
        rows = (
            duck.sql(f"""
            SELECT {c.ORDER_ID}, {c.LINE}, last_value({c.ITEM_ID} IGNORE NULLS) OVER line AS item_id,
                last_value({c.CUSTOMER_ID} IGNORE NULLS) OVER line AS customer_id, epoch_us({c.VALID_FROM}) AS at,
                epoch_us(last_value(ordered_at IGNORE NULLS) OVER line) AS ordered,
                epoch_us(promised_at) AS promised, shipment_state AS state
            FROM orders WHERE {c.VALID_FROM} < TIMESTAMPTZ '{format_instant(as_of)}'
            WINDOW line AS (PARTITION BY {c.ORDER_ID}, {c.LINE} ORDER BY {c.VALID_FROM}, {c.SOURCE}
                            ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
            ORDER BY {c.ORDER_ID}, {c.LINE}, {c.VALID_FROM}, {c.SOURCE}""")
            .to_arrow_table()
            .to_pydict()
        )
    found: list[OrderLine] = []
    steps: list[Step] = []
    named = list(zip(rows[c.ORDER_ID], rows[c.LINE], strict=True))
    for place, key in enumerate(named):
        steps.append(Step(rows["at"][place], rows["state"][place] or "", promised_at=rows["promised"][place]))
        if place + 1 < len(named) and named[place + 1] == key:
            continue
        customer = rows[c.CUSTOMER_ID][place]
        if not (customer and left_out(customer_subject(customer))):
            ordered = rows["ordered"][place]
            found.append(
                OrderLine(*key, rows[c.ITEM_ID][place] or "", steps[0].at if ordered is None else ordered, tuple(steps))
            )
        steps = []
    return found


@dataclass(frozen=True, slots=True)
class Spells:
    """Times that lines spent in a state under one promise, as known at a moment.

    Args:
        line: int64[s], which line.
        state: int64[s], place in `STATES`.
        began: int64[s], when the state began.
        promised: int64[s], what was promised last; meaningless where `has_promise` is False.
        has_promise: bool[s].
        start, end: int64[s], [start, end) of the spell; one that goes on ends at the moment.
        delivered: int64[s], when the line was delivered; the moment itself where it has not been.
        known: bool[s], whether it was delivered.
    """

    line: Whole
    state: Whole
    began: Whole
    promised: Whole
    has_promise: Mask
    start: Whole
    end: Whole
    delivered: Whole
    known: Mask

    def __len__(self) -> int:
        return len(self.line)


def spells_of(lines: Sequence[OrderLine], as_of: int) -> Spells:
    """The spells of all lines that were delivered or are under way: other ends compete and are left out.

    Args:
        lines: as known at `as_of`.
        as_of: microseconds.
    """
    rows: list[tuple[Any, ...]] = []
    for place, line in enumerate(lines):
        delivered = line.delivered_at
        if delivered is None and not line.is_open:
            continue
        rows += [(place, *spell, as_of if delivered is None else delivered, delivered is not None)
                 for spell in _spells(line, as_of)]  # fmt: skip
    columns = list(zip(*rows, strict=True)) or [()] * len(Spells.__slots__)
    kinds: dict[str, Any] = {"has_promise": np.bool_, "known": np.bool_}
    arrays: Any = [
        np.array(column, kinds.get(name, np.int64)) for name, column in zip(Spells.__slots__, columns, strict=True)
    ]
    return Spells(*arrays)


def _spells(line: OrderLine, as_of: int) -> list[tuple[int, int, int, bool, int, int]]:
    """State, when it began, promise, whether there is one, start and end of each spell of a line."""
    found: list[tuple[int, int, int, bool, int, int]] = []
    state, began, promised, start = "confirmed", line.steps[0].at, line.steps[0].promised_at, line.steps[0].at
    for step in (*line.steps, Step(as_of, "the end")):
        after = promised if step.promised_at is None else step.promised_at
        if step.state in ("", state) and after == promised:
            continue
        if state in STATES and step.at > start:
            found.append((STATES.index(state), began, promised or 0, promised is not None, start, step.at))
        if step.state not in ("", state):
            state, began = step.state, step.at
        promised, start = after, step.at
        if state not in STATES:
            break
    return found


@dataclass(frozen=True, slots=True)
class Groups:
    """Items in groups, each with the wider one that it is drawn to.

    Args:
        level: int8[g], place in `serving.delivery.LEVELS`; group 0 is all.
        parent: int64[g]; of group 0 it is 0.
        of_line: int64[lines, levels], the group of each line at each level; -1: it has none.
        item: int32[items], category: int32[categories], lead_class: int32[classes]; the group, or -1.
    """

    level: npt.NDArray[np.int8]
    parent: Whole
    of_line: Whole
    item: npt.NDArray[np.int32]
    category: npt.NDArray[np.int32]
    lead_class: npt.NDArray[np.int32]


def groups_of(lines: Sequence[OrderLine], kinds: Kinds, *, least: int, most: int) -> Groups:
    """Groups of what was delivered: all, lead classes, categories, and the items that were delivered most.

    A category is drawn to the lead class that most of its lines have, an item to its category, else to such a class.

    Args:
        lines: as known at a moment.
        kinds: of their items.
        least: deliveries that an item needs for a group of its own.
        most: items with a group of their own, at most.
    """
    row, category, lead = kinds.of_each(lines).T
    done = np.array([line.delivered_at is not None for line in lines], bool)
    counts = np.bincount(row[done & (row >= 0)], minlength=len(kinds.items))
    own = np.argsort(-counts, kind="stable")[:most]
    own = np.sort(own[counts[own] >= max(least, 1)])
    classes, categories = (np.unique(each[done & (each >= 0)]) for each in (lead, category))
    first = np.cumsum([1, len(classes), len(categories)])
    sizes = (len(CLASSES), int(kinds.category.max(initial=-1)) + 1, len(kinds.items))
    tables = [np.full(size, -1, np.int32) for size in sizes]
    for table, codes, begin in zip(tables, (classes, categories, own), first, strict=True):
        table[codes] = begin + np.arange(len(codes))
    level = np.repeat(np.arange(4, dtype=np.int8), [1, len(classes), len(categories), len(own)])
    of_line = np.stack([np.zeros(len(row), np.int64), *(np.where(codes >= 0, np.append(table, -1)[codes], -1)
                        for table, codes in zip(tables, (lead, category, row), strict=True))], axis=1)  # fmt: skip
    return Groups(level, _parents(of_line, len(level)), of_line, tables[2], tables[1], tables[0])


def _parents(of_line: Whole, groups: int) -> Whole:
    """The wider group that most lines of each group have; the narrowest wider level that there is."""
    parent = np.zeros(groups, np.int64)
    for narrow in range(2, of_line.shape[1]):
        wider = np.zeros(len(of_line), np.int64)
        for wide in range(1, narrow):
            wider = np.where(of_line[:, wide] >= 0, of_line[:, wide], wider)
        here = of_line[:, narrow] >= 0
        pairs, count = np.unique(np.stack([of_line[here, narrow], wider[here]]), axis=1, return_counts=True)
        for place in np.argsort(count, kind="stable"):
            parent[pairs[0, place]] = pairs[1, place]
    return parent


def counted(lines: Sequence[OrderLine]) -> dict[str, int]:
    """How many lines there are, were delivered, are under way, or ended otherwise: cancelled, lost, came back."""
    found = {"lines": len(lines), "delivered": 0, "open": 0, "cancelled": 0, "lost": 0, "returned": 0}
    for line in lines:
        key = "delivered" if line.delivered_at is not None else "open" if line.is_open else line.state
        found[key] += 1
    return found


def span_of(lines: Sequence[OrderLine], as_of: int) -> float:
    """Days from the first order to a moment; 0 without any."""
    return (as_of - min(line.ordered_at for line in lines)) / DAY if lines else 0.0


def before(lines: Sequence[OrderLine], moment: int) -> list[OrderLine]:
    """Lines as known at an earlier moment, in the same order; those that were not known yet are left out."""
    return [known for line in lines if (known := _before(line, moment)) is not None]


def _before(line: OrderLine, moment: int) -> OrderLine | None:
    """As `OrderLine.as_of`, without a copy where nothing is left out."""
    kept = bisect_left(line.steps, moment, key=lambda step: step.at)
    return line if kept == len(line.steps) else line.as_of(moment) if kept else None
