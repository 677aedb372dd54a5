"""`kokyaku replay`: what a policy would have been worth on a log, by every estimator, or why nobody can say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from training.offpolicy.diagnostics import Diagnosis, Diagnostics, diagnose, weights_told
from training.offpolicy.estimators import ESTIMATORS, NEEDS_MODEL, Estimator, Sample, Score, counted, sample_of
from training.offpolicy.inference import Estimate, difference, estimate, relative
from training.offpolicy.models import RewardModel, Trees, cross_fitted
from training.offpolicy.refusal import Limits, Reason, Refusal, also, cautions, refuse, settled
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
        unknown: usable decisions whose reward is not known yet, or whose probability nobody recorded.
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
    against_name: str = "logging", settings: Settings | None = None, reasons: Sequence[Reason] = (),
) -> Replay:  # fmt: skip
    """Value a policy on a log.

    Args:
        log: the decisions; those that do not count (`counted`) are left out and their number is told.
        policy: what is valued.
        reward: name of the reward.
        name: of the policy.
        against, against_name: the policy that it is compared with.
        settings: how.
        reasons: why nothing may be said of the policy, beyond what its weights tell.

    Raises:
        DataError: the log has no such reward or action, or a policy is none.
    """
    how = settings or Settings()
    target, base = policy(log), against(log)
    diagnosis = diagnose(log, sample_of(log, target, reward))
    refused = also(refuse(diagnosis.whole, how.limits), [*reasons, *settled(diagnosis, how.limits)])
    unlike = refuse(diagnose(log, sample_of(log, base, reward)).whole, how.limits)
    predictions = None
    if not refused and how.model is not None:
        predictions = cross_fitted(log, reward, how.model, folds=how.folds, seed=how.seed)
    mine, other = sample_of(log, target, reward, predictions), sample_of(log, base, reward, predictions)
    ways = {name: way for name, way in how.estimators.items() if how.model is not None or name not in NEEDS_MODEL}
    answers = {name: _valued(way, mine, other, refused, unlike, how.confidence) for name, way in ways.items()}
    pages, page_weights = _pages(log, (target, base), reward, how, reasons)
    return Replay(
        policy=name, against=against_name, reward=reward, estimates=answers, pages=pages, diagnosis=diagnosis,
        page_weights=page_weights, unusable=int((~log.usable).sum()),
        unknown=int((log.usable & ~counted(log, reward)).sum()),
        cautions=tuple(cautions(diagnosis, how.limits, observational=log.observational)),
    )  # fmt: skip


def _valued(
    way: Callable[[Any], Score], mine: Sample | Pages, other: Sample | Pages, refused: Refusal | None,
    unlike: Refusal | None, confidence: float,
) -> Valued:  # fmt: skip
    if refused:
        return Valued(refused, refused, refused)
    value, reference = way(mine), way(other)
    found = estimate(value, mine.cluster, confidence=confidence)
    if unlike:
        return Valued(found, unlike, unlike)
    return Valued(
        found,
        estimate(difference(value, reference), mine.cluster, confidence=confidence),
        estimate(relative(value, reference), mine.cluster, confidence=confidence),
    )


def _pages(
    log: DecisionLog, policies: tuple[Doubles, Doubles], reward: str, how: Settings, reasons: Sequence[Reason]
) -> tuple[dict[str, Valued], Diagnostics | None]:
    """Answers for whole pages, and the diagnostics of their weights, where some have two slots or more."""
    if len(np.unique(log.request)) == len(log):
        return {}, None
    found = [_page_weights(log, policy, reward) for policy in policies]
    refused, unlike = also(refuse(found[0], how.limits), reasons), refuse(found[1], how.limits)
    mine, other = (_fitted_pages(log, policy, reward, how, refused) for policy in policies)
    ways = {name: way for name, way in PAGE_ESTIMATORS.items() if how.model is not None or name != "cascade-dr"}
    return {name: _valued(way, mine, other, refused, unlike, how.confidence) for name, way in ways.items()}, found[0]


def _fitted_pages(log: DecisionLog, policy: Doubles, reward: str, how: Settings, refused: Refusal | None) -> Pages:
    if refused or how.model is None:
        return pages_of(log, policy, reward)
    return pages_of(log, policy, reward, to_go(log, policy, reward, how.model, folds=how.folds, seed=how.seed))


def _page_weights(log: DecisionLog, policy: Doubles, reward: str) -> Diagnostics:
    """Of the weights of whole pages; support and randomisation are those of their slots."""
    pages = pages_of(log, policy, reward)
    slots = diagnose(log, sample_of(log, policy, reward)).whole
    weight = pages.ratio.prod(axis=1)
    return weights_told("pages", weight, pages.cluster, slots.unsupported, slots.randomised, slots.departs)
