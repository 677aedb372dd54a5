"""Which anonymous events count for whom: the rule of `features.build`, for the rows of one visitor.

An anonymous event belongs to the customer of the visitor's next sign-in, unless the visitor signed out in between;
else it stays the visitor's. An event at the very moment of the sign-in is before it. Of two sign-ins at one instant
the smaller customer id counts.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from features.moments import DAY
from serving import store_sql as sql
from serving.backend import Connection

BEGINNING = -(2**62)
"""Before all events."""
LATE = DAY
"""An event that arrives so long after it happened may be somebody's by a sign-in that is settled."""
SETTLED_AFTER = 2 * LATE
"""Only so old a sign-in is settled: what is anonymous and not late belongs to none of those (the clocks of two
replicas and of a sync may differ by what is between the two)."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The anonymous events of a visitor in `(after, until]` belong to a customer."""

    visitor_id: str
    customer_id: str
    after: int
    until: int
    seq: int
    """Sequence number of the sign-in that claims them."""


class Timeline:
    """The sign-ins and sign-outs of one visitor.

    Args:
        visitor_id: whose.
        rows: (seq, customer id or None for a sign-out, instant). Those from some instant on are enough for whose an
            event from then on is; with the one before a sign-in too they are enough for what that one claims.
    """

    def __init__(self, visitor_id: str, rows: Sequence[tuple[int, str | None, int]]) -> None:
        self._visitor_id = visitor_id
        first = sorted((at, customer, seq) for seq, customer, at in rows if customer is not None)
        self._ins = [entry for index, entry in enumerate(first) if index == 0 or first[index - 1][0] != entry[0]]
        self._in_times = [at for at, _, _ in self._ins]
        self._out_times = sorted(at for _, customer, at in rows if customer is None)

    def owner(self, occurred_at: int) -> str | None:
        """The customer to whom an anonymous event of that moment belongs, or None: the visitor's own."""
        at = bisect_left(self._in_times, occurred_at)
        if at == len(self._ins):
            return None
        signed_in, customer, _ = self._ins[at]
        out = bisect_left(self._out_times, occurred_at)
        if out < len(self._out_times) and self._out_times[out] < signed_in:
            return None
        return customer

    def claims(self, after_seq: int) -> list[Claim]:
        """What each sign-in later than a sequence number claims, in order of time."""
        found = []
        for index, (until, customer, seq) in enumerate(self._ins):
            if seq <= after_seq:
                continue
            out = bisect_left(self._out_times, until)
            after = max(
                self._in_times[index - 1] if index else BEGINNING, self._out_times[out - 1] if out else BEGINNING
            )
            if after < until:
                found.append(Claim(self._visitor_id, customer, after, until, seq))
        return found


def timeline_in(connection: Connection, visitor_id: str, since: int) -> Timeline:
    """A visitor's sign-ins and sign-outs from an instant on, as of a transaction."""
    return Timeline(visitor_id, connection.execute(sql.LINKS_OF_VISITOR, (visitor_id, since)).fetchall())
