"""`kokyaku doctor`: is everything there that a service needs?"""

from __future__ import annotations

import typer

from training.commands.common import DEFAULT_SHOP, RootOption, ShopOption, console, open_shop


def command(shop: ShopOption = DEFAULT_SHOP, root: RootOption = None) -> None:
    """Check settings, secret, clock, disk, store, erasures, bundle, policies, history and logs; each with its remedy.

    Exit code 1 when something is broken.

    Examples:

      kokyaku doctor

      kokyaku doctor --shop mine
    """
    from rich.table import Table

    from serving.ops import doctor

    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    checks = doctor(open_shop(shop, root))
    table = Table(box=None)
    for name in ("", "check", "found", "what to do"):
        table.add_column(name)
    for check in checks:
        table.add_row(f"[{colours[check.verdict]}]{check.verdict}", check.name, check.detail, check.remedy)
    console.print(table)
    if any(check.verdict == "fail" for check in checks):
        raise typer.Exit(1)
