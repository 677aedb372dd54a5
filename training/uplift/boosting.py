"""The boosted trees of uplift models: one shape for all of them, one thread each, many at a time.

Effects are small beside the noise of outcomes, so trees are few-leaved, slow and with hundreds of rows a leaf:
LightGBM's default parameters nearly halve the Qini on Hillstrom's experiment (`kokyaku bench uplift` shows it).
All models fit squared error, also of outcomes that are 0 or 1: then differences of models are effects, and sums of
trees can be served.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Literal, TypeVar

import lightgbm
import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from features.errors import ConfigError
from training.uplift.log import Doubles, Floats

T = TypeVar("T")
_SAMPLE = 1000
_NARROW = 24
"""Columns up to which histograms are faster by rows; on one thread both ways give the same trees to the last digit."""
Positive = Annotated[int, Meta(ge=1)]
LEAST_LEAF = 20
LEAST_TREES = 20
_LEAVES_OF_ROWS = 8
_LEAVES_OF_EFFECTS = 4
_ROWS_A_TREE = 16
"""Where rows are few, leaves are so small that 8 of them hold an arm; models of effects have larger leaves, 4, and one
tree for 16 rows. Models of outcomes always get all trees: two of them that are shrunk differently differ where nothing
does. (Mean squared errors on 1,000 to 16,000 simulated rows with three arms.)"""


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of every fit.

    Args:
        leaves: of a tree.
        leaf_rows: least rows of a leaf **per arm**: a model of several arms asks for so many times more.
        rate: of learning.
        trees: of a model.
        l2: on leaf values.
        bins: of a column.
        seed: of LightGBM.
        outcome_monotone: column -> 1 where the outcome must not fall with it, -1 where it must not rise; holds for
            models of outcomes (T, S, and what the others subtract).
        effect_monotone: the same for effects; holds for X, DR and R. A difference of two monotone models need not be
            monotone, so S and T cannot promise it.
    """

    leaves: Annotated[int, Meta(ge=2, le=256)] = 8
    leaf_rows: Positive = 300
    rate: Annotated[float, Meta(gt=0, le=1)] = 0.03
    trees: Positive = 150
    l2: Annotated[float, Meta(ge=0)] = 0.0
    bins: Annotated[int, Meta(ge=3, le=255)] = 255
    seed: int = 0
    outcome_monotone: Mapping[str, Literal[-1, 1]] = {}
    effect_monotone: Mapping[str, Literal[-1, 1]] = {}


def fit_trees(
    block: Floats, target: Doubles, shape: Shape, *, arms: float = 1.0, effect: bool = False,
    weight: Doubles | None = None, monotone: Sequence[int] = (), objective: str = "regression", classes: int = 1,
) -> lightgbm.Booster:  # fmt: skip
    """One booster, on one thread; the same rows give the same trees.

    Args:
        block: float32[n, p], NaN where missing.
        target: float64[n].
        shape: of the trees; smaller where there are few rows.
        arms: how many rows there are for each of the scarcest arm that matters: 1 where all rows are of one arm.
        effect: whether the target is an effect and not an outcome: fewer trees where rows are few.
        weight: float64[n], default all 1.
        monotone: int[p], as `constraints_of` gives; empty for none.
        objective, classes: LightGBM's.
    """
    an_arm = max(1, int(len(target) / arms))
    leaves = _LEAVES_OF_EFFECTS if effect else _LEAVES_OF_ROWS
    leaf = int(np.ceil(min(shape.leaf_rows, max(LEAST_LEAF, an_arm // leaves)) * arms))
    trees = min(shape.trees, max(LEAST_TREES, an_arm // _ROWS_A_TREE)) if effect else shape.trees
    settings = {
        "objective": objective, "num_leaves": shape.leaves, "min_data_in_leaf": leaf, "learning_rate": shape.rate,
        "lambda_l2": shape.l2, "max_bin": shape.bins, "seed": shape.seed, "num_threads": 1, "deterministic": True,
        "force_row_wise": block.shape[1] <= _NARROW, "force_col_wise": block.shape[1] > _NARROW, "verbosity": -1,
    }  # fmt: skip
    if classes > 1:
        settings["num_class"] = classes
    if any(monotone):
        settings["monotone_constraints"] = list(monotone)
    data = lightgbm.Dataset(block, target, weight=weight)
    return lightgbm.train(settings, data, trees)


def predicted(booster: lightgbm.Booster, block: Floats) -> Doubles:
    """float64[n] (or [n, classes]), on one thread; rows that are equal are asked about once where many are."""
    first, place = _distinct(block)
    found: Doubles = np.asarray(booster.predict(block[first], num_threads=1), np.float64)
    return found[place]


def _distinct(block: Floats) -> tuple[npt.NDArray[np.intp] | slice, npt.NDArray[np.intp] | slice]:
    """Rows that stand for all, and of each row its place among them; all rows where few in a sample are equal."""
    everything = slice(None), slice(None)
    if len(block) < 2 * _SAMPLE or not block.shape[1]:
        return everything
    rows = np.ascontiguousarray(block).view(np.dtype((np.void, block.dtype.itemsize * block.shape[1]))).ravel()
    if len(np.unique(rows[:: len(rows) // _SAMPLE])) > _SAMPLE / 2:
        return everything
    _, first, place = np.unique(rows, return_index=True, return_inverse=True)
    return first, place


def constraints_of(monotone: Mapping[str, int], names: Sequence[str]) -> list[int]:
    """int[p]: 0, 1 or -1 for each column.

    Raises:
        ConfigError: a column that there is not.
    """
    unknown = sorted({*monotone} - {*names})
    if unknown:
        raise ConfigError("a monotone constraint names no column", got=unknown, hint=f"columns: {', '.join(names)}")
    return [monotone.get(name, 0) for name in names] if monotone else []


def in_threads(
    work: Sequence[Callable[[], T]], *, threads: int = 0, progress: Callable[[int], None] = lambda done: None
) -> list[tuple[T, float]]:
    """Run independent fits at a time; LightGBM lets go of the interpreter while it works.

    Args:
        work: each must not depend on another.
        threads: 0 is as many as there are processors.
        progress: told how many were done since the last call.

    Returns:
        Of each its answer and the seconds of processor time that it took, in order.
    """

    def timed(each: Callable[[], T]) -> tuple[T, float]:
        began = time.thread_time()
        answer = each()
        return answer, time.thread_time() - began

    found: list[tuple[T, float]] = []
    with ThreadPoolExecutor(threads or _processors()) as pool:
        for future in [pool.submit(timed, each) for each in work]:
            found.append(future.result())
            progress(1)
    return found


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


Boosters = tuple[lightgbm.Booster | None, ...]
"""Of each action its booster, or None where it was taken too seldom to learn from."""
