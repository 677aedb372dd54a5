"""Doubly robust scores: for every decision and action an unbiased guess of what the action would have brought.

Gamma_ij = m_j(x_i) + 1[a_i = j] / e_j(x_i) x (y_i - m_j(x_i)), with m from folds that do not hold subject i (Robins,
Rotnitzky & Zhao 1994; Chernozhukov et al. 2018). Means of scores are means of outcomes under a policy, so policies,
best actions, groups and calibration are all judged by means of the same matrix.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from training.intervals import Interval

Doubles = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]


def doubly_robust(outcome: Doubles, action: npt.NDArray[np.int32], propensity: Doubles, models: Doubles) -> Doubles:
    """float64[n, k]: the score of each action.

    Args:
        outcome: float64[n], of the action that was taken.
        action: int32[n], its place.
        propensity: float64[n, k], of each action when it was drawn; 0 where it was not eligible.
        models: float64[n, k], predicted outcome of each action, by a model that has not seen the subject.

    Returns:
        NaN where an action was not eligible: nothing is known of what it would have brought.
    """
    scores = np.where(propensity > 0, models, np.nan)
    rows = np.arange(len(outcome))
    scores[rows, action] += (outcome - models[rows, action]) / propensity[rows, action]
    return scores


def clustered_mean(values: Doubles, cluster: Whole, *, confidence: float = 0.95) -> Interval:
    """The mean of scores with an interval by the normal law over clusters (Liang & Zeger 1986, with the usual
    g / (g - 1) for a finite number g of clusters).

    NaN values are left out and counted. One cluster has no interval; none has no mean. `n` counts clusters.
    """
    known = np.isfinite(values)
    undefined = int((~known).sum())
    values, cluster = values[known], cluster[known]
    if not len(values):
        return Interval(float("nan"), float("nan"), float("nan"), 0, undefined)
    mean = float(values.mean())
    _, code = np.unique(cluster, return_inverse=True)
    sums = np.bincount(code, values - mean)
    groups = len(sums)
    if groups < 2:
        return Interval(mean, float("nan"), float("nan"), groups, undefined)
    error = float(np.sqrt(groups / (groups - 1) * np.square(sums).sum())) / len(values)
    reach = float(norm.ppf((1 + confidence) / 2)) * error
    return Interval(mean, mean - reach, mean + reach, groups, undefined)
