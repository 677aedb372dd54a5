"""When an open order line arrives: an earliest, a likely and a latest instant, from tables that a bundle carries.

A table holds quantiles of the days from an anchor to the delivery, given the state, the clock (how long ago the anchor
was) and a group of items. There are two anchors: when the state began, and what was promised last; training has chosen
one for each state. While nothing is told the clock runs on, and `likely` and `latest` never move to an earlier instant.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from features.ids import Array
from features.moments import DAY
from features.orders import OrderLine, named_after
from serving.bundle import Bundle

STATES: Final = ("confirmed", "in_production", "shipped", "attempted", "ready_for_pickup")
"""Shipment states in which a line is under way, in the order of the tables."""
LEVELS: Final = ("all", "lead time", "category", "item")
"""What a group of items has in common, widest first."""
CLASS_EDGES: Final = (1.5, 3.5, 7.5, 14.5, 35.5)
"""Days of lead time between the classes."""
CLASSES: Final = ("up to 1 day", "2 to 3 days", "4 to 7 days", "8 to 14 days", "15 to 35 days", "over 35 days")
STATE_BEGAN, PROMISE = 0, 1
"""The anchors."""
_STATE: Final = {name: row for row, name in enumerate(STATES)}


@dataclass(frozen=True, slots=True)
class Expected:
    """When a line is expected; instants in microseconds.

    Args:
        earliest, latest: four of five deliveries fall between them; neither is before the moment of asking.
        likely: as many come before as after it.
        day: the instant that the carrier has named; None: nobody has, and no single day may be said.
        late: after what was promised first: already, or likely.
        source: what told it, one of `LEVELS`.
    """

    earliest: int
    likely: int
    latest: int
    day: int | None
    late: bool
    source: str


class Curve(NamedTuple):
    """Quantiles of a line's delivery at a moment.

    Args:
        state: place in `STATES`.
        anchor: the instant that days are counted from.
        days: one for each level of the table, never falling.
        source: one of `LEVELS`.
    """

    state: int
    anchor: int
    days: list[float]
    source: str


class Deliveries:
    """Predicts deliveries from the arrays `delivery.*`.

    Args:
        arrays: without their prefix.

            - `table` float32[2 anchors, 5 states, groups, clocks, 4], days from the anchor to the earliest, likely and
              latest delivery, and to the latest of a line that is late already; NaN: never seen;
            - `clock` float64[2, clocks], days since the anchor, rising;
            - `anchor` int8[5], which anchor a state uses where a promise is known;
            - `level` int8[groups], place in `LEVELS`; group 0 is all items;
            - `item_group` int32[items], `category_group` int32[categories], `class_group` int32[6]; -1: has none;
            - `item_class` int8[items], place in `CLASSES` by the catalogue; -1: it says none.
    """

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self.table = cast("npt.NDArray[np.float32]", arrays["table"])
        self._clocks: list[list[float]] = arrays["clock"].tolist()
        self._anchor: list[int] = arrays["anchor"].tolist()
        self._source: list[str] = [LEVELS[level] for level in cast("list[int]", arrays["level"].tolist())]
        self._items, self._classes = arrays["item_group"], arrays["item_class"]
        self._categories: list[int] = arrays["category_group"].tolist()
        self._of_class: list[int] = arrays["class_group"].tolist()

    @classmethod
    def of(cls, bundle: Bundle) -> Deliveries | None:
        """Those of a bundle; None where it has learned none (too few orders, or made before there were any)."""
        return cls.from_arrays(bundle.arrays)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Deliveries | None:
        """As `of`, from arrays named `delivery.<name>`."""
        mine = {key.removeprefix("delivery."): array for key, array in arrays.items() if key.startswith("delivery.")}
        return cls(mine) if mine else None

    def predict(self, line: OrderLine, row: int, category: int, now: int) -> Expected | None:
        """When a line is expected, as known at a moment.

        A line that is late already gets an interval that begins now.

        Args:
            line: as known at `now`.
            row: of its item in the bundle; -1 unknown.
            category: code of its category in the bundle; -1 unknown.
            now: microseconds.

        Returns:
            None where nothing is under way, or nothing was learned of its state.
        """
        told = Told.of(line)
        curve = self._curve(line, told, row, category, now)
        if curve is None:
            return None
        is_late = told.first_promised is not None and told.first_promised < now
        anchor, (low, middle, high, high_late) = curve.anchor, curve.days
        likely = max(now, anchor + int(middle * DAY))
        latest = max(now, anchor + int((high_late if is_late else high) * DAY))
        day = told.confirmed_for
        return Expected(
            earliest=now if is_late else max(now, anchor + int(low * DAY)), likely=likely, latest=latest,
            day=day if day is not None and day > now - DAY else None,
            late=is_late or (told.first_promised is not None and likely > told.first_promised), source=curve.source,
        )  # fmt: skip

    def curve(self, line: OrderLine, row: int, category: int, now: int) -> Curve | None:
        """All quantiles of a line's delivery; arguments as in `predict`."""
        return self._curve(line, Told.of(line), row, category, now)

    def _curve(self, line: OrderLine, told: Told, row: int, category: int, now: int) -> Curve | None:
        state = _STATE.get(told.state)
        if state is None:
            return None
        kind, anchor = STATE_BEGAN, told.began
        if told.promised is not None and self._anchor[state] == PROMISE:
            kind, anchor = PROMISE, told.promised
        group = self._group(line, row, category)
        days = self._at((now - anchor) / DAY, self._clocks[kind], self.table[kind, state, group])
        return None if days[0] != days[0] else Curve(state, anchor, days, self._source[group])

    def _group(self, line: OrderLine, row: int, category: int) -> int:
        """The narrowest group that is known."""
        known = 0 <= row < len(self._items)
        found = int(self._items[row]) if known else -1
        if found < 0 <= category < len(self._categories):
            found = self._categories[category]
        if found < 0:
            kind = int(self._classes[row]) if known else -1
            kind = class_of(line) if kind < 0 else kind
            found = self._of_class[kind] if kind >= 0 else -1
        return max(found, 0)

    @staticmethod
    def _at(clock: float, clocks: list[float], table: npt.NDArray[np.float32]) -> list[float]:
        """Quantiles between two clocks; after the last one, what remains is held."""
        place = bisect_right(clocks, clock) - 1
        if place < 0:
            return cast("list[float]", table[0].tolist())
        if place == len(clocks) - 1:
            over = clock - clocks[-1]
            return [days + over for days in table[-1].tolist()]
        share = (clock - clocks[place]) / (clocks[place + 1] - clocks[place])
        before, after = table[place : place + 2].tolist()
        return [low + share * (high - low) for low, high in zip(before, after, strict=True)]


@dataclass(slots=True)
class Told:
    """What the steps of a line tell, read once: a page asks for many lines.

    Args:
        state: the last that was told; "confirmed" before any.
        began: when it began: the first step that told it without another state since.
        promised, first_promised, confirmed_for: as those of the line.
    """

    state: str
    began: int
    promised: int | None = None
    first_promised: int | None = None
    confirmed_for: int | None = None

    @classmethod
    def of(cls, line: OrderLine) -> Told:
        """What is told of a line."""
        told = cls("confirmed", line.steps[0].at)
        for step in line.steps:
            if step.state and step.state != told.state:
                told.state, told.began = step.state, step.at
            if step.promised_at is not None:
                told.promised = step.promised_at
                if told.first_promised is None:
                    told.first_promised = step.promised_at
            told.confirmed_for = named_after(step, told.confirmed_for)
        return told


def class_of(line: OrderLine) -> int:
    """The class of a line by the days that were promised first, place in `CLASSES`; -1 without a promise."""
    promised = line.first_promised_at
    return -1 if promised is None else bisect_right(CLASS_EDGES, (promised - line.ordered_at) / DAY)
