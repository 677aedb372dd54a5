"""Reward models for the estimators that take one: what each action is expected to bring, fitted on other subjects.

A model is a class with one method, `fit`; anything that has it can be plugged in. `cross_fitted` never asks a model
about a subject that it was fitted on, so that its errors are independent of the rewards they meet (Chernozhukov et
al. 2018).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from features.errors import DataError
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


def folds_of(subject: Whole, folds: int, seed: int = 0) -> Whole:
    """int64[n]: the fold of each decision, by a hash of its subject: the same subject is always in the same fold."""
    salt = np.uint64(mix(np.array([seed]))[0])
    return (mix(mix(subject) ^ salt) % np.uint64(folds)).astype(np.int64)


def cross_fitted(
    log: DecisionLog, reward: Doubles, model: RewardModel, *, folds: int = 5, seed: int = 0
) -> Doubles:  # fmt: skip
    """float64[n, k]: predictions for each decision by a model that was fitted on other subjects.

    Args:
        log: the decisions.
        reward: float64[n]; NaN where it is not known: such decisions are predicted, not learnt from. So are those that
            are not usable.
        model: the reward model.
        folds: at least 2.
        seed: of the folds.

    Raises:
        DataError: too few subjects with a known reward for the folds.
    """
    fold = folds_of(log.subject, folds, seed)
    known = log.usable & np.isfinite(reward)
    found = np.zeros(log.propensity.shape)
    for number in range(folds):
        learnt, asked = known & (fold != number), fold == number
        if not asked.any():
            continue
        if not learnt.any():
            raise DataError("too few subjects to fit a reward model on others", got=len(np.unique(log.subject)),
                            hint=f"more subjects than {folds} folds, or an estimator without a model")  # fmt: skip
        found[asked] = model.fit(log.take(learnt), reward[learnt])(log.take(asked))
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
        l2: weight of the penalty, in rows.
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
        eye = self.l2 * np.eye(design.shape[1])
        pooled = np.linalg.solve(design.T @ design + eye, design.T @ reward)
        coefficients = np.repeat(pooled[:, None], len(log.actions), axis=1)
        for action in np.unique(log.action):
            own, target = design[log.action == action], reward[log.action == action]
            coefficients[:, action] = np.linalg.solve(own.T @ own + eye, own.T @ target + self.l2 * pooled)
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


def _columns(log: DecisionLog, action: Any) -> Doubles:
    """float64[n, p + 2 or 3]: features, slot, position, and the action where one is given."""
    parts = [log.features.astype(np.float64), log.slot[:, None], log.position[:, None]]
    if action is not None:
        parts.append(action[:, None])
    return np.concatenate(parts, axis=1, dtype=np.float64)
