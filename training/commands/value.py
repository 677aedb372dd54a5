"""`kokyaku value`: what each customer is expected to bring, and how far to believe it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.commands.common import DEFAULT_SHOP, RootOption, ShopOption, console, open_shop

if TYPE_CHECKING:
    from rich.table import Table

    from training.value import ValueReport


def command(
    horizon: Annotated[int, typer.Option("--horizon", min=1, max=3650, help="Days ahead.")] = 365,
    out: Annotated[Path | None, typer.Option("--out", help="File to write: .parquet or .csv.")] = None,
    as_of: Annotated[str | None, typer.Option("--as-of", help="Forecast from what was known then.")] = None,
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
) -> None:
    """Say what each customer is expected to bring: margin where the costs are known, else revenue, less returns.

    A method is chosen on one horizon of the past and judged on the next, beside plain ones; the table by decile shows
    how far to believe it. Where the past does not hold the horizon a shorter one is taken and named: nothing is scaled
    up. Tables and a picture go to the shop's MLflow store (kokyaku ui), the customers only to --out.

    Examples:

      kokyaku value --shop mine --out values.csv

      kokyaku value --shop mine --horizon 90 --as-of 2017-12-01
    """
    from features.moments import parse_instant
    from training.batch import check_out, write_answers
    from training.console import Bars
    from training.value import forecast_value
    from training.value.report import SCHEMA, log_report, value_table

    if out is not None:
        check_out(out)
    opened = open_shop(shop, root)
    moment = None if as_of is None else parse_instant(as_of, where="--as-of")
    with Bars(console) as bars:
        report = forecast_value(opened, horizon=horizon, as_of=moment, tell=bars.tell)
    run = log_report(opened, report)
    print_report(report)
    console.print(f"MLflow run {run} (kokyaku ui --shop {shop})", highlight=False, markup=False, soft_wrap=True)
    if out is not None:
        rows = write_answers(out, [value_table(report)], SCHEMA)
        console.print(f"{rows:,} customers in {out}", highlight=False, markup=False, soft_wrap=True)


def print_report(report: ValueReport) -> None:
    """Methods beside each other, calibration by decile, and the sentences."""
    from rich.markup import escape

    from training.value.report import sentences

    if report.judged:
        console.print(_methods(report))
        console.print(_deciles(report))
    first, *others = sentences(report)
    console.print(f"[bold]{escape(first)}[/bold]", highlight=False, soft_wrap=True)
    for sentence in others:
        console.print(f"  - {escape(sentence)}", highlight=False, soft_wrap=True)


def _methods(report: ValueReport) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    from training.value.forecast import span_text

    title = (
        f"Judged {span_text(report.windows['judged'])}, chosen {span_text(report.windows['chosen'])}; "
        f"{report.money.unit} a customer in {report.horizon_days} days"
    )
    table = Table("method", title=title, title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    for heading in ("deviance", "mean absolute error", "gini", "spearman", "bias", "deviance where chosen"):
        table.add_column(heading, justify="right")
    for name, of in report.judged.items():
        scores = of.judged_on
        table.add_row(
            name, _figure(scores.deviance), f"{_figure(of.mae.value)} [{_figure(of.mae.low)}, {_figure(of.mae.high)}]",
            f"{scores.gini:.3f}", f"{scores.spearman:.3f}", f"{scores.bias:+.1%}", _figure(of.chosen_on.deviance),
            style="green" if name == report.method else "",
        )  # fmt: skip
    return table


def _deciles(report: ValueReport) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    title = f"Calibration by decile of {report.method}, in the judged window"
    table = Table(title=title, title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    for heading in ("decile", "customers", f"forecast {report.money.unit}", "observed", "95 % interval"):
        table.add_column(heading, justify="right")
    for each in report.deciles:
        seen = each.observed
        interval = f"[{_figure(seen.low)}, {_figure(seen.high)}]"
        table.add_row(str(each.number), f"{each.n:,}", _figure(each.predicted), _figure(seen.value), interval)
    return table


def _figure(value: float) -> str:
    return f"{value:,.2f}" if abs(value) < 1000 else f"{value:,.0f}"
