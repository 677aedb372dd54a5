"""What the steps of one training run share: options, the MLflow run, progress, time and memory, fitting."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from features.dataset import Dataset
from features.errors import ConfigError, DataError
from features.ids import Array
from features.moments import format_instant
from features.orders import OrderLine
from features.shop import Shop
from serving.bundle import Bundle
from serving.config import ShopConfig, load_config
from serving.recipe import Recipe, SourceSpec
from training.fitting import Cut, fit_bundle
from training.gate import TASK_NAMES
from training.material import Material
from training.meter import Meter, Tell, counted
from training.methods import resolved_recipe
from training.publish import recipe_of
from training.rankers import EFFORT, OBJECTIVES, Rankers
from training.recipes import BASELINES, POPULARITY, Preset, is_same, renamed_apart, source_names
from training.selection import Choice
from training.split import customers
from training.tracking import CHAMPION, Run, Tracking, Version
from training.tuned import Tuned, read_tuned
from training.unfinished import Unfinished


def silent(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What to train.

    Args:
        as_of: train on what was known at this instant; None: everything.
        preset: how much to train.
        promote: whether an accepted model serves at once.
    """

    as_of: int | None = None
    preset: Preset = "quick"
    promote: bool = True


@dataclass
class Session:
    """One run on its way."""

    shop: Shop
    config: ShopConfig
    options: TrainOptions
    tracking: Tracking
    run: Run
    tell: Tell
    meter: Meter = field(default_factory=Meter)
    cuts: dict[int, Cut] = field(default_factory=dict)
    """What was known at a moment, and what was fitted on it: windows and refits share it."""
    rankers: Rankers | None = None
    tuned: Tuned = field(default_factory=dict)
    """Parameters that tuning found for this shop."""
    order_lines: list[OrderLine] | None = None
    """As of the moment of the run, once somebody has read them."""
    unfinished: Unfinished | None = None
    """Where fits outlast a training that is cut off."""
    notes: list[str] = field(default_factory=list)
    """Sentences on what was left out and why."""

    def note(self, *sentences: str) -> None:
        """Remember what a person should know, each thing once."""
        self.notes += [sentence for sentence in sentences if sentence not in self.notes]

    def counted(self, what: str, total: int) -> Callable[[int], None]:
        """Progress for something that says how many were done since the last call."""
        return counted(self.tell, what, total)


@dataclass(frozen=True)
class Champion:
    """What serves now.

    Args:
        version: in the registry.
        recipe: as it serves.
        entrant: the name under which it is judged.
        contestant: the recipe as it is judged: sources that today's recipes name otherwise are named apart.
    """

    version: Version
    recipe: Recipe
    entrant: str
    contestant: Recipe


@contextlib.contextmanager
def open_session(shop: Shop, options: TrainOptions, tell: Tell, *, tuning: str = "") -> Iterator[Session]:
    """A run in the shop's store, with its configuration.

    Args:
        shop: whose.
        options: what to train.
        tell: hears the progress of each step.
        tuning: what is tuned, where it is no training.

    Raises:
        DataError: there is no dataset.
        ConfigError: `shop.toml` or `tuned.toml` makes no sense.
    """
    config = load_config(shop.config)
    tuned = read_tuned(shop.tuned, tunable())
    Dataset(shop.dataset).manifest()  # without a dataset no empty store is made
    tracking = Tracking(shop)
    verb, name = ("tune", f"tune {tuning}") if tuning else ("train", f"train {options.preset}")
    with tracking.run(name, {"kokyaku.shop": shop.id, "mlflow.source.name": f"kokyaku {verb}"}) as run:
        yield Session(shop, config, options, tracking, run, tell, tuned=tuned)


def tunable() -> tuple[str, ...]:
    """Names of all that can be tuned: sources and recipes with a ranker."""
    return (*source_names(), *OBJECTIVES)


def serving_now(session: Session, choice: Choice) -> Champion | None:
    """The champion, so that it can be judged beside today's recipes."""
    version = session.tracking.alias(CHAMPION)
    if version is None:
        return None
    recipe = resolved_recipe(recipe_of(session.tracking, version))
    for mine in choice.recipes:
        if is_same(mine, recipe):
            return Champion(version, recipe, mine.name, mine)
    contestant = renamed_apart(recipe, choice.sources, "-serving")
    taken = {mine.name for mine in choice.recipes}
    entrant = f"{recipe.name} (serving)" if recipe.name in taken else recipe.name
    return Champion(version, recipe, entrant, contestant)


def cut_at(session: Session, material: Material, moment: int) -> Cut:
    """What was known at a moment."""
    if moment not in session.cuts:
        session.cuts[moment] = Cut(
            material.histories, moment, min_customers=session.config.model.min_customers, regions=material.regions,
            dataset=material.dataset, unfinished=session.unfinished,
        )  # fmt: skip
    return session.cuts[moment]


def active_customers(cut: Cut) -> int:
    """Known customers with at least one event."""
    return int((customers(cut.known.subjects) & (np.diff(cut.known.offsets) > 0)).sum())


def fit_each(session: Session, cut: Cut, specs: Sequence[SourceSpec], where: str) -> dict[str, str]:
    """Fit sources one by one; `Cut` keeps what was fitted.

    Args:
        session: where time, memory and notes go.
        cut: what was known.
        specs: the sources.
        where: of the progress line, e.g. `judged window`.

    Returns:
        Why, for each source that could not be fitted: it is left out, named, and the others go on.
    """
    failed = {}
    for spec in specs:
        line = f"fit {spec.name} ({where})"
        session.tell(line, 0, 1)
        with session.meter.step(line):
            try:
                cut.fit(spec, lambda done, total, line=line: session.tell(line, done, total))  # type: ignore[misc]
            except (DataError, ConfigError) as error:
                if spec.name in BASELINES:
                    raise
                failed[spec.name] = error.line()
        session.tell(line, 1, 1)
    return failed


def rankers_of(session: Session, material: Material) -> Rankers:
    """Fits rankers for this run; the examples of a window serve all of them."""
    if session.rankers is None:
        window = material.judged or material.tuned
        session.rankers = Rankers(
            material.histories, lambda moment: cut_at(session, material, moment),
            length=window.end - window.start if window else 1, regions=material.regions,
            effort=EFFORT[session.options.preset], tuned=session.tuned, tell=session.tell,
        )  # fmt: skip
    return session.rankers


def fit_rankers(
    session: Session, material: Material, recipes: Mapping[str, Recipe], as_of: int
) -> tuple[dict[str, Array], dict[str, Recipe]]:
    """The trees of all recipes that have a ranker, and the recipes without those that could not be fitted."""
    with session.meter.step(f"fit rankers ({format_instant(as_of)[:10]})"):
        arrays, failed = rankers_of(session, material).fit_all(recipes.values(), as_of)
    session.note(*(f"{name} is left out: {why}." for name, why in failed.items()))
    return arrays, {name: recipe for name, recipe in recipes.items() if recipe.name not in failed}


def learned_by(session: Session, material: Material, recipe: Recipe) -> dict[str, Mapping[str, float]]:
    """Task -> column -> share of the gain, for the trees that were judged; empty where a blend was."""
    if material.judged is None:
        return {}
    found = rankers_of(session, material).learned(recipe, material.judged.start)
    return {TASK_NAMES[task]: shares for task, shares in found.items()}


def bundle_of(cut: Cut, specs: Sequence[SourceSpec], rankers: Mapping[str, Array] | None = None) -> Bundle:
    """All sources and rankers in one bundle in memory, for judging; its recipe serves nobody."""
    return fit_bundle(cut, Recipe("arena", tuple(specs), {POPULARITY: 1.0}), rankers=rankers)
