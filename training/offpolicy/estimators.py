"""What a policy would have earned, estimated from decisions that another policy drew: each estimator defined once.

Notation: row i has features x, the action a that was drawn with probability p(a | x), its reward r; pi is the target
policy, w = pi(a | x) / p(a | x), q(x, .) a reward model that was not fitted on the row's subject, and
v(x) = sum over actions b of pi(b | x) q(x, b).

    IPS         mean of w r                                     Horvitz & Thompson 1952
    SNIPS       sum of w r / sum of w                           Swaminathan & Joachims 2015
    clipped IPS mean of min(w, c) r                             Ionides 2008, who takes c = sqrt(n)
    DM          mean of v                                       Dudik, Langford & Li 2011
    DR          mean of v + w (r - q(x, a))                     Dudik, Langford & Li 2011; Dudik et al. 2014
    SNDR        mean of v + sum of w (r - q(x, a)) / sum of w   Thomas & Brunskill 2016 (weighted DR, one step)
    Switch-DR   mean of v + w (r - q(x, a)) [w <= t]            Wang, Agarwal & Dudik 2017

Each gives its influence function with the value, from which intervals follow (`training.offpolicy.inference`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from features.errors import DataError
from training.uplift.log import DecisionLog, Doubles, Mask, Whole

_ROUNDING = 1e-6
"""A row of probabilities may miss 1 by so much."""
_CANDIDATES = 21
"""Thresholds of Switch-DR that are tried."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What estimators read of a log and a target policy: the decisions that count.

    Args:
        rows: int64[n], places in the log.
        weight: float64[n], w = pi(a | x) / p(a | x).
        reward: float64[n].
        fitted: float64[n], q(x, a) of the action that was taken; 0 without a reward model.
        expected: float64[n], v(x); 0 without a reward model.
        cluster: int64[n], numbers of subjects, from 0.
        policy: float64[n, k], pi.
        propensity: float64[n, k], p, with what nobody recorded `filled`.
    """

    rows: Whole
    weight: Doubles
    reward: Doubles
    fitted: Doubles
    expected: Doubles
    cluster: Whole
    policy: Doubles
    propensity: Doubles

    def __len__(self) -> int:
        return len(self.weight)

    @property
    def clusters(self) -> int:
        """How many subjects there are."""
        return int(self.cluster.max()) + 1 if len(self) else 0


@dataclass(frozen=True, slots=True)
class Score:
    """An estimate before its interval.

    Args:
        value: NaN where undefined.
        influence: float64[n], what each decision adds to the estimate's error, to first order: the mean is 0.
    """

    value: float
    influence: Doubles


Estimator = Callable[[Sample], Score]


def counted(log: DecisionLog, reward: str) -> Mask:
    """bool[n]: the decisions that estimates are made of: usable, the reward known, the probability recorded."""
    known: Mask = log.usable & np.isfinite(log.reward(reward)) & np.isfinite(log.taken)
    return known


def filled(propensity: Doubles) -> Doubles:
    """float64[n, k]: probabilities, with those that nobody recorded (NaN) sharing evenly what the others leave.

    No weight reads a shared one: weights are of the action that was taken.
    """
    unknown = np.isnan(propensity)
    rest = np.clip(1 - np.where(unknown, 0.0, propensity).sum(axis=1, keepdims=True), 0.0, 1.0)
    found: Doubles = np.where(unknown, rest / np.maximum(unknown.sum(axis=1, keepdims=True), 1), propensity)
    return found


def sample_of(log: DecisionLog, policy: Doubles, reward: str, predictions: Doubles | None = None) -> Sample:
    """The decisions that count, with their weights.

    Args:
        log: the decisions.
        policy: float64[n, k], the target policy's probabilities; rows sum to 1.
        reward: name of the reward.
        predictions: float64[n, k], a reward model's expected reward of each action, cross-fitted by subject
            (`training.offpolicy.models.cross_fitted`); only those of decisions that count are read. None: no model.

    Raises:
        DataError: the policy or the predictions do not fit the log, or are no probabilities or not finite.
    """
    check_policy(log, policy)
    rows = np.flatnonzero(counted(log, reward))
    if predictions is not None and (predictions.shape != policy.shape or not np.isfinite(predictions[rows]).all()):
        raise DataError(
            "predictions must be finite, one for each decision and action", got=predictions.shape,
            hint=f"expected {policy.shape}",
        )  # fmt: skip
    action, target, chance = log.action[rows], policy[rows], filled(log.propensity[rows])
    places = np.arange(len(rows))
    taken = chance[places, action]
    if (taken <= 0).any():
        raise DataError("a decision was taken with probability 0", got=int(rows[np.argmin(taken)]), where="row")
    model = np.zeros_like(target) if predictions is None else predictions[rows]
    return Sample(
        rows=rows, weight=target[places, action] / taken, reward=log.reward(reward)[rows],
        fitted=model[places, action], expected=(target * model).sum(axis=1),
        cluster=np.unique(log.subject[rows], return_inverse=True)[1].astype(np.int64), policy=target, propensity=chance,
    )  # fmt: skip


def check_policy(log: DecisionLog, policy: Doubles) -> None:
    """Whether an array is a policy over the actions of a log.

    Raises:
        DataError: another shape, a negative or undefined probability, or a row that does not sum to 1.
    """
    if policy.shape != log.propensity.shape:
        raise DataError(
            "a policy has one probability for each decision and action", got=policy.shape,
            hint=f"expected {log.propensity.shape}",
        )  # fmt: skip
    wrong = ~(np.isfinite(policy).all(axis=1) & (policy >= 0).all(axis=1))
    wrong |= ~(np.abs(policy.sum(axis=1) - 1) <= _ROUNDING)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError("probabilities of a policy must not be negative and sum to 1", where=f"row {row}",
                        got=policy[row].tolist())  # fmt: skip


def mean_of(scores: Doubles) -> Score:
    """The mean of one score a decision."""
    if not len(scores):
        return Score(np.nan, scores)
    value = float(scores.mean())
    return Score(value, scores - value)


def weighted_mean(weight: Doubles, scores: Doubles) -> Score:
    """sum of w s / sum of w, with the influence of a ratio, w (s - value) / mean of w; NaN where no weight is left."""
    total = float(weight.sum())
    if total <= 0:
        return Score(np.nan, np.full(len(weight), np.nan))
    value = float(weight @ scores) / total
    return Score(value, weight * (scores - value) * (len(weight) / total))


def ips(sample: Sample) -> Score:
    """Inverse propensity score: unbiased where the log supports the policy."""
    return mean_of(sample.weight * sample.reward)


def snips(sample: Sample) -> Score:
    """Self-normalised: consistent, and a constant added to all rewards is added to the estimate."""
    return weighted_mean(sample.weight, sample.reward)


def clipped_ips(sample: Sample, clip: float | None = None) -> Score:
    """Weights are at most `clip`, by default sqrt(n): biased towards 0, and its interval ignores the bias."""
    most = np.sqrt(len(sample)) if clip is None else clip
    return mean_of(np.minimum(sample.weight, most) * sample.reward)


def dm(sample: Sample) -> Score:
    """The direct method: as right as the reward model; its interval knows nothing of the model's error."""
    return mean_of(sample.expected)


def dr(sample: Sample) -> Score:
    """Doubly robust: unbiased with the logged propensities, whatever the model; a good model takes variance away."""
    return mean_of(sample.expected + sample.weight * (sample.reward - sample.fitted))


def sndr(sample: Sample) -> Score:
    """Doubly robust with a self-normalised correction."""
    base = mean_of(sample.expected)
    correction = weighted_mean(sample.weight, sample.reward - sample.fitted)
    return Score(base.value + correction.value, base.influence + correction.influence)


def switch_dr(sample: Sample, threshold: float | None = None) -> Score:
    """Doubly robust where the weight is at most `threshold`, the model alone elsewhere; its interval ignores the bias.

    The threshold is by default the one that `switch_threshold` finds.
    """
    most = switch_threshold(sample) if threshold is None else threshold
    kept = sample.weight * (sample.weight <= most)
    return mean_of(sample.expected + kept * (sample.reward - sample.fitted))


def switch_threshold(sample: Sample) -> float:
    """The threshold with the least variance plus squared bound of the bias (Wang, Agarwal & Dudik 2017).

    The bias is at most the mean mass that the policy puts on actions above the threshold, times the largest reward in
    absolute value. Candidates are quantiles of the weights, and infinity.
    """
    if not len(sample):
        return np.inf
    ratio = np.full_like(sample.policy, np.inf)
    np.divide(sample.policy, sample.propensity, out=ratio, where=sample.propensity > 0)
    most = float(np.abs(sample.reward).max())
    best, least = np.inf, np.inf
    for threshold in [np.inf, *np.quantile(sample.weight, np.linspace(1, 0, _CANDIDATES))]:
        error = switch_dr(sample, float(threshold)).influence
        beyond = (sample.policy * (ratio > threshold) * np.isfinite(ratio)).sum(axis=1).mean()
        loss = float(error @ error) / len(sample) ** 2 + (most * float(beyond)) ** 2
        if loss < least:
            best, least = float(threshold), loss
    return best


UNBIASED: Mapping[str, Estimator] = {"ips": ips, "snips": snips, "dr": dr, "sndr": sndr}
"""Those whose intervals claim to hold the truth (SNIPS and SNDR are biased by no more than 1/n)."""
BIASED: Mapping[str, Estimator] = {"dm": dm, "switch-dr": switch_dr, "clipped-ips": clipped_ips}
ESTIMATORS: Mapping[str, Estimator] = {**UNBIASED, **BIASED}
NEEDS_MODEL = frozenset({"dm", "dr", "sndr", "switch-dr"})


def with_thresholds(clip: float, switch: float) -> Mapping[str, Estimator]:
    """All estimators, with one's own bounds of the weights in the two that have one."""
    own = {"switch-dr": partial(switch_dr, threshold=switch), "clipped-ips": partial(clipped_ips, clip=clip)}
    return {**ESTIMATORS, **own}
