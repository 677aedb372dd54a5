"""Logs of decisions that tests of off-policy evaluation are made on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from training.uplift.log import DecisionLog

MakeLog = Callable[..., DecisionLog]


@pytest.fixture(scope="session")
def make_log() -> MakeLog:
    """`make_log(propensity, action, reward, **columns)`: a log in one slot, each decision a subject and a page."""

    def made(propensity: Any, action: Any, reward: Any, **given: Any) -> DecisionLog:
        chance = np.asarray(propensity, np.float64)
        n, k = chance.shape
        columns: dict[str, Any] = {
            "subject": np.arange(n), "request": np.arange(n), "decided_at": np.zeros(n, np.int64),
            "slot": np.zeros(n, np.int32), "position": np.zeros(n, np.int32),
            "features": np.zeros((n, 1), np.float32), "usable": np.ones(n, bool), "holdout": np.zeros(n, bool),
            "slots": ("email",), "names": ("recency",), "categorical": (False,),
        }  # fmt: skip
        columns.update(given)
        return DecisionLog(
            propensity=chance, action=np.asarray(action, np.int32),
            rewards={"visit": np.asarray(reward, np.float64)}, actions=(None, *"abcdefgh"[: k - 1]), **columns,
        )  # fmt: skip

    return made


@pytest.fixture(scope="session")
def random_log(make_log: MakeLog) -> MakeLog:
    """`random_log(n, k, seed)`: drawn actions, subjects of one to three decisions, two features, binary rewards."""

    def drawn(n: int = 60, k: int = 3, seed: int = 0, **given: Any) -> DecisionLog:
        random = np.random.default_rng(seed)
        chance = 0.1 / k + 0.9 * random.dirichlet(np.ones(k), n)
        action = (chance.cumsum(axis=1) < random.random((n, 1))).sum(axis=1)
        features = random.normal(size=(n, 2)).astype(np.float32)
        reward = (random.random(n) < 0.2 + 0.1 * action + 0.1 * (features[:, 0] > 0)).astype(float)
        columns = {"subject": np.sort(random.integers(0, max(n // 2, 2), n)), "features": features,
                   "names": ("recency", "spend"), "categorical": (False, False), **given}  # fmt: skip
        return make_log(chance, action, reward, **columns)

    return drawn
