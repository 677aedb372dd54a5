"""Group commit: many callers, one writer, one flush to disk for all that wait.

While the disk is busy with one group, the next one gathers, so the number of flushes does not grow with the number
of callers, and nobody is told "accepted" before the flush that holds his rows has returned.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from features.errors import Unavailable

Row = TypeVar("Row")
Result = TypeVar("Result")

LINGER_SECONDS = 0.002
"""The longest that a group waits for more callers."""
IDLE_SECONDS = 0.000_15
"""A group closes as soon as nobody came for this long."""
GROUP_ROWS = 5_000
PATIENCE_SECONDS = 3.0
"""A caller who waited so long is told that it did not work, and may come again."""
WAITING_ROWS = 100_000
"""More than this waiting means that the disk has stopped: then callers are sent away at once."""
CLOSE_SECONDS = PATIENCE_SECONDS
"""Closing waits no longer than a caller: who waited so long was told that it did not work."""
log = logging.getLogger("kokyaku")


class GroupCommit(Generic[Row, Result]):
    """A queue in front of a commit function, served by one thread that starts with the first caller.

    Args:
        commit: writes rows durably in one transaction and gives one result a row; what it raises, every caller of
            the group gets.
    """

    def __init__(self, commit: Callable[[Sequence[Row]], list[Result]]) -> None:
        self._commit = commit
        self._queue: queue.SimpleQueue[tuple[Sequence[Row], Future[list[Result]]] | None] = queue.SimpleQueue()
        self._waiting = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    async def submit(self, rows: Sequence[Row], patience: float = PATIENCE_SECONDS) -> list[Result]:
        """Write rows together with whoever else is waiting.

        Args:
            rows: the caller's.
            patience: seconds. What still waits then is not written any more; what is just being written may be.

        Raises:
            Unavailable: the disk refuses, does not answer, or too many are waiting for it.
        """
        try:
            async with asyncio.timeout(patience):
                return await asyncio.wrap_future(self._enqueue(rows))
        except TimeoutError:
            raise Unavailable("the disk does not answer", hint="try again in a moment") from None

    def close(self, patience: float = CLOSE_SECONDS) -> None:
        """Write what waits, then end the thread; where the disk does not answer, leave it behind.

        Args:
            patience: seconds. What is not written then was acknowledged to nobody.
        """
        with self._lock:
            self._closed = True
            thread = self._thread
        if thread is None:
            return
        self._queue.put(None)
        thread.join(patience)
        if thread.is_alive():  # the process does not wait for it either
            told = "the disk does not answer: %d rows that wait for it are left behind, none of which was acknowledged"
            log.warning(told, self._waiting)

    def _enqueue(self, rows: Sequence[Row]) -> Future[list[Result]]:
        with self._lock:
            if self._closed:
                raise Unavailable("the store is closed", hint="try again in a moment")
            if self._waiting + len(rows) > WAITING_ROWS:
                raise Unavailable("too many events wait for the disk", hint="try again in a moment")
            self._waiting += len(rows)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="kokyaku-store", daemon=True)
                self._thread.start()
            future: Future[list[Result]] = Future()
            self._queue.put((rows, future))
        return future

    def _run(self) -> None:
        open_for_business = True
        while open_for_business:
            group, open_for_business = self._gather()
            if group:
                self._write(group)

    def _gather(self) -> tuple[list[tuple[Sequence[Row], Future[list[Result]]]], bool]:
        """Wait for the first caller, then take in whoever comes until nobody does."""
        first = self._queue.get()
        if first is None:
            return [], False
        group, rows = [first], len(first[0])
        patience = time.monotonic() + LINGER_SECONDS
        while rows < GROUP_ROWS and time.monotonic() < patience:
            try:
                entry = self._queue.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                break
            if entry is None:
                return group, False
            group.append(entry)
            rows += len(entry[0])
        return group, True

    def _write(self, group: list[tuple[Sequence[Row], Future[list[Result]]]]) -> None:
        waiting = sum(len(entry) for entry, _ in group)
        group = [(entry, future) for entry, future in group if future.set_running_or_notify_cancel()]
        rows = [row for entry, _ in group for row in entry]
        try:
            results = self._commit(rows) if rows else []
        except BaseException as error:  # each caller gets it, and this thread lives on for the next ones
            for _, future in group:
                future.set_exception(error)
        else:
            start = 0
            for entry, future in group:
                future.set_result(results[start : start + len(entry)])
                start += len(entry)
        with self._lock:
            self._waiting -= waiting
