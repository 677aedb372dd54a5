"""The graph filter: its formula, its low pass, and what is kept of it."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as numpy_arrays

from training.graph import GraphFilterParams, fit_graph_filter, graph_filter


def dense(matrix: np.ndarray, rank: int, strength: float) -> np.ndarray:
    """The items x items filter by the formula, with a full decomposition."""
    matrix = matrix.astype(float)
    down, across = matrix.sum(axis=1), matrix.sum(axis=0)
    left = np.diag(np.where(down > 0, 1 / np.sqrt(np.maximum(down, 1e-12)), 0))
    right = np.diag(np.where(across > 0, 1 / np.sqrt(np.maximum(across, 1e-12)), 0))
    back = np.diag(np.sqrt(across))
    spread = left @ matrix @ right
    vectors = np.linalg.svd(spread, full_matrices=False)[2][:rank].T
    return spread.T @ spread + strength * right @ vectors @ vectors.T @ back


def purchases(customers: int, items: int) -> np.ndarray:
    random = np.random.default_rng(3)
    return ((random.random((customers, items)) < 0.4) * (1 + random.random((customers, items)))).astype(np.float32)


@pytest.mark.parametrize("rank", [1, 3, 6])
def test_it_is_the_formula(rank):
    matrix = purchases(20, 8)
    model = graph_filter(sp.csr_matrix(matrix), GraphFilterParams(rank=rank, strength=0.7))
    found = model.applied(sp.csr_matrix(matrix))
    np.testing.assert_allclose(found, matrix @ dense(matrix, rank, 0.7), atol=1e-4)


def test_the_arrays_say_what_the_filter_says():
    """Row i of the exported weights is the filter of a customer who has item i alone; no item speaks for itself."""
    matrix = purchases(20, 8)
    fitted = fit_graph_filter(sp.csr_matrix(matrix), GraphFilterParams(rank=3, neighbours=8))
    found = sp.csr_matrix((fitted.arrays["weights"], fitted.arrays["indices"], fitted.arrays["indptr"]), (8, 8))
    wanted = dense(matrix, 3, 0.3)
    np.fill_diagonal(wanted, 0)
    np.testing.assert_allclose(found.toarray(), wanted, atol=1e-4)
    assert fitted.figures["kept-weight"] == pytest.approx(1.0)


def test_the_largest_are_kept():
    matrix = purchases(20, 8)
    fitted = fit_graph_filter(sp.csr_matrix(matrix), GraphFilterParams(rank=3, neighbours=2))
    wanted = np.abs(dense(matrix, 3, 0.3))
    np.fill_diagonal(wanted, 0)
    for row in range(8):
        mine = fitted.arrays["indices"][fitted.arrays["indptr"][row] : fitted.arrays["indptr"][row + 1]]
        assert set(mine.tolist()) == set(np.argsort(-wanted[row])[:2].tolist())
    assert 0 < fitted.figures["kept-weight"] < 1


def test_the_low_pass_links_items_without_a_common_customer():
    """Of a chain a-b, b-c, c-d the neighbours link steps; broad taste links a with c too."""
    matrix = sp.csr_matrix(np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]], np.float32))
    only_first = sp.csr_matrix(np.array([[1, 0, 0, 0]], np.float32))
    near = graph_filter(matrix, GraphFilterParams(rank=1, strength=0.0)).applied(only_first)[0]
    far = graph_filter(matrix, GraphFilterParams(rank=1, strength=0.5)).applied(only_first)[0]
    assert near[2] == 0
    assert far[2] > 0


@given(numpy_arrays(np.float32, (5, 4), elements=st.sampled_from([0, 1, 2.0])), st.integers(1, 9))
def test_any_small_matrix_stays_finite(matrix, rank):
    """Empty customers, items that nobody has, a rank beyond what there is."""
    found = graph_filter(sp.csr_matrix(matrix), GraphFilterParams(rank=rank)).applied(sp.csr_matrix(matrix))
    assert np.isfinite(found).all()


def test_customers_of_one_item_each_say_nothing():
    """Of no item is anything known beside itself; that is no failure."""
    fitted = fit_graph_filter(sp.eye(4, format="csr", dtype=np.float32), GraphFilterParams(rank=2, strength=0.0))
    assert fitted.arrays["indptr"].tolist() == [0] * 5
    assert fitted.figures == {"kept-weight": 1.0}


@given(st.integers(1, 8), st.integers(0, 5))
def test_equal_weights_take_no_more_places_than_there_are(neighbours, seed):
    """Everybody bought everything but one item: nearly all weights are equal, and each row still keeps so many."""
    matrix = np.ones((9, 9), np.float32)
    matrix[seed, seed] = 0
    fitted = fit_graph_filter(sp.csr_matrix(matrix), GraphFilterParams(strength=0.0, neighbours=neighbours))
    assert np.diff(fitted.arrays["indptr"]).tolist() == [neighbours] * 9


@pytest.mark.parametrize("binary", [False, True])
def test_only_the_weightiest_items_of_a_customer_count(binary):
    """A fit with a largest profile is the fit of a matrix from which the other items are taken out by hand."""
    matrix = purchases(20, 8)
    shorter = matrix.copy()
    for row in shorter:
        row[np.argsort(-row, kind="stable")[3:]] = 0
    params = GraphFilterParams(rank=3, neighbours=8, binary=binary)
    by_hand = fit_graph_filter(sp.csr_matrix(shorter), params).arrays
    found = fit_graph_filter(sp.csr_matrix(matrix), msgspec.structs.replace(params, largest_profile=3)).arrays
    assert all(np.array_equal(found[key], by_hand[key]) for key in by_hand)
    whole = fit_graph_filter(sp.csr_matrix(matrix), params).arrays
    assert not np.array_equal(found["weights"], whole["weights"])
