"""Indexes over what was fitted: how far their groups reach is learnt from subjects as a request folds them in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from serving.candidates import Floats
from serving.recipe import USUAL
from serving.sources.folding import Fold
from serving.sources.index import Index
from serving.sources.indexing import JUDGED, index_of
from training.interactions import Fitted

SAMPLE = 800
"""Subjects who are asked, every other one of them only to tell what is found."""


def with_index(
    fitted: Fitted, listed: npt.NDArray[np.bool_], matrix: sp.csr_matrix, alpha: float, regularization: float
) -> Fitted:  # fmt: skip
    """What was fitted, with an index beside its vectors and, as a figure, the share of the best that it finds.

    Nothing changes where `serving.sources.indexing.index_of` makes none. Where nobody can be asked it misses nothing.

    Args:
        fitted: with arrays `item_factors` and `gram`.
        listed: bool[n_items], the catalogue.
        matrix: subjects x catalogue, the confidence of each.
        alpha, regularization: of the fold-in.
    """
    vectors = fitted.arrays["item_factors"].view(np.float32)
    gram = fitted.arrays["gram"].view(np.float32) + np.float32(regularization) * np.eye(
        vectors.shape[1], dtype=np.float32
    )
    subjects = folded_sample(Fold(vectors[np.flatnonzero(listed)], gram, alpha), matrix)
    index = index_of(vectors, listed, asked=subjects[::2] if len(subjects) > 1 else None)
    if index is None:
        return fitted
    figures = {**fitted.figures, "index_found": found_share(index, subjects[1::2])}
    return replace(fitted, arrays={**fitted.arrays, **index.arrays()}, figures=figures)


def folded_sample(fold: Fold, matrix: sp.csr_matrix) -> Floats:
    """float32[m, k]: the vectors of some subjects who have items, drawn from a seed, folded in as a request does.

    Args:
        fold: over the vectors of the catalogue.
        matrix: subjects x catalogue.
    """
    known = np.flatnonzero(np.diff(matrix.indptr))
    found = []
    for row in np.random.default_rng(0).permutation(known)[:SAMPLE].tolist():
        mine = slice(int(matrix.indptr[row]), int(matrix.indptr[row + 1]))
        items, weights = matrix.indices[mine].astype(np.int32), matrix.data[mine].astype(np.float32)
        foremost = np.sort(np.argsort(-weights, kind="stable")[: USUAL.past])
        found.append(fold.of(items[foremost], weights[foremost]))
    return np.array(found, np.float32)


def found_share(index: Index, subjects: Floats) -> float:
    """Of the best items of each subject the share that an index finds; NaN where there is no subject."""
    listed = index.items[index.items >= 0]
    shares = []
    for vector in subjects:
        products = index.vectors[listed] @ vector
        best = listed[products >= np.partition(products, -JUDGED)[-JUDGED]]
        shares.append(np.isin(best, index.near(vector, JUDGED).items).mean())
    return float(np.mean(shares)) if shares else float("nan")
