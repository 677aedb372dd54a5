"""Of whom the store holds anything that history and profiles lack, in memory: of all others nobody need ask it.

Most customers did nothing since the last sync. To hear so from the store costs a request as much as all else that is
looked up of them. So who did is kept here, and brought up to date as soon as any process has committed something
(`Database.mark`). It is a superset: whoever is not in it has nothing newer for certain, whoever is may have.

Numbers are kept that this process makes of the ids, and no ids: there is nothing in it to be erased.
"""

from __future__ import annotations

import threading
import time

from serving import store_sql as sql
from serving.backend import Database, Mark
from serving.newer import Reach

MOST = 200_000
"""Customers, some 20 MB in each worker: beyond that the store is asked about everybody, until the next sync."""
AT_ONCE = 200
"""Rows that are read while a request waits; where there are more, the store is asked meanwhile."""
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
        self._read, self._file = reach, 0
        self._mark: Mark | None = None
        self._until = 0.0
        self._lock = threading.Lock()

    def none_of(self, customer_id: str, reach: Reach) -> bool:
        """Whether the store has certainly nothing newer of a customer; False: it has to be asked.

        Args:
            customer_id: whose.
            reach: what the request holds; nothing is certain beyond another one than this has.

        Raises:
            Unavailable: the store cannot be read now.
        """
        number, mark = hash(customer_id), self._database.mark()
        if mark is None or reach != self._reach or number in self._known:
            return False
        if (mark != self._mark or time.monotonic() > self._until) and not self._caught_up(mark):
            return False
        return number not in self._known

    def _caught_up(self, mark: Mark) -> bool:
        """Read what was committed up to a mark, or as much of it as a request may wait for: whether that was all."""
        with self._lock:
            if len(self._known) > self._most:
                return False
            if mark.file != self._file:  # another store: its numbers are others
                self._file, self._read = mark.file, self._reach
            until, read = time.monotonic() + TRUST_SECONDS, list(self._read)
            rows = self._database.query(sql.NEWS, (*read, AT_ONCE))
            for kind, number, customer_id in rows:
                read[kind] = max(read[kind], number)
                self._known.add(hash(customer_id))
            self._read = Reach(*read)
            if len(rows) < AT_ONCE:
                self._mark, self._until = mark, until
            return len(rows) < AT_ONCE
