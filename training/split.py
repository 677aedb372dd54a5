"""Splitting by time: what was known before a cut, and what customers bought after it.

Windows are half-open, `[start, end)`. A model for a window sees events before its start only; the window's truth is
what each customer bought inside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from features.errors import ConfigError
from features.history import Histories
from features.ids import Vocabulary
from features.kinds import EventType
from features.moments import DAY, format_instant

Rows = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]
MIN_CUSTOMERS = 5
"""Items that fewer customers bought before the cut are not in the catalogue."""
_CUSTOMER = ord("c")


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A stretch of time, `start <= instant < end`.

    >>> Window(0, 10).holds(np.array([-1, 0, 9, 10])).tolist()
    [False, True, True, False]
    """

    start: int
    end: int

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise ConfigError("a window must end after it starts", got=(self.start, self.end))

    def holds(self, time: npt.NDArray[np.int64]) -> Mask:
        """Which instants lie inside."""
        return (time >= self.start) & (time < self.end)

    @property
    def days(self) -> float:
        """Its length."""
        return (self.end - self.start) / DAY

    def __str__(self) -> str:
        return f"{format_instant(self.start)} to {format_instant(self.end)}"


def last_windows(end: int, length: int, count: int) -> list[Window]:
    """The last `count` windows before an instant, side by side, oldest first.

    Args:
        end: where the last one ends (it does not hold that instant).
        length: of each, microseconds.
        count: how many.

    Raises:
        ConfigError: length or count is not positive.

    >>> [(w.start, w.end) for w in last_windows(100, 10, 3)]
    [(70, 80), (80, 90), (90, 100)]
    """
    if length <= 0 or count <= 0:
        raise ConfigError("windows need a positive length and count", got=(length, count))
    return [Window(end - (back + 1) * length, end - back * length) for back in reversed(range(count))]


def halves(n: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Every other place of n, and the others: what is learned on one half is proved on the other."""
    return np.arange(0, n, 2), np.arange(1, n, 2)


@dataclass(frozen=True, slots=True)
class Truth:
    """What the customers of a window bought in it.

    Args:
        subjects: int32[n], their rows in the histories, ascending; each has an item or had one before `only`.
        indptr: int64[n + 1]; customer i bought items[indptr[i]:indptr[i + 1]].
        items: int32[m], distinct for each customer, ascending.
        repeat: bool[m], whether the customer had bought the item before the window.
    """

    subjects: Rows
    indptr: npt.NDArray[np.int64]
    items: Rows
    repeat: Mask

    def __len__(self) -> int:
        return len(self.subjects)

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """int64[n]: how many items each customer bought."""
        return np.diff(self.indptr)

    def of(self, place: int) -> Rows:
        """The items of one customer, by place in `subjects`."""
        return self.items[self.indptr[place] : self.indptr[place + 1]]

    def take(self, places: npt.NDArray[np.intp]) -> Truth:
        """Some of the customers, by places in `subjects`, ascending."""
        counts = self.counts[places]
        indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
        picked = np.repeat(self.indptr[places] - indptr[:-1], counts) + np.arange(int(counts.sum()))
        return Truth(self.subjects[places], indptr, self.items[picked], self.repeat[picked])

    def only(self, mask: Mask) -> Truth:
        """Some of the items; customers keep their places, also those that are left with nothing."""
        kept = np.concatenate([np.zeros(1, np.int64), np.cumsum(mask, dtype=np.int64)])
        return Truth(self.subjects, kept[self.indptr], self.items[mask], self.repeat[mask])

    def new(self) -> Truth:
        """Only items that the customer had never bought: the task `new`."""
        return self.only(~self.repeat)

    def repeated(self) -> Truth:
        """Only items that the customer had bought before."""
        return self.only(self.repeat)


def customers(subjects: Vocabulary) -> Mask:
    """bool[n]: which subjects are known customers (the others are anonymous visitors)."""
    if not len(subjects):
        return np.zeros(0, bool)
    first = subjects.blob[subjects.offsets[:-1].view(np.int64)]
    return cast("Mask", first == _CUSTOMER)


def buyers(histories: Histories, *, before: int, visitors: bool = False) -> npt.NDArray[np.int64]:
    """int64[n_items]: distinct customers who bought each item before an instant, by what was known then."""
    pairs = _purchases(histories.as_of(before), None, visitors)
    return np.bincount(pairs % max(len(histories.items), 1), minlength=len(histories.items))


def catalogue(histories: Histories, *, before: int, min_customers: int = MIN_CUSTOMERS) -> Mask:
    """bool[n_items]: items that at least so many distinct customers bought before an instant."""
    return buyers(histories, before=before) >= max(min_customers, 1)


def truth_of(
    histories: Histories, window: Window, *, listed: Mask, visitors: bool = False, subjects: Sequence[str] | None = None
) -> Truth:
    """What was bought in a window, for customers who can be judged.

    These are customers with at least one event known before the window and at least one item of the catalogue
    bought in it. What somebody does after the window does not matter.

    Args:
        histories: everything, before, in and after the window.
        window: when.
        listed: bool[n_items], the catalogue as of the window's start.
        visitors: whether anonymous visitors are judged too.
        subjects: judge only these, where given.
    """
    n_items = len(histories.items)
    known = histories.as_of(window.start)
    trained = np.diff(known.offsets) > 0
    if subjects is not None:
        named = np.zeros(len(histories), bool)
        rows = histories.subjects.rows_of(subjects)
        named[rows[rows >= 0]] = True
        trained &= named
    pairs = _purchases(histories, window, visitors)
    who, what = pairs // max(n_items, 1), pairs % max(n_items, 1)
    kept = trained[who] & listed[what]
    pairs, who, what = pairs[kept], who[kept], what[kept]
    before = _purchases(histories.where(histories.events.time < window.start), None, True)
    found, counts = np.unique(who, return_counts=True)
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
    return Truth(found.astype(np.int32), indptr, what.astype(np.int32), np.isin(pairs, before))


def _purchases(histories: Histories, window: Window | None, visitors: bool) -> npt.NDArray[np.int64]:
    """Distinct (subject, item) pairs of purchases as subject * n_items + item, ascending."""
    events = histories.events
    mask = (events.type == EventType.PURCHASE) & (events.item >= 0)
    if window is not None:
        mask &= window.holds(events.time)
    rows = histories.subject_rows()
    if not visitors:
        mask &= customers(histories.subjects)[rows]
    return np.unique(rows[mask].astype(np.int64) * len(histories.items) + events.item[mask])
