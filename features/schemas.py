"""The tables of a dataset: one schema each, in one place, versioned.

Every instant is `timestamp[us, UTC]`; every id is a non-empty string; open-ended fields (attributes, answers,
consents, the decision's distribution) are JSON text, because their keys belong to the shop.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from features import columns as c

SCHEMA_VERSION: Final = 1

INSTANT: Final = pa.timestamp("us", tz="UTC")
TEXT: Final = pa.string()
JSON_TEXT: Final = pa.string()
NUMBER: Final = pa.float64()


def _table(name: str, *fields: tuple[str, pa.DataType] | tuple[str, pa.DataType, bool]) -> pa.Schema:
    """A schema; a third element `True` marks a column that must not be null."""
    return pa.schema(
        [pa.field(f[0], f[1], nullable=not (len(f) == 3 and f[2])) for f in fields],
        metadata={"kokyaku.table": name, "kokyaku.schema_version": str(SCHEMA_VERSION)},
    )


EVENTS: Final = _table(
    "events",
    (c.EVENT_ID, TEXT, True),
    (c.OCCURRED_AT, INSTANT, True),
    (c.RECORDED_AT, INSTANT, True),
    (c.CUSTOMER_ID, TEXT),
    (c.VISITOR_ID, TEXT),
    (c.SESSION_ID, TEXT),
    (c.TYPE, TEXT, True),
    (c.ITEM_ID, TEXT),
    (c.QUANTITY, NUMBER),
    (c.UNIT_PRICE, NUMBER),
    (c.DISCOUNT, NUMBER),  # of the whole line, tax as in unit_price
    (c.COUPON, TEXT),
    (c.ORDER_ID, TEXT),
    (c.LINE, TEXT),
    (c.CHANNEL, TEXT),
    (c.DECISION_ID, TEXT),
    (c.TRAFFIC_SOURCE, TEXT),
    (c.REFERRER, TEXT),
    (c.DEVICE, TEXT),
    (c.REGION, TEXT),
    (c.ATTRIBUTES, JSON_TEXT),
    (c.SOURCE, TEXT, True),
    (c.REVISION, pa.int32(), True),  # 0, then 1, 2 ... as later files amend the same event_id
    (c.WITHDRAWN, pa.bool_(), True),  # an amendment that cancels the line
    (c.CONTENT_HASH, pa.uint64(), True),  # tells "the same row again" from "the same id with other content"
)

ITEMS: Final = _table(
    "items",
    (c.ITEM_ID, TEXT, True),
    (c.VALID_FROM, INSTANT, True),
    (c.PRODUCT_ID, TEXT),
    ("successor_id", TEXT),
    (c.TITLE, TEXT),
    (c.CATEGORY, pa.list_(TEXT)),  # the path, widest first
    (c.BRAND, TEXT),
    (c.PRICE, NUMBER),
    ("tax_included", pa.bool_()),
    ("tax_rate", NUMBER),
    ("unit_cost", NUMBER),
    (c.ATTRIBUTES, JSON_TEXT),
    ("tags", pa.list_(TEXT)),
    ("in_stock", pa.bool_()),
    ("available_from", INSTANT),
    ("available_until", INSTANT),
    ("lead_time_days", NUMBER),
    ("image_url", TEXT),
    ("private", pa.bool_()),
    ("age_limited", pa.bool_()),
    (c.SOURCE, TEXT, True),
)

CUSTOMERS: Final = _table(
    "customers",
    (c.CUSTOMER_ID, TEXT, True),
    (c.VALID_FROM, INSTANT, True),
    (c.ACCOUNT_ID, TEXT),
    (c.REGION, TEXT),
    ("postal_prefix", TEXT),
    (c.ATTRIBUTES, JSON_TEXT),
    ("answers", JSON_TEXT),
    ("tier", TEXT),
    ("points", NUMBER),
    ("consents", JSON_TEXT),  # purpose -> {granted, wording, source, at}
    ("time_zone", TEXT),
    ("channels", pa.list_(TEXT)),
    ("name", TEXT),  # how they want to be greeted
    ("asked", JSON_TEXT),  # question -> instant at which it was answered or skipped
    ("shown", JSON_TEXT),  # question -> instant at which it was put first
    ("projects", JSON_TEXT),  # [{kind, note, since, until, source}, ...]
    (c.SOURCE, TEXT, True),
)

IDENTITIES: Final = _table(
    "identities",
    (c.VISITOR_ID, TEXT, True),
    (c.CUSTOMER_ID, TEXT, True),
    (c.LINKED_AT, INSTANT, True),
    (c.SOURCE, TEXT, True),
)

ORDERS: Final = _table(
    "orders",
    (c.ORDER_ID, TEXT, True),
    (c.LINE, TEXT, True),
    (c.VALID_FROM, INSTANT, True),
    (c.CUSTOMER_ID, TEXT),
    (c.ITEM_ID, TEXT),
    (c.QUANTITY, NUMBER),
    ("ordered_at", INSTANT),
    ("promised_at", INSTANT),  # null: as the version before said
    ("payment_state", TEXT),
    ("shipment_state", TEXT),
    ("state_text", TEXT),
    ("state_image_url", TEXT),
    ("tracking_url", TEXT),
    ("confirmed_for", INSTANT),  # the moment that the carrier named
    ("pickup_place", TEXT),
    ("pickup_hours", TEXT),
    ("gift", pa.bool_()),
    ("subscription", TEXT),
    (c.SOURCE, TEXT, True),
)

ACTIONS: Final = _table(
    "actions",
    (c.ACTION_ID, TEXT, True),
    (c.VALID_FROM, INSTANT, True),
    ("kind", TEXT, True),
    ("texts", JSON_TEXT),
    ("eligibility", JSON_TEXT),
    ("value", NUMBER),
    ("cost", NUMBER),
    ("capacity", pa.int64()),
    ("starts_at", INSTANT),
    ("ends_at", INSTANT),
    ("caps", JSON_TEXT),
    (c.SOURCE, TEXT, True),
)
ACTION_KINDS: Final = (
    "content",
    "guide",
    "video",
    "tip",
    "offer",
    "exclusive",
    "early_access",
    "event",
    "status",
    "question",
    "invite",
    "products",
)

DECISIONS: Final = _table(
    "decisions",
    (c.DECISION_ID, TEXT, True),
    (c.REQUEST_ID, TEXT, True),
    (c.DECIDED_AT, INSTANT, True),
    (c.VISITOR_ID, TEXT),
    (c.CUSTOMER_ID, TEXT),
    ("surface", TEXT, True),  # e.g. "api.recommendations", "page.home", "email"
    ("slot", TEXT, True),
    ("position", pa.int32(), True),  # 0-based place of the slot on its page
    ("draw_order", pa.int32(), True),
    (
        "eligible",
        JSON_TEXT,
        True,
    ),  # [[action_id or null, probability or null], ...], at most 50 where we draw; null: not recorded
    ("vetoed", JSON_TEXT, True),  # [[action_id, reason], ...]
    (c.ACTION_ID, TEXT),  # null is an action: nothing was shown
    ("items", pa.list_(TEXT)),
    ("action_propensity", NUMBER, True),  # NaN: nobody recorded it
    ("drawn", pa.bool_(), True),  # False: reused from an earlier decision, or deterministic after a failure
    ("reused_from", TEXT),
    ("policy", TEXT, True),
    ("bundle_id", TEXT, True),
    ("shop_hash", TEXT, True),
    (
        "features",
        JSON_TEXT,
    ),  # {"names": [...], "rows": [[...], ...], "categorical": [...]}; one row, or one an item (`serving.logged_rows`)
    ("context", JSON_TEXT),  # what the request told of where it came from: region, device, source, page's category ...
    ("holdout", pa.bool_(), True),
    ("arm", TEXT),  # of a standing experiment
    ("fallback", TEXT),
    ("logged", pa.bool_(), True),
    (c.SOURCE, TEXT, True),
)

OUTCOMES: Final = _table(
    "outcomes",
    (c.DECISION_ID, TEXT, True),
    ("reward", TEXT, True),
    ("value", NUMBER, True),
    ("margin", NUMBER),
    ("at", INSTANT),
    (c.SOURCE, TEXT, True),
)

TABLES: Final[dict[str, pa.Schema]] = {
    "events": EVENTS,
    "items": ITEMS,
    "customers": CUSTOMERS,
    "identities": IDENTITIES,
    "orders": ORDERS,
    "actions": ACTIONS,
    "decisions": DECISIONS,
    "outcomes": OUTCOMES,
}

PARTITIONED: Final = {"events": c.OCCURRED_AT, "decisions": c.DECIDED_AT}
"""Tables that grow without end lie in one folder a month, by this column."""


def empty(table: str) -> pa.Table:
    """A table of that schema without rows."""
    return TABLES[table].empty_table()
