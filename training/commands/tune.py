"""`kokyaku tune`: search for better parameters of one source or of the ranker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from training.commands.common import DEFAULT_SHOP, RootOption, ShopOption, console, open_shop


def command(
    what: Annotated[str, typer.Argument(help="A source, e.g. ials, ease or personal-frequency, or ranker.")],
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
    trials: Annotated[
        int | None,
        typer.Option("--trials", min=2, help="Trials in all, earlier calls included; 30 where no --minutes are given."),
    ] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", min=0, help="Begin no trial after so long.")] = None,
    space: Annotated[Path | None, typer.Option("--space", help="A search space of your own (TOML).")] = None,
    task: Annotated[
        Literal["all", "new", "both"], typer.Option("--task", help="All purchases, items never bought before, or both.")
    ] = "both",
    seed: Annotated[int, typer.Option("--seed", help="Of what is tried.")] = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Throw away what was tried before.")] = False,
    as_of: Annotated[str | None, typer.Option("--as-of", help="Tune on what was known then, e.g. 2017-12-01.")] = None,
    preset: Annotated[
        Literal["quick", "full"], typer.Option("--preset", help="Whose defaults, and on how many customers.")
    ] = "quick",
) -> None:
    """Search for better parameters on the window before the judged one; the next kokyaku train uses them.

    The first trial is the default. Half of the window's customers judge the trials, the other half judges the default
    and the best: only where the best is better there is it written to the shop's tuned.toml. Ctrl-C loses one trial;
    the same command goes on where it was. Every trial is a nested run of MLflow (kokyaku ui).

    Examples:

      kokyaku tune ials

      kokyaku tune ranker --shop mine --minutes 30

      kokyaku tune ease --trials 50 --task new --preset full

      kokyaku tune item-item --space my-space.toml --fresh
    """
    from features.moments import parse_instant
    from training.console import Bars
    from training.course import TuneOptions
    from training.tuning import tune
    from training.tuning_report import print_found

    moment = None if as_of is None else parse_instant(as_of, where="--as-of")
    options = TuneOptions(trials, minutes, space, seed, fresh, task, preset, moment)
    with Bars(console) as bars:
        found = tune(open_shop(shop, root), what, options, bars.tell)
    print_found(console, found)
