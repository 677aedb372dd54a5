"""The ranker: exported trees equal LightGBM's own, and on a world with a rule it learns the rule."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest

from features.errors import ConfigError, DataError
from features.history import DTYPES, FIELDS, History
from serving.recipe import RankerSpec
from serving.scoring import ranking_names, ranks_of
from serving.trees import Forest
from training.examples import KNOWN_EVENTS, SHORTENED, Examples, shortened
from training.ranking import LEAST_GROUPS, fit_ranker
from training.trees import forest_of

VOICES = ("popularity",)
WIDTH = len(ranking_names(VOICES))


def booster(objective: str, *, missing: bool, rows: int = 3000) -> tuple[lightgbm.Booster, np.ndarray]:
    random = np.random.default_rng(3)
    block = random.normal(size=(rows, 6)).astype(np.float32)
    if missing:
        block[random.random(block.shape) < 0.2] = np.nan
    block[:, 5] = 1.0
    label = (np.nansum(block[:, :3], axis=1) + random.normal(size=rows) > 1).astype(float)
    group = np.full(rows // 30, 30) if objective == "lambdarank" else None
    settings = {"objective": objective, "num_leaves": 15, "verbosity": -1, "num_threads": 1, "deterministic": True}
    return lightgbm.train(settings, lightgbm.Dataset(block, label, group=group), 25), block


@pytest.mark.parametrize("objective", ["binary", "lambdarank"])
@pytest.mark.parametrize("missing", [True, False])
def test_exported_trees_equal_the_library(objective, missing):
    """To 1e-12 on raw scores, also for missing, infinite and zero values, and where training saw none missing."""
    model, block = booster(objective, missing=missing)
    asked = block[:300].copy()
    asked[:20, 0], asked[20:40, 1], asked[40:60, 2] = np.nan, np.inf, 0.0
    forest = Forest.from_arrays(forest_of(model).arrays())
    assert np.abs(forest.predict(asked) - model.predict(asked, raw_score=True)).max() < 1e-12


def test_a_tree_of_one_leaf_is_exported():
    """Where nothing can be split the forest is constant."""
    settings = {"objective": "binary", "verbosity": -1, "min_data_in_leaf": 1000}
    block = np.zeros((50, 2))
    model = lightgbm.train(settings, lightgbm.Dataset(block, np.arange(50) % 2), 2)
    assert forest_of(model).predict(block) == pytest.approx(model.predict(block, raw_score=True), abs=1e-12)


def examples(groups: int, seed: int = 0) -> Examples:
    """Customers of ten candidates; who has the highest first column buys, and only he."""
    random = np.random.default_rng(seed)
    block = random.normal(size=(10 * groups, WIDTH)).astype(np.float32)
    label = np.zeros(10 * groups, bool)
    label[np.arange(groups) * 10 + block[:, 0].reshape(groups, 10).argmax(axis=1)] = True
    return Examples(block, label, np.full(groups, 10, np.int64))


@pytest.mark.parametrize("objective", ["binary", "lambdarank"])
def test_a_rule_is_learned(objective):
    """On customers that it has not seen, the first of the order is the one who buys, far more often than by chance."""
    spec = RankerSpec("ranker", objective, VOICES, {"trees": 40, "min_leaf": 20, "columns": 1.0})
    found = fit_ranker(examples(300), spec, threads=1)
    fresh = examples(200, seed=1)
    scores = Forest.from_arrays(found.arrays).predict(fresh.block).reshape(200, 10)
    right = (scores.argmax(axis=1) == fresh.label.reshape(200, 10).argmax(axis=1)).mean()
    assert right > 0.7
    assert max(found.figures, key=lambda name: found.figures[name]) == ranking_names(VOICES)[0]
    assert sum(found.figures.values()) == pytest.approx(1)


def test_the_same_examples_give_the_same_trees():
    spec = RankerSpec("ranker", "binary", VOICES, {"trees": 10})
    one, two = (fit_ranker(examples(LEAST_GROUPS), spec, threads=1).arrays for _ in range(2))
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_too_little_is_a_sentence():
    with pytest.raises(DataError, match="needs"):
        fit_ranker(examples(LEAST_GROUPS - 1), RankerSpec("ranker", "binary", VOICES))


def test_a_mistyped_parameter_is_named():
    with pytest.raises(ConfigError, match="leafs"):
        fit_ranker(examples(LEAST_GROUPS), RankerSpec("ranker", "binary", VOICES, {"leafs": 3}))


def test_ranks_count_only_what_was_proposed():
    """0 is the highest; equal scores keep the order of rows; what a source did not propose has no rank."""
    scores = np.array([[3.0, np.nan], [np.nan, np.nan], [5.0, 1.0], [3.0, 2.0]], np.float32)
    ranks = ranks_of(scores)
    assert ranks[:, 0] == pytest.approx([1, np.nan, 0, 2], nan_ok=True)
    assert ranks[:, 1] == pytest.approx([np.nan, np.nan, 1, 0], nan_ok=True)


@pytest.mark.parametrize(
    ("params", "what"),
    [
        ({"boosting": "rf", "bagging_fraction": 0.5, "bagging_freq": 1}, "sums of trees"),
        ({"objective": "multiclass", "num_class": 3}, "sums of trees"),
        ({"objective": "regression", "linear_tree": True}, "linear leaves"),
    ],
)
def test_trees_of_another_kind_are_refused_by_name(params, what):
    """Their predictions are no sums of leaves: flat trees would answer something else without a word."""
    random = np.random.default_rng(0)
    rows, label = random.random((300, 3)), random.integers(0, 3, 300).astype(float)
    told = {"objective": "regression", "verbosity": -1, "num_threads": 1, "num_leaves": 4, **params}
    other = lightgbm.train(told, lightgbm.Dataset(rows, label, params={"verbosity": -1, **params}), 2)
    with pytest.raises(ConfigError, match=what):
        forest_of(other)


def toy_history(n: int) -> History:
    return History(*(np.arange(n).astype(DTYPES[name]) for name in FIELDS))


def test_some_histories_are_shortened_to_their_last_events():
    """About as many as said, each length as often; the others are the very history."""
    history = toy_history(30)
    random = np.random.default_rng(0)
    shown = [shortened(history, random) for _ in range(4000)]
    lengths = np.bincount([len(each) for each in shown], minlength=31)
    assert lengths[30] / 4000 == pytest.approx(1 - SHORTENED, abs=0.03)
    assert set(np.flatnonzero(lengths).tolist()) == {*KNOWN_EVENTS, 30}
    assert lengths[list(KNOWN_EVENTS)].min() > 0.5 * lengths[list(KNOWN_EVENTS)].max()
    assert all(each.key.tolist() == history.key[30 - len(each) :].tolist() for each in shown)


def test_a_history_shorter_than_what_is_shown_stays_whole():
    history, random = toy_history(1), np.random.default_rng(0)
    assert {len(shortened(history, random)) for _ in range(300)} == {0, 1}
