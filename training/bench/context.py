"""`kokyaku bench context`: what a visit tells at landing, of who buys and of what to show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.bench import asking, shoppers, strangers
from training.bench.accuracy import bars
from training.bench.oracle import simulated_shop
from training.bench.rows import Row, print_rows, write_rows
from training.bench.shops import default_cache
from training.commands.common import CacheOption, JsonOption, ResamplesOption, SimulatedSeedOption, SizeOption, console
from training.meter import Tell
from training.session import silent

TASKS = (("hero", "click"), ("hero", "purchase"), ("band", "click"))
"""Slots and outcomes of the simulated shop that are judged."""


def command(
    path: Annotated[
        Path | None, typer.Option(help="Folder of the Online Shoppers sessions; without it only the simulated shop.")
    ] = None,
    size: SizeOption = "s",
    seed: SimulatedSeedOption = 0,
    cache: CacheOption = None,
    resamples: ResamplesOption = 2000,
    json: JsonOption = None,
) -> None:
    """Measure the contextual prior: purchases of real sessions, and actions for strangers in the simulated shop.

    Real sessions are judged month by month, each from the months before it, by what is known at landing. In the
    simulated shop the prior learns from the earlier decisions about unknown visitors; later ones are valued by truth.
    There it also shows how often a moment is unusual, by department, and what the answer about a pet is worth.

    Examples:

      kokyaku bench context

      kokyaku bench context --path data/online_shoppers --json context.json

      kokyaku bench context --size m --seed 3
    """
    rows: list[Row] = []
    with bars() as tell:
        notes = real(path, rows, resamples, tell) if path else ["No --path: real sessions are left out."]
        notes += simulated(size, seed, cache or default_cache(), rows, resamples, tell)
    for line in notes:
        console.print(line, highlight=False, soft_wrap=True)
    print_rows(console, rows, "95 % intervals; over sessions, and over visitors of the simulated shop")
    if json:
        write_rows(json, rows)


def real(path: Path, rows: list[Row], resamples: int, tell: Tell = silent) -> list[str]:
    """Judge the real sessions; what to know of it.

    Raises:
        DataError: the file is not there or is another.
    """
    found = shoppers.forecast(shoppers.load(path), tell)
    rows += shoppers.rows_of(found, resamples)
    first = shoppers.MONTHS[int(found.month.min()) - 1]
    return [
        f"Online shoppers: {len(found.month):,} sessions from {first} on, each month from what is before it; "
        "the hour and the year are not recorded, January and April are missing.",
        *(f"  {note}" for note in found.notes),
    ]


def simulated(
    size: str, seed: int, cache: Path, rows: list[Row], resamples: int, tell: Tell = silent
) -> list[str]:  # fmt: skip
    """Judge the action prior in the simulated shop; what to know of it.

    Raises:
        ConfigError: an unknown size.
    """
    dataset, truth = simulated_shop(cache, size, seed, tell)
    notes = [f"The simulated shop (size {size}, seed {seed}): never evidence about real shops."]
    for done, (slot, reward) in enumerate(TASKS, start=1):
        found = strangers.judge(dataset, truth, slot, reward)
        rows += strangers.rows_of(f"simulated-{size}-{seed}", f"{slot} {reward}", found, resamples)
        notes.append(f"  {slot} {reward}: {strangers.sentence(found.fitted.beyond.gains)}")
        tell("slots", done, len(TASKS))
    rows += asking.rows_of(dataset, truth, f"simulated-{size}-{seed}")
    return notes
