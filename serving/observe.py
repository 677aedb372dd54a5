"""Around every request: its watch, its counts, its line in the log. And `/metrics`, where the counts are read.

`Observed` lies around the layers that refuse (keys, origins, limits), so that what they answer is counted and told too;
probes pass it uncounted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter_ns
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from serving.caps import UNCOUNTED
from serving.drawing import FAILED, UNKEPT
from serving.engine import Engine
from serving.filling import KNOWS_NOTHING, PASSED
from serving.gauges import UP, gauges_of
from serving.guard import PROBES
from serving.hydrate import OUTDATED, STORED, UNMAPPED, UNREAD
from serving.logs import AccessLog
from serving.pipeline import ALONE, FILLED, STRANGER, UNKNOWN
from serving.telemetry import CONTENT_TYPE, OTHER, Gauge, Telemetry
from serving.watch import Watch, unwatch, watch_with

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

METRICS = "/metrics"
GAUGE_SECONDS = 1.0
"""A store that does not answer keeps no scraper waiting longer than this."""
_CLASSES = {
    STRANGER: "stranger", ALONE: "no-neighbours", UNKNOWN: "unknown-items", PASSED: "second-choice",
    KNOWS_NOTHING: "policy-knows-nothing", FAILED: "policy-failed", UNKEPT: "draw-not-kept",
    UNCOUNTED: "not-counted", UNREAD: "store-unread", OUTDATED: "store-outdated",
    UNMAPPED: "history-refused", STORED: "history-unread",
}  # fmt: skip


def fallback_class(reason: str) -> str:
    """The class of a fallback's reason: few, whatever numbers and names stand in the words."""
    if reason.endswith(FILLED):
        return "filled"
    return _CLASSES.get(reason, OTHER)


class Paths:
    """From a request's path to the name of its route, so that nobody can make a series by asking for a new path.

    Args:
        routes: of the application.
        beside: paths that something else answers.
    """

    def __init__(self, routes: Iterable[BaseRoute], beside: Iterable[str] = ()) -> None:
        self._exact = {path: path for path in beside}
        self._begin: dict[str, str] = {}
        for route in routes:
            path = str(getattr(route, "path", ""))
            fixed = path.split("{")[0]
            if fixed == path:
                self._exact[path] = path
            elif fixed not in {"/", "/v1/"}:  # the last resort of all paths is no route of its own
                self._begin[fixed] = path

    def __call__(self, path: str) -> str:
        """A path of ours, or `other`."""
        found = self._exact.get(path)
        if found is None:
            found = next((name for begin, name in self._begin.items() if path.startswith(begin)), OTHER)
        return found


class Observed:
    """An ASGI layer: every request is watched, counted, and now and then told in the log.

    Args:
        app: what answers.
        telemetry: where it is counted.
        access_log: where it is told.
        paths: names of routes.
    """

    def __init__(self, app: App, *, telemetry: Telemetry, access_log: AccessLog, paths: Paths) -> None:
        self._app, self._telemetry, self._log, self._paths = app, telemetry, access_log, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and note how it went; probes are no traffic."""
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        watch, status = Watch(scope), "cancelled"

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        token = watch_with(watch)
        try:
            await self._app(scope, receive, noted)
        except Exception:
            status = "500"
            raise
        finally:
            unwatch(token)
            self._done(scope["path"], watch, status)

    def _done(self, path: str, watch: Watch, status: str) -> None:
        nanoseconds = perf_counter_ns() - watch.started
        route = self._paths(path)
        reasons = [fallback_class(reason) for reason in watch.fallbacks]
        self._telemetry.take(route, status, nanoseconds / 1e9, watch, reasons)
        self._log.answered(watch, route, status, nanoseconds / 1e6, reasons)


class Looks:
    """Takes the gauges beside the event loop, one look at a time and none for long: a store may not answer.

    Args:
        engine_of: whose state the gauges are.
        version: of the program.
    """

    def __init__(self, engine_of: Callable[[], Engine], version: str) -> None:
        self._engine_of, self._version = engine_of, version
        self._thread = ThreadPoolExecutor(1, "kokyaku-gauges")
        self._running: asyncio.Future[list[Gauge]] | None = None

    async def __call__(self) -> list[Gauge]:
        """The gauges, of the look that runs where one does; while it hangs, only that the store is down."""
        look = self._running
        if look is None or look.done():
            loop = asyncio.get_running_loop()
            look = loop.run_in_executor(self._thread, gauges_of, self._engine_of(), self._version)
            self._running = look
        done, _ = await asyncio.wait([look], timeout=GAUGE_SECONDS)
        return look.result() if done else [Gauge("store_up", UP, 0.0)]


def metrics_route(telemetry: Telemetry, engine_of: Callable[[], Engine], version: str) -> BaseRoute:
    """`GET /metrics`; who may read it is a matter of `serving.guard`.

    Args:
        telemetry: what was counted.
        engine_of: whose state the gauges are.
        version: of the program.
    """
    looks = Looks(engine_of, version)

    async def metrics(request: Request) -> Response:
        return Response(telemetry.rendered(await looks()), media_type=CONTENT_TYPE)

    return Route(METRICS, metrics)
