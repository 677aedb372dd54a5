"""What the store holds of a subject beyond the last sync, in one look: most often nothing, and then no more is read.

A statement costs little and its way there much, so a request makes one where there were three: it brings the rows that
say what somebody agreed to, and of events and orders only whether there are any.
"""

from __future__ import annotations

from typing import NamedTuple

from serving import store_sql as sql
from serving.backend import Database

FIELDS, EVENTS, ORDERS = 0, 1, 2
"""The kinds of rows of `store_sql.NEWER_OF_CUSTOMER` and `NEWER_OF_VISITOR`."""


class Reach(NamedTuple):
    """The store's numbers up to which history and profiles hold what it has."""

    events: int = 0
    fields: int = 0
    orders: int = 0


class Newer(NamedTuple):
    """What the store has of a subject after some numbers, as of one moment.

    Args:
        fields: changes of what was told, as JSON, oldest first.
        events: whether there are events, or sign-ins that give or take some.
        orders: whether there are reports of order lines.
    """

    fields: tuple[bytes, ...] = ()
    events: bool = False
    orders: bool = False


NOTHING = Newer()


class Found(NamedTuple):
    """Where a subject stands, looked for once a request.

    Args:
        row: in the mapped history and its profiles; None: not in them.
        newer: what the store has beyond them.
    """

    row: int | None = None
    newer: Newer = NOTHING


def newer_of(database: Database, customer_id: str | None, visitor_id: str | None, reach: Reach) -> Newer:
    """Look at the store once.

    Args:
        database: of the store.
        customer_id: the customer, when known; then the visitor adds nothing until he signs in.
        visitor_id: the visitor of an anonymous request, of whose fields none are in the profiles.
        reach: what lies behind these numbers is old.

    Raises:
        Unavailable: it cannot be read now.
    """
    if customer_id is not None:
        rows = database.query(sql.NEWER_OF_CUSTOMER, (customer_id, *reach))
    elif visitor_id is not None:
        rows = database.query(sql.NEWER_OF_VISITOR, (visitor_id, reach.events))
    else:
        rows = []
    if not rows:
        return NOTHING
    kinds = {row[0] for row in rows}
    told = sorted((row[1:] for row in rows if row[0] == FIELDS), key=lambda row: row[0])
    return Newer(tuple(payload for _, payload in told), EVENTS in kinds, ORDERS in kinds)
