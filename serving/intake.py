"""What comes in: events and item changes, each accepted or rejected with its reason, durable before acknowledged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from features.errors import DataError, KokyakuError, RequestError
from features.kinds import EVENT_TYPES, NEEDS_ITEM
from features.moments import CALENDAR, MINUTE, format_instant, parse_instant
from serving.decide import new_id
from serving.engine import Engine
from serving.events import StoredEvent
from serving.strict import nearest
from serving.watch import watching
from serving.wire import EventIn, EventsRequest, ItemsRequest, decode

AHEAD = 5 * MINUTE
"""A client's clock may run this far ahead; what claims to be later is rejected."""

_REFUSALS = {
    "collision": ("eventId", "another event has this id and other content"),
    "erased": ("userId", "this person asked to be forgotten"),
}


async def take_events(
    engine: Engine, request: EventsRequest, now: int, read: Callable[[msgspec.Raw, int], StoredEvent] | None = None
) -> dict[str, Any]:
    """`POST /v1/events`: acknowledged only once they would survive a power loss.

    Args:
        engine: whose store takes them.
        request: the batch.
        now: the instant of its arrival.
        read: one event, checked; None: `read_event`.
    """
    rejected: list[dict[str, Any]] = []
    good: list[tuple[int, StoredEvent]] = []
    for index, raw in enumerate(request.events):
        try:
            good.append((index, (read or read_event)(raw, now)))
        except RequestError as error:
            rejected.append({"index": index, **error_body(error)})
    stored = await engine.store.append([event for _, event in good]) if good else []
    outcomes = list(zip(good, stored, strict=True))
    for (index, _event), outcome in outcomes:
        if outcome in _REFUSALS:
            field, what = _REFUSALS[outcome]
            rejected.append({"index": index, "code": outcome, "message": what, "field": field})
    for outcome, count in Counter(stored).items():
        if outcome not in _REFUSALS:
            watching().count("events", outcome, "", by=count)
    for code, count in Counter(each["code"] for each in rejected).items():
        watching().count("events", "rejected", code, by=count)
    return {
        "accepted": sum(outcome == "accepted" for _, outcome in outcomes),
        "duplicates": sum(outcome == "duplicate" for _, outcome in outcomes),
        "rejected": sorted(rejected, key=lambda entry: int(entry["index"])),
        "eventIds": [event.event_id for (_, event), outcome in outcomes if outcome not in _REFUSALS],
    }


def read_event(raw: msgspec.Raw, now: int) -> StoredEvent:
    """One event of a batch, checked.

    Raises:
        RequestError: an unknown type, no subject, no item where the type needs one, a time that is not one or that
            lies more than five minutes ahead.
    """
    return stored_event(decode(raw, EventIn), now)


def stored_event(event: EventIn, now: int) -> StoredEvent:
    """`read_event` of what is decoded already.

    Raises:
        RequestError: as `read_event`.
    """
    if event.type not in EVENT_TYPES:
        raise RequestError(
            "unknown event type", where="type", got=event.type, hint=nearest(event.type, list(EVENT_TYPES))
        )
    if event.user_id is None and event.visitor_id is None:
        raise RequestError("name a userId or a visitorId", where="userId")
    if event.item_id is None and event.type in NEEDS_ITEM:
        raise RequestError(f"a {event.type} event needs an item", where="itemId")
    occurred = now if event.occurred_at is None else parse_moment(event.occurred_at)
    if occurred > now + AHEAD:
        hint = "send events when they happen, or mend the clock"
        raise RequestError("a time in the future", where="occurredAt", got=event.occurred_at, hint=hint)
    context = event.context
    return StoredEvent(
        event_id=event.event_id or new_id(),
        # A clock that runs a little ahead must not hide the event from the next request.
        occurred_at=min(occurred, now), recorded_at=now, type=event.type,
        customer_id=event.user_id, visitor_id=event.visitor_id, session_id=event.session_id, item_id=event.item_id,
        quantity=event.quantity, unit_price=event.unit_price, discount=event.discount, coupon=event.coupon,
        order_id=event.order_id, line=event.line, channel=event.channel, decision_id=event.decision_id,
        traffic_source=context.traffic_source, referrer=context.referrer, device=context.device,
        region=context.region, attributes=event.properties,
    )  # fmt: skip


def parse_moment(text: str, where: str = "occurredAt") -> int:
    """An ISO time of the wire, in a field of that name.

    Raises:
        RequestError: not a time, one without a zone, or one that no shop means (`CALENDAR`).
    """
    try:
        instant = parse_instant(text, where=where)
    except DataError as error:
        raise RequestError(error.what, where=where, got=text, hint=error.hint) from None
    if not CALENDAR[0] <= instant < CALENDAR[1]:
        hint = "a time that nobody knows is left out"
        raise RequestError("a time outside the calendar", where=where, got=text, hint=hint)
    return instant


def take_items(engine: Engine, request: ItemsRequest, now: int) -> dict[str, Any]:
    """`POST /v1/items`: upserts, prices, stock and withdrawals, in force with the next request."""
    changes = [(item.item_id, changed_fields(item)) for item in request.items]
    engine.store.put_items(changes, now)
    engine.refresh_shelf()
    return {"accepted": len(changes), "inForceAt": format_instant(now)}


def changed_fields(item: msgspec.Struct) -> dict[str, Any]:
    """Only what the request names, in the wire's words."""
    data: dict[str, Any] = msgspec.to_builtins(item)
    return {key: value for key, value in data.items() if value is not None and key != "itemId"}


def error_body(error: KokyakuError) -> dict[str, Any]:
    """Code, message and field of an error, as every answer gives them.

    Where it is on our side, the place is a path or a host, which is the operator's to know: the log has it.
    """
    ours = error.status >= 500
    parts = [error.what]
    if error.got is not None and not ours:
        parts.append(f"got {error.got}")
    if error.hint and not (ours and "/" in error.hint):
        parts.append(error.hint)
    return {"code": error.code, "message": "; ".join(parts), "field": None if ours else error.where or None}
