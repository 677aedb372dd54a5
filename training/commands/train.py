"""`kokyaku train`: train, evaluate, put before the gate, publish."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from training.commands import train_prior, train_slots, train_uplift
from training.commands.common import DEFAULT_SHOP, RootOption, ShopOption, console, open_shop

if TYPE_CHECKING:
    from features.shop import Shop
    from training.conclusion import Outcome


app = typer.Typer(invoke_without_command=True, rich_markup_mode="rich")
app.command("uplift", short_help="Learn whom actions move, and rule what may serve.")(train_uplift.command)
app.command("slots", short_help="Learn what each slot of a page should show to whom.")(train_slots.command)
app.command("prior", short_help="Learn what a slot should show to unknown visitors.")(train_prior.command)


@app.callback()
def command(
    context: typer.Context,
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
    as_of: Annotated[str | None, typer.Option("--as-of", help="Train on what was known then, e.g. 2017-12-01.")] = None,
    preset: Annotated[Literal["quick", "full"], typer.Option("--preset", help="How much to train.")] = "quick",
    promote: Annotated[bool, typer.Option("--promote/--no-promote", help="Let an accepted model serve.")] = True,
) -> None:
    """Train the recipes, judge them on the last weeks beside plain baselines, and let the winner serve.

    Every figure, parameter, plot and input hash goes to the shop's MLflow store (kokyaku ui).

    Examples:

      kokyaku train

      kokyaku train --shop mine --preset full --no-promote

      kokyaku train --as-of 2017-12-01

      kokyaku train uplift --experiment hillstrom --outcome visit

      kokyaku train slots --surface page.home --outcome click
    """
    if context.invoked_subcommand is not None:
        _refuse_options(context)
        return
    from features.moments import parse_instant
    from serving.artifact import live_name
    from serving.ops import sync_shop

    opened = open_shop(shop, root)
    moment = None if as_of is None else parse_instant(as_of, where="--as-of")
    outcome = run_training(opened, preset=preset, as_of=moment, promote=promote)
    if outcome.promoted and live_name(opened.histories) is None:
        sync_shop(opened)  # a service without histories would know nobody


def _refuse_options(context: typer.Context) -> None:
    """Options before a subcommand would be read by nobody.

    Raises:
        ConfigError: there are some.
    """
    from features.errors import ConfigError

    given = [name for name in context.params if _on_the_line(context, name)]
    if given:
        hint = f"write options after it: kokyaku train {context.invoked_subcommand} --{given[0].replace('_', '-')} ..."
        raise ConfigError("an option before the subcommand", where="kokyaku train", got=given[0], hint=hint)


def _on_the_line(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def run_training(
    shop: Shop, *, preset: Literal["quick", "full"] = "quick", as_of: int | None = None, promote: bool = True
) -> Outcome:
    """Train with progress bars, and print the table, the verdict and what became of it."""
    from training.console import Bars, print_outcome
    from training.session import TrainOptions
    from training.train import train

    with Bars(console) as bars:
        outcome = train(shop, TrainOptions(as_of=as_of, preset=preset, promote=promote), bars.tell)
    print_outcome(console, outcome)
    return outcome
