"""What comes in about people: order reports, fields, answers and consents, durable before acknowledged."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from features.errors import ConfigError, RequestError
from features.kinds import SHIPMENT_STATES
from features.moments import DAY, day_start, format_instant, to_datetime, zone
from features.order_reports import Report
from serving import person
from serving.config import ShopConfig
from serving.engine import Engine
from serving.fields import Fields
from serving.intake import AHEAD, error_body, parse_moment
from serving.live import Live
from serving.strict import nearest
from serving.wire import decode
from serving.wire_people import AnswerRequest, ConsentRequest, OrderIn, OrdersRequest, ProjectIn, UpdateRequest

PURPOSES = (person.PERSONALIZATION, person.MARKETING, person.TRAINING)
_REFUSALS = {
    "collision": ("userId", "this order line is another customer's"),
    "erased": ("userId", "this person asked to be forgotten"),
}


class ErasedError(RequestError):
    """Something new of a person who asked to be forgotten."""

    code = "erased"
    status = 409


def take_orders(engine: Engine, request: OrdersRequest, now: int) -> dict[str, Any]:
    """`POST /v1/orders`: acknowledged only once it would survive a power loss; told again it changes nothing."""
    rejected: list[dict[str, Any]] = []
    good: list[tuple[int, tuple[str, Report]]] = []
    for index, raw in enumerate(request.orders):
        try:
            good.append((index, read_order(raw, now, engine.live.config.shop.time_zone)))
        except RequestError as error:
            rejected.append({"index": index, **error_body(error)})
    outcomes = engine.store.put_orders([report for _, report in good], now) if good else []
    for (index, _), outcome in zip(good, outcomes, strict=True):
        if outcome in _REFUSALS:
            field, what = _REFUSALS[outcome]
            rejected.append({"index": index, "code": outcome, "message": what, "field": field})
    return {
        "accepted": outcomes.count("accepted"),
        "duplicates": outcomes.count("duplicate"),
        "rejected": sorted(rejected, key=lambda entry: int(entry["index"])),
    }


def read_order(raw: msgspec.Raw, now: int, time_zone: str) -> tuple[str, Report]:
    """One report of a batch, checked: (customer id, report).

    A bare date is a day of the shop: what is promised for it comes by its end, what is confirmed for it in its middle.

    Raises:
        RequestError: an unknown state, an address that is none, a time that is not one; `at` or `orderedAt` more than
            five minutes ahead.
    """
    order = decode(raw, OrderIn)
    state = order.shipment_state or ""
    if state and state not in SHIPMENT_STATES:
        hint = nearest(state, SHIPMENT_STATES)
        raise RequestError("unknown shipment state", where="shipmentState", got=state, hint=hint)
    at = _past(order.at, "at", now)
    return order.user_id, Report(
        order_id=order.order_id, line=order.line, at=now if at is None else at, item_id=order.item_id,
        quantity=order.quantity, ordered_at=_past(order.ordered_at, "orderedAt", now),
        promised_at=_of_day(order.promised_at, "promisedAt", time_zone, DAY - 1),
        payment_state=order.payment_state, state=state,
        text=order.text, image_url=order.image_url, tracking_url=order.tracking_url,
        confirmed_for=_of_day(order.confirmed_for, "confirmedFor", time_zone, DAY // 2), place=order.pickup_place,
        hours=order.pickup_hours, gift=order.gift, subscription=order.subscription, stamped=at is None,
    )  # fmt: skip


def take_update(engine: Engine, request: UpdateRequest, now: int) -> dict[str, Any]:
    """`POST /v1/customers/update`: in force with the next request.

    Raises:
        RequestError: a time zone or a time that is none.
        ErasedError: the customer asked to be forgotten.
    """
    fields: dict[str, Any] = {}
    for field in msgspec.structs.fields(request):
        value = getattr(request, field.name)
        if field.name != "user_id" and value is not msgspec.UNSET:
            fields[field.encode_name] = value
    if fields.get("timeZone") is not None:
        _check_zone(fields["timeZone"])
    if fields.get("projects") is not None:
        fields["projects"] = [_project(each, now) for each in fields["projects"]]
    if not fields:
        raise RequestError("name a field to change", where="body")
    return _put(engine, request.user_id, None, fields, now)


def take_answer(engine: Engine, request: AnswerRequest, now: int) -> dict[str, Any]:
    """`POST /v1/customers/answer`: a skipped question counts as asked.

    Raises:
        RequestError: nobody is named.
        ErasedError: they asked to be forgotten.
    """
    fields: dict[str, Any] = {"asked": {request.question: now}}
    if request.answer is not None:
        fields["answers"] = {request.question: request.answer}
    return _put(engine, request.user_id, request.visitor_id, fields, now)


def take_consent(engine: Engine, live: Live, request: ConsentRequest, now: int) -> dict[str, Any]:
    """`POST /v1/customers/consent`: kept with its moment; earlier ones stay in the history.

    Raises:
        RequestError: nobody is named, or a purpose that nothing is done for.
        ErasedError: they asked to be forgotten.
    """
    purposes = purposes_of(live.config)
    if request.purpose not in purposes:
        raise RequestError(
            "unknown purpose", where="purpose", got=request.purpose, hint=nearest(request.purpose, purposes)
        )
    how = {
        "granted": request.granted,
        "wording": request.wording,
        "source": request.source,
        "at": format_instant(now),
    }
    return _put(engine, request.user_id, request.visitor_id, {"consents": {request.purpose: how}}, now)


def purposes_of(config: ShopConfig) -> list[str]:
    """All purposes that something is done for: the service's own, and those of the shop's channels."""
    return [*PURPOSES, *sorted({channel.purpose for channel in config.channels.values()} - set(PURPOSES))]


def _put(engine: Engine, user_id: str | None, visitor_id: str | None, fields: Fields, now: int) -> dict[str, Any]:
    if user_id is not None:
        stored = engine.store.put_customer(user_id, fields, now)
    elif visitor_id is not None:
        stored = engine.store.put_visitor(visitor_id, fields, now)
    else:
        raise RequestError("name a userId or a visitorId", where="userId")
    if not stored:
        field, what = _REFUSALS["erased"]
        raise ErasedError(what, where=field if user_id is not None else "visitorId")
    return {"accepted": sorted(fields), "inForceAt": format_instant(now)}


def _project(project: ProjectIn, now: int) -> dict[str, Any]:
    since, until = _moment(project.since, "projects.since"), _moment(project.until, "projects.until")
    return {
        "kind": project.kind,
        "note": project.note,
        "since": now if since is None else since,
        "until": until,
        "source": "staff",
    }


def _check_zone(name: str) -> None:
    try:
        zone(name)
    except ConfigError as error:
        raise RequestError(error.what, where="timeZone", got=name, hint=error.hint) from None


def _moment(text: str | None, where: str) -> int | None:
    return None if text is None else parse_moment(text, where)


def _of_day(text: str | None, where: str, time_zone: str, within: int) -> int | None:
    """A moment; of a bare date the one so far into that day of the shop, in microseconds of a day of 24 hours."""
    moment = _moment(text, where)
    if moment is not None and not 1900 <= to_datetime(moment).year <= 2200:  # no clock on earth leaves the calendar
        raise RequestError("a time outside the calendar", where=where, got=text)
    if moment is None or len(str(text).strip()) > len("2026-12-05"):
        return moment
    day = to_datetime(moment).date()
    begin, end = (day_start(each, time_zone) for each in (day, day + timedelta(days=1)))
    return begin + (end - begin) * (within + 1) // DAY - 1


def _past(text: str | None, where: str, now: int) -> int | None:
    moment = _moment(text, where)
    if moment is not None and moment > now + AHEAD:
        raise RequestError("a time in the future", where=where, got=text, hint="report what has happened")
    return None if moment is None else min(moment, now)
