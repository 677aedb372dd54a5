"""The engine as the storefront sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec
import numpy as np
import orjson

from features.moments import format_instant
from features.personal import open_wishes
from serving import pages, pipeline, wire
from serving.customers import active_customers
from serving.engine import Engine, item_card
from serving.intake import take_events
from serving.query import Context
from serving.web.shopfront import CustomerJson, ItemJson, Json, PageJson, ShopJson, SlotJson

RELATED_TITLE = {"en": "Goes well with this", "ja": "ご一緒にいかがですか"}


class EngineFront:
    """Adapts an engine to `serving.web.shopfront.Shopfront`.

    Args:
        engine_of: gives the engine once the service has started.
        demo: whether anyone may look as any customer; only ever on loopback.
    """

    def __init__(self, engine_of: Callable[[], Engine], *, demo: bool) -> None:
        self._engine_of = engine_of
        self._demo = demo

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

    async def send_events(self, events: list[Json]) -> Json:
        """Record events durably."""
        request = wire.decode(orjson.dumps({"events": events}), wire.EventsRequest)
        engine = self._engine_of()
        return await take_events(engine, request, engine.clock.now())

    async def customers(self, limit: int, query: str) -> Sequence[CustomerJson]:
        """Customers whose id contains `query`, the most active first."""
        return cast("Sequence[CustomerJson]", active_customers(self._engine_of().live, limit, query))

    async def customer(self, user_id: str) -> CustomerJson:
        """One customer; an unknown one has no events."""
        engine = self._engine_of()
        history = engine.history_of(engine.live, user_id, None)
        last = format_instant(int(history.time[-1])) if len(history) else None
        return {"userId": user_id, "events": len(history), "lastSeen": last}

    async def item(self, item_id: str, user_id: str | None, visitor_id: str | None) -> ItemJson | None:
        """A product with the subject's heart, or None."""
        engine = self._engine_of()
        live = engine.live
        row = live.bundle.items.find(item_id)
        if row is None:
            fields = live.ranker.shelf.unlisted.get(item_id)
            return None if fields is None else cast("ItemJson", {"itemId": item_id, **fields})
        history = engine.history_of(live, user_id, visitor_id)
        heart = bool(open_wishes(history, np.array([row], np.int32))[0][0])
        in_stock = bool(live.ranker.shelf.in_stock[row]) and not bool(live.ranker.shelf.withdrawn[row])
        return cast("ItemJson", {**item_card(live, row), "wished": heart, "inStock": in_stock})

    async def related(
        self, item_id: str, n: int, user_id: str | None, visitor_id: str | None, session_id: str
    ) -> SlotJson:
        """What goes with one product, as a slot with its decision."""
        engine = self._engine_of()
        request = wire.RelatedRequest(item_ids=(item_id,), user_id=user_id, visitor_id=visitor_id, num_results=n)
        answer = pipeline.related(engine, request, engine.clock.now())
        live = engine.live
        rows = live.bundle.items.rows_of([entry["itemId"] for entry in answer["itemList"]])
        hearts, _ = open_wishes(engine.history_of(live, user_id, visitor_id), rows)
        items: list[Any] = [
            {**item_card(live, int(row)), "reason": entry["reason"], "source": entry["source"], "wished": bool(heart)}
            for row, entry, heart in zip(rows, answer["itemList"], hearts, strict=True)
            if row >= 0
        ]
        return {
            "slot": "related",
            "decisionId": answer["decisionId"],
            "actionId": "related",
            "kind": "related",
            "title": RELATED_TITLE[live.config.shop.locale],
            "items": items,
        }

    async def shop(self) -> ShopJson:
        """Name, money, language and live bundle."""
        live = self._engine_of().live
        settings = live.config.shop
        return {
            "name": settings.name,
            "currency": settings.currency,
            "locale": settings.locale,
            "bundle_id": live.bundle.id,
            "as_of": format_instant(live.bundle.as_of),
            "demo": self._demo,
            "regions": live.ranker.regions(),
        }
