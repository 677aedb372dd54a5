"""Weights of methods, chosen on held-out pairs by coordinate ascent over the candidates that any of them proposes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from training.bench.pair_pool import Pool
from training.bench.pair_voices import Floats
from training.metrics import Rows

LADDER = (0.0, 0.05, 0.1, 0.2, 0.3, 0.45, 0.7, 1.0, 1.5, 2.2, 3.2, 4.6, 7.0)
ROUNDS = 5


def tuned_weights(pool: Pool, worth: Callable[[Rows], float], k: int) -> dict[str, float]:
    """Weights whose lists are worth most, as far as changing one of them at a time reaches from all equal.

    Args:
        pool: candidates of the customers to tune on.
        worth: of their lists, int32[n, k] (`training.bench.pair_pool.goal`).
        k: length of a list.
    """
    weights = np.ones(len(pool.names), np.float32)
    best = worth(pool.shown(np.tensordot(weights, pool.scores, axes=1), k))
    for _ in range(ROUNDS):
        before = best
        for place, own in enumerate(pool.scores):
            others = np.where(np.arange(len(weights)) == place, np.float32(0), weights)
            rest = np.tensordot(others, pool.scores, axes=1)
            for weight in LADDER:
                if not (weight or others.any()):
                    continue  # without any weight there is no order
                found = worth(pool.shown(rest + np.float32(weight) * own, k))
                if found > best:
                    best, weights[place] = found, weight
        if best == before:
            break
    return dict(zip(pool.names, (round(float(each), 4) for each in weights), strict=True))


def weighed(pool: Pool, weights: Mapping[str, float]) -> Floats:
    """float32[n, w]: the weighted sum of the scores."""
    return np.asarray(np.tensordot([weights[name] for name in pool.names], pool.scores, axes=1), np.float32)
