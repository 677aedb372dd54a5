"""All customers as they were known at a moment, and what they brought in the time after it.

A *basket* is all that one customer bought on one day (UTC), as in `features.rhythm`. Everything here is sorting,
counting and summing over the flat histories of all customers at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.history import Histories
from features.kinds import EventType
from features.moments import DAY
from features.rows_kernel import HALF_LIVES, RECENT
from training.split import Window, customers
from training.value.lifetime import Visits

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

WINDOWS = (30, 90, 180)
"""Days back from the moment over which value and baskets are summed, beside the horizon and all of the past."""
SIGNALS = {
    "wishes": (EventType.WISHLIST,),
    "wishes_removed": (EventType.WISHLIST_REMOVE,),
    "looks": (EventType.VIEW, EventType.CLICK, EventType.SEARCH),
    "carts": (EventType.CART,),
    "returns": (EventType.RETURN,),
}
"""Events that say something of the next order without being one; counted over all time and the last 90 days."""
SPANS = ("horizon", "before", *(f"{days}d" for days in WINDOWS), "all")

NAMES: tuple[str, ...] = (
    *(f"value_{span}" for span in SPANS),
    *(f"baskets_{span}" for span in SPANS),
    *(f"baskets_decayed_{half_life:g}" for half_life in HALF_LIVES),
    *(f"value_decayed_{half_life:g}" for half_life in HALF_LIVES),
    "recency_days",
    "tenure_days",
    "gap_mean",
    "gap_spread",
    "last_gap",
    "overdue",
    "basket_value",
    "basket_value_spread",
    "last_basket_value",
    "recent_basket_value",
    "largest_basket_value",
    "lines_per_basket",
    "returned_share",
    *(f"{name}_{span}" for name in SIGNALS for span in ("90d", "all")),
    "days_since_wish",
    "days_since_event",
    "known_days",
)
"""Columns of `Sample.features`. Values are in the shop's currency; what is not known is NaN."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What customers brought in a window; all float64[n].

    Args:
        value: purchases less returns.
        orders: baskets.
    """

    value: Floats
    orders: Floats


@dataclass(frozen=True, slots=True)
class Sample:
    """Customers who had done something before a moment, by what was known then.

    Args:
        moment: microseconds.
        rows: intp[n], their rows in the histories, ascending.
        features: float32[n, len(NAMES)].
        visits: their baskets in days; of those who never bought it is all zeros.
        baskets: float64[n], how many.
        value: float64[n], what they brought so far.
        last: what they brought in the horizon before the moment.
        next: what they brought in the horizon after it; None where that has not passed.
    """

    moment: int
    rows: Rows
    features: npt.NDArray[np.float32]
    visits: Visits
    baskets: Floats
    value: Floats
    last: Outcome
    next: Outcome | None

    def __len__(self) -> int:
        return len(self.rows)


def sample_at(histories: Histories, amount: Floats, moment: int, horizon: int, end: int) -> Sample:
    """All customers as of a moment.

    Args:
        histories: all events as of `end`.
        amount: float64[events], what each brought.
        moment: only events before it, and recorded by then, are in the features.
        horizon: microseconds.
        end: up to where outcomes are known.
    """
    known = (histories.events.time < moment) & (histories.events.recorded <= moment)
    past, brought = histories.where(known), amount[known]
    rows = np.flatnonzero(customers(past.subjects) & (np.diff(past.offsets) > 0))
    baskets = Baskets.of(past, brought)
    last = _outcome(past, brought, Window(moment - horizon, moment), rows)
    after = Window(moment, moment + horizon)
    return Sample(
        moment, rows, _features(past, brought, baskets, moment, horizon)[rows], baskets.visits(moment, rows),
        baskets.count[rows].astype(np.float64), _sums(past, brought)[rows], last,
        _outcome(histories, amount, after, rows) if after.end <= end else None,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Baskets:
    """The baskets of all subjects, side by side, oldest first.

    Args:
        subject: intp[m], row of each basket's subject.
        day: int64[m], days since 1970 (UTC).
        value: float64[m], what its purchases brought.
        lines: float64[m], purchase events.
        count: int64[subjects], baskets of each subject.
    """

    subject: Rows
    day: npt.NDArray[np.int64]
    value: Floats
    lines: Floats
    count: npt.NDArray[np.int64]

    @classmethod
    def of(cls, past: Histories, brought: Floats) -> Baskets:
        """Gather purchases by subject and day."""
        bought = past.events.type == EventType.PURCHASE
        subject, day = past.subject_rows()[bought], past.events.time[bought] // DAY
        begins = np.ones(len(day), bool)
        begins[1:] = (subject[1:] != subject[:-1]) | (day[1:] != day[:-1])  # events lie sorted by subject and time
        basket = np.cumsum(begins) - 1
        n = int(begins.sum())
        return cls(
            subject[begins].astype(np.intp), day[begins], _count(basket, n, brought[bought]), _count(basket, n),
            np.bincount(subject[begins], minlength=len(past)),
        )  # fmt: skip

    @property
    def first(self) -> Rows:
        """intp[subjects]: place of each subject's first basket; meaningless without any."""
        return np.cumsum(self.count) - self.count

    def visits(self, moment: int, rows: Rows) -> Visits:
        """The baskets of some subjects as BG/NBD sees them, in days."""
        has = self.count[rows] > 0
        first, last = self.first[rows][has], (self.first + self.count - 1)[rows][has]
        repeats, recency, age = np.zeros((3, len(rows)))
        repeats[has] = self.count[rows][has] - 1
        recency[has] = self.day[last] - self.day[first]
        age[has] = moment / DAY - self.day[first]
        return Visits(repeats, recency, age)


def _features(past: Histories, brought: Floats, baskets: Baskets, moment: int, horizon: int) -> npt.NDArray[np.float32]:
    """float32[subjects, len(NAMES)], whoever the subject is."""
    today = moment / DAY
    columns = [
        *_by_span(past, brought, baskets, moment, horizon),
        *_decayed(baskets, today),
        *_rhythm(baskets, today),
        *_basket_values(baskets),
        *_around(past, brought, moment),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _by_span(past: Histories, brought: Floats, baskets: Baskets, moment: int, horizon: int) -> list[Floats]:
    """Value and baskets over each of SPANS."""
    spans = [(moment - horizon, moment), (moment - 2 * horizon, moment - horizon)]
    spans += [(moment - days * DAY, moment) for days in WINDOWS] + [(-(2**62), moment)]
    time = past.events.time
    values = [_sums(past, np.where((time >= start) & (time < end), brought, 0)) for start, end in spans]
    inside = [(baskets.day * DAY >= start) & (baskets.day * DAY < end) for start, end in spans]
    return values + [_count(baskets.subject[mask], len(past)) for mask in inside]


def _decayed(baskets: Baskets, today: float) -> list[Floats]:
    n = len(baskets.count)
    weights = [np.exp2(-(today - baskets.day) / half_life) for half_life in HALF_LIVES]
    return [
        *(_count(baskets.subject, n, weight) for weight in weights),
        *(_count(baskets.subject, n, weight * baskets.value) for weight in weights),
    ]


def _rhythm(baskets: Baskets, today: float) -> list[Floats]:
    """How lately, how long and how regularly each subject buys."""
    n, count, first = len(baskets.count), baskets.count, baskets.first
    begun, ended = _at(baskets.day, first, count > 0), _at(baskets.day, first + count - 1, count > 0)
    gaps = np.diff(baskets.day, prepend=0).astype(np.float64)
    gaps[first[count > 0]] = 0
    several = count > 1
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(several, (ended - begun) / (count - 1), np.nan)
        spread = np.sqrt(np.maximum(_count(baskets.subject, n, gaps * gaps) / (count - 1) - mean * mean, 0))
    last_gap = np.where(several, _at(gaps, first + count - 1, count > 0), np.nan)
    recency = today - ended
    return [recency, today - begun, mean, np.where(several, spread, np.nan), last_gap, recency / np.maximum(mean, 1)]


def _basket_values(baskets: Baskets) -> list[Floats]:
    n, count = len(baskets.count), baskets.count
    last = baskets.first + count - 1
    total, squares = (_count(baskets.subject, n, baskets.value**power) for power in (1, 2))
    largest = np.full(n, -np.inf)
    np.maximum.at(largest, baskets.subject, baskets.value)
    back = last[baskets.subject] - np.arange(len(baskets.subject))
    recent = _count(baskets.subject, n, np.where(back < RECENT, baskets.value, 0))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
        spread = np.sqrt(np.maximum(squares / count - mean * mean, 0))
        return [
            mean, np.where(count > 1, spread, np.nan), _at(baskets.value, last, count > 0),
            recent / np.minimum(count, RECENT), np.where(count > 0, largest, np.nan),
            _count(baskets.subject, n, baskets.lines) / count,
        ]  # fmt: skip


def _around(past: Histories, brought: Floats, moment: int) -> list[Floats]:
    """What came back, and everything a subject did beside buying."""
    events, rows, n = past.events, past.subject_rows(), len(past)
    bought = _sums(past, np.where(events.type == EventType.PURCHASE, brought, 0))
    back = -_sums(past, np.where(events.type == EventType.RETURN, brought, 0))
    recent = events.time >= moment - 90 * DAY
    counts = []
    for kinds in SIGNALS.values():
        which = np.isin(events.type, kinds)
        counts += [_count(rows[which & recent], n), _count(rows[which], n)]
    since = [
        _days_since(past, moment, which) for which in (events.type == EventType.WISHLIST, np.ones(len(rows), bool))
    ]
    first = np.minimum(past.offsets[:-1], max(len(rows) - 1, 0))
    known = _at((moment - events.time) / DAY, first, np.diff(past.offsets) > 0)
    share = np.full(n, np.nan)
    np.divide(back, bought, out=share, where=bought > 0)
    return [share, *counts, *since, known]


def _days_since(past: Histories, moment: int, which: npt.NDArray[np.bool_]) -> Floats:
    latest = np.full(len(past), np.nan)
    latest[past.subject_rows()[which]] = past.events.time[which]  # in order of time: the last write is the latest
    found: Floats = (moment - latest) / DAY
    return found


def _outcome(histories: Histories, amount: Floats, window: Window, rows: Rows) -> Outcome:
    inside = window.holds(histories.events.time)
    within, brought = histories.where(inside), amount[inside]
    return Outcome(_sums(within, brought)[rows], Baskets.of(within, brought).count[rows].astype(np.float64))


def _sums(histories: Histories, amounts: Floats) -> Floats:
    """float64[subjects]: the sum over each subject's events."""
    return _count(histories.subject_rows(), len(histories), amounts)


def _count(rows: npt.NDArray[np.integer], n: int, weights: Floats | None = None) -> Floats:
    return np.bincount(rows, weights=weights, minlength=n).astype(np.float64, copy=False)


def _at(values: npt.NDArray[np.generic], place: npt.NDArray[np.integer], there: npt.NDArray[np.bool_]) -> Floats:
    """The value at each place, NaN where there is none."""
    found = np.full(len(place), np.nan)
    found[there] = values[place[there]]
    return found
