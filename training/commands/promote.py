"""`kokyaku promote`: let a model that passed the gate serve."""

from __future__ import annotations

from typing import Annotated

import typer

from training.commands.common import DEFAULT_SHOP, RootOption, ShopOption, console, open_shop


def command(
    version: Annotated[int | None, typer.Argument(help="Number of the version; default: the newest accepted.")] = None,
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
) -> None:
    """Let a model serve. Only one that the gate accepted against today's champion may.

    Running services take it up within seconds, without a failed request.

    Examples:

      kokyaku promote

      kokyaku promote 7 --shop mine
    """
    from training.console import print_verdict
    from training.publish import RefusedError, newest_accepted, open_registry, promote

    opened = open_shop(shop, root)
    tracking = open_registry(opened)
    number = version if version is not None else newest_accepted(tracking).number
    try:
        promoted = promote(opened, number, tracking)
    except RefusedError as refused:
        print_verdict(console, refused.verdict)
        raise
    console.print(f"Version {promoted.number} serves {opened.id}: bundle {promoted.bundle_id}.")
