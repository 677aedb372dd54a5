"""Work beside requests gives way to them: a little of it, then a rest.

What a worker takes up while it answers (a bundle of a million numbers to check and to sort) shares the interpreter's
lock and the processors with its requests. Whoever does such work calls `breathe` between its steps, of which none
should take longer than a request. Outside `gently`, as at a start that nobody may wait for, that costs nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

WORK = 0.0005
"""Seconds of work after which a rest is due."""
REST = 4.0
"""So many times as long as the work before it is a rest."""
LONGEST = 0.05
"""Seconds of a rest at most."""


class Pace:
    """Of one piece of work.

    Args:
        meanwhile: done before each rest.
    """

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self._meanwhile = meanwhile
        self._since = time.thread_time()

    def breathe(self) -> None:
        """Rest where that is due."""
        worked = time.thread_time() - self._since  # of the processor: to wait for a disk disturbs nobody
        if worked >= WORK:
            self._meanwhile()
            time.sleep(min(REST * worked, LONGEST))
            self._since = time.thread_time()


_pace: ContextVar[Pace | None] = ContextVar("pace", default=None)


@contextmanager
def gently(meanwhile: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Within it this thread's work rests where it breathes.

    Args:
        meanwhile: what must not wait until all is done; called before each rest, so it should look whether it is due.
    """
    token = _pace.set(Pace(meanwhile))
    try:
        yield
    finally:
        _pace.reset(token)


def breathe() -> None:
    """Between two steps of long work: a rest, where requests are beside it and it has worked for a while."""
    pace = _pace.get()
    if pace is not None:
        pace.breathe()
