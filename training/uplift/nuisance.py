"""What effects are learned beside: the outcome that each action would have, and the probability of each action.

No row is ever predicted by a model that saw its subject. For the rows that an effect model learns from, when fold j is
kept for judging it, the outcome models saw neither j nor the row's own fold: nothing of a judged outcome reaches the
model that is judged on it, not even through another's pseudo-outcome. With K folds that is K(K-1)/2 + K + 1 fits an
action, and one of a pair (j, m) serves both folds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import lightgbm
import numpy as np

from features.errors import DataError
from training.uplift.boosting import Boosters, Shape, constraints_of, fit_trees, in_threads, predicted
from training.uplift.log import NULL, Codes, DecisionLog, Doubles, Mask, Whole

LEAST_ARM = 40
"""Decisions of an action that a model is learned from, at least; with fewer its effect is undefined."""
FLOOR = 0.02
"""Least estimated probability of an action: below it one decision would count as more than fifty."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Probabilities of actions.

    Args:
        chance: float64[n, k].
        estimated: whether they are estimates and not what was recorded.
        clipped: rows in which an estimate was raised to `FLOOR`.
    """

    chance: Doubles
    estimated: bool
    clipped: int


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Predicted outcomes of every action.

    Args:
        out: float64[n, k], by models that did not see the row's fold; NaN for an action taken too seldom.
        without: for each fold j float64[n, k]: rows outside of j by models that saw neither j nor their own fold, rows
            of j as in `out`.
        models: for each fold j the models fitted without it.
        full: the models fitted on everything.
        seconds: processor time of all fits.
    """

    out: Doubles
    without: tuple[Doubles, ...]
    models: tuple[Boosters, ...]
    full: Boosters
    seconds: float


def choice_of(log: DecisionLog, fold: Codes, rows: Mask, shape: Shape, *, threads: int = 0) -> Choice:
    """The probabilities of actions: as recorded, or estimated where nobody drew them.

    Estimates come from a multi-class model of the action given the features, out of fold, zero where the action was not
    eligible, raised to `FLOOR` and scaled to sum to 1.

    Args:
        log: decisions.
        fold: int32[n].
        rows: bool[n], those to learn from.
        shape: of the trees.
        threads: 0 is all processors.
    """
    if not log.observational:
        return Choice(log.propensity, False, 0)
    numbers = np.unique(fold)
    k = len(log.actions)
    work = [
        partial(
            fit_trees, log.features[rows & (fold != j)], log.action[rows & (fold != j)].astype(np.float64), shape,
            arms=k, objective="multiclass", classes=k,
        )
        for j in numbers
    ]  # fmt: skip
    chance = np.empty((len(log), k))
    for j, (booster, _) in zip(numbers, in_threads(work, threads=threads), strict=True):
        chance[fold == j] = predicted(booster, log.features[fold == j])
    chance = np.where(log.eligible, chance, 0.0)
    low = log.eligible & (chance < FLOOR)
    chance = np.where(low, FLOOR, chance)
    return Choice(chance / chance.sum(axis=1, keepdims=True), True, int(low.any(axis=1).sum()))


def outcomes_of(
    log: DecisionLog, reward: Doubles, fold: Codes, rows: Mask, shape: Shape, *, threads: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> Outcomes:  # fmt: skip
    """Models of the outcome by action, cross-fitted.

    Args:
        log: decisions.
        reward: float64[n].
        fold: int32[n], 0 to K-1.
        rows: bool[n], those to learn from.
        shape: of the trees.
        threads: 0 is all processors.
        progress: told how many of `fits(K, k)` were done since the last call.

    Raises:
        DataError: the null action was taken too seldom: no effect against it can be known.
    """
    count = int((rows & (log.action == NULL)).sum())
    if count < 2 * LEAST_ARM:
        hint = "effects are against null: a share of the subjects has to get nothing"
        raise DataError("the null action was hardly ever taken", got=count, hint=hint)
    k, folds = len(log.actions), int(fold.max()) + 1
    constraints = constraints_of(shape.outcome_monotone, log.names)
    kept_out = [(), *((j,) for j in range(folds)), *combinations(range(folds), 2)]

    def fit(out: tuple[int, ...], action: int) -> tuple[lightgbm.Booster | None, Doubles | None]:
        """The model, or for a pair of folds (whose models are many) only what it says of their rows."""
        here = np.flatnonzero(rows & (log.action == action) & ~np.isin(fold, out))
        if len(here) < LEAST_ARM:
            return None, None
        booster = fit_trees(log.features[here], reward[here], shape, monotone=constraints)
        said = predicted(booster, log.features[np.isin(fold, out)]) if out else None
        return (None if len(out) > 1 else booster), said

    work = [partial(fit, out, action) for out in kept_out for action in range(k)]
    found = in_threads(work, threads=threads, progress=progress)
    fitted = {out: [each for each, _ in found[at * k : (at + 1) * k]] for at, out in enumerate(kept_out)}
    out, without = _assembled({o: [said for _, said in each] for o, each in fitted.items()}, fold, k)
    models = {o: tuple(model for model, _ in each) for o, each in fitted.items() if len(o) < 2}
    return Outcomes(out, without, tuple(models[(j,)] for j in range(folds)), models[()], sum(each[1] for each in found))


def fits(folds: int, actions: int) -> int:
    """How many models `outcomes_of` fits."""
    return (1 + folds + folds * (folds - 1) // 2) * actions


def _assembled(
    said: dict[tuple[int, ...], list[Doubles | None]], fold: Codes, k: int
) -> tuple[Doubles, tuple[Doubles, ...]]:
    """Predictions of single folds and of pairs, put where they belong."""
    folds = int(fold.max()) + 1
    out = np.full((len(fold), k), np.nan)
    places: list[Whole] = [np.flatnonzero(fold == j) for j in range(folds)]
    for j in range(folds):
        for action, each in enumerate(said[(j,)]):
            if each is not None:
                out[places[j], action] = each
    without = []
    for j in range(folds):
        other = out.copy()
        for m in range(folds):
            if m == j:
                continue
            pair = (min(j, m), max(j, m))
            inside = fold[np.isin(fold, pair)] == m
            for action, each in enumerate(said[pair]):
                other[places[m], action] = np.nan if each is None else each[inside]
        without.append(other)
    return out, tuple(without)


def action_scores(action: Codes, reward: Doubles, chance: Doubles, outcome: Doubles) -> Doubles:
    """float64[n, k]: doubly robust scores; the mean of column a estimates the mean reward were a always taken.

    Gamma_a = mu_a(x) + 1[A = a] (Y - mu_a(x)) / e_a(x) (Robins, Rotnitzky & Zhao 1994).

    Args:
        action: int32[n], what was taken.
        reward: float64[n]; NaN where unknown, and so is the row.
        chance: float64[n, k], probabilities of actions.
        outcome: float64[n, k], predicted outcomes, out of fold.

    Returns:
        NaN where the action was not eligible or has no model.
    """
    took = action[:, None] == np.arange(chance.shape[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        corrected = np.where(took, (reward[:, None] - outcome) / chance, 0.0)
    found: Doubles = np.where((chance > 0) & np.isfinite(reward)[:, None], outcome + corrected, np.nan)
    return found


def contrast_scores(action: Codes, reward: Doubles, chance: Doubles, outcome: Doubles) -> Doubles:
    """float64[n, k-1]: doubly robust scores of each action's effect against null; arguments as for `action_scores`."""
    found = action_scores(action, reward, chance, outcome)
    return found[:, 1:] - found[:, :1]
