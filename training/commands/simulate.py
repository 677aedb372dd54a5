"""`kokyaku simulate`: a complete shop with known truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from training.commands.common import DEFAULT_SHOP, RootOption, ShopOption, console, open_shop

if TYPE_CHECKING:
    from features.shop import Shop
    from training.simulation import SimulationReport

OutOption = Annotated[Path | None, typer.Option("--out", help="Folder of the new shop, instead of --root.")]
EndOption = Annotated[
    str | None, typer.Option("--end", help="Last day, e.g. 2025-11-01; the shop begins --days before.")
]


def command(
    size: Annotated[
        Literal["tiny", "s", "m", "l"],
        typer.Option(help="s: 1,500 customers, 95 thousand events; m: 50,000 and 3 million; l: 1 and 50 million."),
    ] = "s",
    seed: Annotated[int, typer.Option(help="The same seed and size give the same shop.", min=0)] = 1,
    locale: Annotated[Literal["en", "ja"], typer.Option(help="Language, regions and money.")] = "en",
    out: OutOption = None,
    days: Annotated[int | None, typer.Option(help="Length of the period; if not given, the size's.")] = None,
    end: EndOption = None,
    workers: Annotated[int | None, typer.Option(help="Processes; if not given, one a core for m and l.", min=1)] = None,
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
) -> None:
    """Make a complete shop: purchases, wishes, deliveries, visitors, page and mail decisions with their outcomes.

    What the shop cannot know (tastes, cycles, true effects) goes beside the dataset, into the folder truth that
    training never reads. A simulated shop is for tests and load; it is no evidence about real shops.

    Examples:

      kokyaku simulate --size s --seed 7 --shop toy

      kokyaku simulate --size m --locale ja --out /tmp/shop

      kokyaku simulate --size l --shop big --workers 2
    """
    start, length = _period(size, days, end)
    run_simulation(
        open_shop(shop, out or root), size=size, seed=seed, locale=locale, start=start, days=length, workers=workers
    )


def run_simulation(
    shop: Shop, *, size: str, seed: int, locale: str = "en", start: int | None = None, days: int | None = None,
    workers: int | None = None,
) -> SimulationReport:  # fmt: skip
    """Simulate into a shop's dataset with a progress bar, and print what came out."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from training.simulation import simulate

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task(f"Simulating a shop of size {size}", total=None)
        report = simulate(
            shop.dataset, size=size, seed=seed, locale=locale, start=start, days=days, workers=workers,
            progress=lambda done, total: bars.update(task, completed=done, total=total),
        )  # fmt: skip
    _print(report)
    return report


def _period(size: str, days: int | None, end: str | None) -> tuple[int | None, int | None]:
    """Start and length as `simulate` takes them."""
    from features.moments import DAY, parse_instant
    from training.simulation.world import SIZES

    if end is None:
        return None, days
    last = parse_instant(end, where="--end")
    length = SIZES[size].days if days is None else days
    return last - last % DAY - length * DAY, length


def _print(report: SimulationReport) -> None:
    from rich.markup import escape
    from rich.table import Table

    from features.moments import format_instant

    console.print(f"Simulated shop {escape(report.import_id)}", highlight=False)
    table = Table("table", "rows")
    table.columns[1].justify = "right"
    for name, rows in report.counts.items():
        table.add_row(name, f"{rows:,}")
    console.print(table)
    period = f"{format_instant(report.start)} to {format_instant(report.end)}"
    console.print(f"Period   {period}", highlight=False)
    console.print(f"Took     {report.seconds:.1f} s, {report.events_per_second:,.0f} events/s", highlight=False)
    console.print(f"Memory   at most {report.peak_bytes / 2**20:,.0f} MiB in all processes", highlight=False)
    console.print(f"Dataset  {escape(str(report.dataset))}", highlight=False, soft_wrap=True)
    console.print(f"Truth    {escape(str(report.truth))}   (training never reads it)", highlight=False, soft_wrap=True)
