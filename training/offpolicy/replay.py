"""`kokyaku replay`: what a policy would have been worth on a log, by every estimator, or why nobody can say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from training.offpolicy.diagnostics import Diagnosis, Diagnostics, diagnose, weights_of
from training.offpolicy.estimators import ESTIMATORS, NEEDS_MODEL, Estimator, Sample, Score, counted, sample_of
from training.offpolicy.inference import Estimate, difference, estimate, relative
from training.offpolicy.models import RewardModel, Trees, cross_fitted
from training.offpolicy.refusal import Limits, Refusal, cautions, refuse
from training.offpolicy.slots import PAGE_ESTIMATORS, Pages, pages_of, to_go
from training.offpolicy.targets import Policy, logging
from training.uplift.log import DecisionLog, Doubles


@dataclass(frozen=True, slots=True)
class Valued:
    """One estimator's answer: figures, or the refusal in place of all of them.

    Attributes:
        value: of the policy, a decision (or a page).
        gain: the policy less the one that it is compared with, on the same decisions.
        ratio: the policy over that one; NaN where that one is worth 0.
    """

    value: Estimate | Refusal
    gain: Estimate | Refusal
    ratio: Estimate | Refusal


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of valuing a policy.

    Attributes:
        policy, against: names of the policy and of the one it is compared with.
        reward: name.
        estimates: estimator -> its answer, a decision.
        pages: estimator -> its answer, a page; empty where no page has two slots.
        diagnosis: of the policy's weights.
        page_weights: of the weights of whole pages; None where no page has two slots.
        unusable: decisions that were not drawn, or fell back after an error.
        unknown: usable decisions whose reward is not known yet.
        cautions: sentences that belong beside the figures.
    """

    policy: str
    against: str
    reward: str
    estimates: Mapping[str, Valued]
    pages: Mapping[str, Valued]
    diagnosis: Diagnosis
    page_weights: Diagnostics | None
    unusable: int
    unknown: int
    cautions: tuple[str, ...]


@dataclass(frozen=True)
class Settings:
    """How a policy is valued.

    Args:
        model: the reward model; None leaves out the estimators that need one.
        folds, seed: of the cross-fitting.
        confidence: of the intervals.
        limits: of what is refused.
        estimators: by name.
    """

    model: RewardModel | None = field(default_factory=Trees)
    folds: int = 5
    seed: int = 0
    confidence: float = 0.95
    limits: Limits = field(default_factory=Limits)
    estimators: Mapping[str, Estimator] = field(default_factory=lambda: ESTIMATORS)


def replay(
    log: DecisionLog, policy: Policy, reward: str, *, name: str = "policy", against: Policy = logging,
    against_name: str = "logging", settings: Settings | None = None,
) -> Replay:  # fmt: skip
    """Value a policy on a log.

    Args:
        log: the decisions; those that are not usable or whose reward is unknown are left out and counted.
        policy: what is valued.
        reward: name of the reward.
        name: of the policy.
        against, against_name: the policy that it is compared with.
        settings: how.

    Raises:
        DataError: the log has no such reward or action, or a policy is none.
    """
    how = settings or Settings()
    target, base = policy(log), against(log)
    predictions = _predictions(log, reward, how)
    mine, other = sample_of(log, target, reward, predictions), sample_of(log, base, reward, predictions)
    diagnosis, reference = diagnose(log, mine), diagnose(log, other)
    refused, unlike = refuse(diagnosis.whole, how.limits), refuse(reference.whole, how.limits)
    wanted = {each: way for each, way in how.estimators.items() if how.model is not None or each not in NEEDS_MODEL}
    pages, weights = _pages(log, target, base, reward, how)
    return Replay(
        policy=name, against=against_name, reward=reward,
        estimates={each: _valued(way, mine, other, refused, unlike, how) for each, way in wanted.items()},
        pages=pages, diagnosis=diagnosis, page_weights=weights, unusable=int((~log.usable).sum()),
        unknown=int((log.usable & ~counted(log, reward)).sum()),
        cautions=tuple(cautions(diagnosis, how.limits, observational=log.observational)),
    )  # fmt: skip


def _predictions(log: DecisionLog, reward: str, how: Settings) -> Doubles | None:
    """None where no model was asked for, or there is nothing to learn from: that is for the refusal to say."""
    if how.model is None or len(np.unique(log.subject[counted(log, reward)])) < 2:
        return None
    return cross_fitted(log, log.reward(reward), how.model, folds=how.folds, seed=how.seed)


def _valued(
    way: Estimator, mine: Sample, other: Sample, refused: Refusal | None, unlike: Refusal | None, how: Settings
) -> Valued:
    if refused:
        return Valued(refused, refused, refused)
    return _answers(way(mine), way(other), mine.cluster, unlike, how.confidence)


def _answers(mine: Score, other: Score, cluster: Doubles, unlike: Refusal | None, confidence: float) -> Valued:
    value = estimate(mine, cluster, confidence=confidence)
    if unlike:
        return Valued(value, unlike, unlike)
    return Valued(
        value,
        estimate(difference(mine, other), cluster, confidence=confidence),
        estimate(relative(mine, other), cluster, confidence=confidence),
    )


def _pages(
    log: DecisionLog, target: Doubles, base: Doubles, reward: str, how: Settings
) -> tuple[dict[str, Valued], Diagnostics | None]:
    """Whole pages, where some have two slots or more."""
    if len(np.unique(log.request)) == len(log):
        return {}, None
    both: list[Pages] = []
    for policy in (target, base):
        fitted = None
        if how.model is not None and len(np.unique(log.subject[counted(log, reward)])) >= 2:
            fitted = to_go(log, policy, reward, how.model, folds=how.folds, seed=how.seed)
        both.append(pages_of(log, policy, reward, fitted))
    found = [_page_weights(each, log, policy) for each, policy in zip(both, (target, base), strict=True)]
    refused, unlike = (refuse(each, how.limits) for each in found)
    answers = {}
    for name, way in PAGE_ESTIMATORS.items():
        if how.model is None and name == "cascade-dr":
            continue
        if refused:
            answers[name] = Valued(refused, refused, refused)
        else:
            answers[name] = _answers(way(both[0]), way(both[1]), both[0].cluster, unlike, how.confidence)
    return answers, found[0]


def _page_weights(pages: Pages, log: DecisionLog, policy: Doubles) -> Diagnostics:
    """The weights of whole pages; support and randomisation are those of their slots."""
    outside = (policy * (log.propensity <= 0)).sum(axis=1)
    apart = np.abs(policy - log.propensity).max(axis=1, initial=0) > 0
    several = (log.propensity > 0).sum(axis=1) > 1
    shares = [float(each.mean()) if len(log) else np.nan for each in (outside, several, apart)]
    weight = pages.ratio.prod(axis=1)
    return Diagnostics(of="pages", unsupported=shares[0], randomised=shares[1], departs=shares[2],
                       **weights_of(weight, pages.cluster))  # fmt: skip
