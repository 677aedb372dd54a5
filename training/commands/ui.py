"""`kokyaku ui`: the experiment-tracking UI of one shop."""

from __future__ import annotations

from typing import Annotated

import typer

from training.commands.common import DEFAULT_SHOP, RootOption, ShopOption, console, open_shop


def command(
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Where it listens.")] = 5000,
    host: Annotated[str, typer.Option("--host", help="Address it binds; it has no password.")] = "127.0.0.1",
) -> None:
    """Open the experiment-tracking UI: runs, plots, reports and registered models. Ctrl-C stops it.

    Examples:

      kokyaku ui

      kokyaku ui --shop mine --port 5001
    """
    from training.ui import running_ui

    opened = open_shop(shop, root)
    with running_ui(opened, host=host, port=port) as process:
        console.print(f"Experiments of {opened.id}: http://{host}:{port}  (Ctrl-C stops it)")
        raise typer.Exit(process.wait())
