"""The HTTP face: which paths there are, what a key needs for each, and who answers. Starlette routes, mounted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from features.errors import KokyakuError, NotFoundError, RequestError
from serving import actions, erase, intake_people, pages, pipeline, tokens, wire, wire_people
from serving.access import Access
from serving.admission import Apart
from serving.customers import read_customer
from serving.endpoint import Endpoint, Handler, error_response, json_response
from serving.engine import Engine
from serving.export import export_customer
from serving.intake import take_events, take_items
from serving.intake_stops import take_stops
from serving.openapi import document
from serving.together import Together
from serving.watch import request_id_of

VERSION = "0.1.0"

apart = Apart()
"""For what writes to the disk beside the store's own thread, and for what takes long."""
together, laid_together = Together(), Together()
"""For lists, and for pages: a list goes through its stages with lists, and has no page's many between them."""


class MethodError(RequestError):
    """A method that the path does not have."""

    code = "method_not_allowed"
    status = 405


def routes(engine_of: Callable[[], Engine], access: Access) -> list[BaseRoute]:
    """All routes of the API; the engine is looked up at each request, so that it may be opened later."""
    posts = [
        Route(path, Endpoint(path, scope, handler, engine_of, access), methods=["POST"])
        for path, (scope, handler) in HANDLERS.items()
    ]
    described = document(VERSION, {path: scope for path, (scope, _) in HANDLERS.items()})

    async def openapi(request: Request) -> Response:
        return json_response(200, described)

    return [
        *posts,
        Route("/openapi.json", openapi),
        Route("/openapi.json", _only("GET, HEAD")),
        *(Route(path, _only("POST")) for path in HANDLERS),
        Route("/v1/{rest:path}", Refusing(_absent)),
    ]


class Refusing:
    """Answers every request of whatever method with an error.

    Args:
        refuse: request -> the error.
        headers: what the answer says beside it.
    """

    def __init__(self, refuse: Callable[[Request], KokyakuError], headers: Mapping[str, str] | None = None) -> None:
        self._refuse, self._headers = refuse, headers or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        response = error_response(self._refuse(Request(scope)), request_id_of(scope))
        response.headers.update(self._headers)
        await response(scope, receive, send)


def _only(allowed: str) -> Refusing:
    """For a path that was asked with another method than it has."""

    def refuse(request: Request) -> KokyakuError:
        return MethodError("not a method of this path", where="method", got=request.method, hint=f"use {allowed}")

    return Refusing(refuse, {"Allow": allowed})


def _absent(request: Request) -> KokyakuError:
    return NotFoundError("no such path", where="path", got=request.url.path, hint="see /openapi.json")


async def _recommendations(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    request = wire.decode(body, wire.RecommendationsRequest)
    return 200, await together(pipeline.recommending, engine, request, now)


async def _related(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    return 200, await together(pipeline.related, engine, wire.decode(body, wire.RelatedRequest), now)


async def _rankings(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    return 200, await together(pipeline.rank_list, engine, wire.decode(body, wire.RankingsRequest), now)


async def _pages(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    request = wire.decode(body, wire.PageRequest)
    return 200, await pages.page_soon(engine, request, now, engine.store.keep, laid_together)


async def _actions(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    request = wire.decode(body, wire.ActionRequest)
    return 200, await actions.next_action(engine, request, now, engine.store.keep)


async def _events(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    return 200, await take_events(engine, wire.decode(body, wire.EventsRequest), now)


async def _browser_events(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    return 200, await tokens.take_browser_events(engine, wire.decode(body, tokens.BrowserEventsRequest), now)


async def _browser_visitor(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    return 200, tokens.browser_visitor(engine, wire.decode(body, tokens.BrowserVisitorRequest))


async def _visitor_token(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    return 200, tokens.visitor_token(engine, wire.decode(body, tokens.VisitorTokenRequest).visitor_id)


async def _customer_token(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    return 200, tokens.customer_token(engine, wire.decode(body, tokens.CustomerTokenRequest).user_id)


async def _items(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    request = wire.decode(body, wire.ItemsRequest)
    return 200, await apart(take_items, engine, request, now)


async def _read_customer(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    return 200, read_customer(engine, wire.decode(body, wire.CustomerRequest).user_id)


async def _orders(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    request = wire.decode(body, wire_people.OrdersRequest)
    return 200, await apart(intake_people.take_orders, engine, request, now)


async def _update_customer(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    request = wire.decode(body, wire_people.UpdateRequest)
    return 200, await apart(intake_people.take_update, engine, request, now)


async def _answer(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    request = wire.decode(body, wire_people.AnswerRequest)
    return 200, await apart(intake_people.take_answer, engine, request, now)


async def _consent(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    request = wire.decode(body, wire_people.ConsentRequest)
    return 200, await apart(intake_people.take_consent, engine, engine.live, request, now)


async def _export(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    user_id = wire.decode(body, wire.CustomerRequest).user_id
    return 200, await apart(export_customer, engine, user_id)


async def _erase(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    user_id = wire.decode(body, wire.CustomerRequest).user_id
    return 202, await apart(erase.erase, engine.shop, engine.store, user_id, now=now)


async def _receipt(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    receipt_id = wire.decode(body, wire.ReceiptRequest).receipt_id
    return 200, erase.read_receipt(engine.store, receipt_id)


async def _stops(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    request = wire.decode(body, wire.StopsRequest)
    return 200, await apart(take_stops, engine, request, now)


HANDLERS: dict[str, tuple[str, Handler]] = {
    "/v1/recommendations": ("read", _recommendations),
    "/v1/related-items": ("read", _related),
    "/v1/rankings": ("read", _rankings),
    "/v1/pages": ("read", _pages),
    "/v1/actions": ("read", _actions),
    "/v1/events": ("events", _events),
    "/v1/browser/visitor": ("browser", _browser_visitor),
    "/v1/browser/events": ("browser", _browser_events),
    "/v1/visitors/token": ("events", _visitor_token),
    "/v1/items": ("admin", _items),
    "/v1/orders": ("events", _orders),
    "/v1/customers/read": ("admin", _read_customer),
    "/v1/customers/update": ("admin", _update_customer),
    "/v1/customers/answer": ("events", _answer),
    "/v1/customers/consent": ("events", _consent),
    "/v1/customers/export": ("admin", _export),
    "/v1/customers/erase": ("admin", _erase),
    "/v1/customers/token": ("admin", _customer_token),
    "/v1/receipts/read": ("admin", _receipt),
    "/v1/stops": ("admin", _stops),
}
"""path -> (scope that a key needs, handler)."""
