"""What a person did on a page, as the events that `POST /v1/events` takes.

A button carries its deed as a small query string in its value (`type=wishlist&itemId=...`), so one form serves all
buttons of a page and works without JavaScript. Prices come from the catalogue, never from the form.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qsl, quote_plus

from starlette.requests import Request

from features.errors import RequestError
from features.moments import DAY, format_instant, parse_instant
from serving.web.basket import MAX_QUANTITY, Line
from serving.web.identity import Visit, checked_id
from serving.web.shopfront import ItemJson

SALES: Final = frozenset({"purchase", "order"})
"""Deeds of a demo alone: what brings money a shop's backend tells, with a key of scope events, as `serving.tokens`."""
DEEDS: Final = SALES | {"wishlist", "wishlist_remove", "cart", "cart_remove"}
PLACES: Final = frozenset(
    {"home", "landing", "category", "search", "item", "basket", "wishlist", "me", "order", "thanks", "share", "photo"}
)
MAX_BODY: Final = 16_384
MAX_DECISION: Final = 128


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a product stood: travels with its link and its buttons.

    Args:
        decision_id: the decision whose slot held it, empty where there was none.
        slot: that slot's name.
        position: place in it, 0-based; None where there was none.
    """

    decision_id: str = ""
    slot: str = ""
    position: int | None = None

    @property
    def properties(self) -> dict[str, Any]:
        """As properties of an event."""
        known = {"slot": self.slot or None, "position": self.position}
        return {key: value for key, value in known.items() if value is not None}


NOWHERE: Final = Origin()


@dataclass(frozen=True, slots=True)
class Deed:
    """One pressed button.

    Args:
        type: an event type, or `order` for buying the whole basket.
        item_id: the product; empty for `order`.
        origin: where the product stood.
        quantity: pieces, for basket and purchase.
        place: the page that the button was on.
        once: random text of the rendered page: the same button pressed twice is one event.
        raw: the button's value as it came.
    """

    type: str
    item_id: str
    origin: Origin
    quantity: int
    place: str
    once: str
    raw: str


def deed_value(type_: str, item_id: str, origin: Origin = NOWHERE) -> str:
    """The value of a button; `read_deed` reads it."""
    return f"type={type_}&{deed_tail(item_id, origin)}"


@lru_cache(maxsize=8192)
def quoted(text: str) -> str:
    """Text as it stands in an address; a page names the same decision and the same products again and again."""
    return quote_plus(text, errors="replace")


def deed_tail(item_id: str, origin: Origin) -> str:
    """What the buttons of one product have in common (written by hand: a page holds dozens)."""
    tail = f"itemId={quoted(item_id)}"
    if origin.decision_id:
        tail += f"&decisionId={quoted(origin.decision_id)}"
    if origin.slot:
        tail += f"&slot={quoted(origin.slot)}"
    return tail if origin.position is None else f"{tail}&position={origin.position}"


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a posted form.

    Raises:
        RequestError: not a form, too large, or not UTF-8.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise RequestError("not a form", where="Content-Type", got=kind, hint="send application/x-www-form-urlencoded")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise RequestError("the form is too large", where="body", hint=f"send at most {MAX_BODY} bytes")
    return _fields(bytes(body), "body")


def read_deed(form: dict[str, str]) -> Deed:
    """The pressed button of a form.

    Raises:
        RequestError: a field is missing, unknown or out of range; `where` names it.
    """
    raw = form.get("do", "")
    fields = _fields(raw.encode(), "do")
    type_, place = fields.get("type", ""), form.get("from", "home")
    if type_ not in DEEDS:
        raise RequestError("unknown deed", where="do.type", got=type_, hint=f"one of {', '.join(sorted(DEEDS))}")
    if place not in PLACES:
        raise RequestError("unknown page", where="from", got=place, hint=f"one of {', '.join(sorted(PLACES))}")
    return Deed(
        type=type_,
        item_id="" if type_ == "order" else checked_id(fields.get("itemId", ""), "do.itemId"),
        origin=Origin(
            fields.get("decisionId", "")[:MAX_DECISION],
            fields.get("slot", "")[:MAX_DECISION],
            _number(fields["position"], "do.position", 0, 9999) if "position" in fields else None,
        ),
        quantity=_number(form.get("quantity", "1"), "quantity", 1, MAX_QUANTITY),
        place=place,
        once=form.get("once", "")[:64],
        raw=raw,
    )


def event_of(deed: Deed, visit: Visit, item: ItemJson | None) -> dict[str, Any]:
    """The event of a deed on one product; only what is known is in it."""
    event = _base(visit, deed.type, deed.item_id, deed.origin.decision_id)
    event["eventId"] = event_id(visit, deed.once or secrets.token_hex(8), f"{deed.quantity} {deed.raw}")
    if deed.type in ("cart", "purchase"):
        event["quantity"] = deed.quantity
        _set_price(event, item)
    if deed.type == "purchase":
        event |= {"orderId": f"o{event['eventId']}", "line": "1"}
    event["properties"] = {**deed.origin.properties, "page": deed.place}
    return event


def order_events(deed: Deed, visit: Visit, lines: Sequence[tuple[Line, ItemJson | None]]) -> list[dict[str, Any]]:
    """Purchases of a whole basket: one order, a line a product."""
    order = event_id(visit, deed.once or secrets.token_hex(8), deed.raw)
    events = []
    for number, (line, item) in enumerate(lines, 1):
        event = _base(visit, "purchase", line.item_id, line.decision_id)
        event |= {
            "eventId": f"{order}-{number}",
            "quantity": line.quantity,
            "orderId": f"o{order}",
            "line": str(number),
        }
        _set_price(event, item)
        event["properties"] = {"page": deed.place}
        events.append(event)
    return events


def order_reports(
    order_id: str, user_id: str, lines: Sequence[tuple[Line, ItemJson | None]], now: str
) -> list[dict[str, Any]]:
    """An order as `POST /v1/orders` takes it: each line confirmed, and promised where the product has a lead time.

    Args:
        order_id, user_id: whose.
        lines: what was bought.
        now: by the shop's clock, ISO 8601.
    """
    reports = []
    for number, (line, item) in enumerate(lines, 1):
        report = {
            "orderId": order_id, "line": str(number), "userId": user_id, "itemId": line.item_id,
            "quantity": line.quantity, "shipmentState": "confirmed",
        }  # fmt: skip
        lead = None if item is None else item.get("leadDays")
        if lead is not None:
            report["promisedAt"] = format_instant(parse_instant(now) + round(lead * DAY))
        reports.append(report)
    return reports


def click_event(visit: Visit, decision_id: str, slot: str) -> dict[str, Any]:
    """A click on an action, once a visit."""
    event = _base(visit, "click", "", decision_id)
    return {**event, "eventId": event_id(visit, decision_id, f"click {slot}"), "properties": {"slot": slot}}


def review_event(visit: Visit, item_id: str, text: str, photo: str) -> dict[str, Any]:
    """Somebody's words on what they got; the same words are sent once a visit."""
    event = _base(visit, "review", item_id, "")
    said = {"text": text, **({"photoUrl": photo} if photo else {})}
    return {**event, "eventId": event_id(visit, "review", f"{item_id} {text} {photo}"), "properties": said}


def search_event(visit: Visit, query: str) -> dict[str, Any]:
    """A search, once a visit for the same words."""
    event = _base(visit, "search", "", "")
    return {**event, "eventId": event_id(visit, "search", query), "properties": {"query": query}}


def view_events(visit: Visit, item_id: str, origin: Origin) -> list[dict[str, Any]]:
    """Looking at a product; when a slot led there also the click, once a visit for each shown item."""
    decision = origin.decision_id
    view = {"eventId": event_id(visit, secrets.token_hex(8), "view"), **_base(visit, "view", item_id, decision)}
    if not decision:
        return [view]
    click = {"eventId": event_id(visit, decision, f"click {item_id}"), **_base(visit, "click", item_id, decision)}
    return [{**click, "properties": origin.properties}, view]


def event_id(visit: Visit, once: str, what: str) -> str:
    """An id that is the same when the same thing is sent again in the same visit."""
    digest = hashlib.blake2b(digest_size=12)
    for part in (visit.session.id, once, what):
        raw = part.encode("utf-8", "replace")
        digest.update(len(raw).to_bytes(4, "little") + raw)
    return f"web-{digest.hexdigest()}"


def _base(visit: Visit, type_: str, item_id: str, decision_id: str) -> dict[str, Any]:
    event: dict[str, Any] = {"type": type_, "itemId": item_id, **visit.subject, "channel": "web"}
    if not item_id:
        del event["itemId"]
    event["context"] = visit.context
    if decision_id:
        event["decisionId"] = decision_id
    return event


def _set_price(event: dict[str, Any], item: ItemJson | None) -> None:
    price = None if item is None else item.get("price")
    if price is not None and price == price:  # NaN is unknown, and unknown is left out
        event["unitPrice"] = price


def _fields(raw: bytes, where: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=16))
    except ValueError:
        raise RequestError("not a form in UTF-8 of at most 16 fields", where=where, got=raw[:60]) from None


def _number(text: str, where: str, low: int, high: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and low <= int(text) <= high):
        raise RequestError(f"a whole number from {low} to {high}", where=where, got=text)
    return int(text)
