"""Item-item weights as they are kept: each neighbour beside its weight, those of an item ascending.

A request reads the lists of dozens of items, which stand anywhere in a large table. It waits for the memory, and
in two arrays a list stood in two places of it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from features.ids import Array

Edges = npt.NDArray[np.int32]


def with_edges(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """What was fitted for a source, with `edges` instead of `indices` and `weights`, where it has any.

    Args:
        arrays: of the source, a matrix by rows: `indices` int32[n], ascending in each row, and `weights` float32[n].
    """
    if "indices" not in arrays:
        return dict(arrays)
    others = {name: array for name, array in arrays.items() if name not in ("indices", "weights")}
    return {**others, "edges": edges_of(arrays)}


def edges_of(arrays: Mapping[str, Array]) -> Edges:
    """int32[n, 2]: each neighbour, and the bits of its weight; made anew where a bundle of before has two arrays."""
    if "edges" in arrays:
        return np.asarray(arrays["edges"], np.int32)
    weights = np.asarray(arrays["weights"], np.float32).view(np.int32)
    return np.column_stack([np.asarray(arrays["indices"], np.int32), weights])
