"""Of whom the store holds anything that history and profiles lack, in memory: of all others nobody need ask it.

Most customers did nothing since the last sync. To hear so from the store costs a request as much as all else that is
looked up of them. So who did is kept here, and brought up to date as soon as any process has committed something
(`Database.mark`). It is a superset: whoever is not in it has nothing newer for certain, whoever is may have.

Numbers are kept that this process makes of the ids, and no ids: there is nothing in it to be erased.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any

from serving import store_sql as sql
from serving.backend import Database, Mark
from serving.links import BEGINNING
from serving.newer import Reach
from serving.steps import moment

MOST = 200_000
"""Customers, some 20 MB in each worker: beyond that the store is asked about everybody, until the next sync."""
AT_ONCE = 200
"""Rows of each kind that are read while a request waits; where there are more, the store is asked meanwhile."""
TRUST_SECONDS = 1.0
"""For so long a mark that stays the same is believed: a process may be killed between its commit and its mark."""


class News:
    """The customers of whom a store has something beyond some numbers; safe to ask from many threads.

    Args:
        database: of the store.
        reach: what lies behind these numbers is no news.
        most: customers that are kept.
    """

    def __init__(self, database: Database, reach: Reach, most: int = MOST) -> None:
        self._database, self._reach, self._most = database, reach, most
        self._known: set[int] = set()
        self._lock = threading.Lock()
        self._file = 0
        self._until = 0.0
        self._seen: tuple[object | None, Mark | None] = None, None
        self._begin_anew()

    def none_of(self, customer_id: str, reach: Reach) -> bool:
        """Whether the store has certainly nothing newer of a customer; False: it has to be asked.

        Args:
            customer_id: whose.
            reach: what the request holds; nothing is certain beyond another one than this has.

        Raises:
            Unavailable: the store cannot be read now.
        """
        number, mark = hash(customer_id), self._mark_now()
        if mark is None or reach != self._reach or number in self._known:
            return False
        if mark != self._mark or time.monotonic() > self._until:
            if not self._caught_up():
                return False
            if (now := moment()) is not None:
                self._seen = now, self._mark
        return number not in self._known

    def _mark_now(self) -> Mark | None:
        """The store's, looked at once for all who ask side by side (`serving.steps`): they came before it was.

        Only the thread that works on them has a moment, so nobody else writes what it saw.
        """
        now = moment()
        if now is None:
            return self._database.mark()
        seen = self._seen
        if seen[0] is not now:
            seen = self._seen = now, self._database.mark()
        return seen[1]

    def _begin_anew(self) -> None:
        """Nothing is read yet. Who is known stays: too many are no harm, and other threads are looking."""
        self._mark: Mark | None = None
        self._next = [each + 1 for each in self._reach]
        """Of each kind of rows the first number to read: the last one that was read, once there is one."""
        self._last: dict[int, int] = {}
        """Of each kind what was made of the row that was read last."""
        self._asked: set[int] = set()
        """Visitors of whom all are known whom they became."""
        self._half: tuple[int, int, int] = (0, BEGINNING, 0)
        """What was made of a row of whose visitor some are known, with the place of his last link that was read."""

    def _caught_up(self) -> bool:
        """Read what was committed up to now, or as much of it as a request may wait for: whether that was all.

        A store may be put back while it is served, as another file or into the same one. Then what was read says
        nothing of it, and by its numbers its rows seem to be read already. So the last rows are read once more: where
        they are gone or others (an erasure does that too), all begins anew, and this request asks the store.
        """
        with self._lock:
            mark, until = self._database.mark(), time.monotonic() + TRUST_SECONDS
            if mark is None or len(self._known) > self._most:
                return False
            if mark.file != self._file:
                self._begin_anew()
                self._file = mark.file
            rows = self._database.query(sql.NEWS, (*self._next, AT_ONCE))
            if not set(self._last.values()) <= {hash(row) for row in rows}:
                self._begin_anew()
                return False
            whole = self._learnt(rows) and len(rows) < AT_ONCE
            after = self._database.mark()
            if after is None or after.file != mark.file:  # which of the two was read?
                self._begin_anew()
                return False
            if whole:
                self._mark, self._until = mark, until
            return whole

    def _learnt(self, rows: Iterable[tuple[Any, ...]]) -> bool:
        """Keep whose rows these are, in their order, up to a visitor with too many links for one request."""
        room = AT_ONCE
        for row in rows:
            kind, number, _, customer_id, visitor_id = row
            if customer_id is not None:
                self._known.add(hash(customer_id))
            elif visitor_id is not None and hash(visitor_id) not in self._asked:
                room -= self._links_read(hash(row), visitor_id, room)
                if not room:
                    return False
            self._next[kind], self._last[kind] = number, hash(row)
        return True

    def _links_read(self, row: int, visitor_id: str, room: int) -> int:
        """Keep whom the visitor of a row became, of at most so many of his links: how many there were.

        Each visitor is asked about once. Whom he becomes later is known by the event of that sign-in: it names its
        customer, has a higher number, and was stored with the link or not at all.
        """
        at = self._half[1:] if self._half[0] == row else (BEGINNING, 0)
        links = self._database.query(sql.LINKS_AFTER, (visitor_id, *at, room))
        self._known.update(hash(customer_id) for _, _, customer_id in links if customer_id is not None)
        if len(links) == room:
            self._half = (row, *links[-1][:2])
            return room
        if len(self._asked) >= self._most:
            self._asked.clear()  # they are asked about again
        self._asked.add(hash(visitor_id))
        return len(links)
