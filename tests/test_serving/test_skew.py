"""Train and serve see the same subject: what serving logs of him is what training assembles from the dataset."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import SimpleNamespace
from unittest import mock
from zoneinfo import ZoneInfo

import numpy as np
import orjson
import pytest

from features.covariates import KNOWN, PAST, VISIT
from features.dataset import Dataset
from features.moments import DAY, HOUR, SECOND
from serving.policy_files import write_policy
from serving.sync import sync
from tests.test_serving.conftest import AS_OF
from tests.test_serving.grown import policy, stump
from training.uplift import covariates
from training.uplift.covariates import Covariates
from training.uplift.reading import read_log

TOML = """[consent]
assumed = ["personalization"]
basis = "they agreed"
[shop]
holdout = 0.0
time-zone = "America/New_York"
[pages.home]
slots = [{name = "first", modules = ["for-you", "popular"], policy = "hero"}]
"""
CHANGE = 20_030 * DAY
"""Sunday 2024-11-03: New York's clocks go back at 06:00 UTC."""


@pytest.fixture
def engine(toy_shop, toy_engine):
    """A policy that reads the past, so that serving fills every column that it knows."""
    trees = {"popular": stump(2, 0.5, 0.5, -0.5)}
    write_policy(toy_shop.policies, policy(averages={"for-you": 0.1, "popular": 0.0}, trees=trees, floor=0.1))
    toy_shop.config.write_text(TOML)
    assert toy_engine.refresh() and not toy_engine.refusals
    return toy_engine


def visit(client, engine, rng, at: int) -> None:
    """Some events, a page, and more events that the page could not know."""
    who = {"userId": f"u{rng.integers(3)}"} if rng.random() < 0.7 else {"visitorId": f"v{rng.integers(3)}"}
    for second, events in enumerate((True, False, True)):
        engine.clock = SimpleNamespace(now=lambda moment=at + second * SECOND: moment)
        if events:
            sent = [
                {"type": str(rng.choice(["purchase", "view", "cart", "wishlist"])), "itemId": "a0", **who,
                 **({"unitPrice": 2.5, "quantity": 2, "discount": 0.5} if rng.random() < 0.6 else {})}
                for _ in range(rng.integers(1, 4))
            ]  # fmt: skip
            assert client.post("/v1/events", content=orjson.dumps({"events": sent})).status_code == 200
        else:
            context = {"device": str(rng.choice(["mobile", "desktop"])), "region": "north"}
            assert client.post("/v1/pages", content=orjson.dumps({**who, "context": context})).status_code == 200


def test_what_serving_logs_is_what_training_assembles(engine, client) -> None:
    """Both kinds of columns, over a change of clocks; the second derivations are SQL, and Python's own calendar."""
    rng = np.random.default_rng(5)
    moments = sorted([*(AS_OF + DAY * np.arange(1, 29)), *(CHANGE + HOUR * np.arange(2, 10))])
    for at in moments:
        visit(client, engine, rng, int(at))
    sync(engine.shop, now=CHANGE + 10 * DAY)
    dataset = Dataset(engine.shop.dataset)
    served = read_log(dataset, surface="page.home")
    assert served.names == KNOWN and len(served) == len(moments)
    empty = Covariates(np.zeros((len(served), 0), np.float32), (), (), (), "")
    with mock.patch.object(covariates, "_recorded", lambda *given: empty):
        counted = read_log(dataset, surface="page.home")
    assert counted.names == PAST
    # A draw that holds repeats the features of its own moment; the others are as of the decision.
    own = np.flatnonzero(served.drawn)
    assert 20 < len(own) < len(served)
    assert served.features[own, len(VISIT) :] == pytest.approx(counted.features[own], nan_ok=True, rel=1e-5)
    assert served.features[own, len(VISIT) :].any(axis=0).all(), "every column of the past says something"
    clock = [(datetime(1970, 1, 1, tzinfo=ZoneInfo("UTC")) + timedelta(microseconds=int(at)))
             .astimezone(ZoneInfo("America/New_York")) for at in served.decided_at[own]]  # fmt: skip
    for name, expected in (
        ("hour", [at.hour for at in clock]), ("weekday", [at.weekday() for at in clock]),
        ("month", [at.month for at in clock]),
    ):  # fmt: skip
        assert served.features[own, served.names.index(name)].tolist() == expected
    assert len({at.utcoffset() for at in clock}) == 2
