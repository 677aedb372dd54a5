"""`kokyaku train prior`: what a slot should show to somebody of whom only the visit is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from training.commands.common import DEFAULT_SHOP, LONGEST, RootOption, ShopOption, console, open_shop
from training.commands.decisions import AsOfOption

if TYPE_CHECKING:
    from training.prior_training import PriorTrained


def command(
    slot: Annotated[str, typer.Option(help="Of the surface.")],
    outcome: Annotated[str, typer.Option(help="What should come of it, such as click or purchase.")] = "click",
    surface: Annotated[str, typer.Option(help="The page, such as page.home.")] = "page.home",
    explore: Annotated[
        Literal["thompson", "inverse-gap", "none"], typer.Option(help="How the policy goes on trying.")
    ] = "thompson",
    floor: Annotated[float, typer.Option(min=0, max=0.5, help="Least probability of every possible action.")] = 0.01,
    order: Annotated[
        str, typer.Option(help="Dimensions, widest first, with commas.")
    ] = "region,season,traffic_source,device,hour",
    southern: Annotated[list[str] | None, typer.Option(help="Region south of the equator; repeatable.")] = None,
    window: Annotated[float, typer.Option(min=0, max=LONGEST, help="Days in which the outcome counts.")] = 1,
    as_of: AsOfOption = None,
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
) -> None:
    """Learn what a slot should show to unknown visitors, from its drawn decisions about them, and write the policy.

    Only region, season, traffic source, device and hour are read, and only those that tell which action is better.
    Where none does the policy is averages, the same for everybody. Nothing serves before shop.toml names it.

    Examples:

      kokyaku train prior --slot hero --shop mine

      kokyaku train prior --slot hero --outcome purchase --window 2 --order season,device,hour --shop mine
    """
    from features.errors import ConfigError
    from features.moments import DAY, parse_instant
    from serving.prior import DIMENSIONS
    from training.prior import PriorParams
    from training.prior_training import PriorWanted, train_prior

    names = tuple(name.strip() for name in order.split(",") if name.strip())
    if not set(names) <= set(DIMENSIONS) or len(set(names)) < len(names):
        raise ConfigError("not an order of dimensions", where="--order", got=order, hint=", ".join(DIMENSIONS))
    wanted = PriorWanted(
        surface, slot, outcome, int(window * DAY), "greedy" if explore == "none" else explore, floor,
        tuple(southern or ()), PriorParams(names), None if as_of is None else parse_instant(as_of, where="--as-of"),
    )  # fmt: skip
    show(train_prior(open_shop(shop, root), wanted), slot)


def show(trained: PriorTrained, slot: str) -> None:
    """Print what dimensions are worth, what actions bring, and the line for `shop.toml`."""
    from rich.box import SIMPLE
    from rich.markup import escape
    from rich.table import Table

    from training.prior_training import headline

    table = Table(title="Beyond what visitors do anyway", title_justify="left", box=SIMPLE, pad_edge=False)
    for head in ("dimension", "strength", "gain a decision", "error", "kept"):
        table.add_column(head, justify="left" if head == "dimension" else "right")
    for gain in trained.fitted.beyond.gains[1:]:
        told = (
            (f"{gain.strength:g}", f"{gain.mean:.2g}", f"{gain.error:.2g}") if gain.mean == gain.mean else ("", "", "")
        )
        table.add_row(gain.name, *told, "yes" if gain.kept else "no")
    console.print(table)
    console.print(f"[bold]{escape(headline(trained.fitted))}[/bold]", highlight=False, soft_wrap=True)
    console.print("To let it decide for visitors, write into shop.toml under the slot:")
    console.print(escape(f'  slot "{slot}": policy = "{trained.name}"'), highlight=False, soft_wrap=True)
