"""`kokyaku bench year`: a year of events passes through the store, and a request costs what it cost before."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated

import numpy as np
import typer

from features.moments import DAY
from features.shop import Shop
from serving.engine import Engine
from serving.events import StoredEvent
from serving.pipeline import recommend
from serving.sync import sync
from serving.wire import RecommendationsRequest
from training.bench.aside import aside
from training.bench.rows import Row, print_rows, write_rows
from training.commands.common import DEFAULT_SHOP, JsonOption, RootOption, ShopOption, console, open_shop

ASKED = 200
"""Customers who are asked for, before and after each sync."""
MONTH = 30 * DAY
_GROUP = 5_000
_KINDS = ("view", "view", "view", "cart", "purchase")
_SIGNING = 0.3
"""So many of the events are sign-ins of those who are asked for: about one a day and head, of 20,000 a month."""
_DEVICES = 3
"""Every second sign-in is with one of so many devices, the others with a browser that nobody has seen before."""


def command(
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
    events: Annotated[int, typer.Option(min=100, help="Events of a month.")] = 20_000,
    months: Annotated[int, typer.Option(min=1, max=36, help="How long.")] = 12,
    json: JsonOption = None,
) -> None:
    """Let months pass: events arrive, `kokyaku sync` compacts them, and the same people are asked for.

    Processor time of a request, in one process and without HTTP: just before a sync, when the store holds a month of
    events, and just after it. Who is asked for signs in about once a day, with a device of his or a new browser.

    Examples:

      kokyaku bench year

      kokyaku bench year --shop mine --events 100000 --json year.json
    """
    with aside(open_shop(shop, root)) as copy:
        rows = measure(copy, events=events, months=months)
    print_rows(console, rows)
    if json:
        write_rows(json, rows)


def measure(shop: Shop, *, events: int, months: int, asked: int = ASKED) -> list[Row]:
    """Let months pass in a shop.

    Args:
        shop: a copy that may be written to, with a bundle that serves.
        events: of each month, of its known customers and of as many as are needed beside them.
        months: how many.
        asked: of so many people.

    Returns:
        Rows: microseconds of a request at the beginning, in the last month before and after its sync, and their ratios
        to the beginning; rows left in the store after each sync; seconds of a sync; events of one who is asked for.
    """
    engine = Engine(shop, worker="year")
    try:
        passing = Passing(engine, np.random.default_rng(11), asked)
        passing.month(0)
        compact(engine, passing.now)  # the first sync of a shop may write its history for the first time
        figures = [_Month(passing.cost(), passing.cost(), 0.0, passing.stored(), passing.own_events())]
        for _ in range(months):
            passing.month(events)
            before = passing.cost()
            seconds = compact(engine, passing.now)
            figures.append(_Month(before, passing.cost(), seconds, passing.stored(), passing.own_events()))
    finally:
        engine.close()
    return _rows(shop, figures)


class _Month:
    """What one month gave: microseconds of a request before and after its sync, that sync's seconds, what is left."""

    def __init__(self, before: float, after: float, sync: float, stored: int, own: float) -> None:
        self.before, self.after, self.sync, self.stored, self.own = before, after, sync, stored, own


class Passing:
    """A shop in which time passes."""

    def __init__(self, engine: Engine, draw: np.random.Generator, asked: int) -> None:
        self._engine, self._draw, self._asked = engine, draw, asked
        self.now, self._sent = engine.clock.now(), 0
        bundle, histories = engine.live.bundle, engine.live.histories
        rows = np.flatnonzero(bundle.catalogue)
        self._items = [bundle.items[int(row)] for row in draw.choice(rows, min(len(rows), 2_000), replace=False)]
        drawn = [] if histories is None else draw.integers(len(histories), size=2_000).tolist()
        known = [histories.subjects[row] for row in drawn] if histories is not None else []
        self.customers = sorted({subject[2:] for subject in known if subject.startswith("c:")})
        self.customers += [f"somebody-{n}" for n in range(asked - len(self.customers))]

    def month(self, events: int) -> None:
        """A month passes; its events are durable in the store."""
        at = np.sort(self._draw.integers(self.now, self.now + MONTH, events))
        for start in range(0, events, _GROUP):
            self._engine.store.append_sync(list(self._events(at[start : start + _GROUP])))
        self.now += MONTH

    def cost(self) -> float:
        """Microseconds of processor time of a request, the least of three rounds."""
        asked = [RecommendationsRequest(user_id=name, num_results=20) for name in self.customers[: self._asked]]
        rounds = []
        for _ in range(3):
            begun = time.process_time()
            for request in asked:
                recommend(self._engine, request, self.now)
            rounds.append((time.process_time() - begun) / len(asked) * 1e6)
        return min(rounds)

    def stored(self) -> int:
        """Events in the store."""
        return int(self._engine.store.database.query("SELECT count(*) FROM events")[0][0])

    def own_events(self) -> float:
        """Events of one of those who are asked for, in the mean."""
        counts = [len(self._engine.history_of(self._engine.live, name, None)) for name in self.customers[: self._asked]]
        return float(np.mean(counts))

    def _events(self, moments: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Iterator[StoredEvent]:
        for moment in moments.tolist():
            self._sent += 1
            if self._draw.random() < _SIGNING:
                yield self._sign_in(moment)
                continue
            kind = str(self._draw.choice(_KINDS))
            yield StoredEvent(
                event_id=f"year-{self._sent}", occurred_at=moment, recorded_at=moment, type=kind,
                customer_id=self.customers[int(self._draw.integers(len(self.customers)))],
                item_id=self._items[int(self._draw.integers(len(self._items)))],
                quantity=1.0, unit_price=9.5 if kind == "purchase" else None,
            )  # fmt: skip

    def _sign_in(self, moment: int) -> StoredEvent:
        customer = self.customers[int(self._draw.integers(min(self._asked, len(self.customers))))]
        device = self._sent if self._sent % 2 else int(self._draw.integers(_DEVICES))
        return StoredEvent(
            event_id=f"year-{self._sent}", occurred_at=moment, recorded_at=moment, type="sign_in",
            customer_id=customer, visitor_id=f"{customer}-{device}",
        )  # fmt: skip


def compact(engine: Engine, now: int) -> float:
    """What `kokyaku sync` does, and the service takes up; seconds."""
    begun = time.perf_counter()
    sync(engine.shop, now=now)
    seconds = time.perf_counter() - begun
    engine.refresh()
    return seconds


def _rows(shop: Shop, months: list[_Month]) -> list[Row]:
    first, last, several = months[0], months[-1], months[1:]
    return [
        Row("year", shop.id, "serve", subject, metric, value, None, None, unit)
        for subject, metric, value, unit in (
            ("beginning", "request", first.after, "us"),
            ("beginning", "own-events", first.own, ""),
            ("last month, before its sync", "request", last.before, "us"),
            ("last month, before its sync", "ratio", last.before / first.after, ""),
            ("last month, after its sync", "request", last.after, "us"),
            ("last month, after its sync", "ratio", last.after / first.after, ""),
            ("last month, after its sync", "own-events", last.own, ""),
            ("after each sync", "events-in-store", float(max(each.stored for each in several)), ""),
            ("each sync", "seconds", float(np.median([each.sync for each in several])), "s"),
        )
    ]
