"""`kokyaku shop`: begin a `shop.toml`, look through it, and try a change of it on the last requests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from training.commands.common import DEFAULT_SHOP, JsonOption, RootOption, ShopOption, console, open_shop

if TYPE_CHECKING:
    from rich.table import Table

    from serving.dry_run import DryRun, Moved
    from serving.shop_check import Checked
    from serving.web.studio.figures import Share

app = typer.Typer(
    help="Begin a shop.toml, look through it, try a change of it on the last requests.", no_args_is_help=True,
    rich_markup_mode="rich", pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip
COLOURS = {"fail": "red", "warn": "yellow", "note": "dim"}
SHOWN = 3
"""Requests that are named for each slot."""


@app.command("init")
def init(
    sample: Annotated[str, typer.Option(help="plain: a start for any shop; home: a furnished one.")] = "plain",
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
) -> None:
    """Write a shop.toml that explains itself. A file that is there stays, unless you say --force.

    Examples:

      kokyaku shop init --shop mine

      kokyaku shop init --shop mine --sample home --force
    """
    from serving.starting import write_sample

    path = write_sample(open_shop(shop, root), sample, force=force)
    console.print(f"Written: {path}", highlight=False, markup=False, soft_wrap=True)
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
        console.print(sentence, highlight=False, markup=False)


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
    from serving.dry_run import dry_run as rebuild
    from serving.engine import Engine
    from serving.shop_check import read_text
    from training.console import Bars

    config, opened = read_config(read_text(draft), str(draft)), open_shop(shop, root)
    engine = Engine(opened, worker=None)
    try:
        asked = asked_in_store(engine.store, last)
        seen = [each.request_id for each in asked]
        asked += asked_in_dataset(Dataset(opened.dataset), last - len(asked), seen)
        with Bars(console) as bars:
            found = rebuild(engine, config, asked, bars.tell)
    finally:
        engine.close()
    show_dry_run(found, seed=seed, personal=examples)
    if json:
        _write(json, told(found, seed=seed, personal=examples))


def show_dry_run(found: DryRun, *, seed: int, personal: bool) -> None:
    """The answer in a sentence, then by slot, by segment, and what is held back."""
    for sentence in sentences(found):
        console.print(sentence, highlight=False, markup=False)
    if not found.moved:
        return
    for table in (_slots(found), _flows(found), _segments(found), _vetoes(found)):
        if table.row_count:
            console.print(table)
    for place in found.places:
        for each in found.examples(place, SHOWN, seed):
            line = "  ".join(f"{key} {value}" for key, value in _example(found, each, personal=personal).items())
            console.print(line, highlight=False, markup=False, soft_wrap=True)


def sentences(found: DryRun) -> list[str]:
    """What was found, how much it is worth, and what was left out."""
    from serving.dry_run import FEW

    whole = found.requests
    out = [f"{count} left out: {why}." for why, count in sorted(found.left_out.items())]
    if not whole.of:
        return [*out, "No request for a page or an action can be rebuilt: let the service answer some first."]
    out.append(f"{whole.hits} of {whole.of} requests move ({_told(whole)}); they are of {found.subjects} people.")
    if whole.of < FEW:
        out.append(f"With fewer than {FEW} requests shares say little.")
    if found.faithful.of:
        hits, of = found.faithful.hits, found.faithful.of
        out.append(f"Rebuilt under the file that serves, {hits} of {of} slots show what was logged.")
    emptied = sum(each.emptied for each in found.moved)
    out += [f"{emptied} slots become empty."] if emptied else []
    return out


def _slots(found: DryRun) -> Table:
    table = _table("Slots", "slot", "requests", "other action", "other items", "other words", "become empty")
    for place in found.places:
        shares = [
            found.of(place, lambda each: each.other_action), found.of(place, lambda each: each.items),
            found.of(place, lambda each: each.words), found.of(place, lambda each: each.emptied),
        ]  # fmt: skip
        if any(share.hits for share in shares):
            table.add_row(place, str(found.places[place]), *map(_counted, shares))
    return table


def _flows(found: DryRun) -> Table:
    table = _table("Actions", "slot", "before", "after", "requests")
    for place in found.places:
        for before, after, share in found.flows(place):
            table.add_row(*map(_escaped, (place, before, after)), _counted(share))
    return table


def _segments(found: DryRun) -> Table:
    table = _table("For whom", "", "", "requests", "move")
    for kind, value, share in found.by_group():
        table.add_row(kind, _escaped(value), str(share.of), _counted(share))
    return table


def _vetoes(found: DryRun) -> Table:
    table = _table("Held back", "reason", "before", "after")
    for why, before, after in found.vetoed():
        table.add_row(_escaped(why), str(before), str(after))
    return table


def _table(title: str, *headings: str) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    return Table(*headings, title=title, title_justify="left", box=SIMPLE)


def _counted(share: Share) -> str:
    return f"{share.hits} ({_told(share)})" if share.hits else "0"


def _told(share: Share) -> str:
    low, high = share.interval or (float("nan"), float("nan"))
    return f"{(share.value or 0):.1%}, {low:.1%} to {high:.1%}"


def _example(found: DryRun, each: Moved, *, personal: bool) -> dict[str, Any]:
    """One request whose slot moved: its id, and who asked only where that is wanted."""
    from features.moments import format_instant

    asked = found.rebuilt[each.request]
    line: dict[str, Any] = {"request": asked.request_id, "slot": each.place, "before": each.before, "after": each.after}
    if personal:
        line |= {"customer": asked.customer, "visitor": asked.visitor, "at": format_instant(asked.at)}
    return line


def told(found: DryRun, *, seed: int, personal: bool) -> dict[str, Any]:
    """A dry run as JSON."""

    def counts(share: Share) -> dict[str, Any]:
        low, high = share.interval or (None, None)
        return {"count": share.hits, "of": share.of, "share": share.value, "low": low, "high": high}

    def slot(place: str) -> dict[str, Any]:
        return {
            "slot": place, "otherAction": counts(found.of(place, lambda each: each.other_action)),
            "otherItems": counts(found.of(place, lambda each: each.items)),
            "otherWords": counts(found.of(place, lambda each: each.words)),
            "becomeEmpty": counts(found.of(place, lambda each: each.emptied)),
            "actions": [{"before": a, "after": b, **counts(share)} for a, b, share in found.flows(place)],
            "examples": [_example(found, each, personal=personal) for each in found.examples(place, SHOWN, seed)],
        }  # fmt: skip

    return {
        "requests": counts(found.requests), "people": found.subjects, "leftOut": dict(found.left_out),
        "asLogged": counts(found.faithful), "slots": [slot(place) for place in found.places],
        "segments": [{"kind": kind, "value": value, **counts(share)} for kind, value, share in found.by_group()],
        "vetoes": [{"reason": why, "before": before, "after": after} for why, before, after in found.vetoed()],
    }  # fmt: skip


def _write(path: Path, what: Any) -> None:
    import msgspec

    from features.errors import ConfigError

    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(what), indent=2) + b"\n")
    except OSError as error:
        raise ConfigError("the file cannot be written", where="--json", got=error.strerror) from None


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
