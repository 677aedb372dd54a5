"""The service as a process: it starts, answers, swaps under load, and forgets nothing it acknowledged when killed."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import orjson
import pytest

from serving.artifact import publish_live
from serving.bundle import write_bundle
from serving.clock import set_clock
from serving.store import Store

READY_SECONDS = 60
AS_OF = 20_000 * 86_400 * 1_000_000


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port: int, path: str, body: object | None = None, timeout: float = 10):
    """(status, JSON) of a POST, or of a GET where there is no body."""
    data = None if body is None else orjson.dumps(body)
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            raw, status = answer.read(), answer.status
    except urllib.error.HTTPError as error:
        raw, status = error.read(), error.code
    try:
        return status, orjson.loads(raw)
    except orjson.JSONDecodeError:
        return status, raw.decode()


def descendants(pid: int) -> list[int]:
    """All processes below one, children first."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(word) for word in task.read_text().split()]
    return [below for child in found for below in (*descendants(child), child)]


class Process:
    """One running service."""

    def __init__(self, shop, log: Path, **environment: str) -> None:
        self.port = free_port()
        self.log = log
        env = {**os.environ, "KOKYAKU_DEV": "1", "KOKYAKU_ROOT": str(shop.root), "KOKYAKU_SHOP": shop.id}
        env |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "BENTOML_DO_NOT_TRACK": "True", **environment}
        command = [sys.executable, "-m", "bentoml", "serve", "serving.service:Kokyaku", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--timeout-graceful-shutdown", "5"]
        with log.open("ab") as out:
            self.process = subprocess.Popen(command, env=env, stdout=out, stderr=out, start_new_session=True)
        self._wait()

    def _wait(self) -> None:
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            with contextlib.suppress(OSError):
                if ask(self.port, "/readyz", timeout=1)[0] == 200:
                    return
            time.sleep(0.1)
        raise AssertionError(f"the service did not become ready:\n{self.log.read_text()[-3000:]}")

    def kill(self) -> None:
        """kill -9 of the service and all its workers at once; workers have process groups of their own."""
        for pid in [*descendants(self.process.pid), self.process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> None:
        """Ask it to finish."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()


@pytest.fixture
def started(toy_shop, tmp_path):
    """Starts services of the toy shop and stops them at the end."""
    set_clock(toy_shop, AS_OF)
    running: list[Process] = []

    def start(**environment: str) -> Process:
        running.append(Process(toy_shop, tmp_path / "service.log", **environment))
        return running[-1]

    yield start
    for process in running:
        process.stop()


def purchase(event_id: str, item: str = "b3", user: str = "ann") -> dict:
    return {"events": [{"eventId": event_id, "type": "purchase", "itemId": item, "userId": user}]}


def test_the_faces_of_the_service(started):
    """API, storefront, probes, metrics and OpenAPI answer; errors are ours; an event changes the next answer."""
    service = started()
    for path in ("/livez", "/readyz", "/metrics", "/", "/openapi.json"):
        assert ask(service.port, path)[0] == 200, path
    status, refused = ask(service.port, "/v1/recommendations", {"userID": "ann"})
    assert status == 400
    assert refused["error"]["field"] == "userID"
    assert ask(service.port, "/v1/events", purchase("e1"))[1]["accepted"] == 1
    answer = ask(service.port, "/v1/recommendations", {"userId": "ann", "numResults": 3})[1]
    assert answer["itemList"][0]["itemId"] == "b3"
    assert 'kokyaku_requests_total{route="/v1/events"' in ask(service.port, "/metrics")[1]
    assert len(ask(service.port, "/v1/floor", {})[1]["itemList"]) == 20
    scraped = ask(service.port, "/metrics")[1]
    assert 'kokyaku_requests_total{route="/v1/floor",status="200"} 1.0' in scraped
    assert 'kokyaku_requests_total{route="/readyz",status="200"}' in scraped
    service.stop()
    lines = [orjson.loads(line) for line in service.log.read_text().splitlines()]  # the framework's and server's too
    assert {"bentoml.serve", "kokyaku.access"} <= {line["logger"] for line in lines}
    assert lines[0]["message"].startswith("Starting production")
    assert all({"time", "level", "message"} <= line.keys() for line in lines)


def test_keys_are_needed_without_development_mode(started):
    service = started(KOKYAKU_DEV="0", KOKYAKU_KEYS="read:sesame")
    assert ask(service.port, "/v1/recommendations", {"userId": "ann"})[0] == 401
    request = urllib.request.Request(
        f"http://127.0.0.1:{service.port}/v1/recommendations", b'{"userId":"ann"}', {"X-Api-Key": "sesame"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_acknowledged_events_survive_kill_9(started, toy_shop, seed):
    """Killed at a random moment while clients write: what was acknowledged is there, once, and changes the answer."""
    service = started()
    acknowledged: list[str] = []
    lock = threading.Lock()
    stop = threading.Event()

    def client(name: int) -> None:
        for number in range(10_000):
            if stop.is_set():
                return
            event_id = f"{seed}-{name}-{number}"
            try:
                status, answer = ask(service.port, "/v1/events", purchase(event_id), timeout=2)
            except (OSError, ValueError, http.client.HTTPException):
                return  # the connection died with the service: not acknowledged
            if status == 200 and answer["accepted"] == 1:
                with lock:
                    acknowledged.append(event_id)

    threads = [threading.Thread(target=client, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(float(np.random.default_rng(seed).uniform(0.3, 1.2)))
    service.kill()
    stop.set()
    for thread in threads:
        thread.join()
    assert acknowledged
    store = Store.open(toy_shop.store, toy_shop.secret)
    kept = [event.event_id for event in store.events_of("ann", None)]
    store.close()
    assert set(acknowledged) <= set(kept)
    assert len(kept) == len(set(kept))
    again = started()
    answer = ask(again.port, "/v1/recommendations", {"userId": "ann", "numResults": 1})[1]
    assert answer["itemList"][0]["itemId"] == "b3"


def test_a_new_bundle_is_taken_up_under_load_without_a_failed_request(started, toy_shop, make_toy_bundle):
    service = started()
    failures: list[object] = []
    seen: set[str] = set()
    stop = threading.Event()

    def client() -> None:
        while not stop.is_set():
            status, answer = ask(service.port, "/v1/recommendations", {"userId": "ann", "numResults": 4})
            if status != 200 or len(answer["itemList"]) != 4:
                failures.append((status, answer))
            else:
                seen.add(answer["bundleId"])

    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(2, 6):
        write_bundle(toy_shop.bundles / f"toy-{number}", make_toy_bundle(f"toy-{number}"))
        publish_live(toy_shop.bundles, f"toy-{number}")
        time.sleep(0.9)
    until = time.monotonic() + 10
    while "toy-5" not in seen and time.monotonic() < until:
        time.sleep(0.1)
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert {"toy-2", "toy-5"} <= seen


HEAVY = ("pandas", "sklearn", "mlflow", "duckdb", "ibis", "lightgbm", "implicit", "matplotlib")


def test_a_worker_carries_no_training_library(toy_shop):
    """Importing the service and opening an engine loads none of the libraries that only training needs."""
    code = (
        "import sys, serving.service\n"
        "from pathlib import Path\n"
        "from features.shop import Shop\n"
        "from serving.engine import Engine\n"
        f"Engine(Shop('toy', Path({str(toy_shop.root)!r})), worker='t').close()\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "KOKYAKU_DEV": "1"}, check=True
    )
    assert done.stdout.strip().splitlines()[-1] == "[]"
