"""The HTTP face: routes, one owner of errors, one limit on bodies. Starlette routes, mounted into the service."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from prometheus_client import Counter, Histogram
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from features.errors import KokyakuError, NotFoundError, RequestError
from serving import actions, erase, intake_people, pages, pipeline, wire, wire_people
from serving.access import Access
from serving.customers import read_customer
from serving.decide import new_id
from serving.engine import Engine
from serving.export import export_customer
from serving.intake import error_body, take_events, take_items
from serving.intake_stops import take_stops
from serving.openapi import document

MAX_BODY = 1 << 20
_DIGITS = 15
"""Of a length that can be one; Python reads no number of thousands of digits."""
VERSION = "0.1.0"
log = logging.getLogger("kokyaku")

Handler = Callable[[Engine, bytes, int], Awaitable[tuple[int, Any]]]

_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
REQUESTS = Counter("kokyaku_requests", "Requests by route and status", ["route", "status"])
SECONDS = Histogram("kokyaku_request_seconds", "Time to answer by route", ["route"], buckets=_BUCKETS)
UNLOGGED = Counter("kokyaku_unlogged_answers", "Answers whose decision could not be logged")
FALLBACKS = Counter("kokyaku_fallback_answers", "Answers that were filled with popular items", ["route"])


class BodyTooLargeError(RequestError):
    """A body beyond the limit."""

    code = "too_large"
    status = 413


class BodyKindError(RequestError):
    """A body that is compressed, or says of itself that it is no JSON."""

    code = "unsupported_media_type"
    status = 415


class MethodError(RequestError):
    """A method that the path does not have."""

    code = "method_not_allowed"
    status = 405


def routes(engine_of: Callable[[], Engine], access: Access) -> list[BaseRoute]:
    """All routes of the API; the engine is looked up at each request, so that it may be opened later."""
    posts = [_post(path, scope, handler, engine_of, access) for path, (scope, handler) in HANDLERS.items()]
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
        response = error_response(self._refuse(Request(scope)), new_id())
        response.headers.update(self._headers)
        await response(scope, receive, send)


def _only(allowed: str) -> Refusing:
    """For a path that was asked with another method than it has."""

    def refuse(request: Request) -> KokyakuError:
        return MethodError("not a method of this path", where="method", got=request.method, hint=f"use {allowed}")

    return Refusing(refuse, {"Allow": allowed})


def _absent(request: Request) -> KokyakuError:
    return NotFoundError("no such path", where="path", got=request.url.path, hint="see /openapi.json")


def _post(path: str, scope: str, handler: Handler, engine_of: Callable[[], Engine], access: Access) -> Route:
    seconds = SECONDS.labels(path)
    succeeded = REQUESTS.labels(path, "200")

    async def endpoint(request: Request) -> Response:
        started = time.perf_counter()
        try:
            access.check(scope, request.headers)
            engine = engine_of()
            status, answer = await handler(engine, await read_body(request), engine.clock.now())
            response = json_response(status, answer)
        except KokyakuError as error:
            response = error_response(error, new_id())
        except Exception:
            request_id = new_id()
            log.exception("request %s to %s failed", request_id, path)
            response = json_response(500, _internal(request_id))
        seconds.observe(time.perf_counter() - started)
        (succeeded if response.status_code == 200 else REQUESTS.labels(path, str(response.status_code))).inc()
        return response

    return Route(path, endpoint, methods=["POST"])


async def read_body(request: Request) -> bytes:
    """The body, refused as soon as it is too large.

    Raises:
        BodyTooLargeError: more than a mebibyte.
        BodyKindError: it is compressed, or something else than JSON.
    """
    _check_kind(request.headers)
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and (len(announced) > _DIGITS or int(announced) > MAX_BODY):
        raise BodyTooLargeError("the body is too large", where="body", got=announced, hint=f"send at most {MAX_BODY}")
    parts = bytearray()
    async for part in request.stream():
        parts += part
        if len(parts) > MAX_BODY:
            raise BodyTooLargeError("the body is too large", where="body", hint=f"send at most {MAX_BODY} bytes")
    return bytes(parts)


def _check_kind(headers: Mapping[str, str]) -> None:
    """What is compressed is not unpacked: a small body could become a huge one.

    Programs that name no kind of their own (`curl -d`, a browser's beacon) say `form` or `text`: that is read as JSON.
    """
    coding, kind = headers.get("content-encoding", "identity"), headers.get("content-type", "")
    if coding.strip().lower() != "identity":
        raise BodyKindError("a compressed body", where="Content-Encoding", got=coding, hint="send it as it is")
    name = kind.partition(";")[0].strip().lower()
    if name not in _JSON and not name.endswith("+json"):
        raise BodyKindError("not a kind of JSON", where="Content-Type", got=kind, hint="send application/json")


_JSON = frozenset({"", "application/json", "text/json", "text/plain", "application/x-www-form-urlencoded"})


def json_response(status: int, answer: Any) -> Response:
    """An answer as JSON."""
    return Response(orjson.dumps(answer), status, media_type="application/json")


def error_response(error: KokyakuError, request_id: str) -> Response:
    """`{"error": {"code", "message", "field"}}` with the error's status."""
    response = json_response(error.status, {"error": error_body(error), "requestId": request_id})
    if error.status == 503:
        response.headers["Retry-After"] = "1"
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _internal(request_id: str) -> dict[str, Any]:
    message = f"an error of ours; the log has it under {request_id}"
    return {"error": {"code": "internal", "message": message, "field": None}, "requestId": request_id}


async def _recommendations(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    request = wire.decode(body, wire.RecommendationsRequest)
    return 200, _counted("/v1/recommendations", pipeline.recommend(engine, request, now))


async def _related(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    return 200, _counted("/v1/related-items", pipeline.related(engine, wire.decode(body, wire.RelatedRequest), now))


async def _rankings(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    return 200, pipeline.rank_list(engine, wire.decode(body, wire.RankingsRequest), now)


async def _pages(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    request = wire.decode(body, wire.PageRequest)
    return 200, _counted("/v1/pages", await pages.page_soon(engine, request, now, engine.store.keep))


async def _actions(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    request = wire.decode(body, wire.ActionRequest)
    return 200, _counted("/v1/actions", await actions.next_action(engine, request, now, engine.store.keep))


async def _events(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    return 200, await take_events(engine, wire.decode(body, wire.EventsRequest), now)


async def _items(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    request = wire.decode(body, wire.ItemsRequest)
    return 200, await asyncio.to_thread(take_items, engine, request, now)


async def _read_customer(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    return 200, read_customer(engine, wire.decode(body, wire.CustomerRequest).user_id)


async def _orders(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    request = wire.decode(body, wire_people.OrdersRequest)
    return 200, await asyncio.to_thread(intake_people.take_orders, engine, request, now)


async def _update_customer(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    request = wire.decode(body, wire_people.UpdateRequest)
    return 200, await asyncio.to_thread(intake_people.take_update, engine, request, now)


async def _answer(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    request = wire.decode(body, wire_people.AnswerRequest)
    return 200, await asyncio.to_thread(intake_people.take_answer, engine, request, now)


async def _consent(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    request = wire.decode(body, wire_people.ConsentRequest)
    return 200, await asyncio.to_thread(intake_people.take_consent, engine, engine.live, request, now)


async def _export(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    user_id = wire.decode(body, wire.CustomerRequest).user_id
    return 200, await asyncio.to_thread(export_customer, engine, user_id)


async def _erase(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    user_id = wire.decode(body, wire.CustomerRequest).user_id
    return 202, await asyncio.to_thread(erase.erase, engine.shop, engine.store, user_id, now=now)


async def _receipt(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    receipt_id = wire.decode(body, wire.ReceiptRequest).receipt_id
    return 200, erase.read_receipt(engine.store, receipt_id)


async def _stops(engine: Engine, body: bytes, now: int) -> tuple[int, Any]:
    request = wire.decode(body, wire.StopsRequest)
    return 200, await asyncio.to_thread(take_stops, engine, request, now)


def _counted(route: str, answer: dict[str, Any]) -> dict[str, Any]:
    if answer.get("logged") is False:
        UNLOGGED.inc()
    if answer.get("reason"):
        FALLBACKS.labels(route).inc()
    return answer


HANDLERS: dict[str, tuple[str, Handler]] = {
    "/v1/recommendations": ("read", _recommendations),
    "/v1/related-items": ("read", _related),
    "/v1/rankings": ("read", _rankings),
    "/v1/pages": ("read", _pages),
    "/v1/actions": ("read", _actions),
    "/v1/events": ("events", _events),
    "/v1/items": ("admin", _items),
    "/v1/orders": ("events", _orders),
    "/v1/customers/read": ("admin", _read_customer),
    "/v1/customers/update": ("admin", _update_customer),
    "/v1/customers/answer": ("events", _answer),
    "/v1/customers/consent": ("events", _consent),
    "/v1/customers/export": ("admin", _export),
    "/v1/customers/erase": ("admin", _erase),
    "/v1/receipts/read": ("admin", _receipt),
    "/v1/stops": ("admin", _stops),
}
"""path -> (scope that a key needs, handler)."""
