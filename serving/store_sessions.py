"""Admin sessions that were ended before their time: in the store, so that no replica and no restart forgets one."""

from __future__ import annotations

from features.moments import DAY, SECOND
from serving import store_sql as sql
from serving.store import Store

_ENDED = "ended session "
_MARGIN = DAY // SECOND
"""Seconds for which a session that is over by itself is still remembered: clocks of replicas differ."""


def end_session(store: Store, session_id: str, ends: float) -> None:
    """Remember, durably, that a session was ended; those that were over long before it are forgotten.

    Args:
        store: where.
        session_id: random.
        ends: seconds since 1970 at which it would have ended by itself.

    Raises:
        Unavailable: it is not remembered.
    """
    with store.database.transaction() as connection:
        connection.execute(sql.SET_META, (_ENDED + session_id, _moment(ends)))
        connection.execute(sql.DROP_META_BELOW, (_ENDED, _ENDED + "~", _moment(ends - _MARGIN)))


def has_ended(store: Store, session_id: str) -> bool:
    """Whether a session was ended, by whichever process.

    Raises:
        Unavailable: the store cannot say.
    """
    return bool(store.database.query(sql.GET_META, (_ENDED + session_id,)))


def _moment(seconds: float) -> str:
    """Of one length, for notes are texts and compared as such."""
    return f"{max(0, int(seconds)):012d}"
