"""What erasure does with a store: set tombstones, forget a subject, scrub decisions, keep receipts."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from features.history import customer_subject, visitor_subject
from serving import store_sql as sql
from serving.backend import Connection
from serving.events import StoredEvent, decode
from serving.held import holder_of
from serving.store import Store
from serving.store_latest import keep_latest
from serving.store_shown import forget_shown
from serving.tombstones import Erased, token_of

KEPT_OF_A_DECISION = (
    "decision_id", "request_id", "decided_at", "surface", "slot", "position", "draw_order", "eligible", "action_id",
    "items", "action_propensity", "drawn", "reused_from", "policy", "bundle_id", "shop_hash", "holdout", "arm",
    "fallback", "logged",
)  # fmt: skip
"""What stays of an erased subject's decision, under a random token: what was shown, how likely, what it brought."""


def random_token() -> str:
    """A name for nobody: stands where an erased customer's id stood, and no table leads back from it."""
    return f"erased-{secrets.token_hex(8)}"


def is_token(customer_id: str | None) -> bool:
    """Whether a customer's id is a name for nobody (`random_token`)."""
    return customer_id is not None and re.fullmatch(r"erased-[0-9a-f]{16}", customer_id) is not None


def scrubbed(decision: dict[str, Any], token: str) -> dict[str, Any]:
    """A decision without its subject: only `KEPT_OF_A_DECISION`, under the token."""
    return {name: decision[name] for name in KEPT_OF_A_DECISION if name in decision} | {"customer_id": token}


def bury(store: Store, tokens: Iterable[bytes], at: int) -> None:
    """Set tombstones, durably; from here on nothing new of these subjects is stored."""
    with store.database.transaction() as connection:
        connection.executemany(sql.ADD_TOMBSTONE, [(token, at) for token in tokens])
    store.erased()


def bury_customer(store: Store, secret: bytes, customer_id: str, visitors: Iterable[str], at: int) -> list[str]:
    """`bury` a customer, the visitors that the store links to him and those given, in one go: they are returned.

    Whoever forgets from the tombstones alone takes the links away: a visitor that is not buried by then never is.
    """
    with store.database.transaction() as connection:
        linked = [row[0] for row in connection.execute(sql.VISITORS_OF_CUSTOMER, (customer_id, 0)).fetchall()]
        theirs = sorted({*visitors, *linked})
        subjects = [customer_subject(customer_id), *map(visitor_subject, theirs)]
        connection.executemany(sql.ADD_TOMBSTONE, [(token_of(secret, subject), at) for subject in subjects])
    store.erased()
    return theirs


def forget(store: Store, customer_id: str | None, visitors: Collection[str]) -> dict[str, int]:
    """Delete a customer's rows and the anonymous rows of his visitors; decisions stay under one random token.

    What the deleted events brought to decisions stays as rewards of these decisions.

    Returns:
        How many rows of events, fields (`customers`, `visitorFields`) and orders were deleted and how many decisions
        scrubbed.
    """
    token = random_token()
    counts = {"events": 0, "decisions": 0, "customers": 0, "visitorFields": 0, "orders": 0}
    with store.database.transaction() as connection:
        keep_latest(connection)
        for whose, who in [*((_ANONYMOUS, v) for v in visitors), *([(_KNOWN, customer_id)] if customer_id else [])]:
            events = connection.execute(whose.rewarding, (who,)).fetchall()
            connection.executemany(sql.ADD_REWARD, rewards_of(decode(payload) for (payload,) in events))
            counts["decisions"] += _scrub(connection, whose.decisions, who, token)
            counts["events"] += connection.execute(whose.drop, (who,)).rowcount
        for subject in (holder_of(customer_id, None), *(holder_of(None, visitor) for visitor in visitors)):
            connection.execute(sql.DROP_HELD, (subject,))
            forget_shown(connection, [subject])
        for visitor in visitors:
            counts["visitorFields"] += connection.execute(sql.DROP_VISITOR, (visitor,)).rowcount
        if customer_id is not None:
            counts["customers"] = connection.execute(sql.DROP_CUSTOMER, (customer_id,)).rowcount
            counts["orders"] = connection.execute(sql.DROP_ORDERS, (customer_id,)).rowcount
            connection.execute(sql.DROP_LINKS_OF_CUSTOMER, (customer_id,))
    return counts


def customers_in(store: Store) -> list[str]:
    """Every customer of whom a row stands in the store."""
    return [row[0] for row in store.database.query(sql.ALL_CUSTOMERS)]


def subjects_under(store: Store, erased: Erased) -> tuple[list[str], list[str]]:
    """Customers and visitors under a tombstone of whom rows still stand in the store."""
    customers = [customer for customer in customers_in(store) if erased.customer(customer)]
    visitors = [row[0] for row in store.database.query(sql.ALL_ANONYMOUS) if erased.visitor(row[0])]
    return customers, visitors


@dataclass(frozen=True)
class _Whose:
    """The statements on the rows of one kind of subject."""

    rewarding: str
    decisions: str
    drop: str


_KNOWN = _Whose(sql.REWARDING_EVENTS_OF_CUSTOMER, sql.DECISIONS_OF_CUSTOMER, sql.DROP_EVENTS_OF_CUSTOMER)
_ANONYMOUS = _Whose(sql.REWARDING_ANONYMOUS_EVENTS, sql.ANONYMOUS_DECISIONS, sql.DROP_ANONYMOUS_EVENTS)


def _scrub(connection: Connection, decisions: str, who: str, token: str) -> int:
    rows = connection.execute(decisions, (who,)).fetchall()
    for seq, payload in rows:
        decision = scrubbed(orjson.loads(payload), token)
        connection.execute(sql.SCRUB_DECISION, (token, orjson.dumps(decision), seq))
    return len(rows)


def rewards_of(events: Iterable[StoredEvent]) -> list[tuple[str, str, float, int]]:
    """What events brought to the decisions that they name: (decision id, reward, value, instant).

    The value is the line's money where a price is known, else 1: it happened.
    """
    rewards = []
    for event in events:
        if event.decision_id is not None:
            quantity = 1.0 if event.quantity is None else event.quantity
            value = 1.0 if event.unit_price is None else event.unit_price * quantity - (event.discount or 0.0)
            rewards.append((event.decision_id, event.type, value, event.occurred_at))
    return rewards


# --- receipts ---------------------------------------------------------------------------------------------------------


def put_receipt(store: Store, receipt: dict[str, Any], token: bytes, at: int) -> None:
    """Write a receipt (`receiptId, kind, state` and more) of the subject under a tombstone, or its next state."""
    row = (receipt["receiptId"], receipt["kind"], token, receipt["state"], orjson.dumps(receipt), at)
    with store.database.transaction() as connection:
        connection.execute(sql.PUT_RECEIPT, row)


def receipt_of(store: Store, token: bytes) -> dict[str, Any] | None:
    """The latest receipt for a tombstone, or None."""
    return _receipt(store.database.query(sql.RECEIPT_OF_SUBJECT, (token,)))


def receipt_by_id(store: Store, receipt_id: str) -> dict[str, Any] | None:
    """A receipt, or None when there is none of that id."""
    return _receipt(store.database.query(sql.RECEIPT, (receipt_id,)))


def _receipt(rows: list[Any]) -> dict[str, Any] | None:
    return orjson.loads(rows[0][0]) if rows else None


def receipts_in(store: Store, state: str) -> list[tuple[dict[str, Any], bytes]]:
    """Receipts in a state, oldest first, each with its tombstone."""
    return [(orjson.loads(payload), token) for payload, token in store.database.query(sql.RECEIPTS_IN_STATE, (state,))]
