"""`kokyaku stop`: take an item, action, module or campaign off everywhere, list what is stopped, lift a stop."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from training.commands.common import DEFAULT_SHOP, RootOption, ShopOption, console, open_shop

app = typer.Typer(
    help="Stop an item, action, module or campaign everywhere, within seconds.", no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip

Name = Annotated[str, typer.Argument(help="Its id or name.")]
Because = Annotated[str, typer.Option("--because", help="Why; shown wherever somebody asks.")]
By = Annotated[str | None, typer.Option("--by", help="Who stops it.  [default: your user name]")]
Examples = """
    Examples:

      kokyaku stop item 1082185 --because "recalled by the maker"

      kokyaku stop action summer-sale --because "wrong price" --by ann

      kokyaku stop list

      kokyaku stop lift 3
"""


def _stopping(kind: str, line: str) -> None:
    def command(
        name: Name, because: Because, by: By = None, shop: ShopOption = DEFAULT_SHOP, root: RootOption = None
    ) -> None:
        from serving.intake_stops import stop_in

        made = stop_in(open_shop(shop, root), kind, name, because=because, who=by or getpass.getuser())
        console.print(f"Stop {made.number}: {kind} {name}.", highlight=False, markup=False)
        console.print("A running service has it within a second.")

    command.__doc__ = f"{line}\n{Examples}"
    app.command(kind)(command)


_stopping("item", "Stop an item: no page, list or ranking shows it any more.")
_stopping("action", "Stop an action (or module): no slot and no channel shows or sends it any more.")
_stopping("module", "Stop a module: no slot shows it any more.")
_stopping("campaign", "Stop a campaign: an experiment, learned policy, channel or sequence of that name.")


@app.command("list")
def stops(
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
    lifted: Annotated[bool, typer.Option("--all", help="Lifted stops too, the newest first.")] = False,
) -> None:
    """List what is stopped: number, what, since when, by whom and why.

    Examples:

      kokyaku stop list

      kokyaku stop list --all
    """
    from features.moments import format_instant
    from serving.intake_stops import stops_of

    found = stops_of(open_shop(shop, root), lifted=lifted)
    if not found:
        console.print("Nothing is stopped.")
    for stop in found:
        end = f", lifted {format_instant(stop.lifted_at)} by {stop.lifted_by}" if stop.lifted_at is not None else ""
        told = f"{stop.number}  {stop.kind} {stop.name}: {stop.because} ({stop.who}, {format_instant(stop.at)}{end})"
        console.print(told, highlight=False, markup=False, soft_wrap=True)


@app.command()
def lift(
    number: Annotated[int, typer.Argument(help="The stop's number, as `kokyaku stop list` shows it.")],
    by: By = None,
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
) -> None:
    """Lift a stop.

    Examples:

      kokyaku stop lift 3
    """
    from serving.intake_stops import lift_in

    lifted = lift_in(open_shop(shop, root), number, who=by or getpass.getuser())
    console.print(f"Lifted: {lifted.kind} {lifted.name}.", highlight=False, markup=False)
