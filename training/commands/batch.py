"""`kokyaku batch`: recommendations, messages and audiences for many customers, into files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from features.shop import Shop
from training.commands.common import DEFAULT_SHOP, RootOption, ShopOption, console, open_shop

if TYPE_CHECKING:
    from serving.engine import Engine
    from training.batch_actions import Identify

Format = Literal["csv", "parquet"]
app = typer.Typer(invoke_without_command=True, rich_markup_mode="rich")


@app.callback()
def recommendations(
    context: typer.Context,
    customers: Annotated[Path | None, typer.Option("--customers", help="Ids: one a line, CSV, or Parquet.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="File to write: .parquet or .csv.")] = None,
    num: Annotated[int, typer.Option("--num", "-n", min=1, max=1000, help="Items for each customer.")] = 20,
    as_of: Annotated[str | None, typer.Option("--as-of", help="Answer with what was known then.")] = None,
    version: Annotated[int | None, typer.Option("--version", help="Model version; default: what serves.")] = None,
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
) -> None:
    """Recommend to many customers, for mail tools or for a judgement of your own; or decide whom to write to.

    Without --as-of it answers as of the end of the dataset, and the shop's holdout gets what is the same for all.
    With it the bundle must have been trained on what was known then, and nobody is held out.

    Examples:

      kokyaku batch --customers ids.txt --num 10 --out mail.csv

      kokyaku train --as-of 2017-12-01 && kokyaku batch --as-of 2017-12-01 --customers ids.txt --out then.parquet

      kokyaku batch actions --channel email --out mails.csv
    """
    if context.invoked_subcommand is not None:
        return
    from features.errors import ConfigError
    from features.moments import format_instant, parse_instant
    from training.batch import answer_all, open_answerer, read_customers, write_answers

    if customers is None or out is None:
        hint = "kokyaku batch --customers ids.txt --out mail.csv, or kokyaku batch actions --channel email"
        missing = "--customers" if customers is None else "--out"
        raise ConfigError("a file is missing", where=missing, hint=hint)
    opened = open_shop(shop, root)
    ids = read_customers(customers)
    moment = None if as_of is None else parse_instant(as_of, where="--as-of")
    bundle_id = _bundle_of(version, opened) if version is not None else None
    answerer = open_answerer(opened, as_of=moment, bundle_id=bundle_id)
    with _progress(len(ids)) as done:
        rows = write_answers(out, answer_all(answerer, ids, num, done))
    moment_text = format_instant(answerer.now)
    console.print(f"{rows:,} rows for {len(ids):,} customers as of {moment_text} in {out}", highlight=False)


@app.command("actions")
def actions(
    channel: Annotated[str, typer.Option("--channel", help="Channel of shop.toml: \\[channels.NAME].")],
    about: Annotated[
        str | None, typer.Option("--audience", help="Write whom to reach about this action or item instead.")
    ] = None,
    kind: Annotated[Format | None, typer.Option("--format", help="Default: by the name of --out, else csv.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="File to write.  [default: CHANNEL.csv]")] = None,
    hashed: Annotated[
        Literal["none", "sha256"], typer.Option("--hash-ids", help="Write hashes of identifiers, for ads tools.")
    ] = "none",
    identifier: Annotated[
        str | None, typer.Option("--identifier", help="--audience: an attribute instead of the id, such as email.")
    ] = None,
    num: Annotated[
        int, typer.Option("--num", min=1, max=1000, help="--audience of an item: among the best so many.")
    ] = 20,
    customers: Annotated[Path | None, typer.Option("--customers", help="Only these ids.  [default: all]")] = None,
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
) -> None:
    """Decide for every customer whether to write now, and write one row for each message that may go out.

    The decisions are those of POST /v1/actions: they are logged, and a message counts from now on. A second run in the
    same epoch gives the same rows and spends nothing; a run that broke off is taken up by running again. What was
    really sent comes back with `kokyaku import sends`.

    With --audience nothing is decided: one file names whom an action or item may be shown to, a second one
    (-excluded) whom not: opted out, held out, capped, or without effect.

    Examples:

      kokyaku batch actions --channel email --out mails.csv --shop mine

      kokyaku batch actions --channel ads --audience sofa-offer --hash-ids sha256 --identifier email --shop mine
    """
    from serving.engine import Engine
    from training.batch import read_customers
    from training.batch_actions import Identify, all_customers

    target = _target(channel, out, kind)
    engine = Engine(open_shop(shop, root), worker="batch")
    try:
        ids = all_customers(engine) if customers is None else read_customers(customers)
        named = Identify(hashed, identifier)
        if about is None:
            _write_messages(engine, channel, ids, target, named)
        else:
            _write_audience(engine, channel, about, ids, target, named, num)
    finally:
        engine.close()


def _target(channel: str, out: Path | None, kind: Format | None) -> Path:
    from features.errors import ConfigError
    from training.batch import check_out

    target = out or Path(f"{channel.replace('/', '-')}.{kind or 'csv'}")
    if kind is not None and target.suffix.lower() != f".{kind}":
        raise ConfigError("its name says another format", where="--out", got=target.name, hint=f"name it .{kind}")
    check_out(target)
    return target


def _write_messages(engine: Engine, channel: str, ids: list[str], target: Path, named: Identify) -> None:
    from training.batch import write_answers
    from training.batch_actions import MESSAGES, Summary, messages

    summary = Summary()
    with _progress(len(ids)) as done:
        pieces = messages(engine, channel, ids, engine.clock.now(), identify=named, done=done, summary=summary)
        rows = write_answers(target, pieces, MESSAGES)
    decided = ", ".join(f"{count:,} {what}" for what, count in summary.decisions.most_common())
    console.print(f"{rows:,} messages for {len(ids):,} customers in {target} ({decided})", highlight=False)
    for reason, count in summary.reasons.most_common(10):
        console.print(f"  {count:,} {reason}", highlight=False, markup=False)


def _write_audience(
    engine: Engine, channel: str, about: str, ids: list[str], target: Path, named: Identify, num: int
) -> None:
    from training.batch import write_answers
    from training.batch_actions import AUDIENCE, EXCLUDED, audience, audience_tables

    with _progress(len(ids)) as done:
        found = audience(engine, channel, about, ids, engine.clock.now(), num=num, identify=named, done=done)
    without = target.with_stem(f"{target.stem}-excluded")
    tables = audience_tables(found)
    reached = write_answers(target, [tables[0]], AUDIENCE)
    kept_out = write_answers(without, [tables[1]], EXCLUDED)
    console.print(f"{reached:,} customers to reach about {about} in {target}", highlight=False, markup=False)
    console.print(f"{kept_out:,} customers not to reach in {without}", highlight=False, markup=False)
    if found.unfit:
        console.print(f"  {found.unfit:,} in neither: it does not fit them now", highlight=False)
    if found.unnamed:
        console.print(f"  {found.unnamed:,} in neither: no {named.attribute} is known of them", highlight=False)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    from rich.progress import Progress

    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(f"{total:,} customers", total=total)
        yield lambda count: progress.advance(task, count)


def _bundle_of(version: int, opened: Shop) -> str:
    from features.errors import NotFoundError
    from training.publish import open_registry

    found = open_registry(opened).version(version)
    if not found.bundle_id:
        raise NotFoundError("the gate refused this version, so it has no bundle", where="--version", got=version)
    return found.bundle_id
