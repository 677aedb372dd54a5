"""`kokyaku bench engine`: where the processor time of a request goes, inside the engine and without any server."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from threadpoolctl import threadpool_limits

from features.compiled import timed, warm
from features.history import customer_subject
from features.shop import Shop
from serving.candidates import Floats, best
from serving.engine import Engine
from serving.http import HANDLERS
from serving.query import Query
from serving.sources import Factors
from serving.sources.index import Index
from serving.watch import STAGES, Watch, unwatch, watch_with
from training.bench.aside import aside
from training.bench.bodies import EVENTS, LISTS, routes_of
from training.bench.rows import Row, print_rows, write_rows
from training.bench.started import Route
from training.commands.common import DEFAULT_SHOP, JsonOption, RootOption, ShopOption, console, open_shop

Doubles = npt.NDArray[np.float64]
_INDEXED = 100
"""Customers whose best items are looked for with and without an index, and how many of the best."""


def command(
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
    requests: Annotated[int, typer.Option(min=1, max=4_000, help="Different requests of each route.")] = 100,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="How often each is asked; the quickest counts.")] = 9,
    json: JsonOption = None,
) -> None:
    """Ask a shop's engine in this very process and print processor time by route, by stage and by kernel.

    Of each request the quickest of several rounds counts, since a busy machine only ever adds: the figures tell what
    the code takes, with what it needs at hand, and not what a client waits (kokyaku bench serve). A loop of plain
    Python stands beside them as a yardstick, so that two machines, or two hours of one, can be compared. The shop is
    copied first: it never sees what a bench decides.

    Examples:

      kokyaku bench engine

      kokyaku bench engine --shop made --requests 200 --json engine.json
    """
    with aside(open_shop(shop, root)) as copy:
        rows = measure(copy, requests=requests, rounds=rounds)
    print_rows(console, rows)
    if json:
        write_rows(json, rows)


def measure(shop: Shop, *, requests: int, rounds: int) -> list[Row]:
    """Open the shop and ask it.

    Args:
        shop: a copy that may be written to.
        requests: different ones of each route.
        rounds: of which the quickest counts.

    Returns:
        Rows in microseconds: the mean over requests with the 10th and 90th percentile by route, the means by stage and
        kernel of a list; and what indexes over vectors take as a share of a full scan.

    Raises:
        BundleError, ConfigError: as `Engine`.
    """
    routes = {name: route for name, route in routes_of(shop).items() if not name.startswith(EVENTS)}
    warm()
    engine = Engine(shop, worker="bench")
    try:
        rows = [_row(shop, "yardstick", "python", _yardstick(), "us")]
        for name, route in routes.items():
            whole, stages = asyncio.run(_asked(engine, _few(route, requests), rounds))
            rows.append(_row(shop, name, "processor", whole, "us"))
            if name == LISTS:
                rows += [_row(shop, name, f"stage-{stage}", each, "us") for stage, each in stages.items()]
                rows += _kernels(engine, shop, _few(route, requests), rounds)
        return rows + _indexes(engine, shop, rounds)
    finally:
        engine.close()


def _few(route: Route, requests: int) -> Route:
    return Route(route.path, route.bodies[:requests])


async def _asked(engine: Engine, route: Route, rounds: int) -> tuple[Doubles, dict[str, Doubles]]:
    """Microseconds of processor time of each request, and by stage those of the clock: the least of all rounds."""
    handler, bodies = HANDLERS[route.path][1], [body.encode() for body in route.bodies]
    whole = np.full(len(bodies), np.inf)
    stages = {stage: np.full(len(bodies), np.inf) for stage in STAGES}
    gc.collect()
    gc.freeze()
    for _ in range(rounds):
        for place, body in enumerate(bodies):
            watch = Watch()
            token = watch_with(watch)
            begun = time.thread_time_ns()
            await handler(engine, body, engine.clock.now())
            whole[place] = min(whole[place], (time.thread_time_ns() - begun) / 1e3)
            unwatch(token)
            for stage, spent in watch.stages.items():
                stages[stage][place] = min(stages[stage][place], spent / 1e3)
    gc.unfreeze()
    return whole, {stage: least for stage, least in stages.items() if np.isfinite(least).all()}


def _kernels(engine: Engine, shop: Shop, route: Route, rounds: int) -> list[Row]:
    """What each kernel takes of a list: the least of some rounds in the mean over requests."""
    least: dict[str, float] = {}
    for _ in range(rounds):
        with timed() as spent:
            asyncio.run(_asked(engine, route, 1))
        for name, nanoseconds in spent.items():
            each = nanoseconds / 1e3 / len(route.bodies)
            least[name] = min(least.get(name, np.inf), each)
    ordered = sorted(least.items(), key=lambda each: -each[1])
    rows = [_row(shop, LISTS, f"kernel-{name}", each, "us") for name, each in ordered]
    return [*rows, _row(shop, LISTS, "kernels", sum(least.values()), "us")] if rows else []


def _indexes(engine: Engine, shop: Shop, rounds: int) -> list[Row]:
    """What an index takes as a share of asking all vectors, for customers who were drawn from a seed."""
    live, rows = engine.live, []
    if live.histories is None:
        return []
    draw = np.random.default_rng(7)
    for source in live.ranker.sources.values():
        if not isinstance(source, Factors) or source.index is None:
            continue
        some = draw.choice(len(live.histories), min(20 * _INDEXED, len(live.histories)), replace=False)
        mine = [row for row in some.tolist() if live.histories.subjects[row].startswith(customer_subject(""))]
        pasts = [live.histories.at(row).with_items(live.translation) for row in mine[:_INDEXED]]
        vectors = [source.fold_in(Query(engine.clock.now(), past)) for past in pasts]
        known = [vector for vector in vectors if vector is not None]
        if known:
            rows.append(_row(shop, source.name, "index-to-scan", _beside(source.index, known, rounds)))
    return rows


def _beside(index: Index, vectors: Sequence[Floats], rounds: int) -> Doubles:
    """Of each vector what it takes to find its best with an index as a share of without; the least of some rounds."""
    items = np.sort(index.items[index.items >= 0])
    listed, least = index.vectors[items], np.full((2, len(vectors)), np.inf)
    with threadpool_limits(1, "blas"):  # as in a worker
        for _ in range(rounds):
            for at, vector in enumerate(vectors):
                begun = time.thread_time_ns()
                index.best(vector, _INDEXED)
                found = time.thread_time_ns()
                best(listed @ vector, items, _INDEXED)
                least[:, at] = np.minimum(least[:, at], (found - begun, time.thread_time_ns() - found))
    shares: Doubles = least[0] / least[1]
    return shares


def _yardstick() -> float:
    """Microseconds that a loop of 20,000 steps takes, the least of fifty."""
    least = float("inf")
    for _ in range(50):
        begun = time.thread_time_ns()
        sum(number * number for number in range(20_000))
        least = min(least, (time.thread_time_ns() - begun) / 1e3)
    return least


def _row(shop: Shop, subject: str, metric: str, value: float | Doubles, unit: str = "") -> Row:
    low, high = (None, None) if isinstance(value, float) else (float(each) for each in np.quantile(value, (0.1, 0.9)))
    return Row("engine", shop.id, "serve", subject, metric, float(np.mean(value)), low, high, unit)
