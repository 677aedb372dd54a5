"""Small made-up logs that our metrics and those of other packages are both asked about. Needs numpy alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SEEDS = (1, 2, 3)
ROWS = 500
SHARES = (0.1, 0.3, 0.5)


@dataclass(frozen=True)
class TwoArms:
    """A mail or none, a coin each, and a visit or none.

    Args:
        treated, visit: int64[n], 0 or 1.
        fine: float64[n], a score of which no two are equal; the row of the highest one was treated.
        coarse: float64[n], the same in a few steps; each has rows of both arms.
    """

    treated: np.ndarray
    visit: np.ndarray
    fine: np.ndarray
    coarse: np.ndarray


@dataclass(frozen=True)
class ThreeArms:
    """Nothing or one of two offers, with probabilities that differ between people, and money.

    Args:
        arm: int64[n], 0 is nothing.
        money: float64[n].
        chance: float64[n, 3], of each arm.
        outcome: float64[n, 3], what some model expects of each arm.
        effect: float64[n, 2], what some model expects of each offer beyond nothing.
    """

    arm: np.ndarray
    money: np.ndarray
    chance: np.ndarray
    outcome: np.ndarray
    effect: np.ndarray


def two_arms(seed: int, n: int = ROWS) -> TwoArms:
    """The mail helps those of high x."""
    random = np.random.default_rng((71, seed))
    x = random.normal(size=n)
    treated = random.integers(0, 2, n)
    fine = x + random.normal(size=n)
    treated[np.argmax(fine)] = 1
    visit = (random.random(n) < 0.2 + 0.25 * treated * (x > 0) - 0.1 * treated * (x < -1)).astype(np.int64)
    return TwoArms(treated, visit, fine, np.clip(np.round(fine), -2, 2))


def three_arms(seed: int, n: int = ROWS) -> ThreeArms:
    """Each offer helps those of one high column; the models that judge them are rough."""
    random = np.random.default_rng((72, seed))
    x = random.normal(size=(n, 2))
    chance = np.where(x[:, :1] > 0, [[0.5, 0.3, 0.2]], [[0.2, 0.4, 0.4]])
    arm = (random.random((n, 1)) > np.cumsum(chance, axis=1)[:, :-1]).sum(axis=1)
    truth = np.column_stack([np.zeros(n), x[:, 0], 0.5 + x[:, 1]])
    money = 2 + x.sum(axis=1) + truth[np.arange(n), arm] + random.normal(size=n)
    outcome = 2 + truth + 0.3 * random.normal(size=(n, 3))
    effect = truth[:, 1:] + random.normal(size=(n, 2))
    return ThreeArms(arm, money, chance, outcome, effect)
