"""`kokyaku shop`: begin a `shop.toml`, look through it, and try a change of it on the last requests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from training.commands.common import DEFAULT_SHOP, JsonOption, RootOption, ShopOption, console, open_shop

if TYPE_CHECKING:
    from serving.shop_check import Checked

app = typer.Typer(
    help="Begin a shop.toml, look through it, try a change of it on the last requests.", no_args_is_help=True,
    rich_markup_mode="rich", pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip
COLOURS = {"fail": "red", "warn": "yellow", "note": "dim"}


@app.command("init")
def init(
    sample: Annotated[str, typer.Option(help="plain: a start for any shop; home: a furnished one.")] = "plain",
    basis: Annotated[
        str, typer.Option(help="On what ground data may be used where nobody was asked; it stands in the file.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
) -> None:
    """Write a shop.toml that explains itself. A file that is there stays, unless you say --force.

    Examples:

      kokyaku shop init --shop mine

      kokyaku shop init --shop mine --sample home --force
    """
    from features.errors import ConfigError
    from features.files import write_atomically
    from serving.strict import nearest
    from training.first_file import SAMPLES, first_file

    opened, names = open_shop(shop, root), sorted(path.stem for path in SAMPLES.glob("*.toml"))
    if sample not in names:
        raise ConfigError("no such sample", where="--sample", got=sample, hint=nearest(sample, names))
    if opened.config.exists() and not force:
        hint = "keep it, or write over it with --force"
        raise ConfigError("the shop has a file already", where=str(opened.config), hint=hint)
    try:
        opened.root.mkdir(parents=True, exist_ok=True)
        write_atomically(opened.config, first_file(sample, basis).encode())
    except OSError as error:
        raise ConfigError("the file cannot be written", where=str(opened.config), got=error.strerror) from None
    console.print(f"Written: {opened.config}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"Change it to your words, then look through it: kokyaku shop check --shop {shop}")


@app.command("check")
def check(
    file: Annotated[Path | None, typer.Option("--file", help="A draft instead of the shop's file.")] = None,
    words: Annotated[bool, typer.Option("--words", help="Print every text as it reads.")] = False,
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
    json: JsonOption = None,
) -> None:
    """Say what is wrong with a shop.toml, and what is allowed and hardly meant.

    Looks for what can never be shown, slots that end empty, rules that contradict one another, names that the catalogue
    does not have, and texts that read badly where a field is missing. Exit code 2 when something fails, 0 with
    warnings.

    Examples:

      kokyaku shop check --shop mine

      kokyaku shop check --shop mine --file draft.toml --words
    """
    from serving.shop_check import check_shop, read_text

    checked = check_shop(open_shop(shop, root), None if file is None else read_text(file))
    show_findings(checked)
    if words:
        show_words(checked)
    if json:
        _write(json, {"findings": checked.findings, "unseen": checked.unseen})
    raise typer.Exit(checked.exit_code)


def show_findings(checked: Checked) -> None:
    """The findings as a table, what could not be looked at, and the counts."""
    from rich.box import SIMPLE
    from rich.markup import escape
    from rich.table import Table

    if checked.findings:
        table = Table("", "where", "what", "what to do", box=SIMPLE)
        for each in checked.findings:
            verdict = f"[{COLOURS[each.verdict]}]{each.verdict}[/]"
            table.add_row(verdict, *map(escape, (each.where, each.what, each.remedy)))
        console.print(table)
    for sentence in (*checked.unseen, f"{checked.summary}."):
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)


def show_words(checked: Checked) -> None:
    """Every text of the shop's actions as it reads."""
    from serving.checks.words import PASSED_OVER, renderings

    if checked.look is None:
        return
    where = ""
    for each in renderings(checked.look):
        if each.where != where:
            where = each.where
            told = f"\n{where}" + (f" ({each.locale})" if each.locale else "")
            console.print(told, style="bold", highlight=False, markup=False)
        said = PASSED_OVER if each.words is None else each.words
        console.print(f"  {each.key:5}  {each.case}: {said}", highlight=False, markup=False, soft_wrap=True)


@app.command("dry-run")
def dry_run(
    draft: Annotated[Path, typer.Argument(help="The changed shop.toml.")],
    last: Annotated[int, typer.Option(min=1, max=100_000, help="Page and action requests that are rebuilt.")] = 500,
    seed: Annotated[int, typer.Option(help="Which of the moved requests are named.")] = 0,
    examples: Annotated[
        bool, typer.Option("--examples", help="Name customers, visitors and moments of the examples: personal data.")
    ] = False,
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
    json: JsonOption = None,
) -> None:
    """Say what a changed shop.toml would have done to the last requests. Nothing is logged and nothing changes.

    Each request is rebuilt twice as of its moment, under the file that serves and under the draft: which slots get
    another action, other items or other words, for whom, which become empty, what is held back and why.

    Examples:

      kokyaku shop dry-run draft.toml --shop mine

      kokyaku shop dry-run draft.toml --shop mine --last 2000 --json moved.json
    """
    from features.dataset import Dataset
    from serving.asked_before import asked_in_store
    from serving.asked_dataset import asked_in_dataset
    from serving.config import read_config
    from serving.decision_drain import drain
    from serving.dry_run import dry_run as rebuild
    from serving.engine import Engine
    from serving.shop_check import read_text
    from training.console import Bars
    from training.dry_run_report import show_dry_run, told

    config, opened = read_config(read_text(draft), str(draft)), open_shop(shop, root)
    engine = Engine(opened, worker=None)
    try:
        drain(opened.decision_logs, engine.store)  # what a service that ended left in its log
        asked = asked_in_store(engine.store, last)
        seen = [each.request_id for each in asked]
        asked += asked_in_dataset(Dataset(opened.dataset), last - len(asked), seen)
        with Bars(console) as bars:
            found = rebuild(engine, config, asked, bars.tell)
    finally:
        engine.close()
    show_dry_run(console, found, seed=seed, personal=examples)
    if json:
        _write(json, told(found, seed=seed, personal=examples))


def _write(path: Path, what: Any) -> None:
    import msgspec

    from features.errors import ConfigError

    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(what), indent=2) + b"\n")
    except OSError as error:
        raise ConfigError("the file cannot be written", where="--json", got=error.strerror) from None
