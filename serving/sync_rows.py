"""The store's rows as rows of the dataset's tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import duckdb
import msgspec
import orjson
import pyarrow as pa

from features import columns as c
from features.moments import to_datetime
from features.order_reports import Report
from features.schemas import CUSTOMERS, DECISIONS, EVENTS, IDENTITIES, ITEMS, ORDERS, OUTCOMES
from features.text import stable_hash
from serving.events import StoredEvent
from serving.fields import GUEST, composed, plain, snake

SOURCE = "store"
Row = Mapping[str, Any]
Change = tuple[str, dict[str, Any], int]
"""Whose it is, the changed fields as on the wire, and when."""
JSON_COLUMNS = {
    "eligible", "vetoed", "features", "context", "attributes", "answers", "asked", "shown", "consents",
    "projects",
}  # fmt: skip
ORDER_COLUMNS: Mapping[str, str] = {
    "order_id": c.ORDER_ID, "line": c.LINE, "at": c.VALID_FROM, "item_id": c.ITEM_ID, "quantity": c.QUANTITY,
    "ordered_at": "ordered_at", "promised_at": "promised_at", "payment_state": "payment_state",
    "state": "shipment_state", "text": "state_text", "image_url": "state_image_url", "tracking_url": "tracking_url",
    "confirmed_for": "confirmed_for", "place": "pickup_place", "hours": "pickup_hours", "gift": "gift",
    "subscription": "subscription",
}  # fmt: skip
"""Fields of `features.order_reports.Report` -> columns of `orders`."""
_AT_ONCE = 50_000
_DECISION_DEFAULTS: Mapping[str, Any] = {
    c.REQUEST_ID: "", "surface": "", "slot": "", "position": 0, "draw_order": 0, "eligible": [], "vetoed": [],
    "action_propensity": 1.0, "drawn": True, "policy": "", "bundle_id": "", "shop_hash": "", "holdout": False,
    "logged": True, c.SOURCE: SOURCE,
}  # fmt: skip


def streamed(connection: duckdb.DuckDBPyConnection, query: str) -> Iterator[dict[str, Any]]:
    """The rows of a query over the dataset, a stretch of them in memory at a time."""
    for batch in connection.sql(query).to_arrow_reader(_AT_ONCE):
        yield from batch.to_pylist()


def events_table(events: Iterable[StoredEvent]) -> pa.Table:
    """Events in the schema of today, as first revisions."""
    fields = [name for name in EVENTS.names if name in StoredEvent.__struct_fields__]
    rows = []
    for event in events:
        row = {name: getattr(event, name) for name in fields}
        row[c.ATTRIBUTES] = None if event.attributes is None else msgspec.json.encode(event.attributes).decode()
        constant = {c.SOURCE: SOURCE, c.REVISION: 0, c.WITHDRAWN: False, c.CONTENT_HASH: content_hash(event)}
        rows.append(row | constant)
    return pa.Table.from_pylist(rows, schema=EVENTS)


def content_hash(event: StoredEvent) -> int:
    """64 bits of all that the event says, except when it was received."""
    said = msgspec.structs.replace(event, recorded_at=0)
    return stable_hash(msgspec.json.encode(said, order="deterministic").decode())


def decisions_table(decisions: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Logged decisions in the schema of today; fields that the schema lacks are left out."""
    rows = [{**_DECISION_DEFAULTS, **{k: v for k, v in each.items() if v is not None}} for each in decisions]
    return pa.Table.from_pylist([_columns(row, DECISIONS) for row in rows], schema=DECISIONS)


def identities_table(links: Iterable[tuple[str, str, int]]) -> pa.Table:
    """Links as (visitor id, customer id, instant)."""
    rows = [{c.VISITOR_ID: v, c.CUSTOMER_ID: who, c.LINKED_AT: at, c.SOURCE: SOURCE} for v, who, at in links]
    return pa.Table.from_pylist(rows, schema=IDENTITIES)


def outcomes_table(rewards: Iterable[tuple[str, str, float, int]]) -> pa.Table:
    """Rewards as (decision id, reward, value, instant)."""
    rows = [{c.DECISION_ID: d, "reward": r, "value": v, "at": at, c.SOURCE: SOURCE} for d, r, v, at in rewards]
    return pa.Table.from_pylist(rows, schema=OUTCOMES)


def orders_table(reports: Iterable[tuple[str, Report]]) -> pa.Table:
    """Reports of order lines as (customer id, report): one version each, with what it names and nothing else."""
    rows = []
    for customer_id, report in reports:
        row = {column: getattr(report, name) for name, column in ORDER_COLUMNS.items()}
        row |= {c.CUSTOMER_ID: customer_id, "shipment_state": report.state or None, c.SOURCE: SOURCE}
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=ORDERS)


def items_table(latest: Mapping[str, Row], changes: Sequence[Change]) -> pa.Table:
    """Versions of items.

    Args:
        latest: the dataset's latest version of each changed item that it has.
        changes: (item id, changed fields as on the wire, instant), oldest first.
    """
    rows = _versions(latest, changes, c.ITEM_ID, ITEMS, lambda _, fields, at: _from_wire(fields, at))
    return pa.Table.from_pylist(rows, schema=ITEMS)


def customers_table(latest: Mapping[str, Row], in_force: Mapping[str, Row], changes: Sequence[Change]) -> pa.Table:
    """Versions of customers, as `items_table` makes them of items; maps change key by key (`serving.fields`).

    What was told before the latest version and is synced after it is told once more right after it, for that version
    could not know it.

    Args:
        latest: the dataset's latest version of each changed customer that it has.
        in_force: the one that was in force when the first of the changes was told, where that is an earlier one.
        changes: (customer id, changed fields as on the wire, instant), oldest first.
    """
    early: list[Change] = []
    late: list[Change] = []
    for change in changes:
        each, _, at = change
        (early if each in latest and to_datetime(at) <= _since(latest[each]) else late).append(change)
    again = {
        row[c.CUSTOMER_ID]: {**row, c.VALID_FROM: _since(latest[row[c.CUSTOMER_ID]]) + timedelta(microseconds=1)}
        for row in _customers(latest, early)
    }
    rows = [*_customers(in_force, early), *again.values(), *_customers({**latest, **again}, late)]
    return pa.Table.from_pylist(rows, schema=CUSTOMERS)


def _customers(before: Mapping[str, Row], changes: Sequence[Change]) -> list[Row]:
    return _versions(before, changes, c.CUSTOMER_ID, CUSTOMERS, lambda row, fields, _: _changed(row, fields))


def _since(row: Row) -> datetime:
    since: datetime = row[c.VALID_FROM]
    return since


def _versions(
    latest: Mapping[str, Row],
    changes: Sequence[Change],
    key: str,
    schema: pa.Schema,
    changed: Callable[[Row, Row, int], Row],
) -> list[Row]:
    """Each change over the version before it: a version is a whole row, so what was not named is repeated."""
    now: dict[str, dict[str, Any]] = {}
    versions: dict[tuple[str, int], dict[str, Any]] = {}
    for each, fields, at in changes:
        before = now.get(each) or dict(latest.get(each, {}))
        row = before | _columns(changed(before, fields, at), schema)
        row |= {key: each, c.VALID_FROM: to_datetime(at), c.SOURCE: SOURCE}
        now[each] = versions[each, at] = row
    return list(versions.values())


def _changed(before: Row, change: Row) -> dict[str, Any]:
    """The columns that a change of a customer's fields touches, as they are after it."""
    named = {*change, *(change.get(GUEST) or {})} - {GUEST}
    past = {name: _parsed(snake(name), before.get(snake(name))) for name in named}
    after = plain(composed([{name: value for name, value in past.items() if value is not None}, change]))
    return {snake(name): after.get(name) for name in named}


def _parsed(name: str, value: Any) -> Any:
    return parsed(value) if name in JSON_COLUMNS else value


def parsed(text: Any) -> Any:
    """JSON text as what it says; None where it is none."""
    try:
        return None if text is None else orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _from_wire(fields: Mapping[str, Any], at: int) -> dict[str, Any]:
    named = {snake(name): value for name, value in fields.items()}
    withdraw = named.pop("withdraw", None)
    if withdraw is not None:
        named["available_until"] = to_datetime(at) if withdraw else None
        named.setdefault("in_stock", not withdraw)
    return named


def _columns(fields: Mapping[str, Any], schema: pa.Schema) -> dict[str, Any]:
    """Only what the schema has; open-ended values as JSON text."""
    return {name: _text(name, value) for name, value in fields.items() if name in schema.names}


def _text(name: str, value: Any) -> Any:
    if name not in JSON_COLUMNS or value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()
