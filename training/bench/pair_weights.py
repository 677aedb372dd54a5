"""Weights of methods, chosen on held-out pairs by coordinate ascent over the candidates that any of them proposes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from training.bench.pair_data import Known
from training.bench.pair_voices import Floats, Scores
from training.metrics import METRICS, Rows, hit_matrix
from training.split import Truth

Mask = npt.NDArray[np.bool_]
PROPOSED = 200
"""Items that each method proposes to a customer."""
LADDER = (0.0, 0.05, 0.1, 0.2, 0.3, 0.45, 0.7, 1.0, 1.5, 2.2, 3.2, 4.6, 7.0)
ROUNDS = 5
_BATCH = 256


@dataclass(frozen=True)
class Pool:
    """What the methods propose to some customers.

    Args:
        names: of the S methods.
        scores: float32[S, n, w], standardised by customer.
        there: bool[n, w]; False fills a row up.
        hits: bool[n, w], whether it is to be found.
        relevant: int64[n], how many are to be found.
    """

    names: tuple[str, ...]
    scores: Floats
    there: Mask
    hits: Mask
    relevant: npt.NDArray[np.int64]


def standardised(scores: Floats) -> Floats:
    """Each row minus its mean, by its standard deviation over all items; a flat row is 0."""
    spread = scores.std(axis=1, keepdims=True)
    return np.asarray((scores - scores.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1), np.float32)


def pooled(heard: Mapping[str, Scores], known: Known, truth: Truth, k: int) -> Pool:
    """The union of the items that each method would show first, with every method's score of each."""
    count = min(max(PROPOSED, k), known.matrix.shape[1])
    batches = [np.arange(start, min(start + _BATCH, len(truth))) for start in range(0, len(truth), _BATCH)]
    scores, there, hits = zip(*(_proposed(heard, known, truth, places, count) for places in batches), strict=True)
    return Pool(tuple(heard), np.concatenate(scores, axis=1), np.concatenate(there), np.concatenate(hits), truth.counts)


def tuned_weights(pool: Pool, metrics: Sequence[str], k: int) -> dict[str, float]:
    """Weights with the highest mean of the metrics that changing one of them at a time reaches, from all equal.

    Args:
        pool: candidates of the customers to tune on.
        metrics: e.g. `recall@20`, of lists of length k.
        k: length of a list.
    """
    weights = np.ones(len(pool.names), np.float32)
    best = reached(pool, np.tensordot(weights, pool.scores, axes=1), metrics, k)
    for _ in range(ROUNDS):
        before = best
        for place, own in enumerate(pool.scores):
            others = np.where(np.arange(len(weights)) == place, np.float32(0), weights)
            rest = np.tensordot(others, pool.scores, axes=1)
            for weight in LADDER:
                if not (weight or others.any()):
                    continue  # without any weight there is no order
                found = reached(pool, rest + np.float32(weight) * own, metrics, k)
                if found > best:
                    best, weights[place] = found, weight
        if best == before:
            break
    return dict(zip(pool.names, (round(float(each), 4) for each in weights), strict=True))


def reached(pool: Pool, scores: Floats, metrics: Sequence[str], k: int) -> float:
    """The mean of the metrics over the customers of a pool, in the order of float32[n, w] scores."""
    shown = np.where(pool.there, scores, -np.inf)
    top = np.argpartition(-shown, k - 1, axis=1)[:, :k] if shown.shape[1] > k else np.argsort(-shown, axis=1)
    order = np.argsort(-np.take_along_axis(shown, top, axis=1), axis=1, kind="stable")
    hits = np.take_along_axis(pool.hits, np.take_along_axis(top, order, axis=1), axis=1)
    return float(np.mean([np.nanmean(METRICS[name.split("@")[0]](hits, pool.relevant, k)) for name in metrics]))


def _proposed(
    heard: Mapping[str, Scores], known: Known, truth: Truth, places: npt.NDArray[np.intp], count: int
) -> tuple[Floats, Mask, Mask]:
    """Scores, presence and hits of a batch of customers."""
    which = truth.subjects[places].astype(np.intp)
    own = known.matrix[which]
    alike, tops = [], []
    for scores in heard.values():
        found = standardised(scores(which))
        alike.append(found)
        tops.append(best(found, own, count))
    items = np.sort(np.concatenate(tops, axis=1), axis=1)
    there = np.ones(items.shape, bool)
    there[:, 1:] = items[:, 1:] != items[:, :-1]
    there &= np.take_along_axis(own.toarray(), items, axis=1) == 0
    hits = hit_matrix(np.where(there, items, -1), truth.take(places))
    return np.stack([np.take_along_axis(found, items, axis=1) for found in alike]), there, hits


def best(scores: Floats, own: sp.csr_matrix, k: int) -> Rows:
    """int32[n, k]: the k highest items that the customer does not have, best first.

    Args:
        scores: float32[n, items]; of equal ones at the end of a list any may come, always the same.
        own: [n, items], what each customer has; beyond all others it fills a list that would be shorter.
        k: length of a list.
    """
    left = np.array(scores, np.float32)
    left[np.repeat(np.arange(len(left)), np.diff(own.indptr)), own.indices] = -np.inf
    top = np.sort(np.argpartition(-left, k - 1, axis=1)[:, :k], axis=1)
    order = np.argsort(-np.take_along_axis(left, top, axis=1), axis=1, kind="stable")
    return np.take_along_axis(top, order, axis=1).astype(np.int32)
