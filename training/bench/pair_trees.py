"""Trees over the candidates of a pair benchmark: LightGBM learns on held-out pairs in which order to show them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import lightgbm
import numpy as np
import numpy.typing as npt

from training.bench.pair_pool import Mask, Pool
from training.bench.pair_voices import Floats
from training.bench.pair_weights import tuned_weights, weighed
from training.metrics import Rows, hit_matrix
from training.split import Truth, halves

ORDERED = 150
"""Candidates of a customer that trees look at: the first by the weighted sum."""
ROUNDS = 200
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the weighted sum beside the trees that are tried; with 1 there are no trees."""
SETTINGS = {
    "objective": "binary", "num_leaves": 15, "learning_rate": 0.05, "min_data_in_leaf": 200, "feature_fraction": 0.7,
    "lambda_l2": 10.0, "deterministic": True, "force_row_wise": True, "verbosity": -1, "seed": 0,
}  # fmt: skip
Goal = Callable[[Truth], Callable[[Rows], float]]


@dataclass(frozen=True)
class Order:
    """How the candidates of a pool are ordered.

    Args:
        weights: by method, of the sum.
        trees: what orders the first candidates of the sum; None where the sum alone did better.
        share: of the sum beside the trees, both standardised over the candidates of a customer.
    """

    weights: Mapping[str, float]
    trees: lightgbm.Booster | None
    share: float = 0.0

    def scores(self, pool: Pool) -> Floats:
        """float32[n, w]; what the trees do not look at stands behind what they do."""
        summed = weighed(pool, self.weights)
        if self.trees is None:
            return summed
        block, looked_at = columns(pool, summed)
        said = np.zeros(summed.shape, np.float32)
        said[looked_at] = self.trees.predict(block[looked_at], raw_score=True)
        both = (1 - self.share) * _among(said, looked_at) + self.share * _among(summed, looked_at)
        return np.where(looked_at, both, np.float32(-np.inf))


def learned_order(pool: Pool, truth: Truth, goal: Goal, k: int) -> Order:
    """Weights and trees from held-out pairs; how far to trust trees is found on customers they did not learn from.

    Args:
        pool: candidates of the customers of `truth`, in its order.
        truth: their held-out pairs.
        goal: what lists are worth, given a truth.
        k: length of a list.
    """
    first, second = halves(len(truth))
    tried = _with_trees(pool.take(first), truth.take(first), goal, k)
    judged, worth = pool.take(second), goal(truth.take(second))

    def reached(share: float) -> float:
        return worth(judged.shown(_sharing(tried, share).scores(judged), k))

    best = max(reversed(SHARES), key=reached)  # of equal ones the plainest
    return _sharing(_with_trees(pool, truth, goal, k), best)


def _sharing(order: Order, share: float) -> Order:
    return Order(order.weights, None) if share == 1 else replace(order, share=share)


def _among(scores: Floats, looked_at: Mask) -> Floats:
    """Each row standardised over what is looked at; 0 elsewhere."""
    counts = np.maximum(looked_at.sum(axis=1, keepdims=True), 1)
    kept = np.where(looked_at, scores, 0)
    away = np.where(looked_at, scores - kept.sum(axis=1, keepdims=True) / counts, 0)
    spread = np.sqrt(np.square(away).sum(axis=1, keepdims=True) / counts)
    return np.asarray(away / np.where(spread > 0, spread, 1), np.float32)


def columns(pool: Pool, summed: Floats) -> tuple[Floats, Mask]:
    """What the trees read of each candidate, and at which they look.

    Returns:
        float32[n, w, 2 S + 4]: each method's score and rank, the sum and its rank, how many have the item, and how
        many items the customer has, both beside the usual number; bool[n, w].
    """
    scores = np.concatenate([pool.scores, summed[None]])
    ranks = _ranks(np.where(pool.there, scores, -np.inf))
    owned = np.broadcast_to(pool.owned[:, None], pool.items.shape)
    block = np.stack([*scores, *ranks, np.log1p(pool.popular), np.log1p(owned)], axis=-1).astype(np.float32)
    return block, pool.there & (ranks[-1] < ORDERED)


def _with_trees(pool: Pool, truth: Truth, goal: Goal, k: int) -> Order:
    weights = tuned_weights(pool, goal(truth), k)
    block, looked_at = columns(pool, weighed(pool, weights))
    label = hit_matrix(np.where(pool.there, pool.items, -1), truth)[looked_at]
    if not label.any() or label.all():
        return Order(weights, None)  # nothing to tell apart
    data = lightgbm.Dataset(block[looked_at], label.astype(np.float32))
    return Order(weights, lightgbm.train(dict(SETTINGS), data, num_boost_round=ROUNDS))


def _ranks(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The place of each entry along the last axis, 0 for the highest."""
    order = np.argsort(-scores, axis=-1, kind="stable")
    ranks = np.empty_like(scores)
    places = np.broadcast_to(np.arange(scores.shape[-1], dtype=np.float32), scores.shape)
    np.put_along_axis(ranks, order, places, axis=-1)
    return ranks
