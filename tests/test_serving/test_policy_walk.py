"""From logged draws over `train uplift` to a page: what the gate lets through is drawn, and nothing else is written."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import orjson
import pytest

from features.moments import DAY
from features.shop import Shop
from serving.policy_files import open_policy
from tests.test_serving.conftest import AS_OF
from tests.test_serving.grown import records
from tests.test_uplift.drawn import dataset, features
from training.tracking import Tracking
from training.uplift.options import StudyOptions
from training.uplift.proposals import chances_on
from training.uplift.training import Trained, Wanted, train_uplift

OPTIONS = StudyOptions(
    {"click": 1.0}, folds=3, permutations=20, threads=1, learners=("DR", "constant"), floor=0.1, tier="device"
)  # fmt: skip
TOML = """[consent]
assumed = ["personalization"]
basis = "they agreed"
[shop]
holdout = 0.0
[modules.hits]
kind = "popular"
title = {{en = "Hits"}}
[modules.popular]
kind = "popular"
title = {{en = "Popular"}}
[pages.home]
slots = [{{name = "first", modules = ["hits", "popular"], policy = "{}"}}]
"""
ACTIONS = (None, "hits", "popular")
BASE = 0.3


@pytest.fixture(scope="module")
def tracking_database(tmp_path_factory) -> Path:
    """An empty one; making it takes MLflow seconds."""
    template = Shop("toy", tmp_path_factory.mktemp("template"))
    Tracking(template)
    return template.mlflow_db


@pytest.fixture(autouse=True)
def tracked(toy_shop, tracking_database) -> None:
    shutil.copyfile(tracking_database, toy_shop.mlflow_db)


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch) -> None:
    """They take longer than all the rest, and are tested with the report."""
    monkeypatch.setattr("training.uplift.training.draw", lambda found: {})


def logged(shop: Shop, effect: dict[str, tuple[float, float]], n: int = 1800) -> None:
    """Draws of a slot, a third each; `effect` of hits and of popular on a click, on phones and on desks."""
    random = np.random.default_rng(0)
    action, mobile = random.integers(0, 3, n), random.integers(0, 2, n)
    chance = [[BASE, BASE + effect["hits"][side], BASE + effect["popular"][side]] for side in (1, 0)]
    clicked = np.flatnonzero(random.random(n) < np.array(chance)[mobile, action])
    third = 1 / 3
    eligible = orjson.dumps([[name, third] for name in ACTIONS]).decode()
    rows = [
        {
            "customer_id": f"c{at}", "action_id": ACTIONS[action[at]], "decided_at": AS_OF - 60 * DAY + at,
            "slot": "first", "surface": "home", "policy": "uniform", "eligible": eligible, "action_propensity": third,
            "features": features(device="mobile" if mobile[at] else "desktop", hour=int(random.integers(8, 20))),
        }
        for at in range(n)
    ]  # fmt: skip
    outcomes = [{"decision_id": f"d{at}", "reward": "click"} for at in clicked.tolist()]
    dataset(shop.dataset, decisions=rows, outcomes=outcomes)


def trained(shop: Shop) -> Trained:
    return train_uplift(shop, Wanted(OPTIONS, slot="first", as_of=AS_OF))


def asked(engine, client, name: str) -> list[dict]:
    """Rows of 30 pages, drawn by a policy that `shop.toml` names now, phones first and desks next."""
    engine.shop.config.write_text(TOML.format(name))
    assert engine.refresh(), engine.refusals
    for at in range(30):
        body = {"userId": f"u{at}", "page": "home", "context": {"device": ("mobile", "desktop")[at % 2]}}
        assert client.post("/v1/pages", content=orjson.dumps(body)).status_code == 200
    return records(engine)


def test_a_policy_is_learned_written_named_and_draws(toy_shop, toy_engine, client) -> None:
    """hits on phones, popular on desks; each harms on the other device and is never tried there."""
    logged(toy_shop, {"hits": (0.4, -0.25), "popular": (-0.25, 0.4)})
    made = trained(toy_shop)
    assert made.found.ruling.ships == "policy"
    name = made.report.policy.name
    assert name.startswith("first-20241004-") and made.run_id.startswith(name.rsplit("-", 1)[1])
    assert made.report.policy.folder == toy_shop.policies / name
    assert f'policy = "{name}"' in made.report.outcome
    assert "[pages.home] slot first" in made.report.outcome, "its default slot knows popular"
    run = Tracking(toy_shop)._client.get_run(made.run_id)
    assert (run.data.tags["kokyaku.policy"], run.data.tags["kokyaku.learner"]) == (name, "DR")
    kept = toy_shop.mlflow_artifacts / made.run_id / "artifacts" / "policy" / name
    for file in (toy_shop.policies / name).iterdir():
        assert (kept / file.name).read_bytes() == file.read_bytes()

    rows = asked(toy_engine, client, name)
    assert {row["policy"] for row in rows} == {name}
    best = {"mobile": "hits", "desktop": "popular"}
    fits, proposal = made.found.fits, made.found.challenger
    for row in rows:
        told = dict(zip(row["features"]["names"], row["features"]["rows"][0], strict=True))
        words = made.found.log.words[made.found.log.names.index("device")]
        block = np.array([[words.index(told["device"]), told["hour"]]], np.float32)
        chances = chances_on(block, np.ones((1, 3), bool), proposal, fits)[0]
        assert dict(row["eligible"]) == pytest.approx(
            {action: chance for action, chance in zip(ACTIONS, chances, strict=True) if chance}
        )
        assert row["action_propensity"] == dict(row["eligible"])[row["action_id"]]
        assert max(row["eligible"], key=lambda pair: pair[1])[0] == best[told["device"]]
        assert len(row["eligible"]) == 2, "what harms on this device is blocked, though everything keeps a tenth"
    assert sum(row["action_id"] == best[row["features"]["rows"][0][0]] for row in rows) >= 20


def test_where_people_are_alike_nothing_learned_is_written(toy_shop, toy_engine, client) -> None:
    """One action for everybody: no trees, nothing is read, and it draws that action whoever asks."""
    logged(toy_shop, {"hits": (0.4, 0.4), "popular": (0.1, 0.1)})
    made = trained(toy_shop)
    assert made.found.ruling.ships == "action"
    policy = open_policy(toy_shop.policies / made.report.policy.name)
    assert (policy.forests, policy.sheet.columns, policy.ids) == ({}, (), (None, "hits"))
    rows = asked(toy_engine, client, made.report.policy.name)
    assert {str(row["eligible"]) for row in rows} == {str([[None, 0.1], ["hits", 0.9]])}


def test_where_nothing_helps_nothing_is_written(toy_shop) -> None:
    """The run and its report are there all the same, and say so."""
    logged(toy_shop, {"hits": (0.0, 0.0), "popular": (0.0, 0.0)})
    made = trained(toy_shop)
    assert made.found.ruling.ships == "nothing"
    assert (made.report.policy.name, made.report.policy.folder) == ("", None)
    assert "no policy is written" in made.report.outcome
    assert not toy_shop.policies.exists()
    assert "kokyaku.policy" not in Tracking(toy_shop)._client.get_run(made.run_id).data.tags
