"""What a ranking is worth by doubly robust scores: AUTOC, gain at a budget, value of treating the top, deciles.

A score Gamma_i of the effect (`nuisance.contrast_scores`) has the effect of row i as its expectation, also where
probabilities differ between rows, so means over parts of a ranking are effects of these parts. Rows are heads here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from training.calibration import binned
from training.uplift.curves import included
from training.uplift.estimate import Estimate, estimated, unknown
from training.uplift.log import Codes, Doubles, Whole


def autoc(score: Doubles, effect: Doubles, subject: Whole, *, confidence: float = 0.95) -> Estimate:
    """Area under the targeting operator characteristic (Yadlowsky, Fleming, Shah, Brunskill & Wager 2021), weight 1.

    TOC(q) = mean Gamma of the share q of highest score - mean Gamma of all; AUTOC = integral of TOC(q) dq, as the mean
    over q = 1/n, 2/n ... 1. Among equal scores each row has their mean, which is the mean over all orders of them. 0 in
    expectation for a ranking that knows nothing of effects.

    Args:
        score: float64[n], NaN where unknown.
        effect: float64[n], doubly robust scores, NaN where unknown.
        subject: int64[n].
        confidence: of the interval.
    """
    kept = np.isfinite(score) & np.isfinite(effect)
    n = int(kept.sum())
    if not n:
        return unknown(subject)
    _, group = np.unique(-score[kept], return_inverse=True)
    size = np.bincount(group)
    mine = effect[kept]
    level = np.repeat(np.bincount(group, weights=mine) / size, size)  # sorted by score, means of equal ones
    rank = np.arange(1, n + 1)
    top = np.cumsum(level) / rank
    value = float(top.mean() - mine.mean())

    def in_group(values: Doubles) -> Doubles:
        """Mean over the rows of equal score, for each row as given."""
        return (np.add.reduceat(values, np.append(0, np.cumsum(size)[:-1])) / size)[group]

    # Derivative of sum_k w_k TOC_k / W by the weight w_i: its own term, and its part in all means at or below it.
    below = np.cumsum((1.0 / rank)[::-1])[::-1]
    pulled = np.cumsum((top / rank)[::-1])[::-1]
    pull = in_group(top) - mine.mean() - value + mine * in_group(below) - in_group(pulled) - (mine - mine.mean())
    return estimated(value, pull / n, subject, kept=kept, confidence=confidence)


def gain_at(
    score: Doubles, effect: Doubles, subject: Whole, share: float, *, over_random: bool = False,
    confidence: float = 0.95,
) -> Estimate:  # fmt: skip
    """Gain per head of treating the top share, against treating nobody or as many at random.

    Mean over all rows of Gamma x inside, minus share x mean Gamma against random. The border is taken as given.

    Args:
        score: float64[n], NaN where unknown.
        effect: float64[n], doubly robust scores, NaN where unknown.
        subject: int64[n].
        share: the budget, as a share of heads.
        over_random: against as many at random.
        confidence: of the interval.

    Raises:
        ConfigError: a share outside (0, 1].
    """
    kept = np.isfinite(score) & np.isfinite(effect)
    if not kept.any():
        return unknown(subject)
    each = effect[kept] * (included(score[kept], share) - (share if over_random else 0.0))
    return estimated(float(each.mean()), (each - each.mean()) / len(each), subject, kept=kept, confidence=confidence)


def value_at(
    score: Doubles, base: Doubles, effect: Doubles, subject: Whole, share: float, *, confidence: float = 0.95
) -> Estimate:  # fmt: skip
    """Reward per head of the policy that treats the top share and nobody else.

    Args:
        score: float64[n], NaN where unknown.
        base: float64[n], doubly robust scores of null.
        effect: float64[n], doubly robust scores of the effect.
        subject: int64[n].
        share: of heads, in (0, 1].
        confidence: of the interval.

    Raises:
        ConfigError: a share outside (0, 1].
    """
    kept = np.isfinite(score) & np.isfinite(effect) & np.isfinite(base)
    if not kept.any():
        return unknown(subject)
    each = base[kept] + effect[kept] * included(score[kept], share)
    return estimated(float(each.mean()), (each - each.mean()) / len(each), subject, kept=kept, confidence=confidence)


def ranks_in_folds(score: Doubles, fold: Codes) -> Doubles:
    """float64[n]: the place of each score within its fold, 0 lowest, 1 highest, equal ones in the middle.

    Out-of-fold scores of different folds come from different models. The average effect that a model learned is high
    just where that of the rows that were kept out is low, so scores pooled as they are rank somewhat against the truth;
    ranks within folds do not. One constant effect for each fold becomes one for all.
    """
    found = np.full(len(score), np.nan)
    for j in np.unique(fold):
        here = np.flatnonzero((fold == j) & np.isfinite(score))
        found[here] = (rankdata(score[here]) - 0.5) / max(len(here), 1)
    return found


@dataclass(frozen=True, slots=True)
class Tenth:
    """One part of the predicted effects.

    Args:
        low, high: least and greatest prediction in it.
        predicted: their mean.
        observed: mean doubly robust score, with its interval.
    """

    low: float
    high: float
    predicted: float
    observed: Estimate


def by_decile(
    predicted: Doubles, effect: Doubles, subject: Whole, *, parts: int = 10, confidence: float = 0.95
) -> tuple[Tenth, ...]:  # fmt: skip
    """Predicted effects beside observed ones, lowest first; fewer parts where many predictions are equal.

    Args:
        predicted: float64[n], effects, NaN where unknown.
        effect: float64[n], doubly robust scores, NaN where unknown.
        subject: int64[n].
        parts: how many.
        confidence: of each interval.
    """
    kept = np.flatnonzero(np.isfinite(predicted) & np.isfinite(effect))
    found = []
    for rows in binned(predicted[kept], parts):
        here = kept[rows]
        mean = float(effect[here].mean())
        observed = estimated(mean, (effect[here] - mean) / len(here), subject[here], confidence=confidence)
        found.append(
            Tenth(float(predicted[here].min()), float(predicted[here].max()), float(predicted[here].mean()), observed)
        )
    return tuple(found)
