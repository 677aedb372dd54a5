"""Questions about open order lines on their way, as pages and mails ask them, and what tables answered to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from features.ids import Array
from features.moments import DAY
from features.orders import OrderLine
from serving.delivery import Deliveries
from training.delivery_lines import Doubles, Kinds, Mask, Whole
from training.delivery_tables import ATOM_LEVELS, ATOMS

QUESTIONS: Final = 20_000
"""Asked in one window, at most."""
TAIL: Final = 48
"""An answer counts once its 97th percentile has passed, whatever came: else what came fast would count more often."""


@dataclass(frozen=True, slots=True)
class Question:
    """An open line at a moment at which somebody asks when it comes.

    Args:
        now: microseconds.
        line: as known then.
        row, category, lead_class: of its item.
        delivered: when it came; None: not by the end of the window.
    """

    now: int
    line: OrderLine
    row: int
    category: int
    lead_class: int
    delivered: int | None


def asked(lines: Sequence[OrderLine], kinds: Kinds, start: int, until: int) -> list[Question]:
    """Questions of a window: one just after each step (a mail goes out then), and one each noon (UTC) until delivery.

    Lines that ended otherwise are not asked about. Where there are more than `QUESTIONS`, they are thinned evenly.

    Args:
        lines: as known at `until`.
        kinds: of their items.
        start, until: microseconds; the window.
    """
    moments = [
        (place, now)
        for place, line in enumerate(lines)
        if line.delivered_at is not None or line.is_open
        for now in _moments(line, start, until)
    ]
    found = []
    for place, now in moments[:: max(-(-len(moments) // QUESTIONS), 1)]:
        line = lines[place].as_of(now)
        assert line is not None  # there is a step before each moment
        found.append(Question(now, line, *kinds.of(line), lines[place].delivered_at))
    return found


def _moments(line: OrderLine, start: int, until: int) -> list[int]:
    delivered = line.delivered_at
    begin, end = max(start, line.steps[0].at + 1), until if delivered is None else min(delivered, until)
    noon = -(-(begin - DAY // 2) // DAY) * DAY + DAY // 2
    steps = (step.at + 1 for step in line.steps)
    return sorted({*(at for at in steps if begin <= at < end), *range(noon, end, DAY)})


@dataclass(frozen=True, slots=True)
class Answers:
    """Distributions that tables gave, and what came.

    Args:
        question: int64[n], which question was answered.
        state: int64[n], place in `STATES`.
        has_promise: bool[n].
        late: bool[n], whether what was promised first had passed when it was asked.
        clock: float64[n], days since the anchor when it was asked.
        took: float64[n], days from the anchor to the delivery; infinite where it had not come by the end.
        days: float64[n, ATOMS], the quantiles at `ATOM_LEVELS`.
    """

    question: Whole
    state: Whole
    has_promise: Mask
    late: Mask
    clock: Doubles
    took: Doubles
    days: Doubles

    def __len__(self) -> int:
        return len(self.state)

    def where(self, some: Mask) -> Answers:
        """Some of them."""
        return Answers(*(getattr(self, field.name)[some] for field in fields(self)))

    def at(self, levels: Doubles) -> Doubles:
        """float64[n, levels]: quantiles at some levels, those outside at the outermost that is kept."""
        place = np.clip(levels * ATOMS - 0.5, 0, ATOMS - 1)
        before = np.minimum(place.astype(np.int64), ATOMS - 2)
        low, high = self.days[:, before], self.days[:, before + 1]
        return np.asarray(low + (place - before) * (high - low))

    def level(self) -> Doubles:
        """float64[n]: the level at which the delivery fell; 0 and 1 outside of those that are kept."""
        places = zip(self.took, self.days, strict=True)
        return np.array([np.interp(took, days, ATOM_LEVELS, left=0.0, right=1.0) for took, days in places], np.float64)

    def allowed(self, tilt: Doubles | float) -> Doubles:
        """float64[n]: the greatest m for which the delivery lies between the levels tilt m and 1 - (1 - tilt) m."""
        level = self.level()
        return np.asarray(np.minimum(level / tilt, (1 - level) / (1 - np.asarray(tilt))), np.float64)


def answers_of(arrays: Mapping[str, Array], questions: Sequence[Question], until: int) -> Answers:
    """What tables with all levels say to questions, those that are decided.

    Args:
        arrays: `delivery.*`.
        questions: of a window.
        until: when it ended.
    """
    deliveries = Deliveries.from_arrays(arrays)
    rows = []
    for place, each in enumerate(questions):
        curve = deliveries.curve(each.line, each.row, each.category, each.now) if deliveries else None
        if curve is None or curve.anchor + curve.days[TAIL] * DAY > until:
            continue
        took = np.inf if each.delivered is None else (each.delivered - curve.anchor) / DAY
        has_promise = each.line.promised_at is not None
        rows.append(
            (
                place,
                curve.state,
                has_promise,
                each.line.is_overdue(each.now),
                (each.now - curve.anchor) / DAY,
                took,
                curve.days,
            )
        )
    place_of, state, promised, late, clock, days_taken, days = list(zip(*rows, strict=True)) or [()] * 7
    return Answers(
        np.array(place_of, np.int64), np.array(state, np.int64), np.array(promised, bool), np.array(late, bool),
        np.array(clock, np.float64), np.array(days_taken, np.float64), np.array(days, np.float64).reshape(-1, ATOMS),
    )  # fmt: skip
