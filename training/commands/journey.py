"""`kokyaku journey`: where people stand on their way, how they move on, and where they are lost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.commands.common import DEFAULT_SHOP, JsonOption, RootOption, ShopOption, console, open_shop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.journey.words import Report

app = typer.Typer(
    help="Say where people stand on their journey, and where they are lost.",
    no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False,
)  # fmt: skip


@app.command("report")
def report(
    since: Annotated[
        str | None, typer.Option(help="Changes from then on count, e.g. 2017-06-01.  [default: the first event]")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="What was known then, e.g. 2017-12-01.  [default: after the last event]")
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(help="Compare groups: channel, traffic_source, device, region, tier, or a customers' attribute."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the page.  [default: the shop's reports]")
    ] = None,
    json: JsonOption = None,
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
) -> None:
    """Say how many people are in each stage of their journey, how they move, how long they stay, who is lost.

    Stages are awareness, consideration, purchase, waiting, use, repeat and lapsed, as known at each moment. Writes
    journey.html, and puts figures, page and the journey map into the shop's MLflow store (kokyaku ui).

    Examples:

      kokyaku journey report --shop mine

      kokyaku journey report --shop mine --since 2017-06-01 --until 2017-12-01 --by channel

      kokyaku journey report --shop mine --by tier --out reports/ --json journey.json
    """
    from features.moments import parse_instant
    from serving.config import load_config
    from training.bench.rows import write_rows
    from training.commands.report import write_pages
    from training.console import Bars
    from training.journey.report import Asked, html, record, report_on, rows_of
    from training.journey.words import draw

    opened = open_shop(shop, root)
    asked = Asked(
        None if since is None else parse_instant(since, where="--since"),
        None if until is None else parse_instant(until, where="--until"), by,
        rules=load_config(opened.config).journey.rules,
    )  # fmt: skip
    with Bars(console) as bars:
        found = report_on(opened, asked, bars.tell)
    picture = draw(found)
    show(found)
    written = write_pages(out or opened.reports, {"journey.html": html(found, picture).encode()})
    run_id = record(opened, asked, found, picture)
    if json:
        write_rows(json, rows_of(found))
    _say(f"Written: {', '.join(map(str, written))}; the journey map is in run {run_id} (kokyaku ui).")


def show(found: Report) -> None:
    """Print the headline, stages, changes and groups, and how it was counted."""
    from training.journey.report import group_tables
    from training.journey.words import (
        GROUP_HEADS,
        MOVE_HEADS,
        STAGE_HEADS,
        facts,
        headline,
        move_rows,
        notes,
        stage_rows,
    )

    _say(headline(found), "bold")
    for sentence in notes(found):
        _say(f"  - {sentence}")
    _table("Stages", STAGE_HEADS, stage_rows(found.everybody))
    _table("Changes, and their share of all that left a stage", MOVE_HEADS, move_rows(found.everybody))
    for _, title, rows in group_tables(found):
        _table(f"By {found.by}: {title}", (str(found.by), *GROUP_HEADS), rows)
    _say("How it was counted:")
    for sentence in facts(found):
        _say(f"  - {sentence}")


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    for head in heads:
        table.add_column(escape(head), overflow="fold")
    for cells in rows:
        table.add_row(*map(escape, cells))
    console.print(table)


def _say(sentence: str, style: str = "") -> None:
    from rich.markup import escape

    console.print(escape(sentence), style=style, highlight=False, soft_wrap=True)
