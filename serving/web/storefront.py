"""The routes of the storefront: its pages, their changing parts, and the forms that tell what a person did.

Every page works as plain HTML: a button posts a form and is redirected back. With JavaScript the same form is sent in
the background and the part of the page that may have changed is fetched again (`.../live`) and swapped.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from features.errors import NotFoundError
from features.text import MAX_ID_LENGTH
from serving.sealed_texts import Signer
from serving.web import pictures
from serving.web.basket import Basket
from serving.web.contents import Contents, Place
from serving.web.demo import Demo
from serving.web.entry import Entry
from serving.web.forms import Forms
from serving.web.frame import Frame, Framer
from serving.web.identity import Visits, begin_session, checked_id
from serving.web.pace import ERASURES, FORMS, Pace
from serving.web.render import PRIVATE, STATIC, Handler
from serving.web.shopfront import Shopfront
from serving.web.strings import format_minute, format_moment

CUSTOMERS: Final = 40


def routes(
    shopfront: Shopfront,
    *,
    secret: Callable[[], bytes] | bytes | None = None,
) -> list[BaseRoute]:
    """The storefront as routes of a Starlette application.

    Args:
        shopfront: the engine.
        secret: signs cookies and forms; the same in every worker (`Shop.secret`). None makes one that ends with
            the process, and visitors with it.
    """
    known = secret or secrets.token_bytes(32)
    signer = Signer(known if callable(known) else lambda: known)
    framer = Framer(shopfront, Visits(signer))
    contents = Contents(shopfront, framer)
    forms = Forms(shopfront, framer, contents)
    demo, entry = Demo(shopfront, forms), Entry(framer, forms)
    store = Storefront(shopfront, framer, forms)
    got: list[tuple[str, Handler]] = [
        *((place.path, store.page(place)) for place in contents.places),
        *((place.live, store.part(place)) for place in contents.places),
        ("/web/customers", store.customers),
        ("/web/receipt", store.receipt),
        (pictures.ROUTE, pictures.drawn),
        ("/web/go", forms.go),
        ("/web/enter", entry.enter),
        ("/web/me/export", forms.export),
    ]
    pace = Pace(shopfront)
    posted = pace.kept(
        [
            ("/web/events", forms.events),
            ("/web/review", forms.review),
            ("/web/answer", forms.answer),
            ("/web/consent", forms.consent),
            *pace.kept([("/web/me/erase", forms.erase)], ERASURES),
            ("/web/leave", entry.leave),
            ("/web/demo/later", demo.later),
            ("/web/demo/step", demo.step),
        ],
        FORMS,
    )
    served: list[BaseRoute] = [Route(path, framer.guarded(handler)) for path, handler in got]
    served += [Route(path, framer.guarded(handler), methods=["POST"]) for path, handler in posted]
    return served + [file.route() for file in STATIC.values()]


class Storefront:
    """The handlers of pages; holds nothing of a visitor between requests."""

    def __init__(self, shopfront: Shopfront, framer: Framer, forms: Forms) -> None:
        self.shopfront, self.framer, self.forms = shopfront, framer, forms

    def page(self, place: Place) -> Handler:
        """A whole page; in demo mode `?customer=` and `?visitor=new` choose whose it is."""

        async def whole(request: Request) -> Response:
            frame, query = await self.framer.read(request), request.query_params
            if place.path == "/" and frame.shop["demo"] and ("customer" in query or "visitor" in query):
                return self._look_as(request, frame)
            shown = await place.build(request, frame)
            await self.forms.saw(request, frame, place.name, shown)
            around = {"live": place.live_address(request), "part": place.part, "heading": place.title}
            return self.framer.page(request, frame, "page.html", self._placed(place, request) | around | shown)

        return whole

    def part(self, place: Place) -> Handler:
        """The changing part of a page, as a fragment; fetching it is no look."""

        async def fragment(request: Request) -> Response:
            frame = await self.framer.read(request)
            shown = await place.build(request, frame)
            return self.framer.page(request, frame, place.part, self._placed(place, request) | shown)

        return fragment

    def _placed(self, place: Place, request: Request) -> dict[str, object]:
        return {"place": place.name, "back": place.address(request), "title": ""}

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
        context = {"wanted": query, "rows": rows, "regions": frame.shop.get("regions") or (), "place": "picker"}
        return self.framer.page(request, frame, "customers.html", {**context, "back": "/"})

    async def receipt(self, request: Request) -> Response:
        """How far an erasure is, for whoever has the number of its receipt.

        Raises:
            NotFoundError: there is none of that number.
        """
        frame = await self.framer.read(request)
        try:
            receipt = await self.shopfront.receipt(request.query_params.get("id", "")[:MAX_ID_LENGTH])
        except NotFoundError:
            raise NotFoundError("no such receipt", where="receipt") from None
        t, at = frame.words, receipt.get("erasedAt")
        told = [(f"receipt.{name}", count) for name, count in receipt["removed"].items() if count]
        removed = [(t(key), count) for key, count in told if key in t]
        context = {
            "receipt": receipt["receiptId"], "removed": removed, "place": "receipt", "back": "/", "banner": False,
            "at": format_minute(at, frame.shop["timeZone"], t.locale) if at else "",
            "says": [t(f"receipt.says.{when}") for when in receipt["says"] if f"receipt.says.{when}" in t],
        }  # fmt: skip
        return self.framer.page(request, frame, "receipt.html", context)

    def _look_as(self, request: Request, frame: Frame) -> Response:
        """Change whose page the demo shows: another subject is another visit with an empty basket."""
        query, locale = request.query_params, frame.visit.session.locale
        user_id = query.get("customer") or None
        session = begin_session(request, region=query.get("region", ""), locale=locale)
        visit = replace(frame.visit, user_id=user_id, chosen=user_id is not None, session=session)
        if user_id is not None:
            checked_id(user_id, "customer")
        elif query.get("visitor") == "new":
            visit = replace(visit, visitor=secrets.token_hex(16))
        response = RedirectResponse("/", 303, headers=PRIVATE)
        return self.framer.after_deed(request, response, Frame(frame.shop, visit, Basket()))
