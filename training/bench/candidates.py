"""`kokyaku bench candidates`: how far a list has to look around: what less of it saves, and what that loses.

Everything after the sources costs in proportion to the candidates. Two ways to have fewer: each source proposes fewer
(`40 each`), or of what all propose the foremost go on (`160 in all`, see `serving.union`). They are compared with all
of a hundred from each source, twice on the same customers: by trees that learned on those, and by trees that learned on
as many as they are asked to order, with the sources that are worth hearing then, which is what another default would
mean. Trees learn on the windows before the judged one, over the full catalogue, and the ranker that serves is asked;
beside the two tasks of training also for lists of one category, where a filter takes most candidates away.

In the same way a past that is cut to its foremost items is compared with all of it, where lists consider as many
candidates as new recipes do.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache as remembered
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import typer
from threadpoolctl import threadpool_limits

from features.build import histories_as_of
from features.dataset import Dataset
from features.errors import ConfigError, DataError
from features.history import Histories
from features.ids import Array
from serving.bundle import Bundle
from serving.ranker import LONG, WIDE, Ranker
from serving.recipe import USUAL, Breadth, Recipe
from serving.settings.shop import ModelSettings
from training.bench import category_asked
from training.bench.accuracy import Result, bars
from training.bench.candidates_table import METRICS, table_of
from training.bench.judging import arena_of
from training.bench.rows import Row, write_rows
from training.bench.shops import Split, case_of, checked_split, dataset_of, default_cache, reads
from training.commands.common import JsonOption, console
from training.contest import Arena, contest, question, voices_of
from training.evaluate import KS, TASKS
from training.fitting import Cut
from training.intervals import Floats, Interval, compare, mean_interval
from training.meter import Tell, counted
from training.rankers import EFFORT, OBJECTIVES, Rankers, ranked, seeded
from training.recipes import POPULARITY, PRESETS, SESSION, Menu, Preset, menu
from training.session import active_customers
from training.split import Window
from training.voices import voices_for

CATEGORY = "lists of one category"
ALL = Breadth(100, 0, past=0)
"""What fewer candidates are compared with."""
WHOLE = msgspec.structs.replace(USUAL, past=0)
"""What less of the past is compared with."""
RANKER = next(iter(OBJECTIVES))
"""The recipe whose trees are asked."""
TIMED = 200
"""Customers whose answers are timed."""


def command(
    each: Annotated[list[int] | None, typer.Option(help="So many of each source, all of them; again for more.")] = None,
    most: Annotated[list[int] | None, typer.Option(help="So many in all; again for more.")] = None,
    past: Annotated[
        list[int] | None, typer.Option(min=1, help="Instead: so many items of the past; again for more.")
    ] = None,
    data: Annotated[str, typer.Option(help="complete-journey or online-retail.")] = "complete-journey",
    path: Annotated[Path | None, typer.Option(help="The shop's file, where it is not a package.")] = None,
    split: Annotated[
        str, typer.Option(help="valid; test: the quoted window, or second: another; both counted.")
    ] = "valid",
    preset: Annotated[str, typer.Option(help="How much to train: quick or full.")] = "quick",
    seeds: Annotated[int, typer.Option(min=1, max=50, help="Of trees; a customer's figure is the mean of theirs.")] = 1,
    cache: Annotated[Path | None, typer.Option(help="Folder of imported shops and of the count of reads.")] = None,
    resamples: Annotated[int, typer.Option(min=10, max=100_000, help="Of the bootstrap.")] = 2000,
    json: JsonOption = None,
) -> None:
    """Measure what fewer candidates, or less of the past, do to lists of twenty, and to the time of an answer.

    Differences from all of a hundred of each source, or from all of the past, are paired by customer, with their 95 %
    interval; trees of another seed alone differ by some percent, which a mean of several evens out. Times are of one
    processor, of the ranking alone. By default: 40 and 60 each; 80, 120, 160 and 240 in all.

    Examples:

      kokyaku bench candidates

      kokyaku bench candidates --past 50 --past 100 --past 200 --seeds 5

      kokyaku bench candidates --most 120 --data online-retail --path online_retail.csv.gz --json candidates.json
    """
    part = checked_split(split)
    if preset not in PRESETS:
        raise ConfigError("no such preset", where="--preset", got=preset, hint=" or ".join(PRESETS))
    if past and (each or most):
        hint = "ask twice: each is compared with something else"
        raise ConfigError("beside --past no number of candidates is tried", where="--past", got=past, hint=hint)
    cut = [msgspec.structs.replace(WHOLE, past=number) for number in past or ()]
    wanted = cut or breadths_of(each or ([] if most else [40, 60]), most or ([] if each else [80, 120, 160, 240]))
    with bars() as tell:
        result = run(
            wanted, data, path, base=WHOLE if cut else ALL, split=part,
            preset="quick" if preset == "quick" else "full", seeds=seeds, cache=cache, resamples=resamples, tell=tell,
        )  # fmt: skip
    for line in result.notes:
        console.print(line, highlight=False)
    for task in dict.fromkeys(row.task for row in result.rows):
        console.print(table_of(result.rows, task))
    if json:
        write_rows(json, result.rows)


def breadths_of(each: Sequence[int], most: Sequence[int]) -> list[Breadth]:
    """What is asked for.

    Raises:
        ConfigError: fewer than a list of twenty asks for whatever the recipe says.
    """
    for where, numbers, times in (("--each", each, WIDE), ("--most", most, LONG)):
        if numbers and min(numbers) < times * max(KS):
            hint = f"a list of {max(KS)} asks for {times * max(KS)} at least"
            raise ConfigError("too few candidates", where=where, got=min(numbers), hint=hint)
    one = [msgspec.structs.replace(ALL, per_source=number) for number in each]
    return [*one, *(msgspec.structs.replace(ALL, most=number) for number in most)]


def run(
    breadths: Sequence[Breadth], data: str = "complete-journey", path: Path | None = None, *, base: Breadth = ALL,
    split: Split = "valid", preset: Preset = "quick", seeds: int = 1, cache: Path | None = None, resamples: int = 2000,
    tell: Tell = lambda what, done, total: None,
) -> Result:  # fmt: skip
    """Measure a shop.

    Args:
        breadths: to compare.
        base: with what.
        seeds: of trees, so many for each breadth.
        data: a shop of `training.bench.shops`; the other arguments and errors as of `training.bench.accuracy.run`.
    """
    case, cache = case_of(data), cache or default_cache()
    tell("import", 0, 1)
    dataset = dataset_of(data, path, cache)
    histories = histories_as_of(dataset)
    tell("import", 1, 1)
    chosen_on, judged = case.windows(split)
    notes = [f"{data}, judged on {judged}.", *reads(split, data, cache)]
    ready = prepare(histories, chosen_on, judged, dataset=dataset, preset=preset, tell=tell)
    found = measure(ready, data, breadths, base=base, seeds=seeds, resamples=resamples, tell=tell)
    return Result(found.rows, [*notes, *found.notes])


@dataclass(frozen=True)
class Ready:
    """What does not depend on how far a list looks around.

    Args:
        earlier: where sources are heard to find out which are worth it.
        judged: where lists are judged, with every source.
        listed: the sources that could be fitted on both.
        rankers: learn trees on the windows before the judged one.
    """

    earlier: Arena
    judged: Arena
    listed: Menu
    rankers: Rankers


@dataclass(frozen=True)
class Tried:
    """A breadth as it was judged.

    Args:
        name: e.g. `160 in all, trees of 100 each`.
        arena: the judged window, with the trees.
        recipe: with the ranker of the first seed.
        by_customer: task -> metric -> float64[customers], the mean of all seeds; the same customers for all that is
            tried.
    """

    name: str
    arena: Arena
    recipe: Recipe
    by_customer: Mapping[str, Mapping[str, Floats]]


def prepare(
    histories: Histories, chosen_on: Window, judged: Window, *, dataset: Dataset | None = None,
    preset: Preset = "quick", tell: Tell = lambda what, done, total: None,
    min_customers: int = ModelSettings().min_customers,
) -> Ready:  # fmt: skip
    """Fit every source up to the start of both windows."""
    cut_at = remembered(lambda moment: Cut(histories, moment, min_customers=min_customers, dataset=dataset))
    length = chosen_on.end - chosen_on.start
    rankers = Rankers(histories, cut_at, length, regions={}, effort=EFFORT[preset], tell=tell)
    early, late = cut_at(chosen_on.start), cut_at(judged.start)
    listed = menu(
        ModelSettings(), preset=preset, customers=active_customers(early), items=int(early.listed.sum()),
        texts=early.texts is not None,
    )  # fmt: skip
    for spec in listed.sources:
        try:
            for cut in (early, late):
                tell(f"fit {spec.name}", 0, 1)
                cut.fit(spec)
        except DataError as error:
            listed = listed.without(spec.name, error.line())
    return Ready(
        arena_of(early, histories, chosen_on, listed.sources, tell, "fit (earlier window)"),
        arena_of(late, histories, judged, listed.sources, tell, "fit"), listed, rankers,
    )  # fmt: skip


def measure(
    ready: Ready, data: str, breadths: Sequence[Breadth], *, base: Breadth = ALL, seeds: int = 1,
    resamples: int = 2000, tell: Tell = lambda what, done, total: None,
) -> Result:  # fmt: skip
    """Judge the base, and each other breadth by the trees of that and by trees of its own."""
    learned: dict[Breadth, tuple[list[Recipe], Mapping[str, Array]]] = {}
    notes = list(ready.listed.notes)
    for breadth in dict.fromkeys((base, *breadths)):
        learned[breadth] = recipes, _ = learn(ready, breadth, seeds)
        voices = recipes[0].ranker.voices if recipes[0].ranker else ()
        notes.append(f"{named(breadth)}: trees listen to {', '.join(voices)}.")
    pairs = dict.fromkeys((by, breadth) for breadth in learned for by in (base, breadth))
    tried = [judge(ready, *learned[by], by, breadth, tell) for by, breadth in pairs]
    rows = [row for each in tried for row in _rows(data, each, tried[0], resamples)]
    return Result([*rows, *_costs(data, tried)], notes)


def named(breadth: Breadth) -> str:
    """As tables call it."""
    if breadth.past:
        return f"past {breadth.past}"
    return f"{breadth.most} in all" if breadth.most else f"{breadth.per_source} each"


def learn(ready: Ready, breadth: Breadth, seeds: int = 1) -> tuple[list[Recipe], Mapping[str, Array]]:
    """The recipes of rankers that look so far, one a seed, and their trees."""
    sources, start = ready.listed.sources, ready.judged.window.start
    heard, _ = voices_for(ready.earlier.broad(breadth), [each.name for each in sources if each.name != SESSION])
    unfit = ready.rankers.unfit([each for each in sources if each.name in heard], start)
    voices = [name for name in heard if name not in unfit]
    base = Recipe("candidates", sources, {POPULARITY: 1.0}).broad(breadth)
    recipes = seeded(ranked(base, sources, voices)[0], seeds)
    trees, failed = ready.rankers.fit_all(recipes, start)
    if failed:
        raise DataError("no ranker can be fitted", where=named(breadth), got=failed[RANKER])
    return recipes, trees


def judge(
    ready: Ready, recipes: Sequence[Recipe], trees: Mapping[str, Array], by: Breadth, breadth: Breadth, tell: Tell
) -> Tried:  # fmt: skip
    """Trees that learned on one breadth, asked to order what comes of another."""
    bundle = ready.judged.bundle
    arena = replace(ready.judged, bundle=Bundle(bundle.manifest, {**bundle.arrays, **trees})).broad(breadth)
    name = f"{named(breadth)}, trees of {named(by)}"
    voices = {str(seed): voices_of(each) for seed, each in enumerate(recipes)}
    found = contest(arena, voices, counted(tell, name, 2 * len(arena.truth))).values()
    by_customer: dict[str, Mapping[str, Floats]] = {
        task: _mean([each.tasks[task].by_customer for each in found]) for task in TASKS
    }
    if pages := _mean([category_asked.by_customer(arena, each["all"]) for each in voices.values()]):
        by_customer[CATEGORY] = pages
    return Tried(name, arena, recipes[0], by_customer)


def _mean(several: Sequence[Mapping[str, Floats]]) -> dict[str, Floats]:
    """By metric, the mean of each customer's figures."""
    return {metric: np.mean([each[metric] for each in several], axis=0) for metric in several[0]}


def _rows(data: str, tried: Tried, base: Tried, resamples: int) -> list[Row]:
    rows = []
    for task, mine in tried.by_customer.items():
        for metric in METRICS:
            rows.append(_row(data, task, tried.name, metric, mean_interval(mine[metric], resamples=resamples)))
            if tried is not base:
                apart = compare(mine[metric], base.by_customer[task][metric], resamples=resamples)
                rows.append(_row(data, task, tried.name, f"{metric}-difference", apart))
    return rows


def _costs(data: str, tried: Sequence[Tried]) -> list[Row]:
    """Candidates that are ordered, and processor time; one breadth after the other for each customer."""
    arena, rankers = tried[0].arena, [Ranker(each.arena.bundle) for each in tried]
    known = arena.histories.as_of(arena.window.start)
    places = range(0, len(arena.truth), max(1, len(arena.truth) // TIMED))
    rows = []
    for task in TASKS:
        counts, took = np.empty((2, len(tried), len(places)))
        with threadpool_limits(1, "blas"):  # as in a worker
            for at, place in enumerate([places[0], *places]):
                row = int(arena.truth.subjects[place])
                history = known.at(row)
                for which, (each, ranker) in enumerate(zip(tried, rankers, strict=True)):
                    start = time.process_time()
                    slate = ranker.rank(question(arena, row, history, task, max(KS)), voices_of(each.recipe)[task])
                    if at:  # what the first request waits for counts for nobody
                        took[which, at - 1] = 1e6 * (time.process_time() - start)
                        counts[which, at - 1] = len(slate.considered)
        for which, each in enumerate(tried):
            rows.append(_row(data, task, each.name, "candidates", mean_interval(counts[which])))
            rows.append(_row(data, task, each.name, "answer-us", mean_interval(took[which]), "us"))
    return rows


def _row(data: str, task: str, subject: str, metric: str, interval: Interval, unit: str = "") -> Row:
    return Row("candidates", data, task, subject, metric, interval.value, interval.low, interval.high, unit)
