"""Actions that nobody knows much of, by what others of their kind do: empirical Bayes over two levels.

    effect of action a of kind k  =  mu + K_k + T_a,      K_k ~ N(0, between^2),  T_a ~ N(0, within^2)
    what was measured             =  effect + noise of variance error_a^2

The effects given the measurements are the best linear unbiased predictions of this model (Henderson 1975; as empirical
Bayes: Efron & Morris 1973), mu being estimated too. An action with few decisions is drawn towards its kind, one that
was never seen gets its kind's average with the spread between actions of the kind, and one of an unknown kind the
average of all with both spreads. The two variances are found by moments (DerSimonian & Laird 1986), and each is its
mean given that no variance is below zero: from few actions nobody can know that all of a kind do the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.uplift.log import Doubles, Mask
from training.uplift.unexplained import not_negative


@dataclass(frozen=True, slots=True)
class Shrunk:
    """Effects after they were drawn towards their kinds.

    Args:
        mean: float64[actions]; NaN where nothing at all was measured.
        error: float64[actions], posterior standard deviations.
        within: standard deviation of effects between actions of a kind.
        between: the same between kinds.
        average: mu.
    """

    mean: Doubles
    error: Doubles
    within: float
    between: float
    average: float


def shrunk_to_kinds(mean: Doubles, error: Doubles, kinds: Sequence[str]) -> Shrunk:
    """Draw measured effects towards their kinds and say something of those that were not measured.

    Args:
        mean: float64[actions]; NaN where not measured.
        error: float64[actions], standard errors.
        kinds: of each action.
    """
    known = np.isfinite(mean) & np.isfinite(error)
    if not known.any():
        nothing = np.full(len(mean), np.nan)
        return Shrunk(nothing, nothing.copy(), np.nan, np.nan, np.nan)
    same = np.array([[one == other for other in kinds] for one in kinds])
    within, between = _variances(mean[known], error[known] ** 2, same[np.ix_(known, known)])
    return _predicted(mean, error, known, same, within, between)


def _predicted(mean: Doubles, error: Doubles, known: Mask, same: Mask, within: float, between: float) -> Shrunk:
    """Henderson's predictions: mu by generalised least squares, then what the residuals say of each action."""
    alike = within * np.eye(len(mean)) + between * same
    # A measurement without error would leave nothing to invert where effects do not differ.
    noise = np.diag(np.maximum(error[known] ** 2, 1e-18))
    inverse = np.linalg.inv(alike[np.ix_(known, known)] + noise)
    ones = np.ones(int(known.sum()))
    total = float(ones @ inverse @ ones)
    average = float(ones @ inverse @ mean[known]) / total
    gain = alike[:, known] @ inverse
    found = average + gain @ (mean[known] - average)
    variance = np.diag(alike) - (gain * alike[:, known]).sum(axis=1) + (1 - gain @ ones) ** 2 / total
    return Shrunk(found, np.sqrt(np.maximum(variance, 0.0)), float(np.sqrt(within)), float(np.sqrt(between)), average)


def _variances(mean: Doubles, noise: Doubles, same: Mask) -> tuple[float, float]:
    """Within and between kinds.

    Where no kind has two measured actions the two cannot be told apart: then all of it is within, so that what is not
    known of an action does not hide behind its kind. From one action no variance can be known: then effects differ as
    much as that one does from nothing.
    """
    if len(mean) == 1:
        return float(mean[0]) ** 2, 0.0
    groups, whole = np.unique(same, axis=0), np.ones((1, len(mean)), bool)
    if len(groups) == len(mean):
        return _moment(mean, noise, whole), 0.0
    within = _moment(mean, noise, groups)
    if len(groups) == 1:
        return within, 0.0
    weight = 1 / np.maximum(noise + within, 1e-18)
    totals = np.array([weight[group].sum() for group in groups])
    centres = np.array([(weight[group] @ mean[group]) for group in groups]) / totals
    return within, _moment(centres, 1 / totals, np.ones((1, len(groups)), bool))


def _moment(mean: Doubles, noise: Doubles, groups: Mask) -> float:
    """The variance inside groups beyond noise; df = members less groups, at least 1.

    (Q - df) / C with standard error sqrt(2 df) / C, C = sum over groups of (sum w - sum w^2 / sum w), w = 1 / noise and
    Q the weighted squares about the groups' weighted means.
    """
    weight = 1 / np.maximum(noise, 1e-18)
    over, scale, freedom = 0.0, 0.0, 0
    for group in groups:
        w, m = weight[group], mean[group]
        over += float(w @ (m - w @ m / w.sum()) ** 2)
        scale += float(w.sum() - (w @ w) / w.sum())
        freedom += len(m) - 1
    return not_negative((over - freedom) / scale, np.sqrt(2 * freedom) / scale)
