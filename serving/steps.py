"""Work in steps: what several requests do next is done for one right after the other (`serving.together`).

A stage's code and tables are in the processor's caches then, where each request alone would find them cold.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
Result = TypeVar("Result")

Steps = Generator[None, None, Result]
"""Pauses between two stages and returns at its end. Others work meanwhile, so nothing that a thread keeps for all
(`features.compiled.scratch`) is held across a pause."""


def finished(steps: Steps[Result]) -> Result:
    """What work comes to that is done in one go."""
    try:
        while True:
            next(steps)
    except StopIteration as end:
        found: Result = end.value
        return found


class _Beside(threading.local):
    moment: object | None = None


_beside = _Beside()


@contextmanager
def one_moment() -> Iterator[None]:
    """What this thread does for several requests inside it is of one moment, and all of them came before it.

    So what one of them finds out of the world is true for the next as well (`moment`).
    """
    _beside.moment = object()
    try:
        yield
    finally:
        _beside.moment = None


def moment() -> object | None:
    """The moment that the requests which are worked on now have in common; None: each has its own."""
    return _beside.moment


class Go(Protocol):
    """How steps are done for callers who can wait."""

    async def __call__(self, work: Callable[P, Steps[Result]], *args: P.args, **kwargs: P.kwargs) -> Result:
        """What `work` returns or raises."""
        ...


async def alone(work: Callable[P, Steps[Result]], *args: P.args, **kwargs: P.kwargs) -> Result:
    """`finished`, which never suspends."""
    return finished(work(*args, **kwargs))
