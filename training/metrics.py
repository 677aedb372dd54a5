"""Ranking metrics over a matrix of ranked lists, vectorised, one value a customer.

Shapes: `ranked` is int32[n, k], the item rows of n customers, best first, distinct, padded at the end with -1.
The truth is the CSR of the same n customers' relevant items. Where a customer has no relevant item a metric is
undefined: NaN, never 0.

Symbols: R a customer's relevant items, hit_r = 1 if the item at rank r (from 1) is in R, hits@k their sum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from features.errors import DataError
from training.split import Truth

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]
Hits = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]


def hit_matrix(ranked: Rows, truth: Truth) -> Hits:
    """bool[n, k]: whether the item at each place is relevant to that row's customer.

    Raises:
        DataError: the rows are not those of the truth.
    """
    if len(ranked) != len(truth):
        raise DataError("lists and truth are of different customers", got=(len(ranked), len(truth)))
    span = int(max(ranked.max(initial=-1), truth.items.max(initial=-1))) + 1
    if not len(truth.items) or not ranked.size:
        return np.zeros(ranked.shape, bool)
    relevant = np.repeat(np.arange(len(truth)), truth.counts) * span + truth.items
    wanted = np.arange(len(ranked))[:, None] * span + ranked
    return np.isin(wanted, relevant) & (ranked >= 0)


def recall(hits: Hits, relevant: Counts, k: int) -> Floats:
    """recall@k = hits@k / |R|: the share of what was bought that the list found."""
    return _defined(hits[:, :k].sum(axis=1) / np.maximum(relevant, 1), relevant)


def recall_capped(hits: Hits, relevant: Counts, k: int) -> Floats:
    """recall-capped@k = hits@k / min(k, |R|): 1 for the best list of length k, however much was bought."""
    return _defined(hits[:, :k].sum(axis=1) / np.maximum(np.minimum(relevant, k), 1), relevant)


def ndcg(hits: Hits, relevant: Counts, k: int) -> Floats:
    """ndcg@k = (sum over r <= k of hit_r / log2(r + 1)) / (sum over r <= min(k, |R|) of 1 / log2(r + 1)).

    Binary gains; Järvelin & Kekäläinen 2002, with the discount that Burges et al. 2005 made common.
    """
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discount)[np.clip(relevant, 1, k) - 1]
    width = min(k, hits.shape[1])
    gains: Floats = np.einsum("ij,j->i", hits[:, :width], discount[:width])
    return _defined(gains / ideal, relevant)


def average_precision(hits: Hits, relevant: Counts, k: int) -> Floats:
    """map@k = (sum over r <= k of hit_r x hits@r / r) / min(k, |R|), before the mean over customers.

    Manning, Raghavan & Schütze 2008, section 8.4, cut at k.
    """
    cut = hits[:, :k]
    precision = np.cumsum(cut, axis=1) / np.arange(1, cut.shape[1] + 1)
    return _defined((precision * cut).sum(axis=1) / np.clip(relevant, 1, k), relevant)


def reciprocal_rank(hits: Hits, relevant: Counts, k: int) -> Floats:
    """mrr@k = 1 / rank of the first hit among the first k, 0 without one (Voorhees 1999)."""
    cut = hits[:, :k]
    found = cut.any(axis=1)
    first = np.argmax(cut, axis=1) + 1 if cut.shape[1] else np.ones(len(cut))
    return _defined(np.where(found, 1 / first, 0.0), relevant)


def hit_rate(hits: Hits, relevant: Counts, k: int) -> Floats:
    """hr@k = 1 if any of the first k is relevant, else 0."""
    found: Floats = np.any(hits[:, :k], axis=1) * 1.0
    return _defined(found, relevant)


Metric = Callable[[Hits, Counts, int], Floats]
METRICS: Mapping[str, Metric] = {
    "ndcg": ndcg,
    "recall": recall,
    "recall-capped": recall_capped,
    "map": average_precision,
    "mrr": reciprocal_rank,
    "hr": hit_rate,
}
"""Metrics with one value a customer, by the name that stands before `@k`."""


def scores(ranked: Rows, truth: Truth, ks: Sequence[int]) -> dict[str, Floats]:
    """Every metric of `METRICS` at every k.

    Returns:
        `ndcg@20` and so on -> float64[n], NaN for customers without a relevant item.
    """
    hits, relevant = hit_matrix(ranked, truth), truth.counts
    return {f"{name}@{k}": metric(hits, relevant, k) for name, metric in METRICS.items() for k in ks}


def coverage(ranked: Rows, catalogue_size: int, k: int) -> float:
    """coverage@k = distinct items in anyone's first k / items that could be recommended (Ge et al. 2010).

    NaN where nothing could be recommended.
    """
    shown = np.unique(ranked[:, :k])
    return float((shown >= 0).sum() / catalogue_size) if catalogue_size else float("nan")


def novelty(ranked: Rows, buyers: Counts, customers: int, k: int) -> Floats:
    """novelty@k = mean over the first k of -log2(buyers of the item / customers), in bits.

    The self-information of Zhou et al. 2010. An item without buyers counts half a buyer, so that it stays finite.

    Args:
        ranked: int32[n, k].
        buyers: int64[n_items], distinct customers who bought each item before the window.
        customers: how many bought anything before the window.
        k: cut.

    Returns:
        float64[n]; NaN for an empty list.
    """
    cut = ranked[:, :k]
    there = cut >= 0
    share = np.maximum(buyers, 0.5) / max(customers, 1)
    bits = np.where(there, -np.log2(np.minimum(share, 1.0))[cut], 0.0) if len(buyers) else np.zeros(cut.shape)
    listed = there.sum(axis=1)
    return np.where(listed > 0, bits.sum(axis=1) / np.maximum(listed, 1), np.nan)


def intra_list_diversity(ranked: Rows, categories: Rows, k: int) -> Floats:
    """diversity@k = pairs of the first k items that are of different categories / pairs whose categories are known.

    Intra-list diversity (Ziegler et al. 2005) with the distance 1 between items of different categories and 0 else.

    Args:
        ranked: int32[n, k].
        categories: int32[n_items], the code of each item's category; -1 where unknown.
        k: cut.

    Returns:
        float64[n]; NaN where fewer than two of the items have a known category.
    """
    codes = _codes(ranked, categories, k)
    known = (codes >= 0).sum(axis=1)
    alike = np.zeros(len(codes))
    for step in range(1, codes.shape[1]):  # each pair once, by the distance of its places
        alike += ((codes[:, step:] == codes[:, :-step]) & (codes[:, step:] >= 0)).sum(axis=1)
    pairs = known * (known - 1) / 2
    return np.where(pairs > 0, 1 - alike / np.maximum(pairs, 1), np.nan)


def category_coverage(ranked: Rows, categories: Rows, k: int) -> Floats:
    """category-coverage@k = distinct categories among the first k / the most that there could be.

    The most is the smaller of k and the number of categories: subtopic recall (Zhai et al. 2003) of a list that has
    no room for all.

    Args:
        ranked, categories, k: as `intra_list_diversity`.

    Returns:
        float64[n]; NaN where no item has a known category.
    """
    codes = np.sort(_codes(ranked, categories, k), axis=1)
    if not codes.shape[1]:
        return np.full(len(codes), np.nan)
    fresh = np.hstack([np.ones((len(codes), 1), bool), codes[:, 1:] != codes[:, :-1]]) & (codes >= 0)
    most = min(k, len(np.unique(categories[categories >= 0])))
    distinct = fresh.sum(axis=1)
    return np.where(distinct > 0, distinct / max(most, 1), np.nan)


def _codes(ranked: Rows, categories: Rows, k: int) -> Rows:
    """int32[n, k]: the category at each place; -1 where there is no item or its category is unknown."""
    cut = ranked[:, :k]
    return np.where(cut >= 0, categories[cut], -1) if len(categories) else np.full_like(cut, -1)


def _defined(values: Floats, relevant: Counts) -> Floats:
    return np.where(relevant > 0, values, np.nan)
