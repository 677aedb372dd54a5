"""Folding a subject into latent factors: both ways of the kernel against the equations as they are written down."""

from __future__ import annotations

import numpy as np
import pytest

from features.compiled import available, switched
from serving.sources.fold_in_kernel import fold_in
from serving.sources.folding import Fold, equations, folded_in

pytestmark = pytest.mark.skipif(not available(), reason="numba is not installed, or switched off")
ITEMS = 400


def shop(factors: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of items, and their Gram matrix with a little on its diagonal."""
    random = np.random.default_rng(seed)
    vectors = (random.normal(size=(ITEMS, factors)) * random.gamma(1, 0.3, (ITEMS, 1))).astype(np.float32)
    return vectors, vectors.T @ vectors + np.float32(0.1) * np.eye(factors, dtype=np.float32)


def someone(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Items, and confidences from hardly any to a lot."""
    random = np.random.default_rng(seed)
    items = np.sort(random.choice(ITEMS, count, replace=False)).astype(np.int32)
    return items, (10.0 ** random.uniform(-9, 2, count)).astype(np.float32)


@pytest.mark.parametrize("factors", [1, 2, 7, 8, 9, 16, 33, 64])
@pytest.mark.parametrize("count", [1, 2, 4, 5, 8, 9, 16, 17, 31, 32, 33, 64, 65, 100, 130])
def test_it_is_what_the_equations_say(factors: int, count: int):
    """In double precision, from which a single one is rounded; by items and by factors."""
    vectors, gram = shop(factors, count)
    items, weights = someone(count, factors)
    truth = folded_in(vectors[items].astype(float), 3.0 * weights.astype(float), gram.astype(float))
    filled, half = equations(gram)
    for by in (half, np.empty((0, 0))):
        found = np.empty(factors, np.float32)
        fold_in(vectors, items, weights, 3.0, filled, by, found)
        np.testing.assert_allclose(found, truth, rtol=1e-6, atol=1e-7 * np.abs(truth).max())


@pytest.mark.parametrize("count", [3, 60])
def test_numpy_says_the_same(count: int):
    vectors, gram = shop(32, 1)
    items, weights = someone(count, 2)
    fold = Fold(vectors, gram, 2.0)
    found = fold.of(items, weights)
    with switched(False):
        np.testing.assert_allclose(found, fold.of(items, weights), rtol=1e-4, atol=1e-5 * np.abs(found).max())


@pytest.mark.parametrize("count", [2, 40])
@pytest.mark.parametrize("alpha", [0.0, 1e-30, 1e4])
def test_any_confidence_will_do(count: int, alpha: float):
    """Without any a subject's items still say what is liked: nothing is divided by what is nothing."""
    vectors, gram = shop(16, 3)
    items, weights = someone(count, 4)
    truth = folded_in(vectors[items].astype(float), alpha * weights.astype(float), gram.astype(float))
    found = Fold(vectors, gram, alpha).of(items, weights)
    np.testing.assert_allclose(found, truth, rtol=1e-6, atol=1e-7 * np.abs(truth).max())


def test_an_item_that_nobody_asks_for_does_no_harm():
    """Eight rows are added at a time: where there are fewer, none of another item's."""
    vectors, gram = shop(8, 5)
    items, weights = np.array([4, 7, 9, 11, 12], np.int32), np.ones(5, np.float32)
    before = Fold(vectors, gram, 1.0).of(items, weights)
    vectors[0] = np.nan
    assert np.array_equal(Fold(vectors, gram, 1.0).of(items, weights), before)


def test_fewer_items_than_factors_and_nothing_on_the_diagonal():
    """The inverse that few equations start from does not exist then; with enough items of a customer the sum does."""
    vectors = np.eye(4, dtype=np.float32)[[0, 1, 0, 1]]
    gram = vectors.T @ vectors
    gram[2:, 2:] = -np.eye(2)  # as rounding may leave what ought to be nothing, though never so much
    assert equations(gram)[1].shape == (0, 0)
    found = np.empty(4, np.float32)
    vectors = np.eye(4, dtype=np.float32)
    fold_in(vectors, np.arange(4, dtype=np.int32), np.full(4, 3, np.float32), 1.0, *equations(gram), found)
    np.testing.assert_allclose(found, [4 / 5, 4 / 5, 4 / 2, 4 / 2], rtol=1e-6)
