"""The engine as the storefront sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import msgspec
import numpy as np
import orjson

from features.errors import BundleError, Unavailable
from features.history import History
from features.moments import DAY, format_instant
from features.personal import open_wishes
from serving import own_data, pages, shelves, wire
from serving.admission import Apart
from serving.candidates import Rows
from serving.clock import let_pass
from serving.customers import active_customers, open_since
from serving.engine import Engine
from serving.erase import read_receipt
from serving.intake import take_events
from serving.intake_people import take_orders
from serving.live import Live, item_cards
from serving.query import Context
from serving.web.shopfront import (
    ConsentJson,
    CustomerJson,
    ItemJson,
    Json,
    OrderJson,
    PageJson,
    QuestionJson,
    ShopJson,
)
from serving.wire_people import OrdersRequest


class EngineFront:
    """Adapts an engine to `serving.web.shopfront.Shopfront`.

    Args:
        engine_of: gives the engine once the service has started.
        demo: whether anyone may look as any customer; only ever on loopback.
    """

    def __init__(self, engine_of: Callable[[], Engine], *, demo: bool) -> None:
        self._engine_of = engine_of
        self._demo = demo
        self._titles = shelves.Titles()
        self._beside = Apart()  # its own: visitors without a key do not take the places of those who have one

    # ---- pages

    async def page(
        self, page: str, user_id: str | None, visitor_id: str | None, session_id: str, context: Json
    ) -> PageJson:
        """Decide, log and return a page."""
        where = msgspec.convert({key: value for key, value in context.items() if value}, Context)
        request = wire.PageRequest(
            page=page, user_id=user_id, visitor_id=visitor_id, session_id=session_id, context=where
        )
        engine = self._engine_of()
        return cast("PageJson", await pages.page_soon(engine, request, engine.clock.now(), engine.store.keep))

    async def shop(self) -> ShopJson:
        """Name, money, language, clock and live bundle."""
        engine = self._engine_of()
        live, settings = engine.live, engine.live.config.shop
        return {
            "name": settings.name,
            "currency": settings.currency,
            "locale": settings.locale,
            "bundle_id": live.bundle.id,
            "as_of": format_instant(live.bundle.as_of),
            "demo": self._demo,
            "regions": live.ranker.regions(),
            "now": format_instant(engine.clock.now()),
            "timeZone": settings.time_zone,
            "travels": self._demo and engine.shop.clock.exists(),
        }

    # ---- the catalogue

    async def item(self, item_id: str, user_id: str | None, visitor_id: str | None) -> ItemJson | None:
        """A product with the subject's heart, or None."""
        live = self._engine_of().live
        row = live.bundle.items.find(item_id)
        if row is None:
            fields = live.ranker.shelf.unlisted.get(item_id)
            return None if fields is None else cast("ItemJson", {"itemId": item_id, **fields})
        return self._cards(live, np.array([row], np.int32), user_id, visitor_id)[0]

    async def wishlist(self, user_id: str | None, visitor_id: str | None) -> Sequence[ItemJson]:
        """What is wished for, the latest first."""
        engine = self._engine_of()
        rows = [row for row, _ in open_since(engine.history_of(engine.live, user_id, visitor_id))]
        return self._cards(engine.live, np.array(rows, np.int32), user_id, visitor_id)

    async def departments(self, path: str) -> Sequence[tuple[str, int]]:
        """Category paths one level below a path, with how many products stand in each."""
        return shelves.departments(self._engine_of().live, path)

    async def listing(self, path: str, n: int, user_id: str | None, visitor_id: str | None) -> Sequence[ItemJson]:
        """At most `n` products of a category, those most bought first."""
        live = self._engine_of().live
        return self._cards(live, shelves.listing(live, path, n), user_id, visitor_id)

    async def search(self, query: str, n: int, user_id: str | None, visitor_id: str | None) -> Sequence[ItemJson]:
        """At most `n` products whose title holds all words of a query, those most bought first."""
        live = self._engine_of().live
        rows = await asyncio.to_thread(self._titles.search, live, query, n)
        return self._cards(live, rows, user_id, visitor_id)

    def _cards(self, live: Live, rows: Rows, user_id: str | None, visitor_id: str | None) -> list[ItemJson]:
        try:
            history = self._engine_of().history_of(live, user_id, visitor_id)
        except (BundleError, Unavailable):  # a product is shown all the same, without a heart
            history = History.empty()
        hearts, _ = open_wishes(history, rows)
        shelf = live.ranker.shelf
        out = []
        for row, heart, card in zip(rows.tolist(), hearts.tolist(), item_cards(live, rows), strict=True):
            lead = float(shelf.lead_days[row])
            known = {
                "wished": heart,
                "inStock": bool(shelf.in_stock[row]) and not bool(shelf.withdrawn[row]),
                "brand": live.bundle.text("brand", row) or None,
                "leadDays": None if lead != lead else lead,
            }
            out.append(cast("ItemJson", {**card, **known}))
        return out

    # ---- what people do and tell

    async def send_events(self, events: list[Json]) -> Json:
        """Record events durably."""
        request = wire.decode(orjson.dumps({"events": events}), wire.EventsRequest)
        engine = self._engine_of()
        return await take_events(engine, request, engine.clock.now())

    async def send_orders(self, orders: list[Json]) -> Json:
        """Record reports of order lines durably."""
        request = wire.decode(orjson.dumps({"orders": orders}), OrdersRequest)
        return cast("Json", await self._apart(lambda engine, now: take_orders(engine, request, now)))

    async def answer(self, user_id: str | None, visitor_id: str | None, question: str, answer: str | None) -> None:
        """Keep an answer, or with None that the question was skipped."""
        await self._apart(lambda engine, now: own_data.answer(engine, user_id, visitor_id, question, answer, now))

    async def forget(self, user_id: str | None, visitor_id: str | None, question: str) -> None:
        """Forget an answer; the question stays asked."""
        await self._apart(lambda engine, now: own_data.forget(engine, user_id, visitor_id, question, now))

    async def consent(
        self, user_id: str | None, visitor_id: str | None, granted: Mapping[str, bool], wording: Mapping[str, str]
    ) -> None:
        """Keep what was chosen by purpose, and the words that it was chosen by."""
        await self._apart(lambda engine, now: own_data.choose(engine, user_id, visitor_id, granted, wording, now))

    async def _apart(self, action: Callable[[Engine, int], Any]) -> Any:
        """Do what writes to the disk beside the event loop, as the routes of the API do.

        Raises:
            Unavailable: too many are waiting, or it takes too long.
        """
        engine = self._engine_of()
        return await self._beside(action, engine, engine.clock.now())

    # ---- one's own data

    async def consents(self, user_id: str | None, visitor_id: str | None) -> Sequence[ConsentJson]:
        """Every purpose that can be chosen, with the subject's choice; none while the store cannot be read."""
        try:
            return cast("Sequence[ConsentJson]", own_data.consents(self._engine_of(), user_id, visitor_id))
        except Unavailable:
            return ()

    async def questions(self, locale: str) -> Mapping[str, QuestionJson]:
        """All questions of the shop in a language."""
        return cast("Mapping[str, QuestionJson]", own_data.questions(self._engine_of(), locale))

    async def answers(self, user_id: str | None, visitor_id: str | None) -> Mapping[str, str]:
        """Question -> answer of the subject."""
        engine = self._engine_of()
        return own_data.answers(engine, user_id, visitor_id, engine.clock.now())

    async def orders(self, user_id: str, locale: str) -> Sequence[OrderJson]:
        """All order lines of a customer, the latest first."""
        engine = self._engine_of()
        return cast("Sequence[OrderJson]", own_data.orders(engine, user_id, locale, engine.clock.now()))

    async def export(self, user_id: str | None, visitor_id: str | None) -> Json:
        """Everything that is kept of the subject."""
        return cast("Json", await self._apart(lambda engine, _: own_data.export(engine, user_id, visitor_id)))

    async def erase(self, user_id: str | None, visitor_id: str | None) -> str:
        """Forget the subject; the id of the receipt."""
        return str(await self._apart(lambda engine, now: own_data.forget_all(engine, user_id, visitor_id, now)))

    async def receipt(self, receipt_id: str) -> Json:
        """A receipt."""
        return read_receipt(self._engine_of().store, receipt_id)

    # ---- demo only

    async def customers(self, limit: int, query: str) -> Sequence[CustomerJson]:
        """Customers whose id contains `query`, the most active first."""
        return cast("Sequence[CustomerJson]", active_customers(self._engine_of().live, limit, query))

    async def customer(self, user_id: str) -> CustomerJson:
        """One customer; an unknown one has no events."""
        engine = self._engine_of()
        history = engine.history_of(engine.live, user_id, None)
        last = format_instant(int(history.time[-1])) if len(history) else None
        return {"userId": user_id, "events": len(history), "lastSeen": last}

    async def later(self, days: int) -> None:
        """Let days pass in the shop, for everybody."""
        engine = self._engine_of()
        engine.clock = let_pass(engine.shop, days * DAY)
