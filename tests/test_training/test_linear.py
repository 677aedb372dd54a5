"""EASE: the closed form, in both forms, and what cutting its weights loses."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as numpy_arrays

from features.errors import DataError
from training import linear
from training.linear import EaseParams, fit_ease

EVERYTHING = EaseParams(l2=3.0, neighbours=10**6)


def dense(matrix: np.ndarray, l2: float) -> np.ndarray:
    """B by solving, for each item, the ridge regression on the others with the constraint B_jj = 0."""
    gram = matrix.T.astype(float) @ matrix
    out = np.zeros_like(gram)
    for j in range(len(gram)):
        rest = np.delete(np.arange(len(gram)), j)
        left = gram[np.ix_(rest, rest)] + l2 * np.eye(len(rest))
        out[rest, j] = np.linalg.solve(left, gram[rest, j])
    return out


def as_matrix(fitted, size: int) -> np.ndarray:
    """The exported weights as a dense matrix."""
    found = fitted.arrays
    return sp.csr_matrix((found["weights"], found["indices"], found["indptr"]), shape=(size, size)).toarray()


def some_purchases(customers: int, items: int, seed: int = 0) -> np.ndarray:
    """Random confidences, about a third filled."""
    random = np.random.default_rng(seed)
    return (random.random((customers, items)) < 0.35) * (1 + random.random((customers, items))).astype(np.float32)


@pytest.mark.parametrize(("customers", "items"), [(30, 12), (12, 30), (20, 20)])
def test_it_equals_one_ridge_regression_an_item(customers, items):
    """Primal (more customers) and dual (more items) alike; the oracle never inverts the whole matrix."""
    matrix = some_purchases(customers, items)
    fitted = fit_ease(sp.csr_matrix(matrix), EVERYTHING)
    np.testing.assert_allclose(as_matrix(fitted, items), dense(matrix, 3.0), atol=2e-5)
    assert fitted.figures == {"kept-weight": pytest.approx(1.0), "dense-overlap@20": pytest.approx(1.0)}


@given(
    numpy_arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.sampled_from([0, 1, 2.5])),
    st.sampled_from([0.5, 10.0]),
)
def test_any_small_matrix_in_either_form(matrix, l2):
    """Empty rows and columns, equal columns, single items."""
    fitted = fit_ease(sp.csr_matrix(matrix), EaseParams(l2=l2, neighbours=10**6))
    np.testing.assert_allclose(as_matrix(fitted, matrix.shape[1]), dense(matrix, l2), atol=1e-5)


@pytest.mark.parametrize("block", [1, 7, 64])
def test_blocks_only_bound_memory(block, monkeypatch):
    """The same weights whatever the size of a block."""
    matrix = sp.csr_matrix(some_purchases(14, 33))
    whole = fit_ease(matrix, EVERYTHING)
    monkeypatch.setattr(linear, "_BLOCK", block)
    np.testing.assert_allclose(as_matrix(fit_ease(matrix, EVERYTHING), 33), as_matrix(whole, 33), atol=1e-6)


def test_the_largest_weights_are_kept_and_the_loss_is_told():
    """Ten an item on average: at the size of the budget, larger than all that are dropped, signs as they were."""
    size = 60
    matrix = some_purchases(80, size, seed=4)
    truth = dense(matrix, 3.0)
    fitted = fit_ease(sp.csr_matrix(matrix), EaseParams(l2=3.0, neighbours=10, least=0))
    kept = as_matrix(fitted, size)
    chosen = kept != 0
    assert chosen.sum() == pytest.approx(10 * size, rel=0.02)
    assert np.abs(truth[chosen]).min() >= np.abs(truth[~chosen & ~np.eye(size, dtype=bool)]).max() - 1e-5
    np.testing.assert_allclose(kept[chosen], truth[chosen], atol=2e-5)
    assert fitted.figures["kept-weight"] == pytest.approx((kept**2).sum() / (truth**2).sum(), rel=1e-4)
    assert 0 < fitted.figures["dense-overlap@20"] < 1


def test_every_item_keeps_some_neighbours():
    """Also one whose weights are all small: related items must have something to show."""
    matrix = some_purchases(50, 40, seed=1)
    matrix[:, 5] = 0
    matrix[0, 5] = 0.01
    fitted = fit_ease(sp.csr_matrix(matrix), EaseParams(neighbours=2, least=4))
    assert np.diff(fitted.arrays["indptr"]).min() == 4


@given(st.integers(0, 1000), st.integers(1, 40))
def test_no_item_keeps_more_than_it_may(seed: int, most: int):
    """The largest of what it keeps without that bound; who keeps no more than that keeps the same."""
    size, matrix = 40, sp.csr_matrix(some_purchases(50, 40, seed=seed))
    free = as_matrix(fit_ease(matrix, EaseParams(l2=3.0, neighbours=12, least=0)), size)
    kept = as_matrix(fit_ease(matrix, EaseParams(l2=3.0, neighbours=12, least=0, most=most)), size)
    np.testing.assert_array_equal(np.count_nonzero(kept, axis=1), np.minimum(np.count_nonzero(free, axis=1), most))
    for mine, before in zip(kept, free, strict=True):
        np.testing.assert_array_equal(mine[mine != 0], before[mine != 0])
        assert np.abs(mine[mine != 0]).min(initial=np.inf) >= np.abs(before[mine == 0]).max(initial=0)


def test_binary_ignores_how_often():
    """Weights of a matrix and of its pattern are then the same."""
    matrix = some_purchases(25, 10)
    counted = fit_ease(sp.csr_matrix(matrix), EaseParams(l2=3.0, neighbours=10**6, binary=True))
    np.testing.assert_allclose(as_matrix(counted, 10), dense((matrix > 0).astype(np.float32), 3.0), atol=2e-5)


def test_a_shop_beyond_the_limit_is_refused_with_both_sizes(monkeypatch):
    """Before any memory is asked for."""
    monkeypatch.setattr(linear, "MAX_SIDE", 5)
    with pytest.raises(DataError, match=r"at most 5 customers or items; got \(6, 7\)"):
        fit_ease(sp.csr_matrix(some_purchases(6, 7)), EVERYTHING)
    assert fit_ease(sp.csr_matrix(some_purchases(6, 5)), EVERYTHING).arrays


def test_the_inverse_is_taken_in_place():
    """No second matrix of that size: the result shares the memory of what was given."""
    matrix = np.asfortranarray(np.array([[4.0, 1.0], [1.0, 3.0]]))
    before = matrix.__array_interface__["data"]
    inverse = linear._inverted(matrix)
    assert inverse.__array_interface__["data"] == before
    np.testing.assert_allclose(inverse, np.array([[3.0, -1.0], [-1.0, 4.0]]) / 11)


def test_a_matrix_that_cannot_be_inverted_says_what_to_do():
    """Not a matrix of NaN."""
    with pytest.raises(DataError, match="raise l2"):
        linear._inverted(np.asfortranarray(np.array([[1.0, 2.0], [2.0, 1.0]])))


@pytest.mark.parametrize(("customers", "items"), [(30, 12), (12, 30)])
def test_scores_of_the_fitted_and_of_others(customers, items):
    """Without ever making B: customers of the fit, and profiles that it never saw, in both forms."""
    matrix, others = some_purchases(customers, items), sp.csr_matrix(some_purchases(5, items, seed=1))
    model, weights = linear.solve(sp.csr_matrix(matrix), 3.0), dense(matrix, 3.0)
    which = np.array([0, 7, 3])
    np.testing.assert_allclose(model.fitted(sp.csr_matrix(matrix), which), matrix[which] @ weights, atol=2e-4)
    np.testing.assert_allclose(model.scores(others), others @ weights, atol=2e-4)


def test_single_precision_says_the_same(monkeypatch):
    """What a large matrix is inverted in, on a small one."""
    matrix = some_purchases(40, 15)
    monkeypatch.setattr(linear, "SINGLE_ABOVE", 5)
    fitted = fit_ease(sp.csr_matrix(matrix), EVERYTHING)
    np.testing.assert_allclose(as_matrix(fitted, 15), dense(matrix, 3.0), atol=1e-3)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_the_inverse_by_halves(monkeypatch, size):
    monkeypatch.setattr(linear, "_DIRECT", 2)
    root = np.random.default_rng(0).random((size, size + 3))
    matrix = root @ root.T + np.eye(size)
    found = linear._inverted(matrix.copy())
    np.testing.assert_allclose(found @ matrix, np.eye(size), atol=1e-9)
    np.testing.assert_allclose(found, found.T, atol=1e-12)
