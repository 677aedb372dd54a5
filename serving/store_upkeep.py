"""What sync does with a store: read it in order, take decisions in, drop what is old."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson

from serving import store_sql as sql
from serving.backend import Connection
from serving.fields import composed
from serving.fields import decode as fields_in
from serving.store import Store
from serving.store_erasure import random_token, scrubbed
from serving.store_latest import keep_latest

_LOG = "log "
_PIECE = 20_000
"""So many numbers are deleted, or links settled, in one transaction."""


@dataclass(frozen=True)
class LogPosition:
    """How far a decision log was read."""

    name: str
    offset: int


class Head(msgspec.Struct, frozen=True, gc=False):
    """What the store keeps beside a decision's JSON; nothing else of it is decoded."""

    decision_id: str
    customer_id: str | None = None
    visitor_id: str | None = None
    request_id: str | None = None
    decided_at: int | None = None


def store_id(store: Store) -> str:
    """The random name of this store; its sequence numbers mean nothing in another one."""
    return str(note_of(store, "store_id"))


def note_of(store: Store, name: str) -> str | None:
    """What a note of the store says; None where there is none of that name."""
    rows = store.database.query(sql.GET_META, (name,))
    return str(rows[0][0]) if rows else None


def set_note(store: Store, name: str, text: str) -> None:
    """Write a note into the store, durably, in the place of the one before."""
    with store.database.transaction() as connection:
        connection.execute(sql.SET_META, (name, text))


# --- decisions --------------------------------------------------------------------------------------------------------


def log_offset(store: Store, name: str) -> int:
    """How many bytes of a decision log are in the store."""
    return int(note_of(store, _LOG + name) or 0)


def forget_logs(store: Store, names: Iterable[str]) -> None:
    """Drop the positions of logs that are no more; those that lie on another replica's disk stay."""
    with store.database.transaction() as connection:
        connection.executemany(sql.DROP_META, [(_LOG + name,) for name in names])


def add_decisions(store: Store, decisions: Sequence[tuple[Head, bytes]], position: LogPosition) -> int:
    """Store decisions and, in the same transaction, how far their log was read.

    Args:
        decisions: of each its head, and its JSON. Those of erased subjects are kept under a random token.

    Returns:
        How many were new.
    """
    rows = []
    with store.database.transaction() as connection:
        erased = store.erased_in(connection)
        for head, payload in decisions:
            if erased.row(head.customer_id, head.visitor_id):
                token = random_token()
                head = msgspec.structs.replace(head, customer_id=token, visitor_id=None)
                payload = orjson.dumps(scrubbed(orjson.loads(payload), token))
            rows.append(_decision_row(head, payload))
        added = store.database.count_new(connection, sql.ADD_DECISION, rows)
        connection.execute(sql.ADVANCE_META, (_LOG + position.name, position.offset))
    return added


def _decision_row(head: Head, payload: bytes) -> tuple[Any, ...]:
    return (
        head.decision_id, head.customer_id, head.visitor_id, head.request_id, head.decided_at or 0, payload,
    )  # fmt: skip


# --- what is in the dataset -------------------------------------------------------------------------------------------


def drop_events(store: Store, up_to: int, before: int) -> int:
    """Delete events that every history in use contains; recent ones stay, so that a client's retry is recognised.

    When the latest was received stays known (`serving.store_latest`).

    Args:
        store: where.
        up_to: sequence number that all histories in use reach.
        before: only events received before this instant.

    Returns:
        How many were deleted.
    """
    with store.database.transaction() as connection:
        keep_latest(connection)
    return _drop_in_pieces(store, sql.FIRST_EVENT, sql.DROP_OLD_EVENTS, up_to, before)


def settle_links(store: Store, up_to: int, before: int) -> None:
    """Let requests pass by the sign-ins whose anonymous events every history in use holds as the customer's.

    Args:
        store: where.
        up_to: sequence number that all histories in use reach.
        before: only sign-ins that happened before this instant, `serving.links.SETTLED_AFTER` ago.
    """
    settled = _PIECE
    while settled == _PIECE:
        with store.database.transaction() as connection:
            settled = connection.execute(sql.SETTLE_LINKS, (up_to, before, _PIECE)).rowcount


def _drop_in_pieces(store: Store, first: str, drop: str, up_to: int, before: int) -> int:
    """Delete numbered rows in short transactions, so that who writes meanwhile does not wait for all of them."""
    at = store.database.query(first)[0][0]
    dropped = 0
    while at is not None and at <= up_to:
        end = min(at + _PIECE, up_to)
        with store.database.transaction() as connection:
            dropped += connection.execute(drop, (at, end, before)).rowcount
        at = end + 1
    return dropped


def drop_ended(store: Store, now: int) -> None:
    """Delete draws whose epoch is over."""
    with store.database.transaction() as connection:
        connection.execute(sql.DROP_ENDED, (now,))


def drop_visitors(store: Store, before: int) -> None:
    """Delete what visitors told who have told nothing since an instant; refusals stay."""
    with store.database.transaction() as connection:
        connection.execute(sql.DROP_OLD_VISITORS, (before,))


def drop_orders(store: Store, up_to: int, before: int, last_before: int) -> None:
    """Delete reports of orders that every history in use contains, when they were received before an instant.

    The last report of each line stays longer, so that a state that a shop tells each night is known as told.

    Args:
        store: where.
        up_to: change number that all histories in use reach.
        before: reports received before this instant.
        last_before: last reports received before this one.
    """
    with store.database.transaction() as connection:
        connection.execute(sql.DROP_OLD_ORDERS, (up_to, before, last_before))


def drop_synced(store: Store, *, decisions: int, items: int, customers: int, rewards: int, before: int) -> None:
    """Delete what the dataset has of decisions (older than an instant) and rewards.

    Changes of an item stay in force until a bundle knows them, and changes of a customer may be asked for where no
    history is mapped: those of one become one row with all their fields.
    """
    _drop_in_pieces(store, sql.FIRST_DECISION, sql.DROP_OLD_DECISIONS, decisions, before)
    with store.database.transaction() as connection:
        connection.execute(sql.DROP_OLD_REWARDS, (rewards,))
        _merge(connection, "items", items)
        _merge(connection, "customers", customers)


def _merge(connection: Connection, table: str, up_to: int) -> None:
    names = {"table": table, "key": sql.MERGED_TABLES[table]}
    for (each,) in connection.execute(sql.CROWDED.format(**names), (up_to,)).fetchall():
        changes = connection.execute(sql.CHANGES_OF.format(**names), (each, up_to)).fetchall()
        merged, last = composed(fields_in(payload) for _, payload in changes), changes[-1][0]
        connection.execute(sql.MERGE_CHANGES.format(**names), (orjson.dumps(merged), last))
        connection.execute(sql.DROP_MERGED.format(**names), (each, last))


# --- looking ----------------------------------------------------------------------------------------------------------


def try_writing(store: Store) -> int:
    """Write something harmless; how many events were ever stored.

    Raises:
        Unavailable: the store takes no writes.
    """
    set_note(store, "last_checked", secrets.token_hex(4))
    return store.last_seq()
