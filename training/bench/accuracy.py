"""`kokyaku bench accuracy`: what a shop's next month says of each way to recommend.

The protocol of shops is that of training: fitted up to the window's start, full catalogue, no sampled negatives, judged
by the very ranker that serves, with intervals over customers. Blends and the recipe called `kokyaku` are chosen on the
window before the judged one. Plain baselines stand beside the models in the same run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.box import SIMPLE
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from threadpoolctl import threadpool_limits

from features.build import histories_as_of
from features.dataset import Dataset
from features.errors import ConfigError
from features.history import Histories
from serving.query import Query
from serving.ranker import Ranker, Voice
from serving.recipe import Recipe
from training.bench import pair_data, pairs
from training.bench.judging import CHOSEN, PRIMARY, judge
from training.bench.rows import Row, write_rows
from training.bench.shops import CASES, Case, Split, case_of, checked_split, dataset_of, default_cache, reads
from training.commands.common import JsonOption, PresetOption, ResamplesOption, console
from training.contest import Arena, voices_of
from training.evaluate import FILTERS, TASKS, Evaluation, Task, compare
from training.fitting import Cut
from training.intervals import Interval, mean_interval
from training.meter import Meter, Tell
from training.recipes import FREQUENCY, PRESETS, Preset
from training.report import describe
from training.split import Window

METRICS = ("ndcg@20", "recall@20", "map@20", "mrr@20", "hr@20", "novelty@20")
BLEND = "frequency+ials"
TIMED_CUSTOMERS = 100
_SHOWN = {"recall": "recall@20", "map": "map@20", "mrr": "mrr@20", "cover": "coverage@20", "ms": "answer-ms"}
"""Columns of the printed table beside the primary metric; the JSON rows hold all."""


def command(
    data: Annotated[
        str, typer.Option(help=f"A shop ({', '.join(CASES)}) or pairs ({', '.join(pair_data.CASES)}).")
    ] = "complete-journey",
    path: Annotated[Path | None, typer.Option(help="The shop's file or the pairs' folder.")] = None,
    split: Annotated[
        str, typer.Option(help="valid; test: the quoted window, or second: another; both counted.")
    ] = "valid",
    keep_fees: Annotated[bool, typer.Option("--keep-fees", help="online-retail: postage and fees are items.")] = False,
    preset: PresetOption = "full",
    cache: Annotated[Path | None, typer.Option(help="Folder of imported shops and of the count of reads.")] = None,
    resamples: ResamplesOption = 2000,
    json: JsonOption = None,
) -> None:
    """Recommend as of a window's start and look at what customers bought in it: models beside plain baselines.

    Two tasks: all purchases, and items that the customer never bought before. The rows named independent: are the
    figures of another script on the same test window. Pairs of customers and items have no moments: there the
    published splits are judged, beside the published: rows, which their authors tuned on the test.

    Examples:

      kokyaku bench accuracy

      kokyaku bench accuracy --data online-retail --split test --path online_retail.csv.gz --json accuracy.json

      kokyaku bench accuracy --data gowalla --split test --path gowalla/
    """
    part = checked_split(split)
    if preset not in PRESETS:
        raise ConfigError("no such preset", where="--preset", got=preset, hint=" or ".join(PRESETS))
    paired = data in pair_data.CASES
    with bars() as tell:
        if paired:
            result = run_pairs(data, path, split=part, cache=cache, resamples=resamples, tell=tell)
        else:
            result = run(
                data, path, split=part, keep_fees=keep_fees, preset="quick" if preset == "quick" else "full",
                cache=cache, resamples=resamples, tell=tell,
            )  # fmt: skip
    for line in result.notes:
        console.print(line, highlight=False)
    tables = (
        pairs.tables_of(result.rows, data) if data in pair_data.CASES else [table_of(result.rows, t) for t in TASKS]
    )
    for table in tables:
        console.print(table)
    if json:
        write_rows(json, result.rows)


@dataclass(frozen=True)
class Result:
    """Rows, and sentences that belong beside them."""

    rows: list[Row]
    notes: list[str]


def run(
    data: str,
    path: Path | None = None,
    *,
    split: Split = "valid",
    keep_fees: bool = False,
    preset: Preset = "full",
    cache: Path | None = None,
    resamples: int = 2000,
    tell: Tell = lambda what, done, total: None,
) -> Result:
    """Measure a shop.

    Args:
        data: `complete-journey` or `online-retail`.
        path: its file, where it is not a package.
        split: which window is judged.
        keep_fees: online-retail only.
        preset: how much to train.
        cache: default: the user's cache folder.
        resamples: of the bootstrap.
        tell: hears `(what, done, total)`.

    Raises:
        ConfigError: unknown data, or a file that is needed and not named.
        DataError: the file is not there or cannot be read, or the package is not installed.
    """
    case, cache, meter = case_of(data), cache or default_cache(), Meter()
    with meter.step("import"):
        tell("import", 0, 1)
        dataset = dataset_of(data, path, cache, keep_fees=keep_fees)
        histories = histories_as_of(dataset)
        tell("import", 1, 1)
    chosen_on, judged = case.windows(split)
    notes = [f"{data}, judged on {judged}, chosen on {chosen_on}.", *reads(split, data, cache)]
    name = f"{data}+fees" if keep_fees else data
    return measure(histories, name, chosen_on, judged, dataset=dataset, preset=preset, resamples=resamples, tell=tell,
                   meter=meter, notes=notes, reference=_reference(case, split, data, keep_fees=keep_fees))  # fmt: skip


def run_pairs(
    data: str, path: Path | None, *, split: Split, cache: Path | None = None, resamples: int = 2000,
    tell: Tell = lambda what, done, total: None,
) -> Result:  # fmt: skip
    """Measure pairs of customers and items; arguments and errors as for `run`."""
    if path is None:
        raise ConfigError("this data needs a folder", where="--path", got=None, hint=f"the folder of {data}")
    if split == "second":
        raise ConfigError("pairs have one test", where="--split", got=split, hint="valid or test")
    rows, notes = pairs.run(data, path, part=split, resamples=resamples, tell=tell)
    return Result(rows, [*reads(split, data, cache or default_cache()), *notes])


def measure(
    histories: Histories, name: str, chosen_on: Window, judged: Window, *, dataset: Dataset | None = None,
    preset: Preset = "full",
    resamples: int = 2000, tell: Tell = lambda what, done, total: None, meter: Meter | None = None,
    notes: Sequence[str] = (), reference: Mapping[str, Mapping[str, float]] | None = None,
) -> Result:  # fmt: skip
    """Choose on one window, judge on the other; the whole of the benchmark but for the import."""
    meter = meter or Meter()
    judgement = judge(histories, chosen_on, judged, dataset=dataset, preset=preset, tell=tell, meter=meter)
    choice, cut, arena, found = judgement.choice, judgement.cut, judgement.arena, judgement.found
    recipes = {recipe.name: recipe for recipe in choice.recipes}
    rows = [row for subject, each in _named(found).items() for row in _rows(name, subject, each, resamples)]
    rows += _differences(name, found, resamples)
    with threadpool_limits(1, "blas"):  # as the service runs
        rows += _costs(name, cut, arena, recipes, meter)
    rows += [
        Row("accuracy", name, task, f"independent:{subject}", PRIMARY, value)
        for task, values in (reference or {}).items()
        for subject, value in values.items()
    ]
    told = f"kokyaku is {choice.ranking[0]}: {describe(recipes[choice.ranking[0]])}."
    blend = [f"blend: {describe(recipes[BLEND])}."] if BLEND in recipes else []
    return Result(
        rows,
        [
            *notes,
            *judgement.left_out,
            told,
            *blend,
            f"{len(arena.truth):,} customers, {int(cut.listed.sum()):,} items.",
        ],
    )


def table_of(rows: Sequence[Row], task: str) -> Table:
    """One task as a table: a line a subject, best first."""
    value = {(row.subject, row.metric): row for row in rows if row.task == task}
    subjects = {row.subject for row in rows if row.task == task}
    title = {"all": "all purchases", "new": "never bought before"}.get(task, task)
    shown = {column: metric for column, metric in _SHOWN.items() if any(metric == name for _, name in value)}
    table = Table(title=title, box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("subject", PRIMARY, "95 %", *shown):
        table.add_column(column, no_wrap=True, justify="left" if column == "subject" else "right")
    for subject in sorted(subjects, key=lambda each: (-_value(value.get((each, PRIMARY))), each)):
        first = value.get((subject, PRIMARY))
        between = "" if first is None or first.low is None else f"{first.low:.3f}-{first.high:.3f}"
        cells = (_cell(value.get((subject, metric))) for metric in shown.values())
        table.add_row(subject, _cell(first), between, *cells)
    return table


@contextmanager
def bars() -> Iterator[Tell]:
    """Progress bars on the terminal, one a step."""
    tasks: dict[str, TaskID] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total)

        yield tell


def _named(found: Mapping[str, Evaluation]) -> dict[str, Evaluation]:
    """By the subject of its rows: the plain blend is called so."""
    return {"blend" if name == BLEND else name: each for name, each in found.items()}


def _rows(data: str, subject: str, found: Evaluation, resamples: int) -> list[Row]:
    rows = []
    for task, result in found.tasks.items():
        for metric in METRICS:
            interval = mean_interval(result.by_customer[metric], resamples=resamples)
            unit = "bits" if metric.startswith("novelty") else ""
            rows.append(_row(data, task, subject, metric, interval, unit))
        rows.append(Row("accuracy", data, task, subject, "coverage@20", result.overall["coverage@20"]))
    return rows


def _differences(data: str, found: Mapping[str, Evaluation], resamples: int) -> list[Row]:
    """`kokyaku` minus each plain baseline, each single model and each blend, paired by customer."""
    others = [name for name in found if name != CHOSEN and found[name] is not found[CHOSEN]]
    return [
        _row(data, task, CHOSEN, f"{PRIMARY}-difference:{name}",
             compare(found[CHOSEN], found[name], PRIMARY, task, resamples=resamples))
        for task in TASKS
        for name in others
        if not (task == "new" and name == FREQUENCY)  # it proposes nothing new: that would be popularity once more
    ]  # fmt: skip


def _costs(data: str, cut: Cut, arena: Arena, recipes: Mapping[str, Recipe], meter: Meter) -> list[Row]:
    """Seconds of each fit, milliseconds of an answer, and memory."""
    rows = [
        Row("accuracy", data, "fit", spec.name, "fit-seconds", round(cut.fit(spec).seconds, 3), unit="s")
        for spec in arena.bundle.recipe.sources
    ]
    ranker = Ranker(arena.bundle)
    for name, recipe in recipes.items():
        took = _milliseconds(ranker, arena, voices_of(recipe)["all"])
        rows.append(_row(data, "all", "blend" if name == BLEND else name, "answer-ms", took, "ms"))
    return [*rows, Row("accuracy", data, "fit", "run", "peak-memory", round(meter.peak_mb, 1), unit="MiB")]


def _milliseconds(ranker: Ranker, arena: Arena, voice: Voice) -> Interval:
    """Time of one answer of 20 items, over some customers."""
    known, took = arena.histories.as_of(arena.window.start), []
    for row in arena.truth.subjects[:: max(1, len(arena.truth) // TIMED_CUSTOMERS)][:TIMED_CUSTOMERS].tolist():
        query = Query(now=arena.window.start, history=known.at(row), num_results=20, filter=FILTERS["all"])
        start = time.perf_counter()
        ranker.rank(query, voice)
        took.append(1000 * (time.perf_counter() - start))
    return mean_interval(np.array(took))


def _reference(case: Case, split: Split, data: str, *, keep_fees: bool) -> Mapping[str, Mapping[str, float]]:
    """The independent figures where the run measures the same thing."""
    same = split == "test" and (data != "online-retail" or keep_fees)
    return case.reference if same else {}


def _row(data: str, task: Task, subject: str, metric: str, interval: Interval, unit: str = "") -> Row:
    return Row("accuracy", data, task, subject, metric, interval.value, interval.low, interval.high, unit)


def _value(row: Row | None) -> float:
    return -1.0 if row is None or not np.isfinite(row.value) else row.value


def _cell(row: Row | None) -> str:
    if row is None or not np.isfinite(row.value):
        return ""
    return f"{row.value:.1f}" if row.unit else f"{row.value:.4f}"
