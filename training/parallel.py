"""Customers shared out among processes: what is asked about one does not depend on the others.

The processes are forked, so a bundle and all histories are there without a copy, and only the answers travel. Where
the system cannot fork safely, or there is little to do, everything runs here; the answers are the same.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from features.errors import DataError

T = TypeVar("T")
LEAST = 200
"""Customers below which starting processes costs more than it saves."""
PARTS = 8
"""Parts a process: progress is told after each, and no process waits long for the last."""

_work: Callable[[range], Any] | None = None
"""What forked processes find and run: a closure cannot be sent to them."""


def in_parts(
    work: Callable[[range], T], total: int, progress: Callable[[int], None] = lambda done: None, *, processes: int = 0
) -> list[T]:
    """Run `work` over consecutive parts of `range(total)`.

    Args:
        work: given the places of one part; must not depend on other parts, and its answer must be sendable. Linear
            algebra runs on one thread in it: a customer's products are small, and more threads only wait.
        total: how many places there are.
        progress: told how many were done since the last call.
        processes: 0: as many as there are processors for this process.

    Returns:
        The answers, by part, in the order of the places; none where there are no places.

    Raises:
        DataError: a process was ended from outside, most often because memory ran out.
        Exception: what `work` raises.
    """
    processes = processes or _processors()
    with threadpool_limits(1, "blas"):
        if total < LEAST or processes < 2 or sys.platform != "linux":
            return [_told(work, part, progress) for part in _parts(total, 1)]
        return _forked(work, _parts(total, processes), processes, progress)


def _forked(work: Callable[[range], T], parts: list[range], processes: int, progress: Callable[[int], None]) -> list[T]:
    with _pool(work, processes) as pool:
        waiting: list[Future[T]] = [pool.submit(_run, part) for part in parts]
        answers = []
        for part, future in zip(parts, waiting, strict=True):
            try:
                answers.append(future.result())
            except BrokenProcessPool:
                hint = "close what else needs memory, or let OMP_NUM_THREADS and taskset give it one processor"
                raise DataError("a process that judged customers was ended from outside", hint=hint) from None
            progress(len(part))
        return answers


@contextmanager
def _pool(work: Callable[[range], Any], processes: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that have `work`; what has not begun is dropped when something fails."""
    global _work
    _work = work
    pool = ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("fork"))
    try:
        with warnings.catch_warnings():
            # Python 3.12 warns of any thread at a fork. Those here belong to libraries that the children do not call.
            warnings.simplefilter("ignore", DeprecationWarning)
            pool.submit(_nothing)  # forks all of them now, before the pool has threads of its own
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        _work = None


def _run(part: range) -> Any:
    assert _work is not None  # set before the fork
    return _work(part)


def _nothing() -> None:
    """The first task: it only makes the pool start."""


def _told(work: Callable[[range], T], part: range, progress: Callable[[int], None]) -> T:
    answer = work(part)
    progress(len(part))
    return answer


def _parts(total: int, processes: int) -> list[range]:
    """Consecutive parts, about `PARTS` a process and none of them empty."""
    count = min(total, processes * PARTS)
    edges = [total * number // max(count, 1) for number in range(count + 1)]
    return [range(start, end) for start, end in pairwise(edges)]


def _processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
