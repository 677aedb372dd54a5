"""Reading a feed: its pieces are interpreted and staged side by side, and counted in the file's order."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from features.importing.interpret import Interpreter
from features.importing.sieve import REJECTED
from features.importing.source import Feed, Piece
from features.importing.staging import PIECE_SHIFT, Quarantine, Staging

Progress = Callable[[int], None]
T = TypeVar("T")


@dataclass
class Reading:
    """What was counted while a feed was read."""

    label: str = ""
    read: int = 0
    quarantined: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    starts: list[int] = field(default_factory=list)
    """The number of records before each piece."""

    def number(self, at: int) -> int:
        """The place of a staged row among the file's records; the first is 1."""
        start = self.starts[at >> PIECE_SHIFT] if self.starts else 0
        return start + (at & ((1 << PIECE_SHIFT) - 1)) + 1


def read_feed(
    feed: Feed,
    source: str,
    now: int,
    staging: Staging,
    quarantine: Quarantine,
    *,
    workers: int,
    progress: Progress | None = None,
) -> Reading:
    """Read, interpret and stage a feed; rejected rows go to quarantine in the file's order."""
    interpret = Interpreter(feed.mapping, now, prepare=feed.prepare, carry=feed.carry)

    def stage(number: int, piece: Piece) -> tuple[int, pa.Table, Counter[str]]:
        typed = interpret(piece())
        staging.write(feed.mapping, source, typed, number)
        return typed.read, typed.rejected, typed.skipped  # not the rows: they would wait in memory

    reading = Reading(feed.label)
    tasks = (partial(stage, number, piece) for number, piece in enumerate(feed.pieces()))
    for read, rejected, skipped in _in_order(tasks, workers):
        if len(rejected):
            numbers = pc.add(rejected["row_number"], reading.read + 1)
            rejected = rejected.set_column(0, REJECTED.field("row_number"), numbers)
            quarantine.add(rejected, feed.label)
        reading.starts.append(reading.read)
        reading.read += read
        reading.quarantined += len(rejected)
        reading.skipped += skipped
        if progress is not None:
            progress(read)
    return reading


def _in_order(tasks: Iterator[Callable[[], T]], workers: int) -> Iterator[T]:
    """Results in the order of the tasks, some tasks ahead of what was asked for, never all of them."""
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for task in tasks:
            waiting.append(pool.submit(task))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
