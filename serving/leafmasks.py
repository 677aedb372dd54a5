"""A forest as bit masks: many rows go through a tree in one instruction, without following a single branch.

After V-QuickScorer (Lucchese et al. 2016). The leaves of a tree are bits, from left to right. A node that sends a row
to the right rules out the leaves on its left; the lowest bit that no node rules out is the leaf that the row comes to.
So the nodes of a tree may be asked in any order, and each is one comparison and one AND for all rows.

Numbers are compared as integers of the same order, in which a missing value is the smallest or the largest of all:
then one comparison tells where a row goes, and whether a node sends all rows the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from features.compiled import helper, kernel, trailing_zeros

Doubles = npt.NDArray[np.float64]
Places = npt.NDArray[np.integer]
MOST_LEAVES = 32
"""Of a tree: as many as a word has bits."""
_ALL = np.uint32(0xFFFFFFFF)
_LOWEST, _HIGHEST = np.int32(-(2**31)), np.int32(2**31 - 1)
_INFINITE = np.int32(0x7F800000)
"""The bits of infinity: those of NaN lie above."""
_SIGN = np.int32(31)
_TREES = 4
"""So many are gone through before their leaves are added up."""
_ROWS = 16
"""Rows of which the numbers are turned around at once: a line of the cache."""


@dataclass(frozen=True, slots=True)
class LeafMasks:
    """The nodes of a forest, in the order of what they compare and of their thresholds.

    So of all nodes that compare the same, those that send every row to the right come first, and those that send every
    row to the left come last: nobody looks at these.

    Args:
        asked: int32[a], what is compared: twice the column, and one more where its missing values are the largest.
        begins: int64[a + 1], where the nodes of each begin.
        which: int32[n], the place in `asked` of what each node compares.
        threshold: int32[n], in the order of `ordered`; what is above it goes right.
        mask: uint32[n], the leaves of its tree that a node leaves to those that go right.
        tree: int32[n], of each node.
        value: float64[trees x 32], of the leaves.
    """

    asked: npt.NDArray[np.int32]
    begins: npt.NDArray[np.int64]
    which: npt.NDArray[np.int32]
    threshold: npt.NDArray[np.int32]
    mask: npt.NDArray[np.uint32]
    tree: npt.NDArray[np.int32]
    value: Doubles

    @classmethod
    def of(
        cls, column: Places, threshold: Doubles, right: npt.NDArray[np.bool_], begin: Places, end: Places,
        tree: Places, value: Doubles,
    ) -> LeafMasks:  # fmt: skip
        """Of the nodes of all trees and of their leaves, from left to right.

        Args:
            column, threshold: [n], what each node asks.
            right: bool[n], whether a missing value goes right.
            begin, end: [n], the leaves on its left are `begin` to `end - 1` of its tree.
            tree: [n], of each node.
            value: float64[trees, 32], of the leaves.
        """
        asked, which = np.unique(2 * column.astype(np.int64) + right, return_inverse=True)
        left, limit = (np.int64(1) << end) - (np.int64(1) << begin), ordered(_floor(threshold))
        order = np.lexsort((limit, which))
        begins = np.cumsum([0, *np.bincount(which, minlength=len(asked))])
        return cls(
            asked.astype(np.int32), begins.astype(np.int64), which[order].astype(np.int32), limit[order],
            ~left[order].astype(np.uint32), tree[order].astype(np.int32), value.ravel(),
        )  # fmt: skip

    def predict(self, block: npt.NDArray[np.float32]) -> Doubles:
        """float64[m]: the sum of the leaves that each row of float32[m, columns] comes to."""
        out = np.empty(len(block))
        if len(block):
            _scored(
                np.ascontiguousarray(block), self.asked, self.begins, self.which, self.threshold, self.mask,
                self.tree, self.value, out,
            )  # fmt: skip
        return out


def _floor(threshold: Doubles) -> npt.NDArray[np.float32]:
    """The largest single at or below each: a single is above the one exactly where it is above the other."""
    with np.errstate(over="ignore"):
        near = threshold.astype(np.float32)
    return np.where(near > threshold, np.nextafter(near, np.float32(-np.inf)), near).astype(np.float32)


def ordered(numbers: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    """int32[n] in the same order as some float32[n] without NaN; both zeros are one."""
    bits = (numbers + np.float32(0)).view(np.int32)
    return bits ^ (bits >> _SIGN & _HIGHEST)


@helper
def _turned(block: Any, out: Any) -> Any:
    """Fill the bits of float32[m, columns] into int32[columns, m or more]; the last row stands for those beyond."""
    rows, bits = len(block), block.view(np.int32)
    whole = rows // _ROWS * _ROWS
    for begin in range(0, whole, _ROWS):
        for column in range(len(out)):
            for row in range(_ROWS):
                out[column, begin + row] = bits[begin + row, column]
    for column in range(len(out)):
        for row in range(whole, out.shape[1]):
            out[column, row] = bits[min(row, rows - 1), column]


@helper
def _put_in_order(bits: Any, asked: Any, at: Any, out: Any, low: Any, high: Any) -> Any:
    """Fill a row with what is compared, as `ordered`, and its smallest and its largest."""
    column, missing = asked >> 1, _HIGHEST if asked & 1 else _LOWEST
    for row in range(out.shape[1]):
        number = np.int32(0) if bits[column, row] == _LOWEST else bits[column, row]
        out[at, row] = missing if number & _HIGHEST > _INFINITE else number ^ (number >> _SIGN & _HIGHEST)
    least, most = out[at, 0], out[at, 0]
    for row in range(out.shape[1]):
        least, most = min(least, out[at, row]), max(most, out[at, row])
    low[at], high[at] = least, most


@helper
def _ruled(state: Any, mask: Any, right: Any) -> Any:
    """What is left of a row's leaves after a node."""
    return state & mask if right else state


@helper
def _ask_two(x: Any, nodes: Any, at: Any, which: Any, threshold: Any, mask: Any, state: Any) -> Any:
    """Send all rows through two nodes: the state is read and written half as often."""
    a, b = nodes[at], nodes[at + 1]
    of_a, of_b, limit_a, limit_b, mask_a, mask_b = which[a], which[b], threshold[a], threshold[b], mask[a], mask[b]
    for row in range(len(state)):
        left = _ruled(state[row], mask_a, x[of_a, row] > limit_a)
        state[row] = _ruled(left, mask_b, x[of_b, row] > limit_b)


@helper
def _ask_six(x: Any, nodes: Any, at: Any, which: Any, threshold: Any, mask: Any, state: Any) -> Any:
    """The same for six nodes."""
    a, b, c, d, e, f = nodes[at], nodes[at + 1], nodes[at + 2], nodes[at + 3], nodes[at + 4], nodes[at + 5]
    of_a, of_b, of_c, of_d, of_e, of_f = which[a], which[b], which[c], which[d], which[e], which[f]
    limit_a, limit_b, limit_c, limit_d = threshold[a], threshold[b], threshold[c], threshold[d]
    limit_e, limit_f = threshold[e], threshold[f]
    mask_a, mask_b, mask_c, mask_d, mask_e, mask_f = mask[a], mask[b], mask[c], mask[d], mask[e], mask[f]
    for row in range(len(state)):
        left = _ruled(state[row], mask_a, x[of_a, row] > limit_a)
        left = _ruled(left, mask_b, x[of_b, row] > limit_b)
        left = _ruled(left, mask_c, x[of_c, row] > limit_c)
        left = _ruled(left, mask_d, x[of_d, row] > limit_d)
        left = _ruled(left, mask_e, x[of_e, row] > limit_e)
        state[row] = _ruled(left, mask_f, x[of_f, row] > limit_f)


@helper
def _told_apart(
    low: Any, high: Any, begins: Any, threshold: Any, mask: Any, tree: Any, left: Any, nodes: Any, counts: Any
) -> Any:  # fmt: skip
    """Fill for each tree what is left of its leaves by nodes that send all rows right, and the nodes to be asked."""
    left[:], counts[:] = _ALL, 0
    for at in range(len(low)):
        node, end = begins[at], begins[at + 1]
        while node < end and low[at] > threshold[node]:
            left[tree[node]] &= mask[node]
            node += 1
        while node < end and high[at] > threshold[node]:
            own = tree[node]
            nodes[own, counts[own]] = node
            counts[own] += 1
            node += 1


@helper
def _through(x: Any, which: Any, threshold: Any, mask: Any, nodes: Any, count: Any, left: Any, state: Any) -> Any:
    """Send all rows through the nodes of a tree that part them."""
    state[:] = left
    at = 0
    while count - at >= 6:
        _ask_six(x, nodes, at, which, threshold, mask, state)
        at += 6
    while count - at > 0:
        if count - at == 1:
            nodes[at + 1] = nodes[at]  # asked twice, a node says the same
        _ask_two(x, nodes, at, which, threshold, mask, state)
        at += 2


@helper
def _leaf(state: Any, first: Any) -> Any:
    return first + np.int64(trailing_zeros(state))


@kernel("f4[2], i4[1], i8[1], i4[1], i4[1], u4[1], i4[1], f8[1], out f8[1]")
def _scored(
    block: Any, asked: Any, begins: Any, which: Any, threshold: Any, mask: Any, tree: Any, value: Any, out: Any
) -> Any:  # fmt: skip
    rows, trees = (len(block) + _ROWS - 1) // _ROWS * _ROWS, len(value) // MOST_LEAVES
    bits, x = np.empty((block.shape[1], rows), np.int32), np.empty((len(asked), rows), np.int32)
    low, high = np.empty(len(asked), np.int32), np.empty(len(asked), np.int32)
    _turned(block, bits)
    for at in range(len(asked)):
        _put_in_order(bits, asked[at], at, x, low, high)
    left, counts = np.empty(trees, np.uint32), np.empty(trees, np.int64)
    nodes = np.empty((trees, MOST_LEAVES), np.int64)
    _told_apart(low, high, begins, threshold, mask, tree, left, nodes, counts)
    state, total = np.empty((_TREES, rows), np.uint32), np.zeros(rows)
    for first in range(0, trees, _TREES):
        many = min(_TREES, trees - first)
        for at in range(many):
            own = first + at
            _through(x, which, threshold, mask, nodes[own], counts[own], left[own], state[at])
        place = MOST_LEAVES * first
        if many == _TREES:  # a row's total is read and written once for all
            for row in range(rows):
                summed = total[row] + value[_leaf(state[0, row], place)]
                summed += value[_leaf(state[1, row], place + MOST_LEAVES)]
                summed += value[_leaf(state[2, row], place + 2 * MOST_LEAVES)]
                total[row] = summed + value[_leaf(state[3, row], place + 3 * MOST_LEAVES)]
        else:
            for at in range(many):
                for row in range(rows):
                    total[row] += value[_leaf(state[at, row], place + MOST_LEAVES * at)]
    out[:] = total[: len(out)]
