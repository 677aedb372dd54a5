"""`kokyaku train slots`: from decisions in a dataset to a policy that serving opens, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest

from features.dataset import Dataset
from features.moments import DAY, HOUR
from features.shop import Shop
from serving.config import load_config
from serving.policy_files import open_policies
from tests.test_uplift.drawn import START, dataset, features
from training.cli import main
from training.slots.judging import SlotOptions
from training.slots.training import SlotsWanted, kinds_told, servable, with_shop
from training.tracking import Tracking
from training.uplift import training
from training.uplift.options import StudyOptions
from training.uplift.training import readable

TOML = """
[modules.tips]
kind = "popular"
title = {en = "Tips"}
[modules.video]
kind = "popular"
title = {en = "Video"}
[modules.new-video]
kind = "popular"
title = {en = "New video"}
[pages.home]
slots = [{name = "hero", modules = ["tips", "video", "new-video"]%s}]
"""
EVEN = [[None, 0.2], ["tips", 0.4], ["video", 0.4]]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """By day tips are clicked, by night the video; a visitor a page."""
    random = np.random.default_rng(0)
    decisions, events = [], []
    for number in range(2_400):
        night = int(random.integers(0, 2))
        action = (None, "tips", "video")[int(random.choice(3, p=[0.2, 0.4, 0.4]))]
        at = START + int(random.integers(0, 60)) * DAY + HOUR
        chance = dict(EVEN)[action]
        decisions.append({
            "decision_id": f"d{number}", "request_id": f"d{number}", "visitor_id": f"v{number}", "decided_at": at,
            "surface": "page.home", "slot": "hero", "action_id": action, "action_propensity": chance, "policy": "draws",
            "eligible": orjson.dumps(EVEN).decode(), "features": features(hour=12 * night + 2, theme=night),
        })  # fmt: skip
        likes = {("tips", 0): 0.5, ("video", 1): 0.5}.get((action, night), 0.05)
        if action and random.random() < likes:
            events.append({"type": "click", "visitor_id": f"v{number}", "occurred_at": at + 5, "decision_id": f"d{number}"})  # noqa: E501  # fmt: skip
    events.append({"type": "view", "visitor_id": "late", "occurred_at": START + 90 * DAY})
    made = Shop("pages", tmp_path_factory.mktemp("pages"))
    dataset(made.dataset, decisions=decisions, events=events)
    made.config.write_text(TOML % "")
    return made


def run(shop: Shop, *arguments: str) -> int:
    """The exit code of `kokyaku train slots`."""
    with pytest.raises(SystemExit) as ended:
        main(["train", "slots", *arguments, "--threads", "1", "--shop", shop.id, "--root", str(shop.root)])
    return int(ended.value.code or 0)


def test_from_decisions_to_a_policy(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """The gate lets the slot's policy through; the line that is printed makes serving open it; nothing was put live."""
    assert run(shop, "--outcome", "click", "--window", "3", "--folds", "3", "--kind", "tips=tip") == 0
    said = capsys.readouterr().out
    assert "choose for each customer" in said
    assert "serving does not know them: theme" in said
    name = next(folder.name for folder in shop.policies.iterdir())
    assert f'slot "hero": policy = "{name}"' in said
    assert load_config(shop.config).pages["home"].slots[0].policy is None
    shop.config.write_text(TOML % f', policy = "{name}"')
    policy = open_policies(shop.policies, load_config(shop.config))[name]
    shop.config.write_text(TOML % "")
    assert policy.sheet.spec.actions == ("new-video", "popular", "tips", "video")
    assert policy.sheet.spec.explore == "thompson"
    told = dict.fromkeys(policy.reads)
    day, night = (policy.score({**told, "hour": hour}).values[0] for hour in (2.0, 14.0))
    tips, video = policy.places["tips"], policy.places["video"]
    assert day[tips] > day[video] + 0.2
    assert night[video] > night[tips] + 0.2
    new = policy.places["new-video"]
    assert 0 < day[new] < 0.5
    assert policy.score({**told, "hour": 2.0}).spread[0, new] > policy.score({**told, "hour": 2.0}).spread[0, video]
    tracking = Tracking(shop)
    found = tracking._client.search_runs([tracking._experiment])[0]
    assert found.info.status == "FINISHED"
    assert found.data.tags["kokyaku.ships.hero"] == "policy"
    assert found.data.tags["kokyaku.policy.hero"] == name
    assert "hero/value/policy/low" in found.data.metrics
    folder = shop.mlflow_artifacts / found.info.run_id / "artifacts"
    files = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert files >= {"ruling.hero.json", "tables/hero.click.csv", "tables/checks.csv", "inputs.json"}


def test_kinds_modules_and_positions_come_from_the_shop(shop: Shop) -> None:
    """What is named on the command line counts most; another surface has none of it."""
    options = SlotOptions(StudyOptions({"click": 1.0}), kinds={"tips": "tip"})
    found = with_shop(Dataset(shop.dataset), load_config(shop.config), SlotsWanted("page.home", options))
    assert found.kinds["tips"] == "tip"
    assert found.kinds["video"] == "popular"
    assert found.modules == {"hero": ("tips", "video", "new-video", "popular")}
    assert found.positions == {"hero": 0}
    assert with_shop(Dataset(shop.dataset), load_config(shop.config), SlotsWanted("home", options)).modules == {}


def test_the_last_version_of_an_action_tells_its_kind(tmp_path: Path, make_dataset) -> None:
    make_dataset(tmp_path, actions=[{"action_id": "a", "kind": "tip", "valid_from": 2}, {"action_id": "a", "kind": "video", "valid_from": 1}])  # noqa: E501  # fmt: skip
    assert kinds_told(Dataset(tmp_path)) == {"a": "tip"}


def test_only_what_serving_can_tell_is_learned_from(shop: Shop) -> None:
    wanted = SlotsWanted("page.home", SlotOptions(StudyOptions({"click": 1.0})))
    log = readable(shop, wanted.log, history=True, only=servable)
    assert "theme" not in log.names
    assert log.names[0] == "hour"
    assert "orders_28d" in log.names, "and the past, which serving counts too"
    assert log.features.shape == (len(log), len(log.names)) == (len(log), len(log.categorical))


def test_a_column_that_tells_people_apart_is_no_tier(
    shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Day and night are two tiers; where one is the most, they are too many."""
    monkeypatch.setattr(training, "MOST_TIERS", 1)
    assert run(shop, "--outcome", "click", "--tier", "hour") == 2
    assert "too many values for tiers" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--outcome", "click", "--surface", "page.none"), "no such decisions"),
        (("--outcome", "smiles"), "smiles"),
        (("--outcome", "click", "--cost", "nobody=1"), "no such action"),
        (("--outcome", "click", "--kind", "video"), "not ACTION=KIND"),
        (("--outcome", "click", "--learner", "linear"), "not a learner whose trees can be served"),
        (("--outcome", "click", "--override", "luck"), "no such check"),
    ],
)
def test_bad_input_is_a_sentence(shop: Shop, capsys: pytest.CaptureFixture[str], arguments, said) -> None:
    before = sorted(shop.policies.iterdir()) if shop.policies.exists() else []
    assert run(shop, *arguments) == 2
    assert said in capsys.readouterr().err
    assert before == (sorted(shop.policies.iterdir()) if shop.policies.exists() else [])
