"""How good a forecast of value was: errors, ranking, bias, and calibration by decile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from training.intervals import Interval, mean_interval

Floats = npt.NDArray[np.float64]
DECILES = 10
_FLOOR = 0.01
"""A forecast below this share of the mean outcome counts as this share: the deviance of a flat zero is infinite."""


@dataclass(frozen=True, slots=True)
class Scores:
    """One method in one window; NaN where undefined.

    Args:
        deviance: mean Tweedie deviance of power 1.5; smallest in expectation for the true mean, unlike the absolute
            error, which is smallest for the median (Gneiting 2011, Making and Evaluating Point Forecasts).
        mae: mean absolute error.
        gini: how well the ranking by forecast concentrates the outcome, as a share of the best possible ranking.
        spearman: rank correlation of forecast and outcome.
        bias: sum of the forecasts / sum of the outcomes - 1.
    """

    deviance: float
    mae: float
    gini: float
    spearman: float
    bias: float


@dataclass(frozen=True, slots=True)
class Decile:
    """A tenth of the customers, by forecast.

    Args:
        number: 1 is the tenth with the highest forecasts.
        n: customers.
        predicted: mean forecast.
        observed: mean outcome with its interval.
    """

    number: int
    n: int
    predicted: float
    observed: Interval


def scores_of(predicted: Floats, observed: Floats) -> Scores:
    """All scores of a forecast.

    Args:
        predicted: float64[n].
        observed: float64[n], the same customers.
    """
    if not len(observed):
        return Scores(*[np.nan] * 5)
    total = float(observed.sum())
    return Scores(
        float(deviances(predicted, observed).mean()), float(np.abs(predicted - observed).mean()),
        normalised_gini(predicted, observed), spearman(predicted, observed),
        float(predicted.sum()) / total - 1 if total > 0 else np.nan,
    )  # fmt: skip


def deviances(predicted: Floats, observed: Floats) -> Floats:
    """float64[n]: Tweedie deviance of power 1.5, which is 4 (sqrt y - sqrt m)^2 / sqrt m; NaN without any outcome.

    Outcomes below zero count as zero, and forecasts as at least a hundredth of the mean outcome.
    """
    outcome = np.maximum(observed, 0)
    if not outcome.any():
        return np.full(len(observed), np.nan)
    root = np.sqrt(np.maximum(predicted, _FLOOR * outcome.mean()))
    found: Floats = 4 * (np.sqrt(outcome) - root) ** 2 / root
    return found


def normalised_gini(predicted: Floats, observed: Floats) -> float:
    """Concentration of the outcome along the forecast over that along the outcome itself; ties share their rank.

    The Gini index is 2 cov(y, F(y)) / mean(y) (Lerman & Yitzhaki 1984); in the ratio the rest cancels. 1 is the best
    ranking, 0 none, NaN where all outcomes are equal.
    """
    centred = observed - observed.mean()
    best = float(centred @ _ranks(observed))
    return float(centred @ _ranks(predicted)) / best if best > 0 else np.nan


def spearman(predicted: Floats, observed: Floats) -> float:
    """Correlation of the ranks, ties sharing theirs; NaN where all are tied."""
    mine, other = _ranks(predicted), _ranks(observed)
    size = float(np.sqrt((mine @ mine) * (other @ other)))
    return float(mine @ other) / size if size > 0 else np.nan


def deciles_of(predicted: Floats, observed: Floats, *, seed: int = 0) -> list[Decile]:
    """Mean forecast and mean outcome of each tenth of the customers, highest forecasts first.

    Each customer is in one tenth; sizes differ by one at most. Equal forecasts are parted by chance (seeded), never by
    the customers' order. Fewer than ten customers make fewer groups.
    """
    chance = np.random.default_rng(seed).permutation(len(predicted))
    order = np.lexsort((chance, -predicted))
    parts = np.array_split(order, min(DECILES, len(order))) if len(order) else []
    return [
        Decile(number, len(part), float(predicted[part].mean()), mean_interval(observed[part]))
        for number, part in enumerate(parts, start=1)
    ]


def _ranks(values: Floats) -> Floats:
    """Ranks less their mean, so that equal values give zeros to the bit."""
    found: Floats = rankdata(values) - (len(values) + 1) / 2
    return found
