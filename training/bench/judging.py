"""Judging as training does, for benchmarks: chosen on one window, fitted up to the other's start and judged on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from threadpoolctl import threadpool_limits

from features.dataset import Dataset
from features.errors import DataError
from features.history import Histories
from features.ids import Array
from serving.recipe import Recipe, SourceSpec
from serving.settings.shop import GateSettings, ModelSettings
from training.contest import Arena, contest, sampled, voices_of
from training.evaluate import Evaluation, Task
from training.fitting import Cut, fit_bundle
from training.meter import Meter, Tell, counted
from training.rankers import EFFORT, Rankers
from training.recipes import POPULARITY, Preset, menu
from training.selection import Choice, choose, with_rankers
from training.split import Window, truth_of

PRIMARY = "ndcg@20"
CHOSEN = "kokyaku"


@dataclass(frozen=True)
class Judgement:
    """What was chosen on one window, and how every recipe did on the other (`kokyaku` is the chosen one)."""

    choice: Choice
    cut: Cut
    arena: Arena
    found: dict[str, Evaluation]
    left_out: list[str]
    """What could not compete and why, as sentences."""
    learned: dict[str, dict[Task, Mapping[str, float]]]
    """Recipe with a ranker -> task -> column -> share of the gain of its trees."""


def judge(
    histories: Histories, chosen_on: Window, judged: Window, *, dataset: Dataset | None = None,
    preset: Preset = "full", tell: Tell = lambda what, done, total: None, meter: Meter | None = None,
) -> Judgement:  # fmt: skip
    """Choose on one window, fit up to the other's start and judge every recipe there."""
    meter, least = meter or Meter(), ModelSettings().min_customers
    cut_at = cache(lambda moment: Cut(histories, moment, min_customers=least, dataset=dataset))
    length = chosen_on.end - chosen_on.start
    rankers = Rankers(histories, cut_at, length, regions={}, effort=EFFORT[preset], tell=tell)
    with meter.step("choose"):
        choice, left_out = choose_on(cut_at(chosen_on.start), histories, chosen_on, rankers, preset, tell)
    with meter.step("fit"):
        cut = cut_at(judged.start)
        trees, failed = rankers.fit_all(choice.recipes, judged.start)
        arena = arena_of(cut, histories, judged, choice.sources, tell, "fit", trees)
    with meter.step("judge"), threadpool_limits(1, "blas"):
        progress = counted(tell, "judge", 2 * len(arena.truth))
        competing = [recipe for recipe in choice.recipes if recipe.name not in failed]
        found = contest(arena, {each.name: voices_of(each) for each in competing}, progress)
    left_out += [f"{name} is left out: {why}." for name, why in failed.items()]
    ranking = tuple(name for name in choice.ranking if name not in failed)
    choice = replace(choice, recipes=tuple(competing), ranking=ranking)
    found[CHOSEN] = found[ranking[0]]
    learned = {each.name: rankers.learned(each, judged.start) for each in competing if each.ranker is not None}
    return Judgement(choice, cut, arena, found, left_out, learned)


def choose_on(
    cut: Cut, histories: Histories, window: Window, rankers: Rankers, preset: Preset, tell: Tell,
    at_most: int | None = None,
) -> tuple[Choice, list[str]]:  # fmt: skip
    """Weights, rankers and the order of recipes by a window; and sentences on what was left out.

    Args:
        cut: what was known at the window's start.
        histories: all events.
        window: to choose on.
        rankers: fits those that compete.
        preset: how much to train.
        tell: hears `(what, done, total)`.
        at_most: customers of the window that are looked at; None: all.
    """
    customers, items = int((np.diff(cut.known.offsets) > 0).sum()), int(cut.listed.sum())
    listed = menu(ModelSettings(), preset=preset, customers=customers, items=items, texts=cut.texts is not None)
    for spec in listed.sources:
        try:
            cut.fit(spec, lambda done, total, name=spec.name: tell(f"fit (earlier window): {name}", done, total))  # type: ignore[misc]
        except DataError as error:
            listed = listed.without(spec.name, error.line())
    arena = arena_of(cut, histories, window, listed.sources, tell, "fit (earlier window)")
    if at_most is not None:
        arena = replace(arena, truth=sampled(arena.truth, at_most))
    with threadpool_limits(1, "blas"):
        choice = choose(listed, arena, PRIMARY, counted(tell, "choose (earlier window)", 2 * len(arena.truth)))
        progress = counted(tell, "choose a ranker (earlier window)", 2 * len(arena.truth))
        choice, notes = with_rankers(choice, arena, rankers, GateSettings(metric=PRIMARY), progress)
    return choice, [*listed.notes, *notes]


def arena_of(
    cut: Cut, histories: Histories, window: Window, sources: tuple[SourceSpec, ...], tell: Tell, what: str,
    rankers: Mapping[str, Array] | None = None,
) -> Arena:  # fmt: skip
    """All sources (and rankers) fitted on a cut in one bundle, and the customers of the window that starts there."""
    everything = Recipe("arena", sources, {POPULARITY: 1.0})
    bundle = fit_bundle(
        cut, everything, rankers=rankers, progress=lambda name, done, total: tell(f"{what}: {name}", done, total)
    )
    return Arena(bundle, histories, window, truth_of(histories, window, listed=cut.listed), {})
