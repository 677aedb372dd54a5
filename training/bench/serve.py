"""`kokyaku bench serve`: what a request costs, as a ratio to a trivial method of the very same service."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import orjson
import typer

from features.errors import DataError
from features.shop import Shop
from training.bench.load import LoadPlan, LoadResult
from training.bench.rows import Row, print_rows, write_rows
from training.commands.common import DEFAULT_SHOP, JsonOption, RootOption, ShopOption, console, open_shop
from training.commands.serve import service_command, service_environment

FLOOR, LISTS, PAGES = "floor", "recommendations", "pages"
WARM_SECONDS = 2.0
CONNECTIONS = 16


@dataclass(frozen=True)
class Route:
    """A route under load."""

    path: str
    bodies: list[str]


def command(
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
    seconds: Annotated[float, typer.Option(min=1, max=60, help="Length of each measurement.")] = 5.0,
    rounds: Annotated[int, typer.Option(min=1, max=20, help="Rounds; each measures every route in turn.")] = 3,
    rate: Annotated[float, typer.Option(min=1, max=5000, help="Requests a second of the open loop.")] = 200.0,
    json: JsonOption = None,
) -> None:
    """Load a shop's own service on 127.0.0.1 and print throughput, latency and memory.

    Throughput: closed loop, 16 connections. Latency: open loop, counted from the scheduled moment. Each round
    measures all routes and the trivial method in turn, so that their ratio holds when the machine's speed drifts.

    Examples:

      kokyaku bench serve

      kokyaku bench serve --shop demo --seconds 10 --rounds 5 --json serve.json
    """
    rows = measure(open_shop(shop, root), seconds=seconds, rounds=rounds, rate=rate)
    print_rows(console, rows)
    if json:
        write_rows(json, rows)


def measure(shop: Shop, *, seconds: float, rounds: int, rate: float) -> list[Row]:
    """Start the service, load each route, stop it.

    Returns:
        Rows of throughput, its ratio to the trivial method's, p50 and p99 in milliseconds, and memory in MB; of pages
        also what one costs in lists of recommendations, measured in the same rounds.
    """
    routes = {FLOOR: Route("/v1/floor", ["{}"]), **routes_of(shop)}
    with running(shop) as (port, process):
        throughput, errors = closed_loops(port, routes, seconds, rounds)
        memory = proportional_memory(process.pid)
        latency = {name: load(port, route, seconds, rate=rate) for name, route in routes.items()}
    if errors:
        raise DataError("the service answered with errors under load", got=errors, hint="see its output above")
    rows = [_row(shop, "service", "memory-pss", memory, "MB")]
    for name in routes:
        each = throughput[name]
        ratios = each / throughput[FLOOR]
        rows.append(_row(shop, name, "throughput", float(np.median(each)), "1/s", each))
        rows.append(_row(shop, name, "throughput-ratio", float(np.median(ratios)), "", ratios))
        if name.startswith(PAGES):
            cost = throughput[LISTS] / each
            rows.append(_row(shop, name, f"cost-of-{LISTS}", float(np.median(cost)), "", cost))
        rows.append(_row(shop, name, f"p50@{rate:g}", latency[name].p50, "ms"))
        rows.append(_row(shop, name, f"p99@{rate:g}", latency[name].p99, "ms"))
    return rows


def closed_loops(
    port: int, routes: Mapping[str, Route], seconds: float, rounds: int
) -> tuple[dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]], int]:
    """Requests a second of each route in each round, and how many answers were not 200."""
    for route in routes.values():
        load(port, route, WARM_SECONDS)
    results = [{name: load(port, route, seconds) for name, route in routes.items()} for _ in range(rounds)]
    errors = sum(result.errors for each in results for result in each.values())
    return {name: np.array([each[name].requests / each[name].seconds for each in results]) for name in routes}, errors


def load(port: int, route: Route, seconds: float, rate: float | None = None) -> LoadResult:
    """Load one route from a process of its own."""
    plan = LoadPlan(port, route.path, route.bodies, seconds, CONNECTIONS, rate)
    command_line = [sys.executable, "-m", "training.bench.load"]
    done = subprocess.run(command_line, input=msgspec.json.encode(plan), stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout, type=LoadResult)


def routes_of(shop: Shop) -> dict[str, Route]:
    """The routes with bodies of customers and items that the shop really has.

    Beside the home page comes the page with the most slots, by their number: `pages-8-slots`.
    """
    from serving.engine import Engine

    engine = Engine(shop, worker=None)
    live = engine.live
    draw = np.random.default_rng(7)
    known = [] if live.histories is None else [s[2:] for s in live.histories.subjects if s.startswith("c:")]
    customers = [known[i] for i in draw.integers(0, len(known), 500)] if known else ["nobody"]
    catalogue = np.flatnonzero(live.bundle.catalogue)
    items = [live.bundle.items[int(row)] for row in draw.choice(catalogue, 500)]
    engine.close()
    fullest, layout = max(live.config.pages.items(), key=lambda each: len(each[1].slots))
    pages = {PAGES: "home", f"{PAGES}-{len(layout.slots)}-slots": fullest}
    return {
        LISTS: _route("/v1/recommendations", [{"userId": who, "numResults": 20} for who in customers]),
        **{
            name: _route("/v1/pages", [{"userId": who, "page": page} for who in customers])
            for name, page in pages.items()
        },
        "related-items": _route("/v1/related-items", [{"itemIds": [item], "numResults": 20} for item in items]),
    }


@contextlib.contextmanager
def running(shop: Shop) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """The shop's service in development mode on a free port.

    Raises:
        DataError: it does not become ready.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = subprocess.Popen(
        service_command("127.0.0.1", port),
        env=service_environment(shop, dev=True),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait_ready(f"http://127.0.0.1:{port}/readyz", process)
        yield port, process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


def proportional_memory(pid: int) -> float:
    """Megabytes (PSS) of a process and its children; shared pages count by share. NaN where there is no /proc."""
    total = 0.0
    for process in [pid, *_children(pid)]:
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            return float("nan")
        total += sum(float(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    return total


def _children(pid: int) -> list[int]:
    try:
        mine = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [*mine, *(below for child in mine for below in _children(child))]


def _wait_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1):  # noqa: S310  (loopback)
            return
        time.sleep(0.1)
    raise DataError("the service did not become ready", where=url, hint="run kokyaku serve --dev to see why")


def _route(path: str, bodies: list[dict[str, object]]) -> Route:
    return Route(path, [orjson.dumps(body).decode() for body in bodies])


def _row(shop: Shop, subject: str, metric: str, value: float, unit: str, spread: object = None) -> Row:
    low, high = (None, None) if spread is None else (float(np.min(spread)), float(np.max(spread)))  # type: ignore[call-overload]
    return Row("serve", shop.id, "serve", subject, metric, value, low, high, unit)
