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
_TREES, _NODES = 4, 4
"""So many trees are gone through before their leaves are added up, and so many of a tree's nodes are asked at once."""
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
        threshold: int32[n], in the order of `ordered`; what is above it goes right.
        mask: uint32[n], the leaves of its tree that a node leaves to those that go right.
        tree: int32[n], of each node.
        value: float64[trees x 32], of the leaves; there are `_TREES` or a multiple of it, some of which say nothing.
    """

    asked: npt.NDArray[np.int32]
    begins: npt.NDArray[np.int64]
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
        filled = np.zeros((-(-len(value) // _TREES) * _TREES, MOST_LEAVES))
        filled[: len(value)] = value
        left, limit = (np.int64(1) << end) - (np.int64(1) << begin), ordered(_floor(threshold))
        order = np.lexsort((limit, which))
        begins = np.cumsum([0, *np.bincount(which, minlength=len(asked))])
        return cls(
            asked.astype(np.int32), begins.astype(np.int64), limit[order], ~left[order].astype(np.uint32),
            tree[order].astype(np.int32), filled.ravel(),
        )  # fmt: skip

    def predict(self, block: npt.NDArray[np.float32]) -> Doubles:
        """float64[m]: the sum of the leaves that each row of float32[m, columns] comes to."""
        out = np.empty(len(block))
        if len(block):
            _scored(
                np.ascontiguousarray(block), self.asked, self.begins, self.threshold, self.mask, self.tree, self.value,
                out,
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
def _compared(bits: Any, column: Any, missing: Any, at: Any, x: Any) -> Any:
    """Fill a row with the numbers of a column, as `ordered`; returns the smallest and the largest."""
    for row in range(x.shape[1]):
        number = np.int32(0) if bits[column, row] == _LOWEST else bits[column, row]
        x[at, row] = missing if number & _HIGHEST > _INFINITE else number ^ (number >> _SIGN & _HIGHEST)
    least, most = x[at, 0], x[at, 0]
    for row in range(x.shape[1]):
        least, most = min(least, x[at, row]), max(most, x[at, row])
    return least, most


@helper
def _put_in_order(bits: Any, asked: Any, x: Any, place: Any, low: Any, high: Any) -> Any:
    """Fill what is compared, and for each that is asked its place, its smallest and its largest.

    There are as few rows as will do, so that they stay in the nearest cache: none for what is alike for all, and one
    for a column without missing values, whichever side those go to.
    """
    count, whole, before = 0, False, -1
    for at in range(len(asked)):
        column = asked[at] >> 1
        if whole and column == before:
            place[at], low[at], high[at] = place[at - 1], low[at - 1], high[at - 1]
            continue
        missing = _HIGHEST if asked[at] & 1 else _LOWEST
        low[at], high[at] = _compared(bits, column, missing, count, x)
        place[at], whole, before = count, low[at] != missing and high[at] != missing, column
        count += low[at] < high[at]


@helper
def _told_apart(
    low: Any, high: Any, place: Any, begins: Any, threshold: Any, mask: Any, tree: Any, left: Any, counts: Any,
    places: Any, limits: Any, masks: Any,
) -> Any:  # fmt: skip
    """Fill for each tree what is left of its leaves by nodes that send all rows right, and how many nodes part them.

    Of these it fills by tree, from its `MOST_LEAVES`-th place on, the place of what they compare, their thresholds and
    masks; the last is repeated until there are so many that they can be asked `_NODES` at a time, for asked twice a
    node says the same.
    """
    left[:], counts[:] = _ALL, 0
    for at in range(len(low)):
        node, end = begins[at], begins[at + 1]
        while node < end and low[at] > threshold[node]:
            left[tree[node]] &= mask[node]
            node += 1
        while node < end and high[at] > threshold[node]:
            to = MOST_LEAVES * tree[node] + counts[tree[node]]
            places[to], limits[to], masks[to] = place[at], threshold[node], mask[node]
            counts[tree[node]] += 1
            node += 1
    for own in range(len(counts)):
        while counts[own] % _NODES:
            to = MOST_LEAVES * own + counts[own]
            places[to], limits[to], masks[to] = places[to - 1], limits[to - 1], masks[to - 1]
            counts[own] += 1


@helper
def _through(
    x: Any, left: Any, counts: Any, places: Any, limits: Any, masks: Any, value: Any, total: Any
) -> Any:  # fmt: skip
    """Send all rows through all trees and add up their leaves.

    One function without calls in it: each would cost as much as a node does.
    """
    rows = len(total)
    state = np.empty((_TREES, rows), np.uint32)
    for first in range(0, len(left), _TREES):
        for own in range(_TREES):
            state[own] = left[first + own]
            begin = MOST_LEAVES * (first + own)
            for a in range(begin, begin + counts[first + own], _NODES):
                b, c, d = a + 1, a + 2, a + 3
                of_a, of_b, of_c, of_d = places[a], places[b], places[c], places[d]
                limit_a, limit_b, limit_c, limit_d = limits[a], limits[b], limits[c], limits[d]
                mask_a, mask_b, mask_c, mask_d = masks[a], masks[b], masks[c], masks[d]
                for row in range(rows):
                    word = state[own, row]
                    word = word & mask_a if x[of_a, row] > limit_a else word
                    word = word & mask_b if x[of_b, row] > limit_b else word
                    word = word & mask_c if x[of_c, row] > limit_c else word
                    state[own, row] = word & mask_d if x[of_d, row] > limit_d else word
        leaf = MOST_LEAVES * first
        for row in range(rows):  # a row's total is read and written once for all of these trees
            summed = total[row] + value[leaf + np.int64(trailing_zeros(state[0, row]))]
            summed += value[leaf + MOST_LEAVES + np.int64(trailing_zeros(state[1, row]))]
            summed += value[leaf + 2 * MOST_LEAVES + np.int64(trailing_zeros(state[2, row]))]
            total[row] = summed + value[leaf + 3 * MOST_LEAVES + np.int64(trailing_zeros(state[3, row]))]


@kernel("f4[2], i4[1], i8[1], i4[1], u4[1], i4[1], f8[1], out f8[1]")
def _scored(
    block: Any, asked: Any, begins: Any, threshold: Any, mask: Any, tree: Any, value: Any, out: Any
) -> Any:  # fmt: skip
    rows, trees = (len(block) + _ROWS - 1) // _ROWS * _ROWS, len(value) // MOST_LEAVES
    bits, x = np.empty((block.shape[1], rows), np.int32), np.empty((len(asked), rows), np.int32)
    low, high = np.empty(len(asked), np.int32), np.empty(len(asked), np.int32)
    place = np.empty(len(asked), np.int64)
    _turned(block, bits)
    _put_in_order(bits, asked, x, place, low, high)
    left, counts = np.empty(trees, np.uint32), np.empty(trees, np.int64)
    places, limits = np.empty(len(value), np.int64), np.empty(len(value), np.int32)
    masks, total = np.empty(len(value), np.uint32), np.zeros(rows)
    _told_apart(low, high, place, begins, threshold, mask, tree, left, counts, places, limits, masks)
    _through(x, left, counts, places, limits, masks, value, total)
    out[:] = total[: len(out)]
