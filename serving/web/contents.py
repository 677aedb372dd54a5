"""What each page shows: its slots as they were decided, and what only that page has."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.datastructures import QueryParams
from starlette.requests import Request

from features.errors import NotFoundError
from features.text import MAX_ID_LENGTH
from serving.web.actions import MAX_DECISION, Origin, deed_value, quoted
from serving.web.frame import Frame, Framer
from serving.web.order_views import OrderView
from serving.web.shopfront import ConsentJson, CustomerJson, ItemJson, Shopfront
from serving.web.strings import Words, format_day, format_price
from serving.web.views import QuestionView, Viewer, category_path, question_view, total

LISTED: Final = 48
"""Products that a category or a search lists at most."""
MAX_QUERY: Final = 100
MAX_PATH: Final = 1_000
MAX_URL: Final = 4_000

CHOICES: Final = frozenset({"lang", "customer", "visitor", "region"})

Build = Callable[[Request, Frame], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Place:
    """A page of the storefront.

    Args:
        name: as templates and events name it.
        path: its address; what a script fetches again stands below it.
        title: key of its title; empty: the shop's name alone.
        build: what it shows.
    """

    name: str
    path: str
    title: str
    build: Build

    @property
    def live(self) -> str:
        """Address of its changing part."""
        return f"{self.path.rstrip('/') or '/web/home'}/live"

    @property
    def part(self) -> str:
        """Template of its changing part."""
        return f"_{self.name}.html"

    def address(self, request: Request) -> str:
        """Where the page stands, however it was asked for."""
        return self.path + _tail(request.query_params)

    def live_address(self, request: Request) -> str:
        """The address of the changing part of this very page."""
        return self.live + _tail(request.query_params)


class Contents:
    """Builds pages; holds nothing of a visitor between requests."""

    def __init__(self, shopfront: Shopfront, framer: Framer) -> None:
        self.shopfront, self.framer = shopfront, framer
        self.places: tuple[Place, ...] = (
            Place("home", "/", "", self.home),
            Place("landing", "/web/landing", "landing.title", self.landing),
            Place("category", "/web/category", "categories", self.category),
            Place("search", "/web/search", "search.title", self.search),
            Place("item", "/web/item", "", self.item),
            Place("basket", "/web/basket", "basket.title", self.basket),
            Place("wishlist", "/web/wishlist", "wishlist.title", self.wishlist),
            Place("me", "/web/me", "me.title", self.me),
            Place("order", "/web/order", "me.orders", self.order),
            Place("thanks", "/web/thanks", "thanks.title", self.thanks),
            Place("share", "/web/share", "share.title", self.share),
            Place("photo", "/web/photo", "photo.title", self.photo),
        )

    # ---- pages

    async def home(self, request: Request, frame: Frame) -> dict[str, Any]:
        """The page of a customer or visitor."""
        return await self._decided(request, frame, "home")

    async def landing(self, request: Request, frame: Frame) -> dict[str, Any]:
        """Where a campaign leads."""
        return await self._decided(request, frame, "landing")

    async def category(self, request: Request, frame: Frame) -> dict[str, Any]:
        """A category with its slots and its products, those most bought first; without a path all departments.

        Raises:
            NotFoundError: nothing stands under that path.
        """
        path = request.query_params.get("path", "")[:MAX_PATH]
        below, items = await asyncio.gather(self.shopfront.departments(path), self._listing(path, frame))
        if path and not below and not items:
            raise NotFoundError("no such department", where="category", got=path)
        trail = category_path(path)
        context = await self._decided(request, frame, "category", category=path)
        return context | {
            "title": trail[-1] if trail else frame.words("category.title"),
            "trail": [(name, category_href(" > ".join(trail[: at + 1]))) for at, name in enumerate(trail[:-1])],
            "below": [(category_path(each)[-1], category_href(each), count) for each, count in below],
            "cards": self._viewer(frame).cards(items),
        }

    async def search(self, request: Request, frame: Frame) -> dict[str, Any]:
        """Products by the words of their titles."""
        query = " ".join(request.query_params.get("q", "").split())[:MAX_QUERY]
        found = await self.shopfront.search(query, LISTED, *frame.who) if query else ()
        return {"query": query, "cards": self._viewer(frame).cards(found), "slots": (), "why": None}

    async def item(self, request: Request, frame: Frame) -> dict[str, Any]:
        """A product.

        Raises:
            NotFoundError: there is none of that id.
        """
        item_id = request.query_params.get("id", "")
        item = (await self._items([item_id], frame))[0] if 0 < len(item_id) <= MAX_ID_LENGTH else None
        if item is None:
            raise NotFoundError("no such product", where="id", got=item_id)
        origin = origin_of(request.query_params)
        context = await self._decided(request, frame, "product", itemId=item_id)
        trail = category_path(item.get("category"))
        card = self._viewer(frame).card(item, origin)
        crumbs = [(name, category_href(" > ".join(trail[: at + 1]))) for at, name in enumerate(trail)]
        return context | {"card": card, "origin": origin, "title": card.title, "trail": crumbs}

    async def basket(self, request: Request, frame: Frame) -> dict[str, Any]:
        """The basket."""
        viewer, lines = self._viewer(frame), frame.basket.lines
        items = await self._items([line.item_id for line in lines], frame)
        rows = []
        for line, item in zip(lines, items, strict=True):
            origin = Origin(line.decision_id)
            remove = deed_value("cart_remove", line.item_id, origin)
            rows.append((viewer.card(item or {"itemId": line.item_id}, origin), line.quantity, remove))
        amount, partial = total([(card.amount, quantity) for card, quantity, _ in rows])
        price = format_price(amount, frame.shop["currency"])
        return await self._decided(request, frame, "basket") | {"rows": rows, "total": price, "partial": partial}

    async def wishlist(self, request: Request, frame: Frame) -> dict[str, Any]:
        """What is wished for."""
        wished = await self.shopfront.wishlist(*frame.who)
        cards = self._viewer(frame).cards([{**item, "wished": True} for item in wished])
        return await self._decided(request, frame, "wishlist") | {"cards": cards}

    async def me(self, request: Request, frame: Frame) -> dict[str, Any]:
        """One's own page: orders, answers, consents, and the ways out."""
        context = await self._decided(request, frame, "my-page")
        # Their progress stands on this page already.
        slots = tuple(slot for slot in context["slots"] if slot.kind != "status")
        return context | {
            "slots": slots,
            "orders": await self._orders(frame),
            "answers": await self._answers(frame),
            "choices": [choice(each, frame) for each in frame.consents],
            "banner": False,
        }

    async def order(self, request: Request, frame: Frame) -> dict[str, Any]:
        """One order, line by line.

        Raises:
            NotFoundError: there is none of that id, or it is somebody else's.
        """
        order_id = request.query_params.get("id", "")
        lines = [line for line in await self._orders(frame) if line.order_id == order_id]
        if not lines:
            raise NotFoundError("no such order", where="order", got=order_id)
        context = await self._decided(request, frame, "order-status")
        slots = tuple(slot for slot in context["slots"] if slot.kind != "status")
        return context | {"orders": lines, "slots": slots, "title": frame.words("order.title"), "number": order_id}

    async def thanks(self, request: Request, frame: Frame) -> dict[str, Any]:
        """Where buying leads."""
        order_id = request.query_params.get("id", "")
        lines = [line for line in await self._orders(frame) if line.order_id == order_id]
        context = await self._decided(request, frame, "after-purchase")
        slots = tuple(slot for slot in context["slots"] if slot.kind != "status" or not lines)
        return context | {"orders": lines, "slots": slots}

    async def share(self, request: Request, frame: Frame) -> dict[str, Any]:
        """What is on its way, to be shown to others: the product's own address, and nothing of the order."""
        lines = [line for line in await self._orders(frame) if line.open]
        return {"lines": [(line, f"{request.base_url}{line.href.lstrip('/')}") for line in lines]}

    async def photo(self, request: Request, frame: Frame) -> dict[str, Any]:
        """Where somebody writes about what was delivered."""
        return {"orders": [line for line in await self._orders(frame) if line.delivered]}

    # ---- what they are made of

    def _viewer(self, frame: Frame) -> Viewer:
        return Viewer(frame.shop, frame.locale, self.framer.sealed)

    async def _decided(self, request: Request, frame: Frame, page: str, **about: str) -> dict[str, Any]:
        """A page of the engine with its slots; `about` is what of the context only this page knows."""
        visit, viewer = frame.visit, self._viewer(frame)
        known = {
            **visit.context, "locale": frame.locale, "url": str(request.url)[:MAX_URL],
            "userAgent": request.headers.get("user-agent", "")[:MAX_URL], **about,
        }  # fmt: skip
        context = {key: value for key, value in known.items() if value}
        decided = await self.shopfront.page(page, *frame.who, visit.session.id, context)
        slots = viewer.slots(decided)
        return {
            "slots": slots,
            "greeting": (decided.get("greeting") or {}).get("text") or viewer.words("welcome"),
            "basis": decided.get("basis"),
            "why": viewer.why(decided, slots, await self._customer(frame)) if frame.shop["demo"] else None,
        }

    async def _customer(self, frame: Frame) -> CustomerJson | None:
        user_id = frame.visit.user_id
        return None if user_id is None else await self.shopfront.customer(user_id)

    async def _items(self, item_ids: Sequence[str], frame: Frame) -> list[ItemJson | None]:
        return await asyncio.gather(*(self.shopfront.item(each, *frame.who) for each in item_ids))

    async def _listing(self, path: str, frame: Frame) -> Sequence[ItemJson]:
        return await self.shopfront.listing(path, LISTED, *frame.who) if path else ()

    async def _orders(self, frame: Frame) -> list[OrderView]:
        user_id, viewer = frame.visit.user_id, self._viewer(frame)
        if user_id is None:
            return []
        return [viewer.order(order) for order in await self.shopfront.orders(user_id, frame.locale)]

    async def _answers(self, frame: Frame) -> list[QuestionView]:
        """What was answered, with the question as it can be asked again; one that is not asked any more by its id."""
        asked, given = await self.shopfront.questions(frame.locale), await self.shopfront.answers(*frame.who)
        return [
            question_view(asked.get(each) or {"question": each, "text": each, "why": "", "options": ()}, answer)
            for each, answer in given.items()
        ]


@dataclass(frozen=True, slots=True)
class Choice:
    """One purpose on one's own page: its words, whether it is agreed to, and since when."""

    purpose: str
    name: str
    text: str
    granted: bool
    since: str


def choice(consent: ConsentJson, frame: Frame) -> Choice:
    """A consent in somebody's words."""
    t, purpose, at = frame.words, consent["purpose"], consent["at"]
    since = t("me.since", day=format_day(at, frame.shop["timeZone"], t.locale)) if at else t("me.unasked")
    if consent["assumed"]:
        since = t("me.assumed")
    return Choice(purpose, *_purpose(purpose, t), consent["granted"], since)


def wording(purpose: str, t: Words) -> str:
    """The words by which somebody agrees to a purpose; they are kept with the choice."""
    return ": ".join(_purpose(purpose, t))


def _purpose(purpose: str, t: Words) -> tuple[str, str]:
    """Its name, and what is agreed to; a purpose of the shop's own channels is called by its id."""
    name, text = f"consent.name.{purpose}", f"consent.{purpose}"
    return (t(name), t(text)) if name in t else (purpose, t("consent.other", purpose=purpose))


def category_href(path: str) -> str:
    """The address of a category's page."""
    return f"/web/category?path={quoted(path)}"


def origin_of(query: QueryParams) -> Origin:
    """Where on a page the link stood, from its address; what cannot be is left out."""
    place = query.get("p", "")
    position = int(place) if place.isascii() and place.isdigit() and len(place) < 5 else None
    return Origin(query.get("d", "")[:MAX_DECISION], query.get("s", "")[:MAX_DECISION], position)


def _tail(query: QueryParams) -> str:
    """Parameters as the end of an address; what is chosen once (language, whose page) is not kept in it."""
    kept = [f"{quoted(name)}={quoted(value)}" for name, value in query.multi_items() if name not in CHOICES]
    return f"?{'&'.join(kept)}" if kept else ""
