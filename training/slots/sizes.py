"""From cross-fitted effects to the numbers that a slot serves with: averages, slopes and spreads, place by place.

Models see slot and position as columns, so what they say is of one place. Their sizes come from doubly robust scores:
the average of an action in a place from its own decisions there, from other places by how much each is looked at
(`places`), and from others of its kind (`kinds`); the slope from all places together; the spread from what is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from serving.effects import Size
from training.slots.kinds import shrunk_to_kinds
from training.slots.places import Examination, Place, combined, elsewhere, examination
from training.uplift.calibration import calibrated
from training.uplift.crossfit import CrossFit
from training.uplift.estimate import mean_of
from training.uplift.log import Codes, Doubles, Mask, Whole
from training.uplift.nuisance import action_scores
from training.uplift.unexplained import basis_of, unexplained


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

    def averages(self, rows: Mask) -> Averages:
        """What some of the decisions say."""
        shape = self.arms.able.shape
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
        found = mean_of(self.contrasts[here, arm], self.fit.log.subject[here])
        if found.n < 2:
            return np.nan, np.nan
        could = here[np.isfinite(self.contrasts[here, arm])]
        noise = float(np.var(self.fit.log.reward(self.fit.reward)[could]))
        least = np.sqrt(noise * (1 / self.fit.choice.chance[could, arm + 1]).sum()) / len(could)
        return found.value, float(max(found.error, least))

    def slopes(self, rows: Mask) -> Doubles:
        """float64[k-1]: how much of the learned differences is kept; all places together, each about its own mean."""
        kept = np.zeros(self.contrasts.shape[1])
        for arm in range(len(kept)):
            effect, score = self.effects[:, arm], self.contrasts[:, arm]
            known = rows & np.isfinite(effect) & np.isfinite(score)
            if known.any():
                x, y = (each[known] - self._means(each, known)[self.place[known]] for each in (effect, score))
                kept[arm] = calibrated(x, y, self.fit.log.subject[known]).kept
        return kept

    def centres(self, rows: Mask) -> Doubles:
        """float64[k-1, places]: means of the learned effects; NaN where there are none."""
        found = np.full((self.contrasts.shape[1], len(self.places)), np.nan)
        for arm in range(len(found)):
            found[arm] = self._means(self.effects[:, arm], rows & np.isfinite(self.contrasts[:, arm]))
        return found

    def _means(self, values: Doubles, rows: Mask) -> Doubles:
        """float64[places]: means by place; NaN where there is nothing."""
        known = rows & np.isfinite(values)
        count = np.bincount(self.place[known], minlength=len(self.places))
        total = np.bincount(self.place[known], values[known], minlength=len(self.places))
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)


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
        known = np.isfinite(over)
        over = np.where(known, over - evidence._means(over, known)[evidence.place], np.nan)
        found[arm] = unexplained(over, basis, log.subject).spread
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
