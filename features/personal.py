"""Personal features: a pure function of one customer's own events and of the items' categories.

Numpy on columns, no pandas: the same function runs for a request, over chunks on one machine, and over partitions.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from features.compiled import available
from features.history import History
from features.kinds import EventType
from features.moments import DAY
from features.rows_kernel import DECAY_DAYS, wishes

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int32]

PERSONAL_NAMES: tuple[str, ...] = (
    "purchases",
    "purchases_decayed",
    "days_since_purchase",
    "mean_gap_days",
    "views",
    "days_since_view",
    "wished",
    "days_since_wish",
    "category_share",
    "category_days_since",
    "customer_purchases",
    "customer_days_since",
)
_FEW = 20_000
"""Pairs of an event and an item that are compared one by one."""
_INTEREST = (EventType.VIEW, EventType.CLICK, EventType.CART)


def personal_features(history: History, items: Rows, category: Rows, now: int, *, out: Floats) -> Floats:
    """What one customer's events say about some items.

    Args:
        history: events as of `now`, oldest first.
        items: int32[m], distinct item rows.
        category: int32[n_items], category code of every item, -1 unknown.
        now: the moment that ages are relative to.
        out: float32[m, len(PERSONAL_NAMES)], filled and returned; NaN where a value is not known.
    """
    order = np.argsort(items, kind="stable")
    bought = history.of_types(EventType.PURCHASE)
    count, last, first = _per_item(bought, items, order)
    seen, last_seen, _ = _per_item(history.of_types(*_INTEREST), items, order)
    wished, wished_at = open_wishes(history, items)
    since = _days(now, last, count > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = np.where(count > 1, (last - first) / (DAY * np.maximum(count - 1, 1)), np.nan)
    columns = (
        count,
        _decayed(bought, items, order, now),
        since,
        gap,
        seen,
        _days(now, last_seen, seen > 0),
        wished,
        _days(now, wished_at, wished),
        *group_columns(bought, category, items, now)[:2],
        np.full(len(items), len(bought)),
        np.full(len(items), (now - history.time[-1]) / DAY if len(history) else np.nan),
    )
    for index, column in enumerate(columns):
        out[:, index] = column
    return out


def open_wishes(history: History, items: Rows) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Whether each item is on the wishlist now, and since when: added, not removed and not bought since.

    Returns:
        bool[m] and int64[m]; the instant is meaningless where the first is False.
    """
    if not (history.type == int(EventType.WISHLIST)).any():
        return np.zeros(len(items), bool), np.zeros(len(items), np.int64)
    if available() and len(history) * len(items) < _FEW:
        return wished_since(history, items)
    touching = (int(EventType.WISHLIST), int(EventType.WISHLIST_REMOVE), int(EventType.PURCHASE))
    relevant = history.of_types(*touching)
    wished = np.zeros(len(items), bool)
    at = np.zeros(len(items), np.int64)
    # The last of the three kinds of event decides; events are in time order, so the last write wins.
    rows, where = np.unique(relevant.item, return_inverse=True)
    latest = np.zeros(len(rows), np.intp)
    latest[where] = np.arange(len(relevant))
    is_open = (relevant.type[latest] == EventType.WISHLIST) & (rows >= 0)
    found = np.searchsorted(rows, items)
    inside = found < len(rows)
    hit = np.zeros(len(items), bool)
    hit[inside] = rows[found[inside]] == items[inside]
    wished[hit] = is_open[found[hit]]
    at[hit] = relevant.time[latest[found[hit]]]
    return wished, at


def wishlist(history: History) -> tuple[Rows, npt.NDArray[np.int64]]:
    """int32[m] and int64[m]: the items that are on the wishlist now, and since when; the latest first."""
    known = {*history.item[history.type == int(EventType.WISHLIST)].tolist()} - {-1}
    asked = np.array(sorted(known), np.int32)
    still, since = open_wishes(history, asked)
    asked, since = asked[still], since[still]
    order = np.argsort(-since, kind="stable")
    return asked[order], since[order]


def wished_since(history: History, items: Rows) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """`open_wishes` with a kernel."""
    at = np.empty(len(items), np.int64)
    wishes(history.time, history.item, history.type, np.ascontiguousarray(items, np.int32), at)
    wished = at >= 0
    return wished, np.where(wished, at, 0)


def slots(events: History, items: Rows, order: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.intp], History]:
    """For each event on one of the items, the position of that item in `items`."""
    if not len(items) or not len(events):
        return np.empty(0, np.intp), events.take(slice(0, 0))
    place = np.searchsorted(items, events.item, sorter=order)
    place = order[np.minimum(place, len(items) - 1)]
    mine = items[place] == events.item
    return place[mine], events.take(mine)


def _per_item(
    events: History, items: Rows, order: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Count, last and first instant of the events on each item."""
    place, mine = slots(events, items, order)
    count = np.bincount(place, minlength=len(items))
    last = np.zeros(len(items), np.int64)
    first = np.zeros(len(items), np.int64)
    last[place] = mine.time
    first[place[::-1]] = mine.time[::-1]
    return count, last, first


def _decayed(events: History, items: Rows, order: npt.NDArray[np.intp], now: int) -> npt.NDArray[np.float64]:
    place, mine = slots(events, items, order)
    weights = np.exp2(-(now - mine.time) / (DAY * DECAY_DAYS))
    return np.bincount(place, weights=weights, minlength=len(items)).astype(np.float64, copy=False)


def group_columns(
    events: History, codes: Rows, items: Rows, now: int, fade_days: float = np.inf
) -> tuple[npt.NDArray[np.float64], ...]:
    """How much of a customer's events falls on the group of each item.

    Args:
        events: of one customer, oldest first.
        codes: int32[n_items], the group of every item, -1 unknown.
        items: int32[m], the items asked about.
        now: the moment that ages are relative to.
        fade_days: an event this old counts half in the fading share.

    Returns:
        float64[m] each: share of the events, days since the last, fading share, number; NaN where nothing is known.
    """
    known = events.take(events.item >= 0)
    if not len(known):
        nothing = np.full(len(items), np.nan)
        return nothing, nothing, nothing, np.zeros(len(items))
    wanted = codes[items]
    groups, where = np.unique(codes[known.item], return_inverse=True)
    count = np.bincount(where)
    faded = np.bincount(where, weights=np.exp2(-(now - known.time) / (DAY * fade_days)))
    last = np.zeros(len(groups), np.int64)
    last[where] = known.time  # in order of time: the last write is the latest
    at = np.minimum(np.searchsorted(groups, wanted), len(groups) - 1)
    hit = (groups[at] == wanted) & (wanted >= 0)
    return (
        np.where(hit, count[at] / len(known), 0.0),
        np.where(hit, (now - last[at]) / DAY, np.nan),
        np.where(hit, faded[at] / max(faded.sum(), 1e-12), 0.0),
        np.where(hit, count[at], 0.0),
    )


def _days(now: int, at: npt.NDArray[np.int64], known: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    return np.where(known, (now - at) / DAY, np.nan)
