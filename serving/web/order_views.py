"""Order lines as a page shows them: progress in words and days, when it is expected, and what is late."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote_plus

from markupsafe import Markup

from serving.web import art
from serving.web.shopfront import OrderJson, ShopJson, StepJson
from serving.web.strings import Words, format_day

_ADDRESS: Final = re.compile(r"(https://|/(?!/|\\))[^\s\\\"'<>]*")
_NOWHERE = re.compile(r"https://[^/?#]*\.example(:|/|\?|#|$)")
_NEXT: Final = {
    "confirmed": ("in_production", "shipped", "delivered", "late"), "in_production": ("shipped", "delivered", "late"),
    "shipped": ("delivered", "late"), "delivered": ("returned",),
}  # fmt: skip
"""What the demo can let happen next to an order line in a state."""


@dataclass(frozen=True, slots=True)
class StepView:
    """One step: its state in words and its day, and what the shop told with it."""

    state: str
    day: str
    at: str
    text: str
    image: str
    tracking: str
    place: str
    hours: str
    promise: str


@dataclass(frozen=True, slots=True)
class OrderView:
    """One order line.

    Args:
        order_id, line: its key.
        item_id: what was ordered.
        title, href: of the product.
        image, art, tone: its picture.
        see: address of the order's own page.
        pieces, ordered: in words.
        state: its last state, in words.
        open, delivered: whether it is still under way, or has come and stayed.
        expected: when it comes, in words.
        late: what is said because it is late, or will be; empty where it is not.
        steps: oldest first.
        demo: what the demo can let happen next, as (value, words).
    """

    order_id: str
    line: str
    item_id: str
    title: str
    href: str
    image: str
    art: Markup
    tone: int
    see: str
    pieces: str
    ordered: str
    state: str
    open: bool
    delivered: bool
    expected: str
    late: str
    steps: tuple[StepView, ...]
    demo: tuple[tuple[str, str], ...]


def order_view(order: OrderJson, shop: ShopJson, t: Words) -> OrderView:
    """An order line in somebody's words and the shop's days."""
    still = order["state"] not in ("delivered", "returned", "cancelled", "lost")
    quantity = order["quantity"]
    return OrderView(
        order_id=order["orderId"],
        line=order["line"],
        item_id=order["itemId"],
        title=order["title"],
        href=f"/web/item?id={_quoted(order['itemId'])}",
        image=picture(order.get("imageUrl")),
        art=art.still_life((), order["title"]),
        tone=art.tone(order["title"]),
        see=order_href(order["orderId"]),
        pieces=t("order.pieces", n=f"{quantity:g}") if quantity != 1 else "",
        ordered=t("order.of", day=format_day(order["orderedAt"], shop["timeZone"], t.locale)),
        state=_state(order["state"], t),
        open=still,
        delivered=order["state"] == "delivered",
        expected=_expected(order, shop, t) if still else "",
        late=_late(order, t) if still else "",
        steps=tuple(_step(step, place, shop, t) for place, step in enumerate(order["steps"])),
        demo=tuple((each, t(f"demo.step.{each}")) for each in _NEXT.get(order["state"], ())) if shop["demo"] else (),
    )


def order_href(order_id: str, path: str = "/web/order") -> str:
    """The address of an order's page. Ids travel in the query: they hold any character."""
    return f"{path}?id={_quoted(order_id)}"


def picture(url: str | None) -> str:
    """The address of a picture or of a link, if it is over TLS or of the shop's own site; else empty.

    Names under `.example` (RFC 2606), as a simulated shop has them, lead nowhere: our own drawing is better.
    """
    return url if url and _ADDRESS.fullmatch(url) and not _NOWHERE.match(url) else ""


def promises(order: OrderJson) -> list[str]:
    """What was promised, one after the other."""
    return [at for step in order["steps"] if (at := step.get("promisedAt"))]


def _expected(order: OrderJson, shop: ShopJson, t: Words) -> str:
    """The interval in words, else what was promised; one day only where the carrier named it (the shop's rule)."""
    expected = order.get("expected")
    if expected:
        return t("order.expected", when=expected["text"])
    promised = order.get("promisedAt")
    if promised:
        return t("order.promised", day=format_day(promised, shop["timeZone"], t.locale))
    return t("order.unknown")


def _late(order: OrderJson, t: Words) -> str:
    if order["late"]:
        return t("order.late")
    told = promises(order)
    return t("order.moved") if told and told[-1] > told[0] else ""


def _step(step: StepJson, place: int, shop: ShopJson, t: Words) -> StepView:
    def day(at: str | None, key: str) -> str:
        return t(key, day=format_day(at, shop["timeZone"], t.locale)) if at else ""

    confirmed = day(step.get("confirmedFor"), "order.confirmed")
    newly = day(step.get("promisedAt"), "order.newly" if place else "order.promised")
    return StepView(
        state=_state(step["state"] or "news", t),
        day=format_day(step["at"], shop["timeZone"], t.locale),
        at=step["at"],
        text=step.get("text") or "",
        image=picture(step.get("imageUrl")),
        tracking=picture(step.get("trackingUrl")),
        place=step.get("place") or "",
        hours=step.get("hours") or "",
        promise=confirmed or newly,
    )


def _state(state: str, t: Words) -> str:
    return t(f"state.{state}") if f"state.{state}" in t else state.replace("_", " ")


def _quoted(text: str) -> str:
    return quote_plus(text, errors="replace")
