"""`kokyaku bench candidates`: a number changes what is considered, in learning as in serving, and all is paired."""

from __future__ import annotations

import numpy as np
import pytest

from features.errors import ConfigError
from features.history import Histories, History
from features.ids import Vocabulary
from features.moments import DAY
from features.schemas import EventType
from training.bench.accuracy import Result
from training.bench.candidates import METRICS, Ready, learn, measure, prepare, run, table_of
from training.cli import main
from training.contest import contest, voices_of
from training.split import Window

FEW, MANY = 40, 90
BASE, SERVED = f"learned {MANY}, served {MANY}", f"learned {MANY}, served {FEW}"


def shop(customers: int = 90, items: int = 160) -> Histories:
    """Two tastes over 100 days; every ten days everybody buys two usual items and two others of that taste."""
    random = np.random.default_rng(7)
    lines = []
    for u in range(customers):
        taste = np.arange(u % 2, items, 2)
        usual = random.choice(taste, 6, replace=False)
        for day in range(0, 100, 10):
            bought = {*random.choice(usual, 2, replace=False).tolist(), *random.choice(taste, 2).tolist()}
            lines += [(u, int((day + u / customers) * DAY), item) for item in sorted(bought)]
    times = np.array([line[1] for line in lines], np.int64)
    n = len(lines)
    history = History(
        times, times, np.array([line[2] for line in lines], np.int32), np.full(n, EventType.PURCHASE, np.int8),
        np.ones(n, np.float32), np.ones(n, np.float32), np.arange(n, dtype=np.uint64),
    )  # fmt: skip
    offsets = np.concatenate([[0], np.cumsum(np.bincount([line[0] for line in lines]))]).astype(np.int64)
    subjects = Vocabulary.of([f"c:{u:02}" for u in range(customers)])
    return Histories(subjects, Vocabulary.of([f"i{n:03}" for n in range(items)]), offsets, history)


@pytest.fixture(scope="module")
def ready() -> Ready:
    return prepare(shop(), Window(60 * DAY, 80 * DAY), Window(80 * DAY, 100 * DAY))


@pytest.fixture(scope="module")
def result(ready) -> Result:
    return measure(ready, "toy", [FEW], MANY, resamples=50)


def test_every_number_is_judged_by_both_trees_on_both_tasks(result):
    subjects = {BASE, SERVED, f"learned {FEW}, served {FEW}"}
    for task in ("all", "new"):
        there = {(row.subject, row.metric) for row in result.rows if row.task == task}
        assert {(s, m) for s in subjects for m in (*METRICS, "candidates", "answer-us")} <= there
        assert {s for s, metric in there if metric.endswith("-difference")} == subjects - {
            f"learned {MANY}, served {MANY}"
        }


def test_fewer_are_considered_where_each_source_proposes_fewer(result):
    """And never more than all of them together may propose."""
    counts = {(row.task, row.subject): row.value for row in result.rows if row.metric == "candidates"}
    for task in ("all", "new"):
        assert FEW < counts[task, SERVED] < counts[task, BASE] <= 160


def test_differences_are_those_of_the_same_customers(result):
    value = {(row.task, row.subject, row.metric): row.value for row in result.rows}
    for task in ("all", "new"):
        for metric in METRICS:
            gap = value[task, SERVED, metric] - value[task, BASE, metric]
            assert value[task, SERVED, f"{metric}-difference"] == pytest.approx(gap)


def test_trees_learn_on_as_many_as_they_are_told(ready):
    """Examples of fewer candidates are fewer; trees of another number are other trees, and each is remembered."""
    window = ready.rankers.windows(ready.judged.window.start)[-1]
    (few, trees), (many, others) = learn(ready, FEW), learn(ready, MANY)
    assert few.candidates_per_source == FEW
    assert many.candidates_per_source == MANY
    voices = {each.name: each for each in few.sources}
    heard = [voices[name] for name in few.ranker.voices]
    sizes = [
        len(ready.rankers.examples(window, few.ranker.voices, heard, number)["all"]) for number in (FEW, MANY)
    ]  # fmt: skip
    assert sizes[0] < sizes[1]
    assert any(not np.array_equal(trees[key], others.get(key)) for key in trees)
    again = learn(ready, FEW)[1]
    assert all(again[key] is trees[key] for key in trees)


def test_the_number_of_a_place_is_what_its_ranker_asks_for(ready):
    """`proposing` changes lists only through what is considered: with everything proposed it changes nothing."""
    voices = {"popularity": {"all": {"popularity": 1.0}}}
    lists = [
        contest(ready.judged.proposing(number), voices)["popularity"].tasks["all"].lists for number in (160, 1000)
    ]  # fmt: skip
    assert np.array_equal(*lists)
    assert voices_of(learn(ready, FEW)[0])["all"].name == "ranker"


def test_the_table_has_a_line_a_number(result):
    table = table_of(result.rows, "all", MANY)
    assert list(table.columns[0].cells)[:2] == [BASE, SERVED]
    assert not table.columns[2]._cells[0]  # nothing differs from itself
    assert "%" in table.columns[2]._cells[1]


def test_too_few_candidates_are_refused_before_anything_is_read(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["bench", "candidates", "30"])
    assert "asks for 40 at least" in capsys.readouterr().err


def test_another_shop_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no such data"):
        run([60], data="gowalla", cache=tmp_path)
