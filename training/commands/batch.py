"""`kokyaku batch`: recommendations for many customers, into a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from features.shop import Shop
from training.commands.common import DEFAULT_SHOP, RootOption, ShopOption, console, open_shop


def command(
    customers: Annotated[Path, typer.Option("--customers", help="Ids: one a line, CSV, or Parquet.")],
    out: Annotated[Path, typer.Option("--out", help="File to write: .parquet or .csv.")],
    num: Annotated[int, typer.Option("--num", "-n", min=1, max=1000, help="Items for each customer.")] = 20,
    as_of: Annotated[str | None, typer.Option("--as-of", help="Answer with what was known then.")] = None,
    version: Annotated[int | None, typer.Option("--version", help="Model version; default: what serves.")] = None,
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
) -> None:
    """Recommend to many customers, for mail tools or for a judgement of your own.

    Without --as-of it answers as of the end of the dataset, and the shop's holdout gets what is the same for all.
    With it the bundle must have been trained on what was known then, and nobody is held out.

    Examples:

      kokyaku batch --customers ids.txt --num 10 --out mail.csv

      kokyaku train --as-of 2017-12-01 && kokyaku batch --as-of 2017-12-01 --customers ids.txt --out then.parquet
    """
    from rich.progress import Progress

    from features.moments import format_instant, parse_instant
    from training.batch import answer_all, open_answerer, read_customers, write_answers

    opened = open_shop(shop, root)
    ids = read_customers(customers)
    moment = None if as_of is None else parse_instant(as_of, where="--as-of")
    bundle_id = _bundle_of(version, opened) if version is not None else None
    answerer = open_answerer(opened, as_of=moment, bundle_id=bundle_id)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(f"{len(ids):,} customers", total=len(ids))
        pieces = answer_all(answerer, ids, num, lambda count: progress.advance(task, count))
        rows = write_answers(out, pieces)
    moment_text = format_instant(answerer.now)
    console.print(f"{rows:,} rows for {len(ids):,} customers as of {moment_text} in {out}", highlight=False)


def _bundle_of(version: int, opened: Shop) -> str:
    from features.errors import NotFoundError
    from training.publish import open_registry

    found = open_registry(opened).version(version)
    if not found.bundle_id:
        raise NotFoundError("the gate refused this version, so it has no bundle", where="--version", got=version)
    return found.bundle_id
