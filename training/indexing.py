"""Whether an index over a source's vectors is published: only where it finds what a full scan would."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from features.ids import Array
from serving.candidates import Floats
from serving.sources.folding import folded_in
from serving.sources.index import LEAST_RECALL, Index, index_arrays, recall

SAMPLE = 100
"""Subjects whose best items are looked for with and without it."""


def with_index(
    arrays: Mapping[str, Array], listed: npt.NDArray[np.bool_], matrix: sp.csr_matrix, alpha: float,
    regularization: float,
) -> Mapping[str, Array]:  # fmt: skip
    """What was fitted with an index beside its vectors, where the catalogue is large and the index finds enough.

    Some vectors do not fall into groups (those of `bpr` point everywhere): all of those are looked at, by their bytes.

    Args:
        arrays: `item_factors` and `gram` among them.
        listed: bool[n_items], the catalogue.
        matrix: subjects x catalogue, the confidence of each.
        alpha, regularization: of the fold-in.
    """
    vectors = arrays["item_factors"].view(np.float32)
    gram = arrays["gram"].view(np.float32) + np.float32(regularization) * np.eye(vectors.shape[1], dtype=np.float32)
    subjects = folded_sample(vectors[np.flatnonzero(listed)], matrix, np.float32(alpha), gram)
    for groups in (0, 1):
        found = index_arrays(vectors, listed, groups)
        index = Index.of(found, vectors)
        if index is None:
            break
        if recall(index, vectors, subjects) >= LEAST_RECALL:
            return {**arrays, **found}
    return arrays


def folded_sample(vectors: Floats, matrix: sp.csr_matrix, alpha: np.float32, gram: Floats) -> Floats:
    """float32[m, k]: vectors of some subjects, drawn from a seed, folded in with all of their past.

    Args:
        vectors: float32[catalogue, k].
        matrix: subjects x catalogue.
        alpha: of the fold-in.
        gram: float32[k, k], regularized.
    """
    found = []
    for row in np.random.default_rng(0).permutation(matrix.shape[0])[:SAMPLE].tolist():
        mine = slice(int(matrix.indptr[row]), int(matrix.indptr[row + 1]))
        items, weights = matrix.indices[mine], matrix.data[mine].astype(np.float32)
        found.append(folded_in(vectors[items], alpha * weights, gram))
    return np.array(found, np.float32).reshape(-1, vectors.shape[1])
