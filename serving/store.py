"""The store: what the service must not forget between an answer and the next sync.

Events, decisions, draws that hold, links, the shop's changes to items, what was told of people
(`serving.store_people`), tombstones and receipts, in one SQLite file or one schema of a PostgreSQL. An acknowledged
write survives `kill -9` and power loss; it is seen by the next read of any process. What sync does with the store is in
`serving.store_upkeep`, what erasure does in `serving.store_erasure`; every statement is in `serving.store_sql`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from features.shop import Shop
from serving import store_people as people
from serving import store_shown as shown
from serving import store_sql as sql
from serving.backend import Connection, Database
from serving.database import SqliteDatabase
from serving.events import StoredEvent, decode, encode, same_content
from serving.fields import decode as decode_fields
from serving.fields import encode as encode_fields
from serving.group_commit import GroupCommit
from serving.held import Held, Kept, Key, Wishes, hand_over, held_in, hold, holder_of
from serving.links import LATE, Claim, Timeline
from serving.opening import open_database
from serving.tombstones import Erased

Outcome = people.Outcome
"""`collision`: the id is taken by other content. `erased`: the event's subject asked to be forgotten."""

_Row = tuple[StoredEvent, bytes] | Wishes
TRUST_SECONDS = 0.25
"""An erasure by another process is known this long afterwards."""
_PAGE_SECONDS = 0.5
"""A page does not wait longer than this: then it is shown without draws, and its question is not remembered."""
_LINKS = {"sign_in", "sign_out"}


class Store(people.PeopleStore, shown.ShownStore):
    """One shop's store; safe to use from many threads and many processes at once.

    Reads and writes raise `Unavailable` while the disk refuses, and work again when it does not.
    """

    def __init__(self, database: Database, secret: bytes) -> None:
        self.database = database
        self._writes: GroupCommit[_Row, Outcome | Kept] = GroupCommit(self._commit)
        self._secret = secret
        self._erased = (0, Erased(secret))
        """Number of the last tombstone that is known, and all up to it."""
        self._erased_lock = threading.Lock()
        self._erased_until = 0.0

    @classmethod
    def of(cls, shop: Shop) -> Store:
        """Open the store of a shop, in the PostgreSQL that it names or in its folder; make an empty one if need be.

        Raises:
            ConfigError: the address is none, the driver is not installed, or the store is of another secret.
            DataError: what is there is something else, or of a newer program.
            Unavailable: it cannot be opened.
        """
        return cls(open_database(shop), shop.secret)

    @staticmethod
    def exists(shop: Shop) -> bool:
        """Whether a shop may have a store with something in it; False where opening would make the first one."""
        return shop.store_url is not None or shop.store.exists()

    @classmethod
    def open(cls, path: Path, secret: bytes | None = None) -> Store:
        """Open a store in a file, or make an empty one.

        Args:
            path: the SQLite file.
            secret: the key of its tombstones; by default that of the shop in whose folder the file lies.

        Raises:
            DataError: the file is something else, or of a newer program.
            Unavailable: it cannot be opened.
        """
        database = SqliteDatabase(path, sql.STEPS)
        return cls(database, Shop("shop", path.parent).secret if secret is None else secret)

    def close(self) -> None:
        """Write what waits and close; what was acknowledged stays."""
        self._writes.close()
        self.database.close()

    # --- events ---------------------------------------------------------------------------------------------------

    async def append(self, events: Sequence[StoredEvent]) -> list[Outcome]:
        """Store events durably, in one flush with all other callers of this moment.

        Returns:
            One outcome an event, in order.

        Raises:
            DataError: an event that cannot be written; none of the call's events was.
            Unavailable: none of them is durable; the same call can be made again.
        """
        return cast("list[Outcome]", await self._writes.submit([(event, encode(event)) for event in events]))

    def append_sync(self, events: Sequence[StoredEvent]) -> list[Outcome]:
        """`append` for callers without an event loop, each call its own flush."""
        return cast("list[Outcome]", self._commit([(event, encode(event)) for event in events]))

    def events_of(self, customer_id: str | None, visitor_id: str | None, after_seq: int = 0) -> list[StoredEvent]:
        """What a subject did, as far as it was stored after a sequence number, in the order of storing.

        A known customer's events are his own and those that his linked visitors did before signing in; the
        request's visitor adds nothing until he signs in. An anonymous visitor's are those that no customer owns.
        """
        if customer_id is not None:
            return self._events_of_customer(customer_id, after_seq)
        if visitor_id is None:
            return []
        return [event for _, event in self._anonymous(visitor_id, after_seq, owner=None)]

    def claims_on(self, visitor_id: str, after_seq: int = 0) -> list[Claim]:
        """Spans of this visitor's anonymous history that became somebody's by later sign-ins."""
        return Timeline(visitor_id, self.database.query(sql.LINKS_OF_CLAIMS, (visitor_id, after_seq))).claims(after_seq)

    def links_of(self, customer_id: str, after_seq: int = 0) -> list[str]:
        """The visitors that signed in as this customer, as far as it was stored after a sequence number."""
        return [row[0] for row in self.database.query(sql.VISITORS_OF_CUSTOMER, (customer_id, after_seq))]

    def last_seq(self) -> int:
        """The sequence number of the latest event ever stored; 0 before the first."""
        return int(self.database.query(sql.LAST_SEQ, ("events",))[0][0])

    # --- draws that hold -------------------------------------------------------------------------------------------

    def held_of(self, customer_id: str | None, visitor_id: str | None) -> dict[Key, Held]:
        """What holds for a subject, of this epoch and of those that no sync has dropped yet."""
        subject = holder_of(customer_id, visitor_id)
        return {} if subject is None else held_in(self.database.query(sql.HELD_OF, (subject,)))

    async def keep(self, wishes: Wishes) -> Kept:
        """Keep what one answer wishes durably, all or none, in one flush with all other callers of this moment.

        Raises:
            Unavailable: nothing was kept.
        """
        return cast("Kept", (await self._writes.submit([wishes], _PAGE_SECONDS))[0])

    async def keep_at_once(self, wishes: Wishes) -> Kept:
        """`keep` for callers without an event loop: it never suspends, and each call is its own flush."""
        return cast("Kept", self._commit([wishes])[0])

    # --- items ------------------------------------------------------------------------------------------------------

    def put_items(self, changes: Iterable[tuple[str, Mapping[str, Any]]], at: int) -> int:
        """Change fields of items; fields that are not named stay as they are.

        Args:
            changes: (item id, fields as on the wire).
            at: the moment from which they are in force.

        Returns:
            The number of the last change, for `item_changes`.
        """
        rows = [(item_id, encode_fields(fields), at) for item_id, fields in changes]
        with self.database.transaction() as connection:
            connection.executemany(sql.ADD_ITEM, rows)
            return int(connection.execute(sql.LAST_SEQ, ("items",)).fetchone()[0])

    def item_changes(self, after_change: int = 0) -> tuple[list[tuple[str, dict[str, Any]]], int]:
        """Items changed after a number, oldest first, each with all its live fields; and the last number."""
        rows = self.database.query(sql.ITEM_CHANGES, (after_change,))
        return [(item_id, decode_fields(payload)) for _, item_id, payload in rows], rows[-1][
            0
        ] if rows else after_change

    # --- tombstones -------------------------------------------------------------------------------------------------

    def erased(self) -> Erased:
        """Everybody who was erased, by whichever process."""
        number, before = int(self.database.query(sql.LAST_TOMBSTONE)[0][0]), self._erased
        if number != before[0]:
            found = self._with_newer(before, number, self.database.query)
            with self._erased_lock:  # of two who looked at once, the one who saw less leaves the other's alone
                if self._erased is before or number > self._erased[0]:
                    self._erased = found
        self._erased_until = time.monotonic() + TRUST_SECONDS
        return self._erased[1]

    def is_erased(self, customer_id: str | None, visitor_id: str | None) -> bool:
        """Whether a request of this customer or visitor must be answered as if nothing was known.

        An erasure by another process is known `TRUST_SECONDS` later, one by this process at once.
        """
        erased = self._erased[1] if time.monotonic() < self._erased_until else self.erased()
        return erased.row(customer_id, visitor_id)

    def erased_in(self, connection: Connection) -> Erased:
        """The tombstones as of a transaction: nobody can add one while it holds the write lock."""
        known = self._erased
        number = int(connection.execute(sql.LAST_TOMBSTONE).fetchone()[0])
        return known[1] if number == known[0] else self._with_newer(known, number, connection.execute)[1]

    # --- inside -----------------------------------------------------------------------------------------------------

    def _with_newer(
        self, known: tuple[int, Erased], number: int, read: Callable[[str, Sequence[Any]], Iterable[Any]]
    ) -> tuple[int, Erased]:
        """The tombstones up to a number: those after the known ones are read, for there is one for each erasure ever.

        All are read where there are fewer than were known: somebody put an older store in the place of this one.
        """
        after, erased = known if number > known[0] else (0, Erased(self._secret))
        return number, erased.and_also(row[0] for row in read(sql.TOMBSTONES_AFTER, (after,)))

    def _commit(self, rows: Sequence[_Row]) -> list[Outcome | Kept]:
        with self.database.transaction() as connection:
            erased = self.erased_in(connection)
            events = [row for row in rows if not isinstance(row, Wishes) and not _is_of(row[0], erased)]
            values = [_values(event, payload) for event, payload in events]
            new = iter(self.database.insert_new(connection, sql.ADD_EVENT, values))
            return [
                hold(connection, row, erased) if isinstance(row, Wishes)
                else "erased" if _is_of(row[0], erased)
                else self._taken(connection, *row, is_new=next(new))
                for row in rows
            ]  # fmt: skip

    def _taken(self, connection: Connection, event: StoredEvent, payload: bytes, *, is_new: bool) -> Outcome:
        if not is_new:
            before = connection.execute(sql.EVENT_BY_ID, (event.event_id,)).fetchone()[0]
            return "duplicate" if same_content(decode(before), decode(payload)) else "collision"
        shown.heard(connection, event)
        if event.customer_id is None and event.occurred_at <= event.recorded_at - LATE:
            connection.execute(sql.UNSETTLE_LINKS, (event.visitor_id, event.occurred_at))
        if event.type in _LINKS and event.visitor_id is not None:
            customer = event.customer_id if event.type == "sign_in" else None
            if customer is not None or event.type == "sign_out":
                connection.execute(sql.ADD_LINK, (event.visitor_id, customer, event.occurred_at, event.event_id))
            if customer is not None:
                hand_over(connection, event.visitor_id, customer)
                people.hand_over_told(connection, event.visitor_id, customer, event.recorded_at)
                shown.hand_over_shown(connection, event.visitor_id, customer)
        return "accepted"

    def _events_of_customer(self, customer_id: str, after_seq: int) -> list[StoredEvent]:
        own: list[tuple[int, StoredEvent]] = []
        visitors: list[str] = []
        statement = sql.EVENTS_OF_CUSTOMER if after_seq else sql.ALL_EVENTS_OF_CUSTOMER
        for seq, payload, visitor_id in self.database.query(statement, (customer_id, after_seq)):
            if seq is None:
                visitors.append(visitor_id)
            else:
                own.append((seq, decode(payload)))
        for visitor_id in visitors:
            own += self._anonymous(visitor_id, after_seq, owner=customer_id)
        own.sort(key=lambda pair: pair[0])
        return [event for _, event in own]

    def _anonymous(self, visitor_id: str, after_seq: int, owner: str | None) -> list[tuple[int, StoredEvent]]:
        rows = self.database.query(sql.ANONYMOUS_EVENTS, (visitor_id, after_seq))
        if not rows:
            return []
        events = [(seq, decode(payload)) for seq, payload in rows]
        since = min(event.occurred_at for _, event in events)
        timeline = Timeline(visitor_id, self.database.query(sql.LINKS_OF_VISITOR, (visitor_id, since)))
        return [(seq, event) for seq, event in events if timeline.owner(event.occurred_at) == owner]


def _is_of(event: StoredEvent, erased: Erased) -> bool:
    return bool(erased) and erased.row(event.customer_id, event.visitor_id)


def _values(event: StoredEvent, payload: bytes) -> tuple[Any, ...]:
    """As `store_sql.ADD_EVENT` takes them."""
    return (
        event.event_id, event.customer_id, event.visitor_id, event.occurred_at, event.recorded_at, event.type,
        event.item_id, payload,
    )  # fmt: skip
