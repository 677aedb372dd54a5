"""Reward models for the estimators that take one: what each action is expected to bring, fitted on other subjects.

A model is a class with one method, `fit`; anything that has it can be plugged in. `cross_fitted` never asks a model
about a subject that it was fitted on, so that its errors are independent of the rewards they meet (Chernozhukov et
al. 2018).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from features.errors import DataError
from training.offpolicy.estimators import counted
from training.simulation.rows import mix
from training.uplift.log import DecisionLog, Doubles, Mask, Whole

Predict = Callable[[DecisionLog], Doubles]
"""float64[n, k]: the expected reward of each action in each decision."""


class RewardModel(Protocol):
    """Something that learns rewards."""

    def fit(self, log: DecisionLog, reward: Doubles) -> Predict:
        """Learn from decisions whose reward is known.

        Args:
            log: the decisions.
            reward: float64[n], finite.
        """
        ...


def dealt_folds(subject: Whole, folds: int, seed: int = 0) -> Whole:
    """int64[n]: the fold of each decision. A subject is in one fold, and folds differ by one subject at most.

    Args:
        subject: int64[n].
        folds: how many, at most as many as there are subjects.
        seed: of the order in which subjects are dealt out.
    """
    distinct, where = np.unique(subject, return_inverse=True)
    salt = mix(np.array([seed]))[0]
    numbers = np.empty(len(distinct), np.int64)
    numbers[np.argsort(mix(mix(distinct) ^ salt), kind="stable")] = np.arange(len(distinct)) % max(folds, 1)
    found: Whole = numbers[where]
    return found


def cross_fitted(log: DecisionLog, reward: str, model: RewardModel, *, folds: int = 5, seed: int = 0) -> Doubles:
    """float64[n, k]: predictions for each decision that counts, by a model that was fitted on other subjects.

    Args:
        log: the decisions. Those that do not count (`counted`) are neither learnt from nor predicted: NaN.
        reward: name of the reward.
        model: the reward model.
        folds: at least 2; with fewer subjects as many as those.
        seed: of the folds.

    Raises:
        DataError: fewer than two subjects.
    """
    rows = np.flatnonzero(counted(log, reward))
    known, target = log.take(rows), log.reward(reward)[rows]
    fold = dealt_folds(known.subject, folds, seed)
    found = np.full(log.propensity.shape, np.nan)
    if len(rows) and fold.max() == fold.min():
        what = "a reward model must be fitted on other subjects"
        raise DataError(what, got=f"{len(np.unique(known.subject))} subjects and {folds} folds", hint="two at least")
    for number in np.unique(fold).tolist():
        asked = fold == number
        found[rows[asked]] = model.fit(known.take(~asked), target[~asked])(known.take(asked))
    return found


@dataclass(frozen=True)
class Constant:
    """One number whatever the decision: 0 turns DR into IPS and SNDR into SNIPS."""

    value: float = 0.0

    def fit(self, log: DecisionLog, reward: Doubles) -> Predict:
        """Nothing is learnt."""
        return lambda asked: np.full(asked.propensity.shape, self.value)


@dataclass(frozen=True)
class Linear:
    """A ridge regression for each action, drawn towards the one over all actions: cheap, and closed in form.

    Columns are the features (standardised, missing ones at their mean) and one indicator a slot but the first. With B
    the pooled coefficients, action a has argmin over b of |y - X b|^2 + l2 |b - B|^2 over its own rows, so that an
    action seen a few times says what all do.

    Args:
        l2: weight of the penalty, in rows; above 0.
    """

    l2: float = 30.0

    def fit(self, log: DecisionLog, reward: Doubles) -> Predict:
        """Solve one small system for each action."""
        values = log.features.astype(np.float64)
        seen = np.isfinite(values)
        count = np.maximum(seen.sum(axis=0), 1)
        mean = np.where(seen, values, 0).sum(axis=0) / count
        spread = np.sqrt((np.where(seen, values - mean, 0) ** 2).sum(axis=0) / count)
        scale = np.where(spread > 0, spread, 1.0)
        design = _design(log, mean, scale)
        order = np.argsort(log.action, kind="stable")
        ends = np.searchsorted(log.action[order], np.arange(len(log.actions) + 1))
        parts = [order[begin:end] for begin, end in pairwise(ends.tolist())]
        gram = np.stack([design[rows].T @ design[rows] for rows in parts])
        right = np.stack([design[rows].T @ reward[rows] for rows in parts])
        eye = self.l2 * np.eye(design.shape[1])
        pooled = np.linalg.solve(gram.sum(axis=0) + eye, right.sum(axis=0))
        coefficients = np.linalg.solve(gram + eye, (right + self.l2 * pooled)[:, :, None])[:, :, 0].T
        return lambda asked: _design(asked, mean, scale) @ coefficients


def _design(log: DecisionLog, mean: Doubles, scale: Doubles) -> Doubles:
    """float64[n, 1 + p + slots - 1]: an intercept, standardised features, indicators of slots."""
    values = (log.features.astype(np.float64) - mean) / scale
    slots = log.slot[:, None] == np.arange(1, len(log.slots))
    return np.concatenate([np.ones((len(log), 1)), np.where(np.isfinite(values), values, 0.0), slots], axis=1)


@dataclass(frozen=True)
class Trees:
    """LightGBM: one model with the action among its columns, or one for each action.

    Boosters are small and single-threaded: shallow trees with many rows a leaf, as effects are small beside noise.

    Args:
        by_action: a model of its own for each action that has at least 2 * `min_leaf` rows; the mean of all for others.
        trees, leaves, min_leaf, rate: of the boosters.
        seed: of the boosters.
    """

    by_action: bool = False
    trees: int = 100
    leaves: int = 8
    min_leaf: int = 100
    rate: float = 0.05
    seed: int = 0

    def fit(self, log: DecisionLog, reward: Doubles) -> Predict:
        """Boost."""
        return self._fit_each(log, reward) if self.by_action else self._fit_one(log, reward)

    def _fit_one(self, log: DecisionLog, reward: Doubles) -> Predict:
        first = float(reward.mean())
        codes = [place for place, code in enumerate((*log.categorical, True, False, True)) if code]
        booster = self._boost(_columns(log, log.action), reward - first, codes)

        def predict(asked: DecisionLog) -> Doubles:
            found = np.full(asked.propensity.shape, first)
            for action in np.flatnonzero(asked.eligible.any(axis=0)):
                rows = np.flatnonzero(asked.eligible[:, action])
                block = _columns(asked.take(rows), np.full(len(rows), action))
                found[rows, action] += booster.predict(block, num_threads=1)
            return found

        return predict

    def _fit_each(self, log: DecisionLog, reward: Doubles) -> Predict:
        first = float(reward.mean())
        codes = [place for place, code in enumerate((*log.categorical, True, False)) if code]
        boosters: dict[int, Any] = {}
        means: dict[int, float] = {}
        for action in np.unique(log.action).tolist():
            own: Mask = log.action == action
            if own.sum() >= 2 * self.min_leaf:
                means[action] = float(reward[own].mean())
                boosters[action] = self._boost(_columns(log.take(own), None), reward[own] - means[action], codes)

        def predict(asked: DecisionLog) -> Doubles:
            found = np.full(asked.propensity.shape, first)
            block = _columns(asked, None)
            for action, booster in boosters.items():
                found[:, action] = means[action] + booster.predict(block, num_threads=1)
            return found

        return predict

    def _boost(self, block: Doubles, target: Doubles, codes: list[int]) -> Any:
        import lightgbm

        data = lightgbm.Dataset(block, target.astype(np.float32), categorical_feature=codes)
        settings = {
            "objective": "regression", "num_leaves": self.leaves, "min_data_in_leaf": self.min_leaf,
            "min_data_per_group": self.min_leaf, "learning_rate": self.rate, "boost_from_average": False,
            "seed": self.seed, "num_threads": 1, "deterministic": True, "force_col_wise": True, "verbosity": -1,
        }  # fmt: skip
        return lightgbm.train(settings, data, num_boost_round=self.trees)


def _columns(log: DecisionLog, action: npt.NDArray[Any] | None) -> Doubles:
    """float64[n, p + 2 or 3]: features, slot, position, and the action where one is given."""
    columns = [log.features, log.slot[:, None], log.position[:, None]]
    return np.hstack([*columns, action[:, None]] if action is not None else columns).astype(np.float64)
