"""Effects as forests that serving can run: sums and differences of boosters as one flat list of trees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from features.errors import DataError
from serving.trees import Forest


def summed(terms: Sequence[tuple[float, Forest]]) -> Forest:
    """One forest that predicts the weighted sum of several.

    Args:
        terms: weights and forests over the same columns, at least one.

    Raises:
        DataError: there is none.
    """
    if not terms:
        raise DataError("a sum of no forests", hint="the action was taken too seldom to learn its effect")
    starts = np.cumsum([0, *(len(each.feature) for _, each in terms[:-1])]).tolist()
    moved = [
        replace(
            each, left=(each.left + at).astype(np.int32), right=(each.right + at).astype(np.int32),
            roots=(each.roots + at).astype(np.int32), value=each.value * weight,
        )
        for at, (weight, each) in zip(starts, terms, strict=True)
    ]  # fmt: skip
    names = ("feature", "threshold", "left", "right", "nan_left", "value", "roots")
    joined = {name: np.concatenate([getattr(each, name) for each in moved]) for name in names}
    return Forest(**joined, depth=np.array([max(int(each.depth[0]) for each in moved)], np.int32))


@dataclass(frozen=True, slots=True)
class Given:
    """What is known of columns when a forest is specialised.

    Args:
        fixed: column -> its value, NaN for missing.
        same: column -> another column that it equals.
    """

    fixed: Mapping[int, float]
    same: Mapping[int, int]

    @property
    def columns(self) -> list[int]:
        """All columns that something is known of."""
        return sorted({*self.fixed, *self.same})


def specialised(forest: Forest, given: Given, trees: Sequence[int]) -> Forest:
    """Some trees of a forest with what is known of some columns put in: their questions are gone.

    Predicts what the trees would predict with those columns filled in.
    """
    nodes: list[tuple[int, float, int, int, bool, float]] = []
    roots, depth = [], 0
    for tree in trees:
        roots.append(len(nodes))
        depth = max(depth, _copied(nodes, forest, int(forest.roots[tree]), given))
    feature, threshold, left, right, nan_left, value = zip(*nodes, strict=True)
    return Forest(
        np.array(feature, np.int32), np.array(threshold, np.float64), np.array(left, np.int32),
        np.array(right, np.int32), np.array(nan_left, bool), np.array(value, np.float64),
        np.array(roots, np.int32), np.array([depth], np.int32),
    )  # fmt: skip


def asking(forest: Forest, columns: Sequence[int]) -> list[int]:
    """Places of the trees that ask about one of some columns."""
    inner = forest.left != np.arange(len(forest.feature))
    touching = np.flatnonzero(inner & np.isin(forest.feature, columns))
    # Nodes of a tree lie between its root and the next.
    found: list[int] = np.unique(np.searchsorted(forest.roots, touching, side="right") - 1).tolist()
    return found


def _copied(nodes: list[tuple[int, float, int, int, bool, float]], forest: Forest, node: int, given: Given) -> int:
    """Append what is left of a subtree, parents first; returns its height."""
    leaf = int(forest.left[node]) == node
    feature = int(forest.feature[node])
    if not leaf and feature in given.fixed:
        value = given.fixed[feature]
        goes_left = bool(forest.nan_left[node]) if np.isnan(value) else value <= forest.threshold[node]
        return _copied(nodes, forest, int((forest.left if goes_left else forest.right)[node]), given)
    place, value = len(nodes), float(forest.value[node])
    if leaf:
        nodes.append((0, np.inf, place, place, True, value))
        return 0
    nodes.append((0, 0.0, 0, 0, True, 0.0))
    left = len(nodes)
    deep = _copied(nodes, forest, int(forest.left[node]), given)
    right = len(nodes)
    deep = 1 + max(deep, _copied(nodes, forest, int(forest.right[node]), given))
    asked = given.same.get(feature, feature)
    nodes[place] = (asked, float(forest.threshold[node]), left, right, bool(forest.nan_left[node]), value)
    return deep
