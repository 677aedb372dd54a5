"""`kokyaku bench accuracy` on pairs: files, splits, weights, and a whole run on toy files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from features.errors import ConfigError, DataError
from training.bench import pair_data, pairs
from training.bench.accuracy import run_pairs
from training.bench.pair_data import CASES, PairCase, amazon_beauty, gowalla, tmall
from training.bench.pair_weights import Pool, best, pooled, reached, standardised, tuned_weights
from training.metrics import scores
from training.split import Truth

CUSTOMERS, ITEMS = 40, 24


def written(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as file:
        file.write("\n".join(lines) + "\n")


def tastes(seed: int = 0) -> tuple[list[list[int]], list[list[int]]]:
    """Two tastes: even customers have even items. What each has, and what is to be found."""
    random = np.random.default_rng(seed)
    shuffled = [random.permutation(np.arange(u % 2, ITEMS, 2)).tolist() for u in range(CUSTOMERS)]
    return [each[:7] for each in shuffled], [each[7:9] for each in shuffled]


@pytest.fixture
def gowalla_folder(tmp_path: Path) -> Path:
    known, hidden = tastes()
    for name, found in (("train", known), ("test", hidden)):
        lines = [" ".join(map(str, [u, *items])) for u, items in enumerate(found)]
        written(tmp_path / f"{name}.txt.gz", lines)
    return tmp_path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> PairCase:
    """The case of Gowalla with models that fit its toy files."""
    voices = {
        "popularity": {}, "ease": {"l2": 5.0}, "graph-filter": {"rank": 2, "strength": 0.3},
        "ials": {"factors": 4, "iterations": 5, "regularization": 1.0, "alpha": 10.0}, "sequence": {"decay": 0.5},
    }  # fmt: skip
    case = CASES["gowalla"]
    toy = PairCase(case.load, 4, ("recall@4", "ndcg@4"), {"Somebody": (0.9, 0.8)}, voices)
    monkeypatch.setattr(pair_data, "CASES", {"gowalla": toy})
    monkeypatch.setattr(pairs, "CASES", {"gowalla": toy})
    return toy


def pairs_of(split: pair_data.Split) -> set[tuple[int, int]]:
    return set(zip(*(each.tolist() for each in split.known.matrix.nonzero()), strict=True))


def hidden_of(truth: Truth) -> set[tuple[int, int]]:
    return {(u, i) for place, u in enumerate(truth.subjects.tolist()) for i in truth.of(place).tolist()}


def test_gowalla_holds_out_a_part_of_what_is_known(gowalla_folder):
    (task,) = gowalla(gowalla_folder)
    known, hidden = tastes()
    train = {(u, i) for u, items in enumerate(known) for i in items}
    assert pairs_of(task.test) == train
    assert hidden_of(task.test.truth) == {(u, i) for u, items in enumerate(hidden) for i in items}
    assert pairs_of(task.tuned) | hidden_of(task.tuned.truth) == train
    assert not pairs_of(task.tuned) & hidden_of(task.tuned.truth)
    assert len(task.tuned.truth) == CUSTOMERS  # a tenth of seven is rounded to one item


def test_nobody_is_left_without_an_item():
    pairs_there = np.array([0, 1, 1], np.int32), np.array([0, 0, 1], np.int32)
    kept, held = pair_data._held_out(pairs_there, 0.9)
    assert kept[0].tolist() == [0, 1]
    assert held[0].tolist() == [1]


def test_beauty_leaves_one_out_in_order(tmp_path):
    written(tmp_path / "Beauty.txt.gz", ["1 3 1 2 4", "2 4 2 1"])
    with gzip.open(tmp_path / "Beauty_item2attributes.json.gz", "wt") as file:
        json.dump({"1": [1], "2": [1, 2], "9": [2]}, file)
    (task,) = amazon_beauty(tmp_path)
    assert hidden_of(task.test.truth) == {(0, 3), (1, 0)}
    assert hidden_of(task.tuned.truth) == {(0, 1), (1, 1)}
    assert pairs_of(task.tuned) == {(0, 2), (0, 0), (1, 3)}
    assert pairs_of(task.test) == pairs_of(task.tuned) | hidden_of(task.tuned.truth)
    assert task.test.known.profiles(0.5).toarray().tolist() == [[0.5, 1, 0.25, 0], [0, 1, 0, 0.5]]
    assert task.test.known.attributes.toarray().tolist() == [[1, 0], [1, 1], [0, 0], [0, 0]]


def test_tmall_takes_valid_out_and_bounds_the_wishes(tmp_path):
    files = {
        "train": ["1 1", "1 2", "2 3"], "valid": ["1 2"], "test": ["2 1"], "collect": ["1 2", "2 1", "2 4", "2 4"],
    }  # fmt: skip
    for name, lines in files.items():
        written(tmp_path / f"{name}.txt.gz", lines)
    bought, wished, others = tmall(tmp_path)
    assert pairs_of(bought.tuned) == {(0, 0), (1, 2)}
    assert pairs_of(bought.test) == {(0, 0), (0, 1), (1, 2)}
    assert bought.test.known.wishes is None
    assert wished.test.known.wishes.toarray().tolist() == [[0, 1, 0, 0], [1, 0, 0, 1]]
    assert others.test.known.wishes.toarray().tolist() == [[0, 1, 0, 0], [0, 0, 0, 1]]
    assert others.tuned.known.wishes.toarray().tolist() == [[0, 0, 0, 0], [1, 0, 0, 1]]


@pytest.mark.parametrize(
    ("line", "what"),
    [("1 two", "whole numbers"), ("1 2 3", "a customer and an item"), ("0 1", "begin at 1")],
)
def test_a_line_that_is_something_else_is_named(tmp_path, line, what):
    for name in ("train", "valid", "test", "collect"):
        written(tmp_path / f"{name}.txt.gz", ["1 1", line])
    with pytest.raises(DataError, match=what):
        tmall(tmp_path)


def test_missing_files_and_folder(tmp_path, capsys):
    with pytest.raises(DataError, match="not there"):
        gowalla(tmp_path)
    with pytest.raises(ConfigError, match="folder"):
        run_pairs("gowalla", None, split="valid")


@given(st.integers(0, 10**6), st.integers(1, 5))
def test_best_is_a_sort(seed, k):
    """What a customer has comes after everything else."""
    random = np.random.default_rng(seed)
    found = np.stack([random.permutation(6) for _ in range(3)]).astype(np.float32)
    own = sp.csr_matrix((random.random((3, 6)) < 0.3).astype(np.float32))
    shown = best(found, own, k)
    for row in range(3):
        free = np.setdiff1d(np.arange(6), own[row].indices)
        wanted = free[np.argsort(-found[row, free])][:k]
        assert shown[row, : len(wanted)].tolist() == wanted.tolist()


def test_standardised_rows():
    found = standardised(np.array([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]], np.float32))
    assert found.mean(axis=1).tolist() == pytest.approx([0, 0])
    assert found.std(axis=1).tolist() == pytest.approx([1, 0])


def test_the_pool_values_weights_as_the_lists_they_make(gowalla_folder):
    """Over the candidates, or by ranking the whole catalogue: the same metrics."""
    (task,) = gowalla(gowalla_folder)
    random = np.random.default_rng(5)
    tables = {name: random.random((CUSTOMERS, ITEMS)).astype(np.float32) for name in ("one", "two")}
    heard = {name: (lambda which, table=table: table[which]) for name, table in tables.items()}
    known, truth = task.tuned.known, task.tuned.truth
    pool = pooled(heard, known, truth, 4)
    summed = 0.3 * standardised(tables["one"]) + 2 * standardised(tables["two"])
    by_list = scores(best(summed[truth.subjects], known.matrix[truth.subjects], 4), truth, (4,))
    wanted = np.mean([by_list["recall@4"].mean(), by_list["ndcg@4"].mean()])
    found = reached(pool, 0.3 * pool.scores[0] + 2 * pool.scores[1], ("recall@4", "ndcg@4"), 4)
    assert found == pytest.approx(wanted)


def test_noise_loses_its_weight():
    """One method knows the truth, the other says its opposite, with more certainty."""
    hits = np.zeros((20, 10), bool)
    hits[:, 3] = True
    knowing = hits * 1.0
    pool = Pool(("knowing", "opposite"), np.stack([knowing, -2 * knowing]).astype(np.float32), np.ones_like(hits), hits,
                np.ones(20, np.int64))  # fmt: skip
    weights = tuned_weights(pool, ("hr@1", "ndcg@1"), 1)
    assert weights["knowing"] > 2 * weights["opposite"]


def test_a_whole_run(gowalla_folder, small, tmp_path):
    rows, notes = pairs.run("gowalla", gowalla_folder, part="test", resamples=50)
    value = {(row.subject, row.metric): row.value for row in rows if row.task == "test"}
    assert value["published:Somebody", "recall@4"] == 0.9
    assert value["kokyaku", "recall@4"] > 2 * value["popularity", "recall@4"] - 0.2
    assert value["ease", "recall@4"] > value["popularity", "recall@4"]
    assert ("kokyaku", "ndcg@4-difference:ease") in value
    assert any("sequence is left out" in note for note in notes)
    assert {row.subject for row in rows if row.metric == "fit-seconds"} == {
        "popularity",
        "ease",
        "graph-filter",
        "ials",
    }
    assert pairs.tables_of(rows, "gowalla")[0].row_count == 4 + 2 + 1
    again = run_pairs("gowalla", gowalla_folder, split="test", cache=tmp_path / "cache", resamples=50)
    assert again.notes[0].startswith("The test of gowalla was read 1 times")


def test_weights_never_see_the_test(gowalla_folder, small):
    _, before = pairs.run("gowalla", gowalla_folder, part="test", resamples=50)
    lines = [" ".join(map(str, [u, (u * 7) % ITEMS, (u * 5 + 1) % ITEMS])) for u in range(CUSTOMERS)]
    written(gowalla_folder / "test.txt.gz", lines)
    _, after = pairs.run("gowalla", gowalla_folder, part="test", resamples=50)
    assert before == after


def test_valid_judges_other_customers_than_it_tunes_on(gowalla_folder, small):
    rows, _ = pairs.run("gowalla", gowalla_folder, part="valid", resamples=50)
    assert not [row for row in rows if row.subject.startswith("published:")]
    first, second = pairs._halves(gowalla(gowalla_folder)[0].tuned.truth)
    assert not set(first.subjects) & set(second.subjects)
    assert len(first) + len(second) == CUSTOMERS
