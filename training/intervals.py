"""Intervals over customers: a bootstrap for means, and for shares one that holds where nothing or all was found.

Customers are drawn with replacement, whole, so that what one customer did twice is never counted as two
independent observations (Efron & Tibshirani 1993, chapter 13: percentile intervals). Everything is seeded: the
same scores give the same interval.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from features.errors import ConfigError

Floats = npt.NDArray[np.float64]
Name = TypeVar("Name", bound=Hashable)
_CELLS = 4_000_000
"""Drawn customers held in memory at once."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its interval.

    Attributes:
        value: the mean of the defined scores; NaN without any.
        low, high: ends of the interval; NaN with fewer than two customers, which say nothing of a third.
        n: customers that have a defined score.
        undefined: customers that have none (NaN): they are counted, not taken for zero.
    """

    value: float
    low: float
    high: float
    n: int
    undefined: int


def mean(scores: Floats) -> float:
    """Mean of the defined scores; NaN without any."""
    defined = scores[np.isfinite(scores)]
    return float(defined.mean()) if len(defined) else float("nan")


def mean_interval(
    scores: Floats,
    *,
    clusters: npt.NDArray[Any] | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The mean over customers and its bootstrap interval.

    Args:
        scores: float64[n], one per customer; NaN where undefined.
        clusters: [n], equal for rows that belong to one person or household; default: every row is its own.
        resamples: how often customers are drawn.
        confidence: share of resamples inside the interval.
        seed: of the draws.

    Raises:
        ConfigError: resamples or confidence make no sense, or the lengths differ.
    """
    _check(resamples, confidence)
    defined = np.isfinite(scores)
    kept = np.asarray(scores, np.float64)[defined]
    undefined = len(scores) - len(kept)
    if not len(kept):
        return Interval(np.nan, np.nan, np.nan, 0, undefined)
    sums, counts = _clustered(kept, None if clusters is None else np.asarray(clusters)[defined])
    value = float(kept.mean())
    if len(sums) < 2:
        return Interval(value, np.nan, np.nan, len(sums), undefined)
    means = _resampled(sums, counts, resamples, np.random.default_rng(seed))
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(value, float(low), float(high), len(sums), undefined)


def mean_intervals(
    columns: Mapping[Name, Floats], *, resamples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> dict[Name, Interval]:
    """`mean_interval` of several scores of the same customers, with the draws of customers made once for all.

    Args:
        columns: name -> float64[n], all defined: row i of each is the same customer.
        resamples, confidence, seed: as in `mean_interval`.

    Raises:
        ConfigError: the columns differ in length, one has undefined scores, or an option makes no sense.
    """
    _check(resamples, confidence)
    if len({len(each) for each in columns.values()}) > 1 or not all(
        np.isfinite(each).all() for each in columns.values()
    ):
        raise ConfigError("columns must be of the same customers and defined for each", got=list(columns))
    table = np.stack([np.asarray(each, np.float64) for each in columns.values()], axis=1)
    n, random = len(table), np.random.default_rng(seed)
    if n < 2:
        return {name: mean_interval(each, resamples=resamples) for name, each in columns.items()}
    means = np.empty((resamples, table.shape[1]))
    for row in range(resamples):  # how often each customer is drawn, times the scores: no copy of the scores is made
        means[row] = np.bincount(random.integers(0, n, n), minlength=n) @ table / n
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    return {
        name: Interval(float(table[:, at].mean()), float(low[at]), float(high[at]), n, 0)
        for at, name in enumerate(columns)
    }


def compare(
    mine: Floats,
    other: Floats,
    *,
    clusters: npt.NDArray[Any] | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The mean of (mine - other) over the same customers, paired, with its interval.

    A customer for whom either score is undefined is left out and counted.

    Args:
        mine, other: float64[n], row i of both is the same customer.
        clusters, resamples, confidence, seed: as in `mean_interval`.

    Raises:
        ConfigError: the two are not of the same customers, or an option makes no sense.
    """
    if len(mine) != len(other):
        raise ConfigError("paired scores must be of the same customers", got=(len(mine), len(other)))
    difference = np.asarray(mine, np.float64) - np.asarray(other, np.float64)
    return mean_interval(difference, clusters=clusters, resamples=resamples, confidence=confidence, seed=seed)


def ratio(mine: Floats, other: Floats, *, resamples: int = 2000, confidence: float = 0.95, seed: int = 0) -> Interval:
    """mean(mine) / mean(other) over the same customers, with its interval; NaN where the second mean is 0.

    A customer for whom either score is undefined is left out and counted.

    Args:
        mine, other: float64[n], row i of both is the same customer.
        resamples, confidence, seed: as in `mean_interval`.

    Raises:
        ConfigError: the two are not of the same customers, or an option makes no sense.
    """
    if len(mine) != len(other):
        raise ConfigError("paired scores must be of the same customers", got=(len(mine), len(other)))
    _check(resamples, confidence)
    defined = np.isfinite(mine) & np.isfinite(other)
    kept = (np.asarray(mine, np.float64)[defined], np.asarray(other, np.float64)[defined])
    n, undefined = int(defined.sum()), int((~defined).sum())
    if not n or not kept[1].any():
        return Interval(np.nan, np.nan, np.nan, n, undefined)
    value = float(kept[0].mean() / kept[1].mean())
    if n < 2:
        return Interval(value, np.nan, np.nan, n, undefined)
    above, below = (_resampled(each, np.ones(n), resamples, np.random.default_rng(seed)) for each in kept)
    drawn = above[below > 0] / below[below > 0]
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(value, float(low), float(high), n, undefined)


def share_interval(found: npt.NDArray[np.bool_], clusters: npt.NDArray[Any], *, confidence: float = 0.95) -> Interval:
    """A share and its Wilson interval, with the effective sample size of rows that come in clusters.

    The rows count as n_eff = p (1 - p) / var(p), var(p) being that of a ratio over clusters (Franco, Little, Louis &
    Slud 2019), at most as many as they are. Where nothing or all was found the rows do not tell how alike those of a
    customer are: each customer counts once. A bootstrap would give such a share an interval of no width.

    Args:
        found: bool[n].
        clusters: [n], equal for rows of one person.
        confidence: share of such intervals that hold the true share.

    Returns:
        n counts clusters; all NaN without rows, no interval with fewer than two clusters.

    Raises:
        ConfigError: confidence makes no sense, or the lengths differ.
    """
    _check(1, confidence)
    if len(found) != len(clusters):
        raise ConfigError("each row needs its cluster", got=(len(found), len(clusters)))
    if not len(found):
        return Interval(np.nan, np.nan, np.nan, 0, 0)
    sums, counts = _clustered(found.astype(np.float64), np.asarray(clusters))
    n, groups, share = len(found), len(sums), float(np.mean(found))
    if groups < 2:
        return Interval(share, np.nan, np.nan, groups, 0)
    size = float(groups)
    if 0 < share < 1:
        variance = groups / (groups - 1) * float(((sums - share * counts) ** 2).sum()) / n**2
        size = min(float(n), share * (1 - share) / variance) if variance > 0 else float(n)
    z = float(ndtri((1 + confidence) / 2))
    middle = (share + z * z / (2 * size)) / (1 + z * z / size)
    half = z / (1 + z * z / size) * np.sqrt(share * (1 - share) / size + z * z / (4 * size * size))
    return Interval(share, max(0.0, middle - float(half)), min(1.0, middle + float(half)), groups, 0)


def _check(resamples: int, confidence: float) -> None:
    if resamples < 1:
        raise ConfigError("resamples must be at least 1", got=resamples)
    if not 0 < confidence < 1:
        raise ConfigError("confidence is a share between 0 and 1", got=confidence)


def _clustered(scores: Floats, clusters: npt.NDArray[Any] | None) -> tuple[Floats, Floats]:
    """Sum and number of the scores of each cluster."""
    if clusters is None:
        return scores, np.ones(len(scores))
    _, where = np.unique(clusters, return_inverse=True)
    counts = np.bincount(where).astype(np.float64)
    return np.bincount(where, weights=scores).astype(np.float64, copy=False), counts


def _resampled(sums: Floats, counts: Floats, resamples: int, random: np.random.Generator) -> Floats:
    """float64[resamples]: the mean over as many clusters as there are, drawn with replacement."""
    n = len(sums)
    chunk = max(1, _CELLS // n)
    alike = bool((counts == counts[0]).all())
    means = []
    for done in range(0, resamples, chunk):
        drawn = random.integers(0, n, (min(chunk, resamples - done), n))
        size = n * counts[0] if alike else counts[drawn].sum(axis=1)
        means.append(sums[drawn].sum(axis=1) / size)
    return np.concatenate(means)
