"""Small worlds with known effects."""

from __future__ import annotations

import numpy as np

from training.uplift.curves import Trial
from training.uplift.log import DecisionLog


def log_of(action, propensity, features, reward, *, subject=None, categorical=None, observational=False) -> DecisionLog:
    """A log of one slot with one reward, `visit`."""
    n, k = propensity.shape
    p = features.shape[1]
    return DecisionLog(
        subject=np.arange(n) if subject is None else subject, request=np.arange(n), decided_at=np.arange(n),
        slot=np.zeros(n, np.int32), position=np.zeros(n, np.int32), action=np.asarray(action, np.int32),
        propensity=propensity, features=features.astype(np.float32), rewards={"visit": np.asarray(reward, float)},
        usable=np.ones(n, bool), holdout=np.zeros(n, bool), slots=("email",),
        actions=(None, *(f"arm-{number}" for number in range(1, k))), names=tuple(f"x{at}" for at in range(p)),
        categorical=categorical or (False,) * p, observational=observational,
    )  # fmt: skip


def drawn(chance, random) -> np.ndarray:
    """One action a row."""
    return (random.random(len(chance))[:, None] > np.cumsum(chance, axis=1)[:, :-1]).sum(axis=1)


def three_arms(n: int = 3000, seed: int = 0, *, noise: float = 0.5, observational: bool = False):
    """Effects 0.8 (x0 > 0) and -0.5 (x1 > 0); probabilities depend on x2, which also moves the outcome."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 4))
    chance = np.where(x[:, 2:3] > 0, [[0.5, 0.3, 0.2]], [[0.2, 0.3, 0.5]])
    action = drawn(chance, random)
    effect = np.column_stack([0.8 * (x[:, 0] > 0), -0.5 * (x[:, 1] > 0)])
    gained = np.column_stack([np.zeros(n), effect])[np.arange(n), action]
    reward = x[:, 2] + gained + noise * random.normal(size=n)
    features = np.where(random.random((n, 4)) < [[0, 0, 0, 0.2]], np.nan, x)
    return log_of(action, chance, features, reward, observational=observational), effect


def trial(treated, reward, chance=None, subject=None) -> Trial:
    """A trial of rows given as lists."""
    treated = np.asarray(treated, bool)
    n = len(treated)
    half = np.full((n, 2), 0.5) if chance is None else np.asarray(chance, float)
    return Trial(
        treated, np.asarray(reward, float), half, np.arange(n) if subject is None else np.asarray(subject), np.arange(n)
    )  # fmt: skip
