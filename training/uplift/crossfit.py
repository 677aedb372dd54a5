"""Cross-fitted effects of a log's actions on one reward: the whole flow, from folds to models that can serve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from features.errors import ConfigError, DataError
from training.meter import Tell, counted
from training.uplift.boosting import Boosters, Shape, constraints_of, in_threads
from training.uplift.calibration import ArmCalibration, calibrations_of, out_of_fold
from training.uplift.challengers import CHALLENGERS
from training.uplift.curves import Trial, trial_of
from training.uplift.folds import folds_of
from training.uplift.learners import LEARNERS, Effects, Fit, Sample
from training.uplift.log import Codes, DecisionLog, Doubles, Mask, Whole
from training.uplift.nuisance import Choice, Outcomes, action_scores, choice_of, fits, outcomes_of
from training.uplift.unexplained import basis_of, unexplained

ALL: Mapping[str, Fit] = {**LEARNERS, **CHALLENGERS}


@dataclass(frozen=True)
class CrossFit:
    """Effects of every action against null on one reward.

    Args:
        reward: its name.
        log: the decisions.
        rows: bool[n], those that were learned from and can judge: usable, of known reward, and with a choice.
        fold: int32[n].
        choice: probabilities of actions, and whether they are estimates.
        outcomes: predicted outcomes of actions, out of fold, and their models.
        scores: float64[n, k], doubly robust scores of actions; NaN outside of `rows` and where not eligible.
        effects: learner -> float64[n, k-1], out of fold, for all decisions of the log.
        models: learner -> the model refitted on everything.
        seconds: learner -> processor time of its fits and predictions; `outcomes`: of the nuisances that they share.
        notes: what was left out and why, as sentences.
    """

    reward: str
    log: DecisionLog
    rows: Mask
    fold: Codes
    choice: Choice
    outcomes: Outcomes
    scores: Doubles
    effects: Mapping[str, Doubles]
    models: Mapping[str, Effects]
    seconds: Mapping[str, float]
    notes: tuple[str, ...]

    @property
    def contrasts(self) -> Doubles:
        """float64[n, k-1]: doubly robust scores of effects against null."""
        return self.scores[:, 1:] - self.scores[:, :1]

    def calibration(self, learner: str) -> tuple[ArmCalibration, ...]:
        """How the effects of each action are brought to size: what serving applies to the refitted model."""
        return calibrations_of(self.effects[learner], self.contrasts, self.log.subject)

    def left(self, learner: str) -> tuple[float, ...]:
        """Of each action how far its calibrated effects are from people's, as `unexplained` says."""
        scores, subject = self.contrasts, self.log.subject
        over = scores - out_of_fold(self.effects[learner], scores, subject, self.fold)
        basis = basis_of(self.log.features, self.log.categorical)
        return tuple(unexplained(over[:, arm], basis, subject).spread for arm in range(over.shape[1]))

    def take(self, rows: Mask) -> CrossFit:
        """The same fits, judged on some of the decisions."""
        chance, out = self.choice.chance[rows], self.outcomes.out[rows]
        return replace(
            self, log=self.log.take(rows), rows=self.rows[rows], fold=self.fold[rows], scores=self.scores[rows],
            choice=replace(self.choice, chance=chance), outcomes=replace(self.outcomes, out=out, without=()),
            effects={name: each[rows] for name, each in self.effects.items()},
        )  # fmt: skip

    def trial(self, action: str | None) -> Trial:
        """An action against null, among the rows that can judge, with the probabilities that were used."""
        return trial_of(self.log, self.reward, action, chance=self.choice.chance, rows=self.rows)


def cross_fit(
    log: DecisionLog, reward: str, *, learners: Mapping[str, Fit] = ALL, folds: int = 5, seed: int = 0,
    shape: Shape | None = None, threads: int = 0, tell: Tell = lambda what, done, total: None,
) -> CrossFit:  # fmt: skip
    """Learn the effects of actions on a reward.

    Args:
        log: decisions; the first action is null.
        reward: name of one of its rewards.
        learners: by name.
        folds: of cross-fitting.
        seed: of the folds.
        shape: of all trees.
        threads: fits at a time; 0 is all processors. The answer does not depend on it.
        tell: hears `(what, done, total)`.

    Raises:
        DataError: there is no such reward; or too little of null, or too few subjects, to learn anything.
        ConfigError: fewer than three folds, or a monotone constraint that names no column.
    """
    if folds < 3:
        what = "outcomes are cross-fitted inside the folds of effects: it takes at least three"
        raise ConfigError(what, where="folds", got=folds)
    shape = shape or Shape()
    constraints_of({**shape.outcome_monotone, **shape.effect_monotone}, log.names)
    value = log.reward(reward)
    certain = (log.propensity >= 1).any(axis=1) | (log.eligible.sum(axis=1) < 2)  # NaN where nobody drew is neither
    rows = log.usable & np.isfinite(value) & ~certain
    if not rows.any():
        hint = "usable decisions of known reward in which at least two actions were possible"
        raise DataError("the log has no decision to learn effects from", where=reward, got=len(log), hint=hint)
    fold = folds_of(log.subject, log.action, folds=folds, seed=seed)
    advance = counted(tell, f"effects on {reward}", fits(folds, len(log.actions)) + (folds + 1) * len(learners))
    choice = choice_of(log, fold, rows, shape, threads=threads)
    outcomes = outcomes_of(log, value, fold, rows, shape, threads=threads, progress=advance)
    scores = action_scores(log.action, np.where(rows, value, np.nan), choice.chance, outcomes.out)
    parts = _Parts(log, value, rows, fold, choice.chance, outcomes, shape)
    effects, models, seconds, left_out = _fitted(parts, learners, threads, advance)
    notes = (*_told(log, rows, choice), *left_out)
    return CrossFit(
        reward, log, rows, fold, choice, outcomes, scores, effects, models,
        {"outcomes": outcomes.seconds, **seconds}, notes,
    )  # fmt: skip


@dataclass(frozen=True)
class _Parts:
    """What the fits of a fold are made of."""

    log: DecisionLog
    value: Doubles
    rows: Mask
    fold: Codes
    chance: Doubles
    outcomes: Outcomes
    shape: Shape

    def without(self, j: int) -> Sample:
        """Everything but a fold."""
        return self._sample(
            np.flatnonzero(self.rows & (self.fold != j)), self.outcomes.without[j], self.outcomes.models[j]
        )

    def everything(self) -> Sample:
        """All rows, beside outcomes that are predicted out of fold."""
        return self._sample(np.flatnonzero(self.rows), self.outcomes.out, self.outcomes.full)

    def _sample(self, here: Whole, outcome: Doubles, models: Boosters) -> Sample:
        log = self.log
        return Sample(
            log.features[here], log.action[here], self.value[here], self.chance[here], outcome[here], models,
            log.names, log.categorical, self.shape,
        )  # fmt: skip


def _fitted(
    parts: _Parts, learners: Mapping[str, Fit], threads: int, advance: Callable[[int], None]
) -> tuple[dict[str, Doubles], dict[str, Effects], dict[str, float], list[str]]:
    """Out-of-fold effects, refitted models, seconds, and why for each learner that could not be fitted."""
    folds = len(parts.outcomes.models)
    samples = [parts.without(j) for j in range(folds)]
    everything = parts.everything()

    def judged(fit: Fit, j: int) -> Doubles | DataError:
        try:
            return fit(samples[j]).predict(parts.log.features[parts.fold == j])
        except DataError as error:
            return error

    def refitted(fit: Fit) -> Effects | DataError:
        try:
            return fit(everything)
        except DataError as error:
            return error

    work = [partial(judged, fit, j) for fit in learners.values() for j in range(folds)]
    said = in_threads(work, threads=threads, progress=advance)
    again = in_threads([partial(refitted, fit) for fit in learners.values()], threads=threads, progress=advance)
    return _collected(list(learners), said, again, parts.fold)


def _collected(
    names: list[str], said: list[tuple[Doubles | DataError, float]], again: list[tuple[Effects | DataError, float]],
    fold: Codes,
) -> tuple[dict[str, Doubles], dict[str, Effects], dict[str, float], list[str]]:  # fmt: skip
    """What each learner said fold by fold, and its refit; a learner that failed once is left out and named."""
    folds = len(said) // len(names) if names else 0
    effects: dict[str, Doubles] = {}
    models: dict[str, Effects] = {}
    seconds: dict[str, float] = {}
    notes = []
    for at, (name, (model, took)) in enumerate(zip(names, again, strict=True)):
        answers = [answer for answer, _ in said[at * folds : (at + 1) * folds]]
        failed = [each for each in (model, *answers) if isinstance(each, DataError)]
        if failed or isinstance(model, DataError):
            notes.append(f"{name} was left out: {failed[0].line()}.")
            continue
        effects[name] = _in_place([each for each in answers if not isinstance(each, DataError)], fold)
        models[name] = model
        seconds[name] = took + sum(each for _, each in said[at * folds : (at + 1) * folds])
    return effects, models, seconds, notes


def _in_place(by_fold: list[Doubles], fold: Codes) -> Doubles:
    """Rows of the folds put back where they were."""
    found = np.empty((len(fold), by_fold[0].shape[1]))
    for j, each in enumerate(by_fold):
        found[fold == j] = each
    return found


def _told(log: DecisionLog, rows: Mask, choice: Choice) -> list[str]:
    """What a reader has to know of the estimates."""
    notes = []
    if choice.estimated:
        notes.append(
            "Nobody drew the actions at random: their probabilities are estimates, out of fold"
            f" ({choice.clipped:,} of {len(log):,} rows raised to the least allowed), and so are all effects."
        )
    if not rows.all():
        notes.append(
            f"{int((~rows).sum()):,} of {len(log):,} decisions are unusable, of unknown reward or without choice."
        )
    return notes
