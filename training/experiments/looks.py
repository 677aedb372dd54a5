"""Intervals that stay valid under peeking, and less noise by what was known before.

A report that is read every week is many chances to be wrong. The error that is allowed is shared out among the looks,
1 / (j (j + 1)) of it to the j-th; the shares add up to 1, so the chance that any of the intervals ever misses stays
below what was promised, whatever the looks have to do with each other (a union bound; no model of how a customer's
weeks hang together is needed).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from features.errors import ConfigError
from training.intervals import Interval

Doubles = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
PER_COLUMN: Final = 10
"""Subjects for each column that foretells, at least: with fewer the fit would take the noise for what was foretold."""


def confidence_at(look: int, confidence: float = 0.95) -> float:
    """The confidence of the interval that is shown at a look.

    Args:
        look: 1 for the first.
        confidence: that all intervals of all looks hold.

    Raises:
        ConfigError: there is no look before the first.

    >>> [round(confidence_at(look), 4) for look in (1, 2, 3)]
    [0.975, 0.9917, 0.9958]
    """
    if look < 1:
        raise ConfigError("looks are counted from 1", got=look)
    return 1 - (1 - confidence) / (look * (look + 1))


@dataclass(frozen=True, slots=True)
class Difference:
    """Treated minus held out.

    Args:
        found: the difference a subject with its interval; `n` counts subjects of both groups.
        treated, held: subjects of each group.
        saved: share of the variance that the pre-period took away; 0 without one.
        error: standard error of the difference.
        freedom: degrees of freedom of the error (Welch 1947, Satterthwaite 1946).
    """

    found: Interval
    treated: int
    held: int
    saved: float
    error: float = float("nan")
    freedom: float = float("inf")

    @property
    def p(self) -> float:
        """Two-sided p-value of no difference, by Welch's t; NaN where there is no interval."""
        if not np.isfinite(self.error):
            return float("nan")
        if self.error == 0:
            return 1.0 if self.found.value == 0 else 0.0
        return float(2 * stats.t.sf(abs(self.found.value) / self.error, self.freedom))


def difference(
    outcome: Doubles, treated: Mask, before: Doubles | None = None, *, confidence: float = 0.95
) -> Difference:
    """The difference of two means, with the part of the outcome taken out that the past foretold (Deng et al. 2013).

    y' = y - (x - mean(x)) theta, theta the least-squares slope of y on x within the groups: cov(y, x) / var(x) where x
    is one column. The difference stays unbiased, because x was known before anybody was treated.

    Args:
        outcome: float64[n], one a subject.
        treated: bool[n].
        before: float64[n] or [n, p], what was known before, such as the same of the pre-period; NaN counts as the mean
            (nothing is known of that subject). Of more columns than a tenth of the subjects the first ones are used.
        confidence: of the interval.

    Returns:
        By Welch's t, whose tails are what a late look asks for; NaN with the counts where a group has fewer than two
        subjects.
    """
    counts = int(treated.sum()), int((~treated).sum())
    nothing = float("nan")
    if min(counts) < 2:
        return Difference(Interval(nothing, nothing, nothing, sum(counts), 0), *counts, 0.0)
    values, saved, columns = outcome, 0.0, 0
    if before is not None:
        told = _affordable(before.reshape(len(outcome), -1))
        columns = told.shape[1]
        values, saved = adjusted(outcome, treated, told)
    one, other = values[treated], values[~treated]
    gap = float(one.mean() - other.mean())
    fitted = _fitted(len(values), columns)
    parts = fitted * one.var(ddof=1) / len(one), fitted * other.var(ddof=1) / len(other)
    error, freedom = float(np.sqrt(sum(parts))), float("inf")
    if error > 0:
        freedom = float(sum(parts) ** 2 / (parts[0] ** 2 / (len(one) - 1) + parts[1] ** 2 / (len(other) - 1)))
    reach = float(stats.t.ppf((1 + confidence) / 2, freedom)) * error
    return Difference(Interval(gap, gap - reach, gap + reach, len(values), 0), *counts, saved, error, freedom)


def _affordable(before: Doubles) -> Doubles:
    """float64[n, p]: the first columns that differ, one for every PER_COLUMN subjects."""
    known = np.where(np.isfinite(before), before, np.nan)
    differs = np.fmax.reduce(known, axis=0, initial=-np.inf) > np.fmin.reduce(known, axis=0, initial=np.inf)
    return known[:, np.flatnonzero(differs)[: len(before) // PER_COLUMN]]


def _fitted(n: int, columns: int) -> float:
    """By how much slopes of p columns that were fitted to n subjects make a variance look too small.

    n / (n - 2 - p) for what the fit took of the noise, and as much again for the error of the slopes where groups
    differ in the columns by chance: their share of the treatment's variance is p / n in the mean.
    """
    return (n / (n - 2 - columns)) ** 2 if columns else 1.0


def rates(outcome: Doubles, treated: Mask, *, confidence: float = 0.95) -> Difference:
    """The difference of two shares that may be tiny or zero (Newcombe 1998, method 10: from Wilson's intervals).

    A share of zero in a small group has no variance that could be seen, yet is far from known.

    Args:
        outcome: float64[n] of 0 and 1.
        treated: bool[n]; both groups have subjects.
        confidence: of the interval.

    Returns:
        `error` is that of the side towards zero, so that `p` and the interval say the same.
    """
    z = float(stats.norm.ppf((1 + confidence) / 2))
    told = []
    for group in (outcome[treated], outcome[~treated]):
        n, share = len(group), float(group.mean())
        middle = (share + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
        told.append((share, middle - half, middle + half))
    (one, one_low, one_high), (other, other_low, other_high) = told
    gap = one - other
    below, above = (
        float(np.hypot(one - one_low, other_high - other)),
        float(np.hypot(one_high - one, other - other_low)),
    )
    counts = int(treated.sum()), int((~treated).sum())
    found = Interval(gap, gap - below, gap + above, len(outcome), 0)
    return Difference(found, *counts, 0.0, (below if gap > 0 else above) / z)


def adjusted(outcome: Doubles, treated: Mask, before: Doubles) -> tuple[Doubles, float]:
    """float64[n]: outcomes without what the pre-period foretold, and the share of the variance that this took away."""
    filled = _filled(before.reshape(len(outcome), -1).astype(np.float64))
    x, y = filled.copy(), outcome.astype(np.float64)
    for group in (treated, ~treated):  # within groups: an effect must not leak into theta
        x[group] -= x[group].mean(axis=0)
        y = np.where(group, y - y[group].mean(), y)
    scale = np.sqrt((x**2).sum(axis=0))
    varies, whole = scale > 1e-9 * np.sqrt((filled**2).sum(axis=0) + 1e-300), float(y @ y)
    if not varies.any() or whole <= 0:
        return outcome, 0.0
    x, kept = x[:, varies] / scale[varies], filled[:, varies]
    theta = np.linalg.lstsq(x, y, rcond=1e-9)[0] / scale[varies]
    foretold = x @ (theta * scale[varies])
    return outcome - (kept - kept.mean(axis=0)) @ theta, min(1.0, float(foretold @ foretold) / whole)


def _filled(before: Doubles) -> Doubles:
    """Unknown values as the mean of their column; 0 where nothing of it is known."""
    known = np.isfinite(before)
    counts = known.sum(axis=0)
    means = np.where(known, before, 0.0).sum(axis=0) / np.maximum(counts, 1)
    return np.where(known, before, means)
