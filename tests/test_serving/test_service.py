"""The service as a process: it starts, answers, and swaps under load."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import urllib.request

import orjson

from serving.artifact import publish_live
from serving.bundle import write_bundle
from tests.test_serving.running import ask


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
    assert "/readyz" not in scraped  # probes are no traffic
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


HEAVY = ("pandas", "sklearn", "mlflow", "duckdb", "ibis", "lightgbm", "implicit", "matplotlib", "pyarrow", "scipy")


def test_a_worker_carries_no_training_library(toy_shop):
    """Importing the service and opening an engine loads none of the libraries that only training needs."""
    code = (
        "import sys, serving.service, serving.worker\n"
        "serving.worker.warm()\n"
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


def test_the_supervisor_loads_nothing_that_only_a_worker_needs():
    """It imports the service as well, each start waits for that, and each service pays its memory."""
    code = "import sys, serving.service; print([name for name in ('numpy', 'serving.engine') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
