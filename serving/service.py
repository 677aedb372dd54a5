"""The BentoML service: settings and hooks. The only module that imports bentoml.

Run it with `kokyaku serve`, or from a built Bento with `bentoml serve`. The shop is named by `KOKYAKU_ROOT` (its
folder) and `KOKYAKU_SHOP` (its id), its store by `KOKYAKU_STORE` where replicas share one; keys by `KOKYAKU_KEYS` or
`KOKYAKU_KEY_FILE`, or `KOKYAKU_DEV=1` on one's own machine. What else may be set stands in `serving.guard.options`.

BentoML's supervisor loads this module too, before it starts the worker that loads it again. So it imports nothing
heavy: what a worker is made of stands in `serving.worker`, and a service is ready sooner and smaller by all of that.
"""

from __future__ import annotations

import os
from typing import Any

import bentoml
import orjson
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn import config as uvicorn_config

from serving import logs

# One worker a container: two on one socket balance badly. Replicas are the way to more.
SETTINGS: dict[str, Any] = {
    "name": "kokyaku",
    "workers": 1,
    # The framework arms a timer a request and never cancels it: a long timeout makes latency rot. Ours, which answer
    # better, end before it; how many requests are let in is a matter of `serving.admission`.
    "traffic": {"timeout": 5},
    "tracing": {"excluded_urls": ".*"},
    "logging": {"access": {"enabled": False}},
    # Its own make a series of every path that anybody asks for, and write four mapped files a request.
    "metrics": {"enabled": False},
    "http": {"host": "127.0.0.1", "port": 3000},
}

# BentoML makes the HTTP server itself and names no protocol, so what stands for its default is what has to change; and
# before the service starts, which is too late.
uvicorn_config.HTTP_PROTOCOLS["auto"] = "serving.admission:Connection"


class Mounted:
    """The place of the mounted application, which the worker fills."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As the application does."""
        await self.app(scope, receive, send)


def layered(inner: ASGIApp) -> ASGIApp:
    """The layers around everything, in a worker that starts; its application is mounted by that."""
    from serving import worker

    mounted.app = worker.app
    return worker.around(inner)


mounted = Mounted()


@bentoml.service(**SETTINGS)
@bentoml.asgi_app(mounted, path="/", name="kokyaku")
class Kokyaku:
    """Recommendations and pages of one shop."""

    def __init__(self) -> None:
        from serving.worker import Worker

        self.worker = Worker(os.environ)

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def settle_logs() -> None:
        """In the supervisor, before it starts the worker: its lines look like the worker's."""
        logs.take_over(logs.Settings(os.environ))

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def watch(self) -> None:
        """Look for newly published parts and drain the decision log, as long as the service runs."""
        self.worker.watch()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def stop(self) -> None:
        """Stop watching and close what is open."""
        await self.worker.stop()

    @bentoml.api(route="/v1/floor")  # type: ignore[untyped-decorator]
    async def floor(self) -> dict[str, Any]:
        """Twenty constant items: the yardstick that `kokyaku bench serve` measures the other routes against."""
        answer: Any = Response(orjson.dumps(_FLOOR), media_type="application/json")
        return answer  # type: ignore[no-any-return]  # a ready response skips the framework's own encoding


_layers: Any = Kokyaku  # the decorator made it more than a class
_layers.add_asgi_middleware(layered)

_FLOOR = {
    "requestId": "0",
    "itemList": [{"itemId": str(n), "score": 1 - n / 20, "source": "floor", "reason": "constant"} for n in range(20)],
}
