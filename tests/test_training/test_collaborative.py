"""Every collaborative model keeps one contract, and finds its way in a world where the answer is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as numpy_arrays

from features.errors import DataError
from training.collaborative import (
    BprParams,
    IalsParams,
    ItemItemParams,
    as_neighbours,
    fit_bm25,
    fit_bpr,
    fit_cosine,
    fit_ials,
    heaviest,
)
from training.graph import GraphFilterParams, fit_graph_filter
from training.interactions import Fitted
from training.linear import EaseParams, fit_ease

SIZE = 40


def checkerboard(size: int = SIZE) -> sp.csr_matrix:
    """Even customers like even items and odd ones odd items; customer u has not bought item u yet."""
    board = (np.indices((size, size)).sum(axis=0) % 2 == 0).astype(np.float32)
    np.fill_diagonal(board, 0)
    return sp.csr_matrix(board)


def score_all(fitted: Fitted, params: Any, matrix: sp.csr_matrix) -> np.ndarray:
    """float64[customers, items]: what the service would score, by the formulas in DESIGN's words."""
    arrays = fitted.arrays
    if "indptr" in arrays:
        n = matrix.shape[1]
        return matrix @ sp.csr_matrix((arrays["weights"], arrays["indices"], arrays["indptr"]), shape=(n, n)).toarray()
    factors, gram = arrays["item_factors"].astype(float), arrays["gram"].astype(float)
    out = np.empty(matrix.shape)
    for row in range(matrix.shape[0]):
        mine, weight = factors[matrix[row].indices], params.alpha * matrix[row].data
        left = gram + params.regularization * np.eye(len(gram)) + (mine.T * weight) @ mine
        out[row] = factors @ np.linalg.solve(left, mine.T @ (1 + weight))
    return out


@dataclass(frozen=True)
class Model:
    fit: Any
    params: Any


MODELS = {
    "ials": Model(fit_ials, IalsParams(factors=6, regularization=1.0, alpha=2.0)),
    "bpr": Model(fit_bpr, BprParams(factors=6, iterations=200, regularization=1.0, alpha=2.0)),
    "cosine": Model(fit_cosine, ItemItemParams(neighbours=30)),
    "bm25": Model(fit_bm25, ItemItemParams(neighbours=30)),
    "ease": Model(fit_ease, EaseParams(l2=1.0, neighbours=30)),
    "graph-filter": Model(fit_graph_filter, GraphFilterParams(rank=2, neighbours=30)),
}


@pytest.mark.parametrize("name", MODELS)
class TestContract:
    """What every method of `training.fitting` promises."""

    def test_it_recommends_the_one_item_that_is_missing(self, name):
        """On the checkerboard the best item that a customer has not bought is known: number u for customer u."""
        model, board = MODELS[name], checkerboard()
        scores = score_all(model.fit(board, model.params), model.params, board)
        scores[board.nonzero()] = -np.inf
        assert np.argmax(scores, axis=1).tolist() == list(range(SIZE))

    def test_the_same_seed_gives_the_same_arrays(self, name):
        """Also with two threads: what is trained twice is equal to the byte."""
        model, board = MODELS[name], checkerboard()
        first, second = (model.fit(board, model.params, threads=2).arrays for _ in range(2))
        assert first.keys() == second.keys()
        assert all(np.array_equal(first[key], second[key]) for key in first)

    def test_a_second_fit_starts_from_nothing(self, name):
        """After a fit on other data the result is that of a fresh process: nothing is warm."""
        model, board = MODELS[name], checkerboard()
        fresh = model.fit(board, model.params).arrays
        model.fit(sp.csr_matrix(np.eye(SIZE, dtype=np.float32) + board.toarray()), model.params)
        again = model.fit(board, model.params).arrays
        assert all(np.array_equal(fresh[key], again[key]) for key in fresh)

    def test_the_arrays_are_finite_and_hold_no_sentinel(self, name):
        """Nothing like -3.4e38 stands for "not eligible"."""
        model = MODELS[name]
        for array in model.fit(checkerboard(), model.params).arrays.values():
            assert np.isfinite(array).all()
            assert np.abs(array).max() < 1e6

    def test_the_input_is_left_as_it_was(self, name):
        """A matrix is shared between methods."""
        model, board = MODELS[name], checkerboard()
        before = (board.data.copy(), board.indices.copy(), board.indptr.copy())
        model.fit(board, model.params)
        assert all(np.array_equal(x, y) for x, y in zip(before, (board.data, board.indices, board.indptr), strict=True))

    def test_progress_reaches_its_end_and_never_falls_back(self, name):
        """A bar that stands at 100 % when the fit returns."""
        model, heard = MODELS[name], []
        model.fit(checkerboard(), model.params, progress=lambda done, total: heard.append((done, total)))
        assert heard[-1][0] == heard[-1][1] > 0
        assert [done for done, _ in heard] == sorted(done for done, _ in heard)

    def test_items_that_nobody_bought_and_single_rows_do_no_harm(self, name):
        """Empty columns, one customer, one item."""
        model = MODELS[name]
        board = checkerboard().toarray()
        board[:, 3] = 0
        for matrix in (board, np.eye(2, dtype=np.float32), np.ones((3, 1), np.float32)):
            arrays = model.fit(sp.csr_matrix(matrix), model.params).arrays
            assert all(np.isfinite(array).all() for array in arrays.values())

    def test_unknown_parameters_are_refused_by_name(self, name):
        """A typo in a recipe is not a default."""
        with pytest.raises(msgspec.ValidationError, match="regularisation"):
            msgspec.convert({"regularisation": 1.0}, type(MODELS[name].params))


class TestNeighbours:
    """Neighbour lists, whoever made them."""

    @pytest.mark.parametrize("name", ["cosine", "bm25", "ease", "graph-filter"])
    def test_no_item_is_its_own_neighbour_and_rows_are_sorted(self, name):
        """Related items never show the item itself."""
        model = MODELS[name]
        arrays = model.fit(checkerboard(), model.params).arrays
        rows = np.repeat(np.arange(SIZE), np.diff(arrays["indptr"]))
        assert (rows != arrays["indices"]).all()
        numbers = rows * SIZE + arrays["indices"]
        assert (np.diff(numbers) > 0).all()

    def test_cosine_by_hand(self):
        """Two items bought by (1, 2) and (2) of two customers: 2*2 / (sqrt(1 + 4) * 2)."""
        matrix = sp.csr_matrix(np.array([[1.0, 0.0], [2.0, 2.0]], np.float32))
        arrays = fit_cosine(matrix, ItemItemParams(neighbours=5)).arrays
        np.testing.assert_allclose(arrays["weights"], [4 / (np.sqrt(5) * 2)] * 2, rtol=1e-6)
        assert arrays["indices"].tolist() == [1, 0]

    def test_as_many_neighbours_as_asked_for(self):
        """The item itself does not use up a place."""
        board = sp.csr_matrix(np.ones((5, 8), np.float32) + np.random.default_rng(0).random((5, 8), np.float32))
        arrays = fit_cosine(board, ItemItemParams(neighbours=3)).arrays
        assert np.diff(arrays["indptr"]).tolist() == [3] * 8

    def test_weights_that_are_not_finite_are_refused(self):
        """They would rank by nonsense."""
        with pytest.raises(DataError, match="not finite"):
            as_neighbours(sp.csr_matrix(np.array([[0.0, np.nan], [1.0, 0.0]])))


class TestFactors:
    """What is particular to factors."""

    def test_the_fold_in_finds_the_vectors_that_the_fit_found(self):
        """After enough iterations the customers' own vectors and the folded-in ones give the same scores."""
        from implicit.cpu.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits

        board, params = checkerboard(), IalsParams(factors=6, iterations=40, regularization=1.0, alpha=2.0)
        folded = score_all(fit_ials(board, params), params, board)
        weighted = board.copy()
        weighted.data = 1 + params.alpha * weighted.data
        with threadpool_limits(1, "blas"):
            model = AlternatingLeastSquares(
                factors=6, regularization=1.0, alpha=1.0, iterations=40, random_state=0, use_cg=False
            )
            model.fit(weighted, show_progress=False)
        np.testing.assert_allclose(folded, model.user_factors @ model.item_factors.T, atol=0.02)

    def test_a_fit_that_runs_away_is_an_error_that_says_what_to_do(self):
        """Not a bundle full of NaN."""
        wild = BprParams(factors=4, iterations=50, learning_rate=1e6)
        with pytest.raises(DataError, match="did not converge"):
            fit_bpr(checkerboard(), wild)


@given(
    numpy_arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 7)), elements=st.sampled_from([0, 1, 2, 3.5])),
    st.integers(1, 4),
)
def test_the_heaviest_of_each_row(matrix, count):
    """As a stable sort says: by weight, ties by column."""
    found = heaviest(sp.csr_matrix(matrix), count).toarray()
    for row, kept in zip(matrix, found, strict=True):
        wanted = np.zeros_like(row)
        first = [place for place in np.argsort(-row, kind="stable") if row[place]][:count]
        wanted[first] = row[first]
        assert kept.tolist() == wanted.tolist()
