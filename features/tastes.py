"""Tastes: how much of a customer's buying falls on the groups that an item belongs to (category, department, brand).

The same columns for each kind of group: share of the customer's purchases, the same with old ones fading, days since
the last, and how many.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from features.history import History
from features.moments import DAY
from features.schemas import EventType

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int32]

FADE_DAYS = 45.0
"""A purchase this old counts half in `_share_decayed`."""
GROUPS = ("department", "brand")
"""Groups with columns of their own; the finest category has its own in `features.personal`."""
_COLUMNS = ("share", "share_decayed", "days_since", "count")
TASTE_NAMES: tuple[str, ...] = (
    "category_share_decayed",
    "category_count",
    *(f"{group}_{column}" for group in GROUPS for column in _COLUMNS),
    "category_interest",
    "category_interest_days_since",
)
_INTEREST = (EventType.VIEW, EventType.CLICK, EventType.CART, EventType.WISHLIST)


def taste_features(
    history: History, items: Rows, category: Rows, groups: Sequence[Rows], now: int, *, out: Floats
) -> Floats:
    """What a customer's purchases and looks say about the groups of some items.

    Args:
        history: events as of `now`, oldest first.
        items: int32[m], distinct item rows.
        category: int32[n_items], code of every item's finest category, -1 unknown.
        groups: int32[n_items] each, codes of the groups of `GROUPS`.
        now: the moment that ages are relative to.
        out: float32[m, len(TASTE_NAMES)], filled and returned; NaN where nothing is known.
    """
    bought = _known(history.of_types(EventType.PURCHASE))
    looked = _known(history.of_types(*_INTEREST))
    _, faded, _, count = _columns(bought, category, items, now)
    columns = [faded, count]
    for codes in groups:
        columns += _columns(bought, codes, items, now)
    share, _, since, _ = _columns(looked, category, items, now)
    for index, column in enumerate([*columns, share, since]):
        out[:, index] = column
    return out


def _known(events: History) -> History:
    return events.take(events.item >= 0)


def _columns(events: History, codes: Rows, items: Rows, now: int) -> list[npt.NDArray[np.float64]]:
    """Share, fading share, days since the last and number of the events in each item's group."""
    wanted = codes[items]
    if not len(events):
        nothing = np.full(len(items), np.nan)
        return [nothing, nothing, nothing, np.zeros(len(items))]
    found, where = np.unique(codes[events.item], return_inverse=True)
    fresh = np.exp2(-(now - events.time) / (DAY * FADE_DAYS))
    count = np.bincount(where).astype(np.float64)
    faded = np.bincount(where, weights=fresh)
    last = np.zeros(len(found), np.int64)
    last[where] = events.time  # in order of time: the last write is the latest
    at = np.minimum(np.searchsorted(found, wanted), len(found) - 1)
    hit = (found[at] == wanted) & (wanted >= 0)
    return [
        np.where(hit, count[at] / len(events), 0.0),
        np.where(hit, faded[at] / max(faded.sum(), 1e-12), 0.0),
        np.where(hit, (now - last[at]) / DAY, np.nan),
        np.where(hit, count[at], 0.0),
    ]
