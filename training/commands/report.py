"""`kokyaku report`: what a month of personalisation brought, and whom a mail should go to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.commands.common import DEFAULT_SHOP, JsonOption, RootOption, ShopOption, console, open_shop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from features.dataset import Dataset
    from training.experiments.money import MoneyReport

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Say what a month of personalisation brought, and whom a mail should go to.",
)


@app.command("money")
def money(
    month: Annotated[str, typer.Option(help="The month where the shop is, e.g. 2026-10.")],
    window: Annotated[float, typer.Option(min=0, help="Days that a decision may lie before a purchase.")] = 7,
    as_of: Annotated[str | None, typer.Option("--as-of", help="From what was known then, e.g. 2026-11-05.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the page and the PDF.  [default: the shop's reports]")
    ] = None,
    track: Annotated[bool, typer.Option("--track", help="Log page, PDF and figures to MLflow.")] = False,
    json: JsonOption = None,
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
) -> None:
    """Say what personalisation brought in a month, beside the customers who permanently get none of it.

    Revenue and gross margin, net of discounts, coupons, returns and contact cost as far as they are recorded, by
    channel, slot and campaign, with intervals. Parts sum to the total. Where the data cannot tell, it says so, and
    how many customers it takes. Writes money-MONTH.html and money-MONTH.pdf, one page each.

    Examples:

      kokyaku report money --month 2026-10 --shop mine

      kokyaku report money --month 2026-10 --shop mine --out reports/ --json money.json
    """
    from features.moments import DAY, parse_instant
    from serving.config import ShopSettings, load_config
    from serving.tombstones import erased_of
    from training.console import Bars
    from training.experiments.ledger import ledger_of, month_of
    from training.experiments.money import money_report
    from training.experiments.money_page import html, json_rows, pdf

    opened = open_shop(shop, root)
    settings = load_config(opened.config).shop
    asked = month_of(month, settings.time_zone)
    moment = None if as_of is None else parse_instant(as_of, where="--as-of")
    with Bars(console) as bars:
        ledger = ledger_of(
            _dataset(opened.dataset), asked, window=int(window * DAY), as_of=moment,
            erased=erased_of(opened).subject, tell=bars.tell,
        )  # fmt: skip
        bars.tell("comparing", 0, 1)
        report = money_report(
            ledger, shop=shop, currency=settings.currency, zone=settings.time_zone,
            holdout=settings.holdout or ShopSettings().holdout,
        )  # fmt: skip
        bars.tell("comparing", 1, 1)
    show_money(report)
    page, paper = html(report), pdf(report)
    name = f"money-{asked.name}"
    written = _write(out or opened.reports, {f"{name}.html": page.encode(), f"{name}.pdf": paper})
    console.print(f"Written: {', '.join(map(str, written))}", highlight=False, markup=False, soft_wrap=True)
    rows = json_rows(report)
    if json:
        from training.bench.rows import write_rows

        write_rows(json, rows)
    if track:
        from training.tracking import Tracking

        with Tracking(opened).run(f"money {asked.name}", {"kokyaku.shop": shop}) as run:
            run.log_metrics({f"{row.subject}/{row.metric}": row.value for row in rows})
            run.log_text("report.html", page)
            run.log_file("report.pdf", paper)


def show_money(report: MoneyReport) -> None:
    """Print the answer, the account, the parts and how it was counted."""
    from rich.markup import escape

    from training.experiments.money_page import TITLES, account_rows, facts, headline, part_rows, reasons

    console.print(f"[bold]{escape(headline(report))}[/bold]", highlight=False, soft_wrap=True)
    _sentences(reasons(report))
    if report.entries:
        table = _table(f"What it is made of: {report.currency}, whole shop", ("line", "added, 95 % interval"))
        for name, figure, total in account_rows(report):
            table.add_row(escape(name), figure, style="bold" if total else "")
        console.print(table)
    for key, parts in report.parts.items():
        table = _table(TITLES[key], (key, "revenue", report.result))
        for cells in part_rows(list(parts)):
            table.add_row(*map(escape, cells))
        console.print(table)
    console.print("How it was counted:")
    _sentences(facts(report))


def _sentences(told: Sequence[str]) -> None:
    for sentence in told:
        console.print(f"  - {sentence}", highlight=False, markup=False, soft_wrap=True)


def _table(title: str, heads: Sequence[str]) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    return Table(*heads, title=title, title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))


def _dataset(folder: Path) -> Dataset:
    from features.dataset import Dataset

    found = Dataset(folder)
    found.manifest()
    return found


def _write(folder: Path, files: dict[str, bytes]) -> list[Path]:
    """Write files into a folder, which is made where it is missing.

    Raises:
        ConfigError: it is no folder.
    """
    from features.errors import ConfigError
    from features.files import write_atomically

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("not a folder", where="--out", got=str(folder), hint=str(error.strerror)) from None
    for name, content in files.items():
        write_atomically(folder / name, content)
    return [folder / name for name in files]
