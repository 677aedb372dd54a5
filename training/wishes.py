"""Wishes: how soon they become purchases, by the age of the wish, from few of them as well."""

from __future__ import annotations

from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from features.errors import DataError
from features.history import Histories
from features.kinds import EventType
from features.moments import DAY
from training.interactions import Fitted, Progress, silent
from training.known import Known

Doubles = npt.NDArray[np.float64]
EDGES = (0.0, 1.0, 3.0, 7.0, 14.0, 28.0, 56.0, 112.0, 224.0, 448.0)
"""Days at which a bucket of ages begins."""
USUAL_HAZARD = 0.02
"""Purchases a young wish a day, where nothing is known; it counts like one purchase."""


class WishlistParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The wishlist; `horizon_days`, `price_gain` and `again` serve the request."""

    horizon_days: Annotated[float, Meta(gt=0)] = 28.0
    """A wish counts by how likely it becomes a purchase within so many days."""
    half_life_days: Annotated[float, Meta(gt=0)] = 30.0
    """Where little is known, a wish this old converts half as often."""
    prior: Annotated[float, Meta(gt=0)] = 10.0
    """Purchases that the curve of the half-life counts like in each bucket of ages."""
    price_gain: Annotated[float, Meta(ge=0)] = 2.0
    """By how much the hazard of a purchase rises with the share by which the price fell; not learned."""
    again: Annotated[float, Meta(ge=0, le=1)] = 0.5
    """What is left of the hazard for each time that the item was taken off the list before; not learned."""


def fit_wishlist(known: Known, params: WishlistParams, *, threads: int = 0, progress: Progress = silent) -> Fitted:
    """The hazard of conversion by age of the wish, and the listed prices of the past.

    hazard_b = (purchases_b + prior) / (days_b + prior / usual_b), a gamma-Poisson mean, where usual follows the
    half-life and is scaled to all purchases of wishes.

    Args:
        known: as of the moment of the fit.
        params: of the fit.
        threads: ignored.
        progress: hears of the start and the end.

    Returns:
        `edges`, `hazard` float64[b]; `price_offsets`, `price_since`, `price`: see `Prices`.

    Raises:
        DataError: nobody ever wished anything.
    """
    progress(0, 1)
    days, bought = spells(known.known, known.as_of)
    if not len(days):
        raise DataError("no wishes to learn from", where="wishlist", hint="import events of type wishlist")
    edges = np.array(EDGES)
    hazard, counts = hazards(days, bought, edges, params)
    prices = known.prices
    arrays = {
        "edges": edges, "hazard": hazard,
        "price_offsets": prices.offsets, "price_since": prices.since, "price": prices.price,
    }  # fmt: skip
    progress(1, 1)
    return Fitted(arrays, {"wishes": float(len(days)), "became purchases": float(counts.sum())})


def spells(known: Histories, as_of: int) -> tuple[Doubles, npt.NDArray[np.bool_]]:
    """Every wish: how many days it stood, and whether a purchase ended it.

    It ends with the next purchase, removal or new wish of the same item, or is still open as of the moment.
    """
    events, n = known.events, max(len(known.items), 1)
    kinds = (EventType.WISHLIST, EventType.WISHLIST_REMOVE, EventType.PURCHASE)
    at = np.flatnonzero(np.isin(events.type, kinds) & (events.item >= 0))
    pair = known.subject_rows()[at].astype(np.int64) * n + events.item[at]
    # A stable sort keeps the order of time (and of keys at equal times) within each pair.
    order = np.argsort(pair, kind="stable")
    pair, time, kind = pair[order], events.time[at][order], events.type[at][order]
    same = np.append(pair[1:] == pair[:-1], False) if len(pair) else np.empty(0, bool)
    end = np.where(same, np.append(time[1:], as_of), as_of)
    bought = same & (np.append(kind[1:], 0) == EventType.PURCHASE) if len(pair) else same
    wish = kind == EventType.WISHLIST
    return (end - time)[wish] / DAY, bought[wish]


def hazards(
    days: Doubles, bought: npt.NDArray[np.bool_], edges: Doubles, params: WishlistParams
) -> tuple[Doubles, Doubles]:
    """Purchases a wish a day in each bucket of ages, shrunk to the curve of the half-life; and the purchases seen.

    Args:
        days: float64[w], how long each wish stood.
        bought: bool[w], whether a purchase ended it.
        edges: float64[b], where each bucket begins.
        params: half-life and prior.
    """
    ends = np.append(edges[1:], np.inf)
    exposed = (np.clip(days[:, None], edges, ends) - edges).sum(axis=0)
    counts = np.bincount(np.searchsorted(edges, days[bought], "right") - 1, minlength=len(edges)).astype(np.float64)
    middle = np.append((edges[1:] + edges[:-1]) / 2, edges[-1])
    shape = np.exp2(-middle / params.half_life_days)
    level = (counts.sum() + 1) / (float(exposed @ shape) + 1 / USUAL_HAZARD)
    return (counts + params.prior) / (exposed + params.prior / (level * shape)), counts
