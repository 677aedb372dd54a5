"""One subject's events in the order of their items: sorted once, for all that add up item by item."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from features.compiled import available, helper, kernel
from features.history import History
from features.kinds import EventType

ITEM, TIME, TYPE, QUANTITY, VALUE = range(5)
"""What stands in each column of `ByItem.events`."""
Rows = npt.NDArray[np.int32]
_PURCHASE = int(EventType.PURCHASE)
FEW = 150
"""As many numbers are sorted by counting as soon as by splitting them."""


class ByItem(msgspec.Struct, frozen=True):
    """The events of one subject that are about an item.

    Args:
        events: float64[m, 5], by item, those of one item in the order of the history. It holds every item, type and
            amount, and every microsecond of the next two centuries, as it is.
        types: `bits` of the types that occur.
    """

    events: npt.NDArray[np.float64]
    types: int


def bits(types: Iterable[int]) -> int:
    """A number that has a bit for each of some `EventType` codes."""
    return sum(1 << code for code in {*types})


def by_item(history: History) -> ByItem:
    """The events of a history in the order of their items."""
    if available():
        return ByItem(*sort_events(history.item, history.time, history.type, history.quantity, history.value))
    order = np.argsort(history.item, kind="stable")
    order = order[history.item[order] >= 0]
    columns = (history.item, history.time, history.type, history.quantity, history.value)
    events = np.column_stack([column[order].astype(np.float64) for column in columns])
    return ByItem(events, bits(history.type[order].tolist()))


@helper
def _sort(keys: Any) -> None:
    """Ascending: of a few distinct numbers the place of each is how many are lower, which is told without a guess."""
    if len(keys) > FEW:
        keys.sort()
        return
    given = keys.copy()
    for at in range(len(given)):
        key: Any = given[at]
        place = 0
        for other in range(len(given)):
            place += given[other] < key
        keys[place] = key


@kernel("i4[1], i8[1], i1[1], f4[1], f4[1]")
def sort_events(item: Any, time: Any, kind: Any, quantity: Any, value: Any) -> Any:
    """`ByItem`: the events, and the bits of their types."""
    keys, count = np.empty(len(item), np.int64), 0
    types: Any = 0
    for at in range(len(item)):
        if item[at] >= 0:
            keys[count] = np.int64(item[at]) << 32 | at
            types |= np.int64(1) << np.int64(kind[at])
            count += 1
    keys, events = keys[:count], np.empty((count, 5))
    _sort(keys)
    for row in range(count):
        at = keys[row] & 0xFFFFFFFF
        events[row, 0], events[row, 1], events[row, 2] = item[at], time[at], kind[at]
        events[row, 3], events[row, 4] = quantity[at], value[at]
    return events, types


def bought_in(past: ByItem, items: Rows) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """How often each of some items was bought, and the moment of the last time (0 where it never was)."""
    events = past.events
    if available():
        times, last = np.empty(len(items), np.int64), np.empty(len(items), np.int64)
        count_bought(events, items, times, last)
        return times, last
    bought = np.flatnonzero(events[:, TYPE] == EventType.PURCHASE)
    known, moments = events[bought, ITEM], events[bought, TIME]
    begin, end = known.searchsorted(items), known.searchsorted(items, "right")
    moments = np.append(moments, 0.0)
    return end - begin, np.where(end > begin, moments[end - 1], 0).astype(np.int64)


@kernel("f8[2], i4[1], out i8[1], out i8[1]")
def count_bought(events: Any, items: Any, times: Any, last: Any) -> None:
    """`bought_in`: each item is looked up."""
    for at in range(len(items)):
        low, high, item = 0, len(events), float(items[at])
        while low < high:
            middle = (low + high) >> 1
            if events[middle, 0] < item:
                low = middle + 1
            else:
                high = middle
        times[at], last[at] = 0, 0
        while low < len(events) and events[low, 0] == item:
            if events[low, 2] == _PURCHASE:
                times[at], last[at] = times[at] + 1, np.int64(events[low, 1])
            low += 1
