"""An import is there whole or not at all, whatever happens to it; and it keeps the promises made to the erased."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from features.dataset import Dataset
from features.errors import ConfigError, DataError
from features.files import exclusive
from features.importing import open_source, parse_mapping, run_import
from features.moments import parse_instant

NOW = parse_instant("2024-06-01")
MAPPING = {
    "source": "till",
    "columns": {"occurred_at": "time", "customer_id": "who", "item_id": "what", "order_id": "order"},
    "constants": {"type": "purchase"},
    "time_zone": "UTC",
}
CHILD = """
import os, signal, sys
from pathlib import Path
from features.dataset import Dataset
from features.importing import open_source, parse_mapping, run_import
folder, file, moment, mapping, now = sys.argv[1:6]
die = lambda *arguments, **named: os.kill(os.getpid(), signal.SIGKILL)
if moment == "before the comparison":
    import features.importing.merge as merge
    merge.judge_events = die
elif moment == "before the commit":
    Dataset.commit = die
elif moment == "before the manifest":
    import features.dataset as dataset
    dataset.write_atomically = die
elif moment == "while reading":
    print("reading", flush=True)
source = open_source("csv", Path(file), parse_mapping(eval(mapping)))
run_import(Dataset(Path(folder)), source, now=int(now))
"""


def orders(path: Path, count: int) -> Path:
    """A file of order lines over five months."""
    lines = (f"o{n},2024-0{1 + n * 5 // count}-05 10:00:{n % 60:02d},c{n % 97},i{n % 31}" for n in range(count))
    path.write_text("order,time,who,what\n" + "\n".join(lines) + "\n")
    return path


def state(root: Path) -> dict[str, bytes]:
    """All files that count: what the manifest lists, and the manifest."""
    dataset = Dataset(root)
    if not dataset.exists():
        return {}
    parts = [part for table in ("events", "items") for part in dataset.parts(table)]
    return {str(path): path.read_bytes() for path in [dataset.manifest_path, *parts]}


@pytest.mark.parametrize("moment", ["before the comparison", "before the commit", "before the manifest"])
@pytest.mark.parametrize("first", [True, False])
def test_a_killed_import_leaves_no_half_dataset(tmp_path: Path, moment: str, first: bool) -> None:
    """Killed without warning: the dataset is what it was; the next import is whole and clears up."""
    root, file = tmp_path / "dataset", orders(tmp_path / "new.csv", 3_000)
    if not first:
        run_import(
            Dataset(root), open_source("csv", orders(tmp_path / "old.csv", 1_000), parse_mapping(MAPPING)), now=NOW
        )
    before = state(root)
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(root), str(file), moment, repr(MAPPING), str(NOW)],
        capture_output=True,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    assert state(root) == before
    report = run_import(Dataset(root), open_source("csv", file, parse_mapping(MAPPING)), now=NOW)
    assert report.tables["events"].accounted == 3_000
    listed = set(Dataset(root).parts("events"))
    assert set((root / "events").rglob("*.parquet")) == listed
    assert not (root / ".staging").exists()


def test_an_import_killed_while_it_reads(tmp_path: Path) -> None:
    """At whatever moment the signal comes."""
    root, file = tmp_path / "dataset", orders(tmp_path / "new.csv", 200_000)
    arguments = [sys.executable, "-c", CHILD, str(root), str(file), "while reading", repr(MAPPING), str(NOW)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        deadline = time.monotonic() + 60
        while not list((root / ".staging").rglob("*.parquet")) and time.monotonic() < deadline:
            time.sleep(0.005)
        os.kill(child.pid, signal.SIGKILL)
    assert not Dataset(root).exists()
    report = run_import(Dataset(root), open_source("csv", file, parse_mapping(MAPPING)), now=NOW)
    assert report.added == 200_000


def test_an_import_that_fails_leaves_nothing_behind(till: Any) -> None:
    """A mapping that turns out not to fit in the middle of the file."""
    with pytest.raises(ConfigError, match="times without a zone"):
        till.lines("o,2024-01-05T10:00:00Z,ann,tea,1,1", "o,2024-01-05 10:00,ann,tea,1,1", time_zone=None)
    assert till.files() == []


def test_two_imports_at_a_time_are_refused(till: Any) -> None:
    """The second says what to do."""
    till.dataset.root.mkdir(parents=True)
    with (
        exclusive(till.dataset.root / ".import.lock", busy="busy"),
        pytest.raises(DataError, match="another import into this dataset is running; wait"),
    ):
        till.lines("o1,2024-01-05 10:00,ann,tea,1,100")


def test_a_short_lock_is_waited_for_and_a_long_one_is_not(till: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync that commits while the file is read costs a moment; a command that never ends costs one line."""
    monkeypatch.setattr("features.importing.runner.LOCK_PAUSE", 0.01)
    till.dataset.root.mkdir(parents=True)
    other = exclusive(till.dataset.root / ".lock", busy="busy")
    other.__enter__()
    with pytest.raises(DataError, match="another command is writing"):
        till.lines("o1,2024-01-05 10:00,ann,tea,1,100")
    monkeypatch.setattr("features.importing.runner.time.sleep", lambda seconds: other.__exit__(None, None, None))
    assert till.lines("o1,2024-01-05 10:00,ann,tea,1,100").added == 1


def test_the_record_says_what_was_read(till: Any) -> None:
    """File, hash, counts, notes and the moment."""
    till.lines("o1,2024-01-05 10:00,ann,tea,1,100", "o2,soon,ann,tea,1,100")
    (record,) = till.dataset.manifest().imports
    assert record.source == "till"
    assert record.at == "2024-06-01T00:00:00Z"
    assert record.counts["events.read"] == 2
    assert record.counts["events.quarantined"] == 1
    assert len(record.inputs[0].sha256) == 64
    assert any("recorded_at = occurred_at" in note for note in record.notes)
    assert record.quarantine == f"quarantine/{record.id}.parquet"


def test_the_erased_do_not_come_back(till: Any) -> None:
    """Their rows are left out by rule, whatever file they come in, and counted."""
    rows = [f"o{n},2024-01-05 10:00,{who},tea,1,100" for n, who in enumerate(["ann", "bob", "ann"])]
    report = till.lines(*rows, erased=lambda customer, visitor: customer == "ann")
    assert report.tables["events"].skipped == {"erased": 2}
    assert till.events() == [("bob", "tea", 1.0)]
    people = {"table": "customers", "columns": {"customer_id": "id"}, "header": "id"}
    report = till.lines("ann", "bob", **people, erased=lambda customer, visitor: customer == "ann")
    assert till.dataset.read("customers", ["customer_id"]).to_pylist() == [{"customer_id": "bob"}]
    assert report.tables["customers"].skipped == {"erased": 1}


def test_row_numbers_over_many_pieces(till: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """However a file is cut, rows are numbered over the whole of it, collisions too."""
    monkeypatch.setattr(
        "features.importing.blocks.blocks_of.__kwdefaults__", {"encoding": "auto", "quoted": True, "size": 300}
    )
    columns = {"event_id": "order", "occurred_at": "time", "customer_id": "who", "item_id": "what"}
    good = [f"o{n},2024-01-05 10:00,ann,tea,1,1" for n in range(100)]
    till.lines("o77,2024-01-05 10:00,bob,tea,1,1", columns=columns)
    good[40] = "o40,never,ann,tea,1,1"
    good[60] = "o60,2024"
    report = till.lines(*good, columns=columns)
    assert [(row["row_number"], row["reason"]) for row in till.quarantine(report)] == [
        (41, "bad-time"), (61, "bad-row"), (78, "collision"),
    ]  # fmt: skip
    assert report.added == 97


def test_progress_counts_every_row(till: Any) -> None:
    """Good and bad."""
    path = till.file("order,time,who,what,qty,price\no1,2024-01-05 10:00,ann,tea,1,100\nx\n")
    seen: list[int] = []
    run_import(till.dataset, open_source("csv", path, parse_mapping(MAPPING)), now=NOW, progress=seen.append)
    assert sum(seen) == 2


def test_little_memory_is_enough(till: Any) -> None:
    """Comparing spills to disk: 30,000 rows with a limit far below what they take, twice."""
    path = orders(till.root / "many.csv", 30_000)
    source = parse_mapping(MAPPING)
    first = run_import(till.dataset, open_source("csv", path, source), now=NOW, memory="60MB")
    again = run_import(till.dataset, open_source("csv", path, source), now=NOW, memory="60MB")
    assert (first.added, again.added) == (30_000, 0)


def test_nothing_acceptable_and_somebody_erased(till: Any) -> None:
    """A file of bad rows alone is quarantined, erased or not."""
    report = till.lines("o1,soon,ann,tea,1,100", erased=lambda customer, visitor: True)
    assert (report.added, report.reasons) == (0, {"bad-time": 1})
