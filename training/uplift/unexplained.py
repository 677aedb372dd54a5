"""How far the effect on one person is from what was predicted, beside the error of the average.

Calibrated effects leave things out: what trees were too regular to see, what shrinking took away, and what a refit
would have said otherwise. None of it is in the standard error of an average. But doubly robust scores are unbiased for
every person's effect, so what they leave over has a mean in each corner of the features exactly where predictions are
wrong. The variance of that mean can be known, although the mean cannot: products of two people's leftovers have no
noise in common. With whitened features z (mean 0, covariance I) and leftovers r, clustered by subject as u_s = sum z r,

    variance = (|sum of u_s|^2 - sum of |u_s|^2) / n^2        error^2 = 2 |sum of u_s u_s'|^2 / n^4

estimates the variance of the linear projection of what is left on the features without bias (Dicker 2014; Kong &
Valiant 2018), and can be below zero. What is used is its mean given that no variance is: of a normal distribution that
is cut off at zero. So where little is known the spread is wide, and it narrows as the log grows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr

from training.uplift.log import Doubles, Floats, Whole

WORDS = 8
"""Most frequent words of a column that have an indicator of their own."""
_LEAST = 1e-6
"""Directions with less than this share of the largest variance are no directions."""


@dataclass(frozen=True, slots=True)
class Unexplained:
    """The variance, between people, of what predictions leave out.

    Args:
        variance: unbiased, so it can be below zero; NaN without rows or features that differ.
        error: its standard error where there is nothing to be found.
    """

    variance: float
    error: float

    @property
    def spread(self) -> float:
        """As a standard deviation: the mean variance given that it is not negative; 0 where nothing is known."""
        if not np.isfinite(self.variance):
            return 0.0
        return float(np.sqrt(not_negative(self.variance, self.error)))


def not_negative(estimate: float, error: float) -> float:
    """The mean of a normal distribution that is cut off at zero: of a variance that was estimated without bias.

    Args:
        estimate: unbiased, of any sign.
        error: its standard error; at 0 the estimate is believed, and one below zero is zero.
    """
    if error <= 0:
        return max(estimate, 0.0)
    away = estimate / error
    density = np.exp(-(away**2) / 2 - np.log(2 * np.pi) / 2 - log_ndtr(away))
    return max(float(estimate + error * density), 0.0)


def unexplained(left: Doubles, basis: Doubles, subject: Whole, weight: Doubles | None = None) -> Unexplained:
    """The variance of what is left.

    Args:
        left: float64[n], doubly robust scores less the effects that were predicted out of fold; NaN: not known.
        basis: float64[n, q], `basis_of` the features.
        subject: int64[n].
        weight: float64[n], of decisions; must not depend on the features. Default: all weigh the same.
    """
    kept = np.isfinite(left)
    n = int(kept.sum())
    if n < 2:
        return Unexplained(np.nan, np.nan)
    white = _whitened(basis[kept])
    if not white.shape[1]:
        return Unexplained(np.nan, np.nan)
    # Ordered by subject, so that sums over subjects are sums over runs.
    order = np.argsort(subject[kept], kind="stable")
    _, first = np.unique(subject[kept][order], return_index=True)
    weighed = np.ones(n) if weight is None else weight[kept] / weight[kept].mean()
    over = weighed * (left[kept] - np.average(left[kept], weights=weighed))
    parts = np.add.reduceat(white[order] * over[order, None], first, axis=0)
    found = float((parts.sum(axis=0) ** 2).sum() - (parts**2).sum()) / n**2
    return Unexplained(found, float(np.sqrt(2 * ((parts.T @ parts) ** 2).sum())) / n**2)


def basis_of(block: Floats, categorical: Sequence[bool]) -> Doubles:
    """float64[n, q]: ranks of numbers in [0, 1] and where they are missing, an indicator for each frequent word.

    Args:
        block: float32[n, p], NaN where missing.
        categorical: which of the columns are codes.
    """
    columns = [np.zeros((len(block), 0))]
    for values, words in zip(block.T, categorical, strict=True):
        seen = np.isfinite(values)
        known, codes, counts = np.unique(values[seen], return_inverse=True, return_counts=True)
        if words:
            often = np.argsort(-counts, kind="stable")[:WORDS]
            columns.append((values[:, None] == known[often]).astype(np.float64))
        elif len(known):
            ranks = np.full(len(values), 0.5)
            ranks[seen] = ((np.cumsum(counts) - counts / 2) / counts.sum())[codes]
            columns.append(ranks[:, None])
        if not seen.all():
            columns.append((~seen)[:, None].astype(np.float64))
    return np.concatenate(columns, axis=1)


def _whitened(basis: Doubles) -> Doubles:
    """float64[n, rank]: columns of mean 0, variance 1 and no correlation that span the basis."""
    middle: Doubles = basis - basis.mean(axis=0)
    middle = middle[:, middle.std(axis=0) > 1e-9]
    if not middle.shape[1]:
        return middle
    middle /= middle.std(axis=0)
    values, vectors = np.linalg.eigh(middle.T @ middle / len(middle))
    kept = values > _LEAST * values.max()
    found: Doubles = middle @ (vectors[:, kept] / np.sqrt(values[kept]))
    return found
