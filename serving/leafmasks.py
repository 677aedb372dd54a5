"""A forest as tables of bit masks: all trees of a row at once, without following a single branch.

After QuickScorer (Lucchese et al. 2015). The leaves of a tree are bits, from left to right. A node that sends a row to
the right rules out the leaves on its left; the lowest bit that no node rules out is the leaf that the row comes to.
What all nodes of a column rule out depends on the interval alone in which the value lies, so it is worked out
beforehand, for every interval and all trees: scoring is one look-up and one AND a column. Columns that are the same
for all rows, and neighbouring columns that are the same for most, are looked up once for all of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.compiled import helper, kernel, trailing_zeros

if TYPE_CHECKING:
    from serving.trees import Forest

Doubles = npt.NDArray[np.float64]
MOST_LEAVES = 32
"""Of a tree: as many as a word has bits."""
_ALL = np.uint32(0xFFFFFFFF)
_TOGETHER = 8
"""Columns whose common case is looked up at once."""
_VOTES = 32
_COUNTED = 64
"""Up to so many edges of a column are counted one by one, for many rows at once; more are searched."""
_Node = tuple[int, float, bool, int]
"""Column, threshold, whether a missing value goes right, bits of the leaves on its left."""


@dataclass(frozen=True, slots=True)
class LeafMasks:
    """The tables of a forest.

    Args:
        columns: int32[c], the columns that any node asks about.
        starts: int64[c + 1], where the edges of each begin.
        edges: float32[e], rising in each column; beyond the i-th lies interval i + 1.
        masks: uint32[e + 2 c, trees], what is left in each interval, that of missing values last.
        first: int64[trees], where the leaves of each tree begin.
        value: float64[leaves].
    """

    columns: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int64]
    edges: npt.NDArray[np.float32]
    masks: npt.NDArray[np.uint32]
    first: npt.NDArray[np.int64]
    value: Doubles

    @classmethod
    def of(cls, forest: Forest) -> LeafMasks | None:
        """The tables of a forest; None where a tree has too many leaves."""
        trees = [_walked(forest, root) for root in forest.roots.tolist()]
        if not trees or any(tree is None for tree in trees):
            return None
        known = [tree for tree in trees if tree is not None]
        first = np.cumsum([0, *(len(values) for _, values in known)])[:-1].astype(np.int64)
        value = np.array([each for _, values in known for each in values], np.float64)
        return cls(*_tables([nodes for nodes, _ in known]), first, value)

    def predict(self, block: npt.NDArray[np.float32]) -> Doubles:
        """float64[m]: the sum of the leaves that each row of float32[m, columns] comes to."""
        out = np.empty(len(block))
        _scored(
            np.ascontiguousarray(block), self.columns, self.starts, self.edges, self.masks, self.first, self.value, out
        )
        return out


def _walked(forest: Forest, root: int) -> tuple[list[_Node], list[float]] | None:
    """Nodes and leaf values of a tree, leaves from left to right; None where there are too many."""
    nodes: list[_Node] = []
    values: list[float] = []
    waiting: list[tuple[int, int]] = [(root, -1)]
    while waiting:
        at, began = waiting.pop()
        if began >= 0:  # everything on its left was seen in between
            left = (1 << len(values)) - (1 << began)
            nodes.append((int(forest.feature[at]), float(forest.threshold[at]), not forest.nan_left[at], left))
        elif forest.left[at] == at:
            values.append(float(forest.value[at]))
            if len(values) > MOST_LEAVES:
                return None
        else:
            waiting += [(int(forest.right[at]), -1), (at, len(values)), (int(forest.left[at]), -1)]
    return nodes, values


def _tables(
    trees: list[list[_Node]],
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.uint32]]:
    """Columns, starts, edges and masks."""
    flat = [(*node, tree) for tree, nodes in enumerate(trees) for node in nodes]
    column = np.array([node[0] for node in flat], np.int32)
    edge = _floor(np.array([node[1] for node in flat], np.float64))
    right, left, tree = (
        np.array([node[at] for node in flat], dtype) for at, dtype in ((2, bool), (3, np.uint32), (4, int))
    )
    columns = np.unique(column)
    edges = [np.unique(edge[column == each]) for each in columns]
    starts = np.cumsum([0, *map(len, edges)]).astype(np.int64)
    masks = np.full((int(starts[-1]) + 2 * len(columns), len(trees)), _ALL, np.uint32)
    for at, (each, own) in enumerate(zip(columns, edges, strict=True)):
        mine, base = column == each, int(starts[at]) + 2 * at
        bits, missing = ~left[mine], base + len(own) + 1
        np.bitwise_and.at(masks, (base + 1 + np.searchsorted(own, edge[mine]), tree[mine]), bits)
        masks[base:missing] = np.bitwise_and.accumulate(masks[base:missing], axis=0)
        np.bitwise_and.at(masks, (np.full(int(right[mine].sum()), missing), tree[mine][right[mine]]), bits[right[mine]])
    return columns, starts, np.concatenate([*edges, np.empty(0, np.float32)]), masks


def _floor(threshold: Doubles) -> npt.NDArray[np.float32]:
    """The largest single at or below each: a single is above the one exactly where it is above the other."""
    with np.errstate(over="ignore"):
        near = threshold.astype(np.float32)
    return np.where(near > threshold, np.nextafter(near, np.float32(-np.inf)), near).astype(np.float32)


@helper
def _interval(value: Any, edges: Any) -> Any:
    """The interval of one value; no branch depends on it."""
    if value != value:
        return len(edges) + 1
    found, left = 0, len(edges)
    while left > 1:
        half = left >> 1
        found += half * (edges[found + half - 1] < value)
        left -= half
    return found + (left == 1 and edges[found] < value)


@helper
def _lie(values: Any, edges: Any, at: Any, intervals: Any) -> Any:
    """Fill a row of intervals with where some values lie among edges."""
    rows, first = len(values), values[0]
    alike = 1
    while alike < rows and (values[alike] == first or (values[alike] != values[alike] and first != first)):
        alike += 1
    if alike == rows:
        intervals[at, :] = _interval(first, edges)
    elif len(edges) > _COUNTED:
        for row in range(rows):
            intervals[at, row] = _interval(values[row], edges)
    else:  # many rows in one instruction
        intervals[at, :] = 0
        for edge in edges:
            for row in range(rows):
                intervals[at, row] += np.int32(values[row] > edge)
        for row in range(rows):
            if values[row] != values[row]:
                intervals[at, row] = len(edges) + 1


@helper
def _common(intervals: Any, at: Any) -> Any:
    """The interval that most rows seem to lie in, by a vote of some; whichever it is, the scores are the same."""
    found, lead = intervals[at, 0], 0
    for row in range(0, intervals.shape[1], max(intervals.shape[1] // _VOTES, 1)):
        if lead == 0:
            found = intervals[at, row]
        lead += 1 if intervals[at, row] == found else -1
    return found


@helper
def _narrow(state: Any, row: Any, masks: Any, at: Any) -> Any:
    """Rule out what a row of masks does; whole arrays and places, for a slice costs more than the work."""
    for tree in range(state.shape[1]):
        state[row, tree] &= masks[at, tree]


@helper
def _narrow_by_four(state: Any, row: Any, masks: Any, rest: Any, at: Any) -> Any:
    """`_narrow` for four at once: the state is read and written a quarter as often."""
    one, two, three, four = rest[at], rest[at + 1], rest[at + 2], rest[at + 3]
    for tree in range(state.shape[1]):
        state[row, tree] &= masks[one, tree] & masks[two, tree] & masks[three, tree] & masks[four, tree]


@helper
def _looked_up(block: Any, columns: Any, starts: Any, edges: Any, intervals: Any, often: Any, mixed: Any) -> Any:
    """Fill what lies where: intervals int32[c, m], the usual one of each column, and the columns that are mixed."""
    count = 0
    values = np.empty(block.shape[0], np.float32)
    for at in range(len(columns)):
        for row in range(len(values)):
            values[row] = block[row, columns[at]]
        _lie(values, edges[starts[at] : starts[at + 1]], at, intervals)
        often[at] = _common(intervals, at)
        other = 0
        for row in range(len(values)):
            other += intervals[at, row] != often[at]
        if other:
            mixed[count] = at
            count += 1
    return count


@helper
def _unusual(intervals: Any, often: Any, mixed: Any, count: Any, out: Any) -> Any:
    """out bool[chunks, m]: the rows of which any of the columns of a chunk lies elsewhere than usual."""
    out[:, :] = False
    for place in range(count):
        at, chunk = mixed[place], place // _TOGETHER
        for row in range(out.shape[1]):
            out[chunk, row] |= intervals[at, row] != often[at]


@kernel("f4[2], i4[1], i8[1], f4[1], u4[2], i8[1], f8[1], out f8[1]")
def _scored(block: Any, columns: Any, starts: Any, edges: Any, masks: Any, first: Any, value: Any, out: Any) -> Any:
    rows, trees = block.shape[0], masks.shape[1]
    if rows == 0:
        return
    intervals, often = np.empty((len(columns), rows), np.int32), np.empty(len(columns), np.int32)
    mixed = np.empty(len(columns), np.int64)
    count = _looked_up(block, columns, starts, edges, intervals, often, mixed)
    chunks = (count + _TOGETHER - 1) // _TOGETHER
    common = np.full((chunks + 1, trees), _ALL, np.uint32)  # the last one: of what is the same for all rows
    chunk_of = np.full(len(columns), chunks, np.int64)
    chunk_of[mixed[:count]] = np.arange(count) // _TOGETHER
    for at in range(len(columns)):
        _narrow(common, chunk_of[at], masks, starts[at] + 2 * at + often[at])
    unusual = np.empty((chunks, rows), np.bool_)
    _unusual(intervals, often, mixed, count, unusual)
    state, rest = np.empty((1, trees), np.uint32), np.empty(count + 1, np.int64)
    for row in range(rows):
        state[0, :] = common[chunks]
        for chunk in range(chunks):
            if not unusual[chunk, row]:
                _narrow(state, 0, common, chunk)
        waiting = 0
        for place in range(count):  # no branch: which ones are kept nobody could foretell
            at = mixed[place]
            interval = intervals[at, row]
            rest[waiting] = starts[at] + 2 * at + interval
            waiting += unusual[place // _TOGETHER, row] & (interval > 0)  # below all edges nothing is ruled out
        while waiting % 4:
            waiting -= 1
            _narrow(state, 0, masks, rest[waiting])
        for at in range(0, waiting, 4):
            _narrow_by_four(state, 0, masks, rest, at)
        total = 0.0
        for tree in range(trees):
            total += value[first[tree] + trailing_zeros(state[0, tree])]
        out[row] = total
