"""The guard in a running service: keys change while it answers, and the framework's own paths are closed too."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import threading
import time

import orjson

from serving.key_file import asked, new_key, revoke_key


def ask(port: int, method: str, path: str, key: str = "", body: object = None, **headers: str):
    """(status, headers, body) over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(
            method, path, None if body is None else orjson.dumps(body), {**({"X-Api-Key": key} if key else {}), **given}
        )
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def made(shop, name: str, scopes: str) -> str:
    return new_key(shop.keys, asked(name, scopes, days=0, rate=0, burst=0, body=0, now=time.time()))


def test_keys_rotate_while_clients_ask_without_one_refusal(started, toy_shop):
    """The new key opens within seconds, the old one until it is revoked and not two seconds longer."""
    old = made(toy_shop, "old", "read")
    service = started(KOKYAKU_DEV="0", KOKYAKU_KEY_FILE=str(toy_shop.keys))
    stop, refused, asks = threading.Event(), [], [0]
    current = [old]

    def client() -> None:
        while not stop.is_set():
            status = ask(service.port, "POST", "/v1/recommendations", current[0], {"userId": "ann"})[0]
            asks[0] += 1
            if status != 200:
                refused.append(status)
            time.sleep(0.01)

    def status_of(key: str) -> int:
        return ask(service.port, "POST", "/v1/recommendations", key, {"userId": "ann"})[0]

    def wait_for(key: str, status: int) -> float:
        began = time.monotonic()
        while status_of(key) != status:
            assert time.monotonic() - began < 8
            time.sleep(0.3)
        return time.monotonic() - began

    threads = [threading.Thread(target=client) for _ in range(2)]
    for thread in threads:
        thread.start()
    new = made(toy_shop, "new", "read")
    wait_for(new, 200)
    assert status_of(old) == 200
    current[0] = new
    time.sleep(0.2)
    revoke_key(toy_shop.keys, "old")
    wait_for(old, 401)
    toy_shop.keys.chmod(0o644)  # a slip of the hand: what was read before goes on
    time.sleep(1.2)
    assert status_of(new) == 200
    stop.set()
    for thread in threads:
        thread.join()
    assert refused == []
    assert asks[0] > 50
    assert "chmod 600" in service.log.read_text()
    assert old not in service.log.read_text()


def test_the_frameworks_own_paths_need_keys_and_carry_our_headers(started, toy_shop):
    service = started(KOKYAKU_DEV="0", KOKYAKU_KEYS="read:r,metrics:m,admin:a")
    for path in ("/metrics", "/docs.json", "/v1/floor", "/schema.json", "/static_content/main.css", "/is_alive"):
        for method in ("GET", "POST"):
            status, headers, _ = ask(service.port, method, path)
            assert status == 401, path
            assert headers["x-request-id"]
            assert headers["x-content-type-options"] == "nosniff"
            assert "server" not in headers
    assert ask(service.port, "GET", "/metrics", "m")[0] == 200
    assert ask(service.port, "GET", "/metrics", "r")[0] == 403
    status, headers, _ = ask(service.port, "POST", "/v1/floor", "r", {})
    assert status == 200
    assert headers["cache-control"] == "no-store"
    assert ask(service.port, "POST", "/v1/floor", "r", {"x": "x" * (2 << 20)})[0] == 413
    for path in ("/livez", "/readyz", "/openapi.json", "/"):
        status, headers, _ = ask(service.port, "GET", path)
        assert status == 200, path
        assert headers["x-request-id"]
        assert "'none'" in headers["content-security-policy"]
    assert (
        ask(service.port, "OPTIONS", "/v1/recommendations", origin="https://evil.example")[1]
        .keys()
        .isdisjoint({"access-control-allow-origin"})
    )


def test_development_refuses_what_a_proxy_on_this_machine_brings_from_elsewhere(started):
    service = started()
    assert ask(service.port, "GET", "/")[0] == 200
    assert ask(service.port, "GET", "/", x_forwarded_for="192.0.2.9")[0] == 403
    assert ask(service.port, "GET", "/", host="evil.example")[0] == 403


def test_without_keys_nothing_is_served_beyond_a_developers_own_word(toy_shop):
    """By default there is authentication: without a key and without --dev the command refuses."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("KOKYAKU_")}
    command = [sys.executable, "-m", "training", "serve", "--shop", "toy", "--root", str(toy_shop.root), "--host"]
    for host in ("0.0.0.0", "127.0.0.1"):
        done = subprocess.run([*command, host], capture_output=True, text=True, env=environ, timeout=60, check=False)
        assert done.returncode == 2
        assert "no API key is configured" in done.stderr
    done = subprocess.run([*command, "0.0.0.0", "--dev"], capture_output=True, text=True, env=environ, check=False)
    assert done.returncode == 2
    assert "this machine only" in done.stderr
