"""`kokyaku train prior`: from drawn decisions about strangers to a policy that a slot of shop.toml opens."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import orjson
import pytest

from features.covariates import VISIT
from features.moments import DAY, HOUR, parse_instant
from features.shop import Shop
from serving.config import load_config
from serving.policy_files import open_policies
from training.cli import main
from training.tracking import Tracking

START = parse_instant("2024-01-01T00:00:00Z")
TOML = """
[modules.tips]
kind = "popular"
title = {en = "Tips"}
[modules.video]
kind = "popular"
title = {en = "Video"}
[pages.home]
slots = [{name = "hero", modules = ["tips", "video"], policy = "%s"}]
"""
EVEN = [[None, 0.2], ["tips", 0.4], ["video", 0.4]]


def rows(people: int) -> dict[str, list[dict]]:
    """By night the video is clicked, by day the tips; customers click the opposite and are not asked."""
    random, decisions, events = np.random.default_rng(0), [], []
    for number in range(people):
        night, known = bool(random.integers(2)), number % 4 == 0
        who = {"customer_id": f"c{number}"} if known else {"visitor_id": f"v{number}"}
        action = (None, "tips", "video")[int(random.choice(3, p=[0.2, 0.4, 0.4]))]
        at = START + number * HOUR
        told = ["phone", "search", 23 if night else 9, 0, 1, None, known]
        decisions.append({
            **who, "decision_id": f"d{number}", "request_id": f"d{number}", "decided_at": at, "action_id": action,
            "action_propensity": dict(EVEN)[action], "eligible": orjson.dumps(EVEN).decode(), "policy": "draws",
            "features": orjson.dumps({"names": VISIT, "rows": [told]}).decode(),
        })  # fmt: skip
        liked = "video" if night != known else "tips"
        if action and random.random() < (0.5 if action == liked else 0.1):
            events.append({**who, "type": "click", "occurred_at": at + 5, "decision_id": f"d{number}"})
    events.append({"type": "view", "visitor_id": "late", "occurred_at": START + 900 * DAY})
    return {"decisions": decisions, "events": events}


@pytest.fixture(scope="module")
def shop(tmp_path_factory, make_dataset, make_shop) -> Shop:
    made = make_shop(tmp_path_factory.mktemp("strangers"))
    make_dataset(made.dataset, **rows(2_400))
    return made


def run(shop: Shop, *arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["train", "prior", *arguments, "--shop", shop.id, "--root", str(shop.root)])
    return int(ended.value.code or 0)


def test_from_strangers_to_a_policy_that_a_slot_opens(shop: Shop, capsys) -> None:
    assert run(shop, "--slot", "hero") == 0
    said = capsys.readouterr().out
    assert "What strangers are shown depends on hour." in said
    (name,) = re.findall(r'slot "hero": policy = "([^"]+)"', said)
    assert (shop.policies / name).is_dir()
    shop.config.write_text(TOML % name)
    policy = open_policies(shop.policies, load_config(shop.config))[name]
    assert policy.sheet.spec.nothing
    assert policy.reads == {"hour"}, "no column of a person is read, and none of the visit that does not tell"
    for hour, best in ((23, "video"), (9, "tips")):
        values = policy.score({**dict.fromkeys(VISIT), "hour": hour}).values[0]
        other = "tips" if best == "video" else "video"
        assert values[policy.places[best]] == pytest.approx(0.5, abs=0.08)
        assert values[policy.places[other]] == pytest.approx(0.1, abs=0.08)
    tracking = Tracking(shop)
    found = tracking._client.search_runs([tracking._experiment])[0]
    assert found.data.tags["kokyaku.policy"] == name
    assert found.data.metrics["data/decisions"] == 1_800, "customers are not strangers"


def test_what_tells_nothing_is_averages(shop: Shop, capsys) -> None:
    assert run(shop, "--slot", "hero", "--order", "device,season", "--explore", "none") == 0
    assert "Strangers are all shown the same" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--order", "weather"], "not an order"), (["--order", "hour,hour"], "not an order"),
     (["--outcome", "smile"], "no such reward"), (["--surface", "page.moon"], "no such decisions")],
)  # fmt: skip
def test_bad_input_is_one_line(shop: Shop, capsys, arguments, said) -> None:
    assert run(shop, "--slot", "hero", *arguments) == 2
    assert said in capsys.readouterr().err


def test_a_shop_without_strangers_is_told_so(tmp_path: Path, make_dataset, make_shop, capsys) -> None:
    made = rows(40)
    made["decisions"] = [row for row in made["decisions"] if "customer_id" in row]
    shop = make_shop(tmp_path)
    make_dataset(shop.dataset, **made)
    assert run(shop, "--slot", "hero") == 2
    assert "no decision to learn from" in capsys.readouterr().err
