"""The lists of the simulated shop's oracle, in the rows of an arena, through the metrics that recipes go through."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from features.history import Histories
from features.kinds import EventType
from training.contest import Arena
from training.evaluate import KS, TASKS, Evaluation, Task, TaskResult, score_lists, slices_of
from training.simulation.effects import Segment
from training.simulation.oracle import Oracle
from training.simulation.truth import STATIC, Truth

ORACLE = "oracle"
_WIDTH = max(KS)
Rows = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Chances:
    """An oracle's counts in the rows of an arena: a line a judged customer, a column an item.

    Args:
        all: float64[n, items], the share of runs in which the item was bought.
        runs: how many runs they are of.
    """

    all: npt.NDArray[np.float64]
    runs: int


def chances_of(arena: Arena, oracle: Oracle, counts: csr_array, runs: int) -> Chances:
    """The probabilities of the judged customers, by the arena's item rows; items of the shop not in it are dropped."""
    names = [arena.histories.subjects[row].removeprefix("c:") for row in arena.truth.subjects.tolist()]
    place = np.searchsorted(oracle.customers, [int(name.removeprefix("c")) for name in names])
    items = arena.histories.items
    column = np.array([int(name.removeprefix("i")) for name in items], np.int64)
    return Chances(counts[place].toarray()[:, column] / runs, runs)


def lists_of(chances: Chances, allowed: Mask) -> Rows:
    """int32[n, 20]: each customer's most probable items; ties by the mean over customers, then by row.

    Args:
        chances: of the customers.
        allowed: bool[n, items]; the rest is never shown.
    """
    mean = chances.all.mean(axis=0) if len(chances.all) else np.zeros(chances.all.shape[1])
    # one run's share is the least difference of two probabilities: less than that only breaks ties
    score = np.where(allowed, chances.all + mean / (2 * chances.runs), -1.0)
    order = np.argsort(-score, axis=1, kind="stable")[:, :_WIDTH]
    lists = np.full((len(score), _WIDTH), -1, np.int32)
    lists[:, : order.shape[1]] = np.where(np.take_along_axis(score, order, axis=1) >= 0, order, -1)
    return lists


def judged_oracle(arena: Arena, chances: Chances) -> Evaluation:
    """The oracle's lists through the metrics that the recipes go through."""
    known = arena.histories.as_of(arena.window.start)
    results: dict[Task, TaskResult] = {}
    for task in TASKS:
        allowed = np.broadcast_to(arena.bundle.catalogue, chances.all.shape).copy()
        if task == "new":
            allowed &= ~_bought_before(known, arena.truth.subjects)
        truth = arena.truth if task == "all" else arena.truth.new()
        results[task] = score_lists(lists_of(chances, allowed), truth, arena.bundle, known)
    return Evaluation(ORACLE, arena.window, arena.truth.subjects, results, slices_of(known, arena.truth))


def _bought_before(known: Histories, subjects: Rows) -> Mask:
    """bool[n, items]: what each customer is known to have bought."""
    bought = np.zeros((len(subjects), len(known.items)), np.bool_)
    for place, row in enumerate(subjects.tolist()):
        history = known.at(row)
        bought[place, history.item[(history.type == EventType.PURCHASE) & (history.item >= 0)]] = True
    return bought


def segments_of(arena: Arena, truth: Truth) -> dict[str, Mask]:
    """Hidden segment -> bool[n]: which judged customers belong to it; and those that belong to none."""
    names = [arena.histories.subjects[row].removeprefix("c:") for row in arena.truth.subjects.tolist()]
    code = np.array([int(truth.situation(name)) for name in names], np.int64)
    found = {str(flag.name).lower(): (code & int(flag)) > 0 for flag in Segment if flag & STATIC}
    return {**found, "none": (code & int(STATIC)) == 0}
