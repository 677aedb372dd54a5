"""The part of the store that keeps what was told of people: fields of customers and visitors, and order lines.

Each change is a row with its number, so that "after a change" means "told since". Fields are put together by
`serving.fields`, order lines by `features.order_reports`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from features.order_reports import Report, lines_of, same_report
from features.orders import OrderLine
from serving import store_sql as sql
from serving.backend import Connection, Database
from serving.fields import GUEST, Fields, composed, decode, encode, handed_over, plain, refusals
from serving.links import timeline_in
from serving.tombstones import Erased

Outcome = Literal["accepted", "duplicate", "collision", "erased"]
_report = msgspec.json.Decoder(Report)


class PeopleStore:
    """What a `serving.store.Store` knows of people. Reads and writes raise `Unavailable` while the disk refuses."""

    database: Database

    def erased_in(self, connection: Connection) -> Erased:
        """The tombstones as of a transaction."""
        raise NotImplementedError

    # --- fields -----------------------------------------------------------------------------------------------------

    def put_customer(self, customer_id: str, fields: Fields, at: int) -> bool:
        """Change what is known of a customer; what is not named stays, None forgets, maps are changed key by key.

        Returns:
            False when the customer was erased: then nothing is stored.

        Raises:
            DataError: fields that JSON cannot hold.
        """
        payload = encode(fields)
        with self.database.transaction() as connection:
            if self.erased_in(connection).customer(customer_id):
                return False
            tell(connection, customer_id, None, payload, at)
        return True

    def read_customer(self, customer_id: str) -> dict[str, Any] | None:
        """What the service was told of a customer, or None when nothing was."""
        return _said(self.customer_rows(customer_id))

    def customer_rows(self, customer_id: str, after: int = 0) -> list[bytes]:
        """Changes of a customer's fields after a number, as JSON, oldest first."""
        return [row[0] for row in self.database.query(sql.CUSTOMER_CHANGES, (customer_id, after))]

    def put_visitor(self, visitor_id: str, fields: Fields, at: int) -> bool:
        """`put_customer` for somebody who has not signed in. What changes nothing is not stored again."""
        payload = encode(fields)
        with self.database.transaction() as connection:
            if self.erased_in(connection).visitor(visitor_id):
                return False
            tell(connection, None, visitor_id, payload, at)
        return True

    def read_visitor(self, visitor_id: str) -> dict[str, Any] | None:
        """What the service was told of a visitor since the last sign-in, or None when nothing was."""
        return _said(self.visitor_rows(visitor_id))

    def visitor_rows(self, visitor_id: str) -> list[bytes]:
        """Changes of a visitor's fields, as JSON, oldest first."""
        return [row[1] for row in self.database.query(sql.VISITOR_CHANGES, (visitor_id,))]

    # --- orders -----------------------------------------------------------------------------------------------------

    def put_orders(self, reports: Sequence[tuple[str, Report]], at: int) -> list[Outcome]:
        """Store reports of order lines, durably; those that say what was said before are no new step.

        Args:
            reports: (customer id, report).
            at: when they were received.

        Returns:
            One outcome a report, in order: `collision` where the line is another customer's.
        """
        with self.database.transaction() as connection:
            erased = self.erased_in(connection)
            return [_add(connection, customer_id, report, at, erased) for customer_id, report in reports]

    def orders_of(self, customer_id: str, after: int = 0) -> tuple[OrderLine, ...]:
        """A customer's order lines, as far as they were reported after a change number."""
        return lines_of(self.reports_of(customer_id, after))

    def reports_of(self, customer_id: str, after: int = 0) -> list[Report]:
        """What was reported of a customer's order lines after a change number, in the order of reporting."""
        return [_report.decode(row[0]) for row in self.database.query(sql.ORDERS_OF, (customer_id, after))]


def tell(connection: Connection, customer_id: str | None, visitor_id: str | None, payload: bytes, at: int) -> None:
    """Inside a transaction: a change of a customer's fields, or else of a visitor's where it changes anything."""
    if customer_id is not None:
        connection.execute(sql.ADD_CUSTOMER, (customer_id, payload, at))
        return
    before = [decode(row[1]) for row in connection.execute(sql.VISITOR_CHANGES, (visitor_id,)).fetchall()]
    if plain(composed([*before, decode(payload)])) != plain(composed(before)):
        connection.execute(sql.ADD_VISITOR, (visitor_id, payload, at))


def hand_over_told(connection: Connection, visitor_id: str, customer_id: str, at: int) -> None:
    """At a sign-in: what the visitor told goes to the customer, by the rule that his events follow.

    The visitor keeps refusals only: whoever uses the device next has not agreed to anything.
    """
    rows = connection.execute(sql.VISITOR_CHANGES, (visitor_id,)).fetchall()
    if not rows:
        return
    timeline = timeline_in(connection, visitor_id, min(told for _, _, told in rows))
    theirs = [(change, decode(payload)) for change, payload, told in rows if timeline.owner(told) == customer_id]
    told = composed(fields for _, fields in theirs)
    connection.executemany(sql.DROP_VISITOR_CHANGE, [(change,) for change, _ in theirs])
    if change := handed_over(told):
        connection.execute(sql.ADD_CUSTOMER, (customer_id, encode(change), at))
    if refused := refusals(plain(told)):
        connection.execute(sql.ADD_VISITOR, (visitor_id, encode({GUEST: {"consents": refused}}), at))


def _add(connection: Connection, customer_id: str, report: Report, at: int, erased: Erased) -> Outcome:
    if erased.customer(customer_id):
        return "erased"
    before = connection.execute(sql.REPORTS_OF_LINE, (report.order_id, report.line)).fetchall()
    if any(whose != customer_id for whose, _ in before):
        return "collision"
    if any(same_report(_report.decode(payload), report) for _, payload in before):
        return "duplicate"
    row = (report.order_id, report.line, customer_id, msgspec.json.encode(report), at)
    connection.execute(sql.ADD_ORDER, row)
    return "accepted"


def _said(rows: Sequence[bytes]) -> dict[str, Any] | None:
    return plain(composed(decode(row) for row in rows)) if rows else None
