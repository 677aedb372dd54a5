"""EASE: a linear item-item model in closed form (Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data").

With X the customers x items matrix and P = (X'X + l2 I)^-1, the weights are B_ij = -P_ij / P_jj and B_jj = 0; a
customer's scores are x B. P is inverted over whichever side is smaller: items (primal), or customers by the
Woodbury identity P = (I - X'(XX' + l2 I)^-1 X) / l2 (dual).

B is dense, and a bundle carries its largest weights only: 200 an item on average, by one threshold for all, and no more
than so many of any. Both signs count: negative weights carry what an item speaks against.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, cast

import msgspec
import numpy as np
import numpy.typing as npt
import scipy.linalg.lapack as lapack
import scipy.sparse as sp
from msgspec import Meta
from threadpoolctl import threadpool_limits

from features.confidence import ConfidenceParams
from features.errors import DataError
from training.collaborative import as_neighbours
from training.interactions import Fitted, Progress, binary, silent

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
T = TypeVar("T")
R = TypeVar("R")
Real = npt.NDArray[np.float32] | Doubles
MAX_SIDE = 45_000
"""Beyond that many customers and items the inverse takes more than 8 GB."""
SINGLE_ABOVE = 10_000
"""A larger matrix is inverted in single precision, in half the memory and time: what that loses is about 1e-7 times the
condition number, which l2 bounds by (largest eigenvalue + l2) / l2, a few hundred on the histories of a shop."""
_BLOCK = 512
_DIRECT = 2048
"""Rows up to which a matrix is inverted at once."""
_JUDGED = 64
"""Customers whose lists by dense and by kept weights are compared."""


class EaseParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """EASE; `confidence` and `binary` serve the request too."""

    l2: Annotated[float, Meta(gt=0)] = 100.0
    neighbours: Annotated[int, Meta(ge=1)] = 200
    """Weights kept an item, on average, before `most` takes some away."""
    least: Annotated[int, Meta(ge=0)] = 20
    """Weights kept of every item, unless `most` are fewer, so that each has neighbours to show."""
    most: Annotated[int, Meta(ge=0)] = 0
    """Weights kept of any item: what sells would keep thousands, and a request adds up those of its past. 0: all."""
    binary: bool = False
    """Whether a purchase counts 1, whatever its confidence."""
    confidence: ConfidenceParams = ConfidenceParams(half_life_days=90.0)


def fit_ease(matrix: sp.csr_matrix, params: EaseParams, *, threads: int = 0, progress: Progress = silent) -> Fitted:
    """Fit EASE and keep its largest weights.

    Args:
        matrix: float32[customers, items] of confidence, rows without anything taken out.
        params: of the fit.
        threads: 0 is all cores.
        progress: hears of each block of items.

    Returns:
        Arrays `indptr`, `indices`, `weights` (row i: what item i says of others) and the figures `kept-weight` (share
        of the sum of squared weights that is kept) and `dense-overlap@20` (mean share of the first 20 items that the
        dense model has in common with the exported one).

    Raises:
        DataError: both sides are larger than `MAX_SIDE`, or the matrix cannot be inverted.
    """
    data = binary(matrix) if params.binary else matrix
    with threadpool_limits(threads or None, "blas"):
        model = solve(data, params.l2)
        kept, figures = _kept(model, data, params, threads, progress)
    return Fitted(as_neighbours(kept), figures)


@dataclass(frozen=True, slots=True)
class Model:
    """B by blocks of rows, without ever holding all of it."""

    size: int
    l2: float
    diagonal: Real
    """float64[items]: the diagonal of P, times l2 in the dual."""
    left: Any
    """Primal: P itself. Dual: X' as CSR."""
    right: Floats | None
    """Dual: (XX' + l2 I)^-1 X, float32[customers, items]."""

    def rows(self, which: npt.NDArray[np.intp]) -> Floats:
        """float32[len(which), items]: some rows of B."""
        block: Floats
        if self.right is None:
            block = np.asarray(self.left[which] / -self.diagonal, np.float32)
        else:
            # P_ij l2 = -(X' K X)_ij off the diagonal, and the two minus signs cancel.
            block = np.asarray((self.left[which] @ self.right) / self.diagonal.astype(np.float32), np.float32)
        block[np.arange(len(which)), which] = 0
        return block

    def fitted(self, data: sp.csr_matrix, which: npt.NDArray[np.intp]) -> Floats:
        """float32[len(which), items]: the scores X B of some of the customers that it was fitted on.

        In the dual form XP = KX (push-through identity), so XB = X - l2 KX / diagonal costs no product at all.
        """
        mine = data[which]
        if self.right is None:
            return self.scores(mine)
        return cast("Floats", mine.toarray() - self.right[which] * (self.l2 / self.diagonal).astype(np.float32))

    def scores(self, profiles: sp.csr_matrix) -> Floats:
        """float32[n, items]: the scores of n customers, given what each has as float32[n, items]."""
        own = profiles.toarray()
        # profiles B = profiles - profiles P / diag(P): what an item says of itself is taken back.
        pulled = profiles @ self.left if self.right is None else own - profiles @ self.left @ self.right
        return cast("Floats", np.asarray(own - pulled / self.diagonal, np.float32))

    @property
    def blocks(self) -> list[npt.NDArray[np.intp]]:
        """All rows, in blocks."""
        return [np.arange(start, min(start + _BLOCK, self.size)) for start in range(0, self.size, _BLOCK)]


def solve(matrix: sp.csr_matrix, l2: float) -> Model:
    """The exact model, over whichever side is smaller.

    Raises:
        DataError: both sides are larger than `MAX_SIDE`, or the matrix cannot be inverted.
    """
    customers, items = matrix.shape
    if min(customers, items) > MAX_SIDE:
        what = f"EASE needs at most {MAX_SIDE:,} customers or items"
        raise DataError(what, got=(customers, items), hint="leave it out, or raise min-customers")
    data = sp.csr_matrix(matrix, dtype=np.float32 if min(customers, items) > SINGLE_ABOVE else np.float64)
    if items <= customers:
        inverse = _inverted(_gram(data.T.tocsr(), l2))
        return Model(items, l2, inverse[np.diag_indices(items)], inverse, None)
    kernel = _inverted(_gram(data, l2))
    right, diagonal = np.empty((customers, items), np.float32), np.empty(items, data.dtype)
    columns = data.T.tocsr()
    for start in range(0, items, _BLOCK):
        block = columns[start : start + _BLOCK]
        product = block @ kernel
        right[:, start : start + _BLOCK] = product.T
        diagonal[start : start + _BLOCK] = 1 - block.multiply(product).sum(axis=1).A1
    return Model(items, l2, diagonal, columns.astype(np.float32), right)


def _gram(rows: sp.csr_matrix, l2: float) -> Real:
    """rows rows' + l2 I."""
    gram = np.asarray((rows @ rows.T).toarray())
    gram[np.diag_indices_from(gram)] += l2
    return gram


def _inverted(matrix: Real) -> Real:
    """The inverse of a symmetric positive definite matrix, in its own memory and half as much again.

    By halves: with S = D - B inv(A) B', inv [[A, B'], [B, D]] holds inv(S) in its last corner (Schur complement). All
    but the smallest blocks are matrix products; LAPACK's own inverse breaks off beyond 2^31 bytes in some builds.

    Raises:
        DataError: it is not positive definite.
    """
    n = len(matrix)
    if n <= _DIRECT:
        matrix[:] = _directly(matrix)
        return matrix
    half = n // 2
    first, across, last = matrix[:half, :half], matrix[half:, :half], matrix[half:, half:]
    reach = across @ _inverted(first)
    last -= reach @ across.T
    across[:] = _inverted(last) @ reach
    first += reach.T @ across
    across *= -1
    matrix[:half, half:] = across.T
    return matrix


def _directly(matrix: Real) -> Real:
    """The inverse by Cholesky."""
    potrf, potri = lapack.get_lapack_funcs(("potrf", "potri"), (matrix,))
    factor, failed = potrf(matrix, lower=1, clean=0)
    if not failed:
        factor, failed = potri(factor, lower=1, overwrite_c=1)
    if failed:
        raise DataError("the matrix cannot be inverted", where="ease", hint="raise l2")
    lower: Real = np.tril(factor)
    return lower + np.tril(lower, -1).T


def _kept(
    model: Model, data: sp.csr_matrix, params: EaseParams, threads: int, progress: Progress
) -> tuple[sp.csr_matrix, dict[str, float]]:
    """The largest weights, and what the others were worth."""
    threshold, least = _threshold(model, params.neighbours), min(params.least, model.size - 1)
    most = min(params.most or model.size, model.size)
    places = np.linspace(0, data.shape[0] - 1, min(_JUDGED, data.shape[0])).astype(int)
    judged = sp.csc_matrix(data[places], dtype=np.float32)

    def cut(which: npt.NDArray[np.intp]) -> tuple[sp.csr_matrix, float, Floats]:
        block = model.rows(which)
        return (
            as_sparse(block, largest(block, threshold, least, most)),
            float(np.vdot(block, block)),
            judged[:, which] @ block,
        )

    dense, pieces, whole = np.zeros((judged.shape[0], model.size), np.float32), [], 0.0
    for done, (piece, square, scores) in enumerate(ahead(cut, model.blocks, threads), start=1):
        dense += scores
        whole += square
        pieces.append(piece)
        progress(done, len(model.blocks))
    matrix = sp.vstack(pieces, format="csr")
    kept = float(np.square(matrix.data, dtype=np.float64).sum())
    overlap = _overlap(dense, (judged @ matrix).toarray(), 20)
    return matrix, {"kept-weight": kept / whole if whole else 1.0, "dense-overlap@20": overlap}


def ahead(work: Callable[[T], R], parts: Sequence[T], threads: int) -> Iterator[R]:
    """The results in order, a few computed ahead: products and partitions leave the interpreter's lock."""
    workers = threads or os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(parts), 2 * workers):  # no more than these are held at a time
            yield from pool.map(work, parts[start : start + 2 * workers])


def _threshold(model: Model, neighbours: int) -> float:
    """The magnitude above which there are `neighbours` weights an item, judged by every sixteenth row."""
    if neighbours >= model.size - 1:
        return 0.0
    step = 16 if model.size > 4 * _BLOCK else 1
    sample = np.abs(model.rows(np.arange(0, model.size, step))).ravel()
    place = len(sample) - int(len(sample) * neighbours / model.size)
    return float(np.partition(sample, place)[place])


def largest(block: Floats, threshold: float, least: int, most: int) -> Mask:
    """Which weights of each row to keep: from that magnitude on, and no fewer than `least`, but `most` at most."""
    size = np.abs(block)
    chosen: Mask = size >= max(threshold, np.finfo(np.float32).tiny)
    few = np.flatnonzero(np.count_nonzero(chosen, axis=1) < least)
    if len(few):
        chosen[few] = highest(size[few] if len(few) < len(size) else size, least)
    many = np.flatnonzero(np.count_nonzero(chosen, axis=1) > most)
    if len(many):
        chosen[many] = highest(size[many], most)
    return chosen


def highest(size: Floats, count: int) -> Mask:
    """The `count` highest of each row; finding where they end takes a fraction of the time of finding their places."""
    found: Mask = size >= np.partition(size, -count, axis=1)[:, -count, None]
    tied = np.flatnonzero(np.count_nonzero(found, axis=1) > count)
    if len(tied):
        found[tied] = False
        found[tied[:, None], np.argpartition(size[tied], -count, axis=1)[:, -count:]] = True
    return found


def as_sparse(block: Floats, chosen: Mask) -> sp.csr_matrix:
    """The chosen entries of a dense block; faster than leaving it to the library to look for what is not 0."""
    flat = np.flatnonzero(chosen)
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.count_nonzero(chosen, axis=1))])
    return sp.csr_matrix((block.ravel()[flat], flat % block.shape[1], indptr), shape=block.shape)


def _overlap(first: Floats, second: Floats, k: int) -> float:
    """Mean share of the k highest columns that two score matrices have in common, over rows."""
    k = min(k, first.shape[1])
    pairs = zip(np.argsort(-first, axis=1, kind="stable"), np.argsort(-second, axis=1, kind="stable"), strict=True)
    shared = [len(np.intersect1d(mine[:k], other[:k])) / k for mine, other in pairs]
    return float(np.mean(shared))
