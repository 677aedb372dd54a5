"""Choosing on the earlier window: weights of blends, the order of recipes, the variety of lists, and what feeds pages.

The judged window is not looked at here, so that what the gate reads from it is not what was picked from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np

from features.errors import DataError
from serving.recipe import Recipe, SourceSpec
from serving.scoring import Weights
from serving.settings.shop import GateSettings
from training.contest import Arena, Voices, contest, voices_of
from training.evaluate import Evaluation, Task
from training.intervals import mean
from training.rankers import Rankers, ranked
from training.recipes import BASELINES, FREQUENCY, POPULARITY, SESSION, Blend, Menu
from training.variety import TradeOff, trade_off
from training.voices import voices_for
from training.worth import Loss, worth_hearing
from training.worth import told as losses_told

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
        variety: what the lists of the first of the ranking trade off, and what else was tried; None where nothing was.
        losses: voice -> what a ranker's lists lose without it, for each that was tried.
    """

    sources: tuple[SourceSpec, ...]
    recipes: tuple[Recipe, ...]
    ranking: tuple[str, ...]
    means: Means
    feeders: tuple[str, ...]
    variety: TradeOff | None = None
    losses: Mapping[str, Loss] = field(default_factory=dict)


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
    choice: Choice, arena: Arena, rankers: Rankers, settings: GateSettings,
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[Choice, list[str]]:  # fmt: skip
    """The choice with rankers beside the rest, judged on the same customers.

    Args:
        choice: the sources that were fitted, and the blends; the best recipe gives a ranker its weights for where its
            trees may not be asked.
        arena: of the earlier window.
        rankers: fits them on the windows before it.
        settings: the gate's metric, guard and intervals.
        progress: told how many customers were done.

    Returns:
        The choice, and sentences on what was left out and why.
    """
    base = next(recipe for recipe in choice.recipes if recipe.name == choice.ranking[0])
    voices, notes, losses = voices_of_rankers(base, choice.sources, arena, rankers, settings)
    choice = replace(choice, losses=losses)
    candidates = [
        recipe
        for recipe in ranked(base, choice.sources, voices, rankers.tuned)
        if recipe.name in rankers.effort.competing
    ]
    arrays, failed = rankers.fit_all(candidates, arena.window.start)
    recipes = [recipe for recipe in candidates if recipe.name not in failed]
    notes += [f"{name} is left out: {why}." for name, why in failed.items()]
    if not recipes:
        return choice, notes
    found = contest(arena.seeing(arrays), {recipe.name: voices_of(recipe) for recipe in recipes}, progress)
    means = {**choice.means, **{name: _means(each, settings.metric) for name, each in found.items()}}
    return replace(choice, **_ordered((*choice.recipes, *recipes), means)), notes


def voices_of_rankers(
    base: Recipe, sources: Sequence[SourceSpec], arena: Arena, rankers: Rankers, settings: GateSettings
) -> tuple[list[str], list[str], dict[str, Loss]]:
    """The sources that rankers listen to, sentences on the others, and what lists lose without those that were tried.

    Args:
        base: the blend that a ranker stands in for.
        sources: all that were fitted.
        arena: of the earlier window, with all of them.
        rankers: know the windows before it, which the sources must be fitted for too.
        settings: the gate's metric, guard and intervals.
    """
    named = [spec.name for spec in sources if spec.name != SESSION]
    voices, notes = voices_for(arena, named, rankers.tell)
    if len(named) < len(sources):
        notes.append(f"No ranker listens to {SESSION}: when a window starts nobody is there to be asked about.")
    unfit = rankers.unfit([spec for spec in sources if spec.name in voices], arena.window.start)
    notes += [f"No ranker listens to {name}: {why}." for name, why in unfit.items()]
    voices = [name for name in voices if name not in unfit]
    losses: dict[str, Loss] = {}
    with suppress(DataError):  # it cannot be fitted: `fit_all` says so
        first = ranked(base, sources, voices, rankers.tuned)[0]
        voices, losses = worth_hearing(first, arena, rankers, settings)
    return voices, [*notes, *losses_told(losses)], losses


def with_variety(
    choice: Choice, arena: Arena, rankers: Rankers, settings: GateSettings,
    progress: Callable[[int], None] = lambda done: None,
) -> Choice:  # fmt: skip
    """The choice with the best recipe's lists as varied as its accuracy allows; a plain baseline stays plain.

    Args:
        choice: with its ranking.
        arena: of the earlier window.
        rankers: remember the trees that were fitted for it.
        settings: the gate's metric and intervals.
        progress: told how many customers were done, twice a task.
    """
    best = next(recipe for recipe in choice.recipes if recipe.name == choice.ranking[0])
    if best.name in BASELINES:
        return choice
    arrays, _ = rankers.fit_all([best], arena.window.start)
    found = trade_off(arena.seeing(arrays), best, settings, progress)
    varied = msgspec.structs.replace(best, selection=found.chosen)
    return replace(choice, recipes=tuple(varied if each is best else each for each in choice.recipes), variety=found)


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
    """Repeat purchase, the neighbours that find new items best, the session: what pages and related items need."""
    near = [spec.name for spec in menu.sources if spec.kind == "neighbours"]
    near.sort(key=lambda name: -_known(means.get(name, {}).get("new")))
    return (FREQUENCY, *near[:1], *(spec.name for spec in menu.sources if spec.name == SESSION))


def _known(value: float | None) -> float:
    return -1.0 if value is None or not np.isfinite(value) else value
