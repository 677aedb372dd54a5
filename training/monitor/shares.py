"""Shares of rows that have something: of a window and of its reference, clustered by person.

A share is a ratio of sums over people, x / n; its variance is that of the residuals x - share x n (Cochran 1977).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

CLUSTERS = 20
"""People that each side needs before two shares are compared by a normal law."""


@dataclass(frozen=True, slots=True)
class Share:
    """A share and how sure it is.

    Args:
        hits: rows that have it.
        n: rows.
        error: standard error of the share; NaN with fewer than two people.
        people: clusters.
    """

    hits: float
    n: float
    error: float
    people: int

    @property
    def value(self) -> float:
        """NaN without rows."""
        return self.hits / self.n if self.n else np.nan

    @property
    def ends(self) -> tuple[float, float]:
        """Its 95 % interval after Wilson (1927), with as many rows as would be independent; NaN where not known."""
        share, sure = self.value, float(ndtri(0.975)) ** 2
        if not self.n or not np.isfinite(self.error):
            return np.nan, np.nan
        rows = min(self.n, share * (1 - share) / self.error**2) if self.error > 0 else float(self.people)
        middle, half = share + sure / (2 * rows), np.sqrt(sure * (share * (1 - share) / rows + sure / (4 * rows**2)))
        return float((middle - half) / (1 + sure / rows)), float((middle + half) / (1 + sure / rows))


def share_of(hits: float, n: float, moments: tuple[float, float, float], people: int) -> Share:
    """A share from its sums over people.

    Args:
        hits, n: sums of x and of n.
        moments: sums of x^2, of x n and of n^2.
        people: that have any row.
    """
    if not n or people < 2:
        return Share(hits, n, np.nan, people)
    share = hits / n
    xx, xn, nn = moments
    squares = max(0.0, xx - 2 * share * xn + share**2 * nn)
    return Share(hits, n, float(np.sqrt(squares * people / (people - 1)) / n), people)


def two_sided(one: Share, other: Share) -> float:
    """The chance of so different shares where nothing changed; NaN with too few people on a side."""
    if min(one.people, other.people) < CLUSTERS:
        return np.nan
    gap, error = one.value - other.value, float(np.hypot(one.error, other.error))
    if error == 0:  # nobody has it, or everybody, on both sides; or all of one side and none of the other
        return 1.0 if gap == 0 else 0.0
    return float(2 * ndtr(-abs(gap) / error))
