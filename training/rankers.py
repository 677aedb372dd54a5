"""Rankers as of any moment: the examples of the windows before it, remembered, and the trees that come of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec
import numpy as np

from features.errors import DataError
from features.history import Histories
from features.ids import Array
from features.kinds import EventType
from features.moments import format_instant
from serving.recipe import USUAL, Breadth, RankerSpec, Recipe, SourceSpec
from training.contest import Arena, sampled
from training.evaluate import TASKS, Task
from training.examples import Examples, examples_of
from training.fitting import Cut, fit_bundle
from training.interactions import Fitted
from training.meter import Tell, counted
from training.params import Named, overlaid
from training.ranking import RankerParams, fit_ranker, params_of
from training.recipes import POPULARITY, Preset
from training.split import Window, last_windows, truth_of

OBJECTIVES: Mapping[str, Literal["binary", "lambdarank"]] = {"ranker": "binary", "ranker-order": "lambdarank"}
"""Recipes with a ranker, and what each learns."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much rankers learn from.

    Args:
        customers: of each window, at most; always the same ones.
        windows: before the moment. Every source is fitted once more for each.
        competing: names of the recipes, of `OBJECTIVES`.
    """

    customers: int
    windows: int = 3
    competing: tuple[str, ...] = tuple(OBJECTIVES)


EFFORT: Mapping[Preset, Effort] = {"quick": Effort(1000, 3, ("ranker",)), "full": Effort(4000, 5)}
"""By preset. The quick one leaves the order alone (lambdarank) out: it doubles the fits for little. Of two shops it was
better on one, by 0.005 of NDCG@20, and equal on the other. From two windows to five, new items gained 0.009 on one shop
and 0.001 on the other, all purchases next to nothing."""


@dataclass
class Rankers:
    """Fits rankers and remembers examples and fits.

    Args:
        histories: all events.
        cut_at: what was known at a moment; asked for the start of each window of examples.
        length: of a window, microseconds.
        regions: subject row -> region, where known.
        effort: how much they learn from.
        threads: of LightGBM; 0 is all cores.
        tuned: recipe -> parameters that tuning found better than the defaults.
        tell: hears `(what, done, total)`.
    """

    histories: Histories
    cut_at: Callable[[int], Cut]
    length: int
    regions: Mapping[int, str]
    effort: Effort
    threads: int = 0
    tuned: Mapping[str, Named] = field(default_factory=dict)
    tell: Tell = field(default=lambda what, done, total: None)
    _examples: dict[tuple[Window, bytes], dict[Task, Examples]] = field(default_factory=dict)
    _fitted: dict[tuple[bytes, int], dict[Task, Fitted]] = field(default_factory=dict)

    def aside(self) -> Rankers:
        """The same, for trials, of which there are many: fits are remembered for both, examples are not."""
        return replace(self, _examples={})

    def fit(
        self, spec: RankerSpec, sources: Sequence[SourceSpec], as_of: int, breadth: Breadth = USUAL
    ) -> dict[str, Array]:
        """The arrays of a ranker learned from the windows that end at or before a moment.

        Args:
            spec: what to fit.
            sources: where the voices are specified.
            as_of: nothing that happens at this instant or later is looked at.
            breadth: how many candidates are considered where the trees will serve.

        Returns:
            `ranker.<name>.<task>.<array>` -> array.

        Raises:
            DataError: the past is too short, or too few customers bought anything.
        """
        found = self.fitted(spec, sources, as_of, breadth)
        return {
            f"ranker.{spec.name}.{task}.{name}": array
            for task, fitted in found.items()
            for name, array in fitted.arrays.items()
        }

    def fit_all(self, recipes: Iterable[Recipe], as_of: int) -> tuple[dict[str, Array], dict[str, str]]:
        """The arrays of all recipes that have a ranker; and why, for each recipe whose ranker cannot be fitted."""
        arrays: dict[str, Array] = {}
        failed: dict[str, str] = {}
        for recipe in recipes:
            if recipe.ranker is not None:
                try:
                    arrays |= self.fit(recipe.ranker, recipe.sources, as_of, recipe.breadth)
                except DataError as error:
                    failed[recipe.name] = error.line()
        return arrays, failed

    def unfit(self, voices: Sequence[SourceSpec], as_of: int) -> dict[str, str]:
        """Why, for each source that cannot be fitted for all windows that a ranker learns from."""
        failed: dict[str, str] = {}
        with suppress(DataError):  # the past is too short: `fit_all` says so
            for window in self.windows(as_of):
                cut = self.cut_at(window.start)
                for spec in voices:
                    try:
                        cut.fit(spec)
                    except DataError as error:
                        failed[spec.name] = f"as of {format_instant(window.start)[:10]} {error.line()}"
                cut.rest()
        return failed

    def learned(self, recipe: Recipe, as_of: int) -> dict[Task, Mapping[str, float]]:
        """Task -> column -> share of the gain of a recipe's trees; empty where a blend ranks."""
        if recipe.ranker is None:
            return {}
        found = self.fitted(recipe.ranker, recipe.sources, as_of, recipe.breadth)
        return {task: each.figures for task, each in found.items()}

    def fitted(
        self, spec: RankerSpec, sources: Sequence[SourceSpec], as_of: int, breadth: Breadth = USUAL
    ) -> dict[Task, Fitted]:
        """By task, what `fit` returns as arrays, with the figures of the fit."""
        voices = [source for source in sources if source.name in spec.voices]
        if len(voices) < len(spec.voices):
            gone = sorted({*spec.voices} - {source.name for source in voices})
            raise DataError("a source that the ranker listens to is not there", where=spec.name, got=gone)
        # Not by name: a champion that differs only in what its lists trade off has the same trees.
        essence = msgspec.structs.replace(spec, name="")
        key = msgspec.json.encode((essence, params_of(spec), voices, breadth), order="sorted"), as_of
        if key not in self._fitted:
            windows = self.windows(as_of)
            seen = [self.examples(window, spec.voices, voices, breadth) for window in windows]
            self._fitted[key] = {
                task: fit_ranker(Examples.together([each[task] for each in seen]), spec, threads=self.threads)
                for task in TASKS
            }
        return self._fitted[key]

    def windows(self, as_of: int) -> list[Window]:
        """The windows to learn from, oldest first: those with at least one window of purchases before them.

        Raises:
            DataError: there is none.
        """
        bought = self.histories.events.time[self.histories.events.type == EventType.PURCHASE]
        first = int(bought.min(initial=as_of)) + self.length
        windows = [window for window in last_windows(as_of, self.length, self.effort.windows) if window.start >= first]
        if not windows:
            raise DataError("the past is too short for a ranker", hint="it needs two windows before the judged one")
        return windows

    def examples(
        self, window: Window, names: Sequence[str], voices: Sequence[SourceSpec], breadth: Breadth = USUAL
    ) -> dict[Task, Examples]:
        """The examples of one window."""
        key = window, msgspec.json.encode((names, voices, breadth), order="sorted")
        if key not in self._examples:
            cut = self.cut_at(window.start)
            what = f"examples of {np.datetime64(window.start, 'us').astype('datetime64[D]')}"
            self.tell(what, 0, 1)
            floor = [] if any(spec.name == POPULARITY for spec in voices) else [SourceSpec(POPULARITY, POPULARITY)]
            bundle = fit_bundle(cut, Recipe("arena", (*voices, *floor), {POPULARITY: 1.0}))
            truth = sampled(truth_of(self.histories, window, listed=cut.listed), self.effort.customers)
            arena = Arena(bundle, self.histories, window, truth, self.regions).broad(breadth)
            cut.rest()
            self._examples[key] = examples_of(arena, names, progress=counted(self.tell, what, len(truth)))
        return self._examples[key]


def ranked(
    base: Recipe, sources: Sequence[SourceSpec], voices: Sequence[str], tuned: Mapping[str, Named] | None = None
) -> list[Recipe]:  # fmt: skip
    """Recipes whose trees order the candidates of some sources; `base` gives the weights of where they may not.

    Args:
        base: the best blend.
        sources: all that are fitted.
        voices: names of those to listen to.
        tuned: recipe -> parameters that tuning found better than the defaults.

    Raises:
        ConfigError: a tuned parameter that rankers do not have.
    """
    defaults = msgspec.to_builtins(RankerParams())
    wanted = {*voices, *base.weights, *base.new_weights, base.fill}
    specs = tuple(spec for spec in sources if spec.name in wanted)
    recipes = []
    for name, objective in OBJECTIVES.items():
        params = overlaid(defaults, (tuned or {}).get(name, {}), where=f"tuned parameters of {name}")
        spec = RankerSpec(name, objective, tuple(voices), params)
        recipes.append(msgspec.structs.replace(base, name=name, sources=specs, ranker=spec))
    return recipes


def seeded(recipe: Recipe, count: int) -> list[Recipe]:
    """A recipe by trees of so many seeds that follow each other: as it is, then under names of their own."""
    spec, several = recipe.ranker, [recipe]
    if spec is None:  # a blend has no trees
        return several
    for seed in range(1, count):
        name, params = f"{recipe.name}-{seed}", {**spec.params, "seed": params_of(spec).seed + seed}
        trees = msgspec.structs.replace(spec, name=name, params=params)
        several.append(msgspec.structs.replace(recipe, name=name, ranker=trees))
    return several
