"""`kokyaku bench delivery`: how often predicted intervals hold the delivery, how wide they are, beside two baselines.

Everything is learned before the last window and asked in it, from the `orders` table alone
(`training.delivery_proof`). Figures of the simulated shop are for tests, never evidence about real ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.table import Table

from features import columns as c
from features.dataset import Dataset
from features.errors import ConfigError, DataError
from features.moments import format_instant
from serving.tombstones import Erased, erased_of
from training.bench.accuracy import Result, bars
from training.bench.oracle import simulated_shop
from training.bench.rows import Row, write_rows
from training.bench.shops import default_cache
from training.commands.common import (
    CacheOption,
    JsonOption,
    RootOption,
    SimulatedSeedOption,
    SizeOption,
    console,
    open_shop,
)
from training.delivery import Learned, window_of
from training.delivery_lines import kinds_of, read_lines
from training.delivery_proof import Part, Proof, prove, told
from training.delivery_report import choices_of, figures_of, too_little
from training.meter import Tell
from training.session import silent

LEGEND = (
    "even: mean width if both ends moved out until as many were held as by kokyaku, by what this very window needed. "
    "score: the interval score, lower is better. after: % that came later. For the 95 % an order counts once."
)
UNITS = {"mean width": "days", "median width": "days", "matched width": "days", "error": "days",
         "score": "days"}  # fmt: skip


def command(
    size: SizeOption = "s",
    seed: SimulatedSeedOption = 0,
    shop: Annotated[str | None, typer.Option(help="A shop of your own instead; it needs orders with states.")] = None,
    root: RootOption = None,
    cache: CacheOption = None,
    json: JsonOption = None,
) -> None:
    """Measure predicted deliveries on the last window: coverage of the 80 % intervals and their width in days.

    Each open line is asked about just after each of its steps and once a day. Beside it stand the promised date with
    the quantiles of all delays, and the quantiles of days from order to delivery of each category.

    Examples:

      kokyaku bench delivery

      kokyaku bench delivery --size tiny --seed 3 --json delivery.json

      kokyaku bench delivery --shop mine --root shops/mine
    """
    if root is not None and shop is None:
        raise ConfigError("a folder without the name of its shop", where="--root", got=str(root), hint="add --shop")
    with bars() as tell:
        result, proof = run(size, seed, cache=cache, tell=tell) if shop is None else run_shop(shop, root, tell=tell)
    for line in result.notes:
        console.print(line, highlight=False, soft_wrap=True)
    console.print(table_of(proof))
    console.print(LEGEND, highlight=False, soft_wrap=True)
    console.print(choice_table(proof.learned))
    if json:
        write_rows(json, result.rows)


def run(size: str, seed: int, *, cache: Path | None = None, tell: Tell = silent) -> tuple[Result, Proof]:
    """Measure a simulated shop.

    Raises:
        ConfigError: an unknown size.
        DataError: too little was delivered.
    """
    dataset, _ = simulated_shop(cache or default_cache(), size, seed, tell)
    note = f"The simulated shop (size {size}, seed {seed}): never evidence about real shops."
    return measure(dataset, f"simulated-{size}-{seed}", notes=[note], tell=tell)


def run_shop(shop: str, root: Path | None, *, tell: Tell = silent) -> tuple[Result, Proof]:
    """Measure a shop of the user's own.

    Raises:
        DataError: there is no dataset, or too little was delivered.
    """
    opened = open_shop(shop, root)
    dataset = Dataset(opened.dataset)
    dataset.manifest()
    return measure(dataset, shop, erased=erased_of(opened), tell=tell)


def measure(
    dataset: Dataset, data: str, *, notes: list[str] | None = None, erased: Erased | None = None, tell: Tell = silent
) -> tuple[Result, Proof]:
    """Measure the last window of a dataset.

    Args:
        dataset: the tables.
        data: its name in the rows.
        notes: said before those of the measurement.
        erased: who asked to be forgotten.
        tell: hears the progress.

    Raises:
        DataError: too little was delivered.
    """
    tell("read orders", 0, 1)
    until = _last(dataset)
    lines = read_lines(dataset, until, (erased or Erased(b"")).subject)
    tell("read orders", 1, 1)
    if not lines:
        hint = "import orders, or send them to /v1/orders"
        raise DataError("no order lines with states", where=str(dataset.root), hint=hint)
    tell("learn and ask", 0, 1)
    proof = prove(lines, kinds_of(dataset, until - window_of(lines, until)), until)
    tell("learn and ask", 1, 1)
    if proof is None:
        raise DataError(too_little(lines).rstrip("."), where=str(dataset.root))
    window = f"Learned before {format_instant(proof.start)[:10]} and asked until {format_instant(proof.until)[:10]}"
    said = f"{window}; {proof.undecided:.0%} of the questions are not decided yet and do not count."
    return Result(rows_of(data, proof), [*(notes or []), said, *told(proof)]), proof


def rows_of(data: str, proof: Proof) -> list[Row]:
    """A row a figure; the interval stands with the coverage."""
    rows = []
    for part in proof.parts:
        for name, value in figures_of(part).items():
            if name in ("low", "high"):
                continue
            low, high = (part.coverage.low, part.coverage.high) if name == "coverage" else (None, None)
            metric, unit = name.replace(" ", "-"), UNITS.get(name, "")
            rows.append(Row("delivery", data, part.slice, part.method, metric, value, low, high, unit))
    return rows


def table_of(proof: Proof) -> Table:
    """A line a slice and method."""
    title = "80 % intervals of the delivery: % held, and widths in days"
    table = Table(title=title, box=SIMPLE, pad_edge=False, padding=0, show_edge=False)
    for column in ("", "method", "held", "95 %", "mean", "mid", "even", "score", "after", "n"):
        table.add_column(column, no_wrap=True, justify="left" if column in ("", "method") else "right")
    before = ""
    for part in proof.parts:
        table.add_row("" if part.slice == before else part.slice.split(": ")[-1], part.method, *_cells(part))
        before = part.slice
    return table


def _cells(part: Part) -> list[str]:
    held = part.coverage
    return [
        f"{100 * held.value:.1f}", f"{100 * held.low:.0f}-{100 * held.high:.0f}", f"{part.mean_width:.2f}",
        f"{part.median_width:.2f}", f"{part.matched_width:.2f}", f"{part.score:.2f}", f"{100 * part.after:.0f}",
        str(part.questions),
    ]  # fmt: skip


def choice_table(learned: Learned) -> Table:
    """What was chosen for each state, and by which losses."""
    title = "Losses in days of both anchors, and what was chosen"
    table = Table(title=title, box=SIMPLE, pad_edge=False, padding=0, show_edge=False)
    for column in ("", "began", "promise", "used", "prior", "tilt", "low", "high", "late", "n"):
        table.add_column(column, no_wrap=True, justify="left" if column in ("", "used") else "right")
    for row in choices_of(learned):
        table.add_row(*(f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row))
    return table


def _last(dataset: Dataset) -> int:
    """Just after the last event or step."""
    with dataset.connect() as duck:
        found = duck.sql(
            f"SELECT max(epoch_us({c.OCCURRED_AT})) AS at FROM events "
            f"UNION ALL SELECT max(epoch_us({c.VALID_FROM})) FROM orders"
        ).fetchall()
    return max((at for (at,) in found if at is not None), default=0) + 1
