"""`kokyaku bench memory`: what a worker takes of the machine, what each further one adds, and how soon it is ready."""

from __future__ import annotations

import itertools
from typing import Annotated

import numpy as np
import typer

from features.shop import Shop
from serving.memory import budget_of
from training.bench.aside import aside
from training.bench.bodies import routes_of
from training.bench.rows import Row, print_rows, write_rows
from training.bench.started import NUMBERS, Started, family, proportional_memory, running
from training.commands.common import DEFAULT_SHOP, JsonOption, RootOption, ShopOption, console, open_shop

_PARTS = {"pss": "Pss", "pss-own": "Pss_Anon", "pss-mapped": "Pss_File"}


def command(
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
    seconds: Annotated[float, typer.Option(min=0.5, max=60, help="Load of each route before a worker counts.")] = 3.0,
    starts: Annotated[int, typer.Option(min=1, max=20, help="Starts of which the median counts.")] = 3,
    json: JsonOption = None,
) -> None:
    """Start a shop's service, load all of its routes, and print its memory (PSS) beside what was computed before.

    Keeper and worker count together, after thousands of different people were asked for. A second service beside
    the first, loaded as well, tells what each further worker adds.

    Examples:

      kokyaku bench memory

      kokyaku bench memory --shop made --json memory.json
    """
    with aside(open_shop(shop, root)) as copy:
        rows = measure(copy, seconds=seconds, starts=starts)
    print_rows(console, rows)
    if json:
        write_rows(json, rows)


def measure(shop: Shop, *, seconds: float, starts: int) -> list[Row]:
    """Start services and load them.

    Args:
        shop: a copy that may be written to.
        seconds: of load on each route.
        starts: how often it is started.

    Returns:
        Rows: seconds and processor time until it is ready; megabytes when ready and after load, computed and measured;
        answers that were no answers.

    Raises:
        DataError: a service does not start.
    """
    begun = []
    for _ in range(starts - 1):
        with running(shop) as service:
            begun.append(service)
    numbers = itertools.count(0, NUMBERS)
    with running(shop) as first:
        begun.append(first)
        fresh = _memory(first)
        errors = _load(shop, first, seconds, numbers)
        alone = _memory(first)
        with running(shop) as second:
            errors += _load(shop, second, seconds, numbers)
            both = _memory(first, second)
    budget = budget_of(shop)
    rows = [
        _row(shop, "start", "ready", np.array([each.seconds for each in begun]), "s"),
        _row(shop, "start", "processor", np.array([each.processor for each in begun]), "s"),
        _row(shop, "one worker", "computed", budget.worker / 1e6, "MB"),
        *(_row(shop, "one worker, ready", name, value, "MB") for name, value in fresh.items()),
        *(_row(shop, "one worker", name, value, "MB") for name, value in alone.items()),
        _row(shop, "each further", "computed", budget.own / 1e6, "MB"),
        *(_row(shop, "each further", name, both[name] - alone[name], "MB") for name in both),
    ]
    return [*rows, _row(shop, "all", "errors", float(errors))] if errors else rows


def _load(shop: Shop, service: Started, seconds: float, numbers: itertools.count[int]) -> int:
    """Every route, by people who differ from load to load; how many answers were errors."""
    loads = [service.load(route, seconds, first=next(numbers)) for route in routes_of(shop).values()]
    return sum(each.result.errors for each in loads)


def _memory(*services: Started) -> dict[str, float]:
    """Megabytes of 10^6 bytes."""
    pids = [pid for service in services for pid in family(service.pid)]
    return {name: proportional_memory(pids, line) * 1.048576 for name, line in _PARTS.items()}


def _row(
    shop: Shop, subject: str, metric: str, value: float | np.ndarray[tuple[int], np.dtype[np.float64]], unit: str = ""
) -> Row:
    low, high = (None, None) if isinstance(value, float) else (float(value.min()), float(value.max()))
    return Row("memory", shop.id, "serve", subject, metric, float(np.median(value)), low, high, unit)
