"""What journeys are read from: histories, order lines, kinds of items, and what subjects are told apart by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features import columns as c
from features.build import histories_as_of, resolved_sql
from features.dataset import Dataset, events_as_of, versions_as_of
from features.errors import DataError, NotFoundError
from features.history import Histories, History
from features.journey import Rows
from features.moments import format_instant
from features.orders import OrderLine, Step
from training.known import Dimension, coded

TOLD = (c.CHANNEL, c.TRAFFIC_SOURCE, c.DEVICE)
"""Columns of events by which subjects can be told apart: as the first event says that has one."""
COLUMNS = (*TOLD, c.REGION, "tier")
"""All that can be told apart by, with the keys of the customers' attributes."""
_EVENTS = (c.EVENT_ID, c.OCCURRED_AT, c.CUSTOMER_ID, c.VISITOR_ID, c.TYPE, *TOLD, c.REGION)


@dataclass(frozen=True)
class Travellers:
    """All subjects of a shop, as known at a moment.

    Args:
        subjects: their ids, those of the histories first.
        histories: events; the last subjects may have none, but order lines.
        steps: the steps of order lines, by subject, line and moment.
        offsets: int64[subjects + 1]; subject s owns steps[offsets[s]:offsets[s + 1]].
        category: int32[items], the kind of each item, -1 unknown; None: no item has one.
        group: of each subject; None: nobody asked.
        gone: how many of the subjects were erased; these have neither events nor steps.
    """

    subjects: Sequence[str]
    histories: Histories
    steps: pa.Table
    offsets: npt.NDArray[np.int64]
    category: Rows | None
    group: Dimension | None
    gone: int = 0

    def __len__(self) -> int:
        return len(self.subjects)

    def history(self, row: int) -> History:
        """The events of a subject."""
        return self.histories.at(row) if row < len(self.histories) else History.empty()

    def lines(self, row: int) -> list[OrderLine]:
        """The order lines of a subject."""
        start, end = int(self.offsets[row]), int(self.offsets[row + 1])
        return lines_of(self.steps.slice(start, end - start)) if end > start else []


def read(
    dataset: Dataset, until: int | None, by: str | None = None, erased: Callable[[str], bool] | None = None
) -> tuple[Travellers, int]:
    """Everything that journeys need, and the moment as of which it is known.

    Args:
        dataset: with events, orders or both.
        until: microseconds; None: just after the last event or step.
        by: one of `COLUMNS` or a key of the customers' attributes.
        erased: whether a subject was erased; such subjects are left out.

    Raises:
        DataError: no dataset, or nothing in it by then.
        NotFoundError: nothing is told apart by that name.
    """
    amended = dataset.manifest().amended
    with dataset.connect() as duck:
        now = _latest(duck) if until is None else until
        histories = histories_as_of(dataset, now)
        steps = _steps(duck, now)
        known = set(histories.subjects)
        subjects = [*histories.subjects, *sorted(set(steps["subject"].to_pylist()) - known)]
        if not subjects:
            hint = "import or sync events first, or ask for a later moment (--until)"
            raise DataError("nothing is known of anybody", where=str(dataset.root), got=format_instant(now), hint=hint)
        duck.execute(
            f"CREATE TEMP VIEW source_events AS SELECT {', '.join(_EVENTS)} FROM ({events_as_of(now, amended=amended)})"
        )
        category = _kinds(duck, histories, now)
        group = None if by is None else _group(duck, subjects, by, now)
    places = {subject: row for row, subject in enumerate(subjects)}
    steps, offsets = _sorted(steps, places, len(subjects))
    made = Travellers(subjects, histories, steps, offsets, category, group)
    return (made if erased is None else _without(made, erased)), now


def lines_of(steps: pa.Table) -> list[OrderLine]:
    """Order lines from their steps, which lie by line and moment; only what a stage needs."""
    found: dict[tuple[str, str], list[Step]] = {}
    about: dict[tuple[str, str], tuple[str, int | None]] = {}
    for row in steps.to_pylist():
        key = row[c.ORDER_ID], row[c.LINE]
        found.setdefault(key, []).append(Step(row["moment"], row["state"] or ""))
        item, ordered = about.get(key, ("", None))
        about[key] = row[c.ITEM_ID] or item, row["ordered"] if ordered is None else ordered
    return [
        OrderLine(*key, about[key][0], made[0].at if about[key][1] is None else int(about[key][1] or 0), tuple(made))
        for key, made in found.items()
    ]


def _latest(duck: duckdb.DuckDBPyConnection) -> int:
    found = duck.execute(f"""
        SELECT max(m) FROM (SELECT epoch_us(max({c.OCCURRED_AT})) AS m FROM events
                            UNION ALL SELECT epoch_us(max({c.VALID_FROM})) FROM orders)""").fetchall()[0][0]
    return int(found or 0) + 2  # what happened at an instant is known right after it


def _steps(duck: duckdb.DuckDBPyConnection, now: int) -> pa.Table:
    """What is known of order lines whose customer is known; a step does not repeat the customer."""
    return duck.sql(f"""
        SELECT 'c:' || owner AS subject, {c.ORDER_ID}, {c.LINE}, {c.ITEM_ID}, epoch_us({c.VALID_FROM}) AS moment,
               epoch_us(ordered_at) AS ordered, shipment_state AS state
        FROM (SELECT *, max({c.CUSTOMER_ID}) OVER (PARTITION BY {c.ORDER_ID}, {c.LINE}) AS owner FROM orders
              WHERE {c.VALID_FROM} < make_timestamptz({now}))
        WHERE owner IS NOT NULL ORDER BY subject, {c.ORDER_ID}, {c.LINE}, moment, {c.SOURCE}""").to_arrow_table()


def _sorted(steps: pa.Table, places: Mapping[str, int], n: int) -> tuple[pa.Table, npt.NDArray[np.int64]]:
    """Steps in the order of the subjects, and where each begins."""
    rows = np.fromiter((places[subject] for subject in steps["subject"].to_pylist()), np.int64, len(steps))
    order = np.argsort(rows, kind="stable")
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(rows, minlength=n), dtype=np.int64)])
    return steps.take(pa.array(order)), offsets


def _kinds(duck: duckdb.DuckDBPyConnection, histories: Histories, now: int) -> Rows | None:
    rows = duck.sql(
        f"SELECT {c.ITEM_ID}, array_to_string({c.CATEGORY}, ' > ') AS kind FROM ({versions_as_of('items', now)}) "
        f"WHERE len({c.CATEGORY}) > 0"
    ).to_arrow_table()
    if not len(rows):
        return None
    found = np.full(len(histories.items), -1, np.int32)
    place = histories.items.rows_of(rows[c.ITEM_ID].to_pylist())
    found[place[place >= 0]] = coded(rows["kind"].to_pylist()).code[place >= 0]
    return found


def _group(duck: duckdb.DuckDBPyConnection, subjects: Sequence[str], by: str, now: int) -> Dimension:
    """What each subject is told apart by; -1 unknown."""
    if by in TOLD:
        told = _of_events(duck, by, now, first=True)
    elif by == c.REGION:
        told = _of_events(duck, by, now, first=False) | _of_customers(duck, c.REGION, now)
    elif by == "tier":
        told = _of_customers(duck, "tier", now)
    else:
        told = _attribute(duck, by, now)
    return coded([told.get(subject) for subject in subjects])


def _of_events(duck: duckdb.DuckDBPyConnection, column: str, now: int, *, first: bool) -> dict[str, str]:
    chosen = "arg_min" if first else "arg_max"
    resolved = resolved_sql("source_events", c.OCCURRED_AT, now)
    return dict(duck.execute(
        f"SELECT subject, {chosen}({column}, ({c.OCCURRED_AT}, {c.EVENT_ID})) FROM ({resolved}) "
        f"WHERE {column} IS NOT NULL GROUP BY subject"
    ).fetchall())  # fmt: skip


def _of_customers(duck: duckdb.DuckDBPyConnection, told: str, now: int, *given: str) -> dict[str, str]:
    return dict(duck.execute(
        f"SELECT 'c:' || {c.CUSTOMER_ID}, told FROM (SELECT {c.CUSTOMER_ID}, {told} AS told "
        f"FROM ({versions_as_of('customers', now)})) WHERE told IS NOT NULL", list(given),
    ).fetchall())  # fmt: skip


def _attribute(duck: duckdb.DuckDBPyConnection, by: str, now: int) -> dict[str, str]:
    """A key of the customers' attributes.

    Raises:
        NotFoundError: no customer has such a key.
    """
    keys = duck.execute(
        f"SELECT DISTINCT unnest(json_keys({c.ATTRIBUTES})) AS key FROM customers "
        f"WHERE {c.ATTRIBUTES} IS NOT NULL ORDER BY key"
    ).fetchall()
    names = [key for (key,) in keys]
    if by not in names:
        hint = f"known are {', '.join((*COLUMNS, *names))}"
        raise NotFoundError("subjects are not told apart by this", where="--by", got=by, hint=hint)
    quoted = by.replace("\\", "\\\\").replace('"', '\\"')
    return _of_customers(duck, f"json_extract_string({c.ATTRIBUTES}, ?)", now, f'$."{quoted}"')


def _without(made: Travellers, erased: Callable[[str], bool]) -> Travellers:
    """The same with the subjects' rows kept, but nothing in those of the erased."""
    gone = np.fromiter(map(erased, made.subjects), bool, len(made))
    if not gone.any():
        return made
    rows = np.repeat(np.arange(len(made)), np.diff(made.offsets))
    counts = np.where(gone, 0, np.diff(made.offsets))
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
    kept = made.histories.where(~gone[made.histories.subject_rows()])
    steps = made.steps.filter(pa.array(~gone[rows]))
    return replace(made, histories=kept, steps=steps, offsets=offsets, gone=int(gone.sum()))
