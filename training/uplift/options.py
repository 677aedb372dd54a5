"""What is wanted of a log's actions: worth, costs, limits; and how effects are studied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from features.errors import ConfigError
from serving.policies import NULL
from training.uplift.boosting import constraints_of
from training.uplift.crossfit import ALL
from training.uplift.log import DecisionLog, Doubles, Mask


@dataclass(frozen=True)
class StudyOptions:
    """What is wanted of the actions.

    Args:
        worth: reward -> what one unit of it is worth; at least one.
        costs: action -> what taking it once costs.
        budget: mean cost a decision that may be spent; None: no limit.
        guards: reward -> what the policy may add to it a decision, at most.
        tier: name of a categorical column of loyalty tiers; empty: none.
        overridden: names of failed checks that are accepted; they stand in the report.
        floor: exploration that the shipped policy keeps.
        cautious: act only where the lower bound of the net value is above 0.
        learners: names of those to try (`training.uplift.crossfit.ALL`); empty: all.
        outcome_monotone, effect_monotone: column -> 1 where outcomes (effects) must not fall with it, -1 where they
            must not rise (`training.uplift.boosting.Shape`).
        folds, seed, permutations, threads: of the estimates.
    """

    worth: Mapping[str, float]
    costs: Mapping[str, float] = field(default_factory=dict)
    budget: float | None = None
    guards: Mapping[str, float] = field(default_factory=dict)
    tier: str = ""
    overridden: Sequence[str] = ()
    floor: float = 0.0
    cautious: bool = False
    learners: Sequence[str] = ()
    outcome_monotone: Mapping[str, Literal[-1, 1]] = field(default_factory=dict)
    effect_monotone: Mapping[str, Literal[-1, 1]] = field(default_factory=dict)
    folds: int = 5
    seed: int = 0
    permutations: int = 200
    threads: int = 0


def check_options(log: DecisionLog, options: StudyOptions) -> None:
    """Names that the log does not have.

    Raises:
        ConfigError, DataError: with what there is.
    """
    if not any(options.worth.values()):
        raise ConfigError("nothing is worth anything", where="worth", hint="name a reward and what one unit is worth")
    for reward in (*options.worth, *options.guards):
        log.reward(reward)
    known = [action for action in log.actions if action is not None]
    for action in options.costs:
        if action not in known:
            raise ConfigError("no such action", where="costs", got=action, hint=f"the log has: {', '.join(known)}")
    for name in options.learners:
        if name not in ALL:
            raise ConfigError("no such learner", where="learners", got=name, hint=f"there are: {', '.join(ALL)}")
    constraints_of({**options.outcome_monotone, **options.effect_monotone}, log.names)
    if options.tier and options.tier not in log.names:
        raise ConfigError("no such column", where="tier", got=options.tier, hint=f"it has: {', '.join(log.names)}")


def costs_in(log: DecisionLog, options: StudyOptions) -> Doubles:
    """float64[k]: the cost of each action; null costs nothing."""
    return np.array([0.0 if action is None else options.costs.get(action, 0.0) for action in log.actions])


def affordable(log: DecisionLog, options: StudyOptions) -> Doubles:
    """float64[k]: the share of those who may have an action to whom the budget allows it, were it the only one."""
    costs = costs_in(log, options) * log.eligible.mean(axis=0)
    if options.budget is None:
        return np.ones(len(costs))
    return np.asarray(np.minimum(1.0, options.budget / np.where(costs > 0, costs, np.inf)) + (costs <= 0), np.float64)


def eligible_in(log: DecisionLog) -> Mask:
    """bool[n, k]: what may be done; nothing, where nothing may."""
    eligible = log.eligible.copy()
    eligible[:, NULL] |= ~eligible.any(axis=1)
    return np.asarray(eligible, np.bool_)


def tiers_of(log: DecisionLog, column: str) -> dict[str, Mask]:
    """Tier -> bool[n]; none where no column is named."""
    return {name: log.features[:, log.names.index(column)] == value for name, value in tier_values(log, column).items()}


def tier_values(log: DecisionLog, column: str) -> dict[str, float]:
    """Tier -> its value in the column; none where no column is named."""
    if not column:
        return {}
    at = log.names.index(column)
    values = log.features[:, at]
    words = log.words[at] if log.words else ()
    return {
        words[int(value)] if int(value) < len(words) else f"{value:g}": float(value)
        for value in np.unique(values[np.isfinite(values)])
    }
