"""What orchestrators ask, and how a service goes: ready or why not, told to stop, done with what it took in."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from features.errors import ConfigError
from serving.leaving import Leaving, done_within
from serving.probes import Probes, cannot_serve
from serving.store import Store
from tests.test_serving.running import ask

BOUND_SECONDS = 10


def test_probes_say_why_not():
    """They answer before anything else does, and everything else answers as before."""
    troubles: dict[str, str | None] = {"unready": None, "dead": None}
    app = Starlette(routes=[Route("/other", lambda _: PlainTextResponse("other"))])
    app.add_middleware(Probes, unready=lambda: troubles["unready"], dead=lambda: troubles["dead"])
    with TestClient(app) as client:
        assert [client.get(path).status_code for path in ("/readyz", "/livez", "/healthz")] == [200, 200, 200]
        assert client.get("/other").text == "other"
        troubles |= {"unready": "stopping"}
        assert (client.get("/readyz").status_code, client.get("/readyz").text) == (503, "stopping\n")
        assert client.get("/livez").status_code == 200  # stopping is no reason to be killed
        troubles |= {"dead": "the watch ended"}
        assert (client.get("/livez").status_code, client.get("/livez").text) == (503, "the watch ended\n")
        assert client.get("/other").status_code == 200


def test_a_worker_that_cannot_make_a_list_is_not_ready(toy_engine, monkeypatch):
    """Whatever is wrong with its engine, requests would meet it; a store that is away is no reason."""
    assert cannot_serve(toy_engine) is None
    toy_engine.store.close()
    assert cannot_serve(toy_engine) is None
    rank = type(toy_engine.live.ranker).rank
    with monkeypatch.context() as broken:
        broken.setattr(type(toy_engine.live.ranker), "rank", lambda *_, **__: np.empty(0)[1])
        assert cannot_serve(toy_engine) == "the engine cannot rank: IndexError"
    assert type(toy_engine.live.ranker).rank is rank
    toy_engine.live.ranker.shelf.stop(set(toy_engine.live.bundle.items))
    assert cannot_serve(toy_engine) == "there is no item to recommend"


class Loop:
    """An event loop that only notes what is to happen."""

    def __init__(self) -> None:
        self.later: list[tuple[float, tuple[object, ...]]] = []

    def call_soon_threadsafe(self, call, *args) -> None:
        call(*args)

    def call_later(self, seconds, call, *args) -> None:
        self.later.append((seconds, args))


def test_told_once_it_says_so_first_and_told_twice_it_stops_at_once():
    """The server's own handler is called after the moment, or now."""
    told: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    try:
        leaving, loop = Leaving(), Loop()
        leaving.begin(loop, {"KOKYAKU_DRAIN_SECONDS": "0.7"})  # type: ignore[arg-type]
        os.kill(os.getpid(), signal.SIGTERM)
        assert (leaving.why, loop.later[0][0], told) == ("stopping", 0.7, [])
        os.kill(os.getpid(), signal.SIGTERM)
        assert told == [signal.SIGTERM, signal.SIGINT]
        with pytest.raises(ConfigError, match="KOKYAKU_DRAIN_SECONDS"):
            Leaving().begin(loop, {"KOKYAKU_DRAIN_SECONDS": "soon"})  # type: ignore[arg-type]
    finally:
        signal.signal(signal.SIGTERM, before)


HANGS = """
import asyncio, logging, threading
from types import SimpleNamespace
from serving import worker

logging.basicConfig(level=logging.WARNING, format="%(message)s")
worker.LAST_SECONDS = 0.2
never = threading.Event().wait
worker._opened["engine"] = SimpleNamespace(decisions=SimpleNamespace(close=never))

async def main():
    loop, left = asyncio.get_running_loop(), worker.Worker.__new__(worker.Worker)
    left.watch()
    if {watching}:
        left._thread.submit(never)
        loop.run_in_executor(None, never)
    await left.stop()

asyncio.run(main())
"""


@pytest.mark.parametrize("watching", [True, False])
def test_a_worker_leaves_also_where_the_store_never_answers(watching):
    """Neither its last deeds nor a thread that hangs keep the process."""
    script = HANGS.replace("{watching}", str(watching))
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "was never acknowledged" in ended.stderr


def test_what_is_done_in_time_is_waited_for():
    """And what it raises is told."""

    async def main() -> list[bool]:
        never = threading.Event()
        found = [await done_within(30.0, time.sleep, 0.01), await done_within(0.01, never.wait)]
        never.set()
        with pytest.raises(ZeroDivisionError):
            await done_within(30.0, divmod, 1, 0)
        return found

    assert asyncio.run(main()) == [True, False]


def test_a_service_that_is_told_to_stop_finishes_what_it_took_in(started, toy_shop):
    """A write that waits for the disk is answered; meanwhile no new requests are asked for; the log is in the store."""
    service = started(KOKYAKU_REQUEST_SECONDS="0.5", KOKYAKU_DRAIN_SECONDS="2")
    with socket.create_connection(("127.0.0.1", service.port), timeout=5) as slow:
        slow.sendall(b"GET /never-ends")
        assert slow.recv(100).startswith(b"HTTP/1.1 408")  # it is our protocol that the server speaks
    page = ask(service.port, "/v1/recommendations", {"userId": "ann"})[1]
    answers: list[tuple[int, dict]] = []
    body = {"events": [{"eventId": "last", "type": "purchase", "itemId": "b3", "userId": "ann"}]}
    writer = threading.Thread(target=lambda: answers.append(ask(service.port, "/v1/events", body)))
    with closing(sqlite3.connect(toy_shop.store, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        writer.start()
        time.sleep(0.3)  # it is on its way
        began = time.monotonic()
        os.kill(service.process.pid, signal.SIGTERM)
        time.sleep(0.3)
        assert ask(service.port, "/readyz") == (503, "stopping\n")
        assert ask(service.port, "/v1/recommendations", {"userId": "bob"})[0] == 200  # came all the same
        assert not answers
        other.execute("COMMIT")
    writer.join()
    assert (answers[0][0], answers[0][1]["accepted"]) == (200, 1)
    service.process.wait(BOUND_SECONDS)
    assert time.monotonic() - began < BOUND_SECONDS
    assert not list(toy_shop.decision_logs.iterdir())
    store = Store.open(toy_shop.store, toy_shop.secret)
    assert [event.event_id for event in store.events_of("ann", None)] == ["last"]
    kept = [row[0] for row in store.database.query("SELECT decision_id FROM decisions")]
    assert page["decisionId"] in kept
    store.close()
