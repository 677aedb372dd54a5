"""What a customer is about to run out of, and when, by the learned cycles of the bundle's replenishment source."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.moments import DAY
from serving.live import Live
from serving.query import Query
from serving.sources import Replenishment

LEAST_REPEAT = 0.5
"""An item is due only where another purchase is more likely than not."""
OVERDUE = 2.0
"""After so many cycles without a purchase the customer has more likely stopped."""


@dataclass(frozen=True, slots=True)
class Due:
    """A next purchase.

    Args:
        item: row in the bundle.
        last_at: instant of the last purchase.
        at: instant at which the next one is due.
        every_days: the usual time between two purchases.
        own: intervals of the customer's own that this knows of.
    """

    item: int
    last_at: int
    at: int
    every_days: float
    own: int


def due_items(live: Live, query: Query, *, own: int = 1) -> tuple[Due, ...]:
    """Next purchases, the earliest first; none where no source of the bundle knows cycles.

    Args:
        live, query: of the request.
        own: intervals of the customer's own that are needed at least: one purchase alone is no habit.
    """
    source = next((each for each in live.ranker.sources.values() if isinstance(each, Replenishment)), None)
    if source is None or not len(query.history):
        return ()
    found = source.due(query)
    usual = (found.items >= 0) & (found.own >= own) & (found.repeat >= LEAST_REPEAT)
    usual &= found.since < OVERDUE * found.median
    kept = live.ranker.allowed(query, np.unique(found.items[usual]))
    places = np.flatnonzero(usual & np.isin(found.items, kept))
    last = query.now - found.since * DAY
    at = last + found.median * DAY
    return tuple(
        Due(int(found.items[p]), int(last[p]), int(at[p]), float(found.median[p]), int(found.own[p]))
        for p in places[np.argsort(at[places], kind="stable")]
    )
