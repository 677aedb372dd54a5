"""The best inner products among all vectors of a small catalogue: none is missed, and few are asked in full.

It reads each number as one byte first, of many items at once (`features.lanes`). By how much that can be wrong is known
for each item (half a step in each place), and whoever could still be among the best is asked again by its vector.
Larger catalogues have an index (`serving.sources.index`), or are asked in full where training found none of use.
"""

from __future__ import annotations

import numpy as np

from features.compiled import available
from serving.candidates import Floats, Proposals, Rows, best
from serving.sources.index import coded, laned
from serving.sources.vector_kernels import scan

LEAST_ITEMS, MOST_ITEMS = 3_000, 30_000
"""Fewer are asked in full, as quickly; of more, each worker would keep too many bytes of its own."""
MOST_PLACES = 512
_LARGEST = 1e18
"""Sums of absolute values: what is multiplied with those of a customer has to stay a number."""
_SPARE = 4
"""One in so many may be asked in full beyond those that must."""


class Scan:
    """Vectors, and the same as bytes.

    Args:
        items: int32[n], whose they are, ascending.
        vectors: float32[n, k].
    """

    def __init__(self, items: Rows, vectors: Floats) -> None:
        self._items, self._vectors = items, vectors
        codes, self._scales = coded(vectors)
        self._codes = laned(codes)
        self._sizes: Floats = np.abs(vectors).sum(axis=1, dtype=np.float32)

    @classmethod
    def of(cls, items: Rows, vectors: Floats) -> Scan | None:
        """None where they are asked in full.

        There are too few or too many, or so many places, or so large numbers, that sums would run over.
        """
        if not LEAST_ITEMS <= len(items) <= MOST_ITEMS or vectors.shape[1] > MOST_PLACES:
            return None
        made = cls(items, vectors)
        return made if made._sizes.max() < _LARGEST else None

    def best(self, vector: Floats, count: int) -> Proposals:
        """The items with the `count` highest inner products, best first, ties by item."""
        found = self.near(vector, count)
        return best(found.scores, found.items, count)

    def near(self, vector: Floats, count: int) -> Proposals:
        """Items in any order, among which those with the `count` highest inner products are.

        Args:
            vector: float32[k], finite.
            count: of the best.
        """
        if not available():
            return best(self._vectors @ vector, self._items, count)
        room = len(self._items)
        top, values = np.empty(room + 1, np.int32), np.empty(room, np.float32)
        found = scan(
            self._items, self._vectors, self._codes, self._scales, self._sizes, vector, count, count // _SPARE, top,
            values,
        )  # fmt: skip
        return Proposals(top[:found], values[:found])
