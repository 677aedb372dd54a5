"""Many recipes judged on the same customers, each by the very ranker that serves.

The recipes share one bundle that holds every source. A source is asked once for a customer however many recipes
listen to it: `Ranker.rank` runs unchanged, over sources that remember their last answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from features.history import Histories, History
from features.ids import Array
from serving.bundle import Bundle
from serving.business import PLAIN
from serving.candidates import Opinion, Rows
from serving.query import Context, Query
from serving.ranker import Ranker, Voice
from serving.recipe import Breadth, Recipe, SelectionSpec, as_json
from serving.sources import Source
from training.evaluate import FILTERS, KS, TASKS, Evaluation, Task, TaskResult, score_lists, slices_of
from training.parallel import in_parts
from training.split import Truth, Window, truth_of

Voices = Mapping[Task, Voice]
"""Who orders the candidates of each task: weights of a blend, or a ranker of the bundle."""


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

    def broad(self, breadth: Breadth) -> Arena:
        """The same place, where so many candidates are considered."""
        recipe = self.bundle.recipe.broad(breadth)
        return replace(self, bundle=Bundle({**self.bundle.manifest, "recipe": as_json(recipe)}, self.bundle.arrays))

    def seeing(self, trees: Mapping[str, Array]) -> Arena:
        """The same place, with the trees of rankers in its bundle."""
        return replace(self, bundle=Bundle(self.bundle.manifest, {**self.bundle.arrays, **trees}))

    def crowded(self, at_most: int) -> Arena:
        """The same place, with more of its customers: all, or so many of them, the same ones each time."""
        truth = truth_of(self.histories, self.window, listed=self.bundle.catalogue)
        return replace(self, truth=sampled(truth, at_most))


def voices_of(recipe: Recipe) -> Voices:
    """Who orders by task, as the service would choose."""
    return {
        "all": recipe.ranker or recipe.weights,
        "new": recipe.ranker or recipe.new_weights or recipe.weights,
    }


def contest(
    arena: Arena, entries: Mapping[str, Voices], progress: Callable[[int], None] = lambda done: None,
    selections: Mapping[str, SelectionSpec] | None = None,
) -> dict[str, Evaluation]:  # fmt: skip
    """Judge all entries.

    Args:
        arena: bundle, window and truth.
        entries: name -> voices by task; a task that an entry leaves out is not judged for it.
        progress: told how many customers were done since the last call, once a task.
        selections: name -> what its lists trade off; by default nothing. Entries that share a voice share its scores.

    Returns:
        name -> its evaluation; the same customers in the same order for all.
    """
    known = arena.histories.as_of(arena.window.start)
    lists = _lists(arena, known, entries, selections or {}, progress)
    truths = {"all": arena.truth, "new": arena.truth.new()}
    slices = slices_of(known, arena.truth)
    return {
        name: Evaluation(name, arena.window, arena.truth.subjects, {
            task: score_lists(shown, truths[task], arena.bundle, known) for task, shown in by_task.items()
        }, slices)
        for name, by_task in lists.items()
    }  # fmt: skip


def contest_of(
    arena: Arena, recipes: Mapping[str, Recipe], progress: Callable[[int], None] = lambda done: None
) -> dict[str, Evaluation]:  # fmt: skip
    """Judge recipes as each would serve: its voices, its trade-off, as many candidates as it considers.

    Args:
        arena: bundle, window and truth.
        recipes: by the name that each is judged under; its trees are in the bundle.
        progress: told how many customers were done, once a task for each breadth.
    """
    found: dict[str, Evaluation] = {}
    for breadth in breadths_of(recipes):
        own = {name: each for name, each in recipes.items() if each.breadth == breadth}
        voices = {name: voices_of(each) for name, each in own.items()}
        selections = {name: each.selection for name, each in own.items()}
        found |= contest(arena.broad(breadth), voices, progress, selections)
    return {name: found[name] for name in recipes}


def breadths_of(recipes: Mapping[str, Recipe]) -> list[Breadth]:
    """How many candidates the recipes consider: a champion of old may consider more."""
    return list(dict.fromkeys(each.breadth for each in recipes.values()))


def question(arena: Arena, row: int, history: History, task: Task, num_results: int) -> Query:
    """What the service is asked about a subject at the start of an arena's window.

    Args:
        arena: with the window and the regions.
        row: of the subject.
        history: what is shown of the subject; one object for all tasks, so that sources that remember are asked once.
        task: what is filtered.
        num_results: length of the list.
    """
    return Query(
        now=arena.window.start, history=history, num_results=num_results, filter=FILTERS[task],
        context=Context(region=arena.regions.get(row)),
    )  # fmt: skip


def questions(
    arena: Arena, known: Histories, subjects: Rows, places: range, num_results: int
) -> Iterator[tuple[int, Task, Query]]:
    """`question` for some of the subjects, both tasks of one side by side: sources that remember are asked once.

    Args:
        arena: with the window and the regions.
        known: histories as of its start.
        subjects: int32[n], rows.
        places: among `subjects`, whom to ask about.
        num_results: length of the lists.

    Yields:
        The place, the task, the question.
    """
    for place in places:
        row = int(subjects[place])
        history = known.at(row)
        for task in TASKS:
            yield place, task, question(arena, row, history, task, num_results)


def repeat_items(arena: Arena, evaluation: Evaluation) -> TaskResult:
    """The lists of task `all`, scored against only what the customer had bought before: the slice *repeat items*."""
    known = arena.histories.as_of(arena.window.start)
    return score_lists(evaluation.tasks["all"].lists, arena.truth.repeated(), arena.bundle, known)


def sampled(truth: Truth, at_most: int, seed: int = 0) -> Truth:
    """Some of the customers, the same ones each time; all of them where they are no more than that."""
    if len(truth) <= at_most:
        return truth
    return truth.take(np.sort(np.random.default_rng(seed).choice(len(truth), at_most, replace=False)))


def remembering(ranker: Ranker) -> Ranker:
    """The ranker over sources that remember what they said last; for many questions about one history in a row."""
    ranker.sources = {name: Remembering(source) for name, source in ranker.sources.items()}
    return ranker


class Remembering:
    """A source that remembers its opinion of the history it was asked about last, whatever the filter."""

    def __init__(self, source: Source) -> None:
        self._source, self.name, self.personal = source, source.name, source.personal
        self._asked: Query | None = None
        self._said = Opinion.none()

    def opine(self, query: Query) -> Opinion:
        """The source's opinion, asked for once a history."""
        if self._asked is None or not _alike(query, self._asked):
            self._asked, self._said = query, self._source.opine(query)
        return self._said

    def causes(self, query: Query, items: Rows) -> Rows:
        """The source's own."""
        return self._source.causes(query, items)


def _alike(query: Query, other: Query) -> bool:
    """Whether a source hears the same question: it reads no filter and no number of results."""
    same = query.history is other.history and query.now == other.now
    return same and query.context == other.context and query.anchors == other.anchors


def _lists(
    arena: Arena, known: Histories, entries: Mapping[str, Voices], selections: Mapping[str, SelectionSpec],
    progress: Callable[[int], None],
) -> dict[str, dict[Task, Rows]]:  # fmt: skip
    """name -> task -> int32[n, max(KS)]; the tasks of one customer side by side, so that a source is asked once."""
    width, ranker = max(KS), remembering(Ranker(arena.bundle))
    asked = {task: {name: voices[task] for name, voices in entries.items() if task in voices} for task in TASKS}
    traded = {task: [selections.get(name, PLAIN) for name in asked[task]] for task in TASKS}

    def shown(places: range) -> dict[Task, dict[str, Rows]]:
        lists = {task: {name: np.full((len(places), width), -1, np.int32) for name in asked[task]} for task in TASKS}
        for place, task, query in questions(arena, known, arena.truth.subjects, places, width):
            slates = ranker.rank_each(query, list(asked[task].values()), traded[task])
            for name, slate in zip(asked[task], slates, strict=True):
                lists[task][name][place - places.start, : len(slate.items)] = slate.items
        return lists

    parts = in_parts(shown, len(arena.truth), lambda done: progress(2 * done))
    nothing = np.empty((0, width), np.int32)
    return {
        name: {task: np.concatenate([nothing, *(part[task][name] for part in parts)]) for task in TASKS if task in own}
        for name, own in entries.items()
    }
