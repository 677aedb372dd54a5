"""When the shop last heard of anything: known also when the event itself is in the dataset only, or erased.

Who watches whether events come asks most when none do, and by then a sync has dropped the last one. So whatever
deletes events keeps the instant at which the latest was received, beside its number: by that the latest is known, since
a machine's clock may have been wrong. An instant says nothing of anybody.
"""

from __future__ import annotations

from typing import Any, Final

from serving import store_sql as sql
from serving.backend import Connection
from serving.store import Store

_KEPT: Final = "latest_event"
"""The note of it: the event's number and the instant at which it was received."""


def keep_latest(connection: Connection) -> None:
    """Note when the latest event was received, in the transaction that deletes events or in one before it."""
    here = _here(connection.execute(sql.LATEST_EVENT).fetchall())
    if here > _kept(connection.execute(sql.GET_META, (_KEPT,)).fetchall()):
        connection.execute(sql.SET_META, (_KEPT, f"{here[0]} {here[1]}"))


def latest_recorded(store: Store) -> int | None:
    """When the latest event was received, whether or not it still stands in the store; None before the first."""
    here = _here(store.database.query(sql.LATEST_EVENT))  # first: what is deleted in between is noted by then
    seq, instant = max(here, _kept(store.database.query(sql.GET_META, (_KEPT,))))
    return instant if seq else None


def _here(rows: list[Any]) -> tuple[int, int]:
    return (int(rows[0][0]), int(rows[0][1])) if rows else (0, 0)


def _kept(rows: list[Any]) -> tuple[int, int]:
    seq, instant = str(rows[0][0]).split() if rows else (0, 0)
    return int(seq), int(instant)
