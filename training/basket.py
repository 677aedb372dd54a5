"""Co-purchase: what is bought in the same basket more often than chance explains."""

from __future__ import annotations

from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from msgspec import Meta

from features.confidence import ConfidenceParams
from features.errors import DataError
from features.history import Histories
from features.kinds import EventType
from features.moments import DAY
from training.collaborative import as_neighbours, heaviest
from training.interactions import Fitted, Progress, silent

Positive = Annotated[int, Meta(ge=1)]
Doubles = npt.NDArray[np.float64]


class CoPurchaseParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Co-purchase neighbours; `confidence` serves the request."""

    neighbours: Positive = 200
    together: Positive = 2
    """Baskets that hold a pair, at least."""
    least_llr: Annotated[float, Meta(ge=0)] = 6.635
    """Log-likelihood ratio a pair must exceed; 6.635 is p < 0.01 (chi-squared, one degree of freedom)."""
    z: Annotated[float, Meta(ge=0)] = 1.96
    """Standard errors that the bound lies below the estimate."""
    largest_basket: Positive = 100
    """Baskets of more distinct items are left out: a reseller's, or a stock-taking."""
    directed: bool = False
    """Weigh by the bound of P(j | i in the basket), which completes a basket, instead of the bound of the lift."""
    binary: bool = False
    """Whether a request weighs each item of the past alike."""
    confidence: ConfidenceParams = ConfidenceParams(half_life_days=60.0)


def fit_co_purchase(
    histories: Histories, params: CoPurchaseParams, *, threads: int = 0, progress: Progress = silent
) -> Fitted:
    """Neighbours by significant co-purchase: the G2 test (Dunning 1993) admits, a lower confidence bound weighs.

    Args:
        histories: as of the moment of the fit.
        params: of the fit.
        threads: ignored: a sparse product has one.
        progress: hears of the start and the end.

    Returns:
        `indptr`, `indices`, `weights` over all items.

    Raises:
        DataError: no pair of items stands out.
    """
    progress(0, 1)
    baskets, left_out = basket_matrix(histories, params.largest_basket)
    pairs = sp.coo_matrix(baskets.T @ baskets)
    away = (pairs.row != pairs.col) & (pairs.data >= params.together)
    rows, columns, both = pairs.row[away], pairs.col[away], pairs.data[away].astype(np.float64)
    each, total = np.asarray(baskets.sum(axis=0)).ravel().astype(np.float64), float(baskets.shape[0])
    first, second = each[rows], each[columns]
    if params.directed:
        weights = conditional_bound(both, first, params.z)
    else:
        weights = lift_bound(both, first, second, total, params.z)
    found = np.flatnonzero((both * total > first * second) & (weights > 0))
    found = found[llr(both[found], first[found], second[found], total) > params.least_llr]
    if not len(found):
        raise DataError("no interactions to learn from: no pair is bought together more than chance", where="baskets")
    n = len(histories.items)
    weighed = sp.csr_matrix((weights[found], (rows[found], columns[found])), shape=(n, n))
    arrays = as_neighbours(heaviest(weighed, params.neighbours))
    progress(1, 1)
    return Fitted(arrays, {"baskets": total, "left out": float(left_out), "pairs": float(len(found))})


def basket_matrix(histories: Histories, largest: int) -> tuple[sp.csr_matrix, int]:
    """Baskets x items, int64, 1 where the basket holds the item; and how many were too large.

    A basket is what a subject bought on one UTC day.
    """
    events = histories.events
    bought = np.flatnonzero((events.type == EventType.PURCHASE) & (events.item >= 0))
    days = events.time[bought] // DAY
    lines = np.stack([histories.subject_rows()[bought], days, events.item[bought]], axis=1).astype(np.int64)
    lines = np.unique(lines, axis=0)
    new = np.ones(len(lines), bool)
    new[1:] = (lines[1:, :2] != lines[:-1, :2]).any(axis=1)
    basket = np.cumsum(new) - 1
    sizes = np.bincount(basket)
    shape = (len(sizes), len(histories.items))
    matrix = sp.csr_matrix((np.ones(len(lines), np.int64), (basket, lines[:, 2])), shape=shape)
    kept = np.flatnonzero(sizes <= largest)
    return matrix[kept], len(sizes) - len(kept)


def llr(both: Doubles, first: Doubles, second: Doubles, total: float) -> Doubles:
    """Dunning's G2 = 2 sum observed x ln(observed / expected) over the table of a pair."""
    cells = (both, first - both, second - both, total - first - second + both)
    sides = ((first, second), (first, total - second), (total - first, second), (total - first, total - second))
    summed = np.zeros_like(both)
    for seen, (row, column) in zip(cells, sides, strict=True):
        ratio = np.where(seen > 0, seen * total / np.maximum(row * column, 1), 1.0)
        summed += seen * np.log(ratio)
    return 2 * summed


def lift_bound(both: Doubles, first: Doubles, second: Doubles, total: float, z: float) -> Doubles:
    """Lower bound of ln(lift), by the delta method on a multinomial table.

    var(ln lift) = 1/both - 1/first - 1/second + (2 lift - 1)/total.
    """
    lift = both * total / (first * second)
    variance = 1 / both - 1 / first - 1 / second + (2 * lift - 1) / total
    return np.log(lift) - z * np.sqrt(np.maximum(variance, 0))


def conditional_bound(both: Doubles, first: Doubles, z: float) -> Doubles:
    """Lower bound of P(second | first) (Wilson 1927)."""
    share = both / first
    spread = z * np.sqrt(share * (1 - share) / first + z**2 / (4 * first**2))
    return (share + z**2 / (2 * first) - spread) / (1 + z**2 / first)
