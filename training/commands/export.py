"""`kokyaku export CUSTOMER`: everything that the service keeps of one person."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.commands.common import DEFAULT_SHOP, RootOption, ShopOption, console, open_shop


def command(
    customer: Annotated[str, typer.Argument(help="The customer's id.")],
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write it here instead of printing it.")] = None,
) -> None:
    """Give a customer's data out: fields, answers, consents with their history, orders, events, decisions, links.

    Examples:

      kokyaku export 1071 --out 1071.json
    """
    import orjson

    from features.errors import ConfigError
    from serving import ops

    told = orjson.dumps(ops.export_customer(open_shop(shop, root), customer), option=orjson.OPT_INDENT_2)
    if out is None:
        print(told.decode())
        return
    try:
        out.touch(mode=0o600)
        out.chmod(0o600)  # before anything stands in it
        out.write_bytes(told)
    except OSError as error:
        raise ConfigError("the file cannot be written", where="--out", got=error.strerror) from None
    console.print(f"Written: {out} (only you may read it)", highlight=False)
