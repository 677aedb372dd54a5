"""What people send: what they did, answered, agreed to or want to be done with what is known of them.

Every form carries the token of its visitor and the page to go back to; a script gets JSON instead of the redirect.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from features.errors import NotFoundError, RequestError, Unavailable
from serving.access import ScopeError
from serving.web.actions import (
    SALES,
    Deed,
    Origin,
    click_event,
    event_of,
    order_events,
    order_reports,
    read_deed,
    read_form,
    review_event,
    search_event,
    view_events,
)
from serving.web.basket import Basket, Line
from serving.web.contents import Contents, wording
from serving.web.frame import Frame, Framer, json_response, wants_json
from serving.web.identity import begin_session, same_origin
from serving.web.order_views import order_href, picture
from serving.web.render import PRIVATE
from serving.web.shopfront import ItemJson, Json, Shopfront

MAX_BACK: Final = 4_000
MAX_ANSWER: Final = 200
MAX_REVIEW: Final = 1_000
BANNERS: Final[Mapping[str, Mapping[str, bool]]] = {
    "both": {"personalization": True, "marketing": True},
    "page": {"personalization": True, "marketing": False},
    "none": {"personalization": False, "marketing": False},
}
"""The buttons of the banner and what each means."""


class Forms:
    """The handlers of posted forms, and of links that are events."""

    def __init__(self, shopfront: Shopfront, framer: Framer, contents: Contents) -> None:
        self.shopfront, self.framer = shopfront, framer
        self._pages = frozenset(place.path for place in contents.places)

    # ---- what people do

    async def events(self, request: Request) -> Response:
        """Record what a button says; what was bought becomes an order too, and leads to its page.

        Raises:
            RequestError: the form is not one of ours, or the shop refused the event.
            ScopeError: something is bought outside the demo. Anybody could say so; the real shop's backend tells what
                was paid for.
        """
        form, frame = await self.read(request)
        deed = read_deed(form)
        if deed.type in SALES and not frame.shop["demo"]:
            hint = "the shop's backend reports purchases and orders, with a key of scope events"
            raise ScopeError("only a demo sells", where="do.type", got=deed.type, hint=hint)
        events, basket, lines = await self._record(deed, frame)
        accepted(await self.shopfront.send_events(events))
        then = ""
        if lines:
            order_id = str(events[0]["orderId"])
            if frame.visit.user_id is not None:
                reports = order_reports(order_id, frame.visit.user_id, lines, frame.shop["now"])
                accepted(await self.shopfront.send_orders(reports))
            then = order_href(order_id, "/web/thanks")
        return self.done(request, replace(frame, basket=basket), deed.type, form, then=then)

    async def _record(self, deed: Deed, frame: Frame) -> tuple[list[Json], Basket, list[tuple[Line, ItemJson | None]]]:
        """The events of a deed, the basket after it, and the lines that were bought by it."""
        basket = frame.basket
        if deed.type == "order":
            if not basket.lines:
                raise RequestError("the basket is empty", where="do")
            lines = [(line, await self.shopfront.item(line.item_id, *frame.who)) for line in basket.lines]
            return order_events(deed, frame.visit, lines), Basket(), lines
        line = Line(deed.item_id, deed.quantity, deed.origin.decision_id)
        if deed.type == "cart":
            basket = basket.added(line)
        elif deed.type == "cart_remove":
            basket = basket.without(deed.item_id)
        item = await self.shopfront.item(deed.item_id, *frame.who)
        bought = [(line, item)] if deed.type == "purchase" else []
        return [event_of(deed, frame.visit, item)], basket, bought

    async def saw(self, request: Request, frame: Frame, place: str, context: Mapping[str, Any]) -> None:
        """Looking at a product or searching is an event, and the click that led to a product another."""
        if not self.framer.looks(request):
            return
        events: list[Json] = []
        if place == "item":
            # A decision that another site's link claims led here did not.
            origin = context["origin"] if same_origin(request) else Origin()
            events = view_events(frame.visit, context["card"].item_id, origin)
        elif place == "search" and context["query"]:
            events = [search_event(frame.visit, context["query"])]
        if events:
            with suppress(Unavailable):  # a view that cannot be kept is no reason to show nothing
                await self.shopfront.send_events(events)

    async def go(self, request: Request) -> Response:
        """Follow the link of an action: a click, once a visit.

        Raises:
            NotFoundError: the link is not one of ours.
        """
        frame = await self.framer.read(request)
        url, decision_id, slot = self.framer.opened(request.query_params.get("to", ""))
        if self.framer.looks(request) and same_origin(request) and self.framer.visits.known(request):
            with suppress(Unavailable):
                await self.shopfront.send_events([click_event(frame.visit, decision_id, slot)])
        if frame.shop["demo"] and url.startswith("/") and urlsplit(url).path not in self._pages:
            # A shop has its own site around these pages; a demo has not.
            context = {"path": url, "place": "elsewhere", "back": "/", "banner": False}
            return self.framer.page(request, frame, "elsewhere.html", context)
        return RedirectResponse(url, 303, headers=PRIVATE)

    async def review(self, request: Request) -> Response:
        """Keep somebody's words on what was delivered to them.

        Raises:
            RequestError: no words or too many, or the photo's address is none.
            NotFoundError: nothing of the kind was delivered to them.
        """
        form, frame = await self.read(request)
        text, photo = form.get("text", "").strip(), form.get("photo", "").strip()
        if not 0 < len(text) <= MAX_REVIEW:
            raise RequestError(f"1 to {MAX_REVIEW} characters", where="text")
        if photo and not (photo.startswith("https://") and picture(photo) and len(photo) <= MAX_REVIEW):
            raise RequestError("not an https address", where="photo")
        user_id, item_id = frame.visit.user_id, form.get("item", "")
        orders = [] if user_id is None else await self.shopfront.orders(user_id, frame.locale)
        if not any(order["itemId"] == item_id and order["state"] == "delivered" for order in orders):
            raise NotFoundError("no such order", where="order", got=item_id)
        accepted(await self.shopfront.send_events([review_event(frame.visit, item_id, text, photo)]))
        return self.done(request, frame, "review", form, then="/")

    # ---- what people tell

    async def answer(self, request: Request) -> Response:
        """Keep an answer, that a question was skipped, or that an answer is to be forgotten.

        Raises:
            RequestError: there is no such question or answer.
        """
        form, frame = await self.read(request)
        question, what = form.get("question", ""), form.get("do", "answer")
        if what == "forget":
            await self.shopfront.forget(*frame.who, question)
            return self.done(request, frame, "forgotten", form)
        if what == "skip":
            await self.shopfront.answer(*frame.who, question, None)
            return self.done(request, frame, "skipped", form)
        said = " ".join(form.get("answer", "").split())
        if not 0 < len(said) <= MAX_ANSWER:
            raise RequestError(f"an answer has 1 to {MAX_ANSWER} characters", where="answer")
        await self.shopfront.answer(*frame.who, question, said)
        why = (await self.shopfront.questions(frame.locale))[question]["why"]
        return self.done(request, frame, "answer", form, more=why)

    async def consent(self, request: Request) -> Response:
        """Keep what was chosen in the banner, or one purpose on one's own page.

        Raises:
            RequestError: an unknown button or purpose.
        """
        form, frame = await self.read(request)
        what = form.get("do", "")
        granted = dict(BANNERS[what]) if what in BANNERS else _choice(what)
        words = {purpose: wording(purpose, frame.words) for purpose in granted}
        await self.shopfront.consent(*frame.who, granted, words)
        said = "consent"
        if "personalization" in granted:
            said = "consent.yes" if granted["personalization"] else "consent.no"
        return self.done(request, frame, said, form)

    # ---- one's own data

    async def export(self, request: Request) -> Response:
        """Everything that is kept of the subject, as a file."""
        frame = await self.framer.read(request)
        everything = await self.shopfront.export(*frame.who)
        headers = {**PRIVATE, "Content-Disposition": 'attachment; filename="my-data.json"'}
        body = orjson.dumps(everything, option=orjson.OPT_INDENT_2, default=str)
        return Response(body, media_type="application/json", headers=headers)

    async def erase(self, request: Request) -> Response:
        """Forget the subject; who asked is somebody new from then on, with nothing but the receipt.

        Raises:
            RequestError: it was not confirmed.
        """
        form, frame = await self.read(request)
        if form.get("sure") != "yes":
            raise RequestError("tick the box first: erasing cannot be undone", where="sure")
        receipt_id = await self.shopfront.erase(*frame.who)
        session = begin_session(request, locale=frame.visit.session.locale)
        visit = replace(frame.visit, user_id=None, chosen=False, visitor=secrets.token_hex(16), session=session)
        response = RedirectResponse(f"/web/receipt?id={receipt_id}", 303, headers=PRIVATE)
        return self.framer.after_deed(request, response, Frame(frame.shop, visit, Basket()))

    # ---- the way in and out of a form

    async def read(self, request: Request) -> tuple[dict[str, str], Frame]:
        """A posted form with its frame.

        Raises:
            RequestError: it is not one of ours, or leads back to no page of ours.
        """
        form = await read_form(request)
        frame = await self.framer.read(request)
        if not self.framer.ours(request, form.get("token", ""), frame.visit):
            raise RequestError("the form is out of date or not from this site", where="token")
        self._back(form)  # before anything is done
        return form, frame

    def _back(self, form: Mapping[str, str]) -> str:
        """The page that the form stood on: one of ours, by its path."""
        back = form.get("back", "/")
        try:
            parts = urlsplit(back)
        except ValueError:
            parts = urlsplit("//nowhere")
        if parts.scheme or parts.netloc or parts.path not in self._pages or len(back) > MAX_BACK or not back.isascii():
            raise RequestError("not a page of this shop", where="back", got=back[:60])
        return f"{parts.path}?{parts.query}" if parts.query else parts.path

    def done(
        self, request: Request, frame: Frame, said: str, form: Mapping[str, str], *, more: str = "", then: str = ""
    ) -> Response:
        """Back to the page, or on to the next one, which says what happened."""
        t = frame.words
        what = t(f"said.{said}")
        what = t("answer.used", what=what, why=more) if more else what
        if wants_json(request):
            changed = t("changed.also" if what[-1] in ".。" else "changed", what=what)
            told: Json = {"message": what, "changed": changed, "basket": len(frame.basket)}
            told["basketLabel"] = t("basket.count", n=len(frame.basket))
            if then:
                told["next"] = then
            return self.framer.after_deed(request, json_response(told), frame, said if then else "")
        response = RedirectResponse(then or self._back(form), 303, headers=PRIVATE)
        return self.framer.after_deed(request, response, frame, f"{said}\n{more}" if more else said)


def accepted(answer: Json) -> None:
    """Go on only where the shop took everything.

    Raises:
        RequestError: it refused something; its first reason.
    """
    if answer.get("rejected"):
        first = answer["rejected"][0]
        raise RequestError(str(first.get("message") or "refused"), where=str(first.get("field") or "events"))


def _choice(what: str) -> dict[str, bool]:
    """`yes marketing` as the button of one purpose says it."""
    yes, _, purpose = what.partition(" ")
    if yes not in ("yes", "no") or not purpose:
        raise RequestError("an unknown choice", where="do", got=what[:60])
    return {purpose: yes == "yes"}
