"""Running the simulation: seeds, cuts, errors, the command."""

import re

import pyarrow as pa
import pytest

from features.dataset import Dataset
from features.errors import ConfigError, DataError
from features.moments import DAY, parse_instant
from features.schemas import TABLES
from training.simulation import simulate
from training.simulation.truth import Truth


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("tiny") / "dataset", size="tiny", seed=3)


def everything(report):
    """All tables, rows in an order that does not depend on files."""
    dataset = Dataset(report.dataset)
    keys = {
        "events": ["event_id"], "items": ["item_id", "valid_from"], "customers": ["customer_id", "valid_from"],
        "identities": ["visitor_id", "customer_id", "linked_at"],
        "orders": ["order_id", "line", "valid_from", "shipment_state"],
        "actions": ["action_id"], "decisions": ["decision_id"], "outcomes": ["decision_id", "reward"],
    }  # fmt: skip
    return {name: dataset.read(name).sort_by([(key, "ascending") for key in keys[name]]) for name in TABLES}


def test_the_same_seed_gives_the_same_shop_however_the_work_is_cut(tiny, tmp_path):
    """Other files, other processes: every table is equal to the last cell; the truth as well."""
    again = simulate(tmp_path / "a" / "dataset", size="tiny", seed=3, blocks_a_part=2)
    apart = simulate(tmp_path / "b" / "dataset", size="tiny", seed=3, workers=2)
    expected = everything(tiny)
    for other in (again, apart):
        assert other.counts == tiny.counts
        for name, table in everything(other).items():
            assert table.equals(expected[name]), name
        for part in ("people", "pairs", "decisions", "items"):
            assert getattr(Truth.load(other.truth), part).equals(getattr(Truth.load(tiny.truth), part))
    assert len(Dataset(again.dataset).parts("orders")) == 2
    assert len(Dataset(apart.dataset).parts("orders")) == 3


def test_another_seed_gives_another_shop(tiny, tmp_path):
    """Prices, people and events differ."""
    other = simulate(tmp_path / "dataset", size="tiny", seed=4)
    assert not Dataset(other.dataset).read("items")["price"].equals(Dataset(tiny.dataset).read("items")["price"])
    assert other.counts["events"] != tiny.counts["events"]


def test_tiny_keeps_its_size(tiny):
    """The world's behaviour is frozen too: a change that moves these counts by a per cent is another world."""
    expected = {"events": 10_265, "decisions": 3_286, "orders": 3_036, "outcomes": 1_141}
    for name, count in expected.items():
        assert tiny.counts[name] == pytest.approx(count, rel=0.01), name


def test_the_report_says_what_was_committed(tiny):
    """Counts of the report, of the manifest and of the files agree; one import, named after the world."""
    (record,) = Dataset(tiny.dataset).manifest().imports
    assert record.id == tiny.import_id == "simulated-1-tiny-en-3"
    assert record.counts == tiny.counts
    assert "never evidence" in record.notes[0]
    for name in TABLES:
        assert len(Dataset(tiny.dataset).read(name)) == tiny.counts[name]
    assert tiny.peak_bytes > 2**20
    assert tiny.events_per_second == pytest.approx(tiny.counts["events"] / tiny.seconds)
    assert tiny.truth == tiny.dataset.parent / "truth"
    assert (tiny.truth / "world.json").exists()


def test_the_japanese_shop(tiny, tmp_path):
    """Prefectures, yen without decimals, Japanese titles, Asia/Tokyo; the rest of the world is the same."""
    report = simulate(tmp_path / "dataset", size="tiny", seed=3, locale="ja")
    dataset = Dataset(report.dataset)
    items = dataset.read("items").to_pylist()
    assert all(item["price"] == int(item["price"]) for item in items)
    assert all(item["tax_included"] for item in items)
    assert all(re.search("[\u3040-\u30ff\u4e00-\u9fff]", item["title"]) for item in items)
    customers = dataset.read("customers").to_pylist()
    assert {customer["time_zone"] for customer in customers} == {"Asia/Tokyo"}
    assert all(customer["region"][-1] in "都道府県" for customer in customers)
    purchases = dataset.read("events").filter(pa.compute.equal(dataset.read("events")["type"], "purchase"))
    assert all(price == int(price) for price in purchases["unit_price"].to_pylist())
    assert all(off == int(off) for off in purchases["discount"].to_pylist())


def test_another_period(tmp_path):
    """Start and length are obeyed: months of the folders, first and last instants."""
    start = parse_instant("2026-03-10")
    report = simulate(tmp_path / "dataset", size="tiny", seed=1, start=start, days=70)
    assert (report.start, report.end) == (start, start + 70 * DAY)
    dataset = Dataset(report.dataset)
    months = {part.parent.name for part in dataset.parts("events")}
    assert months == {"month=2026-03", "month=2026-04", "month=2026-05"}
    times = dataset.read("events")["occurred_at"].cast(pa.int64())
    assert start <= pa.compute.min(times).as_py() < start + 2 * DAY
    assert pa.compute.max(times).as_py() < report.end


def test_progress_counts_blocks(tmp_path):
    """The callback hears of every block, and at last of all."""
    heard = []
    simulate(
        tmp_path / "dataset", size="tiny", seed=1, days=60, progress=lambda done, total: heard.append((done, total))
    )
    assert heard == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"size": "xl"}, "unknown size"),
        ({"seed": -1}, "a negative seed"),
        ({"locale": "fr"}, "unknown locale"),
        ({"days": 10}, "too short a period"),
        ({"start": 1}, "not midnight UTC"),
    ],
)
def test_nonsense_is_refused_before_anything_is_written(tmp_path, wrong, sentence):
    """A clear sentence, and no file."""
    with pytest.raises(ConfigError, match=sentence):
        simulate(tmp_path / "shop" / "dataset", **({"size": "tiny", "seed": 1} | wrong))
    assert not (tmp_path / "shop").exists()


def test_a_dataset_or_a_stranger_s_folder_is_never_overwritten(tiny, tmp_path):
    """A second run into the same place is refused; so is a folder named truth that no simulation made."""
    before = sorted(tiny.dataset.rglob("*"))
    with pytest.raises(DataError, match="a dataset here already"):
        simulate(tiny.dataset, size="tiny", seed=9)
    assert sorted(tiny.dataset.rglob("*")) == before
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth" / "diary.txt").write_text("dear diary")
    with pytest.raises(DataError, match="not the truth of a simulation"):
        simulate(tmp_path / "dataset", size="tiny", seed=9)
    assert (tmp_path / "truth" / "diary.txt").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_run_leaves_nothing(tmp_path, workers):
    """After an interruption there is no file; the next run takes the place as if nothing had been."""

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path / "dataset", size="tiny", seed=1, days=60, progress=stop, workers=workers)
    assert not Dataset(tmp_path / "dataset").exists()
    assert not (tmp_path / "truth").exists()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    report = simulate(tmp_path / "dataset", size="tiny", seed=2, days=60)
    files = set(report.dataset.rglob("*.parquet"))
    assert files == {part for table in TABLES for part in Dataset(report.dataset).parts(table)}


def test_the_command_makes_a_shop_and_says_so(tmp_path, capsys):
    """`kokyaku simulate` prints counts, time and memory; a second time is one line and exit code 2."""
    from training.cli import main

    arguments = [
        "simulate",
        "--size",
        "tiny",
        "--seed",
        "3",
        "--days",
        "60",
        "--end",
        "2025-06-30",
        "--out",
        str(tmp_path),
    ]
    with pytest.raises(SystemExit) as done:
        main(arguments)
    assert not done.value.code
    printed = capsys.readouterr().out
    assert "simulated-1-tiny-en-3" in printed
    assert "2025-05-01T00:00:00Z to 2025-06-30T00:00:00Z" in printed
    assert "events/s" in printed
    assert "MiB" in printed
    assert Dataset(tmp_path / "dataset").exists()
    with pytest.raises(SystemExit) as refused:
        main(arguments)
    assert refused.value.code == 2
    assert "a dataset here already" in capsys.readouterr().err
