"""`kokyaku monitor`: are data, answers and policies still what the bundle was trained on and judged by?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from training.commands.common import DEFAULT_SHOP, LONGEST, RootOption, ShopOption, console, open_shop

if TYPE_CHECKING:
    from features.shop import Shop
    from training.monitor.measure import Measure
    from training.monitor.record import Record
    from training.monitor.report import Found
    from training.monitor.windows import Asked

_STYLES = {"act": "bold red", "watch": "yellow", "ok": "", "unknown": "dim"}


def command(
    window: Annotated[Literal["day", "week"], typer.Option(help="Length: a day, or a week from Monday.")] = "week",
    since: Annotated[
        str | None, typer.Option(help="All windows from then on, e.g. 2026-01-01.  [default: the last window alone]")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Windows that end by then, e.g. 2026-06-01.  [default: now, in the shop's time]")
    ] = None,
    fail_on: Annotated[
        Literal["act", "watch", "never"], typer.Option(help="Exit code 1 where the last window has one of these.")
    ] = "act",
    outcome_days: Annotated[
        float, typer.Option(min=0.01, max=LONGEST, help="Days after a decision in which its outcomes count.")
    ] = 14,
    everything: Annotated[bool, typer.Option("--all", help="Print what is well, too.")] = False,
    json: Annotated[Path | None, typer.Option("--json", help="Write all that was found to this file as JSON.")] = None,
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
) -> None:
    """Watch drift and health: what customers do, what they are shown, how old everything is, what policies gain.

    Each window is held against the eight weeks that the bundle learned from, feature by feature (population stability
    index, with the band that chance alone gives), and each figure has an interval. Windows go into the shop's MLflow
    store, experiment kokyaku/<shop>-monitor; one that is there is not measured again, and an interrupted run goes on
    where it stopped. To measure a window again, delete its run in the UI.

    Exit code 0: well. 1: the last window has an alarm (--fail-on). 2: it could not be measured.

    Examples:

      kokyaku monitor --shop mine                                          the last whole week

      kokyaku monitor --shop mine --window day --fail-on watch             every night, by cron

      kokyaku monitor --shop mine --since 2026-01-01                       all weeks of this year

      kokyaku monitor --shop mine --since 2026-05-01 --until 2026-06-01 --json may.json --all
    """
    from features.moments import DAY, parse_instant
    from serving.clock import shop_clock
    from training.console import Bars
    from training.monitor.watch import watch
    from training.monitor.windows import Asked, Length

    opened = open_shop(shop, root)
    asked = Asked(
        shop_clock(opened).now() if until is None else parse_instant(until, where="--until"), Length[window.upper()],
        None if since is None else parse_instant(since, where="--since"),
    )  # fmt: skip
    record, several, made = _record(opened, asked), [], 0
    with Bars(console) as bars:
        for each, found, new in watch(opened, asked, record.stored, after=int(outcome_days * DAY), tell=bars.tell):
            several.append(found)
            if new:
                record.keep(each, found)
                made += 1
    course = record.draw_course()
    show(several, everything=everything)
    _say(f"{made} of {len(several)} windows were measured now; all of them are in run {course} (kokyaku ui).")
    if json:
        _write(json, several)
    if several[-1].verdict.value in {"act": ("act",), "watch": ("act", "watch"), "never": ()}[fail_on]:
        raise typer.Exit(1)


def _record(shop: Shop, asked: Asked) -> Record:
    """Where windows are kept; what cannot be measured makes no empty store.

    Raises:
        ConfigError, DataError: as for `watch`.
    """
    from features.dataset import Dataset
    from training.monitor.record import Record
    from training.monitor.watch import windows

    Dataset(shop.dataset).manifest()
    windows(shop, asked)
    return Record(shop, asked.length.name.lower())


def show(several: Sequence[Found], *, everything: bool) -> None:
    """Print a line a window, and of the last one the table, what to do, and how it was measured."""
    from training.monitor.report import facts, headline, remedies, rows

    for found in several:
        _say(headline(found), _STYLES[found.verdict.value])
    last = several[-1]
    _table(f"{last.shop}, {last.window}", rows(last, everything=everything))
    for sentence in remedies(last):
        _say(f"  - {sentence}")
    for sentence in facts(last):
        _say(sentence, "dim")


def _table(title: str, lines: Sequence[tuple[Measure, tuple[str, ...]]]) -> None:
    from rich.box import SIMPLE
    from rich.markup import escape
    from rich.table import Table

    from training.monitor.report import HEADS

    if not lines:
        return
    table = Table(title=escape(title), title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    for head in HEADS[:-1]:  # what was found stands with what to do, and in the run's own table
        table.add_column(escape(head), overflow="fold", no_wrap=head in ("", "now", "n"))
    for each, cells in lines:
        table.add_row(*map(escape, cells[:-1]), style=_STYLES[each.verdict.value])
    console.print(table)


def _say(sentence: str, style: str = "") -> None:
    from rich.markup import escape

    console.print(escape(sentence), style=style, highlight=False, soft_wrap=True)


def _write(path: Path, several: Sequence[Found]) -> None:
    from features.files import write_atomically
    from training.monitor.report import written_all

    write_atomically(path, written_all(several))
