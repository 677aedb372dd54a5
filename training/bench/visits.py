"""`kokyaku bench visits`: recipes judged where a shop asks them, in the middle of visits.

Accuracy is judged at the start of a window, where nobody is in a session and nothing is told of a visit. Here too
everything is fitted as of the window's start; only the history that is shown moves on: to the moment when somebody
arrives, and just after the first views. The truth is what the rest of the visit buys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache as remembered
from pathlib import Path
from typing import Annotated

import typer

from features.build import histories_as_of
from features.dataset import Dataset
from features.errors import ConfigError, DataError
from features.history import Histories
from features.kinds import EventType
from serving.bundle import Bundle
from serving.config import load_config
from serving.recipe import Recipe
from serving.scoring import InSession, Order
from serving.settings.shop import ModelSettings
from training.bench.accuracy import Result, bars
from training.bench.judging import CHOSEN, PRIMARY, choose_on
from training.bench.oracle import WINDOW, simulated_shop
from training.bench.rows import Row, write_rows
from training.bench.shops import default_cache
from training.bench.visit_rows import BESIDE, BLEND, CONTEXT, GROUPS, UNTOLD, rows_of, shown, table_of
from training.commands.common import (
    CacheOption,
    JsonOption,
    PresetOption,
    ResamplesOption,
    RootOption,
    SimulatedSeedOption,
    SizeOption,
    console,
    open_shop,
)
from training.fitting import Cut, fit_bundle
from training.intent import CHOSEN_ON, PARTS, Asked, Weighed, ask, order_of, told, weigh
from training.material import load_material, regions_of
from training.meter import Tell, counted
from training.rankers import EFFORT, Rankers
from training.recipes import FREQUENCY, POPULARITY, PRESETS, SESSION, Preset
from training.report import describe
from training.selection import Choice
from training.simulation.oracle import world_of
from training.split import Window, last_windows
from training.visits import visits_of

VIEWS = (0, 1, 2, 3)
"""Views of the visit that are known; with 0 somebody has just arrived."""
CUSTOMERS_CHOSEN_ON = 2_000
"""Customers of the earlier window that recipes are chosen on, at most."""
Cuts = Callable[[int], Cut]


def command(
    size: SizeOption = "s",
    seed: SimulatedSeedOption = 0,
    shop: Annotated[str | None, typer.Option(help="A shop of your own instead; it needs views.")] = None,
    root: RootOption = None,
    preset: PresetOption = "quick",
    cache: CacheOption = None,
    resamples: ResamplesOption = 2000,
    json: JsonOption = None,
) -> None:
    """Measure what the running session and the context of a visit are worth, at the moments of visits.

    Of the last window's visits that ended in a purchase at most 1,500 are judged, the same ones each time: by NDCG@20
    and hit rate of what the rest of the visit bought, for customers and anonymous visitors apart.

    Examples:

      kokyaku bench visits

      kokyaku bench visits --size tiny --seed 3 --json visits.json

      kokyaku bench visits --shop mine --root shops/mine
    """
    if preset not in PRESETS:
        raise ConfigError("no such preset", where="--preset", got=preset, hint=" or ".join(PRESETS))
    if root is not None and shop is None:
        raise ConfigError("a folder without the name of its shop", where="--root", got=str(root), hint="add --shop")
    wanted: Preset = "quick" if preset == "quick" else "full"
    with bars() as tell:
        if shop is None:
            result = run(size, seed, preset=wanted, cache=cache, resamples=resamples, tell=tell)
        else:
            result = run_shop(shop, root, preset=wanted, resamples=resamples, tell=tell)
    for line in result.notes:
        console.print(line, highlight=False)
    for group in GROUPS:
        for part in PARTS:
            console.print(table_of(result.rows, group, part, VIEWS))
    if json:
        write_rows(json, result.rows)


def run(
    size: str, seed: int, *, preset: Preset = "quick", cache: Path | None = None, resamples: int = 2000,
    tell: Tell = lambda what, done, total: None,
) -> Result:  # fmt: skip
    """Measure the simulated shop on its last 30 days.

    Raises:
        ConfigError: an unknown size.
    """
    dataset, truth = simulated_shop(cache or default_cache(), size, seed, tell)
    windows = last_windows(world_of(truth.manifest).calendar.end, WINDOW, 2)
    note = f"The simulated shop (size {size}, seed {seed}): never evidence about real shops."
    return measure(
        histories_as_of(dataset), dataset, f"simulated-{size}-{seed}", windows[0], windows[1], preset=preset,
        resamples=resamples, tell=tell, notes=[note],
    )  # fmt: skip


def run_shop(
    shop: str, root: Path | None, *, preset: Preset = "quick", resamples: int = 2000,
    tell: Tell = lambda what, done, total: None,
) -> Result:  # fmt: skip
    """Measure a shop of the user's own on its last window; windows are those of `kokyaku train`.

    Raises:
        DataError: there is no dataset, its past is too short, or it has no views.
    """
    opened = open_shop(shop, root)
    config = load_config(opened.config)
    material = load_material(opened, config)
    if material.tuned is None or material.judged is None:
        raise DataError(" ".join(material.notes), where=shop)
    return measure(
        material.histories, material.dataset, shop, material.tuned, material.judged, preset=preset,
        resamples=resamples, tell=tell, notes=material.notes, min_customers=config.model.min_customers,
    )  # fmt: skip


@dataclass(frozen=True)
class Ready:
    """What is asked.

    Args:
        bundle: fitted up to the judged window's start.
        entries: name -> who orders.
        notes: sentences.
    """

    bundle: Bundle
    entries: Mapping[str, Asked]
    notes: Sequence[str]


def measure(
    histories: Histories, dataset: Dataset, name: str, chosen_on: Window, judged: Window, *, preset: Preset = "quick",
    resamples: int = 2000, tell: Tell = lambda what, done, total: None, notes: Sequence[str] = (),
    min_customers: int = ModelSettings().min_customers,
) -> Result:  # fmt: skip
    """Choose on one window, ask in the visits of the other: the whole of the benchmark but for the import.

    Raises:
        DataError: nobody looked at anything, or no visit can be judged.
    """
    if not (histories.events.type == EventType.VIEW).any():
        raise DataError("this shop has no views, so nothing is known of its visits", where=name)
    regions = regions_of(dataset, histories, judged.start)
    cut_at = remembered(
        lambda moment: Cut(histories, moment, min_customers=min_customers, regions=regions, dataset=dataset)
    )
    visits = visits_of(dataset, histories, judged, listed=cut_at(judged.start).listed)
    if not visits.events:
        raise DataError("no visit of the judged window holds a view and then a purchase of the catalogue", where=name)
    ready = prepare(histories, dataset, chosen_on, judged, cut_at, regions, preset, resamples, tell)
    rows: list[Row] = []
    for views in VIEWS:
        progress = counted(tell, f"visits with {shown(views)}", len(visits.events))
        answers = ask(ready.bundle, visits, views, ready.entries, regions=regions, progress=progress)
        rows += rows_of(name, visits, answers, views, resamples)
    counts = (
        f"{visits.began:,} visits began in {judged}; {visits.bought:,} bought something of the catalogue,"
        f" {visits.usable:,} of them after a view; {len(visits.events):,} are judged, drawn from all alike."
    )
    return Result(rows, [*notes, *ready.notes, counts])


def prepare(
    histories: Histories, dataset: Dataset, chosen_on: Window, judged: Window, cut_at: Cuts,
    regions: Mapping[int, str], preset: Preset, resamples: int, tell: Tell,
) -> Ready:  # fmt: skip
    """Choose recipes at the start of the earlier window, weights of the session in its visits; fit for the other."""
    length = chosen_on.end - chosen_on.start
    rankers = Rankers(histories, cut_at, length, regions=regions, effort=EFFORT[preset], tell=tell)
    cut = cut_at(chosen_on.start)
    choice, notes = choose_on(cut, histories, chosen_on, rankers, preset, tell, CUSTOMERS_CHOSEN_ON)
    best = next(each for each in choice.recipes if each.name == choice.ranking[0])
    weighed: list[Weighed] = []
    if any(spec.name == SESSION for spec in choice.sources):
        earlier = visits_of(dataset, histories, chosen_on, listed=cut.listed, at_most=CHOSEN_ON)
        bundle = _bundle(cut, choice, best, rankers, tell, "fit (earlier window)")
        for name, voice in _voices(best).items():
            progress = counted(tell, f"weigh the session beside {name} (earlier window)", len(earlier.events))
            weighed.append(
                weigh(bundle, earlier, name, voice, SESSION, PRIMARY, regions=regions, resamples=resamples,
                      progress=progress)
            )  # fmt: skip
    bundle = _bundle(cut_at(judged.start), choice, best, rankers, tell, "fit")
    said = [f"kokyaku is {best.name}: {describe(best)}.", *(line for each in weighed for line in told(each))]
    return Ready(bundle, entries_of(choice, best, weighed), [*notes, *said])


def entries_of(choice: Choice, best: Recipe, weighed: Sequence[Weighed]) -> dict[str, Asked]:
    """Who is asked: plain sources where they could be fitted, and what serves, with and without the session."""
    there = {spec.name for spec in choice.sources}
    names = (POPULARITY, CONTEXT, FREQUENCY, SESSION)
    entries = {name: Asked({name: 1.0}) for name in names if name in there}
    if CONTEXT in there:
        entries[UNTOLD] = Asked({CONTEXT: 1.0}, told=False)
    voices = _voices(best)
    beside = {
        f"{each.recipe}{BESIDE}": Asked(InSession(voices[each.recipe], SESSION, each.weight)) for each in weighed
    }  # fmt: skip
    return {**entries, **{name: Asked(voice) for name, voice in voices.items()}, **beside}


def _voices(best: Recipe) -> dict[str, Order]:
    """What serves, and the blend under its ranker where it has one."""
    plain: dict[str, Order] = {BLEND: best.weights} if best.ranker is not None else {}
    return {CHOSEN: order_of(best), **plain}


def _bundle(cut: Cut, choice: Choice, best: Recipe, rankers: Rankers, tell: Tell, what: str) -> Bundle:
    """All sources, and the trees of the best recipe, as of the cut."""
    trees = rankers.fit(best.ranker, best.sources, cut.as_of) if best.ranker else {}
    return fit_bundle(
        cut, Recipe("arena", choice.sources, {POPULARITY: 1.0}), rankers=trees,
        progress=lambda name, done, total: tell(f"{what}: {name}", done, total),
    )  # fmt: skip
