"""`kokyaku doctor`: is everything there that a service needs?"""

from __future__ import annotations

import sys
from typing import Annotated

import orjson
import typer

from training.commands.common import DEFAULT_SHOP, RootOption, ShopOption, console, open_shop


def command(
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
    json: Annotated[bool, typer.Option("--json", help="For programs: ok, and checks with their remedies.")] = False,
) -> None:
    """Check the shop's folder, store, bundle and clock, and the keys, threads and limits; each with its remedy.

    Exit code 1 when something is broken.

    Examples:

      kokyaku doctor

      kokyaku doctor --shop mine --json
    """
    from rich.markup import escape
    from rich.table import Table

    from serving.checking import told
    from serving.ops import doctor

    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    checks = doctor(open_shop(shop, root))
    found = told(checks)
    if json:
        sys.stdout.write(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() + "\n")
        raise typer.Exit(int(not found["ok"]))
    table = Table(box=None)
    for name in ("", "check", "found", "what to do"):
        table.add_column(name)
    for check in checks:
        said = (escape(text) for text in (check.name, check.detail, check.remedy))
        table.add_row(f"[{colours[check.verdict]}]{check.verdict}", *said)
    console.print(table)
    if not found["ok"]:
        raise typer.Exit(1)
