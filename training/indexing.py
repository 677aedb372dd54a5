"""Whether an index over a source's vectors is published, and how many items it looks at.

Only where it finds what a full scan would, and as few as will do: what a request waits for is the memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from features.ids import Array
from serving.candidates import Floats
from serving.recipe import USUAL
from serving.sources.folding import folded_in
from serving.sources.index import Index, index_of, recall, scanned

SAMPLE, JUDGED = 400, 100
"""Subjects whose best items are looked for with and without it, and how many of the best."""
LEAST_RECALL = 0.95
"""Of an index that finds less of what a full scan finds nothing is published."""
SURE_RECALL = 0.97
"""Where looking at fewer items finds as much, fewer are looked at; a sample may be lucky."""
FEWER = (3, 4, 6, 8, 12, 16)
"""Items for each one that is wanted, instead of `serving.sources.index.LOOKED_AT`."""


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
        index = index_of(vectors, listed, groups)
        if index is None:
            break
        if (found := quickest(index, subjects)) is not None:
            return {**arrays, **found.arrays()}
    return arrays


def quickest(index: Index, subjects: Floats) -> Index | None:
    """The same index that looks at as few items as will do; None where it finds too little however it looks.

    Args:
        index: that looks at as many as any.
        subjects: float32[m, k], as `folded_sample` gives them.
    """
    wanted = scanned(index, subjects, JUDGED)
    for looked_at in FEWER:
        fewer = replace(index, looked_at=looked_at, least=looked_at * JUDGED)
        if recall(fewer, subjects, wanted) >= SURE_RECALL:
            return fewer
    return index if recall(index, subjects, wanted) >= LEAST_RECALL else None


def folded_sample(vectors: Floats, matrix: sp.csr_matrix, alpha: np.float32, gram: Floats) -> Floats:
    """float32[m, k]: vectors of some subjects who have items, drawn from a seed, folded in as a request does.

    Args:
        vectors: float32[catalogue, k].
        matrix: subjects x catalogue.
        alpha: of the fold-in.
        gram: float32[k, k], regularized.
    """
    found = []
    known = np.flatnonzero(np.diff(matrix.indptr))
    for row in np.random.default_rng(0).permutation(known)[:SAMPLE].tolist():
        mine = slice(int(matrix.indptr[row]), int(matrix.indptr[row + 1]))
        items, weights = matrix.indices[mine], matrix.data[mine].astype(np.float32)
        foremost = np.argsort(-weights, kind="stable")[: USUAL.past]  # as a request does
        items, weights = items[foremost], weights[foremost]
        found.append(folded_in(vectors[items], alpha * weights, gram))
    return np.array(found, np.float32).reshape(-1, vectors.shape[1])
