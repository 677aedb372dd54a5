"""`kokyaku bench accuracy` on pairs: files, splits, weights, and a whole run on toy files."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
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
from training.bench.pair_pool import Pool, best, goal, pooled, standardised
from training.bench.pair_trees import Order, _with_trees, columns, learned_order
from training.bench.pair_weights import tuned_weights, weighed
from training.bench.pairs import ranked
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
        "ials": {"factors": 4, "iterations": 5, "regularization": 1.0, "alpha": 10.0},
        "sequence": {"decay": 0.5, "window": 3, "gap_power": 0.5, "shrink": 0.0},
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
    assert task.tuned.truth.counts.tolist() == [2] * CUSTOMERS  # two of nine are the test: of seven that is 1.6


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


def test_missing_files_and_folder(tmp_path):
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
    pool = pooled(heard, known, truth.subjects)
    summed = 0.3 * standardised(tables["one"]) + 2 * standardised(tables["two"])
    wanted = best(summed[truth.subjects], known.matrix[truth.subjects], 4)
    found = pool.shown(weighed(pool, {"one": 0.3, "two": 2.0}), 4)
    assert found.tolist() == wanted.tolist()
    by_list = scores(wanted, truth, (4,))
    worth = goal(truth, ("recall@4", "ndcg@4"))(found)
    assert worth == pytest.approx(np.mean([by_list["recall@4"].mean(), by_list["ndcg@4"].mean()]))


def test_popularity_and_size_do_not_grow_with_the_data(gowalla_folder):
    """The same shop twice over has the same columns."""
    (task,) = gowalla(gowalla_folder)
    once = task.tuned.known
    twice = pair_data.Known(sp.vstack([once.matrix, once.matrix]).tocsr())
    heard = {"popularity": lambda which: np.broadcast_to(once.popular, (len(which), ITEMS))}
    first, second = (pooled(heard, known, np.arange(5, dtype=np.int32)) for known in (once, twice))
    np.testing.assert_allclose(first.popular, second.popular, rtol=1e-6)
    np.testing.assert_allclose(first.owned, second.owned, rtol=1e-6)
    assert once.popular.max() < twice.popular.max()


def world(customers: int, knowing: Callable[[np.ndarray], np.ndarray]) -> tuple[Pool, Truth]:
    """Each customer is to be found with one of ten items; the first method says `knowing(hits)`, the second noise."""
    random = np.random.default_rng(1)
    target = random.integers(0, 10, customers)
    hits = np.arange(10) == target[:, None]
    noise = random.standard_normal(hits.shape)
    pool = Pool(
        ("knowing", "noise"), np.stack([knowing(hits), noise]).astype(np.float32),
        np.tile(np.arange(10, dtype=np.int32), (customers, 1)), np.ones_like(hits), np.ones(hits.shape, np.float32),
        np.full(customers, 3, np.float32),
    )  # fmt: skip
    rows = np.arange(customers, dtype=np.int32)
    return pool, Truth(rows, np.arange(customers + 1), target.astype(np.int32), np.zeros(customers, bool))


def test_noise_loses_its_weight():
    pool, truth = world(50, lambda hits: hits * 1.0)
    weights = tuned_weights(pool, goal(truth, ("hr@1", "ndcg@1")), 1)
    assert weights["knowing"] > 2 * weights["noise"]


def test_trees_are_kept_where_they_find_what_no_sum_can():
    """What is right lies in the middle of the scale: no weight of a score puts it first, a tree does."""
    random = np.random.default_rng(2)

    def middle(hits: np.ndarray) -> np.ndarray:
        return np.where(hits, 0.0, random.choice([-1.0, 1.0], hits.shape)) + 0.1 * random.standard_normal(hits.shape)

    pool, truth = world(600, middle)
    order = learned_order(pool, truth, lambda part: goal(part, ("hr@1",)), 1)
    assert order.trees is not None
    worth = goal(truth, ("hr@1",))
    assert worth(pool.shown(order.scores(pool), 1)) > 0.9
    assert worth(pool.shown(weighed(pool, order.weights), 1)) < 0.5


def test_trees_are_dropped_where_they_do_not_win():
    pool, truth = world(60, lambda hits: hits * 1.0)  # too few customers for a leaf: trees know nothing
    order = learned_order(pool, truth, lambda part: goal(part, ("hr@1",)), 1)
    assert order == Order(order.weights, None)


def test_trees_and_the_sum_share_a_list():
    """Both standardised by customer: halfway between two opposite orders nothing is above anything."""
    pool, truth = world(600, lambda hits: hits * 1.0)
    trees = _with_trees(pool, truth, lambda part: goal(part, ("hr@1",)), 1)
    opposite = Order({"knowing": -1.0, "noise": 0.0}, trees.trees, 0.0)
    alone = opposite.scores(pool)
    assert (alone.argmax(axis=1) == truth.items).mean() > 0.9
    assert (replace(opposite, share=0.9).scores(pool).argmin(axis=1) == truth.items).mean() > 0.9
    assert np.allclose(alone.mean(axis=1), 0, atol=1e-5)


def test_columns_of_the_trees():
    pool, _ = world(5, lambda hits: hits * 1.0)
    block, looked_at = columns(pool, weighed(pool, {"knowing": 1.0, "noise": 0.0}))
    assert block.shape == (5, 10, 2 * 2 + 4)
    assert looked_at.all()
    assert (block[..., 3].argmin(axis=1) == pool.scores[0].argmax(axis=1)).all()  # rank 0 is the highest
    assert np.allclose(block[..., -1], np.log(4))


def test_a_whole_run(gowalla_folder, small, tmp_path):
    rows, notes = pairs.run("gowalla", gowalla_folder, part="test", resamples=50)
    value = {(row.subject, row.metric): row.value for row in rows if row.task == "test"}
    assert value["published:Somebody", "recall@4"] == 0.9
    assert next(row for row in rows if row.metric == "recall@4-difference:popularity").low > 0
    assert value["ease", "recall@4"] > value["popularity", "recall@4"]
    assert ("kokyaku", "ndcg@4-difference:ease") in value
    assert any("sequence is left out" in note for note in notes)
    assert {row.subject for row in rows if row.metric == "fit-seconds"} == {
        "popularity",
        "ease",
        "graph-filter",
        "ials",
    }
    assert pairs.tables_of(rows, "gowalla")[0].row_count == 4 + 3 + 1
    again = run_pairs("gowalla", gowalla_folder, split="test", cache=tmp_path / "cache", resamples=50)
    assert again.notes[0].startswith("The test of gowalla was read 1 times")


def test_weights_never_see_the_test(gowalla_folder, small):
    _, before = pairs.run("gowalla", gowalla_folder, part="test", resamples=50)
    lines = [" ".join(map(str, [u, (u * 7) % ITEMS, (u * 5 + 1) % ITEMS])) for u in range(CUSTOMERS)]
    written(gowalla_folder / "test.txt.gz", lines)
    _, after = pairs.run("gowalla", gowalla_folder, part="test", resamples=50)
    assert before == after


def test_valid_judges_other_customers_than_it_tunes_on(gowalla_folder, small, monkeypatch):
    seen: dict[str, list[int]] = {}

    def learned(pool, truth, goal, k):
        seen["learned"] = truth.subjects.tolist()
        return learned_order(pool, truth, goal, k)

    def judged(heard, order, known, truth, *rest):
        seen["judged"] = truth.subjects.tolist()
        return ranked(heard, order, known, truth, *rest)

    monkeypatch.setattr(pairs, "learned_order", learned)
    monkeypatch.setattr(pairs, "ranked", judged)
    rows, _ = pairs.run("gowalla", gowalla_folder, part="valid", resamples=50)
    assert not [row for row in rows if row.subject.startswith("published:")]
    assert not {*seen["learned"]} & {*seen["judged"]}
    assert len(seen["learned"]) + len(seen["judged"]) == CUSTOMERS
