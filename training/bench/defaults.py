"""`kokyaku bench defaults`: whether a source's default parameters are good on a shop that nobody tuned on.

The default and a fixed design of other settings are judged on the validation window of each of several data sets. A
setting is picked across data sets and judged leave-one-data-set-out: on the one that it was not picked on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.box import SIMPLE
from rich.table import Table

from features.errors import ConfigError, DataError
from training.bench.accuracy import bars
from training.bench.judging import PRIMARY
from training.bench.leaving import LEAST, Verdict, leave_one_out
from training.bench.places import DataSets, data_sets
from training.bench.rows import Row, write_rows
from training.bench.shops import default_cache
from training.bench.trials import Floats, name_of, settings_of, space_of, tried
from training.commands.common import JsonOption, ResamplesOption, console
from training.intervals import Interval
from training.meter import Tell
from training.params import Named
from training.recipes import PRESETS, Preset, source_names

FOLDER = "defaults"
DIFFERENCE = f"{PRIMARY}-difference"


@dataclass(frozen=True, slots=True)
class Options:
    """How defaults are judged.

    Args:
        settings: of each source, the default included.
        seed: of the design.
        preset: gives the defaults and what a setting does not name.
        fresh: whether earlier results are thrown away.
        resamples: of the bootstrap.
    """

    settings: int = 12
    seed: int = 0
    preset: Preset = "quick"
    fresh: bool = False
    resamples: int = 2000


@dataclass(frozen=True)
class Found:
    """What was found of a source.

    Args:
        source: its name.
        settings: what was tried, the default first.
        tables: data set -> float64[settings, customers], what each customer adds to the objective.
        verdict: None where there are too few data sets to leave one out.
        notes: sentences on what was left out, and on what the figures say.
    """

    source: str
    settings: Sequence[Named]
    tables: dict[str, Floats]
    verdict: Verdict | None
    notes: Sequence[str]


def command(
    sources: Annotated[list[str] | None, typer.Argument(help="What to judge; every source by default.")] = None,
    path: Annotated[Path | None, typer.Option(help="The file of Online Retail; without it that is left out.")] = None,
    settings: Annotated[int, typer.Option(min=2, max=1000, help="Of each source, the default included.")] = 12,
    seed: Annotated[int, typer.Option(min=0, help="Of the design of settings.")] = 0,
    customers: Annotated[int, typer.Option(min=4, help="Of each data set at most.")] = 600,
    size: Annotated[str, typer.Option(help="Of the simulated shops: tiny, s, m or l.")] = "s",
    preset: Annotated[str, typer.Option(help="Whose defaults: quick or full.")] = "quick",
    fresh: Annotated[bool, typer.Option("--fresh", help="Throw away earlier results of these sources.")] = False,
    cache: Annotated[Path | None, typer.Option(help="Folder of imported and simulated shops, and of results.")] = None,
    resamples: ResamplesOption = 2000,
    json: JsonOption = None,
) -> None:
    """Judge default parameters on shops that they were not chosen on: leave one data set out.

    The default and points of the search space are judged on the validation window of Complete Journey, Online Retail
    and the simulated shop (two shops that count as one). A share of 1 is as good as the best setting of that data set.
    The pick of the other data sets is compared with the default and with the best, paired by customer.

    Every result is written down at once: a run that was stopped goes on where it was, also with more settings.

    Examples:

      kokyaku bench defaults personal-frequency popularity --path online_retail.csv.gz

      kokyaku bench defaults ials --settings 40 --path online_retail.csv.gz --json defaults.json
    """
    if preset not in PRESETS:
        raise ConfigError("no such preset", where="--preset", got=preset, hint=" or ".join(PRESETS))
    options = Options(settings, seed, "quick" if preset == "quick" else "full", fresh, resamples)
    names = sources or list(source_names())
    for name in names:
        space_of(name, options.preset)  # a wrong name is told before anything is read
    with bars() as tell:
        there, notes = data_sets(path, cache or default_cache(), size, customers, tell)
    said(*told(there), *notes)
    rows: list[Row] = []
    for name in names:
        with bars() as tell:
            found = measure(name, there, cache or default_cache(), options, tell)
        show(found)
        rows += rows_of(found)
        if json:
            write_rows(json, rows)


def measure(
    source: str, there: DataSets, cache: Path, options: Options, tell: Tell = lambda what, done, total: None
) -> Found:
    """Try all settings of a source on all data sets, and leave one data set out after the other.

    Args:
        source: its name.
        there: the data sets.
        cache: results are kept in its folder `defaults`.
        options: how.
        tell: hears `(what, done, total)`.

    Raises:
        ConfigError: there is no such source, or its search space does not suit it.
    """
    space, default = space_of(source, options.preset)
    settings = settings_of(space, default, options.settings, options.seed)
    tables: dict[str, Floats] = {}
    notes: list[str] = []
    for data, places in there.items():
        try:
            table, more = tried(
                source, data, places, settings, space,
                preset=options.preset, folder=cache / FOLDER, fresh=options.fresh, tell=tell,
            )  # fmt: skip
        except DataError as error:
            notes.append(f"{source} is not judged on {data}: {error.line()}.")
            continue
        notes += more
        if np.nanmax(table.mean(axis=1)) > 0:
            tables[data] = table
        else:
            notes.append(f"{source} is not judged on {data}: no setting finds anything that was bought.")
    if len(tables) < LEAST:
        return Found(source, settings, tables, None, [*notes, f"{source}: leaving one data set out needs two."])
    verdict = leave_one_out(tables, options.resamples)
    return Found(source, settings, tables, verdict, [*notes, *sentences(source, settings, verdict)])


def sentences(source: str, settings: Sequence[Named], verdict: Verdict) -> list[str]:
    """The default, the pick of all data sets, and whether the default stands."""
    lines = [f"default of {source}: {written(settings[0])}."]
    if verdict.pick:
        lines.append(f"{name_of(verdict.pick)}, the pick of all data sets: {written(settings[verdict.pick])}.")
    low, high = verdict.pooled.low, verdict.pooled.high
    pooled = f"{verdict.pooled.value:+.3f} of the best ({low:.3f} to {high:.3f})"
    if verdict.better:
        lines.append(
            f"Another is better everywhere: on every data set the pick of the others beats the default, {pooled} on "
            f"average; {name_of(verdict.pick)} is the pick of all."
        )
    elif not any(each.pick for each in verdict.left):
        lines.append("The current default stands: it is the pick of the others on every data set.")
    elif worse := [each.data for each in verdict.left if not each.gain.value > 0]:
        lines.append(
            f"The current default stands: the pick of the others does not beat it on {', '.join(worse)}; "
            f"{pooled} on average."
        )
    else:
        lines.append(
            f"The current default stands: the pick of the others is ahead on every data set, but the interval of the "
            f"mean holds 0, {pooled}."
        )
    return lines


def rows_of(found: Found) -> list[Row]:
    """Parameters of every setting, its objective and share on each data set, and the leave-one-out comparison."""
    rows = [
        Row("defaults", "every", "settings", f"{found.source}:{name_of(number)}", key, float(value))
        for number, setting in enumerate(found.settings)
        for key, value in setting.items()
        if not isinstance(value, str)
    ]
    for data, table in found.tables.items():
        for number, mean in enumerate(table.mean(axis=1).tolist()):
            subject = f"{found.source}:{name_of(number)}"
            rows.append(Row("defaults", data, "tried", subject, PRIMARY, mean))
            if found.verdict:
                share = float(found.verdict.shares[data][number])
                rows.append(Row("defaults", data, "tried", subject, "share", share))
    return rows if found.verdict is None else [*rows, *_left_rows(found.source, found.verdict)]


def show(found: Found) -> None:
    """The tables and sentences of a source on the terminal."""
    if found.verdict:
        console.print(tried_table(found.source, found.verdict))
        console.print(left_table(found.source, found.verdict))
    said(*found.notes)


def tried_table(source: str, verdict: Verdict) -> Table:
    """Shares of every setting, one line a setting, one column a data set; the best mean first."""
    table = _table(f"{source}: share of the best setting of each data set", ("setting", *verdict.shares, "mean"))
    means = np.mean(list(verdict.shares.values()), axis=0)
    for number in sorted(range(len(means)), key=lambda each: (-np.nan_to_num(means[each], nan=-1.0), each)):
        shares = [each[number] for each in verdict.shares.values()]
        table.add_row(name_of(number), *(_cell(share, ".3f") for share in (*shares, means[number])))
    return table


def left_table(source: str, verdict: Verdict) -> Table:
    """Each left-out data set with the pick of the others; below, the mean over data sets in shares of the best."""
    columns = ("left out", "pick", "share", "default", "minus default", "minus best")
    table = _table(f"{source}: the pick of the others ({PRIMARY}, 95 %)", columns)
    for each in verdict.left:
        table.add_row(
            each.data, name_of(each.pick), _cell(each.share, ".3f"), _cell(each.default, ".3f"),
            _with_ends(each.gain, "+.4f"), _with_ends(each.lack, "+.4f"),
        )  # fmt: skip
    table.add_row("mean, in shares", "", "", "", _with_ends(verdict.pooled, "+.3f"), "")
    return table


def told(there: DataSets) -> list[str]:
    """What is judged, as sentences."""
    lines = [
        f"{place.name}: {len(place.truth):,} customers, {place.window}."
        for places in there.values()
        for place in places
    ]
    return [*lines, "A simulated shop is never evidence about real ones."]


def written(setting: Named) -> str:
    """A setting as people write it."""
    return ", ".join(f"{key} {_short(value)}" for key, value in setting.items())


def said(*lines: str) -> None:
    """Sentences on the terminal."""
    for line in lines:
        console.print(line, highlight=False, markup=False)


def _left_rows(source: str, verdict: Verdict) -> list[Row]:
    rows = []
    for each in verdict.left:
        subject = f"{source}:{name_of(each.pick)}"
        rows.append(Row("defaults", each.data, "left-out", subject, "share", each.share))
        rows.append(Row("defaults", each.data, "left-out", f"{source}:default", "share", each.default))
        rows += [
            _row(each.data, subject, f"{DIFFERENCE}:{other}", found)
            for other, found in (("default", each.gain), ("best", each.lack))
        ]
    return [*rows, _row("every", f"{source}:pick", "share-difference:default", verdict.pooled)]


def _row(data: str, subject: str, metric: str, found: Interval) -> Row:
    return Row("defaults", data, "left-out", subject, metric, found.value, found.low, found.high)


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for number, column in enumerate(columns):
        table.add_column(column, no_wrap=True, justify="right" if number else "left")
    return table


def _cell(value: float, form: str) -> str:
    return f"{value:{form}}" if np.isfinite(value) else "undefined"


def _with_ends(found: Interval, form: str) -> str:
    """A figure with its interval below."""
    ends = f"\n{found.low:{form}} {found.high:{form}}" if np.isfinite(found.low) else ""
    return f"{_cell(found.value, form)}{ends}"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).lower()
