"""Learners of effects, one contract for all: fit on some rows with their nuisances, predict float64[n, k-1].

S, T and X after Kunzel, Sekhon, Bickel & Yu 2019; DR after Kennedy 2023 ("Towards optimal doubly robust estimation of
heterogeneous causal effects"); R after Nie & Wager 2021. With several arms S is one model of all, DR uses every row for
each arm, and T, X and R compare each arm with null. Every effect is a sum of trees and exports as a `Forest`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import lightgbm
import numpy as np

from features.errors import DataError
from serving.trees import Forest
from training.trees import forest_of
from training.uplift.boosting import Boosters, Shape, constraints_of, fit_trees, predicted
from training.uplift.export import Given, asking, specialised, summed
from training.uplift.log import NULL, Codes, Doubles, Floats, Mask, Whole
from training.uplift.nuisance import LEAST_ARM, contrast_scores

LARGEST = 2**31
"""Bytes that the table of an S-learner may have: each arm repeats all columns."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The rows that an effect model is fitted on.

    Args:
        block: float32[m, p], features.
        action: int32[m], what was taken.
        reward: float64[m], all known.
        chance: float64[m, k], probabilities of actions.
        outcome: float64[m, k], predicted outcomes by models that did not see the row's subject.
        models: of each action the model of its outcome, fitted on the rows of this sample in which it was taken.
        names, categorical: of the columns.
        shape: of the trees.
    """

    block: Floats
    action: Codes
    reward: Doubles
    chance: Doubles
    outcome: Doubles
    models: Boosters
    names: tuple[str, ...]
    categorical: tuple[bool, ...]
    shape: Shape

    @property
    def arms(self) -> range:
        """Actions other than null."""
        return range(1, self.chance.shape[1])

    def of(self, *actions: int) -> Whole:
        """Rows in which one of some actions was taken, null and the action being eligible."""
        both = np.all(self.chance[:, [NULL, *actions]] > 0, axis=1)
        return np.flatnonzero(np.isin(self.action, actions) & both)

    def model(self, action: int) -> lightgbm.Booster:
        """The outcome model of a `known` arm, or of null."""
        found = self.models[action]
        assert found is not None
        return found

    def known(self, arm: int) -> bool:
        """Whether there is enough to compare an arm with null, in the inner folds of outcomes as well."""
        if not np.isfinite(self.outcome[self.of(NULL, arm)][:, [NULL, arm]]).all(axis=1).any():
            return False
        return all(self.models[action] is not None and len(self.of(action)) >= LEAST_ARM for action in (NULL, arm))


class Effects(Protocol):
    """A fitted model of effects."""

    def predict(self, block: Floats) -> Doubles:
        """float64[n, k-1] of float32[n, p]: effects against null; NaN for an arm that was taken too seldom."""
        ...


Fit = Callable[[Sample], Effects]


@dataclass(frozen=True)
class TreeEffects:
    """Of each arm a weighted sum of boosters over the features.

    Args:
        terms: for each arm its weights and boosters; empty where it was taken too seldom.
    """

    terms: tuple[tuple[tuple[float, lightgbm.Booster], ...], ...]

    def predict(self, block: Floats) -> Doubles:
        """As `Effects`."""
        found = np.full((len(block), len(self.terms)), np.nan)
        said: dict[int, Doubles] = {}  # null's model stands in the terms of all arms
        for arm, terms in enumerate(self.terms):
            for _, booster in terms:
                if id(booster) not in said:
                    said[id(booster)] = predicted(booster, block)
            if terms:
                found[:, arm] = np.sum([weight * said[id(booster)] for weight, booster in terms], axis=0)
        return found

    def forests(self) -> tuple[Forest | None, ...]:
        """Of each arm its effect as trees that serving can run; None where it is undefined."""
        return tuple(
            summed([(weight, forest_of(booster)) for weight, booster in terms]) if terms else None
            for terms in self.terms
        )


def fit_t(sample: Sample) -> TreeEffects:
    """T: the difference of two models of the outcome, one an arm. Costs nothing: they are the nuisances."""

    def terms(arm: int) -> tuple[tuple[float, lightgbm.Booster], ...]:
        return (1.0, sample.model(arm)), (-1.0, sample.model(NULL))

    return TreeEffects(tuple(terms(arm) if sample.known(arm) else () for arm in sample.arms))


def fit_x(sample: Sample) -> TreeEffects:
    """X: models of the effects imputed for the treated and for the untreated, averaged.

    The weight is the mean conditional probability of the arm, the same for all rows (any weight is allowed; this one
    needs no model of the propensity to serve).
    """
    return TreeEffects(tuple(_x_terms(sample, arm) if sample.known(arm) else () for arm in sample.arms))


def _x_terms(sample: Sample, arm: int) -> tuple[tuple[float, lightgbm.Booster], ...]:
    given, not_given = sample.of(arm), sample.of(NULL, arm)
    not_given = not_given[sample.action[not_given] == NULL]
    both = np.concatenate([given, not_given])
    share = float(np.mean(sample.chance[both, arm] / sample.chance[both][:, [NULL, arm]].sum(axis=1)))
    block, reward = sample.block, sample.reward
    # Each is a model of the other arm, which did not see these rows.
    gained = reward[given] - predicted(sample.model(NULL), block[given])
    missed = predicted(sample.model(arm), block[not_given]) - reward[not_given]
    fit = partial(fit_trees, shape=sample.shape, effect=True, monotone=_effect_constraints(sample))
    return (share, fit(block[not_given], missed)), (1 - share, fit(block[given], gained))


def fit_dr(sample: Sample) -> TreeEffects:
    """DR: a regression on the doubly robust scores, over all rows in which the arm and null were eligible."""
    scores = contrast_scores(sample.action, sample.reward, sample.chance, sample.outcome)

    def terms(arm: int) -> tuple[tuple[float, lightgbm.Booster], ...]:
        rows = np.flatnonzero(np.isfinite(scores[:, arm - 1]))
        booster = fit_trees(
            sample.block[rows], scores[rows, arm - 1], sample.shape, arms=_rows_an_arm(sample, arm, len(rows)),
            effect=True, monotone=_effect_constraints(sample),
        )  # fmt: skip
        return ((1.0, booster),)

    return TreeEffects(tuple(terms(arm) if sample.known(arm) else () for arm in sample.arms))


def fit_r(sample: Sample) -> TreeEffects:
    """R: (Y - m) / (W - e) weighted by (W - e)^2, over the rows in which the arm or null was taken.

    W is whether the arm was taken, e its probability given that one of the two was, and m = (1 - e) mu_0 + e mu_a.
    """

    def terms(arm: int) -> tuple[tuple[float, lightgbm.Booster], ...]:
        rows = sample.of(NULL, arm)
        rows = rows[np.isfinite(sample.outcome[rows][:, [NULL, arm]]).all(axis=1)]
        pair = sample.chance[rows][:, [NULL, arm]]
        e = pair[:, 1] / pair.sum(axis=1)
        left = (sample.action[rows] == arm) - e
        middle = (1 - e) * sample.outcome[rows, NULL] + e * sample.outcome[rows, arm]
        booster = fit_trees(
            sample.block[rows], (sample.reward[rows] - middle) / left, sample.shape,
            arms=_rows_an_arm(sample, arm, len(rows)), weight=left**2, effect=True,
            monotone=_effect_constraints(sample),
        )  # fmt: skip
        return ((1.0, booster),)

    return TreeEffects(tuple(terms(arm) if sample.known(arm) else () for arm in sample.arms))


@dataclass(frozen=True)
class JointEffects:
    """The effects of an S-learner: one booster over the features, one indicator an arm and their products.

    Args:
        booster: its columns are the features; for each arm the features where it was taken, else missing; indicators.
        width: number of features.
        known: bool[k-1], arms that were taken often enough.
    """

    booster: lightgbm.Booster
    width: int
    known: Mask

    def predict(self, block: Floats) -> Doubles:
        """As `Effects`."""
        base = predicted(self.booster, _joint(block, np.zeros(len(block), np.int32), len(self.known)))
        found = np.full((len(block), len(self.known)), np.nan)
        for arm in np.flatnonzero(self.known) + 1:
            taken = np.full(len(block), arm, np.int32)
            found[:, arm - 1] = predicted(self.booster, _joint(block, taken, len(self.known))) - base
        return found

    def forests(self) -> tuple[Forest | None, ...]:
        """Of each arm its effect as trees: those that ask about an action, for the arm and negated for null."""
        forest = forest_of(self.booster)
        return tuple(self._forest(forest, arm) if known else None for arm, known in enumerate(self.known, 1))

    def _forest(self, forest: Forest, arm: int) -> Forest:
        with_arm, with_null = self._given(arm), self._given(NULL)
        trees = asking(forest, self._block(arm))  # others say the same of both
        if not trees:
            nothing = Given(dict.fromkeys(range(self._columns), 0.0), {})
            return summed([(0.0, specialised(forest, nothing, [0]))])
        terms = (1.0, specialised(forest, with_arm, trees)), (-1.0, specialised(forest, with_null, trees))
        return summed(terms)

    def _given(self, arm: int) -> Given:
        """What is known of the columns when an arm, or null, is taken."""
        fixed, same = {}, {}
        for other in range(1, len(self.known) + 1):
            *products, indicator = self._block(other)
            fixed[indicator] = float(other == arm)
            if other == arm:
                same = {column: at for at, column in enumerate(products)}
            else:
                fixed |= dict.fromkeys(products, np.nan)
        return Given(fixed, same)

    def _block(self, arm: int) -> list[int]:
        """Columns of an arm: its products with the features, then its indicator."""
        start = self.width * arm
        return [*range(start, start + self.width), self.width * (len(self.known) + 1) + arm - 1]

    @property
    def _columns(self) -> int:
        return self.width * (len(self.known) + 1) + len(self.known)


def fit_s(sample: Sample) -> JointEffects:
    """S: one model of the outcome, with the action as a column an arm and its products with all features.

    Raises:
        DataError: the table would be too large.
    """
    arms = len(sample.arms)
    size = 4 * len(sample.block) * (sample.block.shape[1] * (arms + 1) + arms)
    if size > LARGEST:
        hint = "fewer actions or features; the other learners do not repeat the columns"
        raise DataError("the S-learner's table is too large", got=f"{size / 2**30:.1f} GiB", hint=hint)
    rows = np.flatnonzero(sample.chance[:, NULL] > 0)
    plain = constraints_of(sample.shape.outcome_monotone, sample.names)
    booster = fit_trees(
        _joint(sample.block[rows], sample.action[rows], arms), sample.reward[rows], sample.shape, arms=arms + 1,
        monotone=[*plain * (arms + 1), *([0] * arms)] if plain else [],
    )  # fmt: skip
    return JointEffects(booster, sample.block.shape[1], np.array([sample.known(arm) for arm in sample.arms]))


def _joint(block: Floats, action: Codes, arms: int) -> Floats:
    """float32[n, p (arms + 1) + arms]: features, features where an arm was taken (else NaN), indicators."""
    took = [(action == arm)[:, None] for arm in range(1, arms + 1)]
    products = [np.where(each, block, np.float32(np.nan)) for each in took]
    return np.concatenate([block, *products, *took], axis=1, dtype=np.float32)


def _rows_an_arm(sample: Sample, arm: int, rows: int) -> float:
    """Rows for each one of the scarcer of an arm and null."""
    return rows / min(len(sample.of(NULL, arm)), *(int((sample.action == a).sum()) for a in (NULL, arm)))


def _effect_constraints(sample: Sample) -> Sequence[int]:
    return constraints_of(sample.shape.effect_monotone, sample.names)


LEARNERS: Mapping[str, Fit] = {"S": fit_s, "T": fit_t, "X": fit_x, "DR": fit_dr, "R": fit_r}
"""By name. At serving each costs two forests of `trees` trees an arm for T, X and at most S, one for DR and R."""
