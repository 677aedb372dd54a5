"""`kokyaku train uplift` on the mails of the tiny simulated shop: what it leaves in MLflow, and how it refuses."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from features.dataset import Dataset
from features.errors import ConfigError, DataError
from features.shop import Shop
from tests.test_uplift.drawn import START, dataset
from training.cli import main
from training.commands.decisions import amounts
from training.tracking import Tracking
from training.uplift.options import StudyOptions
from training.uplift.training import Wanted, train_uplift

MakeShop = Callable[[Path], Shop]
CHECKS = ("sample-ratio", "sample-ratio-by-day", "mean-weight", "duplicates", "positivity", "effective-sample-size",
          "arm-classifier", "balance", "leaks", "placebo-outcome")  # fmt: skip


@pytest.fixture
def shop(make_shop: MakeShop, tiny_dataset: Path, tmp_path: Path) -> Shop:
    """The simulated shop."""
    made = make_shop(tmp_path / "shop")
    shutil.copytree(tiny_dataset, made.dataset)
    return made


def run(shop: Shop, *arguments: str) -> int:
    """The exit code of `kokyaku train uplift`."""
    with pytest.raises(SystemExit) as ended:
        main(["train", "uplift", *arguments, "--shop", shop.id, "--root", str(shop.root)])
    return int(ended.value.code or 0)


def test_mails_of_the_simulated_shop(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0 whatever the ruling; figures, page, cards and overrides are in the run; nobody is."""
    overrides = [word for name in CHECKS for word in ("--override", name)]
    options = ["--surface", "email", "--outcome", "click", "--guard", "unsubscribe=0.01", "--window", "3"]
    quick = ["--folds", "3", "--permutations", "20", "--threads", "1", "--as-of", "2030-01-01"]
    assert run(shop, *options, *quick, *overrides, "--no-write") == 0
    said = capsys.readouterr().out
    assert "No policy was asked for." in said
    assert not shop.policies.exists()
    assert "Checks before any fit" in said
    assert "What had to hold" in said
    tracking = Tracking(shop)
    found = tracking._client.search_runs([tracking._experiment])[0]
    assert found.info.status == "FINISHED"
    assert found.data.tags["kokyaku.ships"] in ("policy", "action", "nothing")
    assert found.data.tags["kokyaku.overridden"] == ", ".join(CHECKS)
    assert found.data.params["guard.unsubscribe"] == "0.01"
    assert "value/policy" in found.data.metrics
    folder = shop.mlflow_artifacts / found.info.run_id / "artifacts"
    files = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert files >= {"report.html", "card.md", "card.ja.md", "ruling.json", "tables/checks.csv", "plots/qini.png"}
    with Dataset(shop.dataset).connect() as duck:
        people = {
            row[0].encode() for row in duck.execute("SELECT DISTINCT customer_id FROM decisions").fetchall() if row[0]
        }
    texts = [(folder / name).read_bytes() for name in files if not name.endswith((".png", "report.html"))]
    texts.append((folder / "report.html").read_text().split("base64,")[0].encode())
    assert people
    assert not [who for who in people if any(b'"' + who + b'"' in text or b"," + who + b"," in text for text in texts)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--experiment", "nowhere", "--outcome", "click"], "no such decisions"),
        (["--outcome", "click"], "which decisions?"),
        (["--surface", "email", "--outcome", "clck"], "no such reward"),
        (["--surface", "email", "--outcome", "click", "--cost", "nobody=1"], "no such action"),
        (["--surface", "email", "--outcome", "click", "--tier", "rank"], "no such column"),
        (["--surface", "email", "--outcome", "click", "--tier", "days_known"], "too many values for tiers"),
        (["--surface", "email", "--outcome", "click", "--worth", "click"], "not NAME=NUMBER"),
        (["--surface", "email", "--outcome", "click", "--as-of", "someday"], "someday"),
        (["--surface", "email", "--outcome", "click", "--monotone", "days_known=2"], "neither 1 nor -1"),
        (["--surface", "email", "--outcome", "click", "--effect-monotone", "rank=1"], "names no column"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_run(
    shop: Shop, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and nothing is written half."""
    assert run(shop, *arguments) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.strip().splitlines()) == 1
    tracking = Tracking(shop)
    assert not tracking._client.search_runs([tracking._experiment])


def test_one_arm_cannot_be_compared(make_shop: MakeShop, tmp_path: Path) -> None:
    """Said before a run is opened; a failed check is said in one that is marked as failed."""
    shop = make_shop(tmp_path / "shop")
    rows = [{"customer_id": f"c{n}", "action_id": "a", "decided_at": START + n} for n in range(80)]
    outcome = [{"decision_id": "d0", "reward": "visit"}]
    dataset(shop.dataset, decisions=rows, outcomes=outcome)
    wanted = Wanted(StudyOptions({"visit": 1.0}), experiment="mail", as_of=START * 2)
    with pytest.raises(DataError, match="one arm only"):
        train_uplift(shop, wanted)
    tracking = Tracking(shop)
    assert not tracking._client.search_runs([tracking._experiment])
    both = [{**row, "action_id": None} if n < 40 else row for n, row in enumerate(rows)]
    shutil.rmtree(shop.dataset)
    dataset(shop.dataset, decisions=both, outcomes=outcome)
    with pytest.raises(DataError, match="checks failed"):
        train_uplift(shop, wanted)
    found = tracking._client.search_runs([tracking._experiment])[0]
    assert found.info.status == "FAILED"
    assert "effective-sample-size" in found.data.tags["error"]


def test_options_before_the_subcommand_are_refused(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """They would be read by nobody."""
    with pytest.raises(SystemExit) as ended:
        main(["train", "--preset", "full", "uplift", "--outcome", "click"])
    assert ended.value.code == 2
    assert "before the subcommand" in capsys.readouterr().err


def test_amounts() -> None:
    """NAME=NUMBER; a name may hold an equals sign, twice is once too often."""
    assert amounts(["a=1", "b=c=-0.5"], "--worth") == {"a": 1.0, "b=c": -0.5}
    for wrong in (["a"], ["=1"], ["a=x"], ["a=inf"], ["a=1", "a=2"]):
        with pytest.raises(ConfigError, match="NAME=NUMBER"):
            amounts(wrong, "--worth")
