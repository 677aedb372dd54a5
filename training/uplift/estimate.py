"""Estimates with their influence: a figure, its interval clustered by subject, and what each row contributes.

Variances are the infinitesimal jackknife (Jaeckel 1972; Efron 1982, chapter 6): the derivative of the figure by the
weight of a row, summed within a subject, squared and added up. For means it is the usual clustered standard error. It
needs no resampling, so the figures of many models on the same rows cost next to nothing, and two of them are compared
as pairs by the difference of their influences. Models, and the scores that they gave, are taken as given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from features.errors import ConfigError
from training.intervals import Interval
from training.uplift.log import Doubles


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval (or of another confidence).

    Args:
        value: NaN where it is undefined.
        low, high: ends of the interval; NaN with fewer than two subjects.
        error: standard error.
        n: rows behind it.
        undefined: rows that were left out because a score or a reward of theirs is unknown.
        influence: float64[n + undefined], by row, summing to about 0; 0 for those left out.
    """

    value: float
    low: float
    high: float
    error: float
    n: int
    undefined: int
    influence: Doubles

    @property
    def interval(self) -> Interval:
        """Without the influence, for reports."""
        return Interval(self.value, self.low, self.high, self.n, self.undefined)


def estimated(
    value: float, influence: Doubles, clusters: npt.NDArray[np.int64], *, kept: npt.NDArray[np.bool_] | None = None,
    confidence: float = 0.95,
) -> Estimate:  # fmt: skip
    """A figure and its interval from the influence of its rows.

    Args:
        value: the figure.
        influence: float64[m], of the rows that are behind it.
        clusters: int64[n], the subject of every row.
        kept: bool[n], which m of them are behind it; default all.
        confidence: share of such intervals that hold the truth.

    Raises:
        ConfigError: confidence is no share.
    """
    if not 0 < confidence < 1:
        raise ConfigError("confidence is a share between 0 and 1", got=confidence)
    whole = np.zeros(len(clusters))
    whole[slice(None) if kept is None else kept] = influence
    here = clusters if kept is None else clusters[kept]
    _, place = np.unique(here, return_inverse=True)
    sums = np.bincount(place, weights=influence)
    groups = len(sums)
    error = float(np.sqrt(groups / (groups - 1) * (sums**2).sum())) if groups > 1 else np.nan
    half = float(ndtri((1 + confidence) / 2)) * error
    return Estimate(value, value - half, value + half, error, len(influence), len(clusters) - len(influence), whole)


def mean_of(values: Doubles, clusters: npt.NDArray[np.int64], *, confidence: float = 0.95) -> Estimate:
    """The mean of scores, clustered; NaN values are left out and counted.

    Args:
        values: float64[n].
        clusters: int64[n], the subject of every row.
        confidence: of the interval.
    """
    kept = np.isfinite(values)
    if not kept.any():
        return unknown(clusters)
    mean = float(values[kept].mean())
    return estimated(mean, (values[kept] - mean) / kept.sum(), clusters, kept=kept, confidence=confidence)


def unknown(clusters: npt.NDArray[np.int64]) -> Estimate:
    """What cannot be said: NaN, with all rows counted as undefined."""
    return Estimate(np.nan, np.nan, np.nan, np.nan, 0, len(clusters), np.zeros(len(clusters)))


def difference(
    mine: Estimate, other: Estimate, clusters: npt.NDArray[np.int64], *, confidence: float = 0.95
) -> Estimate:
    """Mine minus other, over the same rows, paired.

    Raises:
        ConfigError: they are not of the same rows.
    """
    if len(mine.influence) != len(other.influence):
        raise ConfigError("paired figures must be of the same rows", got=(len(mine.influence), len(other.influence)))
    return estimated(mine.value - other.value, mine.influence - other.influence, clusters, confidence=confidence)
