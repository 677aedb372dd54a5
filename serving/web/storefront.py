"""The routes of the storefront: home, product, basket, and the forms that tell what a person did.

Every page works as plain HTML: a button posts a form to `/web/events` and is redirected back. With JavaScript the
same form is sent in the background and the part of the page that may have changed is fetched again (`.../slots`,
`.../live`) and swapped.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from features.errors import NotFoundError, RequestError, Unavailable
from features.text import MAX_ID_LENGTH
from serving.web.actions import (
    MAX_DECISION,
    NOWHERE,
    Deed,
    Origin,
    deed_value,
    event_of,
    order_events,
    read_deed,
    read_form,
    view_events,
)
from serving.web.basket import Basket, Line
from serving.web.frame import Frame, Framer, json_response, wants_json
from serving.web.identity import Signer, Visits, begin_session, checked_id, same_origin
from serving.web.render import PRIVATE, STATIC, Handler
from serving.web.shopfront import CustomerJson, ItemJson, Shopfront
from serving.web.strings import format_moment, format_price, words_of
from serving.web.views import Viewer, item_href, total

RELATED: Final = 8
CUSTOMERS: Final = 40


def routes(
    shopfront: Shopfront,
    *,
    secret: Callable[[], bytes] | bytes | None = None,
    check: Callable[[Mapping[str, str]], None] | None = None,
) -> list[BaseRoute]:
    """The storefront as routes of a Starlette application.

    Args:
        shopfront: the engine.
        secret: signs cookies and forms; the same in every worker (`Shop.secret`). None makes one that ends with
            the process, and visitors with it.
        check: is given the headers of each request and raises what shall refuse it (in a demo: any host but
            loopback, so that no page of the internet reaches it through a browser).
    """
    known = secret or secrets.token_bytes(32)
    signer = Signer(known if callable(known) else lambda: known)
    framer = Framer(shopfront, Visits(signer), check)
    store = Storefront(shopfront, framer)
    pages: list[tuple[str, Handler]] = [
        ("/", store.home),
        ("/web/home/slots", store.home_slots),
        ("/web/item", store.item),
        ("/web/item/live", store.item_live),
        ("/web/basket", store.basket),
        ("/web/basket/live", store.basket_live),
        ("/web/customers", store.customers),
    ]
    served: list[BaseRoute] = [Route(path, framer.guarded(handler)) for path, handler in pages]
    served.append(Route("/web/events", framer.guarded(store.events), methods=["POST"]))
    return served + [file.route() for file in STATIC.values()]


class Storefront:
    """The handlers; holds nothing of a visitor between requests."""

    def __init__(self, shopfront: Shopfront, framer: Framer) -> None:
        self.shopfront, self.framer = shopfront, framer

    # ---- pages

    async def home(self, request: Request) -> Response:
        """The page of a customer or visitor; in demo mode `?customer=` and `?visitor=new` choose whose."""
        frame = await self.framer.read(request)
        query = request.query_params
        if frame.shop["demo"] and ("customer" in query or "visitor" in query):
            return self._look_as(request, frame)
        return self.framer.page(request, frame, "home.html", await self._home(frame))

    async def home_slots(self, request: Request) -> Response:
        """The changing part of the home page, as a fragment."""
        frame = await self.framer.read(request)
        return self.framer.page(request, frame, "_home.html", await self._home(frame))

    async def item(self, request: Request) -> Response:
        """A product; looking at it is an event, and the click that led here another."""
        frame = await self.framer.read(request)
        context = await self._item(request, frame)
        if self.framer.looks(request):
            # A decision that another site's link claims led here did not.
            origin = context["origin"] if same_origin(request) else NOWHERE
            with suppress(Unavailable):  # a view that cannot be kept is no reason to show nothing
                await self.shopfront.send_events(view_events(frame.visit, context["card"].item_id, origin))
        return self.framer.page(request, frame, "item.html", context)

    async def item_live(self, request: Request) -> Response:
        """The changing part of a product page, as a fragment; not a view."""
        frame = await self.framer.read(request)
        return self.framer.page(request, frame, "_item.html", await self._item(request, frame))

    async def basket(self, request: Request) -> Response:
        """The basket."""
        frame = await self.framer.read(request)
        return self.framer.page(request, frame, "basket.html", await self._basket(frame))

    async def basket_live(self, request: Request) -> Response:
        """The changing part of the basket page, as a fragment."""
        frame = await self.framer.read(request)
        return self.framer.page(request, frame, "_basket.html", await self._basket(frame))

    async def customers(self, request: Request) -> Response:
        """The picker of the demo.

        Raises:
            NotFoundError: outside the demo there is no such page.
        """
        frame = await self.framer.read(request)
        if not frame.shop["demo"]:
            raise NotFoundError("no such page", where=request.url.path)
        query = request.query_params.get("q", "").strip()[:MAX_ID_LENGTH]
        found = await self.shopfront.customers(CUSTOMERS, query)
        rows = [(row["userId"], f"{row['events']:,}", format_moment(row.get("lastSeen"))) for row in found]
        context = {"query": query, "rows": rows, "regions": frame.shop.get("regions") or (), "place": "home"}
        return self.framer.page(request, frame, "customers.html", context)

    # ---- deeds

    async def events(self, request: Request) -> Response:
        """Record what a button says; JSON for scripts, a redirect back for plain forms.

        Raises:
            RequestError: the form is not one of ours, or the shop refused the event.
        """
        form = await read_form(request)
        frame = await self.framer.read(request)
        if not self.framer.ours(request, form.get("token", ""), frame.visit):
            raise RequestError("the form is out of date or not from this site", where="token")
        deed = read_deed(form)
        events, basket = await self._record(deed, frame)
        answer = await self.shopfront.send_events(events)
        if answer.get("rejected"):
            first = answer["rejected"][0]
            raise RequestError(str(first.get("message") or "refused"), where=str(first.get("field") or "events"))
        return self._done(request, replace(frame, basket=basket), deed)

    async def _record(self, deed: Deed, frame: Frame) -> tuple[list[dict[str, Any]], Basket]:
        if deed.type == "order":
            if not frame.basket.lines:
                raise RequestError("the basket is empty", where="do")
            items = await self._items([line.item_id for line in frame.basket.lines], frame)
            lines = [(line, _price(item)) for line, item in zip(frame.basket.lines, items, strict=True)]
            return order_events(deed, frame.visit, lines), Basket()
        basket = frame.basket
        if deed.type == "cart":
            basket = basket.added(Line(deed.item_id, deed.quantity, deed.origin.decision_id))
        elif deed.type == "cart_remove":
            basket = basket.without(deed.item_id)
        item = (await self._items([deed.item_id], frame))[0]
        return [event_of(deed, frame.visit, _price(item))], basket

    def _done(self, request: Request, frame: Frame, deed: Deed) -> Response:
        t = words_of(frame.shop["locale"])
        if wants_json(request):
            what = t(f"said.{deed.type}")
            said = {"message": what, "changed": t("changed", what=what), "basket": len(frame.basket)}
            said["basketLabel"] = t("basket.count", n=len(frame.basket))
            return self.framer.after_deed(request, json_response(said), frame)
        places = {"home": "/", "basket": "/web/basket", "item": item_href(deed.item_id)}
        response = RedirectResponse(places[deed.place], 303, headers=PRIVATE)
        return self.framer.after_deed(request, response, frame, said=deed.type)

    # ---- what pages show

    async def _home(self, frame: Frame) -> dict[str, Any]:
        visit, viewer = frame.visit, Viewer(frame.shop)
        page = await self.shopfront.page("home", visit.user_id, visit.visitor_id, visit.session.id, visit.context)
        slots = viewer.slots(page)
        greeting = (page.get("greeting") or {}).get("text") or viewer.words("welcome")
        why = viewer.why(page, slots, await self._customer(frame)) if frame.shop["demo"] else None
        return {"slots": slots, "greeting": greeting, "why": why, "place": "home"}

    async def _customer(self, frame: Frame) -> CustomerJson | None:
        user_id = frame.visit.user_id
        return None if user_id is None else await self.shopfront.customer(user_id)

    async def _item(self, request: Request, frame: Frame) -> dict[str, Any]:
        visit, viewer, query = frame.visit, Viewer(frame.shop), request.query_params
        item_id = query.get("id", "")
        item = (await self._items([item_id], frame))[0] if 0 < len(item_id) <= MAX_ID_LENGTH else None
        if item is None:
            raise NotFoundError("no such product", where="id", got=item_id)
        origin = _origin(query)
        related = await self.shopfront.related(item_id, RELATED, visit.user_id, visit.visitor_id, visit.session.id)
        slot = viewer.slot(related)
        return {
            "card": viewer.card(item, origin),
            "slot": slot,
            "why": (viewer.why_row(related, shown=slot is not None),) if frame.shop["demo"] else (),
            "origin": origin,
            "live": item_href(item_id, origin, path="/web/item/live"),
            "place": "item",
        }

    async def _basket(self, frame: Frame) -> dict[str, Any]:
        viewer, lines = Viewer(frame.shop), frame.basket.lines
        items = await self._items([line.item_id for line in lines], frame)
        rows = []
        for line, item in zip(lines, items, strict=True):
            origin = Origin(line.decision_id)
            remove = deed_value("cart_remove", line.item_id, origin)
            rows.append((viewer.card(item or {"itemId": line.item_id}, origin), line.quantity, remove))
        amount, partial = total([(card.amount, quantity) for card, quantity, _ in rows])
        price = format_price(amount, frame.shop["currency"])
        return {"rows": rows, "total": price, "partial": partial, "place": "basket"}

    async def _items(self, item_ids: list[str], frame: Frame) -> list[ItemJson | None]:
        visit = frame.visit
        return await asyncio.gather(*(self.shopfront.item(i, visit.user_id, visit.visitor_id) for i in item_ids))

    def _look_as(self, request: Request, frame: Frame) -> Response:
        """Change whose page the demo shows: another subject is another visit with an empty basket."""
        query = request.query_params
        user_id = query.get("customer") or None
        visit = replace(frame.visit, user_id=user_id, session=begin_session(request, region=query.get("region", "")))
        if user_id is not None:
            checked_id(user_id, "customer")
        elif query.get("visitor") == "new":
            visit = replace(visit, visitor=secrets.token_hex(16))
        response = RedirectResponse("/", 303, headers=PRIVATE)
        return self.framer.after_deed(request, response, Frame(frame.shop, visit, Basket()))


def _origin(query: QueryParams) -> Origin:
    """Where on a page the link stood, from its address; what cannot be is left out."""
    place = query.get("p", "")
    position = int(place) if place.isascii() and place.isdigit() and len(place) < 5 else None
    return Origin(query.get("d", "")[:MAX_DECISION], query.get("s", "")[:MAX_DECISION], position)


def _price(item: ItemJson | None) -> float | None:
    return None if item is None else item.get("price")
