"""The population stability index of two histograms, with what chance alone would give it.

    PSI = sum over bins of (p - q) ln(p / q)

is the divergence of Jeffreys (1946): symmetric, 0 for equal shares, additive over independent columns. By habit 0.1 is
worth a look and 0.25 calls for action (Lewis 1994, Siddiqi 2006). The habit knows no sample sizes: for n and m
independent rows in k bins PSI / (1/n + 1/m) is near chi-square with k - 1 degrees of freedom where nothing changed
(Yurdakul & Naranjo 2020), so a small window passes 0.1 by chance.

Rows here are not independent: a person comes several times. With V the covariance of p - q, clustered by person, PSI is
near the sum of lambda_i z_i^2, where lambda are the eigenvalues of D^-1 V and D holds the pooled shares (Rao & Scott
1981). That sum is matched by a scaled chi-square (Satterthwaite 1946):

    scale a = sum lambda^2 / sum lambda,  degrees of freedom = (sum lambda)^2 / sum lambda^2

For independent rows all lambda are 1/n + 1/m and the formula above comes back. The excess, PSI - sum lambda, is PSI
without what chance adds on average; verdicts go by it. Its variance is 2 sum lambda^2 (chance around no change) plus
that of the gradient, by the delta method.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.special import chdtrc, chdtri, ndtri

Doubles = npt.NDArray[np.float64]
SMOOTHING = 0.5
"""Added to each bin of both sides, so that an empty one is no infinity (Krichevsky & Trofimov 1981)."""
EXPECTED = 5.0
"""Bins with fewer independent rows than this, on whichever side they are larger, count as one: the chi-square needs
so many."""
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Histogram:
    """Rows in bins, and how sure their shares are.

    Args:
        counts: float64[k], rows in each bin.
        spread: float64[k, k], covariance of the shares, clustered by person.
        people: clusters behind it.
    """

    counts: Doubles
    spread: Doubles
    people: int

    @property
    def n(self) -> float:
        """Rows."""
        return float(self.counts.sum())

    @property
    def shares(self) -> Doubles:
        """float64[k]; NaN without rows."""
        return self.counts / self.n if self.n else np.full(len(self.counts), np.nan)

    @property
    def effective(self) -> float:
        """Independent rows that would leave the shares as unsure; never more than there are."""
        ideal = float((self.shares * (1 - self.shares)).sum())
        found = float(np.trace(self.spread))
        return min(self.n, ideal / found) if self.n and found > 0 else self.n

    def merged(self, groups: npt.NDArray[np.intp], count: int) -> Histogram:
        """Bins put together: groups[b] says where bin b goes."""
        into = np.zeros((count, len(self.counts)))
        into[groups, np.arange(len(groups))] = 1
        return Histogram(into @ self.counts, into @ self.spread @ into.T, self.people)


@dataclass(frozen=True, slots=True)
class Stability:
    """PSI of two histograms.

    Args:
        value: PSI; NaN where a side is empty or fewer than two bins are left.
        chance: sum of lambda, what PSI is on average where nothing changed.
        band: what it exceeds one time in twenty where nothing changed.
        low, high: interval of `excess`.
        p: the chance of so much where nothing changed.
        bins: that were left to compare.
    """

    value: float
    chance: float
    band: float
    low: float
    high: float
    p: float
    bins: int

    @property
    def excess(self) -> float:
        """PSI beyond what chance adds on average, at least 0."""
        return max(0.0, self.value - self.chance) if np.isfinite(self.value) else np.nan


UNDEFINED = Stability(np.nan, np.nan, np.nan, np.nan, np.nan, np.nan, 0)
SAME = Stability(0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1)
"""All but a few rows of both sides lie in one and the same bin."""


def histogram(person: npt.NDArray[np.int64], code: npt.NDArray[np.int64], rows: Doubles, bins: int) -> Histogram:
    """A histogram from rows counted by person and bin.

    Args:
        person: int64[m], any numbers.
        code: int64[m], bins from 0.
        rows: float64[m], how many rows each pair stands for.
        bins: how many there are.
    """
    counts = np.bincount(code, weights=rows, minlength=bins).astype(np.float64)
    n = counts.sum()
    if not n:
        return Histogram(counts, np.zeros((bins, bins)), 0)
    _, place = np.unique(person, return_inverse=True)
    people = int(place.max()) + 1
    table = sparse.csr_array((rows, (place, code)), shape=(people, bins))
    cross = (table.T @ table).toarray()
    share, total = counts / n, cross.sum(axis=1)
    pull = cross - np.outer(share, total) - np.outer(total, share) + total.sum() * np.outer(share, share)
    factor = people / (people - 1) if people > 1 else np.nan
    return Histogram(counts, pull * factor / n**2, people)


def stability(reference: Histogram, recent: Histogram) -> Stability:
    """PSI of two histograms over the same bins; rare bins are put together first.

    Where a side has fewer than two people the figure stands without band, interval and p.
    """
    if not reference.n or not recent.n:
        return UNDEFINED
    one, other = pooled(reference, recent)
    if len(one.counts) < 2:
        told = min(reference.effective, recent.effective) >= 2 * EXPECTED and min(reference.people, recent.people) > 1
        return SAME if told else UNDEFINED
    p, q = smoothed(one.counts), smoothed(other.counts)
    value = psi(p, q)
    scales = _scales(one, other)
    if not np.isfinite(scales).all() or not scales.sum() > 0:
        return Stability(value, np.nan, np.nan, np.nan, np.nan, np.nan, len(p))
    chance, square = float(scales.sum()), float((scales**2).sum())
    scale, freedom = square / chance, chance**2 / square
    slope_p, slope_q = np.log(p / q) + 1 - q / p, np.log(q / p) + 1 - p / q
    variance = 2 * square + slope_p @ one.spread @ slope_p + slope_q @ other.spread @ slope_q
    half = float(ndtri((1 + CONFIDENCE) / 2) * np.sqrt(variance))
    excess = max(0.0, value - chance)
    return Stability(
        value, chance, float(scale * chdtri(freedom, 1 - CONFIDENCE)), max(0.0, excess - half), excess + half,
        float(chdtrc(freedom, value / scale)), len(p),
    )  # fmt: skip


def psi(p: Doubles, q: Doubles) -> float:
    """The index of two distributions without empty bins.

    >>> psi(np.array([.5, .5]), np.array([.5, .5]))
    0.0
    """
    return float(((p - q) * np.log(p / q)).sum())


def smoothed(counts: Doubles) -> Doubles:
    """float64[k]: shares with something in each bin."""
    found: Doubles = (counts + SMOOTHING) / (counts.sum() + SMOOTHING * len(counts))
    return found


def pooled(one: Histogram, other: Histogram) -> tuple[Histogram, Histogram]:
    """Both with their rare bins put together; bins that both leave empty are gone."""
    share = np.maximum(one.shares, other.shares)  # a bin that all rows of one side lie in is not rare
    expected = share * min(one.effective, other.effective)
    rare = expected < EXPECTED
    kept = np.flatnonzero(~rare)
    together = bool(share[rare].sum() > 0)
    if together and expected[rare].sum() < EXPECTED and len(kept):
        order = np.lexsort((other.counts[kept], one.counts[kept], expected[kept]))  # whatever the order of the bins
        rare[kept[order[0]]] = True  # still too few: the rarest of the others joins them
        kept = np.flatnonzero(~rare)
    groups = np.full(len(share), len(kept), np.intp)
    groups[kept] = np.arange(len(kept))
    count = len(kept) + together
    if not together:
        one, other = (Histogram(h.counts[kept], h.spread[np.ix_(kept, kept)], h.people) for h in (one, other))
        return one, other
    return one.merged(groups, count), other.merged(groups, count)


def _scales(one: Histogram, other: Histogram) -> Doubles:
    """float64[k - 1]: eigenvalues of D^-1 V, which is symmetric after scaling from both sides; one of them is 0.

    None is taken for less than that of independent rows, or of people where they do not differ at all: where all lie in
    one bin, the data show no spread and there is one all the same.
    """
    share = smoothed(one.counts + other.counts)
    spread = one.spread + other.spread
    if not np.isfinite(spread).all():
        return np.array([np.nan])
    root = np.sqrt(share)
    values: Doubles = np.linalg.eigvalsh(spread / np.outer(root, root))
    least = sum(1 / (side.n if np.trace(side.spread) > 0 else side.people) for side in (one, other))
    return np.maximum(values, least)[1:]
