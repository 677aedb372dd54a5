"""`kokyaku audit`: check the dataset and say what is odd in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.commands.common import DEFAULT_SHOP, RootOption, ShopOption, console, open_shop

if TYPE_CHECKING:
    from features.audit import AuditReport, Finding
    from features.shop import Shop

COLOURS = {"failed": "bold red", "warning": "yellow", "note": "blue", "ok": "green"}
FORMATS = (".html", ".md", ".json")


def command(
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write the report to this .html, .md or .json file."),
    ] = None,
    track: Annotated[bool, typer.Option("--track", help="Log the report and its figures to MLflow.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 when a check failed.")] = False,
    now: Annotated[
        str | None,
        typer.Option("--now", help="The moment that counts as now; default: the shop's clock.", metavar="TIME"),
    ] = None,
) -> None:
    """Check the dataset and say what is odd in it: order of time, duplicates, gaps, leaks, prices, robots and more.

    The checks read the committed tables; they change nothing and name no customer.

    Examples:

      kokyaku audit --shop demo

      kokyaku audit --shop demo --out audit.html --strict

      kokyaku audit --shop demo --track
    """
    from features.audit import audit
    from features.dataset import Dataset
    from features.moments import parse_instant
    from serving.clock import shop_clock

    if out is not None:
        _refuse_unknown_format(out)
    opened = open_shop(shop, root)
    moment = shop_clock(opened).now() if now is None else parse_instant(now, where="--now")
    with console.status("checking"):
        report = audit(Dataset(opened.dataset), moment)
    print_report(report)
    if out is not None:
        _write(report, out)
        console.print(f"\nreport: {out}", soft_wrap=True, highlight=False, markup=False)
    if track:
        log_report(opened, report)
    if strict and report.failed:
        raise typer.Exit(1)


def log_report(shop: Shop, report: AuditReport) -> None:
    """Log the report as pages and its figures as metrics, in a run of its own beside the training runs."""
    from features.audit import as_html, as_markdown
    from training.tracking import Tracking

    with Tracking(shop).run("audit", {"kokyaku.shop": shop.id}) as run:
        run.log_metrics(report.metrics())
        run.log_text("audit.html", as_html(report))
        run.log_text("audit.md", as_markdown(report))


def _refuse_unknown_format(out: Path) -> None:
    from features.errors import ConfigError

    if out.suffix not in FORMATS:
        hint = f"name a file that ends in {', '.join(FORMATS)}"
        raise ConfigError("not a format of reports", where="--out", got=str(out), hint=hint)
    if not out.absolute().parent.is_dir():
        raise ConfigError("no such folder", where="--out", got=str(out.parent), hint="make it first")


def _write(report: AuditReport, out: Path) -> None:
    from features.audit import as_html, as_markdown
    from features.files import write_atomically

    texts = {".html": as_html, ".md": as_markdown}
    content = report.to_json() if out.suffix == ".json" else texts[out.suffix](report).encode("utf-8", "replace")
    write_atomically(out, content)


def print_report(report: AuditReport) -> None:
    """The findings worst first, then what to do about those that are not well."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", ratio=1)
    for finding in report.by_severity():
        table.add_row(*_cells(finding))
    console.print(table)
    counts = ", ".join(f"{n} {verdict}" for verdict, n in report.verdicts().items() if n)
    console.print(f"\n{report.period} {counts.capitalize()}.", highlight=False)


def _cells(finding: Finding) -> tuple[str, str, str]:
    from rich.markup import escape

    verdict, colour = finding.verdict.value, COLOURS[finding.verdict.value]
    said = escape(finding.sentence)
    if finding.remedy and verdict in ("failed", "warning"):
        said += f"\n[dim]{escape(finding.remedy)}[/dim]"
    return f"[{colour}]{verdict}[/{colour}]", escape(finding.title), said
