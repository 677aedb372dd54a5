"""The BentoML service: settings, start, swap, stop. The only module that imports bentoml.

Run it with `kokyaku serve`, or from a built Bento with `bentoml serve`. The shop is named by `KOKYAKU_ROOT` (its
folder) and `KOKYAKU_SHOP` (its id); keys by `KOKYAKU_KEYS` or `KOKYAKU_KEY_FILE`, or `KOKYAKU_DEV=1` on one's own
machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
from pathlib import Path
from typing import Any

import bentoml
import orjson
from starlette.applications import Starlette
from starlette.responses import Response

from features.compiled import warm
from features.errors import ConfigError
from features.shop import Shop
from serving.access import Access
from serving.decision_drain import drain
from serving.engine import Engine
from serving.http import routes
from serving.shopfront import EngineFront
from serving.web import routes as web_routes
from serving.web.studio import routes as studio_routes

WATCH_SECONDS = 0.5
log = logging.getLogger("kokyaku")

# One worker a container: two on one socket balance badly. Replicas are the way to more.
SETTINGS: dict[str, Any] = {
    "name": "kokyaku",
    "workers": 1,
    # The framework arms a timer a request and never cancels it: a long timeout makes latency rot.
    "traffic": {"timeout": 1, "max_concurrency": 64},
    "tracing": {"excluded_urls": ".*"},
    "logging": {"access": {"enabled": False}},
    "metrics": {"enabled": True, "duration": {"buckets": [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0]}},
    "http": {"host": "127.0.0.1", "port": 3000},
}

_opened: dict[str, Engine] = {}
"""The engine of this process, once the service has started: BentoML wants the mounted app before that."""


def engine() -> Engine:
    """The engine of this process."""
    return _opened["engine"]


def build_app(access: Access) -> Starlette:
    """The mounted application: the API, the storefront and the studio."""
    front = EngineFront(engine, demo=access.dev)
    loopback_only = (lambda headers: access.check("read", headers)) if access.dev else None
    pages = web_routes(front, secret=lambda: engine().shop.secret, check=loopback_only)
    return Starlette(routes=[*routes(engine, access), *studio_routes(engine, access), *pages])


def _access() -> Access:
    """The rule of this process; without any keys nobody may do anything, so that a Bento can be built anywhere."""
    try:
        return Access.from_environment(os.environ)
    except ConfigError:
        return Access(dev=False)


@bentoml.service(**SETTINGS)
@bentoml.asgi_app(build_app(_access()), path="/", name="kokyaku")
class Kokyaku:
    """Recommendations and pages of one shop."""

    def __init__(self) -> None:
        Access.from_environment(os.environ)  # a service that would refuse everybody does not start
        root = Path(os.environ.get("KOKYAKU_ROOT", "shop"))
        shop = Shop(os.environ.get("KOKYAKU_SHOP", "demo"), root.absolute())
        warm()  # no request waits for a compiler
        _opened["engine"] = Engine(shop, worker=str(os.getpid()))
        settle_memory()

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def watch(self) -> None:
        """Look for newly published parts and drain the decision log, as long as the service runs."""
        self._watching = asyncio.create_task(_watch(engine()))

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def stop(self) -> None:
        """Stop watching and close what is open."""
        self._watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._watching
        engine().close()

    @bentoml.api(route="/v1/floor")  # type: ignore[untyped-decorator]
    async def floor(self) -> dict[str, Any]:
        """Twenty constant items: the yardstick that `kokyaku bench serve` measures the other routes against."""
        answer: Any = Response(orjson.dumps(_FLOOR), media_type="application/json")
        return answer  # type: ignore[no-any-return]  # a ready response skips the framework's own encoding


async def _watch(opened: Engine) -> None:
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        try:
            if await asyncio.to_thread(opened.refresh):
                settle_memory()
            await asyncio.to_thread(drain, opened.shop.decision_logs, opened.store)
        except Exception:
            log.exception("the watch stumbled and goes on")


def settle_memory() -> None:
    """After a load: what lives long leaves the collector's sight, so requests do not pay for walking it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


_FLOOR = {
    "requestId": "0",
    "itemList": [{"itemId": str(n), "score": 1 - n / 20, "source": "floor", "reason": "constant"} for n in range(20)],
}
