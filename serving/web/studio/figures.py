"""What came of what was shown: exposures, clicks and purchases by page, slot and action, from the store's own rows.

SQLite counts them, in a thread and at most every few seconds, so that looking cannot hurt serving.
Clicks and purchases count for the decision that they name, each decision once.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import orjson

from features.moments import HOUR
from serving import store_sql as sql
from serving.engine import Engine
from serving.shares import Share
from serving.store import Store

WINDOWS = (1, 24, 72, 168)
"""Hours that can be chosen."""
MOST = 50_000
"""Decisions that are looked at: the latest ones."""
FRESH = 10.0
"""Seconds for which a count is shown again."""
Place = tuple[str, str, str | None]
"""Page (or channel), slot, action."""


@dataclass(frozen=True)
class Row:
    """One action in one slot of one page (or channel); None: nothing was shown."""

    surface: str
    slot: str
    action: str | None
    shown: int
    clicked: int
    bought: int
    fallbacks: int

    @property
    def clicks(self) -> Share:
        """Share of decisions with a click."""
        return Share(self.clicked, self.shown)

    @property
    def purchases(self) -> Share:
        """Share of decisions with a purchase."""
        return Share(self.bought, self.shown)


@dataclass(frozen=True)
class Figures:
    """Counts of a window.

    Args:
        rows: by page, slot and action, the most shown first within a slot.
        since, until: instants.
        cut: whether the window holds more decisions than are looked at.
        unlogged: decisions of this worker, since it started, that could not be logged.
    """

    rows: tuple[Row, ...]
    since: int
    until: int
    cut: bool
    unlogged: int

    @property
    def shown(self) -> int:
        """All decisions."""
        return sum(row.shown for row in self.rows)

    @property
    def fallbacks(self) -> Share:
        """Share of decisions that did not hold what they should."""
        return Share(sum(row.fallbacks for row in self.rows), self.shown)

    @property
    def lost(self) -> Share:
        """Share of this worker's unlogged decisions among all."""
        return Share(self.unlogged, self.shown + self.unlogged)

    @property
    def highest(self) -> float:
        """The highest end of an interval of clicks: where a chart ends."""
        return max((row.clicks.interval or (0.0, 0.0))[1] for row in self.rows) if self.rows else 1.0


def count(store: Store, since: int, until: int, unlogged: int = 0, most: int = MOST) -> Figures:
    """Count the decisions of a window and what came of them up to now.

    Args:
        store: of the shop.
        since, until: instants, the first one included.
        unlogged: see `Figures`.
        most: decisions that are looked at, at most.
    """
    last = int(store.database.query(sql.LAST_SEQ, ("decisions",))[0][0])
    first = max(0, last - most)
    window = first, since, until
    shown: Counter[Place] = Counter()
    fallbacks: Counter[Place] = Counter()
    came: Counter[tuple[Place, str]] = Counter()
    for told, times in store.database.query(sql.EXPOSURES, window):
        surface, slot, action, fallback = orjson.loads(told)
        shown[surface, slot, action] += times
        fallbacks[surface, slot, action] += times if fallback is not None else 0
    for told, kind, times in store.database.query(sql.OUTCOMES, window):
        surface, slot, action = orjson.loads(told)
        came[(surface, slot, action), kind] = times
    rows = [Row(*at, times, came[at, "click"], came[at, "purchase"], fallbacks[at]) for at, times in shown.items()]
    rows.sort(key=lambda row: (row.surface, row.slot, -row.shown, row.action or ""))
    before = store.database.query(sql.DECIDED_AT, (first,)) if first else []
    cut = bool(before) and int(before[0][0]) >= since
    return Figures(tuple(rows), since, until, cut, unlogged)


@dataclass
class Counted:
    """Figures that are a few seconds old at most.

    Args:
        engine_of: gives the engine.
        clock: seconds; only differences count.
    """

    engine_of: Callable[[], Engine]
    clock: Callable[[], float] = time.monotonic
    _kept: dict[int, tuple[float, Figures]] = field(default_factory=dict)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def of(self, hours: int) -> Figures:
        """The figures of the last hours; one count at a time, whoever looks."""
        async with self._lock:
            kept = self._kept.get(hours)
            if kept is None or self.clock() - kept[0] >= FRESH:
                engine = self.engine_of()
                now = engine.clock.now()
                unlogged = int(getattr(engine.decisions, "failures", 0))
                found = await asyncio.to_thread(count, engine.store, now - hours * HOUR, now, unlogged)
                self._kept[hours] = kept = self.clock(), found
            return kept[1]
