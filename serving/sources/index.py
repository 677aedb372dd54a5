"""An index over item vectors: the best inner products without looking at all items.

Training groups the vectors of large catalogues by k-means (an inverted file, as Jegou et al. 2011 call it) and keeps
those of a group side by side. A request looks at the groups whose centre speaks most for it, until it has seen enough
items. It may miss some that a full scan would find; `recall` says how many, and a small catalogue has no index.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from features.compiled import available, scratch
from features.ids import Array
from serving.candidates import Floats, Proposals, Rows, best
from serving.sources.vector_kernels import search

LEAST_ITEMS = 20_000
"""In a smaller catalogue a full scan costs less than a tenth of a request."""
LOOKED_AT = 24
"""Items that are looked at for each one that is wanted, at least."""
_PASSES = 8


@dataclass(frozen=True, slots=True)
class Index:
    """Vectors by group.

    Args:
        centres: float32[groups, k].
        starts: int64[groups + 1], where the vectors of each begin.
        items: int32[n], the item of each vector.
        vectors: float32[n, k].
    """

    centres: Floats
    starts: npt.NDArray[np.int64]
    items: Rows
    vectors: Floats

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> Index | None:
        """The index among a source's arrays; None where it has none."""
        if "index.centres" not in arrays:
            return None
        return cls(*(cast("Any", arrays[f"index.{name}"]) for name in NAMES))

    def arrays(self) -> dict[str, Array]:
        """Named as arrays of a source."""
        return {f"index.{name}": getattr(self, name) for name in NAMES}

    def best(self, vector: Floats, count: int) -> Proposals:
        """The items with the `count` highest inner products among those looked at, best first, ties by item."""
        if available():
            many = len(self.items)
            scores, items = scratch("index_score", many, np.float32), scratch("index_item", many, np.int32)
            many = search(self.centres, self.starts, self.items, self.vectors, vector, LOOKED_AT * count, items, scores)
            return best(scores[:many], items[:many], count)
        order = np.argsort(-(self.centres @ vector), kind="stable")
        seen = np.cumsum(np.diff(self.starts)[order])
        groups = order[: int(np.searchsorted(seen, LOOKED_AT * count)) + 1]
        spans = [slice(int(self.starts[group]), int(self.starts[group + 1])) for group in groups]
        items = np.concatenate([self.items[span] for span in spans])
        return best(np.concatenate([self.vectors[span] @ vector for span in spans]), items, count)


NAMES = ("centres", "starts", "items", "vectors")


def indexed(vectors: Floats, listed: npt.NDArray[np.bool_], seed: int = 0) -> Index:
    """Group the vectors of the listed items by k-means, from a seed.

    Args:
        vectors: float32[n_items, k].
        listed: bool[n_items], what is ever looked for.
        seed: of the first centres.
    """
    rows = np.flatnonzero(listed).astype(np.int32)
    mine = np.ascontiguousarray(vectors[rows])
    groups = max(int(np.sqrt(len(rows))), 1)
    random = np.random.default_rng(seed)
    centres = mine[random.choice(len(mine), groups, replace=False)]
    for _ in range(_PASSES):
        group = _nearest(mine, centres)
        size = np.bincount(group, minlength=groups)
        sums = np.zeros_like(centres)
        np.add.at(sums, group, mine)
        centres = np.where(size[:, None] > 0, sums / np.maximum(size, 1)[:, None], centres).astype(np.float32)
    group = _nearest(mine, centres)
    order = np.argsort(group, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(group, minlength=groups))]).astype(np.int64)
    return Index(centres, starts, rows[order], np.ascontiguousarray(mine[order]))


def index_arrays(vectors: Floats, listed: npt.NDArray[np.bool_]) -> dict[str, Array]:
    """The arrays of an index beside a source's vectors; none where few items are listed: looking at all is cheap.

    Args:
        vectors, listed: as for `indexed`.
    """
    return indexed(vectors, listed).arrays() if int(listed.sum()) >= LEAST_ITEMS else {}


def recall(index: Index, vectors: Floats, subjects: Floats, count: int = 100) -> float:
    """The share of the `count` best items of a full scan that the index finds, in the mean over subjects.

    Args:
        index: of some of the vectors.
        vectors: float32[n_items, k].
        subjects: float32[m, k], folded-in customers.
        count: proposals of each.
    """
    rows = np.sort(index.items)
    mine = vectors[rows]
    found = [np.isin(index.best(each, count).items, best(mine @ each, rows, count).items).sum() for each in subjects]
    return float(np.mean(found) / min(count, len(rows)))


def _nearest(vectors: Floats, centres: Floats) -> npt.NDArray[np.intp]:
    """int64[n]: the centre at the smallest distance of each vector."""
    half = 0.5 * (centres * centres).sum(axis=1)
    blocks = [vectors[start : start + 8192] for start in range(0, len(vectors), 8192)]
    return np.concatenate([np.argmax(block @ centres.T - half, axis=1) for block in blocks])
