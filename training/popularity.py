"""Plain baselines: what sells now, by region with the whole shop as back-off; and what a customer buys again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from features.history import Histories
from features.ids import Array, Vocabulary
from features.kinds import EventType
from features.moments import DAY
from training.interactions import Fitted
from training.split import customers

Doubles = npt.NDArray[np.float64]
_CELLS = 5_000_000
"""Places of all regions' lists together, at most."""


class PopularityParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Popularity."""

    half_life_days: Annotated[float, Meta(gt=0)] = 14.0
    """A purchase this old counts half."""
    back_off: Annotated[float, Meta(ge=0)] = 200.0
    """A region's own sales stand beside so many sales of the whole shop's mix."""


class FrequencyParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Personal frequency: the request counts the customer's own purchases."""

    half_life_days: Annotated[float, Meta(gt=0)] = 120.0
    count_weight: Annotated[float, Meta(ge=0)] = 0.0
    """What a purchase counts beside its decayed weight, however old it is."""
    popular_weight: Annotated[float, Meta(ge=0)] = 0.2
    """What the best seller gets beside the customer's own count: it orders what was bought equally often."""


def fit_popularity(
    known: Histories,
    as_of: int,
    listed: npt.NDArray[np.bool_],
    params: PopularityParams,
    regions: Mapping[int, str],
) -> Fitted:
    """Lists of the most popular items, everywhere and by region.

    Each customer counts once an item, by the latest purchase: g_j = sum over customers of 2^(-age / half-life). Within
    a region the score is own_j + back_off x g_j / sum(g): few sales keep the order of the whole shop, many sales
    make their own.

    Args:
        known: as of the moment.
        as_of: ages are relative to it.
        listed: bool[n_items], the catalogue.
        params: half-life and back-off.
        regions: subject row -> region, where known.

    Returns:
        `items` int32[R + 1, N] best first, ties by row, -1 beyond the end; `scores` float32[R + 1, N]; `regions.*`, the
        vocabulary of the R regions. The last row is everywhere.
    """
    who, what, weight = _latest(known, as_of, listed, params.half_life_days)
    n = len(listed)
    whole = np.bincount(what, weights=weight, minlength=n).astype(np.float64)
    share = whole / whole.sum() if whole.sum() > 0 else whole
    names = sorted(set(regions.values()))
    codes = {name: number for number, name in enumerate(names)}
    code = np.full(len(known), -1, np.int64)
    code[list(regions)] = [codes[name] for name in regions.values()]
    size = int(min(listed.sum(), _CELLS // (len(names) + 1)))
    items, scores = np.full((len(names) + 1, size), -1, np.int32), np.zeros((len(names) + 1, size), np.float32)
    for region in range(len(names)):
        mine = code[who] == region
        own = np.bincount(what[mine], weights=weight[mine], minlength=n)
        _fill(items[region], scores[region], own + params.back_off * share, listed)
    _fill(items[-1], scores[-1], whole, listed)
    arrays: dict[str, Array] = {"items": items, "scores": scores, **Vocabulary.of(names).arrays("regions")}
    return Fitted(arrays)


def fit_frequency(known: Histories, as_of: int, listed: npt.NDArray[np.bool_]) -> Fitted:
    """What orders items that a customer bought equally often, which a whole basket is: how much they sell now.

    Returns:
        `popular` float32[n_items], the popularity of `fit_popularity` everywhere, as a share of the best seller's.
    """
    _, what, weight = _latest(known, as_of, listed, PopularityParams().half_life_days)
    whole = np.bincount(what, weights=weight, minlength=len(listed))
    return Fitted({"popular": (whole / max(whole.max(initial=0), np.finfo(np.float64).tiny)).astype(np.float32)})


def _latest(
    known: Histories, as_of: int, listed: npt.NDArray[np.bool_], half_life_days: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Doubles]:
    """Customer, item and decayed weight of each customer's latest purchase of each item."""
    events, rows = known.events, known.subject_rows()
    mask = (events.type == EventType.PURCHASE) & (events.item >= 0) & customers(known.subjects)[rows]
    mask &= np.append(listed, False)[events.item]  # the row -1 reads the appended False
    pairs = rows[mask].astype(np.int64) * max(len(listed), 1) + events.item[mask]
    # Events of a subject are in order of time, so the first of the reversed pairs is the latest.
    distinct, place = np.unique(pairs[::-1], return_index=True)
    at = events.time[mask][::-1][place]
    weight = np.exp2(-(as_of - at) / (DAY * half_life_days))
    return distinct // max(len(listed), 1), distinct % max(len(listed), 1), weight


def _fill(
    items: npt.NDArray[np.int32], scores: npt.NDArray[np.float32], values: Doubles, listed: npt.NDArray[np.bool_]
) -> None:
    rows = np.flatnonzero(listed)
    order = rows[np.lexsort((rows, -values[rows]))][: len(items)]
    items[: len(order)] = order
    scores[: len(order)] = values[order]
