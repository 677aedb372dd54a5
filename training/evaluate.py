"""Evaluation: replay the serving pipeline for each customer of a window, and score what it would have shown.

The very `Ranker` that serves is asked, as of the window's start, over the full catalogue; there are no sampled
negatives. What a bundle is given here is what it is given in production: the customer's own history and region.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from features.errors import ConfigError
from features.history import Histories
from features.kinds import EventType
from serving.bundle import Bundle
from serving.query import Context, Filter, Query
from serving.ranker import Ranker
from training import intervals
from training.intervals import Interval
from training.metrics import category_coverage, coverage, intra_list_diversity, novelty, scores
from training.split import Truth, Window, customers

Task = Literal["all", "new"]
TASKS: tuple[Task, ...] = ("all", "new")
KS = (10, 20)
COLD = 10
"""Customers with fewer purchases are cold."""
Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int32]
FILTERS: Mapping[Task, Filter] = {"all": Filter(in_stock=False), "new": Filter(exclude=("purchased",), in_stock=False)}
"""Stock of the past is not known, so it filters nothing here."""


@dataclass(frozen=True)
class TaskResult:
    """One recipe on one task.

    Args:
        lists: int32[n, k], the ranked items of each customer, padded with -1.
        by_customer: `ndcg@20` ... -> float64[n], NaN where the customer has nothing to find.
        overall: figures of all lists together: `coverage@k`.
    """

    lists: Rows
    by_customer: Mapping[str, Floats]
    overall: Mapping[str, float]


@dataclass(frozen=True)
class Evaluation:
    """One recipe on one window.

    Args:
        recipe: its name.
        window: when.
        subjects: int32[n], rows of the judged customers in the histories.
        tasks: results by task.
        slices: slice -> bool[n], groups of customers that reports show apart.
    """

    recipe: str
    window: Window
    subjects: Rows
    tasks: Mapping[Task, TaskResult]
    slices: Mapping[str, npt.NDArray[np.bool_]]


def evaluate(
    bundle: Bundle,
    histories: Histories,
    window: Window,
    truth: Truth,
    *,
    tasks: Sequence[Task] = TASKS,
    weights: Mapping[Task, Mapping[str, float]] | None = None,
    regions: Mapping[int, str] | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Evaluation:
    """Judge a bundle's recipe on a window.

    Args:
        bundle: fitted up to the window's start, over the histories' own item rows.
        histories: all events; only what was known at the window's start is shown to the ranker.
        window: the judged window.
        truth: what was bought in it (`training.split.truth_of`).
        tasks: `all` purchases, and `new`: items the customer never bought before.
        weights: judge these weights instead of the recipe's, by task.
        regions: subject row -> region, where known.
        progress: told how many customers were done since the last call.
    """
    known = histories.as_of(window.start)
    ranker = Ranker(bundle)
    results = {}
    for task in tasks:
        asked = (weights or {}).get(task)
        with threadpool_limits(1, "blas"):  # as in a worker: threads cost more than such small matrices give back
            lists = ranked_lists(
                ranker, known, truth.subjects, window.start, FILTERS[task], asked, regions or {}, progress
            )
        results[task] = score_lists(lists, truth if task == "all" else truth.new(), bundle, known)
    return Evaluation(bundle.recipe.name, window, truth.subjects, results, slices_of(known, truth))


def ranked_lists(
    ranker: Ranker,
    known: Histories,
    subjects: Rows,
    now: int,
    wanted: Filter,
    weights: Mapping[str, float] | None,
    regions: Mapping[int, str],
    progress: Callable[[int], None],
) -> Rows:
    """int32[n, max(KS)]: what each subject would have been shown; -1 where a list is shorter."""
    width = max(KS)
    lists = np.full((len(subjects), width), -1, np.int32)
    for place, row in enumerate(subjects.tolist()):
        context = Context(region=regions.get(row))
        query = Query(now=now, history=known.at(row), num_results=width, filter=wanted, context=context)
        found = ranker.rank(query, weights).items
        lists[place, : len(found)] = found
        progress(1)
    return lists


def score_lists(lists: Rows, truth: Truth, bundle: Bundle, known: Histories) -> TaskResult:
    """Metrics of lists against what was bought."""
    buyers = bundle.shared.buyers.astype(np.int64)
    buying = int((purchases(known)[customers(known.subjects)] > 0).sum())
    by_customer = {
        **scores(lists, truth, KS),
        **{f"novelty@{k}": novelty(lists, buyers, buying, k) for k in KS},
    }
    categories, longest = bundle.shared.category, max(KS)
    if (categories >= 0).any():
        by_customer[f"diversity@{longest}"] = intra_list_diversity(lists, categories, longest)
        by_customer[f"category-coverage@{longest}"] = category_coverage(lists, categories, longest)
    size = int(bundle.catalogue.sum())
    return TaskResult(lists, by_customer, {f"coverage@{k}": coverage(lists, size, k) for k in KS})


def slices_of(known: Histories, truth: Truth) -> dict[str, npt.NDArray[np.bool_]]:
    """Groups of customers: light, middling and heavy buyers by tertile, and those known for under ten purchases."""
    counts = purchases(known)[truth.subjects]
    if not len(counts):
        return {}
    low, high = np.quantile(counts, [1 / 3, 2 / 3])
    return {
        "light customers": counts <= low,
        "middling customers": (counts > low) & (counts <= high),
        "heavy customers": counts > high,
        "cold customers (under 10 purchases)": counts < COLD,
        "warm customers": counts >= COLD,
    }


def purchases(known: Histories) -> npt.NDArray[np.int64]:
    """int64[subjects]: how many purchases each is known for."""
    bought = np.cumsum(known.events.type == EventType.PURCHASE, dtype=np.int64)
    return np.diff(np.concatenate([np.zeros(1, np.int64), bought])[known.offsets])


def compare(
    mine: Evaluation, other: Evaluation, metric: str, task: Task, *, resamples: int = 2000, confidence: float = 0.95
) -> Interval:
    """The mean of (mine - other) over the customers of a window, paired, with its interval.

    Raises:
        ConfigError: the two were not judged on the same customers of the same window.
    """
    if mine.window != other.window or not np.array_equal(mine.subjects, other.subjects):
        raise ConfigError("only recipes judged on the same customers can be compared", got=(mine.recipe, other.recipe))
    ours, theirs = (each.tasks[task].by_customer[metric] for each in (mine, other))
    return intervals.compare(ours, theirs, resamples=resamples, confidence=confidence)
