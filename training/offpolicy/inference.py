"""Intervals of estimates: influence functions summed by subject, whose decisions are not independent.

With G subjects the variance is G / (G - 1) times the sum over subjects of (the sum of their influences) squared, over
n squared (Liang & Zeger 1986; the factor is the finite-cluster correction), and the quantiles are those of Student's t
with G - 1 degrees of freedom. The number of decisions of a subject may vary: means and ratios over decisions are
linearised, which is what the influence function is. Differences are of the same decisions, paired.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from features.errors import ConfigError
from training.offpolicy.estimators import Score
from training.uplift.log import Doubles, Whole


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval.

    Attributes:
        value: NaN where undefined.
        low, high: ends of the interval; NaN with fewer than two subjects, who say nothing of a third.
        error: the standard error.
        n: decisions.
        clusters: subjects.
    """

    value: float
    low: float
    high: float
    error: float
    n: int
    clusters: int


def estimate(score: Score, cluster: Whole, *, confidence: float = 0.95) -> Estimate:
    """The value of a score with its interval.

    Args:
        score: of n decisions.
        cluster: int64[n], numbers of subjects from 0.
        confidence: share of such intervals that hold the truth.

    Raises:
        ConfigError: the confidence is no share, or the lengths differ.
    """
    if not 0 < confidence < 1:
        raise ConfigError("confidence is a share between 0 and 1", got=confidence)
    if len(score.influence) != len(cluster):
        raise ConfigError("each decision needs its subject", got=(len(score.influence), len(cluster)))
    groups = _groups(cluster)
    error = standard_error(score.influence, cluster)
    half = error * float(stdtrit(groups - 1, (1 + confidence) / 2)) if groups > 1 else np.nan
    return Estimate(score.value, score.value - half, score.value + half, error, len(cluster), groups)


def standard_error(influence: Doubles, cluster: Whole) -> float:
    """The clustered standard error of an estimate from its influence function; NaN with fewer than two subjects."""
    groups = _groups(cluster)
    if groups < 2:
        return np.nan
    sums = np.bincount(cluster, weights=influence)
    return float(np.sqrt(groups / (groups - 1) * (sums @ sums))) / len(influence)


def difference(mine: Score, other: Score) -> Score:
    """mine - other, of the same decisions."""
    return Score(mine.value - other.value, mine.influence - other.influence)


def relative(mine: Score, other: Score) -> Score:
    """mine / other, of the same decisions, by the delta method; NaN where the other is 0 or undefined."""
    if not other.value:
        return Score(np.nan, np.full(len(mine.influence), np.nan))
    value = mine.value / other.value
    return Score(value, (mine.influence - value * other.influence) / other.value)


def two_sided(score: Score, cluster: Whole, expected: float) -> tuple[float, float]:
    """z and p of the hypothesis that the estimated figure is `expected`; an exact match without any error has p = 1."""
    error = standard_error(score.influence, cluster)
    groups = _groups(cluster)
    gap = score.value - expected
    if np.isnan(error) or np.isnan(gap):
        return np.nan, np.nan
    if error <= 1e-12:
        return (0.0, 1.0) if abs(gap) <= 1e-9 else (float(np.copysign(np.inf, gap)), 0.0)
    z = gap / error
    return z, float(2 * stdtr(groups - 1, -abs(z)))


def _groups(cluster: Whole) -> int:
    return int(cluster.max()) + 1 if len(cluster) else 0
