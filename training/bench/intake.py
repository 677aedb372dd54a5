"""`kokyaku bench intake`: events in batches, each durable before it is acknowledged, and seen by the next request."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from typing import Annotated

import numpy as np
import orjson
import typer

from features.errors import DataError
from features.shop import Shop
from training.bench.aside import aside
from training.bench.bodies import BATCHES, EVENTS, routes_of
from training.bench.rows import Row, print_rows, write_rows
from training.bench.started import NUMBERS, Loaded, Route, Started, running
from training.commands.common import DEFAULT_SHOP, JsonOption, RootOption, ShopOption, console, open_shop

LOOKS = 200
"""Customers of whom an event is sent and who are looked at right after it was acknowledged."""


def command(
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
    seconds: Annotated[float, typer.Option(min=1, max=60, help="Length of each measurement.")] = 5.0,
    rounds: Annotated[int, typer.Option(min=1, max=20, help="Rounds; each measures every size of batch.")] = 3,
    json: JsonOption = None,
) -> None:
    """Send batches of events over 16 connections, count what was acknowledged, and compare it with the store's rows.

    Examples:

      kokyaku bench intake

      kokyaku bench intake --shop made --json intake.json
    """
    with aside(open_shop(shop, root)) as copy:
        rows = measure(copy, seconds=seconds, rounds=rounds)
    print_rows(console, rows)
    if json:
        write_rows(json, rows)
    if wrong := {row.metric: row.value for row in rows if row.metric in ("errors", "missing", "unseen") and row.value}:
        raise DataError("events were refused, lost or not seen", got=wrong, hint="see kokyaku serve --dev")


def measure(shop: Shop, *, seconds: float, rounds: int) -> list[Row]:
    """Load a service with events; then send single ones and ask at once.

    Args:
        shop: a copy that may be written to.
        seconds, rounds: of each measurement.

    Returns:
        Rows: events a second and processor time an event by size of batch; acknowledged events that the store lacks;
        customers whose next request did not know their event; milliseconds from sending to knowing.

    Raises:
        DataError: the service does not start.
    """
    routes = routes_of(shop)
    loads: dict[int, list[Loaded]] = {size: [] for size in BATCHES}
    with running(shop) as service:
        before, number = _stored(shop), 0
        for _ in range(rounds):
            for size in BATCHES:
                loads[size].append(service.load(routes[f"{EVENTS}-{size}"], seconds, first=number))
                number += NUMBERS
        stored = _stored(shop) - before
        waits = [_seen(service, body, look) for look, body in enumerate(_customers(routes[f"{EVENTS}-{BATCHES[0]}"]))]
    acknowledged = sum(each.result.requests * size for size, several in loads.items() for each in several)
    rows = [row for size, several in loads.items() for row in _speeds(shop, size, several)]
    errors = sum(each.result.errors for several in loads.values() for each in several)
    known = np.array([wait for wait in waits if wait is not None]) * 1000
    return [
        *rows,
        _row(shop, "all", "errors", [errors]),
        _row(shop, "all", "missing", [max(acknowledged - stored, 0)]),
        _row(shop, "next request", "unseen", [len(waits) - len(known)]),
        _row(shop, "next request", "sent-to-seen", known, "ms"),
    ]


def _speeds(shop: Shop, size: int, several: list[Loaded]) -> list[Row]:
    subject = f"batches of {size}"
    return [
        _row(shop, subject, "events", [each.throughput * size for each in several], "1/s"),
        _row(shop, subject, "processor-an-event", [each.microseconds / size for each in several], "us"),
        _row(shop, subject, "p99", [each.result.p99 for each in several], "ms"),
    ]


def _stored(shop: Shop) -> int:
    """Rows of events in the store, as any other process sees them."""
    with contextlib.closing(sqlite3.connect(f"file:{shop.store}?mode=ro", uri=True)) as store:
        return int(store.execute("SELECT count(*) FROM events").fetchone()[0])


def _customers(route: Route) -> list[dict[str, str]]:
    """Some events of customers, each of somebody else."""
    events = [event for body in route.bodies for event in orjson.loads(body)["events"] if "userId" in event]
    return list({event["userId"]: event for event in events}.values())[:LOOKS]


def _seen(service: Started, event: dict[str, str], number: int) -> float | None:
    """Seconds from sending an event until an answer knew it; None where the next request did not."""
    who = {"userId": event["userId"]}
    before = service.ask("/v1/customers/read", who)["events"]
    begun = time.perf_counter()
    sent = {**event, "eventId": f"{event['eventId']}-look-{number}"}
    accepted = service.ask("/v1/events", {"events": [sent]})["accepted"]
    after = service.ask("/v1/customers/read", who)["events"]
    return time.perf_counter() - begun if (accepted, after) == (1, before + 1) else None


def _row(shop: Shop, subject: str, metric: str, values: object, unit: str = "") -> Row:
    found = np.asarray(values, float)
    low, high = (float(found.min()), float(found.max())) if len(found) > 1 else (None, None)
    middle = float(np.median(found)) if len(found) else float("nan")
    return Row("intake", shop.id, "serve", subject, metric, middle, low, high, unit)
