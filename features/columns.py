"""Every column name, once. `from features import columns as c`, then `c.ITEM_ID`."""

from __future__ import annotations

from typing import Final

# who
CUSTOMER_ID: Final = "customer_id"
VISITOR_ID: Final = "visitor_id"
SESSION_ID: Final = "session_id"
ACCOUNT_ID: Final = "account_id"

# what
EVENT_ID: Final = "event_id"
TYPE: Final = "type"
ITEM_ID: Final = "item_id"
PRODUCT_ID: Final = "product_id"
ACTION_ID: Final = "action_id"
DECISION_ID: Final = "decision_id"
REQUEST_ID: Final = "request_id"
ORDER_ID: Final = "order_id"
LINE: Final = "line"
QUANTITY: Final = "quantity"
UNIT_PRICE: Final = "unit_price"
DISCOUNT: Final = "discount"
COUPON: Final = "coupon"
CHANNEL: Final = "channel"
TITLE: Final = "title"
CATEGORY: Final = "category"
BRAND: Final = "brand"
PRICE: Final = "price"

# when
OCCURRED_AT: Final = "occurred_at"
RECORDED_AT: Final = "recorded_at"
VALID_FROM: Final = "valid_from"
LINKED_AT: Final = "linked_at"
DECIDED_AT: Final = "decided_at"

# context of an event or a request
TRAFFIC_SOURCE: Final = "traffic_source"
REFERRER: Final = "referrer"
DEVICE: Final = "device"
REGION: Final = "region"
ATTRIBUTES: Final = "attributes"

# where a row comes from
SOURCE: Final = "source"
REVISION: Final = "revision"
WITHDRAWN: Final = "withdrawn"
CONTENT_HASH: Final = "content_hash"
