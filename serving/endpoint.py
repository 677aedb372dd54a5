"""One path of the API: who asks may, the body is read, its handler answers, and errors have one owner.

An endpoint is an ASGI application, so that the same object can be a Starlette route and be asked past the router
(`serving.direct`). The answer goes out as two messages of its own: a response object would cost more than it tells.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from features.errors import KokyakuError
from serving.access import Access
from serving.bodies import MAX_BODY, read_body
from serving.engine import Engine
from serving.headers import headers_of
from serving.intake import error_body
from serving.limits import TooManyError
from serving.watch import lap, request_id_of, watching

Handler = Callable[[Engine, bytes, int], Awaitable[tuple[int, Any]]]
_JSON: Final = (b"content-type", b"application/json")
log = logging.getLogger("kokyaku")


class Endpoint:
    """Answers every request that it is given; which path and method lead to it is not its matter.

    Args:
        path: as the log calls it.
        needs: the scope that a key has to have.
        handler: engine, body, moment -> status and answer.
        engine_of: asked at each request, so that the engine may be opened later.
        access: the rule of this process.
    """

    def __init__(
        self, path: str, needs: str, handler: Handler, engine_of: Callable[[], Engine], access: Access
    ) -> None:  # fmt: skip
        self.path = path
        self._needs, self._handler, self._engine_of, self._access = needs, handler, engine_of, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        try:
            headers, client = headers_of(scope), scope.get("client")
            key = self._access.admit(self._needs, headers, client[0] if client else "")
            engine = self._engine_of()
            body = await read_body(headers, receive, key.body or MAX_BODY)
            lap("read")
            status, answer = await self._handler(engine, body, engine.clock.now())
            written = orjson.dumps(answer)
        except Exception as error:
            await self._refusal(error, scope)(scope, receive, send)
            return
        lap("encode")
        length = (b"content-length", b"%d" % len(written))
        await send({"type": "http.response.start", "status": status, "headers": [_JSON, length]})
        await send({"type": "http.response.body", "body": written})

    def _refusal(self, error: Exception, scope: Scope) -> Response:
        """The answer where something went wrong."""
        if isinstance(error, KokyakuError):
            return error_response(error, request_id_of(scope))
        if isinstance(error, ClientDisconnect):
            return Response(status_code=499)  # nobody hears it; the counter does
        watching().failed("internal")
        request_id = request_id_of(scope)
        log.error("a request to %s failed", self.path, exc_info=error)
        return json_response(500, _internal(request_id))


def json_response(status: int, answer: Any) -> Response:
    """An answer as JSON."""
    return Response(orjson.dumps(answer), status, media_type="application/json")


def error_response(error: KokyakuError, request_id: str) -> Response:
    """`{"error": {"code", "message", "field"}}` with the error's status."""
    watching().failed(error.code, error.line() if error.status >= 500 else None)
    response = json_response(error.status, {"error": error_body(error), "requestId": request_id})
    if error.status == 503:
        response.headers["Retry-After"] = "1"
    if isinstance(error, TooManyError):
        response.headers["Retry-After"] = str(error.retry_after)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _internal(request_id: str) -> dict[str, Any]:
    message = f"an error of ours; the log has it under {request_id}"
    return {"error": {"code": "internal", "message": message, "field": None}, "requestId": request_id}
