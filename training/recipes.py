"""The recipes that compete: plain baselines, one collaborative model each, and plain blends of the two kinds.

All recipes of a run share their sources, so each source is fitted once a window however many recipes use it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from serving.recipe import RankerSpec, Recipe, SourceSpec
from serving.settings.shop import ModelSettings
from training.methods import resolved
from training.params import Named, overlaid

Preset = Literal["quick", "full"]
PRESETS: tuple[Preset, ...] = ("quick", "full")

POPULARITY, FREQUENCY, SESSION = "popularity", "personal-frequency", "session"
BASELINES = (POPULARITY, FREQUENCY)
"""Plain baselines: what any shop could have without a model."""
BLEND_WEIGHTS: Mapping[Preset, tuple[float, ...]] = {
    "quick": (0.0, 0.05, 0.2, 0.5),
    "full": (0.0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 1.0),
}
"""Weights of a collaborative source beside personal frequency (weight 1); 0 keeps it for new items only."""
FLOOR_WEIGHTS: Mapping[Preset, tuple[float, ...]] = {"quick": (0.0, 0.2), "full": (0.0, 0.1, 0.3, 1.0)}
"""Weights of popularity beside a collaborative source (weight 1) where only new items are wanted."""

BLENDED = ("ials", "item-item", "ease")
"""Models that are blended with personal frequency."""
_SIZES: Mapping[Preset, Mapping[str, int]] = {
    "quick": {
        "factors": 64, "iterations": 12, "bpr_factors": 32, "bpr_iterations": 30, "ease_side": 6_000,
        "ease_most": 100, "graph_rank": 128, "graph_profile": 200, "graph_side": 30_000,
    },
    "full": {
        "factors": 128, "iterations": 20, "bpr_factors": 128, "bpr_iterations": 100, "ease_side": 24_000,
        "ease_most": 0, "graph_rank": 256, "graph_profile": 0, "graph_side": 60_000,
    },
}  # fmt: skip
MIN_CUSTOMERS, MIN_ITEMS = 20, 10
"""With fewer than these a collaborative model has nothing to learn from."""


@dataclass(frozen=True, slots=True)
class Blend:
    """Two sources whose weights are chosen on a window before the judged one.

    Args:
        name: of the recipe that comes of it.
        model: the collaborative source that stands beside personal frequency.
        weights: of the model, to try on all purchases.
        floors: weights of popularity beside the model, to try on new items.
    """

    name: str
    model: str
    weights: tuple[float, ...]
    floors: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Menu:
    """What competes in a run.

    Args:
        sources: everything that is fitted, by name.
        recipes: those whose weights are fixed.
        blends: those whose weights are still to be chosen.
        notes: what was left out and why, as sentences.
    """

    sources: tuple[SourceSpec, ...]
    recipes: tuple[Recipe, ...]
    blends: tuple[Blend, ...]
    notes: tuple[str, ...] = ()

    def recipe(self, name: str, weights: Mapping[str, float], new_weights: Mapping[str, float]) -> Recipe:
        """A recipe over this menu's sources; those without a weight feed pages and related items."""
        told, new = _weighed(weights), _weighed(new_weights)
        sources = tuple(spec for spec in self.sources if spec.name in {*told, *new, POPULARITY})
        return Recipe(name, sources, told, new, fill=POPULARITY)

    def without(self, source: str, why: str) -> Menu:
        """The menu without a source that cannot be fitted, and without what needs it."""
        recipes = tuple(recipe for recipe in self.recipes if source not in recipe.weights)
        blends = tuple(blend for blend in self.blends if blend.model != source)
        sources = tuple(spec for spec in self.sources if spec.name != source)
        return Menu(sources, recipes, blends, (*self.notes, f"{source} is left out: {why}."))


def menu(
    model: ModelSettings, *, preset: Preset, customers: int, items: int, texts: bool = False, time_zone: str = "UTC",
    tuned: Mapping[str, Named] | None = None,
) -> Menu:  # fmt: skip
    """The default recipes for a shop of that size.

    Args:
        model: `[model]` of the shop's file.
        preset: how much to train.
        customers: customers with at least one event before the judged window.
        items: items of the catalogue (bought by `min_customers` or more).
        texts: whether items have texts that `content` can read.
        time_zone: of the shop; seasons begin and end there.
        tuned: source -> parameters that tuning found better than what the preset and the shop's file give.

    Raises:
        ConfigError: a tuned parameter that the source does not have, or a value that makes no sense.
    """
    plain = tuple(_tuned(resolved(spec), tuned or {}) for spec in _plain(model))
    models = tuple(spec for spec in _models(model, preset) if texts or spec.method != "content")
    models = (*models, *(resolved(spec) for spec in _habits(model, time_zone)))
    models = tuple(_tuned(spec, tuned or {}) for spec in models)
    if customers < MIN_CUSTOMERS or items < MIN_ITEMS:
        few = (
            f"{customers} customers and {items} items are too few to learn from (at least {MIN_CUSTOMERS}, {MIN_ITEMS})"
        )
        said = f"Models are left out: {few}; popularity and repeat purchase need no training."
        return _menu(plain, (), (said,), preset)
    too_large = _too_large(preset, customers, items)
    models = tuple(spec for spec in models if spec.method not in too_large)
    notes = tuple(f"{method} is left out: {why}, which preset {preset} allows." for method, why in too_large.items())
    return _menu(plain, models, notes, preset)


def source_names() -> tuple[str, ...]:
    """Names of all sources that a menu may have and a window can judge: nobody is in a session when one starts."""
    model = ModelSettings()
    listed = (*_plain(model), *_models(model, "quick"), *_habits(model, "UTC"))
    return tuple(spec.name for spec in listed if spec.name != SESSION)


def plain_only(listed: Menu) -> Menu:
    """Only what needs no training: popularity and repeat purchase."""
    sources = tuple(spec for spec in listed.sources if spec.name in BASELINES)
    recipes = tuple(recipe for recipe in listed.recipes if recipe.name in BASELINES)
    return Menu(sources, recipes, (), listed.notes)


def is_same(recipe: Recipe, other: Recipe) -> bool:
    """Whether two recipes rank alike: equal weights and trade-offs over equal sources, whatever their names.

    What the running session counts is left out: it is chosen apart (`training.intent`), and windows cannot judge it.
    """
    return _essence(recipe) == _essence(other)


def is_same_but_for_lists(recipe: Recipe, other: Recipe) -> bool:
    """Whether two recipes score alike and differ in nothing but what their lists trade off."""
    alike = is_same(msgspec.structs.replace(recipe, selection=other.selection), other)
    return alike and recipe.selection != other.selection


def is_leaner(recipe: Recipe, other: Recipe, spared: Collection[str]) -> bool:
    """Whether two recipes differ in nothing but voices that the first's ranker does without.

    Args:
        recipe: the one with fewer.
        other: the one with more.
        spared: sources that lists were shown not to need (`training.worth`); what is gone for another reason is a loss.
    """
    if recipe.ranker is None or other.ranker is None:
        return False
    kept = tuple(name for name in other.ranker.voices if name in recipe.ranker.voices)
    leaner = msgspec.structs.replace(other, ranker=msgspec.structs.replace(other.ranker, voices=kept))
    gone = set(other.ranker.voices) - set(kept)
    return bool(gone) and gone <= set(spared) and is_same(recipe, leaner)


def complete(recipe: Recipe, available: Sequence[SourceSpec], feeders: Sequence[str]) -> Recipe:
    """The recipe with further sources, without a weight, for modules of a page and for related items.

    Args:
        recipe: what was judged; its weights stay as they are.
        available: sources that are fitted.
        feeders: names of those to add.
    """
    there = {spec.name for spec in recipe.sources}
    more = tuple(spec for spec in available if spec.name in feeders and spec.name not in there)
    return msgspec.structs.replace(recipe, sources=(*recipe.sources, *more))


def renamed_apart(recipe: Recipe, taken: Sequence[SourceSpec], suffix: str) -> Recipe:
    """The recipe with those sources renamed whose name another specification has taken.

    A champion made with other parameters is judged beside today's recipes in one bundle.
    """
    others = {spec.name: spec for spec in taken}
    clash = {spec.name for spec in recipe.sources if spec.name in others and spec != others[spec.name]}
    moved = {name: f"{name}{suffix}" for name in clash}
    return msgspec.structs.replace(
        recipe,
        sources=tuple(msgspec.structs.replace(s, name=moved.get(s.name, s.name)) for s in recipe.sources),
        weights={moved.get(name, name): weight for name, weight in recipe.weights.items()},
        new_weights={moved.get(name, name): weight for name, weight in recipe.new_weights.items()},
        fill=moved.get(recipe.fill, recipe.fill),
        ranker=_renamed(recipe.ranker, moved, suffix),
    )


def _weighed(weights: Mapping[str, float]) -> dict[str, float]:
    """Without sources of weight 0: those would still propose, and take the fallback's places."""
    return {name: weight for name, weight in weights.items() if weight}


def _menu(
    plain: tuple[SourceSpec, ...], models: tuple[SourceSpec, ...], notes: tuple[str, ...], preset: Preset
) -> Menu:  # fmt: skip
    sources = (*plain, *models)
    blends = tuple(
        Blend(f"frequency+{spec.name}", spec.name, BLEND_WEIGHTS[preset], FLOOR_WEIGHTS[preset])
        for spec in models
        if spec.name in BLENDED
    )
    made = Menu(sources, (), blends, notes)
    # A session runs only while somebody is there: nothing can be judged of it at the start of a window.
    recipes = tuple(made.recipe(spec.name, {spec.name: 1.0}, {}) for spec in sources if spec.name != SESSION)
    return Menu(sources, recipes, blends, notes)


def _too_large(preset: Preset, customers: int, items: int) -> dict[str, str]:
    """Methods whose fit would take too long, and why."""
    size, found = _SIZES[preset], {}
    side = min(customers, items)  # EASE inverts the smaller of its two sides
    if side > (limit := size["ease_side"]):
        found["ease"] = f"it would have to invert a matrix of {side:,} rows, more than the {limit:,}"
    if items > (limit := size["graph_side"]):
        found["graph-filter"] = f"it would have to weigh each pair of {items:,} items, more than the {limit:,}"
    return found


def _plain(model: ModelSettings) -> tuple[SourceSpec, SourceSpec]:
    sales, habit = _changed(model, "popularity_half_life_days"), _changed(model, "half_life_days")
    return (
        SourceSpec(POPULARITY, "popularity", "popularity", {"half_life_days": sales} if sales else {}),
        SourceSpec(FREQUENCY, "personal-frequency", "personal-frequency", {"half_life_days": habit} if habit else {}),
    )


def _models(model: ModelSettings, preset: Preset) -> tuple[SourceSpec, ...]:
    size = _SIZES[preset]
    factors = {"factors": size["factors"], "iterations": size["iterations"]}
    pairs = {"factors": size["bpr_factors"], "iterations": size["bpr_iterations"]}
    graph = {"rank": size["graph_rank"], "largest_profile": size["graph_profile"]}
    wanted = (
        SourceSpec("ials", "factors", "ials", factors),
        SourceSpec("item-item", "neighbours", "cosine"),
        SourceSpec("ease", "neighbours", "ease", {"most": size["ease_most"]}),
        SourceSpec("graph-filter", "neighbours", "graph-filter", graph),
        SourceSpec("co-purchase", "neighbours", "co-purchase"),
        SourceSpec("content", "neighbours", "content"),
        SourceSpec("bpr", "factors", "bpr", pairs),
    )
    return tuple(_weighing(spec, model) for spec in wanted)


def _habits(model: ModelSettings, time_zone: str) -> tuple[SourceSpec, ...]:
    """Sources of what is due, wished, next and in season; those that the shop's data cannot feed are left out later."""
    sales, horizon = _changed(model, "popularity_half_life_days"), {"horizon_days": model.window_days}
    season = {"time_zone": time_zone, **({"half_life_days": sales} if sales else {})}
    return (
        SourceSpec("replenishment", "replenishment", "replenishment", horizon),
        SourceSpec("wishlist", "wishlist", "wishlist", horizon),
        SourceSpec("sequence", "sequence", "sequence"),
        SourceSpec(SESSION, "session", "session"),
        SourceSpec("context-popularity", "context-popularity", "context-popularity", season),
    )


def _weighing(spec: SourceSpec, model: ModelSettings) -> SourceSpec:
    """The source with the shop's weights of events, and its half-life where the shop says one."""
    confidence = {**resolved(spec).params["confidence"], "weights": dict(model.event_weights)}
    if (half_life := _changed(model, "half_life_days")) is not None:
        confidence["half_life_days"] = half_life
    return resolved(msgspec.structs.replace(spec, params={**spec.params, "confidence": confidence}))


def _tuned(spec: SourceSpec, tuned: Mapping[str, Named]) -> SourceSpec:
    """The source with its tuned parameters, where it has some."""
    where = f"tuned parameters of {spec.name}"
    return resolved(msgspec.structs.replace(spec, params=overlaid(spec.params, tuned.get(spec.name, {}), where=where)))


def _changed(model: ModelSettings, setting: str) -> float | None:
    """A setting that the shop chose itself; where it did not, each method's own default is the better one."""
    value = float(getattr(model, setting))
    return None if value == getattr(ModelSettings(), setting) else value


def _essence(recipe: Recipe) -> object:
    def weighed(weights: Mapping[str, float]) -> list[tuple[object, float]]:
        specs = {
            spec.name: (spec.kind, spec.method, msgspec.json.encode(spec.params, order="sorted"))
            for spec in recipe.sources
        }
        return sorted(((specs[name], weight) for name, weight in weights.items() if weight), key=repr)

    new = recipe.new_weights or recipe.weights
    limits = recipe.breadth, recipe.selection
    blend = weighed(recipe.weights), weighed(new), weighed({recipe.fill: 1.0}), limits
    if recipe.ranker is None:
        return blend
    return (*blend, recipe.ranker.objective, recipe.ranker.params, weighed(dict.fromkeys(recipe.ranker.voices, 1.0)))


def _renamed(ranker: RankerSpec | None, moved: Mapping[str, str], suffix: str) -> RankerSpec | None:
    """A ranker that listens to the renamed sources; its trees are named apart in any case."""
    if ranker is None:
        return None
    voices = tuple(moved.get(name, name) for name in ranker.voices)
    return msgspec.structs.replace(ranker, name=f"{ranker.name}{suffix}", voices=voices)
