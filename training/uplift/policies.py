"""Policies learned from effects: the price of a budget, who is better left alone, and how sure that is.

What comes out is a `PolicySpec` that serving applies online, one subject at a time, without looking at the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.errors import ConfigError
from serving.policies import NULL, best_of
from training.intervals import Interval
from training.uplift.estimate import mean_of

Doubles = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Whole = npt.NDArray[np.int64]
ROUNDS = 100
"""Of the bisection for a price: enough for every digit of a float."""


def spent(gross: Doubles, costs: Doubles, eligible: Mask, price: float) -> float:
    """Mean cost a subject when each gets the action with the highest gross - (1 + price) x cost.

    Args:
        gross: float64[n, k], value before cost, 0 for null.
        costs: float64[k], of taking an action once; 0 for null.
        eligible: bool[n, k].
        price: of a unit of cost beyond the cost itself.
    """
    return float(costs[best_of(gross - (1 + price) * costs, eligible)].mean())


def budget_price(gross: Doubles, costs: Doubles, eligible: Mask, budget: float) -> float:
    """The lowest shadow price at which a budget is kept: a multiple-choice knapsack, relaxed (Sinha & Zoltners 1979).

    At the price everybody is decided alone, so serving keeps a budget online. The relaxation loses at most the value of
    one subject's action.

    Args:
        gross, costs, eligible: as for `spent`.
        budget: mean cost a subject that may be spent.

    Raises:
        ConfigError: the budget is negative.
    """
    if budget < 0:
        raise ConfigError("a budget cannot be negative", got=budget)
    if spent(gross, costs, eligible, 0.0) <= budget:
        return 0.0
    low, high = 0.0, 1.0
    while spent(gross, costs, eligible, high) > budget:
        low, high = high, 2 * high
        if high > 1e12:  # an action that costs next to nothing: no price stops it, and no budget needs to
            return high
    for _ in range(ROUNDS):
        middle = (low + high) / 2
        low, high = (low, middle) if spent(gross, costs, eligible, middle) <= budget else (middle, high)
        if high - low <= 1e-12 * high:
            break
    return high


@dataclass(frozen=True, slots=True)
class Block:
    """An action that a group is better off without.

    Args:
        action: place of the action.
        group: of subjects.
        effect: of the action on the group, from doubly robust scores that the groups were not made with.
    """

    action: int
    group: int
    effect: Interval


def sleeping_dogs(
    scores: Doubles, group: Whole, subject: Whole, *, confidence: float = 0.95, least: int = 200
) -> list[Block]:
    """Where an action is known to do harm: the upper bound of its effect on a group is below zero.

    The confidence is shared among all (action, group) pairs that are looked at (Bonferroni), so that the chance of
    blocking anything that does no harm is at most 1 - confidence.

    Args:
        scores: float64[n, k], doubly robust scores of each action (`nuisance.action_scores`), held out.
        group: int64[n], e.g. the tenth of the predicted effect, or the tier; below 0: in none.
        subject: int64[n], intervals cluster by it.
        confidence: of all blocks together.
        least: decisions of a group below which nothing is said.
    """
    numbers = [number for number in np.unique(group[group >= 0]) if (group == number).sum() >= least]
    pairs = [(action, int(number)) for action in range(1, scores.shape[1]) for number in numbers]
    shared = 1 - 2 * (1 - confidence) / max(len(pairs), 1)  # one-sided: the upper end of a two-sided interval
    found = []
    for action, number in pairs:
        rows = group == number
        gain = scores[rows, action] - scores[rows, NULL]
        effect = mean_of(gain, subject[rows], confidence=max(shared, 0.5)).interval
        if effect.high < 0:
            found.append(Block(action, number, effect))
    return found
