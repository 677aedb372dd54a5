"""Tastes: how much of a customer's buying falls on the groups that an item belongs to (category, department, brand).

The same columns for each kind of group: share of the customer's purchases, the same with old ones fading, days since
the last, and how many.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from features.history import History
from features.kinds import EventType
from features.personal import group_columns
from features.rows_kernel import FADE_DAYS

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int32]

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
    bought = history.of_types(EventType.PURCHASE)
    _, _, faded, count = group_columns(bought, category, items, now, FADE_DAYS)
    columns = [faded, count]
    for codes in groups:
        share, since, faded, count = group_columns(bought, codes, items, now, FADE_DAYS)
        columns += [share, faded, since, count]
    columns += group_columns(history.of_types(*_INTEREST), category, items, now)[:2]
    for index, column in enumerate(columns):
        out[:, index] = column
    return out
