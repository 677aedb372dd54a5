"""`kokyaku bench oracle`: how much of the best possible ranking of the simulated shop each recipe reaches.

Recipes are chosen and judged on the shop's last window as `bench accuracy` does; beside them stands the oracle, which
knows the hidden people and ranks by the true probability of a purchase in the window (`training.simulation.oracle`).
All figures are of the simulated shop: for tests, never evidence about real ones.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.box import SIMPLE
from rich.table import Table

from features.build import histories_as_of
from features.dataset import Dataset
from features.errors import ConfigError
from features.moments import DAY
from training.bench.accuracy import METRICS, Result, bars, table_of
from training.bench.best import ORACLE, Chances, Mask, chances_of, judged_oracle, segments_of
from training.bench.judging import CHOSEN, PRIMARY, Judgement, judge
from training.bench.rows import Row, write_rows
from training.bench.shops import default_cache
from training.commands.common import (
    CacheOption,
    JsonOption,
    PresetOption,
    ResamplesOption,
    SimulatedSeedOption,
    SizeOption,
    console,
)
from training.evaluate import TASKS, Evaluation, Task
from training.intervals import Interval, mean_interval, ratio
from training.meter import Tell
from training.recipes import BASELINES, PRESETS, Preset
from training.simulation.oracle import Oracle, oracle_of, world_of
from training.simulation.run import simulate
from training.simulation.truth import FOLDER, Truth
from training.simulation.world import WORLD_VERSION
from training.split import last_windows

WINDOW = 30 * DAY


def command(
    size: SizeOption = "s",
    seed: SimulatedSeedOption = 0,
    preset: PresetOption = "quick",
    runs: Annotated[int, typer.Option(min=2, help="How often the window is run to count purchases.")] = 1000,
    cache: CacheOption = None,
    resamples: ResamplesOption = 2000,
    json: JsonOption = None,
) -> None:
    """Compare each recipe with the best possible ranking, which is known in the simulated shop only.

    The oracle ranks by the true probability that a customer buys an item in the window. The share is a recipe's
    NDCG@20 divided by the oracle's, over the same customers, also by the shop's hidden segments.

    Examples:

      kokyaku bench oracle

      kokyaku bench oracle --size tiny --seed 3 --json oracle.json
    """
    if preset not in PRESETS:
        raise ConfigError("no such preset", where="--preset", got=preset, hint=" or ".join(PRESETS))
    with bars() as tell:
        result = run(
            size, seed, preset="quick" if preset == "quick" else "full", runs=runs, cache=cache or default_cache(),
            resamples=resamples, tell=tell,
        )  # fmt: skip
    for line in result.notes:
        console.print(line, highlight=False)
    for task in TASKS:
        console.print(table_of([row for row in result.rows if row.metric in METRICS], task))
        console.print(share_table(result.rows, task))
        console.print(error_line(result.rows, task), highlight=False)
    if json:
        write_rows(json, result.rows)


def run(
    size: str, seed: int, *, preset: Preset = "quick", runs: int = 1000, cache: Path | None = None,
    resamples: int = 2000, tell: Tell = lambda what, done, total: None,
) -> Result:  # fmt: skip
    """Simulate a shop (once a cache), judge recipes on its last 30 days, and compare them with the oracle.

    Args:
        size, seed: of the shop.
        preset: how much to train.
        runs: of the window, for the oracle.
        cache: default: the user's cache folder.
        resamples: of the bootstrap.
        tell: hears `(what, done, total)`.

    Raises:
        ConfigError: an unknown size.
    """
    dataset, truth = simulated_shop(cache or default_cache(), size, seed, tell)
    world = world_of(truth.manifest)
    chosen_on, judged = last_windows(world.calendar.end, WINDOW, 2)
    histories = histories_as_of(dataset)
    judgement = judge(histories, chosen_on, judged, dataset=dataset, preset=preset, tell=tell)
    oracle = oracle_of(world, judged, runs=runs, tell=lambda done, total: tell("oracle", done, total))
    rows = compared(f"simulated-{size}-{seed}", judgement, oracle, segments_of(judgement.arena, truth), resamples)
    notes = [
        f"The simulated shop (size {size}, seed {seed}, world {WORLD_VERSION}): never evidence about real shops.",
        f"Judged on {judged}, chosen on {chosen_on}; the oracle ran the window {runs} times.",
        *judgement.left_out,
        f"kokyaku is {judgement.choice.ranking[0]}; {len(judgement.arena.truth):,} customers.",
    ]
    return Result(rows, notes)


def simulated_shop(cache: Path, size: str, seed: int, tell: Tell) -> tuple[Dataset, Truth]:
    """The simulated shop of a size and seed, made where the cache does not hold it whole.

    Raises:
        ConfigError: an unknown size.
    """
    home = cache / f"simulated-{WORLD_VERSION}-{size}-{seed}"
    dataset = Dataset(home / "dataset")
    if not dataset.exists():
        shutil.rmtree(home, ignore_errors=True)
        simulate(home / "dataset", size=size, seed=seed, progress=lambda done, total: tell("simulate", done, total))
    return dataset, Truth.load(home / FOLDER)


def share_table(rows: Sequence[Row], task: str) -> Table:
    """The share of the oracle's NDCG by hidden segment, one line a segment, one column a recipe."""
    value = {(row.subject, row.metric): row for row in rows if row.task == task}
    head = f"{PRIMARY}-share"
    metrics = [metric for subject, metric in value if subject == CHOSEN and metric.startswith(head)]
    title = f"share of the oracle's {PRIMARY}, {task}: simulated shop"
    table = Table(title=title, box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("segment", "n", ORACLE, CHOSEN, "95 %", *BASELINES):
        table.add_column(column, no_wrap=True, justify="left" if column == "segment" else "right")
    for metric in metrics:
        of, mine = metric.removeprefix(head), value[CHOSEN, metric]
        table.add_row(
            of.removeprefix(":") or "everybody",
            f"{value[ORACLE, f'customers{of}'].value:.0f}",
            f"{value[ORACLE, PRIMARY + of].value:.3f}",
            f"{mine.value:.3f}",
            f"{mine.low:.3f}-{mine.high:.3f}",
            *(f"{value[name, metric].value:.3f}" for name in BASELINES),
        )
    return table


def error_line(rows: Sequence[Row], task: str) -> str:
    """How far the finite number of runs is felt, in a sentence."""
    value = {(row.subject, row.metric): row.value for row in rows if row.task == task}
    halves = " and ".join(f"{value[f'{ORACLE}-half-{name}', f'{PRIMARY}-half']:.4f}" for name in "ab")
    return (
        f"The oracle from half of the runs: {PRIMARY} {halves}, with {value[ORACLE, 'halves-overlap@20']:.0%} of the 20"
        f" in common; all runs gain {value[ORACLE, f'{PRIMARY}-gain-of-runs']:.4f};"
        f" standard error of a listed probability {value[ORACLE, 'probability-error@20']:.4f}."
    )


def compared(
    data: str, judgement: Judgement, oracle: Oracle, segments: Mapping[str, Mask], resamples: int
) -> list[Row]:
    """Metrics of all, shares of the oracle's NDCG on everybody and by segment, and the oracle's own error."""
    arena = judgement.arena
    chances = chances_of(arena, oracle, oracle.counts, sum(oracle.runs))
    best = judged_oracle(arena, chances)
    halves = [
        judged_oracle(arena, chances_of(arena, oracle, *each)) for each in zip(oracle.halves, oracle.runs, strict=True)
    ]
    shown = {ORACLE: best, **judgement.found}
    rows = []
    for task in TASKS:
        for name, each in shown.items():
            rows += [
                _row(data, task, name, metric, mean_interval(each.tasks[task].by_customer[metric], resamples=resamples))
                for metric in METRICS
            ]
        rows += _shares(data, task, shown, segments, resamples)
        rows += _errors(data, task, best, halves, chances, resamples)
    return rows


def _shares(
    data: str, task: Task, shown: Mapping[str, Evaluation], segments: Mapping[str, Mask], resamples: int
) -> list[Row]:
    """Each recipe's NDCG as a share of the oracle's; by segment those of `kokyaku` and the baselines."""
    score = {name: each.tasks[task].by_customer[PRIMARY] for name, each in shown.items()}
    everybody = np.ones(len(score[ORACLE]), np.bool_)
    rows = []
    for segment, mask in {"": everybody, **segments}.items():
        of = f":{segment}" if segment else ""
        for name in (CHOSEN, *BASELINES) if segment else score:
            if name != ORACLE:
                found = ratio(score[name][mask], score[ORACLE][mask], resamples=resamples)
                rows.append(_row(data, task, name, f"{PRIMARY}-share{of}", found))
        count = float(np.isfinite(score[ORACLE][mask]).sum())
        best = mean_interval(score[ORACLE][mask], resamples=resamples)
        rows += [_row(data, task, ORACLE, f"{PRIMARY}{of}", best)] if segment else []
        rows.append(Row("oracle", data, task, ORACLE, f"customers{of}", count))
    return rows


def _errors(
    data: str, task: Task, best: Evaluation, halves: list[Evaluation], chances: Chances, resamples: int
) -> list[Row]:
    """How far the finite number of runs is felt: each half's NDCG, what they share, and the error of a probability.

    `ndcg@20-gain-of-runs` is the oracle's NDCG minus the mean of its halves': with twice the runs about half of that
    is left to be gained.
    """
    score = [each.tasks[task].by_customer[PRIMARY] for each in halves]
    lists = [each.tasks[task].lists for each in (best, *halves)]
    whole = best.tasks[task].by_customer[PRIMARY]
    rows = [
        _row(data, task, f"{ORACLE}-half-{name}", f"{PRIMARY}-half", mean_interval(each, resamples=resamples))
        for name, each in zip("ab", score, strict=True)
    ]
    gain = mean_interval(whole - (score[0] + score[1]) / 2, resamples=resamples)
    shared = np.array([np.intersect1d(a[a >= 0], b[b >= 0]).size for a, b in zip(*lists[1:], strict=True)])
    listed = np.maximum((lists[1] >= 0).sum(axis=1), 1)
    chance = np.where(lists[0] >= 0, np.take_along_axis(chances.all, np.maximum(lists[0], 0), axis=1), np.nan)
    error = np.sqrt(np.nanmean(chance * (1 - chance) / chances.runs)) if chance.size else np.nan
    return [
        *rows,
        _row(data, task, ORACLE, f"{PRIMARY}-gain-of-runs", gain),
        _row(data, task, ORACLE, "halves-overlap@20", mean_interval(shared / listed, resamples=resamples)),
        Row("oracle", data, task, ORACLE, "probability-error@20", float(error)),
    ]


def _row(data: str, task: Task, subject: str, metric: str, interval: Interval) -> Row:
    unit = "bits" if metric.startswith("novelty") else ""
    return Row("oracle", data, task, subject, metric, interval.value, interval.low, interval.high, unit)
