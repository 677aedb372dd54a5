"""`kokyaku bench invariants`: rules that no decision may break, over a million simulated ones.

Days of a house shop are lived through the code that the HTTP routes call: people look, wish, order, wait, send back,
agree, refuse, answer and sign in, while stock, stops and parcels change. Every page is then judged by rules that are
derived a second time, from the shop's file and from what the simulation knows to be true. A rule is reported with how
often it was broken and how often it could have been; one that never could have been says nothing and fails the bench.
The shop is invented: figures are of the rules, never of anybody's sales.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated, Final

import typer

from training.bench.accuracy import bars
from training.bench.invariant_asked import Table
from training.bench.invariant_people import Part
from training.bench.invariant_world import run_part
from training.bench.rows import Row, print_rows, write_rows
from training.commands.common import JsonOption, console
from training.meter import Tell

PART: Final = 20_000
"""Decisions of one shop: longer histories would only cost more."""
_MEMORY: Final = Path("/dev/shm")  # noqa: S108  (folders of random names are made in it)
BROKEN: Final = 1
"""The command's exit code where a rule was broken, or was never put to the test."""


def command(
    decisions: Annotated[int, typer.Option(min=1, max=100_000_000, help="How many at least.")] = 1_000_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the simulation.")] = 0,
    people: Annotated[int, typer.Option(min=4, max=10_000, help="Customers of each simulated shop.")] = 60,
    processes: Annotated[int, typer.Option(min=1, max=2, help="Shops that are lived at once.")] = 1,
    json: JsonOption = None,
) -> None:
    """Live simulated days and count broken rules: empty slots, items twice, caps, eligibility, consent, and others.

    Examples:

      kokyaku bench invariants

      kokyaku bench invariants --decisions 100000 --seed 3 --processes 2 --json invariants.json
    """
    began = time.perf_counter()
    with bars() as tell:
        table = run(decisions, seed, people=people, processes=processes, tell=tell)
    rows = rows_of(table, seed, time.perf_counter() - began)
    print_rows(console, rows, "Rules that no decision may break: how often they were, of how many looks")
    console.print(verdict(table), highlight=False, soft_wrap=True)
    if json:
        write_rows(json, rows)
    if faults(table):
        raise typer.Exit(BROKEN)


def run(
    decisions: int, seed: int, *, people: int = 60, processes: int = 1, tell: Tell = lambda what, done, total: None,
) -> Table:  # fmt: skip
    """Live shop after shop until enough was decided.

    Args:
        decisions: how many at least.
        seed: of the simulation; a part is reproduced by seed, number, size and people.
        people: customers of each shop.
        processes: shops at once.
        tell: hears `("decisions", done, total)`.
    """
    parts = [
        Part(seed, number, min(PART, decisions - number * PART), people) for number in range(-(-decisions // PART))
    ]
    table = Table()
    with tempfile.TemporaryDirectory(prefix="kokyaku-", dir=_quick()) as folder:
        for done in _lived(parts, Path(folder), processes):
            table.add(done)
            tell("decisions", min(table.decisions, decisions), decisions)
    return table


def _quick() -> str | None:
    """Where the shops are made: in memory where that is a folder. Nothing of them needs to survive a power loss."""
    return str(_MEMORY) if _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) else None


def _lived(parts: Sequence[Part], folder: Path, processes: int) -> Iterator[Table]:
    folders = [folder / str(part.number) for part in parts]
    if processes == 1 or len(parts) == 1:
        yield from map(_one, parts, folders)
        return
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_one, parts, folders)


def _one(part: Part, folder: Path) -> Table:
    try:
        return run_part(part, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def rows_of(table: Table, seed: int, seconds: float) -> list[Row]:
    """Decisions, their speed, and for each rule how often it was broken and how often it could have been."""

    def row(subject: str, metric: str, value: float, unit: str = "") -> Row:
        return Row("invariants", f"house-{seed}", "serve", subject, metric, value, unit=unit)

    rows = [row("kokyaku", "decisions", table.decisions), row("kokyaku", "answers", table.answers),
            row("kokyaku", "decisions-a-second", table.decisions / seconds, "1/s")]  # fmt: skip
    for name, found in table.rules.items():
        rows += [row("kokyaku", f"violations-{name}", found.broken), row("kokyaku", f"looks-{name}", found.number)]
    return rows


def faults(table: Table) -> list[str]:
    """Rules that were broken, with the first time, and rules that were never put to the test."""
    broken = [f"{name}: {found.broken:,} of {found.number:,}, first {found.example}"
              for name, found in table.rules.items() if found.broken]  # fmt: skip
    idle = [name for name, found in table.rules.items() if not found.number]
    return [*broken, *([f"never put to the test: {', '.join(idle)}"] if idle else [])]


def verdict(table: Table) -> str:
    """What came of it, in words."""
    found = faults(table)
    return "\n".join(found) or f"No rule was broken in {table.decisions:,} decisions of {table.answers:,} answers."
