"""The worker: one shop's engine behind its application and the layers around it; start, swap, stop.

A process is one worker, so its parts are this module's: the framework wants the application before the engine is open.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp

from features.compiled import warm
from features.errors import BundleError, ConfigError, KokyakuError
from features.pace import gently
from features.shop import Shop
from serving import guard, logs
from serving.access import Access
from serving.admission import TURNED_AWAY, Connection, Gate
from serving.decision_drain import drain
from serving.direct import Direct, Shortcut, endpoints_of
from serving.engine import Engine
from serving.face import face
from serving.http import VERSION
from serving.keeper import KEPT_BY
from serving.leaving import LAST_SECONDS, Leaving, done_within, end_soon
from serving.memory import admit
from serving.observe import Observed, Paths, metrics_route
from serving.probes import Probes, cannot_serve
from serving.telemetry import Telemetry
from serving.web.render import compile_templates

TURN = 0.0005
"""Seconds after which a thread that works beside the event loop, on a swap for one, lets it have its turn."""
WATCH_SECONDS = 0.5
log = logging.getLogger("kokyaku")

_opened: dict[str, Any] = {}
"""The engine of this process and its watch, once the service has started: BentoML wants the mounted app before that."""
leaving = Leaving()
telemetry = Telemetry([TURNED_AWAY])


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


access = _access()
app = face(engine, access, [metrics_route(telemetry, engine, VERSION)])


def _log_settings() -> logs.Settings:
    """How this process logs; nonsense in the environment is told at the start, not where a Bento is built."""
    try:
        return logs.Settings(os.environ)
    except ConfigError:
        return logs.Settings({})


def around(inner: ASGIApp) -> ASGIApp:
    """The layers around all that answers, the framework's own paths too.

    What keys and limits answer is counted and told as well, and probes carry the headers of every answer. The server
    gives the API's own requests to these layers at once, the others through the framework's first (`serving.direct`).
    """
    endpoints = endpoints_of(app.routes)
    direct = Direct(Probes(inner, unready=_unready, dead=_dead), endpoints)
    guarded = guard.Guard(direct, **guard.options(os.environ, access, lambda: engine().live.config.access.origins))
    paths = Paths(app.routes, ("/v1/floor",))
    access_log = logs.AccessLog(_log_settings().sample)
    layers = Observed(guarded, telemetry=telemetry, access_log=access_log, paths=paths)
    Connection.shortcut = Shortcut(layers, endpoints)
    return layers


class Worker:
    """Opens the shop of this process.

    Args:
        environ: names it, its keys and its limits.

    Raises:
        ConfigError: a setting makes no sense, nobody could ask for anything, or there is too little memory.
        BundleError: nothing serves yet.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        logs.take_over(logs.Settings(environ))
        try:
            self._open(environ)
        except KokyakuError as error:  # the framework's tracebacks do not say what is wrong, and not what to do
            log.error("the worker cannot start: %s", error.line())
            raise

    def _open(self, environ: Mapping[str, str]) -> None:
        Access.from_environment(environ)  # a service that would refuse everybody does not start
        Connection.gate = Gate.from_environment(environ)
        root = Path(environ.get("KOKYAKU_ROOT", "shop"))
        shop = Shop.from_environment(environ.get("KOKYAKU_SHOP", "demo"), root.absolute())
        with contextlib.suppress(BundleError):  # the engine says what is wrong with it
            log.info("memory: %s", admit(shop))
        warm()  # no request waits for a compiler
        _opened["engine"] = Engine(shop, worker=str(os.getpid()))
        settle_memory()
        sys.setswitchinterval(TURN)
        threading.Thread(target=compile_templates, name="kokyaku-templates", daemon=True).start()

    def watch(self) -> None:
        """From now on, in the running event loop: take up what is published, drain the log, leave when asked to."""
        self._thread = ThreadPoolExecutor(1, "kokyaku-watch")
        _opened["watch"] = self._watching = asyncio.create_task(_watch(engine(), self._thread))
        leaving.begin(asyncio.get_running_loop(), os.environ)

    async def stop(self) -> None:
        """Stop watching, bring what was logged into the store, and close what is open; all was answered by now.

        A store that does not answer is left behind: what waits for it was acknowledged to nobody.
        """
        self._watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._watching
        if not await done_within(LAST_SECONDS, _last, engine(), self._thread):
            log.warning("the store does not answer, the worker leaves: what it logged is drained by the next start, "
                        "and what else is not written was never acknowledged")  # fmt: skip
            end_soon()


async def _watch(opened: Engine, thread: ThreadPoolExecutor) -> None:
    """In a thread of its own, so that it gets its turn while all others are busy."""
    loop, trouble = asyncio.get_running_loop(), ""
    parent = int(os.environ.get(KEPT_BY) or os.getppid())  # it may be gone since this worker was begun
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        if os.getppid() != parent:  # whoever would end it is gone; the port is to be free for the next
            log.warning("the process that kept this worker is gone: the worker leaves")
            parent = os.getppid()
            os.kill(os.getpid(), signal.SIGTERM)
        try:
            if await loop.run_in_executor(thread, _taken_up, opened):
                settle_memory()
            await loop.run_in_executor(thread, _drained, opened)
            trouble = ""
        except KokyakuError as error:
            if error.line() != trouble:  # told once, however long it lasts
                trouble = error.line()
                log.warning("the watch goes on: %s", trouble)
        except Exception:
            log.exception("the watch stumbled and goes on")


def _taken_up(opened: Engine) -> bool:
    """`Engine.refresh` beside requests; neither what the shop takes off nor the log waits for a bundle to be opened."""
    looked = time.monotonic()

    def look_again() -> None:
        nonlocal looked
        if time.monotonic() - looked >= WATCH_SECONDS:
            looked = time.monotonic()
            with contextlib.suppress(KokyakuError):  # the next watch tells
                opened.refresh_stops()
                opened.refresh_shelf()
                _drained(opened)

    with gently(look_again):
        return opened.refresh()


def _drained(opened: Engine) -> None:
    """Bring what was logged into the store beside requests; nothing else is looked at while it rests."""
    with gently():
        drain(opened.shop.decision_logs, opened.store)


def _last(opened: Engine, watch: ThreadPoolExecutor) -> None:
    """After what the watch has begun. The log's file is closed first, so the drain can remove it; what it cannot take
    waits for the next start.
    """
    watch.shutdown()
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
