"""A graph filter: neighbours of neighbours, smoothed by an ideal low pass (GF-CF; Shen et al. 2021).

With R the customers x items matrix, D_U and D_I its row and column sums and R~ = D_U^-1/2 R D_I^-1/2, a customer's
scores are r (R~'R~ + strength D_I^-1/2 V V' D_I^1/2), V being the first right singular vectors of R~. The first term
says what goes with what; the second keeps only the broad tastes, the low frequencies of the graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from msgspec import Meta
from scipy.sparse.linalg import svds
from threadpoolctl import threadpool_limits

from features.confidence import ConfidenceParams
from features.errors import DataError
from training.collaborative import as_neighbours
from training.interactions import Fitted, Progress, binary, silent
from training.linear import as_sparse, largest

Floats = npt.NDArray[np.float32]
Positive = Annotated[int, Meta(ge=1)]
_BLOCK = 256


class GraphFilterParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The graph filter; `confidence` and `binary` serve the request too."""

    rank: Positive = 128
    """Frequencies that the low pass lets through."""
    strength: Annotated[float, Meta(ge=0)] = 0.3
    """Of the low pass beside the neighbours."""
    neighbours: Positive = 200
    """Weights kept an item."""
    seed: int = 0
    binary: bool = False
    """Whether a purchase counts 1, whatever its confidence."""
    confidence: ConfidenceParams = ConfidenceParams(half_life_days=90.0)


@dataclass(frozen=True, slots=True)
class GraphFilter:
    """The filter, without ever holding its items x items matrix.

    Args:
        spread: float32[customers, items], R~.
        pull: float32[items], D_I^-1/2; 0 for items that nobody has.
        vectors: float32[items, rank], V.
        strength: of the low pass.
    """

    spread: sp.csr_matrix
    pull: Floats
    vectors: Floats
    strength: float

    def applied(self, profiles: sp.csr_matrix) -> Floats:
        """float32[n, items]: the scores of n customers, given what each has as float32[n, items]."""
        near: Floats = np.asarray(((profiles @ self.spread.T) @ self.spread).toarray(), np.float32)
        if self.strength and self.vectors.shape[1]:
            push = np.divide(1, self.pull, out=np.zeros_like(self.pull), where=self.pull > 0)
            tastes = (profiles @ sp.diags(self.pull)) @ self.vectors
            near += self.strength * (tastes @ (self.vectors * push[:, None]).T)
        return near


def graph_filter(matrix: sp.csr_matrix, params: GraphFilterParams) -> GraphFilter:
    """The filter of a matrix.

    Args:
        matrix: float32[customers, items] of confidence, rows without anything taken out.
        params: of the fit; a rank beyond what the matrix has is lowered to it.
    """
    data = binary(matrix) if params.binary else sp.csr_matrix(matrix, dtype=np.float32)
    down, pull = _inverse_roots(data.sum(axis=1)), _inverse_roots(data.sum(axis=0))
    spread = (sp.diags(down) @ data @ sp.diags(pull)).tocsr().astype(np.float32)
    rank = min(params.rank, min(data.shape) - 1)
    vectors = np.empty((data.shape[1], 0), np.float32)
    if rank > 0 and params.strength and spread.nnz:
        start = np.random.default_rng(params.seed).standard_normal(min(data.shape))
        _, _, found = svds(spread, k=rank, v0=start, return_singular_vectors="vh")
        vectors = np.ascontiguousarray(found.T, np.float32)
    return GraphFilter(spread, pull.astype(np.float32), vectors, params.strength)


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

    Raises:
        DataError: no two items have a customer in common.
    """
    size = matrix.shape[1]
    pieces, whole, kept = [], 0.0, 0.0
    with threadpool_limits(threads or None, "blas"):
        model = graph_filter(matrix, params)
        for start in range(0, size, _BLOCK):
            places = np.arange(start, min(start + _BLOCK, size))
            block = model.applied(sp.eye(size, format="csr", dtype=np.float32)[places])
            block[np.arange(len(places)), places] = 0
            piece = as_sparse(block, largest(block, np.inf, min(params.neighbours, size)))
            whole += float(np.square(block, dtype=np.float64).sum())
            kept += float(np.square(piece.data, dtype=np.float64).sum())
            pieces.append(piece)
            progress(start + len(places), size)
    if not whole:
        raise DataError("no interactions to learn from: no two items have a customer in common", where="graph-filter")
    return Fitted(as_neighbours(sp.vstack(pieces, format="csr")), {"kept-weight": kept / whole})


def _inverse_roots(sums: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """1 / sqrt of each sum; 0 where it is 0."""
    plain = np.asarray(sums, np.float64).ravel()
    return np.divide(1, np.sqrt(plain), out=np.zeros_like(plain), where=plain > 0)
