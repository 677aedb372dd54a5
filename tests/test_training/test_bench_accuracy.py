"""`kokyaku bench accuracy`: rows for programs, a table for people, and a test window that is not read in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from features.errors import ConfigError, DataError
from features.history import Histories, History
from features.ids import Vocabulary
from features.kinds import EventType
from features.moments import DAY
from training.bench.accuracy import CHOSEN, METRICS, PRIMARY, Result, measure, run, table_of
from training.bench.shops import CASES, case_of, checked_split, count_read, reads
from training.split import Window


def shop(customers: int = 40, items: int = 24) -> Histories:
    """Two tastes over 90 days; everybody buys three old items and one new one every ten days."""
    random = np.random.default_rng(7)
    lines = []
    for u in range(customers):
        taste = np.arange(u % 2, items, 2)
        usual = random.choice(taste, 4, replace=False)
        for day in range(0, 90, 10):
            bought = {*usual[:3].tolist(), int(random.choice(taste))}
            lines += [(u, day + u / customers, item) for item in sorted(bought)]
    lines.sort()
    history = History(
        time=np.array([int(line[1] * DAY) for line in lines], np.int64),
        recorded=np.array([int(line[1] * DAY) for line in lines], np.int64),
        item=np.array([line[2] for line in lines], np.int32),
        type=np.full(len(lines), EventType.PURCHASE, np.int8),
        quantity=np.ones(len(lines), np.float32),
        value=np.ones(len(lines), np.float32),
        key=np.arange(len(lines), dtype=np.uint64),
    )
    offsets = np.concatenate([[0], np.cumsum(np.bincount([line[0] for line in lines]))]).astype(np.int64)
    subjects = Vocabulary.of([f"c:{u:02}" for u in range(customers)])
    return Histories(subjects, Vocabulary.of([f"i{n:02}" for n in range(items)]), offsets, history)


@pytest.fixture(scope="module")
def result() -> Result:
    """The benchmark on the toy shop, with an independent figure beside it."""
    return measure(
        shop(), "toy", Window(60 * DAY, 75 * DAY), Window(75 * DAY, 90 * DAY), preset="quick", resamples=50,
        reference={"all": {"popularity": 0.5}},
    )  # fmt: skip


def test_every_subject_has_every_metric_on_both_tasks(result):
    """Plain baselines beside models, blends, and the recipe that training would choose."""
    subjects = {"popularity", "personal-frequency", "ials", "bpr", "item-item", "ease", "graph-filter", "blend", CHOSEN}
    for task in ("all", "new"):
        there = {(row.subject, row.metric) for row in result.rows if row.task == task}
        assert {(s, m) for s in subjects for m in (*METRICS, "coverage@20")} <= there


def test_metrics_carry_intervals_and_a_low_end_below_the_value(result):
    """Every metric of a customer does; coverage is of all lists together and has none."""
    rows = [r for r in result.rows if r.metric in METRICS and not r.subject.startswith("independent:")]
    assert rows
    assert all(row.low <= row.value <= row.high for row in rows)
    assert all(row.low is None for row in result.rows if row.metric == "coverage@20")


def test_costs_are_measured(result):
    """Seconds of each fit, milliseconds of each answer, memory of the run."""
    assert {row.subject for row in result.rows if row.metric == "fit-seconds"} >= {"ials", "ease", "bpr", "item-item"}
    assert all(row.value > 0 for row in result.rows if row.metric in ("answer-ms", "peak-memory"))


def test_differences_are_paired_with_the_plain_baselines(result):
    """The value is the difference of the two means."""
    value = {(row.task, row.subject, row.metric): row.value for row in result.rows}
    gap = value["all", CHOSEN, PRIMARY] - value["all", "popularity", PRIMARY]
    assert value["all", CHOSEN, f"{PRIMARY}-difference:popularity"] == pytest.approx(gap)


def test_the_chosen_recipe_is_named_in_words(result):
    """Which blend, with which weights, chosen where."""
    assert any(note.startswith("kokyaku is ") for note in result.notes)
    assert any(note.startswith("blend: personal-frequency") for note in result.notes)


def test_the_table_has_a_line_a_subject_best_first(result):
    """With the independent figures among them."""
    table = table_of(result.rows, "all")
    subjects = list(table.columns[0].cells)
    values = [float(cell) for cell in table.columns[1].cells]
    assert "independent:popularity" in subjects
    assert values == sorted(values, reverse=True)


def test_windows_of_every_shop_stand_side_by_side():
    """What is chosen on lies before what is judged, without a gap or an overlap."""
    for case in CASES.values():
        assert case.tuned.end == case.valid.start
        assert case.valid.end == case.test.start
        assert case.windows("valid") == (case.tuned, case.valid)
        assert case.windows("test") == (case.valid, case.test)
        before, second = case.windows("second")
        assert before.end == second.start
        assert second.end <= case.tuned.start  # nothing is developed on it


def test_reads_of_the_test_window_are_counted_by_shop(tmp_path: Path):
    """The count survives the process, because it lies in the cache folder."""
    assert [count_read(tmp_path / "new", "online-retail") for _ in range(3)] == [1, 2, 3]
    assert count_read(tmp_path / "new", "complete-journey") == 1


def test_only_looks_at_tests_are_counted(tmp_path: Path):
    """Each test window by itself; validation is for looking at."""
    assert reads("valid", "online-retail", tmp_path) == []
    for split in ("test", "second"):
        assert "was read 1 times" in reads(split, "online-retail", tmp_path)[0]
        assert "was read 2 times" in reads(split, "online-retail", tmp_path)[0]


def test_an_unknown_split_names_what_there_is():
    """A typo is one line."""
    assert checked_split("second") == "second"
    with pytest.raises(ConfigError, match="valid, test or second"):
        checked_split("seconds")


def test_unknown_data_names_what_there_is():
    """A typo is one line."""
    with pytest.raises(ConfigError, match="one of: complete-journey, online-retail"):
        case_of("online-retial")


def test_a_file_that_is_not_there_is_an_error_of_the_data(tmp_path: Path):
    """And nothing is counted or left behind."""
    with pytest.raises((ConfigError, DataError)):
        run("online-retail", tmp_path / "nothing.csv", split="test", cache=tmp_path / "cache")
    assert not (tmp_path / "cache" / "test-reads.json").exists()
    with pytest.raises(ConfigError, match="--path"):
        run("online-retail", cache=tmp_path / "cache")
