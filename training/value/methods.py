"""Ways to say what customers will bring: two plain ones, a closed form, and trees in two parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt

from features.errors import DataError
from features.moments import DAY
from training.value.lifetime import fit_bg_nbd, fit_gamma_gamma
from training.value.sample import NAMES, Sample

Floats = npt.NDArray[np.float64]

LAST_PERIOD, MEAN, BG_NBD, HURDLE = "last period", "mean of all", "BG/NBD", "hurdle"
BASELINES = (LAST_PERIOD, MEAN)
LEAST_BUYERS = 100
"""Trees that learn from fewer customers who bought again would learn their names."""
_TREES: dict[str, Any] = {
    "num_leaves": 15, "learning_rate": 0.03, "min_data_in_leaf": 40, "feature_fraction": 0.5, "lambda_l2": 10.0,
    "bagging_fraction": 0.7, "bagging_freq": 1, "max_bin": 63, "seed": 0, "deterministic": True,
    "force_row_wise": True, "verbosity": -1,
}  # fmt: skip
_ROUNDS = 200


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the customers of a sample are expected to do in the horizon after it; all float64[n].

    Args:
        value: what they bring.
        buys: probability that they buy at all; NaN where the method does not say.
        orders: expected baskets; NaN where the method does not say.
    """

    value: Floats
    buys: Floats
    orders: Floats


Method = Callable[[Sequence[Sample], Sample, int], Forecast]
"""`(past samples with known outcomes, oldest first; the sample asked about; horizon in microseconds)`.

Raises DataError where there is too little to learn from.
"""


def last_period(past: Sequence[Sample], now: Sample, horizon: int) -> Forecast:
    """Everybody does again what they did in the horizon before."""
    return Forecast(now.last.value, np.full(len(now), np.nan), now.last.orders)


def mean_of_all(past: Sequence[Sample], now: Sample, horizon: int) -> Forecast:
    """Everybody brings what customers brought on average in the last horizon whose outcome is known."""
    last = _outcome(past[-1])
    sums = (last.value.mean(), (last.orders > 0).mean(), last.orders.mean())
    return Forecast(*(np.full(len(now), float(each)) for each in sums))


def bg_nbd(past: Sequence[Sample], now: Sample, horizon: int) -> Forecast:
    """BG/NBD orders times Gamma-Gamma order values, fitted on all baskets known at the moment.

    Values are net of returns. Customers who never bought are outside the model: they bring what such customers brought
    on average in the last horizon whose outcome is known.
    """
    bought = np.flatnonzero(now.baskets > 0)
    visits, days = now.visits.take(bought), horizon / DAY
    number = now.baskets[bought]
    mean = now.value[bought] / number
    often, worth = fit_bg_nbd(visits), fit_gamma_gamma(number, mean)
    orders = often.orders(visits, days)
    known = np.where(mean > 0, number, 0)  # what came back whole says nothing of the next order
    found = _those_who_never_bought(past[-1], now)
    found.value[bought] = orders * worth.order_value(known, np.maximum(mean, 0))
    found.buys[bought], found.orders[bought] = often.buys(visits, days), orders
    return found


def hurdle(past: Sequence[Sample], now: Sample, horizon: int) -> Forecast:
    """LightGBM in two parts: P(buys) times E[value | buys] (Tweedie, log link), and expected baskets (Poisson).

    A value below zero counts as zero in the second part; the factor between the true sum and what the trees say of
    their own examples takes that back, and returns of those who buy nothing with it.
    """
    block = np.concatenate([sample.features for sample in past])
    value = np.concatenate([_outcome(sample).value for sample in past])
    orders = np.concatenate([_outcome(sample).orders for sample in past])
    buys = orders > 0
    if buys.sum() < LEAST_BUYERS or (~buys).sum() < LEAST_BUYERS:
        what = f"{int(buys.sum())} examples that bought again and {int((~buys).sum())} that did not"
        raise DataError(f"{what}, and the trees need {LEAST_BUYERS} of each", where=HURDLE, hint="a longer past")
    if not (value[buys] > 0).any():
        raise DataError("nobody who bought again brought anything", where=HURDLE)
    chance = _fitted(block, buys.astype(np.float64), {"objective": "binary"})
    amount = _fitted(
        block[buys], np.maximum(value[buys], 0), {"objective": "tweedie", "tweedie_variance_power": 1.5}
    )  # fmt: skip
    number = _fitted(block, orders, {"objective": "poisson"})
    told = float((chance(block) * amount(block)).sum())
    probability = chance(now.features)
    return Forecast(probability * amount(now.features) * value.sum() / told, probability, number(now.features))


METHODS: Mapping[str, Method] = {LAST_PERIOD: last_period, MEAN: mean_of_all, BG_NBD: bg_nbd, HURDLE: hurdle}
"""In the order in which they are told; of two that are equally good the earlier one is chosen."""


def _fitted(
    block: npt.NDArray[np.float32], label: Floats, objective: Mapping[str, Any]
) -> Callable[[npt.NDArray[np.float32]], Floats]:
    data = lightgbm.Dataset(block, label, feature_name=list(NAMES))
    booster = lightgbm.train({**_TREES, **objective}, data, num_boost_round=_ROUNDS)
    return lambda rows: np.asarray(booster.predict(rows), np.float64)


def _those_who_never_bought(past: Sample, now: Sample) -> Forecast:
    """The mean outcome of customers without a purchase; zero where there was none, as there is nothing to go by."""
    outcome, never = _outcome(past), past.baskets == 0
    n = max(int(never.sum()), 1)
    sums = (outcome.value[never].sum(), (outcome.orders[never] > 0).sum(), outcome.orders[never].sum())
    return Forecast(*(np.full(len(now), float(each) / n) for each in sums))


def _outcome(sample: Sample) -> Any:
    assert sample.next is not None, "past samples have outcomes"
    return sample.next
