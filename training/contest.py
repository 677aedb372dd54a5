"""Many recipes judged on the same customers, each by the very ranker that serves.

The recipes share one bundle that holds every source. A source is asked once for a customer however many recipes
listen to it: `Ranker.rank` runs unchanged, over sources that remember their last answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from features.history import Histories
from serving.bundle import Bundle
from serving.candidates import Proposals, Rows
from serving.query import Context, Query
from serving.ranker import Ranker
from serving.recipe import Recipe
from serving.sources import Source
from training.evaluate import FILTERS, KS, TASKS, Evaluation, Task, TaskResult, score_lists, slices_of
from training.split import Truth, Window

Weights = Mapping[Task, Mapping[str, float]]


@dataclass(frozen=True)
class Arena:
    """Where recipes are judged.

    Args:
        bundle: fitted up to the window's start, with every source that a recipe names.
        histories: all events, in the bundle's item rows.
        window: the judged window.
        truth: what was bought in it.
        regions: subject row -> region, where known.
    """

    bundle: Bundle
    histories: Histories
    window: Window
    truth: Truth
    regions: Mapping[int, str]


def weights_of(recipe: Recipe) -> Weights:
    """A recipe's weights by task, as the ranker would choose them."""
    return {"all": recipe.weights, "new": recipe.new_weights or recipe.weights}


def contest(
    arena: Arena, entries: Mapping[str, Weights], progress: Callable[[int], None] = lambda done: None
) -> dict[str, Evaluation]:
    """Judge all entries.

    Args:
        arena: bundle, window and truth.
        entries: name -> weights by task; a task that an entry leaves out is not judged for it.
        progress: told how many customers were done since the last call, once a task.

    Returns:
        name -> its evaluation; the same customers in the same order for all.
    """
    known = arena.histories.as_of(arena.window.start)
    ranker = Ranker(arena.bundle)
    ranker.sources = {name: Remembering(source) for name, source in ranker.sources.items()}
    results: dict[str, dict[Task, TaskResult]] = {name: {} for name in entries}
    for task in TASKS:
        asked = {name: weights[task] for name, weights in entries.items() if task in weights}
        truth = arena.truth if task == "all" else arena.truth.new()
        with threadpool_limits(1, "blas"):  # a customer's products are small: more threads only wait for each other
            lists = _lists(ranker, arena, known, task, asked, progress)
        for name, shown in lists.items():
            results[name][task] = score_lists(shown, truth, arena.bundle, known)
    slices = slices_of(known, arena.truth)
    return {
        name: Evaluation(name, arena.window, arena.truth.subjects, tasks, slices) for name, tasks in results.items()
    }


def repeat_items(arena: Arena, evaluation: Evaluation) -> TaskResult:
    """The lists of task `all`, scored against only what the customer had bought before: the slice *repeat items*."""
    known = arena.histories.as_of(arena.window.start)
    return score_lists(evaluation.tasks["all"].lists, arena.truth.repeated(), arena.bundle, known)


def sampled(truth: Truth, at_most: int, seed: int = 0) -> Truth:
    """Some of the customers, the same ones each time; all of them where they are no more than that."""
    if len(truth) <= at_most:
        return truth
    places = np.sort(np.random.default_rng(seed).choice(len(truth), at_most, replace=False))
    counts = truth.counts[places]
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
    picked = np.repeat(truth.indptr[places] - indptr[:-1], counts) + np.arange(int(counts.sum()))
    return replace(
        truth, subjects=truth.subjects[places], indptr=indptr, items=truth.items[picked], repeat=truth.repeat[picked]
    )


class Remembering:
    """A source that remembers its proposals for the query it was asked last."""

    def __init__(self, source: Source) -> None:
        self._source, self.name, self.personal = source, source.name, source.personal
        self._query: Query | None = None
        self._said: dict[int, Proposals] = {}

    def propose(self, query: Query, count: int) -> Proposals:
        """The source's proposals, asked for once a query and count."""
        if query is not self._query:
            self._query, self._said = query, {}
        if count not in self._said:
            self._said[count] = self._source.propose(query, count)
        return self._said[count]

    def causes(self, query: Query, items: Rows) -> Rows:
        """The source's own."""
        return self._source.causes(query, items)


def _lists(
    ranker: Ranker, arena: Arena, known: Histories, task: Task, asked: Mapping[str, Mapping[str, float]],
    progress: Callable[[int], None],
) -> dict[str, Rows]:  # fmt: skip
    """name -> int32[n, max(KS)]."""
    width = max(KS)
    lists = {name: np.full((len(arena.truth), width), -1, np.int32) for name in asked}
    for place, row in enumerate(arena.truth.subjects.tolist()):
        context = Context(region=arena.regions.get(row))
        query = Query(
            now=arena.window.start, history=known.at(row), num_results=width, filter=FILTERS[task], context=context
        )
        for name, slate in zip(asked, ranker.rank_each(query, list(asked.values())), strict=True):
            lists[name][place, : len(slate.items)] = slate.items
        progress(1)
    return lists
