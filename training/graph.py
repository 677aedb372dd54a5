"""A graph filter: neighbours of neighbours, smoothed by an ideal low pass (GF-CF; Shen et al. 2021).

With R the customers x items matrix, D_U and D_I its row and column sums and R~ = D_U^-1/2 R D_I^-1/2, a customer's
scores are r (R~'R~ + strength D_I^-1/2 V V' D_I^1/2), V being the first right singular vectors of R~. The first term
says what goes with what; the second keeps only the broad tastes, the low frequencies of the graph.

The first term costs the sum of the squares of the customers' numbers of items, so a few with very many items are most
of it: `largest_profile` lets only the weightiest items of such a customer count. The second costs items^2 x rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from msgspec import Meta
from scipy.sparse.linalg import svds
from threadpoolctl import threadpool_limits

from features.confidence import ConfidenceParams
from training.collaborative import as_neighbours, heaviest
from training.interactions import Fitted, Progress, binary, silent
from training.linear import ahead, as_sparse, highest

Floats = npt.NDArray[np.float32]
Positive = Annotated[int, Meta(ge=1)]
_BLOCK = 64
"""Rows at a time: few enough that what is done to a block one after the other finds it in the cache."""
_TOLERANCE = 1e-3
"""Of singular values; its square is of eigenvalues, and there single precision has no more to give."""


class GraphFilterParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The graph filter; `confidence` and `binary` serve the request too."""

    rank: Positive = 128
    """Frequencies that the low pass lets through."""
    strength: Annotated[float, Meta(ge=0)] = 0.3
    """Of the low pass beside the neighbours."""
    neighbours: Positive = 200
    """Weights kept an item."""
    largest_profile: Annotated[int, Meta(ge=0)] = 0
    """Items of a customer that a fit counts, the weightiest ones; 0 is all."""
    seed: int = 0
    binary: bool = False
    """Whether a purchase counts 1, whatever its confidence."""
    confidence: ConfidenceParams = ConfidenceParams(half_life_days=90.0)


@dataclass(frozen=True, slots=True)
class GraphFilter:
    """The filter, without ever holding its items x items matrix.

    Args:
        spread: float32[customers, items], R~.
        columns: float32[items, customers], its transpose.
        into: float32[items, rank], D_I^-1/2 V; 0 for items that nobody has.
        back: float32[items, rank], strength x D_I^1/2 V.
    """

    spread: sp.csr_matrix
    columns: sp.csr_matrix
    into: Floats
    back: Floats

    def applied(self, profiles: sp.csr_matrix) -> Floats:
        """float32[n, items]: the scores of n customers, given what each has as float32[n, items]."""
        return self._sum(profiles @ self.columns, profiles @ self.into)

    def rows(self, which: npt.NDArray[np.intp]) -> Floats:
        """float32[len(which), items]: some rows of the filter, what an item says of the others; 0 of itself."""
        block = self._sum(self.columns[which], self.into[which])
        block[np.arange(len(which)), which] = 0
        return block

    @property
    def blocks(self) -> list[npt.NDArray[np.intp]]:
        """All rows, in blocks."""
        size = len(self.into)
        return [np.arange(start, min(start + _BLOCK, size)) for start in range(0, size, _BLOCK)]

    def _sum(self, shares: sp.csr_matrix, tastes: Floats) -> Floats:
        # A sparse matrix adds itself to a dense one in one pass over what it holds.
        return np.asarray(shares @ self.spread + tastes @ self.back.T, np.float32)


def graph_filter(matrix: sp.csr_matrix, params: GraphFilterParams) -> GraphFilter:
    """The filter of a matrix.

    Args:
        matrix: float32[customers, items] of confidence, rows without anything taken out.
        params: of the fit; a rank beyond what the matrix has is lowered to it.
    """
    data = binary(matrix) if params.binary else sp.csr_matrix(matrix, dtype=np.float32)
    down, across = np.asarray(data.sum(axis=1)).ravel(), np.asarray(data.sum(axis=0)).ravel()
    pull = _inverse_roots(across)
    spread = (sp.diags(_inverse_roots(down)) @ data @ sp.diags(pull)).tocsr().astype(np.float32)
    rank = min(params.rank, min(data.shape) - 1)
    vectors = np.empty((data.shape[1], 0))
    if rank > 0 and params.strength and spread.nnz:
        start = np.random.default_rng(params.seed).standard_normal(min(data.shape))
        _, _, found = svds(spread, k=rank, v0=start, tol=_TOLERANCE, return_singular_vectors="vh")
        vectors = found.T
    into, back = (vectors * root[:, None] for root in (pull, params.strength * np.sqrt(across)))
    return GraphFilter(spread, spread.T.tocsr(), into.astype(np.float32), back.astype(np.float32))


def fit_graph_filter(
    matrix: sp.csr_matrix, params: GraphFilterParams, *, threads: int = 0, progress: Progress = silent
) -> Fitted:
    """Fit the filter and keep each item's largest weights.

    Args:
        matrix: as for `graph_filter`.
        params: of the fit.
        threads: of the linear algebra; 0 is all cores.
        progress: hears of each block of items.

    Returns:
        Arrays `indptr`, `indices`, `weights` (row i: what item i says of others), and the figure `kept-weight`, the
        share of the sum of squared weights that is kept.
    """
    counted, size = heaviest(matrix, params.largest_profile or matrix.shape[1]), matrix.shape[1]

    def cut(which: npt.NDArray[np.intp]) -> tuple[sp.csr_matrix, float]:
        block = model.rows(which)
        return as_sparse(block, highest(np.abs(block), min(params.neighbours, size))), float(np.vdot(block, block))

    pieces, whole = [], 0.0
    with threadpool_limits(threads or None, "blas"):
        model = graph_filter(counted, params)
        for piece, square in ahead(cut, model.blocks, threads):
            whole += square
            pieces.append(piece)
            progress(len(pieces), len(model.blocks))
    found = sp.vstack(pieces, format="csr")
    kept = float(np.square(found.data, dtype=np.float64).sum())
    return Fitted(as_neighbours(found), {"kept-weight": kept / whole if whole else 1.0})


def _inverse_roots(sums: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """1 / sqrt of each sum; 0 where it is 0."""
    plain = sums.astype(np.float64)
    return np.divide(1, np.sqrt(plain), out=np.zeros_like(plain), where=plain > 0)
