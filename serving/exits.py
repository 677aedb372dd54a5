"""Many trees for one row at once: which leaf each tree comes to, by bit masks instead of steps.

A tree has a bit for each of its leaves. A question that is answered rules out the leaves of the side not taken, so the
bits that the answers of all questions leave are the one leaf that the row comes to (Lucchese et al. 2015, QuickScorer).
Answers depend on each column alone: between two neighbouring thresholds of a column they are the same. So what they
leave is tabulated for each interval, and a row costs one AND a column and one look-up a tree, however deep the trees.
Where thresholds are many, neighbouring intervals share a line, and the few questions that tell them apart are asked.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from features.errors import BundleError
from serving.trees import Forest

Doubles = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
Bits = npt.NDArray[np.unsignedinteger]
Masks = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]
LEAVES = 64
"""Most leaves of a tree: bits of the widest word."""
ASKED = 64
"""Most questions that the intervals of one line may differ in: more of them, and the table is smaller but slower."""


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
        self._columns: list[_Lines] = []
        self._table = self._tabulated(parts, word)
        self._byte = None if widest > 8 else np.log2(np.maximum(np.arange(256), 1)).astype(np.intp)

    @property
    def width(self) -> int:
        """Columns that a row must have at least."""
        return 1 + max((each.column for each in self._columns), default=-1)

    @property
    def nbytes(self) -> int:
        """Bytes of the table."""
        return int(self._table.nbytes)

    def predict(self, row: npt.NDArray[np.floating]) -> Doubles:
        """float64[forests]: what each forest predicts for float[columns], as `Forest.predict` up to a sum's order.

        Raises:
            BundleError: the trees ask about a column that the row does not have.
        """
        if self.width > len(row):
            raise BundleError("the trees ask about more columns than there are", got=len(row))
        found = [each.find(float(row[each.column])) for each in self._columns]
        left = np.bitwise_and.reduce(self._table.take([0, *(line for line, _ in found)], axis=0), axis=0)
        if asked := [(each, some) for each, (_, some) in zip(self._columns, found, strict=True) if some is not None]:
            trees = np.concatenate([each.tree[begin:end] for each, (begin, _, end) in asked])
            kept = [part for each, (begin, at, end) in asked for part in (each.above[begin:at], each.below[at:end])]
            np.bitwise_and.at(left, trees, np.concatenate(kept))
        leaf = np.log2(left).astype(np.intp) if self._byte is None else self._byte.take(left)
        sums: Doubles = np.add.reduceat(self._values.take(leaf + self._base), self._starts)
        return sums

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
            edges, rank = np.unique(edge[mine], return_inverse=True)
            runs = _runs(np.bincount(rank))
            known = [(rank >= last, rank < first) for first, last in runs]
            missing = nan_left[mine]
            for low, high in [*known, (missing, ~missing)]:
                lines.append(_line(whole, tree[mine], low, high, below[mine], above[mine]).astype(word))
            order = np.argsort(rank, kind="stable")
            some, start = mine[order], len(lines) - len(runs) - 1
            begins = np.cumsum([0, *np.bincount(rank)]).tolist()
            kept = below[some].astype(word), above[some].astype(word)
            self._columns.append(_Lines(column, edges.tolist(), start, runs, begins, tree[some], *kept))
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


@dataclass(frozen=True, slots=True)
class _Lines:
    """The lines of one column and the questions that the intervals of a line differ in.

    Interval i is where i of the edges are below the value.

    Args:
        column: its place in a row.
        edges: distinct thresholds, in order.
        start: its first line; after those of `runs` comes that of a missing value.
        runs: first and last interval of each line.
        begins: of each edge where its questions begin, and the end.
        tree, below, above: of each question in order of thresholds its tree and what it leaves.
    """

    column: int
    edges: list[float]
    start: int
    runs: list[tuple[int, int]]
    begins: list[int]
    tree: Places
    below: Bits
    above: Bits

    def find(self, value: float) -> tuple[int, tuple[int, int, int] | None]:
        """The line of a value, and the questions that are left to ask: the first, that from which on the value is at
        most the threshold, and the end.
        """
        if value != value:
            return self.start + len(self.runs), None
        interval = bisect_left(self.edges, value)
        run = bisect_right(self.runs, interval, key=itemgetter(0)) - 1
        first, last = self.runs[run]
        some = (self.begins[first], self.begins[interval], self.begins[last]) if last > first else None
        return self.start + run, some


def _runs(counts: Places) -> list[tuple[int, int]]:
    """First and last interval of runs that differ in at most ASKED questions; counts are questions an edge."""
    runs, first, asked = [], 0, 0
    for edge, count in enumerate(counts.tolist()):
        asked += count
        if asked > ASKED:
            runs.append((first, edge))
            first, asked = edge + 1, 0
    return [*runs, (first, len(counts))]


def _line(whole: Masks, tree: Places, low: Mask, high: Mask, below: Masks, above: Masks) -> Masks:
    """uint64[trees]: what is left where some questions are answered low, some high, and the others not at all."""
    line = whole.copy()
    for answered, kept in ((low, below), (high, above)):
        np.bitwise_and.at(line, tree[answered], kept[answered])
    return line
