"""`kokyaku bench store`: what a store over PostgreSQL costs beside the file, in one run on one machine.

Both stores get the same events and answer the same requests, in turn, round by round, so that their ratio holds when
the machine's speed drifts. Customers are made up; the bundle is the shop's own.
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from features.errors import ConfigError
from features.shop import Shop
from serving import pages, pipeline, wire
from serving.engine import Engine
from serving.events import StoredEvent
from serving.hydrate import hydrate
from training.bench.rows import Row, print_rows, write_rows
from training.commands.common import DEFAULT_SHOP, JsonOption, RootOption, ShopOption, console, open_shop

BATCH, CALLERS = 500, 64
_TOML = '[consent]\nassumed = ["personalization"]\nbasis = "made up"\n[shop]\nholdout = 0.0\n'
FILE, SERVER = "sqlite", "postgresql"


def command(
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
    store: Annotated[
        str | None, typer.Option(envvar="KOKYAKU_STORE", help="Address of a PostgreSQL; a schema is made and removed.")
    ] = None,
    events: Annotated[int, typer.Option(min=1_000, max=1_000_000, help="Events of each round.")] = 10_000,
    answers: Annotated[int, typer.Option(min=10, max=100_000, help="Answers of each round.")] = 500,
    rounds: Annotated[int, typer.Option(min=1, max=20, help="Rounds; each measures both stores.")] = 3,
    json: JsonOption = None,
) -> None:
    """Measure events and answers a second over PostgreSQL and over SQLite, and their ratio.

    Examples:

      KOKYAKU_STORE=postgresql://kokyaku:secret@127.0.0.1/kokyaku kokyaku bench store

      kokyaku bench store --store postgresql:///bench --events 50000 --json store.json
    """
    if store is None:
        hint = "name one by --store or KOKYAKU_STORE"
        raise ConfigError("there is nothing to compare with without a PostgreSQL", where="--store", hint=hint)
    opened = open_shop(shop, root)
    rows = measure(opened, store, events=events, answers=answers, rounds=rounds)
    print_rows(console, rows)
    if json:
        write_rows(json, rows)


def measure(shop: Shop, url: str, *, events: int, answers: int, rounds: int) -> list[Row]:
    """Fill both stores and ask them; which is first changes from round to round.

    Returns:
        Rows of each figure for each store, per second, and of the ratio of PostgreSQL's to SQLite's: the medians of
        the rounds, with the lowest and the highest.
    """
    found: dict[str, dict[str, list[float]]] = {FILE: {}, SERVER: {}}
    with ExitStack() as stack:
        engines = {name: stack.enter_context(_engine(shop, where)) for name, where in ((FILE, None), (SERVER, url))}
        for number in range(rounds + 1):  # the first one warms up
            works = {name: _works(engine, number, events, answers) for name, engine in engines.items()}
            for metric in works[FILE]:
                for name in (FILE, SERVER) if number % 2 else (SERVER, FILE):
                    count, work = works[name][metric]
                    rate = count / _seconds(work)
                    if number:
                        found[name].setdefault(metric, []).append(rate)
    return list(_rows(shop.id, found))


def _rows(shop_id: str, found: Mapping[str, Mapping[str, list[float]]]) -> Iterator[Row]:
    for metric, file in found[FILE].items():
        server = found[SERVER][metric]
        each = {FILE: np.array(file), SERVER: np.array(server), "ratio": np.array(server) / np.array(file)}
        for subject, rates in each.items():
            unit = "" if subject == "ratio" else "1/s"
            low, high = float(rates.min()), float(rates.max())
            yield Row("store", shop_id, metric, subject, "throughput", float(np.median(rates)), low, high, unit)


@contextmanager
def _engine(shop: Shop, url: str | None) -> Iterator[Engine]:
    """The shop's bundle over an empty store, in a folder of its own; nothing of it is left."""
    with tempfile.TemporaryDirectory(prefix="kokyaku-bench-") as folder:
        empty = Shop(f"bench-{secrets.token_hex(4)}", Path(folder), url)
        empty.bundles.symlink_to(shop.bundles)
        empty.config.write_text(_TOML)
        engine = Engine(empty, worker="bench")
        try:
            yield engine
        finally:
            engine.close()
            if url is not None:
                _drop(empty, url)


def _drop(shop: Shop, url: str) -> None:
    from serving.postgres_link import Address, connect

    address = Address(url, shop.id)
    with connect(address) as link:
        link.execute(f'DROP SCHEMA "{address.schema}" CASCADE')


def _works(engine: Engine, number: int, events: int, answers: int) -> dict[str, tuple[int, Callable[[], None]]]:
    """What one store has to do in a round, by kind: how many, and the work."""
    draw = np.random.default_rng(number)
    now = engine.clock.now()
    items = np.flatnonzero(engine.live.bundle.catalogue)
    people = max(events // 20, 1)

    def made(name: str, count: int) -> list[StoredEvent]:
        who, what = draw.integers(0, people, count), draw.choice(items, count)
        return [
            StoredEvent(
                event_id=f"{name}-{number}-{n}", occurred_at=now, recorded_at=now, type="view",
                customer_id=f"c{who[n]}", item_id=engine.live.bundle.items[int(what[n])],
            )
            for n in range(count)
        ]  # fmt: skip

    batches = made("batch", events)
    single = made("single", max(events // 10, CALLERS))
    users = [f"c{n}" for n in draw.integers(0, people, answers)]
    return {
        f"events, {BATCH} a call": (events, lambda: _in_batches(engine, batches)),
        f"events, {CALLERS} callers": (len(single), lambda: asyncio.run(_singly(engine, single))),
        "what one request reads": (answers, lambda: _reads(engine, users, now)),
        "lists of 20": (answers, lambda: _lists(engine, users, now)),
        "pages": (answers, lambda: _pages(engine, users, now)),
    }


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _in_batches(engine: Engine, events: list[StoredEvent]) -> None:
    for start in range(0, len(events), BATCH):
        engine.store.append_sync(events[start : start + BATCH])


async def _singly(engine: Engine, events: list[StoredEvent]) -> None:
    async def caller(mine: list[StoredEvent]) -> None:
        for event in mine:
            await engine.store.append([event])

    await asyncio.gather(*(caller(events[number::CALLERS]) for number in range(CALLERS)))


def _reads(engine: Engine, users: list[str], now: int) -> None:
    for user in users:
        hydrate(engine, engine.live, wire.RecommendationsRequest(user_id=user), now)


def _lists(engine: Engine, users: list[str], now: int) -> None:
    for user in users:
        pipeline.recommend(engine, wire.RecommendationsRequest(user_id=user, num_results=20), now)


def _pages(engine: Engine, users: list[str], now: int) -> None:
    for user in users:
        pages.page(engine, wire.PageRequest(user_id=user), now)
