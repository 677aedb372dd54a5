"""`kokyaku bench uplift`: what uplift models are worth on real experiments, beside what they have to beat.

Effects are out of fold (folds by customer, stratified by action); metrics have one definition each
(`training/uplift/curves.py`, `ranked.py`), intervals are clustered by customer.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.table import Table

from features.errors import ConfigError
from training.bench import open_bandit
from training.bench.accuracy import bars
from training.bench.hillstrom import BEST, COMPARISONS, FILE, OUTCOMES, Effort, load, study
from training.bench.peers import peers
from training.bench.rows import Row, print_rows, write_rows
from training.commands.common import JsonOption, console
from training.meter import Meter
from training.uplift.crossfit import ALL
from training.uplift.learners import Fit

_SHOWN = {
    "qini": "qini-per-treated", "- linear-T": f"qini-difference:{BEST}", "autoc": "autoc",
    "gain@30%": "gain@30%-over-random", "placebo": "placebo-percentile", "slope": "calibration-slope",
    "s": "fit-seconds",
}  # fmt: skip
"""Columns of the printed table; the JSON rows hold all metrics."""
_POLICIES = ("relative-value-ipw", "effective-sample-size", "refused")
_PLAIN = ("placebo-percentile", "calibration-slope", "fit-seconds")


def command(
    path: Annotated[Path, typer.Option(help="Folder that holds hillstrom/hillstrom.csv.gz.")],
    comparison: Annotated[
        list[str] | None, typer.Option(help=f"{', '.join(COMPARISONS)}; may be repeated; default all.")
    ] = None,
    outcome: Annotated[
        list[str] | None, typer.Option(help=f"{', '.join(OUTCOMES)}; may be repeated; default all.")
    ] = None,
    folds: Annotated[int, typer.Option(min=3, max=20, help="Of cross-fitting.")] = 5,
    permutations: Annotated[int, typer.Option(min=20, max=10_000, help="Of the placebo.")] = 200,
    seed: Annotated[int, typer.Option(help="Of folds and permutations.")] = 0,
    threads: Annotated[int, typer.Option(min=0, help="Fits at a time; 0 is all processors.")] = 0,
    beside: Annotated[
        bool, typer.Option("--peers/--no-peers", help="Whether T-learners of other packages stand beside ours.")
    ] = True,
    json: JsonOption = None,
) -> None:
    """Learn whom an e-mail moves, five ways, and measure it beside a linear model, a response model and no model.

    Where the folder holds open_bandit as well, its two policies are valued on each other's logs, or refused.

    qini is per treated, with its 95 % interval; gain@30% is what mailing the best 30 % brings per customer beyond
    mailing as many at random; placebo is the percentile of the Qini among those of treatments that were dealt out
    again. The row lightgbm-defaults-T is a T-learner with LightGBM's default parameters.

    The T-learners of scikit-uplift and causalml stand beside ours on the same folds where these packages are installed
    (pip install 'kokyaku[peers]'): as they are used, with LightGBM's defaults, and with the parameters of our trees.
    kokyaku:T is our T by itself. s is processor time of all its fits and predictions, one thread each, for everybody;
    in a study T itself costs next to nothing, because its models are needed anyway.

    Examples:

      kokyaku bench uplift --path data/

      kokyaku bench uplift --path data/ --comparison womens-none --outcome visit --json uplift.json

      kokyaku bench uplift --path data/ --no-peers
    """
    comparisons, outcomes = _checked(comparison, COMPARISONS, "--comparison"), _checked(outcome, OUTCOMES, "--outcome")
    log, meter = load(path / FILE), Meter()
    others = _others() if beside else {}
    with bars() as tell, meter.step("study"):
        rows = study(
            log, comparisons=comparisons, outcomes=outcomes, effort=Effort(folds, permutations, seed, threads),
            learners={**ALL, **others}, tell=tell,
        )  # fmt: skip
    took = Row("uplift", "hillstrom", "all", "run", "seconds", round(meter.seconds, 1), unit="s")
    rows += [took, Row("uplift", "hillstrom", "all", "run", "peak-memory", round(meter.peak_mb, 1), unit="MiB")]
    for task in dict.fromkeys(row.task for row in rows if row.subject != "run"):
        console.print(table_of(rows, task))
    console.print(f"{meter.seconds:.1f} s, {meter.peak_mb:,.0f} MiB.", highlight=False)
    rows += logged_policies(path)
    if json:
        write_rows(json, rows)


def _others() -> dict[str, Fit]:
    """What other packages have; those that cannot be imported are named."""
    fits, missing = peers()
    for sentence in missing:
        console.print(sentence, highlight=False, markup=False)
    return fits


def logged_policies(path: Path) -> list[Row]:
    """What the two policies of Open Bandit are worth on each other's logs, printed; nothing where its folder is not."""
    if not (path / "open_bandit").is_dir():
        console.print(f"Open Bandit is left out: {path / 'open_bandit'} is not there.", highlight=False)
        return []
    rows = open_bandit.rows(path)
    print_rows(console, [row for row in rows if row.metric in _POLICIES], "Open Bandit: a policy on another's log")
    return rows


def table_of(rows: Sequence[Row], task: str) -> Table:
    """One comparison and outcome as a table: a line a learner, highest Qini first."""
    value = {(row.subject, row.metric): row for row in rows if row.task == task}
    qini = {subject: row.value for (subject, metric), row in value.items() if metric == _SHOWN["qini"]}
    table = Table(title=task, box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("learner", *_SHOWN):
        table.add_column(column, no_wrap=True, justify="left" if column == "learner" else "right")
    for subject in sorted(qini, key=lambda name: -qini[name]):
        table.add_row(subject, *(_cell(value.get((subject, metric)), metric) for metric in _SHOWN.values()))
    return table


def _cell(row: Row | None, metric: str) -> str:
    if row is None or row.value != row.value:
        return ""
    if metric in _PLAIN:
        return f"{row.value:.1f}" if metric != "calibration-slope" else f"{row.value:.2f}"
    half = "" if row.low is None or row.high is None else f" ±{(row.high - row.low) / 2:.4f}"
    return f"{row.value:.4f}{half}"


def _checked(asked: Sequence[str] | None, valid: Collection[str], where: str) -> tuple[str, ...]:
    unknown = [name for name in asked or () if name not in valid]
    if unknown:
        raise ConfigError("no such choice", where=where, got=unknown[0], hint=f"one of: {', '.join(valid)}")
    return tuple(asked or valid)
