"""The running service under hostile requests over its socket, some of which are no HTTP at all."""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest

from serving.clock import set_clock
from tests.test_serving import hostile
from tests.test_serving.conftest import AS_OF
from tests.test_serving.fuzzing import KEY, KEYED, TOML, Answer, World, write_report
from tests.test_serving.hostile import Attack
from tests.test_serving.running import Process
from tests.test_serving.test_fuzz import REPORT, told
from tests.test_serving.test_openapi import DOCUMENT

HEAD = b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Api-Key: " + KEY.encode() + b"\r\n"
NO_HTTP = (
    b"\x00\x01\x02\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\r\n" * 1_000,
    b"GET\r\n\r\n", b"GET " + b"/" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /?a=\x80\xff HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
    b"GET /%00%ff%2e%2e/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 5_000 + b"\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n\r\n", HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
    HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", HEAD + b"Content-Length: -5\r\n\r\n",
    HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde", HEAD + b"Content-Length: 900\r\n\r\n{\"events\"",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n", HEAD + b"X-Api-Key\r\n\r\n",
    HEAD + b" folded: a\r\n\r\n",
)  # fmt: skip
PROBES = (
    ("GET", "/livez", 200), ("HEAD", "/livez", 200), ("POST", "/livez", 405), ("GET", "/readyz", 200),
    ("PUT", "/readyz", 405), ("GET", "/metrics", 200), ("DELETE", "/metrics", 405), ("GET", "/openapi.json", 200),
    ("POST", "/openapi.json", 405),
)  # fmt: skip


@pytest.fixture
def service(toy_shop, tmp_path):
    """One with keys."""
    set_clock(toy_shop, AS_OF)
    toy_shop.config.write_text(TOML)
    running = Process(toy_shop, tmp_path / "service.log", KOKYAKU_DEV="0", KOKYAKU_KEYS=f"admin:{KEY},read:reader")
    yield running
    running.stop()


def sent(port: int, attack: Attack) -> Answer:
    """One request over a connection of its own.

    Raises:
        http.client.HTTPException, OSError, ValueError: it cannot be sent, or the other side hung up.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    headers = {name: value.encode("latin-1") for name, value in {**KEYED, **attack.headers}.items() if name != "X-Send"}
    try:
        connection.request(attack.method, attack.path, attack.body, headers)
        answer = connection.getresponse()
        carried = {name.lower().encode(): value.encode("latin-1") for name, value in answer.getheaders()}
        return Answer(answer.status, carried, answer.read(), "")
    finally:
        connection.close()


def assault(service: Process, world: World, attacks: Iterable[Attack]) -> None:
    """Send attacks, and between them what is no HTTP."""
    world.canaries.plant(lambda path, body: _posted(service.port, path, body))
    world.token = _posted(service.port, "/v1/visitors/token", {"visitorId": "a"})[1]["visitorToken"].encode()
    for number, attack in enumerate(attacks):
        if number % 20 == 0:
            _shout(service.port, NO_HTTP[number // 20 % len(NO_HTTP)])
        whole = Attack(attack.method, attack.path, attack.body.replace(b"@token@", world.token), attack.headers)
        with contextlib.suppress(http.client.HTTPException, OSError, ValueError):  # what no client can send
            answer = sent(service.port, whole)
            if b"Invalid HTTP request" not in answer.body:  # the server's own refusal of what is no HTTP
                world.count(whole, answer)


def _posted(port: int, path: str, body: Any) -> tuple[int, Any]:
    answer = sent(port, Attack("POST", path, orjson.dumps(body)))
    return answer.status, orjson.loads(answer.body)


def _shout(port: int, raw: bytes) -> None:
    """Send bytes and hang up; a part of an answer is enough."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as line:
        line.sendall(raw)
        line.settimeout(0.05)
        line.recv(100)


def judge(service: Process, world: World, log: Path) -> None:
    """It lives, and neither its answers nor its log hold what they must not."""
    for method, path, status in PROBES:
        assert sent(service.port, Attack(method, path)).status == status, (method, path)
        assert str(status) in DOCUMENT["paths"][path]["get"]["responses"]
    assert not world.broken, told(world)
    lines = log.read_bytes()
    assert b"Traceback" not in lines, lines[lines.index(b"Traceback") - 300 :][:3_000]
    assert not world.canaries.leaked(lines)
    served = sum(count for (path, status), count in world.seen.items() if path.startswith("/v1/") and status < 300)
    assert served > 5


async def _nothing(*_: Any) -> None: ...


def test_the_running_service_holds(service, tmp_path):
    """Every family, and everything that is no HTTP, once."""
    world = World(_nothing, hostile.Canaries(4))
    assault(service, world, hostile.attacks(4, 20 * len(NO_HTTP) // 2))
    for raw in NO_HTTP:
        _shout(service.port, raw)
    judge(service, world, tmp_path / "service.log")


@pytest.mark.soak
def test_the_running_service_holds_for_long(service, tmp_path):
    """Thousands."""
    world = World(_nothing, hostile.Canaries(5))
    assault(service, world, hostile.attacks(5, 6_000))
    write_report(REPORT, "over the socket", world.report())
    judge(service, world, tmp_path / "service.log")
