"""A forest of decision trees as flat arrays, and what reads them.

`serving.leafmasks` scores rows where kernels are there. In numpy all rows descend all trees together, one level a
step: the whole state is one integer a (row, tree). No tree library is needed to serve, and nothing in the arrays can be
executed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from features.compiled import available
from features.errors import BundleError
from features.ids import Array
from serving.leafmasks import MOST_LEAVES, LeafMasks

Doubles = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
_ROWS = 128
"""Rows that descend together: so many that their state stays in the cache."""


@dataclass(frozen=True)
class Forest:
    """Trees over rows of numbers. Nodes of all trees lie one after the other; a leaf is its own child.

    Args:
        feature: int32[n], column that a node asks about (0 in a leaf).
        threshold: float64[n]; a value at or below it goes left.
        left, right: int32[n], the children; both the node itself in a leaf.
        nan_left: bool[n], where a missing value goes.
        value: float64[n], what a leaf adds; in an inner node the mean of the training rows that came there.
        roots: int32[trees].
        depth: int32[1], the most steps from a root to a leaf.
    """

    feature: npt.NDArray[np.int32]
    threshold: Doubles
    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    nan_left: npt.NDArray[np.bool_]
    value: Doubles
    roots: npt.NDArray[np.int32]
    depth: npt.NDArray[np.int32]

    def arrays(self) -> dict[str, Array]:
        """Everything by name, for a bundle."""
        return {name: getattr(self, name) for name in NAMES}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Forest:
        """Read what `arrays()` gave; further arrays are left alone.

        Raises:
            BundleError: an array is missing or of another type, a threshold is not a number, a node points outside the
                forest or back to where it came from, or the depth is not that of the trees.
        """
        missing = [name for name in NAMES if name not in arrays]
        if missing:
            raise BundleError("arrays of a forest are missing", where="ranker", got=missing)
        wrong = {name: str(arrays[name].dtype) for name in NAMES if arrays[name].dtype != _TYPES[name]}
        if wrong:
            raise BundleError("arrays of a forest are of another type", where="ranker", got=wrong)
        forest = cls(*(arrays[name] for name in NAMES))  # type: ignore[arg-type]
        nodes = np.arange(len(forest.feature))
        if any(len(each) != len(nodes) for each in (forest.threshold, forest.nan_left, forest.value)):
            raise BundleError("arrays of a forest differ in length", where="ranker", hint="publish again")
        if np.isnan(forest.threshold).any():
            raise BundleError("a threshold of a forest is not a number", where="ranker", hint="publish again")
        if ((forest.roots < 0) | (forest.roots >= len(nodes))).any():
            raise BundleError("a root of a forest makes no sense", where="ranker", hint="publish again")
        leaf = forest.left == nodes
        for child in (forest.left, forest.right):
            if len(child) != len(nodes) or (child >= len(nodes)).any() or (child[~leaf] <= nodes[~leaf]).any():
                raise BundleError("a node of a forest points to no node below it", where="ranker", hint="publish again")
        if ((forest.right == nodes) != leaf).any() or (forest.feature < 0).any():
            raise BundleError("a node of a forest makes no sense", where="ranker", hint="publish again")
        parents = np.bincount(np.concatenate([forest.roots, forest.left[~leaf], forest.right[~leaf]]))
        if parents.max(initial=0) > 1:
            raise BundleError("a node of a forest has two parents", where="ranker", hint="publish again")
        if forest.depth.tolist() != [len(forest._levels)]:
            raise BundleError("the depth of a forest is not that of its trees", where="ranker", hint="publish again")
        return forest

    def predict(self, block: npt.NDArray[Any]) -> Doubles:
        """float64[m]: the sum of the leaves that each row of float[m, columns] comes to.

        Raises:
            BundleError: the trees ask about a column that the rows do not have.
        """
        if self._widest >= block.shape[1]:
            # Rows lie one after the other: a column too far would silently read the next row.
            raise BundleError("the trees ask about more columns than there are", where="ranker", got=block.shape[1])
        if available() and block.dtype == np.float32 and self._masks is not None:
            return self._masks.predict(block)
        return self._descended(block)

    def _descended(self, block: npt.NDArray[Any]) -> Doubles:
        """`predict` in numpy."""
        out = np.empty(len(block))
        for start in range(0, len(block), _ROWS):
            values = _spread(block[start : start + _ROWS])
            at = np.tile(self._start, (len(values), 1))
            base = np.arange(len(values))[:, None] * values.shape[1]
            for _ in range(int(self.depth[0])):
                at = self._step(values, base, at)
            out[start : start + _ROWS] = self.value.take(at).sum(axis=1)
        return out

    def contributions(self, row: npt.NDArray[Any]) -> Doubles:
        """float64[columns]: what each column of one row adds to its prediction.

        The differences of the nodes' means along the paths (Saabas 2014); with the roots' means they sum to the
        prediction.
        """
        values = _spread(np.asarray(row)[None, :])
        out = np.zeros(len(row))
        at = self._start
        for _ in range(int(self.depth[0])):
            below = self._step(values, 0, at)
            np.add.at(out, self.feature[at], self.value[below] - self.value[at])
            at = below
        return out

    @cached_property
    def _widest(self) -> int:
        """The last column that is asked about."""
        return int(self.feature.max(initial=0))

    @cached_property
    def _masks(self) -> LeafMasks | None:
        """For the kernel; None where it cannot be used."""
        count = len(self.feature)
        below, first, tree = np.ones(count, np.int64), np.zeros(count, np.int64), np.zeros(count, np.int64)
        for level in reversed(self._levels):
            below[level] = below[self.left[level]] + below[self.right[level]]
        if not len(self.roots) or below[self.roots].max() > MOST_LEAVES:
            return None
        tree[self.roots] = np.arange(len(self.roots))
        for level in self._levels:
            left, right = self.left[level], self.right[level]
            tree[left] = tree[right] = tree[level]
            first[left], first[right] = first[level], first[level] + below[left]
        inner = np.concatenate([*self._levels, self._start[:0]])
        inner = inner[np.lexsort((first[self.right[inner]], tree[inner]))]
        known = np.concatenate([self._start, self.left[inner], self.right[inner]])
        leaf = known[self.left[known] == known]
        value = np.zeros((len(self.roots), MOST_LEAVES))
        value[tree[leaf], first[leaf]] = self.value[leaf]
        return LeafMasks.of(
            self.feature[inner], self.threshold[inner], ~self.nan_left[inner], first[inner], first[self.right[inner]],
            tree[inner], value,
        )  # fmt: skip

    @cached_property
    def _levels(self) -> list[Places]:
        """The inner nodes at each distance from the roots."""
        found: list[Places] = []
        front = self._start
        while len(front := front[self.left[front] != front]):
            found.append(front)
            front = np.concatenate([self.left[front], self.right[front]]).astype(np.intp)
        return found

    @cached_property
    def _start(self) -> Places:
        return self.roots.astype(np.intp)

    @cached_property
    def _column(self) -> Places:
        """Where a node finds its value in a spread row: a missing one goes left in even columns, right in odd ones."""
        return 2 * self.feature.astype(np.intp) + ~self.nan_left

    @cached_property
    def _children(self) -> Places:
        return np.stack([self.left, self.right], axis=1).astype(np.intp).ravel()

    def _step(self, values: Doubles, base: Any, at: Places) -> Places:
        """One level down; whoever is in a leaf stays there."""
        right = values.take(self._column.take(at) + base) > self.threshold.take(at)
        below: Places = self._children.take(2 * at + right)
        return below


def _spread(block: npt.NDArray[Any]) -> Doubles:
    """float64[m, 2 x columns]: each value twice; a missing one is below all thresholds and above all of them."""
    values = np.repeat(np.asarray(block, np.float64), 2, axis=1)
    missing = np.isnan(values)
    values[:, ::2][missing[:, ::2]] = -np.inf
    values[:, 1::2][missing[:, 1::2]] = np.inf
    return values


NAMES = tuple(field.name for field in fields(Forest))
_TYPES: Mapping[str, Any] = dict.fromkeys(NAMES, np.int32) | {
    "threshold": np.float64, "value": np.float64, "nan_left": np.bool_,
}  # fmt: skip
