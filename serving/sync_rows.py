"""The store's rows as rows of the dataset's tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import orjson
import pyarrow as pa

from features import columns as c
from features.moments import to_datetime
from features.schemas import CUSTOMERS, DECISIONS, EVENTS, IDENTITIES, ITEMS, OUTCOMES
from features.text import stable_hash
from serving.events import StoredEvent

SOURCE = "store"
_JSON_COLUMNS = {"eligible", "vetoed", "features", "attributes", "answers", "asked", "consents", "projects"}
_DECISION_DEFAULTS: Mapping[str, Any] = {
    c.REQUEST_ID: "", "surface": "", "slot": "", "position": 0, "draw_order": 0, "eligible": [], "vetoed": [],
    "action_propensity": 1.0, "drawn": True, "policy": "", "bundle_id": "", "shop_hash": "", "holdout": False,
    "logged": True, c.SOURCE: SOURCE,
}  # fmt: skip


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


def items_table(
    latest: Mapping[str, Mapping[str, Any]], changes: Sequence[tuple[str, dict[str, Any], int]]
) -> pa.Table:
    """Versions of items.

    Args:
        latest: the dataset's latest version of each changed item that it has.
        changes: (item id, changed fields as on the wire, instant), oldest first.
    """
    return _versions(latest, changes, c.ITEM_ID, ITEMS)


def customers_table(
    latest: Mapping[str, Mapping[str, Any]], changes: Sequence[tuple[str, dict[str, Any], int]]
) -> pa.Table:
    """Versions of customers, as `items_table` makes them of items."""
    return _versions(latest, changes, c.CUSTOMER_ID, CUSTOMERS)


def _versions(
    latest: Mapping[str, Mapping[str, Any]],
    changes: Sequence[tuple[str, dict[str, Any], int]],
    key: str,
    schema: pa.Schema,
) -> pa.Table:
    """Each change over the version before it: a version is a whole row, so what was not named is repeated."""
    now: dict[str, dict[str, Any]] = {}
    versions: dict[tuple[str, int], dict[str, Any]] = {}
    for each, fields, at in changes:
        before = now.get(each) or dict(latest.get(each, {}))
        row = before | _columns(_from_wire(fields, at), schema)
        row |= {key: each, c.VALID_FROM: to_datetime(at), c.SOURCE: SOURCE}
        now[each] = versions[each, at] = row
    return pa.Table.from_pylist(list(versions.values()), schema=schema)


def _from_wire(fields: Mapping[str, Any], at: int) -> dict[str, Any]:
    named = {_snake(name): value for name, value in fields.items()}
    withdraw = named.pop("withdraw", None)
    if withdraw is not None:
        named["available_until"] = to_datetime(at) if withdraw else None
        named.setdefault("in_stock", not withdraw)
    return named


def _columns(fields: Mapping[str, Any], schema: pa.Schema) -> dict[str, Any]:
    """Only what the schema has; open-ended values as JSON text."""
    return {name: _text(name, value) for name, value in fields.items() if name in schema.names}


def _text(name: str, value: Any) -> Any:
    if name not in _JSON_COLUMNS or value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
