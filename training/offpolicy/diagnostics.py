"""How far a log can say anything about a policy: weights, their tail, what the log never tried, and whether it adds up.

Everything is said of the decisions that count, of all together and of each slot and day.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.moments import DAY
from training.offpolicy.estimators import Sample, mean_of
from training.offpolicy.inference import two_sided
from training.uplift.log import DecisionLog, Doubles, Mask, Whole

_FEWEST_IN_TAIL = 10
_SAME = 1e-9


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """What the weights w = pi / p of some decisions tell. Figures are NaN where there is nothing to tell from.

    Attributes:
        of: `all`, or the slot or day (UTC).
        n, clusters: decisions and subjects.
        effective: effective sample size, (sum of w)^2 / sum of w^2 (Kish 1965).
        largest: the share of all weight that the heaviest decision has.
        tail: Hill's estimate of the tail index of the weights (Hill 1975), of the sqrt(n) largest; below 2 their
            variance is not finite, and an interval is too short. Infinite where the largest weights are all equal.
        unsupported: the mean mass that the policy puts on actions that the log could not have taken.
        randomised: the share of decisions in which the log could have taken another action.
        departs: the share of decisions in which the policy's probabilities are not the log's.
        mean_weight: has the expected value 1 where propensities are right and support is whole.
        z, p: of that, clustered by subject; the p-value is two-sided.
    """

    of: str
    n: int
    clusters: int
    effective: float
    largest: float
    tail: float
    unsupported: float
    randomised: float
    departs: float
    mean_weight: float
    z: float
    p: float


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Diagnostics of all decisions, and of each slot and day that has any."""

    whole: Diagnostics
    slots: tuple[Diagnostics, ...]
    days: tuple[Diagnostics, ...]


def diagnose(log: DecisionLog, sample: Sample) -> Diagnosis:
    """Diagnostics of a policy on a log.

    Args:
        log: the decisions.
        sample: those that count, with the policy (`training.offpolicy.estimators.sample_of`).
    """
    slot, day = log.slot[sample.rows], log.decided_at[sample.rows] // DAY
    return Diagnosis(
        _of("all", sample, np.ones(len(sample), np.bool_)),
        tuple(_of(log.slots[code], sample, slot == code) for code in np.unique(slot).tolist()),
        tuple(_of(str(np.datetime64(date, "D")), sample, day == date) for date in np.unique(day).tolist()),
    )


def _of(name: str, sample: Sample, rows: Mask) -> Diagnostics:
    policy, propensity = sample.policy[rows], sample.propensity[rows]
    unsupported = (policy * (propensity <= 0)).sum(axis=1)
    randomised = (propensity > 0).sum(axis=1) > 1
    departs = np.abs(policy - propensity).max(axis=1, initial=0) > _SAME
    shares = (_mean(unsupported), _mean(randomised), _mean(departs))
    return weights_told(name, sample.weight[rows], sample.cluster[rows], *shares)


def weights_told(
    of: str, weight: Doubles, cluster: Whole, unsupported: float, randomised: float, departs: float
) -> Diagnostics:
    """The diagnostics of weights and their subjects, beside shares that are known already.

    Args:
        of: what they are of.
        weight: float64[n].
        cluster: int64[n], equal for one subject.
        unsupported, randomised, departs: as in `Diagnostics`.
    """
    own: Whole = np.unique(cluster, return_inverse=True)[1].astype(np.int64)
    score = mean_of(weight)
    z, p = two_sided(score, own, 1.0)
    total = float(weight.sum())
    return Diagnostics(
        of=of, n=len(weight), clusters=int(own.max()) + 1 if len(own) else 0, effective=effective_size(weight),
        largest=float(weight.max()) / total if total > 0 else np.nan, tail=hill(weight), unsupported=unsupported,
        randomised=randomised, departs=departs, mean_weight=score.value, z=z, p=p,
    )  # fmt: skip


def effective_size(weight: Doubles) -> float:
    """(sum of w)^2 / sum of w^2; 0 where there is no weight."""
    squares = float(weight @ weight)
    return float(weight.sum()) ** 2 / squares if squares > 0 else 0.0


def hill(weight: Doubles) -> float:
    """Hill's tail index, 1 / mean of log(w_i / w_(m + 1)) over the m = sqrt(n) largest weights.

    NaN with fewer than ten of them; infinite where they are all equal.
    """
    positive = np.sort(weight[weight > 0])[::-1]
    most = int(np.sqrt(len(positive)))
    if most < _FEWEST_IN_TAIL:
        return np.nan
    rise = float(np.log(positive[:most] / positive[most]).mean())
    return 1 / rise if rise > 0 else np.inf


def _mean(values: Doubles | Mask) -> float:
    return float(values.mean()) if len(values) else np.nan
