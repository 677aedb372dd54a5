"""Many trees for one row at once: which leaf each tree comes to, by bit masks instead of steps.

A tree has a bit for each of its leaves. A question that is answered rules out the leaves of the side not taken, so the
bits that the answers of all questions leave are the one leaf that the row comes to (Lucchese et al. 2015, QuickScorer).
Answers depend on each column alone: between two neighbouring thresholds of a column they are the same. So what they
leave is tabulated for each interval, and a row costs one AND a column and one look-up a tree, however deep the trees.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.errors import BundleError
from serving.trees import Forest

Doubles = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
Bits = npt.NDArray[np.unsignedinteger]
Masks = npt.NDArray[np.uint64]
LEAVES = 64
"""Most leaves of a tree: bits of the widest word."""


class Exits:
    """Several forests over the same columns, each a sum of trees, for few rows.

    Args:
        forests: at least one; each has a tree.

    Raises:
        BundleError: a tree has more than LEAVES leaves.
    """

    def __init__(self, forests: Sequence[Forest]) -> None:
        trees = np.array([len(each.roots) for each in forests])
        self._starts = np.concatenate([[0], np.cumsum(trees)[:-1]]).astype(np.intp)
        parts = [_Leaves.of(each) for each in forests]
        widest = max(part.width for part in parts)
        if widest > LEAVES:
            raise BundleError("a tree with too many leaves", got=widest, hint=f"at most {LEAVES} can be served here")
        word = next(kind for kind in (np.uint8, np.uint16, np.uint32, np.uint64) if widest <= 8 * kind().nbytes)
        self._values = np.concatenate([part.values(widest) for part in parts]).ravel()
        self._base = np.arange(int(trees.sum()), dtype=np.intp) * widest
        self._columns: list[tuple[int, list[float], int]] = []
        """Of each column that is asked about: its place, its thresholds, its first line in the table."""
        self._table = self._tabulated(parts, word)
        self._byte = None if widest > 8 else np.log2(np.maximum(np.arange(256), 1)).astype(np.intp)

    @property
    def width(self) -> int:
        """Columns that a row must have at least."""
        return 1 + max((column for column, _, _ in self._columns), default=-1)

    def predict(self, row: npt.NDArray[np.floating]) -> Doubles:
        """float64[forests]: what each forest predicts for float[columns], as `Forest.predict` up to a sum's order.

        Raises:
            BundleError: the trees ask about a column that the row does not have.
        """
        if self.width > len(row):
            raise BundleError("the trees ask about more columns than there are", got=len(row))
        told = row.tolist()
        lines = [0] + [
            start + (bisect_left(edges, told[column]) if told[column] == told[column] else len(edges) + 1)
            for column, edges, start in self._columns
        ]
        left = np.bitwise_and.reduce(self._table.take(lines, axis=0), axis=0)
        leaf = np.log2(left).astype(np.intp) if self._byte is None else self._byte.take(left)
        found: Doubles = np.add.reduceat(self._values.take(leaf + self._base), self._starts)
        return found

    def _tabulated(self, parts: Sequence[_Leaves], word: type[np.unsignedinteger]) -> Bits:
        """word[lines, trees]: all leaves, then those left in each interval of each column and where it is missing."""
        firsts = self._starts.tolist()
        tree = np.concatenate([part.tree + first for part, first in zip(parts, firsts, strict=True)])
        asked, edge, nan_left, below, above = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("column", "threshold", "nan_left", "below", "above")
        )
        whole = np.concatenate([part.whole for part in parts])
        lines = [whole.astype(word)]
        for column in np.unique(asked).tolist():
            mine = np.flatnonzero(asked == column)
            edges = np.unique(edge[mine])
            self._columns.append((column, edges.tolist(), len(lines)))
            # Questions stand in the order of their trees.
            asking, first = np.unique(tree[mine], return_index=True)
            rank = np.searchsorted(edges, edge[mine])
            for goes_left in [*(rank >= place for place in range(len(edges) + 1)), nan_left[mine]]:
                line = whole.copy()
                kept = np.where(goes_left, below[mine], above[mine])
                line[asking] &= np.bitwise_and.reduceat(kept, first)
                lines.append(line.astype(word))
        return np.stack(lines)


@dataclass(frozen=True, slots=True)
class _Leaves:
    """The questions of a forest and the leaves on both their sides; bit b of a mask is leaf b of the question's tree.

    Args:
        tree, column, threshold, nan_left: of each question.
        below, above: uint64, the leaves left where its value is at most the threshold, and where it is above.
        whole: uint64[trees], all leaves of a tree.
        leaf_tree, leaf_bit, leaf_value: of each leaf.
    """

    tree: Places
    column: npt.NDArray[np.int32]
    threshold: Doubles
    nan_left: npt.NDArray[np.bool_]
    below: Masks
    above: Masks
    whole: Masks
    leaf_tree: Places
    leaf_bit: Places
    leaf_value: Doubles

    @classmethod
    def of(cls, forest: Forest) -> _Leaves:
        nodes = np.arange(len(forest.feature))
        # Trees lie one after the other, each from its root on.
        tree = np.searchsorted(forest.roots, nodes, side="right") - 1
        leaf = forest.left == nodes
        places = np.flatnonzero(leaf)
        counts = np.bincount(tree[places], minlength=len(forest.roots))
        bit = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
        mask = np.zeros(len(nodes), np.uint64)
        mask[places] = np.left_shift(np.uint64(1), np.minimum(bit, LEAVES - 1).astype(np.uint64))
        for _ in range(int(forest.depth[0])):
            mask = np.where(leaf, mask, mask[forest.left] | mask[forest.right])
        asked = np.flatnonzero(~leaf)
        whole = mask[forest.roots]
        return cls(
            tree[asked], forest.feature[asked], forest.threshold[asked], forest.nan_left[asked],
            whole[tree[asked]] & ~mask[forest.right[asked]], whole[tree[asked]] & ~mask[forest.left[asked]],
            whole, tree[places], bit, forest.value[places],
        )  # fmt: skip

    @property
    def width(self) -> int:
        """Leaves of the largest tree."""
        return 1 + int(self.leaf_bit.max())

    def values(self, width: int) -> Doubles:
        """float64[trees, width]: what each leaf adds."""
        table = np.zeros((len(self.whole), width))
        table[self.leaf_tree, self.leaf_bit] = self.leaf_value
        return table
