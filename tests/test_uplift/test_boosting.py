"""Shortcuts of fits and predictions change no digit."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest

from training.uplift import boosting
from training.uplift.boosting import Shape, fit_trees, predicted

SHAPE = Shape(trees=20)


def table(n: int, levels: int, *, columns: int = 5, seed: int = 0) -> np.ndarray:
    """Some values, some missing; few levels make many equal rows."""
    random = np.random.default_rng(seed)
    x = random.integers(0, levels, (n, columns)).astype(np.float32)
    x[random.random(n) < 0.3, 1] = np.nan
    return x


@pytest.mark.parametrize("levels", [2, 1000])
@pytest.mark.parametrize("n", [0, 1, 1999, 2000, 5001])
def test_equal_rows_are_asked_about_once_and_said_the_same(levels, n):
    """Few or many of them, short tables and long ones."""
    block = table(4000, levels)
    booster = fit_trees(block, np.nan_to_num(block[:, 0] - block[:, 1]), SHAPE)
    asked = table(max(n, 1), levels, seed=1)[:n]
    np.testing.assert_array_equal(predicted(booster, asked), booster.predict(asked) if n else np.zeros(0))


def test_few_rows_are_asked_about_where_many_are_equal():
    """32 and 16 combinations of two levels and of what is missing at most; all where hardly any are equal."""
    first, place = boosting._distinct(table(3000, 2))
    assert len(first) <= 48 and len(place) == 3000
    assert boosting._distinct(table(3000, 1000)) == (slice(None), slice(None))


@pytest.mark.parametrize("columns", [3, boosting._NARROW, boosting._NARROW + 1])
def test_histograms_by_rows_or_by_columns_give_the_same_trees(columns):
    """On both sides of the border."""
    block = table(3000, 50, columns=columns)
    target = np.random.default_rng(2).normal(size=3000) + block[:, 0]
    mine = fit_trees(block, target, SHAPE)
    settings = {
        "objective": "regression", "num_leaves": 8, "min_data_in_leaf": 300, "learning_rate": 0.03, "num_threads": 1,
        "seed": 0, "deterministic": True, "verbosity": -1,
    }  # fmt: skip
    for way in ("force_row_wise", "force_col_wise"):
        other = lightgbm.train({**settings, way: True}, lightgbm.Dataset(block, target), 20)
        np.testing.assert_array_equal(mine.predict(block), other.predict(block))
