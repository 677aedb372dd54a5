"""What every verb shares: how the shop is named and where words are printed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from features.shop import Shop

ShopOption = Annotated[str, typer.Option("--shop", help="Name of the shop.", envvar="KOKYAKU_SHOP")]
RootOption = Annotated[
    Path | None,
    typer.Option("--root", help="The shop's folder.  [default: shops/<shop>]", envvar="KOKYAKU_ROOT"),
]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Write the rows to this file as JSON.")]
ResamplesOption = Annotated[int, typer.Option(min=10, max=100_000, help="Of the bootstrap.")]
SizeOption = Annotated[str, typer.Option(help="Of the simulated shop: tiny, s, m or l.")]
SimulatedSeedOption = Annotated[int, typer.Option(min=0, help="Of the simulated shop.")]
CacheOption = Annotated[Path | None, typer.Option(help="Folder of simulated shops.")]
SurfaceOption = Annotated[str | None, typer.Option(help="Only decisions on this surface, such as email.")]
SlotOption = Annotated[str | None, typer.Option(help="Only decisions of this slot.")]
PresetOption = Annotated[str, typer.Option(help="How much to train: quick or full.")]

DEFAULT_SHOP = "demo"
LONGEST = 36_500
"""Days of a window, at most: moments stay within what can be reckoned with."""

console = Console()
errors = Console(stderr=True)


def open_shop(shop: str, root: Path | None) -> Shop:
    """The shop of that name, in its folder or in the usual one."""
    return Shop.from_environment(shop, (root or Path("shops") / shop).absolute())
