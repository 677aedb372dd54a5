"""`kokyaku demo`: the main job, end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from training.commands.common import RootOption, open_shop

Source = Literal["complete-journey", "online-retail", "simulated"]


def command(
    source: Annotated[Source, typer.Option(help="Which purchases.")] = "complete-journey",
    path: Annotated[Path | None, typer.Option(help="The file, for online-retail.")] = None,
    root: RootOption = None,
    size: Annotated[Literal["s", "m"], typer.Option(help="Size of the simulated shop.")] = "s",
    seed: Annotated[int, typer.Option(help="Seed of the simulated shop.")] = 1,
    preset: Annotated[Literal["quick", "full"], typer.Option(help="How much to train.")] = "quick",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the service.")] = 3000,
    ui_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the tracking UI.")] = 5000,
    serve: Annotated[bool, typer.Option("--serve/--no-serve", help="Serve at the end.")] = True,
) -> None:
    """Import purchases, audit them, train, promote through the gate, and serve on this machine until Ctrl-C.

    A second run reuses what is there; delete the shop's folder to begin anew.

    Examples:

      kokyaku demo

      kokyaku demo --source online-retail --path online_retail.csv.gz

      kokyaku demo --source simulated --size s
    """
    from training.demo import DemoOptions, demo

    shop = open_shop("demo" if source == "complete-journey" else source, root)
    demo(shop, DemoOptions(source, path, size, seed, preset, port, ui_port, serve))
