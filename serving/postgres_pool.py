"""The connections to one shop's PostgreSQL: one that writes, some that read, and what is done while it is away.

A server that is gone or silent is met once: from then on every call is told `Unavailable` at once, nobody waits, and a
thread of its own tries until the server answers. Recovery needs nobody.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from features.errors import Unavailable
from serving.postgres_link import LOOP_SECONDS, Address, Link, at_once, connect, explained, is_away
from serving.postgres_link import on_event_loop as in_a_hurry

RETRY_SECONDS = 0.25
"""How often a server that is away is looked for."""
_IDLE = 8
"""Connections that are kept for the next readers."""


class Pool:
    """Connections of one process; safe to use from many threads, but for the writing one, which has one user at a time.

    Args:
        address: of the shop's schema.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._writer: Link | None = None
        self._idle: deque[Link] = deque()
        self._busy: set[Link] = set()
        self._away: str | None = None
        self._state_lock = threading.Lock()
        self._closed = threading.Event()

    def close(self) -> None:
        """Hand out no more, and close those that nobody uses; the writing one is closed by who may use it."""
        self._closed.set()
        self.drop_idle()

    def reader(self) -> Link:
        """A connection for one statement; give it back, or close it where it failed.

        Raises:
            Unavailable: there is none to be had.
        """
        while True:
            self._check()
            try:
                link = self._idle.pop()
            except IndexError:
                return self.opened()
            if not link.closed:
                return link

    @contextmanager
    def at_work(self, link: Link) -> Iterator[None]:
        """While somebody waits on a connection it can be cut off, so that he does not wait for a dead server."""
        self._busy.add(link)
        try:
            yield
        finally:
            self._busy.discard(link)

    def put_back(self, link: Link) -> None:
        """For the next reader."""
        if len(self._idle) >= _IDLE:
            link.close()
            return
        self._idle.append(link)
        if self._closed.is_set():
            self.drop_idle()

    def begun(self) -> Link:
        """The writing connection, in a transaction that holds the lock of the shop.

        Raises:
            Unavailable: there is none to be had.
            psycopg.Error: the lock is not to be had.
        """
        patience = f"SET LOCAL lock_timeout = {int(LOOP_SECONDS * 800)}; " if in_a_hurry() else ""
        begin = f"BEGIN; {patience}SELECT pg_advisory_xact_lock({self.address.key('writes')})"
        for again in (True, False):
            self._check()
            link = self._writer = self._writer or self.opened()
            try:
                with self.at_work(link):
                    at_once(link, begin)
            except psycopg.Error as error:
                if again and is_away(error) and link.broken:  # nothing was written yet
                    self.drop_writer()
                    continue
                raise
            return link
        raise AssertionError("unreachable")

    def opened(self) -> Link:
        """A new connection.

        Raises:
            Unavailable: there is none to be had.
        """
        try:
            return connect(self.address)
        except psycopg.Error as error:
            raise self.met(error) from error

    def roll_back(self, link: Link) -> None:
        """End a transaction that failed; where even that fails, the server does it."""
        try:
            link.execute("ROLLBACK")
        except psycopg.Error:
            self.drop_writer()

    def drop_writer(self) -> None:
        """Close the writing connection; the next transaction opens another one."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def drop_idle(self) -> None:
        """Close the connections that wait for a reader: the server has closed one of them."""
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()

    # --- a server that is away ------------------------------------------------------------------------------------

    def _check(self) -> None:
        if self._closed.is_set():
            raise Unavailable("the store is closed", where=self.address.where)
        if self._away is not None:
            raise self.unavailable(self._away)

    def unavailable(self, why: str) -> Unavailable:
        """The error that says why."""
        hint = "try again in a moment; if it lasts, look after the database server"
        return Unavailable("the store cannot do this now", where=self.address.where, got=why, hint=hint)

    def met(self, error: psycopg.Error) -> Exception:
        """An error in the user's words; where the server is away, it is looked for from now on."""
        told = explained(error, self.address.where)
        if isinstance(told, Unavailable) and is_away(error):
            with self._state_lock:
                if self._away is None and not self._closed.is_set():
                    self._away = told.got or told.what
                    threading.Thread(target=self._look_for_it, name="kokyaku-store-away", daemon=True).start()
        return told

    def _look_for_it(self) -> None:
        """Try until the server answers; whoever still waits for the old one is told to stop."""
        while not self._closed.is_set():
            try:
                link = connect(self.address)
                try:
                    link.execute("SELECT 1 FROM meta LIMIT 1")
                except psycopg.Error:
                    link.close()
                    raise
            except psycopg.Error:
                for waiting in list(self._busy):
                    _cut(waiting)
                self._closed.wait(RETRY_SECONDS)
                continue
            self.drop_idle()
            self.put_back(link)
            break
        self._away = None


def _cut(link: Link) -> None:
    """End a connection under the thread that waits on it."""
    with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(link.pgconn.socket)) as end:
        end.shutdown(socket.SHUT_RDWR)
