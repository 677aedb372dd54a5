"""`kokyaku report`: what a month of personalisation brought, and whom a mail should go to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.commands.common import (
    DEFAULT_SHOP,
    LONGEST,
    JsonOption,
    RootOption,
    ShopOption,
    SlotOption,
    SurfaceOption,
    console,
    open_shop,
)
from training.commands.decisions import FoldsOption, ThreadsOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from features.dataset import Dataset
    from training.experiments.money import MoneyReport
    from training.uplift.winback import WinBack

_ORDERS = {
    "uplift": "those whom it moves most", "hazard": "those least likely to come", "random": "anybody, by lot",
}  # fmt: skip

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Say what a month of personalisation brought, and whom a mail should go to.",
)


@app.command("money")
def money(
    month: Annotated[str, typer.Option(help="The month where the shop is, e.g. 2026-10.")],
    window: Annotated[
        float, typer.Option(min=0, max=LONGEST, help="Days that a decision may lie before a purchase.")
    ] = 7,
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
    from training.console import Bars
    from training.experiments.money import report_on
    from training.experiments.money_page import html, json_rows, pdf

    opened = open_shop(shop, root)
    moment = None if as_of is None else parse_instant(as_of, where="--as-of")
    with Bars(console) as bars:
        report = report_on(opened, month, window=int(window * DAY), as_of=moment, tell=bars.tell)
    show_money(report)
    name = f"money-{report.ledger.month.name}"
    files = {f"{name}.html": html(report).encode(), f"{name}.pdf": pdf(report)}
    written = write_pages(out or opened.reports, files)
    console.print(f"Written: {', '.join(map(str, written))}", highlight=False, markup=False, soft_wrap=True)
    rows = json_rows(report)
    if json:
        from training.bench.rows import write_rows

        write_rows(json, rows)
    if track:
        from training.tracking import Tracking

        with Tracking(opened).run(name.replace("-", " ", 1), {"kokyaku.shop": shop}) as run:
            run.log_metrics({f"{row.subject}/{row.metric}": row.value for row in rows})
            for file, content in files.items():
                run.log_file(f"report{Path(file).suffix}", content)


@app.command("win-back")
def win_back(
    outcome: Annotated[str, typer.Option(help="What counts as coming back, e.g. visit.")],
    experiment: Annotated[str | None, typer.Option(help="The experiment in which the mail was drawn.")] = None,
    surface: SurfaceOption = None,
    slot: SlotOption = None,
    budget: Annotated[float, typer.Option(help="Share of the customers who are mailed.")] = 0.3,
    action: Annotated[str | None, typer.Option(help="The mail.  [default: the one that is best for everybody]")] = None,
    lapsed: Annotated[
        list[str] | None, typer.Option(help="COLUMN=LEAST: only customers with so much of it; repeatable.")
    ] = None,
    learner: Annotated[str, typer.Option(help="Of the uplift.")] = "DR",
    override: Annotated[list[str] | None, typer.Option(help="Name of a failed check to accept; repeatable.")] = None,
    window: Annotated[float, typer.Option(min=0, max=LONGEST, help="Days after a mail in which outcomes count.")] = 14,
    folds: FoldsOption = 5,
    seed: Annotated[int, typer.Option(help="Of the folds.")] = 0,
    threads: ThreadsOption = 0,
    track: Annotated[bool, typer.Option("--track", help="Log the figures to MLflow.")] = False,
    json: JsonOption = None,
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
) -> None:
    """Compare mailing those whom a mail moves with mailing those who are likely gone: same mail, same number.

    From an experiment in which the mail was drawn. Says plainly when uplift is no better than hazard.

    Examples:

      kokyaku report win-back --experiment hillstrom --outcome visit --budget 0.3 --shop mail

      kokyaku report win-back --experiment hillstrom --outcome visit --lapsed recency=7 --shop mail

      kokyaku report win-back --surface email --outcome purchase --action mail-offer --shop mine
    """
    from features.moments import DAY
    from serving.tombstones import erased_of
    from training.commands.decisions import amounts
    from training.console import Bars
    from training.uplift import winback
    from training.uplift.reading import read_log

    options = winback.WinBackOptions(
        outcome, budget, action, learner, amounts(lapsed, "--lapsed"), tuple(override or ()), folds, seed, threads
    )
    opened = open_shop(shop, root)
    with Bars(console) as bars:
        log = read_log(
            _dataset(opened.dataset), experiment=experiment, surface=surface, slot=slot, rewards=(outcome,),
            window=int(window * DAY), erased=erased_of(opened).subject,
        )  # fmt: skip
        found = winback.win_back(log, options, bars.tell)
    show_win_back(found)
    name = " / ".join(each for each in (experiment, surface, slot) if each)
    rows = winback.rows_of(found, name)
    if json:
        from training.bench.rows import write_rows

        write_rows(json, rows)
    if track:
        from training.tracking import Tracking

        with Tracking(opened).run(f"win-back {name}", {"kokyaku.shop": shop}) as run:
            run.log_params({"outcome": outcome, "budget": budget, "action": found.action, "learner": learner})
            run.log_metrics(winback.figures(rows))
            run.describe("\n\n".join([winback.headline(found), *winback.sentences(found)]))


def show_win_back(found: WinBack) -> None:
    """Print the answer, what each targeting brings, and what stands behind it."""
    from rich.markup import escape

    from training.uplift.winback import headline, sentences, thousand

    told = found.options.outcome
    heads = ("mailed", f"added {escape(told)} a thousand mails", f"in all, of {found.mailed:,} mails")
    table = _table("What the mails bring", heads)
    for name, value in found.values.items():
        table.add_row(_ORDERS[name], thousand(value), f"{value.value * found.mailed:+,.0f}")
    console.print(table)
    console.print(f"[bold]{escape(headline(found))}[/bold]", highlight=False, soft_wrap=True)
    _sentences(sentences(found))


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


def write_pages(folder: Path, files: dict[str, bytes]) -> list[Path]:
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
