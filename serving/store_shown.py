"""The part of the store that counts what was shown: check, decision and reservation are one transaction.

`shown` has a row for each showing of something limited and for each message, under the person's name; `used` has what
was given out of each action, under nobody's. So an erasure takes the rows and leaves the counts: what is gone is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from features.history import customer_subject, visitor_subject
from serving import store_sql as sql
from serving.backend import Connection, Database
from serving.caps import COUNTED, FAILED, LAPSED, RESERVED, SENT, SHOWN, Showing, Shown, Tally, Used, reached
from serving.caps import same_showing as same
from serving.events import StoredEvent
from serving.links import timeline_in

SENDS = {"sent": SENT, "bounce": FAILED}
"""Event types that tell what became of a message."""


class ShownStore:
    """What a `serving.store.Store` knows of showings. Reads raise `Unavailable` while the disk refuses."""

    database: Database

    def tally_of(self, subject: str | None, finite: Sequence[str], now: int) -> Tally:
        """What stands against the limits of a request.

        Args:
            subject: whose; None: nobody's.
            finite: actions of which there is only so much.
            now: microseconds.
        """
        rows = () if subject is None else [Shown(*row) for row in self.database.query(sql.SHOWN_OF, (subject,))]
        used = {name: Used(*self.database.query(sql.USED_OF, (name, now))[0]) for name in finite}
        return Tally(rows, used)

    def shown_under(self, decision_id: str) -> tuple[str, str] | None:
        """The subject and the surface of a counted decision; None where there is none."""
        rows = self.database.query(sql.SHOWN_UNDER, (decision_id,))
        return (str(rows[0][0]), str(rows[0][1])) if rows else None


def count(connection: Connection, subject: str | None, showings: Sequence[Showing], now: int) -> Tally | None:
    """Count showings inside a transaction, all or none.

    Args:
        connection: in a transaction that holds the write lock: nobody else can count in between.
        subject: whose; None: nobody's, then only what was given out is counted.
        showings: of one answer.
        now: the moment of the decision, microseconds.

    Returns:
        None where they are counted; else what stands against them, and nothing was written.
    """
    rows = [] if subject is None else [Shown(*row) for row in connection.execute(sql.SHOWN_OF, (subject,))]
    used: dict[str, Used] = {}
    for each in showings:
        if any(limits.finite for limits in each.limits):
            _lapse(connection, each.action_id, now)
            used[each.action_id] = Used(*connection.execute(sql.USED_OF, (each.action_id, now)).fetchone())
    tally = Tally(rows, used)
    new = [each for each in showings if not any(same(row, each, now) for row in rows)]
    repeated = any(each.until is not None for each in showings if each not in new)
    full = any(reached(limits, each.action_id, tally, now) for each in new for limits in each.limits)
    if repeated or full:
        return tally
    for each in new:
        _add(connection, subject, each, now)
    return None


def heard(connection: Connection, event: StoredEvent) -> None:
    """What became of a message: really sent, or not. Of a decision that is not counted nothing is to be done."""
    state = SENDS.get(event.type)
    if state is None or event.decision_id is None:
        return
    row = connection.execute(sql.SHOWN_BY_DECISION, (event.decision_id,)).fetchone()
    if row is None:
        return
    subject, action, before, cost = row
    mine = {None if event.customer_id is None else customer_subject(event.customer_id),
            None if event.visitor_id is None else visitor_subject(event.visitor_id)}  # fmt: skip
    if subject in mine and before != SHOWN and not (before == FAILED and state == SENT):
        _set_state(connection, (subject, action, event.decision_id, before, cost), state, event.occurred_at)


def hand_over_shown(connection: Connection, visitor_id: str, customer_id: str) -> None:
    """At a sign-in: what was shown to the visitor counts for the customer, by the rule that his events follow."""
    visitor, customer = visitor_subject(visitor_id), customer_subject(customer_id)
    rows = connection.execute(sql.SHOWN_SINCE, (visitor,)).fetchall()
    if not rows:
        return
    timeline = timeline_in(connection, visitor_id, min(decided_at for *_, decided_at in rows))
    for decision_id, action, state, decided_at in rows:
        if timeline.owner(decided_at) != customer_id:
            continue
        if state in COUNTED:  # two who had it are one person now; what is left of one who had it twice is another
            change = _others(connection, visitor, action, decision_id) - _others(
                connection, customer, action, decision_id
            )
            connection.execute(sql.ADD_USED, (action, change, 0.0))
        connection.execute(sql.HAND_OVER_SHOWN, (customer, decision_id))


def forget_shown(connection: Connection, subjects: Iterable[str | None]) -> None:
    """Delete the rows of erased people; what was given out stays counted."""
    connection.executemany(sql.DROP_SHOWN, [(subject,) for subject in subjects if subject is not None])


def _add(connection: Connection, subject: str | None, each: Showing, now: int) -> None:
    person = subject is None or not _others(connection, subject, each.action_id, each.decision_id)
    if subject is not None:
        state = SHOWN if each.until is None else RESERVED
        row = (subject, each.action_id, each.surface, each.decision_id, now, state, each.until, each.session, now)
        connection.execute(sql.ADD_SHOWN, (*row, each.cost))
    connection.execute(sql.ADD_USED, (each.action_id, int(person), each.cost))


def _lapse(connection: Connection, action: str, now: int) -> None:
    """Take back what was reserved and never heard of."""
    for subject, decision_id, cost in connection.execute(sql.LAPSING, (action, now)).fetchall():
        _set_state(connection, (subject, action, decision_id, RESERVED, cost), LAPSED, None)


def _set_state(connection: Connection, row: tuple[str, str, str, str, float], state: str, at: int | None) -> None:
    subject, action, decision_id, before, cost = row
    connection.execute(sql.SET_SHOWN, (state, at, decision_id))
    change = int(state in COUNTED) - int(before in COUNTED)
    if change:
        person = 1 - _others(connection, subject, action, decision_id)
        connection.execute(sql.ADD_USED, (action, change * person, change * cost))


def _others(connection: Connection, subject: str, action: str, decision_id: str) -> int:
    """Whether somebody has an action by another decision too: 1 or 0."""
    return int(connection.execute(sql.HAS_SHOWN, (subject, action, decision_id)).fetchone()[0])
