"""Intervals of rare events: nobody unsubscribed, and yet that is not known to be impossible.

An interval of normal width has no width where nothing happened. What happened under a policy is a sum of events with
weights, so its exact bounds are those of Fay & Feuer 1997 ("Confidence intervals for directly standardized rates: a
method based on the gamma distribution"): Poisson events, the next one of which would have the largest weight. With
equal weights they are the exact Poisson limits: where nothing happened among m, 3.7 / m, one-sided 97.5 % (the rule of
three is the same at 95 %). Differences put the distances of both bounds together in squares (Zou & Donner 2008). What
one subject did counts once: weights are summed by subject.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaincinv

from serving.policies import NULL
from training.intervals import Interval
from training.uplift.log import Codes, Doubles, Mask, Whole


@dataclass(frozen=True, slots=True)
class Logged:
    """What a log says of events.

    Args:
        action: int32[n], what was taken.
        chance: float64[n, k], the probabilities of actions.
        rewards: name -> float64[n]; those that are 0 or 1 are events, of others nothing exact is known.
        worth: name -> what one is worth; what is not there counts 0.
    """

    action: Codes
    chance: Doubles
    rewards: Mapping[str, Doubles]
    worth: Mapping[str, float]


def bounds(weight: Doubles, event: Doubles, subject: Whole, *, confidence: float = 0.95) -> tuple[float, float]:
    """Exact bounds of the sum of weight x event (Fay & Feuer 1997).

    Args:
        weight: float64[n], at least 0.
        event: float64[n], 0 or 1.
        subject: int64[n], whose weights are summed.
        confidence: share of such intervals that hold the truth.
    """
    _, place = np.unique(subject, return_inverse=True)
    summed = np.bincount(place, weights=weight * event)
    top = float(np.bincount(place, weights=weight).max(initial=0.0))
    value, square, tail = float(summed.sum()), float((summed**2).sum()), (1 - confidence) / 2
    if top <= 0:
        return 0.0, 0.0
    low = float(gammaincinv(value**2 / square, tail)) * square / value if square > 0 else 0.0
    value, square = value + top, square + top**2
    return low, float(gammaincinv(value**2 / square, 1 - tail)) * square / value


def slack(
    logged: Logged, reward: str, chances: Doubles, subject: Whole, who: Mask, *, confidence: float = 0.95
) -> tuple[float, float]:
    """How far below and above its estimate the truth may lie, of what a policy adds to an event a decision.

    Args:
        logged: n decisions.
        reward: name of the event.
        chances: float64[n, k], of the policy. What it adds is what its actions bring, less what null brings to those.
        subject: int64[n].
        who: bool[n], among whom; the mean is over them.
        confidence: of the interval.

    Returns:
        (0, 0) for a reward that is no event.
    """
    event = logged.rewards[reward]
    rows = np.flatnonzero(who & np.isfinite(event))
    if not len(rows) or not np.isin(event[rows], (0.0, 1.0)).all():
        return 0.0, 0.0
    took, chance = logged.action[rows], logged.chance[rows]
    mine = chances[rows].copy()
    mine[:, NULL] = 1 - mine[:, NULL]
    weight = mine[np.arange(len(rows)), took] / chance[np.arange(len(rows)), took] / len(rows)
    near = []
    for side in (took != NULL, took == NULL):
        low, high = bounds(weight[side], event[rows][side], subject[rows][side], confidence=confidence)
        value = float(weight[side] @ event[rows][side])
        near.append((value - low, high - value))
    (below, above), (null_below, null_above) = near
    return float(np.hypot(below, null_above)), float(np.hypot(above, null_below))


def widened(
    found: Interval, logged: Logged, chances: Doubles, subject: Whole, *, who: Mask, worth: Mapping[str, float],
    confidence: float = 0.95,
) -> Interval:  # fmt: skip
    """An interval of what a policy adds, at least as wide as events that are worth something leave it unknown.

    Args:
        found: by doubly robust scores.
        logged, chances, subject, who, confidence: as for `slack`.
        worth: reward -> what one is worth.
    """
    below = above = 0.0
    for reward, each in worth.items():
        down, up = slack(logged, reward, chances, subject, who, confidence=confidence)
        down, up = (down, up) if each >= 0 else (up, down)
        below, above = float(np.hypot(below, each * down)), float(np.hypot(above, each * up))
    low, high = np.fmin(found.low, found.value - below), np.fmax(found.high, found.value + above)
    return Interval(found.value, float(low), float(high), found.n, found.undefined)
