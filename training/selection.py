"""Choosing on the earlier window: the weights of blends, the order of recipes, and which sources feed pages.

The judged window is not looked at here, so that what the gate reads from it is not what was picked from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from serving.bundle import Bundle
from serving.recipe import Recipe, SourceSpec
from serving.scoring import Weights
from training.contest import Arena, Voices, contest, voices_of
from training.evaluate import Evaluation, Task
from training.rankers import Rankers, ranked
from training.recipes import FREQUENCY, POPULARITY, Blend, Menu

SILENT = ("bpr", "content", "co-purchase")
"""Sources that no ranker listens to yet: BPR is the weakest model, and what the other two add was not measured."""
Means = Mapping[str, Mapping[Task, float]]


@dataclass(frozen=True)
class Choice:
    """What the earlier window says.

    Args:
        sources: all that they are made of.
        recipes: everything that competes, blends with their weights.
        ranking: their names, best first.
        means: entry -> task -> mean of the gate's metric, for every weight that was tried; NaN where undefined.
        feeders: sources that pages use besides the winner's own.
    """

    sources: tuple[SourceSpec, ...]
    recipes: tuple[Recipe, ...]
    ranking: tuple[str, ...]
    means: Means
    feeders: tuple[str, ...]


def choose(
    menu: Menu, arena: Arena, metric: str, progress: Callable[[int], None] = lambda done: None
) -> Choice:  # fmt: skip
    """Try every recipe and every weight of every blend on the arena, and choose.

    Args:
        menu: what competes.
        arena: fitted up to the earlier window's start.
        metric: e.g. `ndcg@20`.
        progress: told how many customers were done.
    """
    entries: dict[str, Voices] = {recipe.name: voices_of(recipe) for recipe in menu.recipes}
    for blend in menu.blends:
        entries |= trials(blend)
    results = contest(arena, entries, progress)
    means = {name: _means(evaluation, metric) for name, evaluation in results.items()}
    blends = [_chosen(menu, blend, means) for blend in menu.blends]
    return conclude(menu, (*menu.recipes, *(recipe for recipe, _ in blends)), {
        **means, **{recipe.name: own for recipe, own in blends},
    })  # fmt: skip


def with_rankers(
    choice: Choice, arena: Arena, rankers: Rankers, metric: str, progress: Callable[[int], None] = lambda done: None
) -> tuple[Choice, list[str]]:
    """The choice with rankers beside the rest, judged on the same customers.

    Args:
        choice: the sources that were fitted, and the blends; the best recipe gives a ranker its weights for where its
            trees may not be asked.
        arena: of the earlier window.
        rankers: fits them on the windows before it.
        metric: e.g. `ndcg@20`.
        progress: told how many customers were done.

    Returns:
        The choice, and sentences on what was left out and why.
    """
    base = next(recipe for recipe in choice.recipes if recipe.name == choice.ranking[0])
    voices = [spec.name for spec in choice.sources if spec.name not in SILENT]
    candidates = ranked(base, choice.sources, voices, rankers.tuned)
    arrays, failed = rankers.fit_all(candidates, arena.window.start)
    recipes = [recipe for recipe in candidates if recipe.name not in failed]
    notes = [f"{name} is left out: {why}." for name, why in failed.items()]
    if not recipes:
        return choice, notes
    seeing = replace(arena, bundle=Bundle(arena.bundle.manifest, {**arena.bundle.arrays, **arrays}))
    found = contest(seeing, {recipe.name: voices_of(recipe) for recipe in recipes}, progress)
    means = {**choice.means, **{name: _means(each, metric) for name, each in found.items()}}
    return replace(choice, **_ordered((*choice.recipes, *recipes), means)), notes


def unchosen(menu: Menu) -> Choice:
    """Without a window to choose on: the plain recipes in the order of the menu."""
    plain = {recipe.name: {"all": np.nan, "new": np.nan} for recipe in menu.recipes}
    return conclude(menu, menu.recipes, plain)  # type: ignore[arg-type]  # tasks are literals


def conclude(menu: Menu, recipes: tuple[Recipe, ...], means: Means) -> Choice:
    """Rank by all purchases, then by new items; what is undefined comes last, in the menu's order."""
    return Choice(sources=menu.sources, feeders=_feeders(menu, means), **_ordered(recipes, means))


def _ordered(recipes: tuple[Recipe, ...], means: Means) -> dict[str, Any]:
    """The parts of a choice that say who competes and in which order."""

    def key(recipe: Recipe) -> tuple[float, float]:
        own = means[recipe.name]
        return -_known(own.get("all")), -_known(own.get("new"))

    ranking = tuple(recipe.name for recipe in sorted(recipes, key=key))
    return {"recipes": recipes, "ranking": ranking, "means": means}


def _means(evaluation: Evaluation, metric: str) -> dict[Task, float]:
    return {task: mean(result.by_customer[metric]) for task, result in evaluation.tasks.items()}


def trials(blend: Blend) -> dict[str, Mapping[Task, Weights]]:
    """The weights of a blend to try: on all purchases beside frequency, on new items beside popularity."""
    tried: dict[str, Mapping[Task, Weights]] = {}
    for weight in blend.weights:
        weights = {FREQUENCY: 1.0, blend.model: weight} if weight else {FREQUENCY: 1.0}
        tried[f"{blend.name} {weight:g}"] = {"all": weights}
    for floor in blend.floors:
        weights = {blend.model: 1.0, POPULARITY: floor} if floor else {blend.model: 1.0}
        tried[f"{blend.name} new {floor:g}"] = {"new": weights}
    return tried


def mean(scores: np.typing.NDArray[np.float64]) -> float:
    """Mean of the defined scores; NaN without any."""
    defined = scores[np.isfinite(scores)]
    return float(defined.mean()) if len(defined) else float("nan")


def _chosen(menu: Menu, blend: Blend, means: Means) -> tuple[Recipe, Mapping[Task, float]]:
    """The best weights of a blend; the smaller weight where two are equal."""
    mine = trials(blend)
    best: dict[Task, str] = {
        task: max((name for name in mine if task in mine[name]), key=lambda name: _known(means[name].get(task)))
        for task in ("all", "new")
    }  # fmt: skip
    weights = {task: mine[name][task] for task, name in best.items()}
    own: dict[Task, float] = {task: means[name][task] for task, name in best.items()}
    return menu.recipe(blend.name, weights["all"], weights["new"]), own


def _feeders(menu: Menu, means: Means) -> tuple[str, ...]:
    """Repeat purchase, and the neighbours that find new items best: what pages and related items need."""
    near = [spec.name for spec in menu.sources if spec.kind == "neighbours"]
    near.sort(key=lambda name: -_known(means.get(name, {}).get("new")))
    return (FREQUENCY, *near[:1])


def _known(value: float | None) -> float:
    return -1.0 if value is None or not np.isfinite(value) else value
