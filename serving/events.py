"""Events as the store keeps them, and their way into a history.

A stored event is what a client sent, with the moment at which the shop received it. Its JSON holds only the fields
that were given, so that fields added later read as "not given" in older rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from features.errors import DataError
from features.history import History
from features.ids import Vocabulary
from features.kinds import event_code
from features.text import event_key

_WORD = 2**63


class StoredEvent(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One event of a customer or visitor. Instants are microseconds since 1970 in UTC.

    Args:
        event_id: unique in the shop; sending it again changes nothing.
        occurred_at: when it happened; equal to `recorded_at` where the client named no time.
        recorded_at: when the shop received it.
        type: an event type of `features.kinds` or one that the shop declared.
        discount: of the whole line, in the money of `unit_price`.
        attributes: further fields of the shop's own.
    """

    event_id: str
    occurred_at: int
    recorded_at: int
    type: str
    customer_id: str | None = None
    visitor_id: str | None = None
    session_id: str | None = None
    item_id: str | None = None
    quantity: float | None = None
    unit_price: float | None = None
    discount: float | None = None
    coupon: str | None = None
    order_id: str | None = None
    line: str | None = None
    channel: str | None = None
    decision_id: str | None = None
    traffic_source: str | None = None
    referrer: str | None = None
    device: str | None = None
    region: str | None = None
    attributes: dict[str, Any] | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(StoredEvent)


def encode(event: StoredEvent) -> bytes:
    """The JSON under which the store keeps an event.

    Raises:
        DataError: text that is not Unicode, a value that JSON cannot hold, or an instant beyond 64 bits.
    """
    if not (-_WORD <= event.occurred_at < _WORD and -_WORD <= event.recorded_at < _WORD):
        raise DataError("a time beyond all calendars", where="occurredAt", got=event.occurred_at)
    try:
        return _encoder.encode(event)
    except (UnicodeEncodeError, TypeError, RecursionError) as error:
        raise DataError("an event that cannot be written as JSON", where="events", got=str(error)) from None


def decode(payload: bytes) -> StoredEvent:
    """Read what `encode` gave."""
    return _decoder.decode(payload)


def same_content(one: StoredEvent, other: StoredEvent) -> bool:
    """Whether two events of one id say the same.

    When the shop received them does not count; nor does the time where a client left it to the shop, because its
    second attempt was stamped later.
    """
    stamped = one.occurred_at == one.recorded_at or other.occurred_at == other.recorded_at
    neutral = {"recorded_at": 0, "occurred_at": 0} if stamped else {"recorded_at": 0}
    return bool(msgspec.structs.replace(one, **neutral) == msgspec.structs.replace(other, **neutral))


def to_history(events: Sequence[StoredEvent], items: Vocabulary) -> History:
    """Stored events of one subject as columns, oldest first.

    The same rules as `features.build`: a missing quantity is one, a value needs a price, items that the vocabulary
    lacks are -1, ties in time are ordered by key.

    Args:
        events: in any order.
        items: the vocabulary that `History.item` shall point into.
    """
    if not events:
        return History.empty()
    quantity = _column([event.quantity for event in events], 1.0)
    discount = _column([event.discount for event in events], 0.0)
    price = _column([event.unit_price for event in events], np.nan)
    time = np.array([event.occurred_at for event in events], np.int64)
    key = np.array([event_key(event.event_id) for event in events], np.uint64)
    history = History(
        time=time,
        recorded=np.array([event.recorded_at for event in events], np.int64),
        item=_item_rows(events, items),
        type=np.array([event_code(event.type) for event in events], np.int8),
        quantity=quantity.astype(np.float32),
        value=(price * quantity - discount).astype(np.float32),
        key=key,
    )
    return history.take(np.lexsort((key, time)))


def _column(values: list[float | None], missing: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([missing if value is None else value for value in values], np.float64)


def _item_rows(events: Sequence[StoredEvent], items: Vocabulary) -> np.ndarray[Any, np.dtype[np.int32]]:
    names = [event.item_id for event in events]
    distinct = [name for name in dict.fromkeys(names) if name is not None]  # each is looked up once
    found: dict[str | None, int] = dict(zip(distinct, items.rows_of(distinct).tolist(), strict=True))
    return np.array([found.get(name, -1) for name in names], np.int32)
