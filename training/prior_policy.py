"""A prior of actions as a policy that a slot can serve: the same numbers as trees, so that nothing new runs there.

What an action adds in a context is its average plus the steps from each cell to the one below it
(`serving.prior.ContextPrior`). Each step is one small tree that asks whether a visit stands in that cell, in columns of
`features.covariates.VISIT`: a season is months, a part of the day is hours. A cell without some wider dimension counts
only where that one is not told, as in the prior. Nothing but the visit is read: the policy is one for strangers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from features.moments import SEASONS, season_of
from serving.effects import Column, PolicySheet, Size, SlotPolicy
from serving.policies import PolicySpec
from serving.prior import BANDS, NOTHING, ContextPrior
from serving.trees import Forest
from training.prior import ActionsFitted
from training.prior_rows import Seen
from training.uplift.log import Doubles

ALWAYS = frozenset({"season", "hour"})
"""Dimensions that every request tells."""
_FAR = 1e9
"""Above every code: whatever is told is below it, what is missing is not."""
_SAME = 1e-12
"""A step so small is none."""
Runs = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Within:
    """Whether a column's value lies in some runs of whole numbers.

    Args:
        column: its place.
        runs: first and last number of each, rising; none: whether it is missing.
        outside: whether it must lie outside them instead; a missing one does.
    """

    column: int
    runs: Runs
    outside: bool = False


def prior_policy(
    fitted: ActionsFitted, seen: Seen, spec: PolicySpec, reward: str, southern: Sequence[str] = (), about: str = ""
) -> SlotPolicy:  # fmt: skip
    """The policy of a slot for unknown visitors, ready to be written (`serving.policy_files.write_policy`).

    Effects are held against nothing shown, where that was ever drawn, else against the average of all actions.

    Args:
        fitted: the prior.
        seen: what it was learned from.
        spec: with the actions in sorted order, all of them known to the prior.
        reward: the one it is of.
        southern: regions south of the equator.
        about: where it comes from, for people.

    Raises:
        BundleError: as for `SlotPolicy`.
    """
    prior = fitted.beyond.prior
    columns = columns_of(prior, seen, southern)
    arms = [prior.arms.index(action) for action in spec.actions]
    base = prior.arms.index(NOTHING) if NOTHING in prior.arms else None
    zero = 0.0 if base is None or np.isnan(prior.average[base]) else float(prior.average[base])
    trees: list[list[Node]] = [[] for _ in arms]
    for tests, step in steps_of(prior, columns, southern):
        against = 0.0 if base is None else float(np.nan_to_num(step[base]))
        for place, arm in enumerate(arms):
            if abs(step[arm] - against) > _SAME:
                trees[place].extend(tree_of(each, float(step[arm] - against)) for each in tests)
    error = _errors(fitted, seen, base)
    sizes = tuple(
        Size(float(prior.average[arm]) - zero, 0.0, 1.0 if trees[place] else 0.0, float(error[arm]))
        for place, arm in enumerate(arms)
    )
    forests = {(reward, spec.actions[place]): forest_of(each) for place, each in enumerate(trees) if each}
    return SlotPolicy(PolicySheet(spec, columns, {reward: sizes}, about=about), forests)


def columns_of(prior: ContextPrior, seen: Seen, southern: Sequence[str]) -> tuple[Column, ...]:
    """What the trees read, for the dimensions that the prior has."""
    names = {"season": "month"}
    found = [Column(names.get(name, name), _words(prior, name)) for name in prior.names]
    if "season" in prior.names and "region" not in prior.names and set(southern) & set(_seen(seen, "region")):
        found.append(Column("region", _seen(seen, "region")))
    return tuple(found)


def _words(prior: ContextPrior, name: str) -> tuple[str, ...]:
    return () if name in ALWAYS else prior.words[prior.names.index(name)]


def _seen(seen: Seen, name: str) -> tuple[str, ...]:
    return seen.words[seen.names.index(name)]


def steps_of(
    prior: ContextPrior, columns: Sequence[Column], southern: Sequence[str]
) -> Iterable[tuple[list[list[Within]], Doubles]]:
    """Of each cell the ways to stand in it, and float64[arms], how far it is from the cell above."""
    for places, cells in prior.cells.items():
        skipped = [at for at in range(places[-1]) if at not in places]
        if any(prior.names[at] in ALWAYS for at in skipped):
            continue
        sizes = [len(prior.words[at]) for at in places]
        for context in np.unique(cells.codes % prod(sizes)).tolist():
            codes = np.full((2, len(prior.names)), -1, np.int64)
            rest = context
            for at, size in zip(reversed(places), reversed(sizes), strict=True):
                rest, codes[0, at] = divmod(rest, size)
            codes[1] = codes[0]
            codes[1, places[-1]] = -1
            here, above = prior.scores(codes)
            told = {prior.names[at]: prior.words[at][codes[0, at]] for at in places}
            missing = [Within(_place(columns, prior.names[at]), ()) for at in skipped]
            yield [[*missing, *each] for each in ways(told, columns, southern)], np.nan_to_num(here - above)


def ways(told: dict[str, str], columns: Sequence[Column], southern: Sequence[str]) -> list[list[Within]]:
    """The ways in which a visit stands in a cell: one, or two where a season depends on an unnamed region."""
    tests: list[list[Within]] = [[]]
    for name, word in told.items():
        if name == "season":
            tests = [[*some, *each] for some in tests for each in _season(word, told, columns, southern)]
        else:
            runs = _band(word) if name == "hour" else _equal(columns, name, word)
            tests = [[*some, Within(_place(columns, name), runs)] for some in tests]
    return tests


def _season(word: str, told: dict[str, str], columns: Sequence[Column], southern: Sequence[str]) -> list[list[Within]]:
    month = _place(columns, "season")
    if "region" in told:
        return [[Within(month, _months(word, southern=told["region"] in southern))]]
    names = {column.name: place for place, column in enumerate(columns)}
    regions = columns[names["region"]].words if "region" in names else ()
    south = tuple((code, code) for code, region in enumerate(regions) if region in southern)
    north = Within(month, _months(word, southern=False))
    if not south:
        return [[north]]
    place = names["region"]
    return [
        [Within(place, south), Within(month, _months(word, southern=True))],
        [Within(place, south, outside=True), north],
    ]


def _months(season: str, *, southern: bool) -> Runs:
    assert season in SEASONS
    return runs_of(month for month in range(1, 13) if season_of(month, southern=southern) == season)


def _band(word: str) -> Runs:
    first, end = next((first, end) for name, first, end in BANDS if name == word)
    return runs_of(hour for hour in range(24) if (hour - first) % 24 < (end - first) % 24)


def _equal(columns: Sequence[Column], name: str, word: str) -> Runs:
    code = columns[_place(columns, name)].words.index(word)
    return ((code, code),)


def _place(columns: Sequence[Column], name: str) -> int:
    wanted = {"season": "month"}.get(name, name)
    return next(place for place, column in enumerate(columns) if column.name == wanted)


def runs_of(numbers: Iterable[int]) -> Runs:
    """Rising numbers as runs of neighbours.

    >>> runs_of([1, 2, 12])
    ((1, 2), (12, 12))
    """
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = runs[-1][0], number
        else:
            runs.append((number, number))
    return tuple(runs)


@dataclass(frozen=True, slots=True)
class Node:
    """A question, or a leaf.

    Args:
        value: of a leaf.
        column, threshold: of a question; at or below it goes left.
        nan_left: where a missing value goes.
        left, right: None in a leaf.
    """

    value: float = 0.0
    column: int = 0
    threshold: float = 0.0
    nan_left: bool = True
    left: Node | None = None
    right: Node | None = None


def tree_of(tests: Sequence[Within], value: float) -> Node:
    """The tree that is `value` where all tests hold, and 0 elsewhere."""
    if not tests:
        return Node(value)
    first, rest = tests[0], tree_of(tests[1:], value)
    if not first.runs:
        return Node(0.0, first.column, _FAR, False, Node(), rest)
    inside, outside = (Node(), rest) if first.outside else (rest, Node())
    node = outside
    for low, high in reversed(first.runs):
        upper = Node(0.0, first.column, high + 0.5, True, inside, node)
        node = Node(0.0, first.column, low - 0.5, True, outside, upper)
    return node


def forest_of(trees: Sequence[Node]) -> Forest:
    """Trees as flat arrays, each from its root on, children behind their parents."""
    rows: list[tuple[int, float, int, int, bool, float]] = []

    def put(node: Node) -> tuple[int, int]:
        at = len(rows)
        rows.append((node.column, node.threshold, at, at, node.nan_left, node.value))
        if node.left is None or node.right is None:
            return at, 0
        (left, one), (right, other) = put(node.left), put(node.right)
        rows[at] = (node.column, node.threshold, left, right, node.nan_left, 0.0)
        return at, 1 + max(one, other)

    roots, depths = zip(*(put(tree) for tree in trees), strict=True)
    feature, threshold, left, right, nan_left, value = zip(*rows, strict=True)
    return Forest(
        np.array(feature, np.int32), np.array(threshold, np.float64), np.array(left, np.int32),
        np.array(right, np.int32), np.array(nan_left, np.bool_), np.array(value, np.float64),
        np.array(roots, np.int32), np.array([max(depths)], np.int32),
    )  # fmt: skip


def _errors(fitted: ActionsFitted, seen: Seen, base: int | None) -> Doubles:
    """float64[arms]: standard errors of the average effects, binomial by effective sizes."""
    mean = float(fitted.base.prior.average[0])
    size = np.array([_size(seen.weight[seen.arm == arm]) for arm in range(len(seen.arms))])
    chance = np.clip(mean + np.nan_to_num(fitted.beyond.prior.average), 1e-6, 1 - 1e-6)
    variance = np.divide(chance * (1 - chance), size, out=np.full(len(size), np.inf), where=size > 0)
    against = 0.0 if base is None or not np.isfinite(variance[base]) else variance[base]
    return np.asarray(np.sqrt(variance + against), np.float64)


def _size(weight: Doubles) -> float:
    return float(weight.sum() ** 2 / (weight**2).sum()) if len(weight) else 0.0
