"""`kokyaku import`: bring a shop's exports into the dataset."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.commands.common import DEFAULT_SHOP, RootOption, ShopOption, console, open_shop

if TYPE_CHECKING:
    from rich.table import Table

    from features.dataset import Dataset
    from features.importing import ImportReport, Mapping, Source, Totals
    from features.importing.experiment_mapping import Experiment
    from features.importing.inspect import Inspection
    from features.importing.merge import IsErased
    from features.shop import Shop


def command(
    source: Annotated[
        str | None,
        typer.Argument(
            help="csv, parquet, jsonl or experiment with a mapping, or complete-journey, online-retail, open-bandit, "
            "pairs, personalize, sends."
        ),
    ] = None,
    path: Annotated[
        list[Path] | None, typer.Option("--path", help="The file; may be given several times, oldest first.")
    ] = None,
    mapping: Annotated[Path | None, typer.Option(help="What the columns mean (see --inspect).")] = None,
    like: Annotated[
        str | None, typer.Option(help="experiment: the mapping of a public experiment (hillstrom).", metavar="NAME")
    ] = None,
    campaigns: Annotated[
        bool, typer.Option("--campaigns", help="complete-journey: also its campaigns, as decisions nobody drew.")
    ] = False,
    event_type: Annotated[
        str | None, typer.Option("--type", help="Type of all events (pairs), or of those without one (personalize).")
    ] = None,
    keep_fees: Annotated[bool, typer.Option("--keep-fees", help="online-retail: postage and fees are items.")] = False,
    interactions: Annotated[Path | None, typer.Option(help="personalize: the interactions file.")] = None,
    items: Annotated[Path | None, typer.Option(help="personalize: the items file.")] = None,
    users: Annotated[Path | None, typer.Option(help="personalize: the users file.")] = None,
    inspect: Annotated[
        Path | None, typer.Option(help="Propose a mapping for this file and show what it would give; imports nothing.")
    ] = None,
    write_mapping: Annotated[Path | None, typer.Option(help="With --inspect: write the proposed mapping here.")] = None,
    now: Annotated[
        str | None,
        typer.Option(help="The import's moment; later times are rejected (default: the shop's clock).", metavar="TIME"),
    ] = None,
    basis: Annotated[
        str | None,
        typer.Option(help="On what ground this data may be used where no consent is recorded; goes into shop.toml."),
    ] = None,
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
) -> None:
    """Bring a shop's exports into the dataset, all of a file or nothing; bad rows go to quarantine with their reason.

    Importing a file again adds nothing, a longer export adds its new rows. With --inspect nothing is imported: it
    proposes the mapping file and shows how the rows would be read, with totals by month to hold against the books.

    Examples:

      kokyaku import complete-journey

      kokyaku import online-retail --path online_retail.csv.gz

      kokyaku import --inspect orders.csv --write-mapping orders.toml

      kokyaku import csv --path orders.csv --mapping orders.toml --shop mine --basis "terms of 2024, section 4"

      kokyaku import pairs --path train.txt --type purchase --shop research

      kokyaku import experiment --path mail.csv --mapping experiment.toml --shop mine

      kokyaku import experiment --like hillstrom --path hillstrom.csv.gz --shop hillstrom

      kokyaku import open-bandit --path open_bandit --shop zozo

      kokyaku import complete-journey --campaigns

      kokyaku import personalize --interactions interactions.csv --items items.csv --users users.csv --shop mine

      kokyaku import sends --path sent.csv --shop mine
    """
    from features.dataset import Dataset
    from features.importing import SourceOptions, load_mapping, open_source
    from features.moments import parse_instant
    from serving.clock import shop_clock

    opened = open_shop(shop, root)
    moment = shop_clock(opened).now() if now is None else parse_instant(now, where="--now")
    if source == "sends":
        _sends(opened, path or [], moment)
        return
    trial = _experiment(source, mapping, like)
    given = None if mapping is None or trial is not None else load_mapping(mapping)
    if inspect is not None:
        _inspect(inspect, given, write_mapping, moment)
        return
    options = SourceOptions(keep_fees=keep_fees, event_type=event_type, items=items, users=users, experiment=trial)
    files: list[Path | None] = [file for file in (*(path or []), interactions) if file is not None]
    for file in files or [None]:
        for each in (options, *([replace(options, campaigns=True)] if campaigns else [])):
            read = open_source(_named(source), file, given, each)
            print_report(run_with_progress(Dataset(opened.dataset), read, now=moment, erased=_erased(opened)))
    _on_what_ground(opened, basis)


def _on_what_ground(shop: Shop, basis: str | None) -> None:
    """Write the basis into the shop's first file, or say what is missing."""
    from features.dataset import Dataset
    from training.agreed import recorded_consents
    from training.first_file import without_ground, write_first

    if basis is not None and not write_first(shop, "plain", basis):
        console.print(f"{shop.config} is there already: write the basis into its table [consent].", soft_wrap=True)
    missing = without_ground(shop, recorded_consents(Dataset(shop.dataset)))
    if missing:
        console.print(f"[yellow]{missing}[/yellow]", soft_wrap=True)


def _sends(shop: Shop, files: list[Path], now: int) -> None:
    """Take what a mail tool says of messages that were decided here."""
    from rich.progress import Progress

    from features.errors import ConfigError
    from training.sends import WORDS, take_sends

    if not files:
        raise ConfigError("which file?", where="--path", hint="kokyaku import sends --path sent.csv")
    for file in files:
        with Progress(console=console, transient=True) as progress:
            advance = partial(progress.advance, progress.add_task(f"reading {file.name}", total=None))
            report = take_sends(shop, file, now=now, done=advance)
        added = ", ".join(f"{count:,} {kind}" for kind, count in report.added.items()) or "nothing new"
        console.print(f"{report.read:,} rows: {added}; {report.already_there:,} already there", highlight=False)
        for reason, count in report.reasons.most_common():
            console.print(f"  quarantined {count:,} {reason}: {WORDS.get(reason, '')}", highlight=False)
        if report.quarantine is not None:
            console.print(f"  quarantine: {report.quarantine}", highlight=False, soft_wrap=True)


def _experiment(source: str | None, mapping: Path | None, like: str | None) -> Experiment | None:
    """The mapping of an experiment: a file of the shop's, or one that comes with Kokyaku."""
    from features.errors import ConfigError
    from features.importing.experiment_mapping import load_experiment, shipped_experiment

    if source != "experiment":
        if like is not None:
            raise ConfigError("only experiments have shipped mappings", where="--like", got=source)
        return None
    if like is not None and mapping is not None:
        raise ConfigError("two mappings", where="--like, --mapping", hint="give one of them")
    if like is not None:
        return shipped_experiment(like)
    return None if mapping is None else load_experiment(mapping)


def _named(source: str | None) -> str:
    from features.errors import ConfigError

    if source is None:
        hint = "name a source, e.g. kokyaku import csv --path FILE --mapping FILE; see kokyaku import --help"
        raise ConfigError("what to import?", where="kokyaku import", hint=hint)
    return source


def _erased(shop: Shop) -> IsErased | None:
    """Whose rows the shop has promised to forget."""
    from serving.tombstones import erased_of

    gone = erased_of(shop)
    return gone.row if gone else None


def run_with_progress(dataset: Dataset, source: Source, *, now: int, erased: IsErased | None = None) -> ImportReport:
    """Import a source with a line that counts rows."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from features.importing import run_import

    columns = (
        SpinnerColumn(), TextColumn("reading {task.fields[name]}"), TextColumn("{task.completed:,.0f} rows"),
        TextColumn("{task.fields[rate]}"), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", name=source.name, rate="", total=None)

        def advance(rows: int) -> None:
            progress.advance(task, rows)
            speed = progress.tasks[0].speed
            progress.update(task, rate="" if speed is None else f"{speed:,.0f} rows/s")

        return run_import(dataset, source, now=now, progress=advance, erased=erased)


def print_report(report: ImportReport) -> None:
    """Where the rows went, what they say, and what to know."""
    from rich.markup import escape

    from features.importing.reasons import REASONS

    console.print(_counts_table(report))
    for reason, count in report.reasons.items():
        console.print(f"  quarantined {count:,} {reason}: {REASONS.get(reason, '')}", highlight=False)
    for table, counts in report.tables.items():
        for rule, count in counts.skipped.items():
            console.print(f"  skipped {count:,} {table} by rule {rule}", highlight=False)
    if report.totals.months:
        console.print(month_table(report.totals))
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in report.totals.events.items())
        people = f"{report.totals.customers:,} customers, {report.totals.items:,} items"
        console.print(f"  {kinds}; {people}; {report.totals.first} to {report.totals.last}", highlight=False)
    for note in report.notes:
        console.print(f"  note: {escape(note)}", highlight=False)
    if report.quarantine is not None:
        console.print(f"  quarantine: {report.quarantine}", highlight=False, soft_wrap=True)
    done = "nothing new: nothing was written" if report.import_id is None else f"imported as {report.import_id}"
    console.print(f"[bold]{done}[/bold]", highlight=False)


def _counts_table(report: ImportReport) -> Table:
    from rich.table import Table

    table = Table("table", title=f"Import of {report.source}")
    for name in ("read", "added", "of these amended", "already there", "collapsed", "quarantined", "skipped"):
        table.add_column(name, justify="right")
    for name, counts in report.tables.items():
        figures = (
            counts.read, counts.added, counts.revised, counts.already_there, counts.collapsed, counts.quarantined,
            sum(counts.skipped.values()),
        )  # fmt: skip
        table.add_row(name, *(f"{figure:,}" for figure in figures))
    return table


def month_table(totals: Totals) -> Table:
    """Totals by month, to hold against the shop's books."""
    from rich.table import Table

    table = Table("month", title=f"Events by month, {totals.time_zone}")
    for name in ("orders", "lines", "units", "revenue"):
        table.add_column(name, justify="right")
    for month in totals.months:
        table.add_row(
            month.month, f"{month.orders:,}", f"{month.lines:,}", f"{month.units:,.0f}", f"{month.revenue:,.2f}"
        )
    return table


def _inspect(file: Path, mapping: Mapping | None, write_to: Path | None, now: int) -> None:
    from features.files import write_atomically
    from features.importing.inspect import inspect_file

    with console.status(f"reading {file.name}"):
        found = inspect_file(file, mapping, now=now)
    print_inspection(found)
    if write_to is not None:
        write_atomically(write_to, found.mapping_toml.encode())
        console.print(f"mapping: {write_to}", highlight=False, markup=False, soft_wrap=True)


def print_inspection(found: Inspection) -> None:
    """The mapping, the rows as they would be read, the totals, and what to check."""
    from rich.markup import escape
    from rich.table import Table

    from features.importing.reasons import REASONS

    console.rule("mapping")
    console.print(found.mapping_toml, markup=False, highlight=False, soft_wrap=True)
    rows = Table(*map(escape, found.names), title=f"The first {len(found.rows)} rows, as read")
    for row in found.rows:
        rows.add_row(*("" if value is None else escape(str(value)) for value in row))
    console.print(rows)
    if found.totals.months:
        console.print(month_table(found.totals))
    for reason, count in found.reasons.items():
        words = f"{reason} ({REASONS.get(reason, '')})"
        console.print(f"  would quarantine {count:,} of {found.read:,} rows: {words}", highlight=False)
    for advice in found.advice:
        console.print(f"  check: {escape(advice)}", highlight=False)
