"""The BentoML service: settings, start, swap, stop. The only module that imports bentoml.

Run it with `kokyaku serve`, or from a built Bento with `bentoml serve`. The shop is named by `KOKYAKU_ROOT` (its
folder) and `KOKYAKU_SHOP` (its id), its store by `KOKYAKU_STORE` where replicas share one; keys by `KOKYAKU_KEYS` or
`KOKYAKU_KEY_FILE`, or `KOKYAKU_DEV=1` on one's own machine. What else may be set stands in `serving.guard.options`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import bentoml
import orjson
from starlette.responses import Response

from features.errors import BundleError, ConfigError, KokyakuError
from features.shop import Shop
from serving import guard, logs
from serving.access import Access
from serving.admission import TURNED_AWAY, Connection, Gate, install
from serving.decision_drain import drain
from serving.engine import Engine
from serving.face import face
from serving.http import VERSION
from serving.leaving import Leaving
from serving.memory import admit
from serving.observe import Observed, Paths, metrics_route
from serving.probes import Probes, cannot_serve
from serving.telemetry import Telemetry
from serving.web.render import compile_templates

WATCH_SECONDS = 0.5
log = logging.getLogger("kokyaku")

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

_opened: dict[str, Any] = {}
"""The engine of this process and its watch, once the service has started: BentoML wants the mounted app before that."""
leaving = Leaving()
telemetry = Telemetry([TURNED_AWAY])
install()


def engine() -> Engine:
    """The engine of this process."""
    opened: Engine = _opened["engine"]
    return opened


def _access() -> Access:
    """The rule of this process; without any keys nobody may do anything, so that a Bento can be built anywhere."""
    try:
        return Access.from_environment(os.environ)
    except ConfigError:
        return Access(dev=False)


ACCESS = _access()
app = face(engine, ACCESS, [metrics_route(telemetry, engine, VERSION)])


def _log_settings() -> logs.Settings:
    """How this process logs; nonsense in the environment is told at the start, not where a Bento is built."""
    try:
        return logs.Settings(os.environ)
    except ConfigError:
        return logs.Settings({})


@bentoml.service(**SETTINGS)
@bentoml.asgi_app(app, path="/", name="kokyaku")
class Kokyaku:
    """Recommendations and pages of one shop."""

    def __init__(self) -> None:
        logs.take_over(logs.Settings(os.environ))
        Access.from_environment(os.environ)  # a service that would refuse everybody does not start
        Connection.gate = Gate.from_environment(os.environ)
        root = Path(os.environ.get("KOKYAKU_ROOT", "shop"))
        shop = Shop.from_environment(os.environ.get("KOKYAKU_SHOP", "demo"), root.absolute())
        with contextlib.suppress(BundleError):  # the engine says what is wrong with it
            log.info("memory: %s", admit(shop))
        _opened["engine"] = Engine(shop, worker=str(os.getpid()))
        settle_memory()
        threading.Thread(target=compile_templates, name="kokyaku-templates", daemon=True).start()

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def settle_logs() -> None:
        """In the supervisor, before it starts the worker: its lines look like the worker's."""
        logs.take_over(logs.Settings(os.environ))

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def watch(self) -> None:
        """Look for newly published parts and drain the decision log, as long as the service runs."""
        self._thread = ThreadPoolExecutor(1, "kokyaku-watch")
        _opened["watch"] = self._watching = asyncio.create_task(_watch(engine(), self._thread))
        leaving.begin(asyncio.get_running_loop(), os.environ)

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def stop(self) -> None:
        """Stop watching, bring what was logged into the store, and close what is open; all was answered by now."""
        self._watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._watching
        await asyncio.get_running_loop().run_in_executor(self._thread, _last, engine())
        self._thread.shutdown()

    @bentoml.api(route="/v1/floor")  # type: ignore[untyped-decorator]
    async def floor(self) -> dict[str, Any]:
        """Twenty constant items: the yardstick that `kokyaku bench serve` measures the other routes against."""
        answer: Any = Response(orjson.dumps(_FLOOR), media_type="application/json")
        return answer  # type: ignore[no-any-return]  # a ready response skips the framework's own encoding


async def _watch(opened: Engine, thread: ThreadPoolExecutor) -> None:
    """In a thread of its own, so that it gets its turn while all others are busy."""
    loop, trouble = asyncio.get_running_loop(), ""
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        try:
            if await loop.run_in_executor(thread, opened.refresh):
                settle_memory()
            await loop.run_in_executor(thread, drain, opened.shop.decision_logs, opened.store)
            trouble = ""
        except KokyakuError as error:
            if error.line() != trouble:  # told once, however long it lasts
                trouble = error.line()
                log.warning("the watch goes on: %s", trouble)
        except Exception:
            log.exception("the watch stumbled and goes on")


def _last(opened: Engine) -> None:
    """The log's file is closed first, so the drain can remove it; what it cannot take waits for the next start."""
    opened.decisions.close()
    with contextlib.suppress(KokyakuError, OSError):
        drain(opened.shop.decision_logs, opened.store)
    opened.close()


def _unready() -> str | None:
    if "engine" not in _opened:
        return "starting"
    return leaving.why or cannot_serve(engine())


def _dead() -> str | None:
    watch = _opened.get("watch")
    return "the watch ended" if watch is not None and watch.done() and leaving.why is None else None


def settle_memory() -> None:
    """After a load: what lives long leaves the collector's sight, so requests do not pay for walking it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


# Around the framework's own paths too: documentation, whatever it may add. The first one added is the outermost: probes
# are no traffic, so they are answered before anybody counts; what keys and limits answer is counted and told as well.
_layers: Any = Kokyaku  # the decorator made it more than a class
_layers.add_asgi_middleware(Probes, unready=_unready, dead=_dead)
_layers.add_asgi_middleware(
    Observed,
    telemetry=telemetry,
    access_log=logs.AccessLog(_log_settings().sample),
    paths=Paths(app.routes, ("/v1/floor",)),
)
_layers.add_asgi_middleware(
    guard.Guard, **guard.options(os.environ, ACCESS, lambda: engine().live.config.access.origins)
)
_layers.add_asgi_middleware(Probes, unready=_unready, dead=_dead)

_FLOOR = {
    "requestId": "0",
    "itemList": [{"itemId": str(n), "score": 1 - n / 20, "source": "floor", "reason": "constant"} for n in range(20)],
}
