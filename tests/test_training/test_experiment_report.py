"""`kokyaku experiment`: from a shop's log to page, rows and look; what cannot be told is said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.dataset import Dataset
from features.moments import DAY, HOUR
from features.shop import Shop
from tests.test_uplift.drawn import START, dataset, features
from training.cli import main
from training.experiments.cohort import Asked
from training.experiments.standing import look_of, looks, report, tags_of
from training.tracking import Tracking

PEOPLE = 300


@pytest.fixture
def shop(make_shop: Callable[[Path], Shop], tmp_path: Path) -> Shop:
    """Empty."""
    return make_shop(tmp_path / "shop")


def world(shop: Shop, *, lift: float = 0.0, seed: int = 0, held: float = 0.5, **more: Any) -> Shop:
    """Customers who buy before and after their first page; the service adds `lift` to each purchase."""
    random = np.random.default_rng(seed)
    decisions, events = [], []
    for n in range(PEOPLE):
        who, holdout = f"customer{n}", bool(random.random() < held)
        decisions.append({
            "customer_id": who, "policy": "p", "holdout": holdout, "decided_at": START + n % 9 * DAY,
            "features": features(device="phone" if n % 3 else "desk"), **more,
        })  # fmt: skip
        taste = 20 + 5 * random.normal()
        for day, gain in ((-3, 0.0), (20, 0.0 if holdout else lift)):
            price = taste + random.normal() + gain
            events.append({
                "customer_id": who, "type": "purchase", "occurred_at": START + day * DAY + n * HOUR // 24,
                "order_id": f"o{n}{day}", "item_id": "i", "unit_price": price,
            })  # fmt: skip
    dataset(shop.dataset, decisions=decisions, events=events)
    shop.config.write_text("[shop]\nholdout = 0.5\n")
    return shop


def ran(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def test_before_anybody_was_decided_for_nothing_is_looked_at(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """A sentence, exit code 2, and no look is spent."""
    world(shop, lift=2.0)
    named = ["--shop", shop.id, "--root", str(shop.root)]
    assert ran(["experiment", "report", *named, "--as-of", "2000-01-01"]) == 2
    assert "nobody was decided for yet" in capsys.readouterr().err
    assert looks(Tracking(shop)) == {}


def test_the_permanent_holdout_from_log_to_page(shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The gain of 2 is found, the past narrows it, the page is self-contained and names nobody."""
    world(shop, lift=2.0)
    named = ["--shop", shop.id, "--root", str(shop.root)]
    assert (
        ran(
            [
                "experiment",
                "report",
                *named,
                "--outcome",
                "revenue",
                "--before",
                "14",
                "--json",
                str(tmp_path / "rows.json"),
            ]
        )
        == 0
    )
    out = " ".join(capsys.readouterr().out.split())
    assert "The service raises revenue against holdout: +" in out and "USD a subject" in out
    assert "This is look 1 at this experiment." in out
    rows = json.loads((tmp_path / "rows.json").read_text())
    found = {(row["subject"], row["metric"]): row for row in rows}
    gain = found["served", "revenue"]
    assert gain["low"] < 2.0 < gain["high"] < gain["low"] + 1.5
    assert found["served", "revenue-variance-saved"]["value"] > 0.8
    assert found["sample-ratio", "passed"]["value"] > 0.01
    assert ("served device=desk", "revenue") in found
    (folder,) = shop.mlflow_artifacts.glob("*/artifacts")
    page = (folder / "report.html").read_text()
    assert "<script" not in page and "http" not in page.split("base64,")[0]
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"report.html", "outcomes.png", "slices.png", "effects.csv", "checks.csv"}
    assert not [path for path in files if b"customer1" in path.read_bytes()]
    assert ran(["experiment", "list", *named]) == 0
    listed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["permanent", "holdout", "shop.toml", "1"] in listed


def test_looks_are_counted_and_cannot_be_forgotten(shop: Shop) -> None:
    """The same data and window are the same look; others are the next, also when runs failed or were deleted."""
    tracking = Tracking(shop)

    def look(asked: Asked, now: int = START) -> int:
        with tracking.run("report", tags_of(shop, asked, now)) as run:
            found = look_of(tracking, asked, now)
        tracking._client.delete_run(run.id)
        return found

    assert [look(Asked()), look(Asked()), look(Asked(), START + DAY), look(Asked())] == [1, 1, 2, 1]
    assert [look(Asked(days=2)), look(Asked(days=3)), look(Asked(days=2))] == [3, 4, 3]
    assert look(Asked("hero")) == 1, "another experiment has looks of its own"
    with pytest.raises(ZeroDivisionError), tracking.run("report", tags_of(shop, Asked("hero"), START + DAY)):
        _ = 1 / 0
    assert look(Asked("hero"), START + 2 * DAY) == 3
    assert {name: len(seen) for name, seen in looks(tracking).items()} == {"permanent holdout": 4, "hero": 3}


def test_too_many_in_one_arm_stop_the_verdict(shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A third instead of half: the remedy is said, no effect is shown."""
    world(shop, lift=2.0, held=0.3)
    assert ran(["experiment", "report", "--shop", shop.id, "--root", str(shop.root)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "No verdict, since a check failed. sample-ratio" in out and "Find out who is missing" in out
    assert "raises" not in out and "Differences a subject" not in out
    (page,) = shop.mlflow_artifacts.glob("*/artifacts/report.html")
    assert "No verdict" in page.read_text() and "<img" not in page.read_text()


def test_an_experiment_of_the_shops_file(shop: Shop) -> None:
    """Arms as the log labels them, against the control and in the shares that shop.toml declares."""
    world(shop, held=0.0, arm="hero/learned")
    shop.config.write_text(
        "[experiments.hero.arms.control]\nshare = 0.5\n[experiments.hero.arms.learned]\nshare = 0.5\n"
        'slots.first = {policy = "hero-1"}\n'
    )
    answer, _ = report(shop, Asked("hero", outcomes=("orders",)))
    assert answer.entrants.arms == ("control", "learned")
    assert [check.name for check in answer.findings.failed] == ["sample-ratio"], "nobody stands in the control"


def test_an_imported_experiment(shop: Shop) -> None:
    """Two arms by a coin; names from data are escaped."""
    random = np.random.default_rng(0)
    sent = random.random(300) < 0.5
    decisions = [
        {"customer_id": f"u{n}", "action_id": "a" if hit else None, "arm": "<b>mail</b>" if hit else "none",
         "decided_at": START, "features": features(age=float(random.normal()))}
        for n, hit in enumerate(sent.tolist())
    ]  # fmt: skip
    bought = random.random(300) < np.where(sent, 0.6, 0.2)
    outcomes = [{"decision_id": f"d{n}", "reward": "bought"} for n in np.flatnonzero(bought)]
    dataset(shop.dataset, decisions=decisions, outcomes=outcomes)
    answer, run_id = report(shop, Asked("mail"))
    assert answer.entrants.arms == ("none", "<b>mail</b>")
    assert answer.findings.effects[0].ruling == "raises"
    page = (shop.mlflow_artifacts / run_id / "artifacts" / "report.html").read_text()
    assert "<b>mail" not in page and "&lt;b&gt;mail" in page


def test_a_simulated_shop_is_read(
    shop: Shop, tiny_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A handful of customers in its holdout: too little data is a sentence, not a failure."""
    shutil.copytree(tiny_dataset, shop.dataset)
    named = ["--shop", shop.id, "--root", str(shop.root)]
    assert ran(["experiment", "report", *named, "--outcome", "visits", "--json", str(tmp_path / "rows.json")]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "Too little data to say what the service does to visits" in out
    rows = {(row["subject"], row["metric"]): row["value"] for row in json.loads((tmp_path / "rows.json").read_text())}
    assert rows["served", "visits"] is None and 0 < rows["holdout", "subjects"] < 30
    with Dataset(shop.dataset).connect() as duck:
        held = duck.execute("SELECT count(DISTINCT customer_id) FROM decisions WHERE holdout").fetchall()[0][0]
    assert held > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--experiment", "nowhere"], "no such experiment"),
        (["--outcome", "ordrs"], 'did you mean "orders"'),
        (["--guard", "complaint"], "not NAME=NUMBER"),
        (["--share", "holdout=2"], "between 0 and 1"),
        (["--share", "held=0.5"], 'did you mean "holdout"'),
        (["--days", "0"], "above 0"),
        (["--before", "-1"], "above 0"),
        (["--as-of", "someday"], "someday"),
    ],
)
def test_mistakes_are_one_line_and_leave_no_run(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    root = tmp_path_factory.mktemp("mistakes")
    dataset(root / "dataset", decisions=[{"customer_id": "ann", "policy": "p", "decided_at": START}])
    assert ran(["experiment", "report", "--shop", "mine", "--root", str(root), *arguments]) == 2
    told = capsys.readouterr().err
    assert words in told and "Traceback" not in told
    assert not (root / "mlflow.db").exists()
