"""From effects to a choice: what a policy does with subjects, and with which probability.

Pure functions over one block of numbers. Training values exactly the code that later draws, so a logged propensity is
the probability that this code gave.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

Doubles = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]

_CELLS = 1_000_000
"""Drawn values held in memory at once."""
NULL = 0
"""Place of the null action among a policy's actions: nothing is shown or sent."""
Share = Annotated[float, Meta(ge=0, le=1)]
Explore = Literal["greedy", "thompson", "inverse-gap"]


class PolicySpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A policy as a bundle carries it; its effects come from trees that lie beside it.

    Args:
        name: stands in the `policy` column of every decision.
        actions: ids, without the null action.
        worth: reward -> what one unit of it is worth, in the shop's currency (a visit, a purchase, minus an opt-out).
        costs: action -> what taking it once costs.
        price: shadow price of a unit of cost where there is a budget; 0 without one (`training.uplift.policies`).
        floor: least probability of every eligible action, the null one included, so that the next policy can learn.
        explore: how the rest is shared: all to the best, by posterior draws, or by the gap to the best.
        draws: seeded posterior draws of a Thompson policy; its propensity is a frequency over them, so it is exact.
        gap: of `inverse-gap`: how sharply what is worse by one unit is avoided.
        seed: of the draws.
        cautious: act only where the lower bound of the net value is above 0.
        nothing: whether the slot may be left empty where something can be shown; False for one that never was, of
            which nobody knows what that would do.
    """

    name: str
    actions: tuple[str, ...]
    worth: Mapping[str, float]
    costs: Mapping[str, float] = {}
    price: Annotated[float, Meta(ge=0)] = 0.0
    floor: Share = 0.0
    explore: Explore = "greedy"
    draws: Annotated[int, Meta(ge=1, le=10_000)] = 500
    gap: Annotated[float, Meta(gt=0)] = 100.0
    seed: int = 0
    cautious: bool = False
    nothing: bool = True


def net_values(spec: PolicySpec, effects: Mapping[str, Doubles]) -> Doubles:
    """What each action is worth beyond nothing, after its cost.

    Args:
        spec: with the worth of each reward and the cost of each action.
        effects: reward -> float64[n, k - 1], effect of each action of `spec.actions` against null.

    Returns:
        float64[n, k]: sum over rewards of worth x effect, minus (1 + price) x cost; 0 for the null action.
    """
    gross = sum(worth * effects[reward] for reward, worth in spec.worth.items() if worth)
    net = np.asarray(gross, np.float64)
    if spec.costs:
        net = net - (1 + spec.price) * np.array([spec.costs.get(action, 0.0) for action in spec.actions])
    return np.concatenate([np.zeros((len(net), 1)), net], axis=1)


def best_of(values: Doubles, eligible: Mask) -> Places:
    """intp[n]: the eligible action of highest value; of equal ones the first, so null before what is no better.

    Args:
        values: float64[n, k], NaN counts as worse than anything; where all eligible ones are, the first of them counts.
        eligible: bool[n, k]; each row has an eligible action.
    """
    # NaN is not at least minus infinity.
    usable = eligible & (values >= -np.inf)
    best = np.where(usable, values, -np.inf).argmax(axis=1)
    return np.asarray(np.where(usable.any(axis=1), best, eligible.argmax(axis=1)), np.intp)


def allowed(spec: PolicySpec, eligible: Mask) -> Mask:
    """bool[n, k]: what may be taken; null only where nothing else can be, if the slot is never left empty."""
    if spec.nothing:
        return eligible
    left = eligible.copy()
    left[:, NULL] &= ~eligible[:, 1:].any(axis=1)
    return left


def probabilities(spec: PolicySpec, values: Doubles, eligible: Mask, spread: Doubles | None = None) -> Doubles:
    """With which probability each action is taken.

    Args:
        spec: floor and way of exploring.
        values: float64[n, k], `net_values`.
        eligible: bool[n, k], after eligibility, caps, blocks and `allowed`; each row has an eligible action.
        spread: float64[n, k], standard error of each value: for Thompson sampling and for caution; NaN: not known.

    Returns:
        float64[n, k]: sums to 1 over the eligible actions of a row, at least `floor` on each (or the equal share, where
        there are too many for that), 0 on the others.
    """
    sought = eligible
    if spec.cautious and spread is not None:
        # What is not known to be worth it is not done: the null action, which costs nothing, is always known.
        sure = values - 1.96 * spread > 0
        sure[:, NULL] = True
        sought = np.where((eligible & sure).any(axis=1, keepdims=True), eligible & sure, eligible)
    shares = _SHARES[spec.explore](spec, values, sought, spread)
    count = np.count_nonzero(eligible, axis=1, keepdims=True)
    floor = np.minimum(spec.floor, 1 / count)
    return np.asarray(np.where(eligible, (1 - floor * count) * shares + floor, 0.0))


def _greedy(spec: PolicySpec, values: Doubles, allowed: Mask, spread: Doubles | None) -> Doubles:
    return _one_hot(best_of(values, allowed), values.shape[1])


def _thompson(spec: PolicySpec, values: Doubles, allowed: Mask, spread: Doubles | None) -> Doubles:
    """The frequency with which each action is best over seeded draws of its value (Thompson 1933).

    The draws are the same for everybody: the propensity depends on the subject's effects alone.
    """
    noise = _noise(spec.seed, spec.draws, values.shape[1])
    wide = np.zeros_like(values) if spread is None else np.nan_to_num(spread)
    shares = np.empty(values.shape)
    step = max(1, _CELLS // noise.size)
    for start in range(0, len(values), step):
        some = slice(start, start + step)
        lines = values[some, None] + wide[some, None] * noise
        usable = allowed[some, None] & ~np.isnan(lines)
        best = np.argmax(np.where(usable, lines, -np.inf), axis=2)
        best = np.where(usable.any(axis=2), best, allowed[some].argmax(axis=1)[:, None])  # as `best_of`
        shares[some] = (best[:, :, None] == np.arange(values.shape[1])).mean(axis=1)
    return shares


@lru_cache(maxsize=8)
def _noise(seed: int, draws: int, count: int) -> Doubles:
    """float64[draws, count], 0 for the null action; the same whenever it is asked for."""
    noise = np.random.default_rng(seed).standard_normal((draws, count))
    noise[:, NULL] = 0.0
    noise.flags.writeable = False
    return noise


def _inverse_gap(spec: PolicySpec, values: Doubles, allowed: Mask, spread: Doubles | None) -> Doubles:
    """1 / (k + gap x (best - value)) for each but the best, which gets the rest (Foster & Rakhlin 2020, SquareCB).

    k is the number of actions that may be taken. One of unknown value counts as not worth trying.
    """
    best = best_of(values, allowed)
    top = np.take_along_axis(values, best[:, None], axis=1)
    count = allowed.sum(axis=1, keepdims=True)
    usable = allowed & ~np.isnan(values)
    shares = np.where(usable, 1 / (count + spec.gap * np.maximum(top - np.nan_to_num(values), 0)), 0.0)
    shares[np.arange(len(best)), best] = 0.0
    shares[np.arange(len(best)), best] = 1 - shares.sum(axis=1)
    return shares


_SHARES = {"greedy": _greedy, "thompson": _thompson, "inverse-gap": _inverse_gap}


def drawn(chances: Doubles, u: Doubles) -> Places:
    """intp[n]: the action at a point of each row's distribution, by the inverse of its running sum.

    Args:
        chances: float64[n, k], rows that sum to 1.
        u: float64[n] in [0, 1): a hash of subject, slot and epoch, so that every channel draws the same.
    """
    running = np.cumsum(chances, axis=1)
    found = (running <= u[:, None]).sum(axis=1)
    # Rounding may leave the last sum below u: the last possible action is meant then.
    last = chances.shape[1] - 1 - np.argmax(chances[:, ::-1] > 0, axis=1)
    return np.asarray(np.minimum(found, last), np.intp)


def _one_hot(places: Places, width: int) -> Doubles:
    made = np.zeros((len(places), width))
    made[np.arange(len(places)), places] = 1.0
    return made
