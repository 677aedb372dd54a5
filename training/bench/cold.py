"""`kokyaku bench cold`: how little must be known of a customer, or of an item, before recommendations are good.

Customers: people whom the fit has never seen, each asked about with none, one, two and five of their last events before
the judged window, and with all; none is an anonymous visitor of whom at most the region is known. The same people and
the same truth whatever is known; what is not shown cannot be left out as bought before either. Items: see
`training.bench.cold_items`. Recipes are chosen on the window before the judged one without those people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache as remembered
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import typer
from rich.box import SIMPLE
from rich.table import Table

from features.build import histories_as_of
from features.dataset import Dataset
from features.errors import ConfigError, DataError
from features.history import Histories
from features.ids import Array
from serving.recipe import Recipe
from serving.settings.shop import ModelSettings
from training.bench.accuracy import Result, bars
from training.bench.cold_items import Found, item_trial, tried
from training.bench.hiding import HidingDataset, customers_but_last
from training.bench.judging import CHOSEN, PRIMARY, arena_of, choose_on
from training.bench.rows import Row, write_rows
from training.bench.shops import Split, case_of, checked_split, dataset_of, default_cache, reads
from training.commands.common import JsonOption, PresetOption, ResamplesOption, console
from training.contest import Arena, contest, voices_of
from training.evaluate import COLD, TASKS, Evaluation, purchases
from training.fitting import Cut
from training.intervals import Interval, compare, mean_interval
from training.material import regions_of
from training.meter import Tell, counted
from training.rankers import EFFORT, Rankers
from training.recipes import POPULARITY, PRESETS, Preset
from training.report import describe
from training.split import Truth, Window, truth_of

EVENTS_OF_CUSTOMER: tuple[int | None, ...] = (0, 1, 2, 5, None)
EVENTS_OF_ITEM: tuple[int | None, ...] = (0, 1, 5, None)
"""Events that are shown; None: all."""
CUSTOMERS, ITEMS, BUYERS, TUNED = 300, 200, 300, 600
"""At most so many people whom the fit never saw, held-out items, their buyers, and customers to choose recipes on."""
ITEM_METRICS = ("recall@20", "percentile")


def command(
    data: Annotated[str, typer.Option(help="complete-journey or online-retail.")] = "complete-journey",
    path: Annotated[Path | None, typer.Option(help="The shop's file, where it is not a package.")] = None,
    split: Annotated[
        str, typer.Option(help="valid; test: the quoted window, or second: another; both counted.")
    ] = "valid",
    preset: PresetOption = "quick",
    cache: Annotated[Path | None, typer.Option(help="Folder of imported shops and of the count of reads.")] = None,
    resamples: ResamplesOption = 2000,
    json: JsonOption = None,
) -> None:
    """Measure cold start: customers with 0, 1, 2 and 5 events, and items with 0, 1 and 5.

    Customers are judged by NDCG@20 against popularity in the same run; items by whether their first buyers find them,
    for the chosen recipe and for every single source.

    Examples:

      kokyaku bench cold

      kokyaku bench cold --data online-retail --path online_retail.csv.gz --json cold.json
    """
    part = checked_split(split)
    if preset not in PRESETS:
        raise ConfigError("no such preset", where="--preset", got=preset, hint=" or ".join(PRESETS))
    with bars() as tell:
        result = run(
            data, path, split=part, preset="quick" if preset == "quick" else "full",
            cache=cache, resamples=resamples, tell=tell,
        )  # fmt: skip
    for line in result.notes:
        console.print(line, highlight=False)
    for task in TASKS:
        console.print(table_of(result.rows, task, PRIMARY, EVENTS_OF_CUSTOMER))
    for metric in ITEM_METRICS:
        console.print(table_of(result.rows, "items", metric, EVENTS_OF_ITEM))
    if json:
        write_rows(json, result.rows)


def run(
    data: str, path: Path | None = None, *, split: Split = "valid", preset: Preset = "quick",
    cache: Path | None = None, resamples: int = 2000, tell: Tell = lambda what, done, total: None,
) -> Result:  # fmt: skip
    """Measure a shop; arguments and errors as of `training.bench.accuracy.run`."""
    case, cache = case_of(data), cache or default_cache()
    tell("import", 0, 1)
    dataset = dataset_of(data, path, cache)
    histories = histories_as_of(dataset)
    tell("import", 1, 1)
    chosen_on, judged = case.windows(split)
    notes = [f"{data}, judged on {judged}, chosen on {chosen_on}.", *reads(split, data, cache)]
    return measure(histories, dataset, data, chosen_on, judged, preset=preset, resamples=resamples, tell=tell,
                   notes=notes)  # fmt: skip


@dataclass(frozen=True)
class Ready:
    """What both parts start from.

    Args:
        arena: fitted without the newcomers, who alone are judged.
        everybody: what all customers bought in the window, of the catalogue when nothing is hidden.
        listed: that catalogue.
        recipes: by name: the chosen one (`kokyaku`) and every single source.
        trees: arrays of the chosen recipe's ranker, where it has one.
        notes: sentences.
    """

    arena: Arena
    everybody: Truth
    listed: np.typing.NDArray[np.bool_]
    recipes: Mapping[str, Recipe]
    trees: Mapping[str, Array]
    notes: Sequence[str]


def measure(
    histories: Histories, dataset: Dataset, name: str, chosen_on: Window, judged: Window, *, preset: Preset = "quick",
    resamples: int = 2000, tell: Tell = lambda what, done, total: None, notes: Sequence[str] = (),
    min_customers: int = ModelSettings().min_customers,
) -> Result:  # fmt: skip
    """Choose on one window, show newcomers the other: the whole of the benchmark but for the import.

    Raises:
        DataError: nobody in the judged window is known for `COLD` purchases.
    """
    ready = prepare(histories, dataset, chosen_on, judged, preset, min_customers, tell)
    rows = _customers(name, ready, resamples, tell)
    trial = item_trial(
        histories, dataset, judged, ready.listed, ready.everybody, items=ITEMS, buyers=BUYERS,
        regions=ready.arena.regions, min_customers=min_customers,
    )  # fmt: skip
    without: list[str] = []
    for keep in EVENTS_OF_ITEM:
        progress = counted(tell, f"items with {shown(keep)}", len(trial.truth))
        found, failed = tried(trial, keep, list(ready.recipes.values()), CHOSEN, ready.trees, progress)
        without += [f"{source} is left out of items with {shown(keep)}: {why}." for source, why in failed.items()]
        clusters = np.repeat(trial.truth.subjects, trial.truth.counts)
        rows += _item_rows(name, keep, found, clusters, resamples)
    told = (
        f"{len(ready.arena.truth):,} customers who are new to the fit; {len(trial.items):,} held-out items with"
        f" {len(trial.truth.items):,} first purchases by {len(trial.truth):,} customers. The catalogue's rule of"
        f" {min_customers} customers lists no item with fewer events: held-out items are listed in spite of it."
    )
    return Result(rows, [*notes, *ready.notes, *without, told])


def prepare(
    histories: Histories, dataset: Dataset, chosen_on: Window, judged: Window, preset: Preset, min_customers: int,
    tell: Tell,
) -> Ready:  # fmt: skip
    """Draw the newcomers; choose and fit without them."""
    regions = regions_of(dataset, histories, judged.start)
    listed = Cut(histories, judged.start, min_customers=min_customers).listed
    everybody = truth_of(histories, judged, listed=listed)
    newcomers = _newcomers(histories.as_of(judged.start), everybody)
    gone = np.isin(histories.subject_rows(), newcomers)
    seen = histories.where(~gone)
    unknown = HidingDataset(dataset.root, histories.events.key[gone])
    cut_at = remembered(lambda moment: Cut(seen, moment, min_customers=min_customers, regions=regions, dataset=unknown))
    length = chosen_on.end - chosen_on.start
    rankers = Rankers(seen, cut_at, length, regions=regions, effort=EFFORT[preset], tell=tell)
    choice, left_out = choose_on(cut_at(chosen_on.start), seen, chosen_on, rankers, preset, tell, TUNED)
    best = next(each for each in choice.recipes if each.name == choice.ranking[0])
    trees = rankers.fit(best.ranker, best.sources, judged.start) if best.ranker else {}
    arena = arena_of(cut_at(judged.start), seen, judged, choice.sources, tell, "fit", trees)
    single = {each.name: each for each in choice.recipes if _is_single(each)}
    named = [histories.subjects[row] for row in newcomers.tolist()]
    truth = truth_of(histories, judged, listed=arena.bundle.catalogue, subjects=named)
    return Ready(
        replace(arena, histories=histories, truth=truth, regions=regions), everybody, listed,
        {CHOSEN: msgspec.structs.replace(best, name=CHOSEN), **single}, trees,
        [*left_out, f"kokyaku is {best.name}: {describe(best)}."],
    )  # fmt: skip


def shown(keep: int | None) -> str:
    """How much is shown, in words."""
    return "all events" if keep is None else f"{keep} event{'' if keep == 1 else 's'}"


def table_of(rows: Sequence[Row], task: str, metric: str, kept: Sequence[int | None]) -> Table:
    """One metric as a table: a line a subject, a column a number of events; `kokyaku` minus popularity below.

    The two and their difference show their intervals; the rows hold those of all.
    """
    value = {(row.subject, row.metric): row for row in rows if row.task == task}
    title = {"all": "customers: all purchases", "new": "customers: never bought before"}.get(task, "held-out items")
    table = Table(title=f"{title}, {metric} by events shown", box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("subject", no_wrap=True)
    for keep in kept:
        table.add_column(shown(keep), justify="right")
    last = f"{metric}:{shown(kept[-2])}"
    subjects = dict.fromkeys(subject for subject, _ in value)
    for subject in sorted(subjects, key=lambda name: (name != CHOSEN, -_number(value.get((name, last))), name)):
        mine = [value.get((subject, f"{metric}:{shown(keep)}")) for keep in kept]
        table.add_row(subject, *(_cell(row, interval=subject in (CHOSEN, POPULARITY)) for row in mine))
    minus = [value.get((CHOSEN, f"{metric}-difference:{POPULARITY}:{shown(keep)}")) for keep in kept]
    table.add_row("minus popularity", *(_cell(row, "{:+.3f}") for row in minus))
    return table


def _is_single(recipe: Recipe) -> bool:
    return recipe.ranker is None and len(recipe.weights) == 1 and not recipe.new_weights


def _newcomers(known: Histories, truth: Truth) -> np.typing.NDArray[np.int32]:
    """Rows of customers who bought in the window and are known for enough purchases to show some of them."""
    warm = truth.subjects[purchases(known)[truth.subjects] >= COLD]
    if not len(warm):
        raise DataError(f"nobody in the judged window is known for {COLD} purchases", got=len(truth.subjects))
    return np.sort(np.random.default_rng(0).permutation(warm)[:CUSTOMERS])


def _customers(data: str, ready: Ready, resamples: int, tell: Tell) -> list[Row]:
    """NDCG by how many of a newcomer's events are shown, and the difference to popularity."""
    rows: list[Row] = []
    entries = {name: voices_of(recipe) for name, recipe in ready.recipes.items()}
    arena = ready.arena
    for keep in EVENTS_OF_CUSTOMER:
        past = arena.histories
        if keep is not None:
            past = customers_but_last(past, arena.truth.subjects, arena.window.start, keep)
        progress = counted(tell, f"customers with {shown(keep)}", 2 * len(arena.truth))
        found = contest(replace(arena, histories=past), entries, progress)
        rows += _customer_rows(data, keep, found, resamples)
    return rows


def _customer_rows(data: str, keep: int | None, found: Mapping[str, Evaluation], resamples: int) -> list[Row]:
    rows = []
    for task in TASKS:
        scores = {name: each.tasks[task].by_customer[PRIMARY] for name, each in found.items()}
        for name, values in scores.items():
            rows.append(_row(data, task, name, f"{PRIMARY}:{shown(keep)}", mean_interval(values, resamples=resamples)))
        gain = compare(scores[CHOSEN], scores[POPULARITY], resamples=resamples)
        rows.append(_row(data, task, CHOSEN, f"{PRIMARY}-difference:{POPULARITY}:{shown(keep)}", gain))
    return rows


def _item_rows(
    data: str, keep: int | None, found: Mapping[str, Found], clusters: np.typing.NDArray[np.int32], resamples: int
) -> list[Row]:
    """Recall and percentile over purchases, with intervals over customers."""
    rows = []
    for metric in ITEM_METRICS:
        scores = {name: each.hit if metric == "recall@20" else each.percentile for name, each in found.items()}
        for name, values in scores.items():
            interval = mean_interval(values, clusters=clusters, resamples=resamples)
            rows.append(_row(data, "items", name, f"{metric}:{shown(keep)}", interval))
        gain = compare(scores[CHOSEN], scores[POPULARITY], clusters=clusters, resamples=resamples)
        rows.append(_row(data, "items", CHOSEN, f"{metric}-difference:{POPULARITY}:{shown(keep)}", gain))
    return rows


def _row(data: str, task: str, subject: str, metric: str, interval: Interval) -> Row:
    return Row("cold", data, task, subject, metric, interval.value, interval.low, interval.high)


def _number(row: Row | None) -> float:
    return -1.0 if row is None or not np.isfinite(row.value) else row.value


def _cell(row: Row | None, form: str = "{:.3f}", *, interval: bool = True) -> str:
    if row is None or not np.isfinite(row.value):
        return ""
    if not interval or row.low is None or row.high is None or not np.isfinite(row.low):
        return form.format(row.value)
    return f"{form.format(row.value)}\n{form.format(row.low)} {form.format(row.high)}"
