"""From cross-fitted effects to the numbers that a slot serves with: averages, slopes and spreads, place by place.

Models see slot and position as columns, so what they say is of one place. Their sizes come from doubly robust scores:
the average of an action in a place from its own decisions there, from other places by how much each is looked at
(`places`), and from others of its kind (`kinds`); the slope from all places together; the spread from what is left.

What a policy drew while it was sure of itself says little of the rest: there propensities are small and scores noisy.
So days are weighed by how much their draws can say of an action, by propensities alone, which leaves means unbiased
(Hadad, Hirshberg, Zhan, Wager & Athey 2021).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from serving.effects import Size
from training.slots.kinds import shrunk_to_kinds
from training.slots.places import Examination, Place, combined, elsewhere, examination
from training.uplift.calibration import shrunk
from training.uplift.crossfit import CrossFit
from training.uplift.estimate import estimated
from training.uplift.log import Codes, Doubles, Mask, Whole
from training.uplift.nuisance import action_scores
from training.uplift.unexplained import basis_of, unexplained

SPANS = 20
"""Stretches of time, of equally many decisions, that are weighed as wholes."""


@dataclass(frozen=True)
class Arms:
    """The actions, and where each can be shown.

    Args:
        actions: ids; first those of the log in its order without the one that all are held against, then those that it
            never saw.
        kinds: of each.
        able: bool[actions, places].
    """

    actions: tuple[str, ...]
    kinds: tuple[str, ...]
    able: Mask


@dataclass(frozen=True)
class Averages:
    """Average effects of actions in places, float64[actions, places] each, NaN where nothing is said.

    Args:
        own, own_error: from an action's own decisions in the place.
        other, other_error: from its decisions in other places.
        mean, error: of both, drawn towards the kind.
        decisions: int64[actions, places], in which it was taken.
        looked: how much each place is looked at.
    """

    own: Doubles
    own_error: Doubles
    other: Doubles
    other_error: Doubles
    mean: Doubles
    error: Doubles
    decisions: Whole
    looked: Examination


@dataclass(frozen=True)
class Evidence:
    """What one reward's fits say, and where.

    Args:
        fit: its log's features end with the columns of the place.
        learner: whose effects.
        places: from the top down.
        place: int32[n], of each decision.
        arms: the actions.
    """

    fit: CrossFit
    learner: str
    places: tuple[Place, ...]
    place: Codes
    arms: Arms

    @cached_property
    def scores(self) -> Doubles:
        """float64[n, k]: doubly robust scores; an action without a model is expected to do what its place does.

        Any expectation leaves the scores without bias, so an action counts from its first decision on.
        """
        log, out = self.fit.log, self.fit.outcomes.out
        value = np.where(self.fit.rows, log.reward(self.fit.reward), np.nan)
        usual = np.array([np.nanmean(value[self.place == at]) for at in range(len(self.places))])
        filled = np.where(np.isnan(out), usual[self.place][:, None], out)
        return action_scores(log.action, value, self.fit.choice.chance, filled)

    @cached_property
    def contrasts(self) -> Doubles:
        """float64[n, k-1]: scores against the action that all are held against."""
        return self.scores[:, 1:] - self.scores[:, :1]

    @cached_property
    def effects(self) -> Doubles:
        """float64[n, k-1], out of fold and as learned."""
        return self.fit.effects[self.learner]

    @cached_property
    def weights(self) -> Doubles:
        """float64[n, k-1]: how much a decision's stretch of time can say of each action in its place.

        1 / mean over the stretch of (noise_a / e_a + noise_0 / e_0), the variance of scores there; e are propensities,
        noise is the variance of the reward of all other actions, and of the one that all are held against.
        """
        log, chance = self.fit.log, self.fit.choice.chance
        span = np.argsort(np.argsort(log.decided_at, kind="stable")) * SPANS // len(log)
        cell = span * len(self.places) + self.place
        value = log.reward(self.fit.reward)
        noise = [float(np.nan_to_num(np.nanvar(value[who]))) for who in (log.action == 0, log.action != 0)]
        found: Doubles = np.ones(self.contrasts.shape)
        for arm in range(self.contrasts.shape[1]):
            could = np.isfinite(self.contrasts[:, arm])
            each = noise[1] / chance[could, arm + 1] + noise[0] / chance[could, 0]
            total = np.bincount(cell[could], each, minlength=SPANS * len(self.places))
            count = np.bincount(cell[could], minlength=len(total))
            mean = np.where(total > 0, total, np.nan) / np.maximum(count, 1)
            found[:, arm] = np.nan_to_num(1 / mean, nan=0.0)[cell]
        return found

    def averages(self, rows: Mask) -> Averages:
        """What some of the decisions say."""
        shape = (len(self.arms.actions), len(self.places))
        own, error = np.full(shape, np.nan), np.full(shape, np.nan)
        decisions = np.zeros(shape, np.int64)
        for at in range(len(self.places)):
            here = np.flatnonzero(rows & (self.place == at))
            for arm in range(self.contrasts.shape[1]):
                own[arm, at], error[arm, at] = self._average(here, arm)
                decisions[arm, at] = (self.fit.log.action[here] == arm + 1).sum()
        looked = examination(own, error)
        other, other_error = elsewhere(own, error, looked)
        mean, spread = combined(own, error, other, other_error)
        for at in range(len(self.places)):
            able = self.arms.able[:, at]
            kinds = [kind for kind, may in zip(self.arms.kinds, able, strict=True) if may]
            found = shrunk_to_kinds(mean[able, at], spread[able, at], kinds)
            mean[able, at], spread[able, at] = found.mean, found.error
            mean[~able, at] = spread[~able, at] = np.nan
        return Averages(own, error, other, other_error, mean, spread, decisions, looked)

    def _average(self, here: Whole, arm: int) -> tuple[float, float]:
        """The mean score of an arm, and its error: not less than chance alone makes it at the place's usual noise.

        Few decisions can agree by accident; their own scatter then says too little.
        """
        could = here[np.isfinite(self.contrasts[here, arm]) & (self.weights[here, arm] > 0)]
        if len(could) < 2:
            return np.nan, np.nan
        weight = self.weights[could, arm] / self.weights[could, arm].sum()
        score = self.contrasts[could, arm]
        value = float(weight @ score)
        found = estimated(value, weight * (score - value), self.fit.log.subject[could])
        noise = float(np.var(self.fit.log.reward(self.fit.reward)[could]))
        least = np.sqrt(noise * (weight**2 / self.fit.choice.chance[could, arm + 1]).sum())
        return value, float(max(found.error, least))

    def slopes(self, rows: Mask) -> Doubles:
        """float64[k-1]: how much of the learned differences is kept; all places together, each about its own mean.

        A weighted regression of scores on effects, shrunk as `calibration.ArmCalibration.kept` is.
        """
        kept = np.zeros(self.contrasts.shape[1])
        for arm in range(len(kept)):
            effect, score, weight = self.effects[:, arm], self.contrasts[:, arm], self.weights[:, arm]
            known = rows & np.isfinite(effect) & np.isfinite(score)
            x, y = (each[known] - self.means(each, known, weight)[self.place[known]] for each in (effect, score))
            spread = float(weight[known] @ x**2)
            if spread > 1e-18 * max(float(weight[known].sum()), 1.0):
                slope = float((weight[known] * x) @ y) / spread
                left = weight[known] * x * (y - slope * x) / spread
                kept[arm] = shrunk(slope, estimated(slope, left, self.fit.log.subject[known]).error)
        return kept

    def centres(self, rows: Mask) -> Doubles:
        """float64[k-1, places]: means of the learned effects; NaN where there are none."""
        found = np.full((self.contrasts.shape[1], len(self.places)), np.nan)
        for arm in range(len(found)):
            found[arm] = self.means(
                self.effects[:, arm], rows & np.isfinite(self.contrasts[:, arm]), self.weights[:, arm]
            )
        return found

    def means(self, values: Doubles, rows: Mask, weight: Doubles) -> Doubles:
        """float64[places]: weighted means by place; NaN where there is nothing."""
        known = rows & np.isfinite(values)
        mass = np.bincount(self.place[known], weight[known], minlength=len(self.places))
        total = np.bincount(self.place[known], (weight * values)[known], minlength=len(self.places))
        return np.where(mass > 0, total / np.where(mass > 0, mass, 1.0), np.nan)


@dataclass(frozen=True)
class Sized:
    """Effects of one reward brought to size.

    Args:
        evidence: where they come from.
        averages: from everything.
        sizes: for each place one an action, in the order of `Arms.actions`.
        out: float64[n, actions], effects of each action in the decision's place, out of fold.
        error: float64[n, actions], errors of their averages, out of fold.
        left: float64[actions], how far effects on people are from `out` beside that.
    """

    evidence: Evidence
    averages: Averages
    sizes: tuple[tuple[Size, ...], ...]
    out: Doubles
    error: Doubles
    left: Doubles


def sized(evidence: Evidence) -> Sized:
    """Averages, slopes and spreads: from everything for serving, and from the other folds for judging."""
    fold, place = evidence.fit.fold, evidence.place
    shape = (len(place), len(evidence.arms.actions))
    out, error = np.full(shape, np.nan), np.full(shape, np.nan)
    for j in np.unique(fold):
        here, rows = fold == j, fold != j
        told, kept, centre = evidence.averages(rows), evidence.slopes(rows), evidence.centres(rows)
        out[here], error[here] = told.mean[:, place[here]].T, told.error[:, place[here]].T
        away = kept * (evidence.effects[here] - centre[:, place[here]].T)
        out[here, : away.shape[1]] += np.where(np.isfinite(away), away, 0.0)
    everything = np.ones(len(place), np.bool_)
    averages = evidence.averages(everything)
    kept, centre = evidence.slopes(everything), evidence.centres(everything)
    left = _left(evidence, out, kept)
    sizes = tuple(
        tuple(_size(averages, kept, centre, left, arm, at) for arm in range(shape[1]))
        for at in range(len(evidence.places))
    )
    return Sized(evidence, averages, sizes, out, error, left)


def _left(evidence: Evidence, out: Doubles, kept: Doubles) -> Doubles:
    """float64[actions]: what is left out of an action's effects; where it has no model, all that differs in others."""
    log, arms = evidence.fit.log, evidence.contrasts.shape[1]
    basis = basis_of(log.features, log.categorical)
    found, whole = np.zeros(out.shape[1]), []
    modelled = np.isfinite(evidence.effects).any(axis=0)
    for arm in np.flatnonzero(modelled):
        over = evidence.contrasts[:, arm] - out[:, arm]
        weight = evidence.weights[:, arm]
        over = over - evidence.means(over, np.isfinite(over), weight)[evidence.place]
        found[arm] = unexplained(over, basis, log.subject, weight).spread
        whole.append(found[arm] ** 2 + kept[arm] ** 2 * float(np.nanvar(evidence.effects[:, arm])))
    unknown = np.append(~modelled, np.ones(out.shape[1] - arms, bool))
    found[unknown] = np.sqrt(np.mean(whole)) if whole else 0.0
    return found


def _size(averages: Averages, kept: Doubles, centre: Doubles, left: Doubles, arm: int, at: int) -> Size:
    average, error = float(averages.mean[arm, at]), float(averages.error[arm, at])
    trees = arm < len(kept) and kept[arm] > 0 and np.isfinite(centre[arm, at])
    return Size(
        average if np.isfinite(average) else None, float(centre[arm, at]) if trees else 0.0,
        float(kept[arm]) if trees else 0.0, error if np.isfinite(error) else None, float(left[arm]),
    )  # fmt: skip


def kinds_of(actions: Sequence[str], kinds: Mapping[str, str]) -> tuple[str, ...]:
    """Of each action its kind; one that nobody named is a kind of its own."""
    return tuple(kinds.get(action, f"={action}") for action in actions)
