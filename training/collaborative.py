"""Collaborative models of the `implicit` library, as plain arrays that a bundle carries.

Its habits that would hurt are kept in here: every fit makes a new object (one that is fitted again goes on from its
old factors), seeds are integers, matrices are CSR, BLAS runs on one thread beneath its own, and what comes out is
checked to be finite. Its `recommend` is never called: ranking is the service's, over the exported arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from implicit.cpu.als import AlternatingLeastSquares
from implicit.cpu.bpr import BayesianPersonalizedRanking
from implicit.nearest_neighbours import ItemItemRecommender, bm25_weight, normalize
from implicit.recommender_base import ModelFitError
from msgspec import Meta
from threadpoolctl import threadpool_limits

from features.confidence import ConfidenceParams
from features.errors import DataError
from features.ids import Array
from training.interactions import Fitted, Progress, silent

Floats = npt.NDArray[np.float32]
Positive = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0)]


class IalsParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Implicit alternating least squares; `regularization`, `alpha` and `confidence` serve the fold-in too."""

    factors: Positive = 64
    iterations: Positive = 12
    regularization: Share = 30.0
    alpha: Share = 3.0
    seed: int = 0
    confidence: ConfidenceParams = ConfidenceParams(half_life_days=60.0)


class BprParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bayesian personalised ranking; `regularization` and `alpha` are those of the fold-in."""

    factors: Positive = 64
    iterations: Positive = 30
    learning_rate: Share = 0.05
    decay: Share = 0.01
    """Weight decay of the gradient steps."""
    regularization: Share = 100.0
    alpha: Share = 10.0
    seed: int = 0
    confidence: ConfidenceParams = ConfidenceParams(half_life_days=60.0)


class ItemItemParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Item-item neighbours; `confidence` serves the request too."""

    neighbours: Positive = 200
    k1: Share = 1.2
    """BM25: how soon further weight of the same customer stops to count."""
    b: Annotated[float, Meta(ge=0, le=1)] = 0.75
    """BM25: how much the size of an item's audience is taken out."""
    binary: bool = False
    """Whether a request weighs each item of the past alike."""
    confidence: ConfidenceParams = ConfidenceParams(half_life_days=90.0)


def fit_ials(matrix: sp.csr_matrix, params: IalsParams, *, threads: int = 0, progress: Progress = silent) -> Fitted:
    """Factors of items by weighted matrix factorisation (Hu, Koren & Volinsky 2008).

    Minimises sum of c_ui (p_ui - x_u . y_i)^2 + regularization (|x|^2 + |y|^2), with c = 1 + alpha x confidence where
    there is an interaction, else 1. The service's fold-in solves the same equation for one customer.

    Args:
        matrix: float32[customers, items] of confidence, rows without anything taken out.
        params: of the fit.
        threads: 0 is all cores.
        progress: hears of each iteration.

    Returns:
        `item_factors` float32[items, factors] and `gram` float32[factors, factors] = Y'Y.

    Raises:
        DataError: the factors are not finite.
    """
    weighted = sp.csr_matrix((1 + np.float32(params.alpha) * matrix.data, matrix.indices, matrix.indptr), matrix.shape)
    with _library("ials"):
        model = AlternatingLeastSquares(
            factors=params.factors, regularization=params.regularization, alpha=1.0,
            iterations=params.iterations, num_threads=threads, random_state=params.seed,
        )  # fmt: skip
        model.fit(weighted, show_progress=False, callback=_counted(progress, params.iterations))
    return _factors("ials", model.item_factors)


def fit_bpr(matrix: sp.csr_matrix, params: BprParams, *, threads: int = 0, progress: Progress = silent) -> Fitted:
    """Factors of items by pairwise ranking (Rendle et al. 2009).

    The item vectors (the last column is the item's bias) are what is exported; customers are folded in on them by
    least squares as for iALS, because the library folds nobody in. What is evaluated is that.

    Args:
        matrix: as for `fit_ials`; only its pattern counts.
        params: of the fit.
        threads: ignored: several threads race each other, and the same seed would give other factors.
        progress: hears of each iteration.

    Returns:
        `item_factors` float32[items, factors + 1] and `gram`.

    Raises:
        DataError: the factors are not finite.
    """
    with _library("bpr"):
        model = BayesianPersonalizedRanking(
            factors=params.factors, learning_rate=params.learning_rate, regularization=params.decay,
            iterations=params.iterations, num_threads=1, random_state=params.seed,
        )  # fmt: skip
        model.fit(matrix, show_progress=False, callback=_counted(progress, params.iterations))
    return _factors("bpr", model.item_factors)


def fit_cosine(
    matrix: sp.csr_matrix, params: ItemItemParams, *, threads: int = 0, progress: Progress = silent
) -> Fitted:
    """Neighbours by the cosine of items' audiences (Sarwar et al. 2001).

    Returns:
        `indptr`, `indices`, `weights`: row i holds the nearest items of i, never i itself.
    """
    return nearest(normalize(matrix.T).T, params.neighbours, threads, progress)


def fit_bm25(matrix: sp.csr_matrix, params: ItemItemParams, *, threads: int = 0, progress: Progress = silent) -> Fitted:
    """Neighbours by co-occurrence with BM25 weights, which hold popular items and heavy buyers back.

    Robertson & Zaragoza 2009: items are the documents, customers the terms.

    Returns:
        As `fit_cosine`.
    """
    return nearest(bm25_weight(matrix.T, params.k1, params.b).T, params.neighbours, threads, progress)


def as_neighbours(similarity: sp.csr_matrix) -> dict[str, Array]:
    """The arrays of a `neighbours` source: sorted rows, no item its own neighbour, only finite weights.

    Raises:
        DataError: a weight is not finite.
    """
    matrix = sp.csr_matrix(similarity, dtype=np.float32)
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    kept = (rows != matrix.indices) & (matrix.data != 0)
    matrix = sp.csr_matrix((matrix.data[kept], (rows[kept], matrix.indices[kept])), matrix.shape)
    matrix.sort_indices()
    _check_finite("neighbours", matrix.data)
    return {
        "indptr": matrix.indptr.astype(np.int64),
        "indices": matrix.indices.astype(np.int32),
        "weights": matrix.data.astype(np.float32, copy=False),
    }


def heaviest(matrix: sp.csr_matrix, count: int) -> sp.csr_matrix:
    """The `count` heaviest entries of each row, ties by column.

    Only rows that hold more are looked at, and none is sorted: of tens of millions of pairs most are dropped.
    """
    matrix = sp.csr_matrix(matrix)
    matrix.sort_indices()
    kept = np.ones(matrix.nnz, bool)
    for row in np.flatnonzero(np.diff(matrix.indptr) > count):
        place = slice(matrix.indptr[row], matrix.indptr[row + 1])
        weights = matrix.data[place]
        edge = np.partition(weights, -count)[-count]
        stays = weights > edge
        stays[np.flatnonzero(weights == edge)[: count - int(stays.sum())]] = True
        kept[place] = stays
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))[kept]
    return sp.csr_matrix((matrix.data[kept], (rows, matrix.indices[kept])), shape=matrix.shape)


def nearest(weighted: Any, count: int, threads: int, progress: Progress) -> Fitted:
    """The `count` items (columns) with the largest inner products, as the arrays of a `neighbours` source."""
    progress(0, 1)
    model = ItemItemRecommender(K=count + 1, num_threads=threads)  # one more: the item itself is dropped
    with _library("item-item"):
        model.fit(sp.csr_matrix(weighted, dtype=np.float64), show_progress=False)
    progress(1, 1)
    return Fitted(as_neighbours(model.similarity))


def _factors(method: str, factors: Floats) -> Fitted:
    _check_finite(method, factors)
    wide = factors.astype(np.float64)
    gram = (wide.T @ wide).astype(np.float32)
    return Fitted({"item_factors": np.ascontiguousarray(factors, np.float32), "gram": gram})


@contextmanager
def _library(method: str) -> Iterator[None]:
    """One BLAS thread beneath the library's own threads, and its one complaint in our words."""
    with threadpool_limits(1, "blas"):
        try:
            yield
        except ModelFitError:
            raise _diverged(method) from None


def _check_finite(method: str, values: npt.NDArray[Any]) -> None:
    if not np.isfinite(values).all():
        raise _diverged(method)


def _diverged(method: str) -> DataError:
    hint = "raise the regularization or lower the learning rate"
    return DataError("the fit did not converge: it left values that are not finite", where=method, hint=hint)


def _counted(progress: Progress, total: int) -> Any:
    """The library's callback: its first argument is the iteration, the others differ by model."""
    return lambda iteration, *_: progress(iteration + 1, total)
