"""Whether anything in a log knows what it cannot: columns from later, effects on the past, a biased measure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import lightgbm
import numpy as np
from scipy import stats

from training.uplift.contrasts import Contrast, area
from training.uplift.log import BEFORE, DecisionLog, Doubles, Mask, Whole
from training.uplift.verdict import SIGNIFICANT, Check, by_limit, by_p, untested

Qini = Callable[[Doubles, Mask, Doubles], float]
"""(score float64[n], treated bool[n], outcome float64[n]) -> Qini of ranking by the score."""

SURE: Final = 3.0
"""An area counts less so many standard errors of its own."""
TOO_WELL: Final = (0.85, 0.95)
"""Areas under the curve of one column for an outcome: warned above, failed above."""
KNOWS_ARM: Final = (0.55, 0.6)
"""The same for the action, in a log where it was drawn."""
PERMUTATIONS: Final = 200
OFF_CENTRE: Final = (3.0, 4.0)
"""Standard errors by which the mean permuted Qini may be off zero: warned above, failed above."""


def leaks(log: DecisionLog, contrasts: Sequence[Contrast], rewards: Sequence[str]) -> Check:
    """Columns that alone tell an outcome or an action too well to have been known before, or are named like one.

    A column counts in both directions, and so does whether it is missing. For rewards that are not 0 or 1 the outcome
    is whether it is above its median.
    """
    name, limit = "leaks", TOO_WELL[1]
    if not log.names:
        return untested(
            name, limit, "no features are recorded with these decisions.", "Record features with decisions."
        )
    called = {reward.casefold() for reward in rewards}
    same = [column for column in log.names if column.casefold() in called]
    if same:
        told = f"{', '.join(same)} is both a feature and an outcome."
        return Check(name, "failed", 1.0, limit, told, "Take it out of the features.")
    found = {f"{column} tells {reward}": auc for reward in rewards for column, auc in _outcome_areas(log, reward)}
    arms: dict[str, float] = {}
    if not log.observational:
        arms = {f"{column} tells {each.name}": auc for each in contrasts for column, auc in _arm_areas(each)}
    worst, arm = (max(each, key=each.__getitem__, default="") for each in (found, arms))
    by_outcome = by_limit(name, found.get(worst, 0.5), TOO_WELL, _nearest(worst, found), _LEAK)
    by_arm = by_limit(name, arms.get(arm, 0.5), KNOWS_ARM, _nearest(arm, arms), _LEAK)
    order = ("passed", "warned", "failed")
    checks = sorted((by_outcome, by_arm), key=lambda check: order.index(check.verdict), reverse=True)
    told = f"{checks[0].sentence} ({len(log.names)} columns, each alone)."
    return replace(checks[0], sentence=told)


def _nearest(name: str, found: dict[str, float]) -> str:
    return f"Nearest: {name}, AUC surely above {found[name]:.3f}" if name else "Nothing is near"


_LEAK = "Was that column written after the decision? Then take it out; else override by name."


def _outcome_areas(log: DecisionLog, reward: str) -> list[tuple[str, float]]:
    values = log.reward(reward)
    rows = log.usable & ~np.isnan(values)
    told = values[rows]
    if not len(told):
        return []
    label = told > (0.5 if set(np.unique(told)) <= {0.0, 1.0} else float(np.median(told)))
    return _areas(log.take(rows), label, np.ones(len(told)))


def _arm_areas(contrast: Contrast) -> list[tuple[str, float]]:
    return _areas(contrast.log, contrast.treated, contrast.weight)


def _areas(log: DecisionLog, label: Mask, weight: Doubles) -> list[tuple[str, float]]:
    """Of each column the area, less its uncertainty, of its values in either direction and of its being missing."""
    if label.all() or not label.any():
        return []
    found = []
    for place, name in enumerate(log.names):
        column = log.features[:, place].astype(np.float64)
        unknown = np.isnan(column)
        if log.categorical[place]:  # one direction: of halves that tell each other, chance makes the other one
            areas = [area(_rates(column, log.subject, label, weight), label, weight, log.subject)]
        else:
            areas = _both_ways(np.where(unknown, -np.inf, column), log, label, weight)
        if unknown.any():
            areas += _both_ways(unknown.astype(np.float64), log, label, weight)
        found.append((name, max(0.5, *(each - SURE * error for each, error in areas))))
    return found


def _both_ways(score: Doubles, log: DecisionLog, label: Mask, weight: Doubles) -> list[tuple[float, float]]:
    found, error = area(score, label, weight, log.subject)
    return [(found, error), (1 - found, error)]


def _rates(codes: Doubles, subject: Whole, label: Mask, weight: Doubles) -> Doubles:
    """The share of the label among rows of other people with the same value, shrunk to the whole by 20 rows.

    Halves of the people tell each other: leaving out only the row itself would tell its label.
    """
    _, group = np.unique(np.where(np.isnan(codes), -1.0, codes), return_inverse=True)
    people, place = np.unique(subject, return_inverse=True)
    half = (np.random.default_rng(0).permutation(len(people)) % 2 == 0)[place]
    found = np.empty(len(codes))
    whole, own = float(np.average(label, weights=weight)), 20 * float(weight.mean())
    for side in (half, ~half):
        up = np.bincount(group[~side], (weight * label)[~side], group.max() + 1)
        every = np.bincount(group[~side], weight[~side], group.max() + 1)
        found[side] = ((up + own * whole) / (every + own))[group[side]]
    return found


def placebo(log: DecisionLog, contrasts: Sequence[Contrast]) -> Check:
    """Whether an action changed what had happened before it: rewards named `before:...`.

    Difference of weighted means, error by the delta method, clustered by subject; the smallest p times their number.
    """
    name = "placebo-outcome"
    rewards = [reward for reward in log.rewards if reward.startswith(BEFORE)]
    if not rewards or not contrasts:
        remedy = f"Read the log with a reward such as {BEFORE}revenue, or import an earlier outcome under such a name."
        return untested(name, SIGNIFICANT, "no outcome from before the decision is there.", remedy)
    tests = {(reward, each.name): _shift(each, reward) for reward in rewards for each in contrasts}
    worst = min(tests, key=lambda key: tests[key][1])
    gap, p = tests[worst]
    told = f"The largest of {len(tests)}: {worst[1]} goes with {gap:+.3g} of {worst[0]}, p = {p * len(tests):.3g}"
    remedy = "An action cannot change the past: the groups differed before. Look at balance and at the draw."
    return by_p(name, min(1.0, p * len(tests)), f"{told.rstrip('.')} after counting them all.", remedy)


def _shift(contrast: Contrast, reward: str) -> tuple[float, float]:
    values = contrast.log.reward(reward)
    known = ~np.isnan(values)
    means, parts = [], np.zeros(len(values))
    for side in (contrast.treated & known, ~contrast.treated & known):
        if not side.any():
            return 0.0, 1.0
        total = contrast.weight[side].sum()
        means.append(float((contrast.weight[side] * values[side]).sum() / total))
        sign = 1 if len(means) == 1 else -1
        parts[side] = sign * contrast.weight[side] * (values[side] - means[-1]) / total
    error = float(np.sqrt((np.bincount(np.unique(contrast.log.subject, return_inverse=True)[1], parts) ** 2).sum()))
    gap = means[0] - means[1]
    return gap, float(2 * stats.norm.sf(abs(gap) / error)) if error > 0 else 1.0


def permuted_qini(contrasts: Sequence[Contrast], reward: str, qini: Qini, *, seed: int = 0) -> Check:
    """Whether the Qini of a ranking is zero on average when who got the action is drawn anew.

    The ranking is by expected outcome (out of fold, without the action), the action is drawn again PERMUTATIONS times
    with the probabilities of the log, and outcomes stay: no ranking can then be worth anything. A mean off zero means
    that the measure or its folds are wrong.
    """
    name = "permuted-qini"
    told = next((each for each in contrasts if not each.log.observational and _both_known(each)), None)
    if told is None or not told.log.features.shape[1]:
        return untested(name, OFF_CENTRE[1], "that needs features and an action drawn with known probability.", "")
    outcome = told.log.reward(reward)
    known = ~np.isnan(outcome)
    chance, _ = _pair_chance(told)
    score, random = _expected(told, outcome, known, seed), np.random.default_rng(seed)
    draws = (random.random(int(known.sum())) < chance[known] for _ in range(PERMUTATIONS))
    found = np.array([qini(score[known], drawn, outcome[known]) for drawn in draws])
    error = float(found.std(ddof=1) / np.sqrt(len(found)))
    off = abs(float(found.mean())) / error if error > 0 else 0.0
    words = f"{PERMUTATIONS} draws anew of {told.name} give a mean Qini of {found.mean():.2g} +- {error:.2g}"
    limit = f"their 99th percentile is {np.quantile(found, 0.99):.2g}"
    return by_limit(
        name, off, OFF_CENTRE, f"{words}; {limit}.", "The Qini is biased: check its definition and its folds."
    )


def _pair_chance(contrast: Contrast) -> tuple[Doubles, Mask]:
    """float64[n]: probability of the action, given that it or the other was taken; and where it is known."""
    log = contrast.log
    mine = log.propensity[:, log.actions.index(None if contrast.name == "nothing" else contrast.name)]
    total = mine + log.propensity[:, 0] if contrast.other == "nothing" else np.ones(len(log))
    found = mine / total
    return found, ~np.isnan(found)


def _both_known(contrast: Contrast) -> bool:
    return bool(_pair_chance(contrast)[1].all())


def _expected(contrast: Contrast, outcome: Doubles, known: Mask, seed: int) -> Doubles:
    """float64[n]: outcome expected from the features alone, two-fold by subject."""
    log = contrast.log
    people, codes = np.unique(log.subject, return_inverse=True)
    half = (np.random.default_rng(seed).permutation(len(people)) % 2 == 0)[codes]
    parameters = {"objective": "regression", "num_leaves": 8, "min_data_in_leaf": 100, "num_threads": 1,
                  "deterministic": True, "force_row_wise": True, "verbosity": -1, "seed": seed}  # fmt: skip
    categorical = [place for place, listed in enumerate(log.categorical) if listed]
    found = np.zeros(len(log))
    for side in (half, ~half):
        fit = ~side & known
        if fit.any() and side.any():
            data = lightgbm.Dataset(log.features[fit], outcome[fit], categorical_feature=categorical)
            found[side] = np.asarray(lightgbm.train(parameters, data, 60).predict(log.features[side], num_threads=1))
    return found
