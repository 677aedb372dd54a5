"""The tracking store: what goes in comes out, quietly, and no name belongs to two shops."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from features.errors import DataError, NotFoundError
from features.shop import Shop
from training.cli import main
from training.meter import Meter, package_versions, peak_memory_mb
from training.tracking import CHAMPION, RegistryUnavailable, Tracking, metric_name


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    return Tracking(Shop("toy", tmp_path_factory.mktemp("tracked shop")))


def test_round_trip_of_a_run_and_its_children(tracking: Tracking) -> None:
    """Parameters, metrics, tables and files of a run and of a nested run can be read back."""
    with tracking.run("train", {"preset": "quick"}) as run:
        run.log_params({"as_of": "2017-12-01T00:00:00Z", "seed": 1})
        run.log_metrics({"all/ndcg@20": 0.25, "new/ndcg@20": float("nan")})
        run.log_table("tables/recipes.csv", ["recipe", "ndcg@20"], [["popularity", 0.25], ["a, b", None]])
        run.log_file("plots/one.png", b"\x89PNG")
        with run.child("popularity") as child:
            child.log_metrics({"all/ndcg@20": 0.25})
    client = tracking._client
    read = client.get_run(run.id)
    assert read.info.status == "FINISHED"
    assert read.data.params == {"as_of": "2017-12-01T00:00:00Z", "seed": "1"}
    assert read.data.metrics == {"all/ndcg_at_20": 0.25}
    assert read.data.tags["undefined"] == "new/ndcg@20"
    assert client.get_run(child.id).data.tags["mlflow.parentRunId"] == run.id
    folder = tracking.shop.mlflow_artifacts / run.id / "artifacts"
    rows = list(csv.reader(io.StringIO((folder / "tables/recipes.csv").read_text())))
    assert rows == [["recipe", "ndcg@20"], ["popularity", "0.25"], ["a, b", ""]]
    assert (folder / "plots/one.png").read_bytes() == b"\x89PNG"


def test_more_than_one_batch_of_metrics_and_params(tracking: Tracking) -> None:
    """MLflow's limits of a call are no limits of a run."""
    with tracking.run("many") as run:
        run.log_metrics({f"m{i}": float(i) for i in range(2000)})
        run.log_params({f"p{i}": "x" * 10_000 for i in range(250)})
    read = tracking._client.get_run(run.id)
    assert len(read.data.metrics) == 2000
    assert len(read.data.params) == 250


def test_a_failed_run_says_so(tracking: Tracking) -> None:
    """An error inside leaves a FAILED run with the reason, and passes through."""
    with pytest.raises(DataError), tracking.run("bad") as run:
        raise DataError("too few events")
    read = tracking._client.get_run(run.id)
    assert (read.info.status, read.data.tags["error"]) == ("FAILED", "DataError: too few events")
    with pytest.raises(KeyboardInterrupt), tracking.run("stopped") as run:
        raise KeyboardInterrupt
    assert tracking._client.get_run(run.id).info.status == "KILLED"


def test_versions_and_aliases(tmp_path: Path) -> None:
    """A version keeps its bundle id, tags and files; an alias names one version at a time."""
    tracking = Tracking(Shop("versions", tmp_path))
    assert tracking.versions() == []
    assert tracking.alias(CHAMPION) is None
    with tracking.run("train") as run:
        first = tracking.register(run, "b1", {"recipe.json": b"{}"}, {"verdict": "accepted"})
        second = tracking.register(run, "b2", {"recipe.json": b"{}"}, {"verdict": "refused"})
    tracking.set_alias(CHAMPION, first)
    tracking.set_alias(CHAMPION, second)
    tracking.tag_version(second, {"note": "by hand"})
    newest, oldest = tracking.versions()
    assert (oldest.number, oldest.bundle_id, oldest.accepted, oldest.aliases) == (first, "b1", True, ())
    assert (newest.bundle_id, newest.accepted, newest.aliases) == ("b2", False, (CHAMPION,))
    assert newest.tags["note"] == "by hand"
    assert tracking.alias(CHAMPION) == newest
    assert tracking.read(newest, "recipe.json") == b"{}"
    tracking.drop_alias(CHAMPION)
    assert tracking.alias(CHAMPION) is None
    with pytest.raises(NotFoundError, match="kokyaku models"):
        tracking.version(99)
    with pytest.raises(NotFoundError, match="lost a file"):
        tracking.read(newest, "nothing.json")


def test_two_shops_share_nothing(tmp_path: Path) -> None:
    """Each shop has its own database, experiment, model and folder."""
    here, there = Tracking(Shop("here", tmp_path / "a")), Tracking(Shop("there", tmp_path / "b"))
    with here.run("train") as run:
        here.register(run, "b1", {"x": b""}, {})
    assert len(here.versions()) == 1
    assert there.versions() == []


def test_opening_a_store_prints_nothing_and_sends_nothing(tmp_path: Path) -> None:
    """A new database, a run and a version put not one line on the user's terminal; telemetry is off."""
    script = (
        "import os; from pathlib import Path; from features.shop import Shop; from training.tracking import Tracking\n"
        f"tracking = Tracking(Shop('quiet', Path({str(tmp_path)!r}) / 'shop'))\n"
        "with tracking.run('train') as run: run.log_metrics({'a': 1.0}); tracking.register(run, 'b', {'f': b''}, {})\n"
        "from mlflow.telemetry.utils import is_telemetry_disabled; assert is_telemetry_disabled()\n"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW") and k != "DO_NOT_TRACK"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(Path(__file__).parents[2])}, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]  # no ./mlruns where the user happens to stand


def test_a_foreign_database_is_named(tmp_path: Path) -> None:
    """A file that is no tracking database gives one line that names it."""
    shop = Shop("broken", tmp_path)
    shop.mlflow_db.write_bytes(b"not a database at all, but long enough to be read as a header" * 20)
    with pytest.raises(DataError, match="tracking database"):
        Tracking(shop)


def test_a_moved_shop_keeps_its_runs(tmp_path: Path) -> None:
    """After the folder was renamed, old artefacts are found, and new ones lie in the new place."""
    tracking = Tracking(Shop("moving", tmp_path / "before"))
    with tracking.run("train") as run:
        run.log_text("report.html", "old")
        tracking.register(run, "b1", {"recipe.json": b"{}"}, {"verdict": "accepted"})
    (tmp_path / "before").rename(tmp_path / "after")
    moved = Tracking(Shop("moving", tmp_path / "after"))
    assert moved.read(moved.versions()[0], "recipe.json") == b"{}"
    here = moved.shop.mlflow_artifacts
    assert moved._client.get_run(run.id).info.artifact_uri == f"{here.as_uri()}/{run.id}/artifacts"
    with moved.run("again") as later:
        later.log_text("report.html", "new")
    assert (here / later.id / "artifacts" / "report.html").read_text() == "new"
    assert not (tmp_path / "before").exists()


@pytest.mark.parametrize(
    ("name", "spelled"),
    [("new/recall@20", "new/recall_at_20"), ("95% low", "95pct low"), ("a#b(c)", "a_b_c_"), ("件数", "件数")],
)
def test_metric_names(name: str, spelled: str) -> None:
    """Names keep their sense in MLflow's alphabet."""
    assert metric_name(name) == spelled


def test_meter_measures_time_and_memory() -> None:
    """A step that touches 80 MiB shows them at its peak, and a failing step is measured as well."""
    meter = Meter()
    with meter.step("fill"):
        block = bytearray(os.urandom(1)) * (80 * 2**20)
        inside = peak_memory_mb()
    with pytest.raises(ZeroDivisionError), meter.step("fail"):
        1 / 0  # noqa: B018
    assert len(block) == 80 * 2**20
    assert [step.name for step in meter.steps] == ["fill", "fail"]
    assert meter.peak_mb >= inside >= 80
    assert meter.seconds == sum(step.seconds for step in meter.steps) > 0


def test_package_versions_name_what_can_change_a_figure() -> None:
    """Versions are those of the installed distributions."""
    from importlib.metadata import version

    assert package_versions()["numpy"] == version("numpy")


@contextlib.contextmanager
def silent_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A server that takes connections and says nothing; the environment names it as MLflow's."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{server.getsockname()[1]}")
        yield server


def at_work(shop: Shop) -> list[tuple[str, ...]]:
    """Everything that training, promoting and rolling back ask of a store; the aliases of its versions."""
    tracking = Tracking(shop)
    with tracking.run("train") as run, run.child("recipe") as child:
        child.log_metrics({"ndcg@20": 0.5})
        run.log_text("report.md", "words")
        numbers = [tracking.register(run, name, {"recipe.json": b"{}"}, {"verdict": "accepted"}) for name in "ab"]
    for number in (*numbers, numbers[0]):
        tracking.set_alias(CHAMPION, number)
    Tracking(shop, monitor=True).continued("all weeks", "kokyaku.series", "week")
    return [version.aliases for version in tracking.versions()]


@pytest.mark.parametrize("listens", [True, False])
def test_a_tracking_server_that_is_away_or_says_nothing_is_not_asked(
    make_shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listens: bool
) -> None:
    """The shop's runs are in its folder, whatever server the environment names for other programs."""
    shop = make_shop(tmp_path / "shop")
    with silent_server(monkeypatch) as server:
        if not listens:
            server.close()
        assert at_work(shop) == [(), (CHAMPION,)]
        if listens:
            with pytest.raises(TimeoutError):
                server.accept()


def test_a_store_that_somebody_holds_is_told_within_seconds(make_shop, tmp_path: Path) -> None:
    """What, where, and what to do."""
    shop = make_shop(tmp_path / "shop")
    with contextlib.closing(sqlite3.connect(shop.mlflow_db, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        with pytest.raises(RegistryUnavailable, match=r"mlflow\.db.*database is locked.*another program holds it"):
            Tracking(shop)
    assert time.monotonic() - began < 15
    assert Tracking(shop).versions() == []


def test_a_store_that_breaks_in_the_middle_of_a_run_is_told_once(make_shop, tmp_path: Path, caplog) -> None:
    """As a full disk or a lost one: one sentence, no traceback of a library, and the run does not hide it."""
    shop = make_shop(tmp_path / "shop")
    tracking = Tracking(shop)
    with pytest.raises(RegistryUnavailable) as told, tracking.run("train") as run:
        with contextlib.closing(sqlite3.connect(shop.mlflow_db)) as other:
            for table in ("metrics", "latest_metrics", "runs"):
                other.execute(f"ALTER TABLE {table} RENAME TO {table}_away")
        run.log_metrics({"ndcg@20": 0.5})
    assert "no such table" in told.value.line() and "see to its disk" in told.value.line()
    assert "\n" not in told.value.line() and "Traceback" not in caplog.text


@pytest.mark.parametrize("verb", ["models", "promote", "rollback"])
def test_commands_end_with_one_line_where_the_store_is_held(
    make_shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, verb: str
) -> None:
    """Exit code 2, on stderr; `train` and `monitor` open it the same way."""
    shop = make_shop(tmp_path / "shop")
    monkeypatch.setattr("training.tracking.client.follow", refuses)
    with pytest.raises(SystemExit) as ended:
        main([verb, "--shop", shop.id, "--root", str(shop.root)])
    told = capsys.readouterr().err
    assert ended.value.code == 2 and told.count("\n") == 1 and "another program holds it" in told


def refuses(shop: Shop) -> None:
    raise sqlite3.OperationalError("database is locked")


def test_a_folder_that_cannot_be_written_is_told(make_shop, tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop")
    (shop.root / ".mlflow.lock").mkdir()
    with pytest.raises(RegistryUnavailable, match="see to its disk and permissions"):
        Tracking(shop)
