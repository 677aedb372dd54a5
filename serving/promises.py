"""Promises: an offer that was shown to somebody is kept for them until it expires, on every channel.

Its dates and conditions may change meanwhile; for whoever has seen it, it stays. It ends when it expires and when the
person has bought something since. A limit on how often it is shown does not take it back; a stop does, and so does
that nothing is left.
"""

from __future__ import annotations

from features.kinds import EventType
from features.moments import DAY
from serving.caps import COUNTED, Counts
from serving.settings.actions import Action
from serving.situation import Situation


def kept_until(name: str, action: Action, counts: Counts | None, now: Situation) -> int | None:
    """The instant at which a promise that was made ends; None where there is none. It frees the action in `counts`.

    Args:
        name, action: of the shop's file.
        counts: what was shown to the subject.
        now: of the request.
    """
    if not action.promise_days or counts is None:
        return None
    span = int(action.promise_days * DAY)
    begun = None
    for at in sorted(row.at for row in counts.tally.rows if row.action_id == name and row.state in COUNTED):
        if begun is None or at >= begun + span:
            begun = at
    if begun is None or now.query.now >= begun + span:
        return None
    bought = now.history.of_types(EventType.PURCHASE).time
    ordered = any(line.ordered_at > begun for line in now.lines)
    if ordered or (bought > begun).any():
        return None
    counts.promise(name)
    return begun + span
