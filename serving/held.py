"""One answer everywhere: what was drawn first for a subject, a slot family and an epoch holds until the epoch ends.

A draw is kept in the store under that key by one transaction, together with its decision's row. So of two processes
that draw at the same time one is first, and the other one shows what it drew. A reuse names the decision that it comes
from and carries the probabilities and the features of that draw: nothing was drawn a second time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from features.history import customer_subject, visitor_subject
from serving import store_sql as sql
from serving.backend import Connection
from serving.caps import Showing, Tally
from serving.fields import encode
from serving.links import timeline_in
from serving.store_people import tell
from serving.store_shown import count
from serving.tombstones import Erased

Key = tuple[str, int, int]
"""Slot family, place among the page's slots of that family, and epoch."""


class Held(msgspec.Struct, frozen=True):
    """A draw that holds: the fields of its `serving.decide.Decision` that a reuse repeats."""

    decision_id: str
    action_id: str | None
    eligible: list[tuple[str | None, float]]
    action_propensity: float
    policy: str
    features: dict[str, Any] | None = None


class Wish(msgspec.Struct, frozen=True):
    """A draw that shall hold from now on.

    Args:
        key: what for.
        ends_at: the instant at which its epoch ends.
        held: the draw.
        payload: the JSON of its decision.
        instead_of: the decision that held until now and cannot be shown any more; None: there was none.
    """

    key: Key
    ends_at: int
    held: Held
    payload: bytes
    instead_of: str | None = None


class Wishes(msgspec.Struct, frozen=True):
    """The draws of one answer, what is to be counted of it and what it asks; they are kept together or not at all.

    Args:
        customer_id, visitor_id: whose; without either nothing can hold, and only what was given out is counted.
        request_id, decided_at: of the decisions.
        each: the draws.
        showings: what of the answer stands against limits.
        questions: those that are put now for the first time.
    """

    customer_id: str | None
    visitor_id: str | None
    request_id: str
    decided_at: int
    each: tuple[Wish, ...]
    showings: tuple[Showing, ...] = ()
    questions: tuple[str, ...] = ()


class Kept(msgspec.Struct, frozen=True):
    """What became of wishes.

    Args:
        stored: whether they hold now and their decisions are in the store.
        found: where not, what held already.
        tally: where not, what stands against a limit that was reached meanwhile. Without either the subject asked to
            be forgotten.
    """

    stored: bool
    found: Mapping[Key, Held] = {}
    tally: Tally | None = None


_held = msgspec.json.Decoder(Held)


def holder_of(customer_id: str | None, visitor_id: str | None) -> str | None:
    """Whose draws hold: the customer's where known, else the visitor's; nobody's where neither is."""
    if customer_id is not None:
        return customer_subject(customer_id)
    return None if visitor_id is None else visitor_subject(visitor_id)


def held_in(rows: Iterable[tuple[str, int, int, bytes]]) -> dict[Key, Held]:
    """Rows of `store_sql.HELD_OF` as what they hold."""
    return {(family, place, epoch): _held.decode(payload) for family, place, epoch, payload in rows}


def hold(connection: Connection, wishes: Wishes, erased: Erased) -> Kept:
    """Keep draws and questions inside a transaction and count what is limited, all or none; what was first stays.

    Nobody else can keep a draw or count a showing in between, so a limit that has room here is not exceeded.
    """
    if erased.row(wishes.customer_id, wishes.visitor_id):
        return Kept(False)
    subject = holder_of(wishes.customer_id, wishes.visitor_id)
    now = {} if not wishes.each else held_in(connection.execute(sql.HELD_OF, (subject,)))
    first = {wish.key: now[wish.key] for wish in wishes.each
             if wish.key in now and now[wish.key].decision_id != wish.instead_of}  # fmt: skip
    if first:
        return Kept(False, first)
    if wishes.showings and (full := count(connection, subject, wishes.showings, wishes.decided_at)) is not None:
        return Kept(False, tally=full)
    whose = wishes.customer_id, wishes.visitor_id, wishes.request_id, wishes.decided_at
    for wish in wishes.each:
        row = (subject, *wish.key, wishes.decided_at, wish.ends_at, msgspec.json.encode(wish.held))
        connection.execute(sql.HOLD, row)
        connection.execute(sql.ADD_DECISION, (wish.held.decision_id, *whose, wish.payload))
    if wishes.questions and subject is not None:
        put = encode({"shown": dict.fromkeys(wishes.questions, wishes.decided_at)})
        tell(connection, wishes.customer_id, wishes.visitor_id, put, wishes.decided_at)
    return Kept(True)


def hand_over(connection: Connection, visitor_id: str, customer_id: str) -> None:
    """At a sign-in: what holds for the visitor goes on for the customer, by the rule that his events follow.

    Where something holds for the customer already, that stays: two answers to one person end here.
    """
    rows = connection.execute(sql.HELD_SINCE, (visitor_subject(visitor_id),)).fetchall()
    if not rows:
        return
    timeline = timeline_in(connection, visitor_id, min(decided_at for _, _, _, decided_at in rows))
    for family, place, epoch, decided_at in rows:
        if timeline.owner(decided_at) == customer_id:
            key = (visitor_subject(visitor_id), family, place, epoch)
            connection.execute(sql.HAND_OVER, (customer_subject(customer_id), *key))
            connection.execute(sql.LET_GO, key)
