"""`kokyaku bench serve`: what a request costs, as a ratio to a trivial method of the very same service."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated

import numpy as np
import typer

from features.errors import DataError
from features.shop import Shop
from training.bench.aside import aside
from training.bench.bodies import BATCHES, FLOOR, LISTS, PAGES, routes_of
from training.bench.load import LoadResult
from training.bench.rows import Row, print_rows, write_rows
from training.bench.started import NUMBERS, Loaded, Route, Started, family, proportional_memory, running
from training.commands.common import DEFAULT_SHOP, JsonOption, RootOption, ShopOption, console, open_shop

WARM_SECONDS = 3.0
DEFAULTS = "training.bench.defaults_service:Defaults"
BEHIND_DEFAULTS = (FLOOR, LISTS, PAGES)
"""Routes that the service with BentoML's defaults has too."""
_A_FEW = 45.0
"""Batches that open the sessions of those who are asked for."""
ERRORS = "errors"
"""Answers of a route that were not 200, in all its loads; there is a row only where there were any."""
_BEHIND = "defaults "


def command(
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
    seconds: Annotated[float, typer.Option(min=1, max=60, help="Length of each measurement.")] = 5.0,
    rounds: Annotated[int, typer.Option(min=1, max=20, help="Rounds; each measures every route in turn.")] = 3,
    rate: Annotated[float, typer.Option(min=1, max=5000, help="Requests a second of the open loop.")] = 300.0,
    json: JsonOption = None,
) -> None:
    """Load a shop's own service on 127.0.0.1 and print throughput, processor time, latency and memory.

    Throughput and processor time: closed loop, 16 connections. Latency: open loop, counted from the scheduled moment,
    the warm-up apart. Each round measures all routes and the trivial method in turn, and the same engine behind
    BentoML's defaults, so that ratios hold when the machine's speed drifts. The shop is copied first: it never sees
    the events of a bench.

    Examples:

      kokyaku bench serve

      kokyaku bench serve --shop made --seconds 10 --rounds 5 --rate 300 --json serve.json
    """
    with aside(open_shop(shop, root)) as copy:
        rows = measure(copy, seconds=seconds, rounds=rounds, rate=rate)
    print_rows(console, rows)
    if json:
        write_rows(json, rows)
    if wrong := {row.subject: int(row.value) for row in rows if row.metric == ERRORS}:
        hint = "figures beside errors mean little: ask for a lower --rate, or see kokyaku serve --dev"
        raise DataError("the service answered with errors under load", got=wrong, hint=hint)


def measure(shop: Shop, *, seconds: float, rounds: int, rate: float) -> list[Row]:
    """Start the services, load each route, stop them.

    Args:
        shop: a copy that may be written to.
        seconds, rounds: of each measurement in the closed loop.
        rate: requests a second of the open loop; batches of events come in proportion.

    Returns:
        Rows by route: throughput and processor time of an answer with their ratios to the trivial method's, p50 and p99
        in milliseconds; of pages also what one costs in lists of recommendations; memory in MB; and errors.

    Raises:
        DataError: a service does not start.
    """
    numbers = itertools.count(0, NUMBERS)
    routes = {FLOOR: Route("/v1/floor", ["{}"]), **routes_of(shop)}
    writes = {name: route for name, route in routes.items() if route.events}
    reads = {name: route for name, route in routes.items() if name not in writes}
    with running(shop) as tuned:
        cold = tuned.load(reads[LISTS], 1.0, rate=rate, first=next(numbers)).result
        tuned.load(min(writes.values(), key=lambda each: each.events), 1.0, rate=_A_FEW, first=next(numbers))
        with running(shop, DEFAULTS) as plain:
            loads = {name: (tuned, route) for name, route in reads.items()}
            loads |= {f"{_BEHIND}{name}": (plain, reads[name]) for name in BEHIND_DEFAULTS}
            measured = closed_loops(loads, seconds, rounds, numbers)
        latency = latencies(tuned, reads, seconds, rate, numbers)
        # Events come last: nobody collects hundreds of them between two syncs, and who has is slower to answer.
        loads = {name: (tuned, route) for name, route in {FLOOR: reads[FLOOR], **writes}.items()}
        written = closed_loops(loads, seconds, rounds, numbers)
        latency |= latencies(tuned, writes, seconds, rate, numbers)
        memory = proportional_memory(family(tuned.pid))
    rows = [_row(shop, "service", "memory-pss", memory, "MB")]
    rows.append(_row(shop, "service", f"first-second-p99@{rate:g}", cold.p99, "ms"))
    rows += measured_rows(shop, measured)
    batches = {name: route.events for name, route in writes.items()}
    rows += [row for row in measured_rows(shop, written, batches) if row.subject != FLOOR]
    for name, found in latency.items():
        rows += _latencies(shop, name, found, _rate(routes[name], rate))
    every = [*measured.items(), *written.items()]
    results = [(name, each.result) for name, several in every for each in several]
    return rows + _errors(shop, [*results, *latency.items(), (LISTS, cold)])


def latencies(
    service: Started, routes: Mapping[str, Route], seconds: float, rate: float, numbers: Iterator[int]
) -> dict[str, LoadResult]:  # fmt: skip
    """Each route in the open loop; batches of events come in proportion."""
    return {
        name: service.load(
            route, seconds, rate=_rate(route, rate), warm=WARM_SECONDS / 3, first=next(numbers)
        ).result
        for name, route in routes.items()
    }  # fmt: skip


def closed_loops(
    loads: Mapping[str, tuple[Started, Route]], seconds: float, rounds: int, numbers: Iterator[int]
) -> dict[str, list[Loaded]]:
    """Each route under as much load as it takes, a round after the other; warm-ups are not counted."""
    for service, route in loads.values():
        service.load(route, WARM_SECONDS / 2, first=next(numbers))
    each = [
        {name: service.load(route, seconds, first=next(numbers)) for name, (service, route) in loads.items()}
        for _ in range(rounds)
    ]
    return {name: [found[name] for found in each] for name in loads}


def measured_rows(
    shop: Shop, measured: Mapping[str, list[Loaded]], events: Mapping[str, int] | None = None
) -> list[Row]:
    """What the closed loops gave; ratios are taken within each round.

    Args:
        shop: whose.
        measured: the rounds of each route, the trivial method's among them.
        events: of one request of a route; those that are missing carry none.
    """
    speed, spent = (
        {name: np.array([getattr(each, what) for each in several]) for name, several in measured.items()}
        for what in ("throughput", "microseconds")
    )
    rows = []
    for name in measured:
        rows.append(_row(shop, name, "throughput", speed[name], "1/s"))
        rows.append(_row(shop, name, "throughput-ratio", speed[name] / speed[FLOOR]))
        rows.append(_row(shop, name, "processor", spent[name], "us"))
        rows.append(_row(shop, name, "processor-ratio", spent[FLOOR] / spent[name]))
        if batch := (events or {}).get(name):
            rows.append(_row(shop, name, "events", speed[name] * batch, "1/s"))
            rows.append(_row(shop, name, "processor-an-event", spent[name] / batch, "us"))
        if name.startswith(PAGES):
            rows.append(_row(shop, name, f"cost-of-{LISTS}", spent[name] / spent[LISTS]))
        if name.startswith(_BEHIND):
            rows.append(_row(shop, name, "cost-of-ours", spent[name] / spent[name.removeprefix(_BEHIND)]))
    return rows


def _latencies(shop: Shop, name: str, found: LoadResult, rate: float) -> list[Row]:
    each = {"p50": found.p50, "p99": found.p99, "warm-up-p99": found.warm_p99}
    return [_row(shop, name, f"{what}@{rate:g}", value, "ms") for what, value in each.items()]


def _errors(shop: Shop, results: Iterable[tuple[str, LoadResult]]) -> list[Row]:
    wrong: Counter[str] = Counter()
    for name, found in results:
        wrong[name] += found.errors
    return [_row(shop, name, ERRORS, float(count)) for name, count in wrong.items() if count]


def _rate(route: Route, rate: float) -> float:
    return rate * min(1.0, BATCHES[0] / route.events) if route.events else rate


def _row(
    shop: Shop, subject: str, metric: str, value: float | np.ndarray[tuple[int], np.dtype[np.float64]], unit: str = ""
) -> Row:
    low, high = (None, None) if isinstance(value, float) else (float(value.min()), float(value.max()))
    return Row("serve", shop.id, "serve", subject, metric, float(np.median(value)), low, high, unit)
