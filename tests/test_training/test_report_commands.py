"""`kokyaku report`: what its commands print, write and log, and how they refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from features.shop import Shop
from tests.test_uplift.drawn import START, dataset, features
from tests.test_uplift.test_winback import world
from training.cli import main
from training.tracking import Tracking

MakeShop = Callable[[Path], Shop]


@pytest.fixture
def shop(make_shop: MakeShop, tmp_path: Path) -> Shop:
    """A mail that moves only those who come anyway, drawn among 1,200 customers."""
    made, log = make_shop(tmp_path / "shop"), world("loyal", 1_200)
    rows = [
        {"decided_at": START + place, "customer_id": f"c{place}", "action_id": "a" if action else None,
         "features": features(x0=float(x[0]), x1=float(x[1]))}
        for place, (action, x) in enumerate(zip(log.action, log.features, strict=True))
    ]  # fmt: skip
    came = [
        {"decision_id": f"d{place}", "reward": "visit", "value": value}
        for place, value in enumerate(log.rewards["visit"].tolist())
    ]
    dataset(made.dataset, decisions=rows, outcomes=came)
    return made


def run(shop: Shop, *arguments: str) -> int:
    """The exit code of `kokyaku report`."""
    with pytest.raises(SystemExit) as ended:
        main(["report", *arguments, "--shop", shop.id, "--root", str(shop.root)])
    return int(ended.value.code or 0)


MAIL = ("win-back", "--experiment", "mail", "--threads", "1")


def test_win_back(shop: Shop, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Table, answer, rows, and a run with the figures and their ends."""
    rows = tmp_path / "rows.json"
    assert run(shop, *MAIL, "--outcome", "visit", "--track", "--json", str(rows)) == 0
    out = capsys.readouterr().out
    assert "Mail by uplift" in out
    assert "those least likely to" in out
    told = {(row["subject"], row["metric"]): row for row in json.loads(rows.read_text())}
    assert told["uplift-hazard", "added-a-mail"]["low"] > 0
    assert told["both", "mailed"]["value"] == pytest.approx(360, abs=5)
    tracking = Tracking(shop)
    found = tracking._client.search_runs([tracking._experiment])[0]
    assert found.info.run_name == "win-back mail"
    assert found.data.params["action"] == "a"
    assert found.data.metrics["uplift-hazard/added-a-mail/low"] > 0


def test_money_goes_to_the_tracking_store_where_it_is_asked_to(shop: Shop, capsys: pytest.CaptureFixture[str]):
    """Nobody is held out there, and nobody bought: a sentence, pages and a run, not a failure."""
    assert run(shop, "money", "--month", "2024-03", "--track") == 0
    assert "These data cannot tell what personalisation brought in 2024-03." in capsys.readouterr().out
    tracking = Tracking(shop)
    found = tracking._client.search_runs([tracking._experiment])[0]
    assert found.data.metrics["customers/treated"] == 1200
    folder = shop.mlflow_artifacts / found.info.run_id / "artifacts"
    assert {file.name for file in folder.iterdir()} >= {"report.html", "report.pdf"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([*MAIL, "--outcome", "smile"], "no such reward"), ([*MAIL, "--outcome", "visit", "--lapsed", "x"], "--lapsed"),
        ([*MAIL, "--outcome", "visit", "--budget", "2"], "--budget"),
        (["win-back", "--outcome", "visit"], "name an experiment"),
        (["money", "--month", "2024-03", "--out", __file__], "--out"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(shop: Shop, capsys: pytest.CaptureFixture[str], more: list[str], said: str):
    assert run(shop, *more) == 2
    assert said in capsys.readouterr().err


def test_help_has_examples(shop: Shop, capsys: pytest.CaptureFixture[str]):
    for name in ("money", "win-back"):
        with pytest.raises(SystemExit) as ended:
            main(["report", name, "--help"])
        assert ended.value.code == 0
        assert f"kokyaku report {name}" in capsys.readouterr().out
