"""`kokyaku monitor` on a small simulated shop: the terminal, the file, MLflow, and what it does when run again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from features.build import histories_as_of
from features.dataset import Dataset
from features.moments import DAY, format_instant, parse_instant
from features.shop import Shop
from serving.artifact import publish_live
from serving.bundle import write_bundle
from serving.recipe import Recipe, SourceSpec
from tests.test_serving.grown import AGREED
from training.cli import main
from training.fitting import Cut, fit_bundle
from training.monitor import record as recording
from training.monitor.measure import Measure, Verdict
from training.monitor.reading import looking
from training.monitor.record import SERIES, Record
from training.monitor.report import Found, read_back, written
from training.monitor.watch import watch
from training.monitor.windows import Asked
from training.tracking import Tracking

MakeShop = Callable[[Path], Shop]
TRAINED, SINCE, UNTIL = "2025-05-01", "2025-05-05", "2025-05-19"
ITEM = "i000001"
RECIPE = Recipe(
    "personal-frequency",
    (SourceSpec("popularity", "popularity"), SourceSpec("personal-frequency", "personal-frequency")),
    {"personal-frequency": 1.0},
)


@pytest.fixture
def shop(make_shop: MakeShop, tiny_dataset: Path, tmp_path: Path) -> Shop:
    """The tiny shop with a bundle that was trained on its first four months and serves."""
    shop = make_shop(tmp_path / "toy")
    shutil.copytree(tiny_dataset, shop.dataset)
    shop.config.write_text(AGREED)
    moment = parse_instant(TRAINED)
    histories = histories_as_of(Dataset(shop.dataset), moment)
    bundle = fit_bundle(Cut(histories, moment, min_customers=1), RECIPE)
    write_bundle(shop.bundles / bundle.id, bundle)
    publish_live(shop.bundles, bundle.id)
    return shop


def run(shop: Shop, *arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["monitor", "--shop", shop.id, "--root", str(shop.root), *arguments])
    return int(ended.value.code or 0)


@pytest.fixture
def unseen(monkeypatch: pytest.MonkeyPatch):
    """No pictures, where nobody looks at them."""
    monkeypatch.setattr(recording, "pictures", lambda found: {})
    monkeypatch.setattr(recording, "course", lambda several: b"")


def kept(shop: Shop) -> dict[str, str]:
    """Window -> run."""
    tracking = Tracking(shop, monitor=True)
    (series,) = tracking.kept(SERIES, "week")
    runs = tracking.kept("mlflow.parentRunId", series.id)
    assert all(each.finished for each in runs)
    return {each.tags["mlflow.runName"]: each.id for each in runs}


def test_walk(shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Two weeks: a table, a file, a run a week with its pictures, one run that draws the lines."""
    file = tmp_path / "weeks.json"
    assert run(shop, "--since", SINCE, "--until", UNTIL, "--all", "--json", str(file)) == 0
    said = capsys.readouterr().out
    assert (
        "2025-05-12 to 2025-05-18: nothing to act on, watch 1: Since the bundle" in said
        and "2 of 2 windows were measured now" in said
    )
    told = json.loads(file.read_text())
    assert [each["window"][:10] for each in told] == ["2025-05-05", "2025-05-12"]
    measures = {each["name"]: each for each in told[-1]["measures"]}
    assert measures["psi/device"]["value"] >= 0 and measures["psi/device"]["band"] > 0
    assert measures["psi/score"]["n"] > 100 and measures["age/bundle"]["value"] == 18
    assert measures["age/history"]["value"] is None and measures["age/history"]["verdict"] == "unknown"
    tracking = Tracking(shop, monitor=True)
    client = tracking._client
    assert client.get_experiment(tracking._experiment).name == "kokyaku/toy-monitor"
    (series,) = tracking.kept(SERIES, "week")
    line = client.get_metric_history(series.id, "psi/device")
    assert [each.step for each in line] == [(parse_instant(day) // DAY) for day in ("2025-05-12", UNTIL)]
    assert line[-1].value == measures["psi/device"]["value"] and line[-1].timestamp == parse_instant(UNTIL) // 1000
    assert {"psi/device/band", "psi/device/verdict", "share/fallback/low", "age/events", "verdicts/act"} <= set(
        client.get_run(series.id).data.metrics
    )
    assert tracking.artefact(series.id, "plots/course.png").read_bytes().startswith(b"\x89PNG")
    for run_id in kept(shop).values():
        for name in ("plots/window.png", "plots/reliability.png"):
            assert tracking.artefact(run_id, name).read_bytes().startswith(b"\x89PNG")
        assert "psi/device" in tracking.artefact(run_id, "measures.csv").read_text()
    assert not client.search_runs([Tracking(shop)._experiment]), "training's experiment stays its own"


def test_run_again(shop: Shop, capsys: pytest.CaptureFixture[str], unseen: None, monkeypatch: pytest.MonkeyPatch):
    """A window that is there is not made twice; one whose run was deleted is; lines have one value a step."""
    assert run(shop, "--since", SINCE, "--until", UNTIL) == 0
    first = kept(shop)
    monkeypatch.setattr("training.monitor.watch.looking", None)  # nothing is read again
    assert run(shop, "--since", SINCE, "--until", "2025-05-23") == 0
    assert kept(shop) == first and "0 of 2 windows were measured now" in capsys.readouterr().out
    monkeypatch.setattr("training.monitor.watch.looking", looking)
    tracking = Tracking(shop, monitor=True)
    tracking.delete(first["2025-05-05 to 2025-05-11"])
    assert run(shop, "--since", SINCE, "--until", UNTIL) == 0
    again = kept(shop)
    assert again.keys() == first.keys() and again["2025-05-12 to 2025-05-18"] == first["2025-05-12 to 2025-05-18"]
    assert "1 of 2 windows were measured now" in capsys.readouterr().out
    (series,) = tracking.kept(SERIES, "week")
    line = tracking._client.get_metric_history(series.id, "psi/device")
    assert len({each.step for each in line}) == len(line) == 2


def test_goes_on_where_it_stopped(
    shop: Shop, unseen: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Interrupted in the second window: the first is kept, the second made again, nothing is left half."""

    def interrupted(found: Found):
        if found.window.startswith("2025-05-12"):
            raise KeyboardInterrupt
        return {}

    monkeypatch.setattr(recording, "pictures", interrupted)
    assert run(shop, "--since", SINCE, "--until", UNTIL) == 130
    monkeypatch.setattr(recording, "pictures", lambda found: {})
    tracking = Tracking(shop, monitor=True)
    (series,) = tracking.kept(SERIES, "week")
    assert [each.finished for each in tracking.kept("mlflow.parentRunId", series.id)] == [True, False]
    assert run(shop, "--since", SINCE, "--until", UNTIL) == 0
    assert "1 of 2 windows were measured now" in capsys.readouterr().out
    assert len(kept(shop)) == 2


def test_alarms_are_exit_codes(shop: Shop, unseen: None, capsys: pytest.CaptureFixture[str]):
    """Weeks after the last event: 1, unless nobody wants to know; what is to be watched alone, where that is asked."""
    quiet = ("--until", "2025-06-23")
    assert run(shop, *quiet) == 1
    said = capsys.readouterr().out
    assert "Since the last event arrived" in said and "kokyaku sync" in said
    assert run(shop, *quiet, "--fail-on", "never") == 0
    assert run(shop, "--until", UNTIL) == 0
    assert run(shop, "--until", UNTIL, "--fail-on", "watch") == 1
    assert "Since the bundle was trained" in capsys.readouterr().out


def test_days(shop: Shop, unseen: None):
    """Days are another series than weeks, each held against the same weekday."""
    assert run(shop, "--window", "day", "--until", "2025-05-13T12:00Z", "--fail-on", "never") == 0
    tracking = Tracking(shop, monitor=True)
    assert len(tracking.kept(SERIES, "day")) == 1 and not tracking.kept(SERIES, "week")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--since", "yesterday"), "not a time"), (("--until", "2025-05-19T10:00"), "a time without a zone"),
        (("--since", "2025-05-18", "--until", "2025-05-19"), "no whole window"),
        (("--since", "1980-01-01", "--until", "2025-05-19"), "too many windows"),
        (("--window", "month"), "Invalid value"), (("--fail-on", "anything"), "Invalid value"),
    ],
)  # fmt: skip
def test_refusals(shop: Shop, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], sentence: str):
    """Said in one line, exit code 2, nothing is made."""
    assert run(shop, *arguments) == 2
    error = capsys.readouterr().err
    assert sentence in error and "Traceback" not in error
    assert not Tracking(shop, monitor=True).kept(SERIES, "week")


def test_no_shop(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """No dataset: no empty store is left behind."""
    assert run(Shop("bare", tmp_path / "bare")) == 2
    assert "no dataset here" in capsys.readouterr().err and not (tmp_path / "bare" / "mlflow.db").exists()


def test_help(capsys: pytest.CaptureFixture[str]):
    assert run(Shop("toy", Path("nowhere")), "--help") == 0
    said = capsys.readouterr().out
    for word in ("Examples", "--since", "--fail-on", "Exit code", "kokyaku monitor --shop mine"):
        assert word in said


def test_records_read_back(shop: Shop):
    """What is undefined comes back undefined, and a verdict as it was."""
    ((_, found, _),) = watch(shop, Asked(parse_instant(UNTIL)))
    again = read_back(written(found))
    for mine, theirs in zip(found.measures, again.measures, strict=True):
        assert np.isnan(mine.value) == np.isnan(theirs.value) and mine.verdict is theirs.verdict
        assert np.isnan(mine.value) or mine.value == theirs.value
    assert again.curves == found.curves and again.start == format_instant(parse_instant("2025-05-12"))


def test_a_damaged_record_is_made_again(shop: Shop, unseen: None):
    """So is one whose run never ended; neither keeps the course of the others from being drawn."""
    record = Record(shop, "week")
    ((window, found, new),) = watch(shop, Asked(parse_instant(UNTIL)), record.stored)
    run_id = record.keep(window, found)
    assert new and record.stored(window) is not None
    tracking = Tracking(shop, monitor=True)
    tracking._client.update_run(run_id, status="RUNNING")
    assert record.stored(window) is None
    tracking._client.update_run(run_id, status="FINISHED")
    tracking.artefact(run_id, "window.json").write_text("{}")
    assert record.stored(window) is None
    record.draw_course()


def test_a_damaged_bundle_or_history_hides_nothing_else(shop: Shop):
    """What cannot be read is unknown, with the reason; all else is measured."""
    (folder,) = shop.bundles.glob("*/")
    next(folder.glob("source.*.npy")).write_bytes(b"no array")
    (shop.histories / "h").mkdir(parents=True)
    publish_live(shop.histories, "h")
    ((_, found, _),) = watch(shop, Asked(parse_instant(UNTIL)))
    told = {each.name: each for each in found.measures}
    assert told["psi/score"].verdict is Verdict.UNKNOWN and "checksum" in told["psi/score"].reason
    assert told["age/history"].verdict is Verdict.UNKNOWN and "no manifest" in told["age/history"].reason
    assert told["psi/device"].verdict is Verdict.OK


# Scores.


def score(found: Found) -> Measure:
    return next(each for each in found.measures if each.name == "psi/score")


def test_scores_of_a_window_without_a_bundle(shop: Shop):
    """What a bundle would have said of a time that it learned from is not asked."""
    ((_, found, _),) = watch(shop, Asked(parse_instant(TRAINED)))
    assert score(found).verdict is Verdict.UNKNOWN and "as old as the window" in score(found).reason


def test_scores_change_with_the_customers(shop: Shop):
    """Everybody buys one thing again and again since then: its score rises beyond all that the bundle knew."""
    ((_, before, _),) = watch(shop, Asked(parse_instant(UNTIL)))
    assert score(before).verdict is Verdict.OK and score(before).n > 100
    for part in Dataset(shop.dataset).parts("events"):
        rows = pq.read_table(part, partitioning=None)
        since = pc.greater_equal(rows["occurred_at"].cast(pa.int64()), parse_instant(TRAINED))
        viewed = pc.and_(since, pc.equal(rows["type"], "view"))
        for column, value in (("type", "purchase"), ("item_id", ITEM)):
            place = rows.schema.get_field_index(column)
            rows = rows.set_column(place, column, pc.if_else(viewed, value, rows[column]))
        pq.write_table(rows, part)
    ((_, after, _),) = watch(shop, Asked(parse_instant(UNTIL)))
    assert score(after).verdict is Verdict.ACT and score(after).value > score(before).value
