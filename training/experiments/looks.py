"""Intervals that stay valid under peeking, and less noise by what was known before.

A report that is read every week is many chances to be wrong. The error that is allowed is shared out among the looks,
1 / (j (j + 1)) of it to the j-th; the shares add up to 1, so the chance that any of the intervals ever misses stays
below what was promised, whatever the looks have to do with each other (a union bound; no model of how a customer's
weeks hang together is needed).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from features.errors import ConfigError
from training.intervals import Interval

Doubles = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


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
    """

    found: Interval
    treated: int
    held: int
    saved: float


def difference(
    outcome: Doubles, treated: Mask, before: Doubles | None = None, *, confidence: float = 0.95
) -> Difference:
    """The difference of two means, with the part of the outcome taken out that the past foretold (Deng et al. 2013).

    y' = y - theta (x - mean(x)), theta = cov(y, x) / var(x) within the groups. The difference stays unbiased, because x
    was known before anybody was treated.

    Args:
        outcome: float64[n], one a subject.
        treated: bool[n].
        before: float64[n], the same of the pre-period; NaN counts as the mean (nothing is known of that subject).
        confidence: of the interval.

    Returns:
        NaN with the counts where a group has fewer than two subjects.
    """
    counts = int(treated.sum()), int((~treated).sum())
    nothing = float("nan")
    if min(counts) < 2:
        return Difference(Interval(nothing, nothing, nothing, sum(counts), 0), *counts, 0.0)
    values, saved = (outcome, 0.0) if before is None else adjusted(outcome, treated, before)
    one, other = values[treated], values[~treated]
    gap = float(one.mean() - other.mean())
    error = float(np.sqrt(one.var(ddof=1) / len(one) + other.var(ddof=1) / len(other)))
    reach = float(norm.ppf((1 + confidence) / 2)) * error
    return Difference(Interval(gap, gap - reach, gap + reach, len(values), 0), *counts, saved)


def adjusted(outcome: Doubles, treated: Mask, before: Doubles) -> tuple[Doubles, float]:
    """float64[n]: outcomes without what the pre-period foretold, and the share of the variance that this took away."""
    filled = np.where(np.isfinite(before), before, np.nanmean(before) if np.isfinite(before).any() else 0.0)
    x, y = filled.astype(np.float64), outcome.astype(np.float64)
    for group in (treated, ~treated):  # within groups: an effect must not leak into theta
        x = np.where(group, x - x[group].mean(), x)
        y = np.where(group, y - y[group].mean(), y)
    spread, whole = float(x @ x), float(y @ y)
    if spread <= 0 or whole <= 0:
        return outcome, 0.0
    theta = float(x @ y) / spread
    return outcome - theta * (filled - filled.mean()), float(x @ y) ** 2 / (spread * whole)
