"""The short way to the API: what takes it, what does not, and that nobody can tell which way he was answered."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import threading
import time
from collections.abc import Iterator

import orjson
import pytest
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from serving.access import Access
from serving.admission import Connection
from serving.bodies import MAX_BODY
from serving.direct import Direct, Shortcut, Whole, endpoints_of
from serving.endpoint import Endpoint
from serving.face import face
from serving.http import HANDLERS

PATH = "/v1/recommendations"


def answering(name: str, seen: list | None = None):
    """An application that says who it is."""

    async def app(scope, receive, send) -> None:
        if scope["type"] != "http":
            return
        if seen is not None:
            seen.append((scope["client"], scope["scheme"]))
        headers = [(b"content-length", b"%d" % len(name))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": name.encode()})

    return app


# --- the layer --------------------------------------------------------------------------------------------------------


def taken(**scope) -> str:
    """Who answers a request, behind the layer."""
    said = []

    def saying(name: str):
        async def app(scope, receive, send) -> None:
            said.append(name)

        return app

    asked = {"type": "http", "method": "POST", "path": PATH, **scope}
    asyncio.run(Direct(saying("long"), {PATH: saying("short")})(asked, None, None))
    return said[0]


def test_a_post_to_an_endpoint_takes_the_short_way():
    assert taken() == "short"
    assert taken(root_path="", query_string=b"a=b") == "short"


@pytest.mark.parametrize(
    "other",
    [{"method": name} for name in ("GET", "HEAD", "OPTIONS", "PUT", "post")]
    + [{"path": path} for path in (PATH + "/", "/", "", "/V1/recommendations", PATH + "\n", "/v1/floor")]
    + [{"root_path": "/shop", "path": f"/shop{PATH}"}, {"root_path": "/shop"}, {"type": "websocket"}],
)
def test_everything_else_takes_the_long_way(other):
    assert taken(**other) == "long"


def test_no_lifespan_is_swallowed():
    assert taken(type="lifespan") == "long"


def test_one_object_serves_both_ways(toy_engine):
    """No copy of an endpoint can go its own way."""
    routes = face(lambda: toy_engine, Access(dev=True)).routes
    endpoints = endpoints_of(routes)
    assert set(endpoints) == set(HANDLERS)
    first = {}
    for route in routes:
        first.setdefault(getattr(route, "path", ""), route)
    for path, endpoint in endpoints.items():
        assert isinstance(endpoint, Endpoint)
        assert first[path].app is endpoint and first[path].methods == {"POST"}


# --- the server -------------------------------------------------------------------------------------------------------


@pytest.fixture
def server(monkeypatch) -> Iterator[tuple[int, list]]:
    """A server that was started with one application and knows a shortcut to another: (port, what that one saw)."""
    seen: list = []
    monkeypatch.setattr(Connection, "shortcut", Shortcut(answering("ours", seen), [PATH]))
    config = uvicorn.Config(answering("theirs"), port=0, http=Connection, log_config=None, lifespan="off")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(running.serve()))
    thread.start()
    until = time.monotonic() + 10
    while not running.started:
        assert time.monotonic() < until
        time.sleep(0.005)
    yield running.servers[0].sockets[0].getsockname()[1], seen
    running.should_exit = True
    thread.join(10)


def sent(port: int, *requests: bytes) -> bytes:
    """What comes back for these, on one connection that the server closes after the last."""
    *before, (head, end, body) = [request.partition(b"\r\n\r\n") for request in requests]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"".join(map(b"".join, before)) + head + b"\r\nconnection: close" + end + body)
        return b"".join(iter(lambda: client.recv(65_536), b""))


def written(method: str, target: str, *more: str, body: bytes = b"{}", length: int | None = None) -> bytes:
    announced = f"content-length: {len(body) if length is None else length}"
    return "\r\n".join([f"{method} {target} HTTP/1.1", "host: 127.0.0.1", announced, *more, "", ""]).encode() + body


def test_the_server_knows_the_shortcut(server):
    port, _ = server
    assert sent(port, written("POST", PATH)).endswith(b"ours")
    assert Connection.gate.unfinished == 0


def test_answers_of_the_short_way_leave_in_one_piece(server, monkeypatch):
    port, _ = server
    told, done = [], Connection.on_response_complete
    monkeypatch.setattr(
        Connection, "on_response_complete", lambda it: (told.append(type(it.cycle.transport) is Whole), done(it))
    )
    for path in (PATH, "/x"):
        sent(port, written("POST", path))
    assert told == [True, False]


def test_who_wants_another_protocol_on_an_endpoint_s_path_gets_an_answer(server):
    port, _ = server
    asked = written("POST", PATH, "upgrade: websocket", "connection: upgrade")
    assert sent(port, asked).startswith(b"HTTP/1.1 ")
    assert sent(port, written("POST", PATH)).endswith(b"ours")


@pytest.mark.parametrize("line", [
    ("GET", PATH), ("HEAD", PATH), ("OPTIONS", PATH), ("POST", PATH + "?"), ("POST", PATH + "/"),
    ("POST", "/v1/%72ecommendations"), ("POST", f"http://127.0.0.1{PATH}"),
])  # fmt: skip
def test_what_is_spelled_otherwise_goes_to_whom_it_went_before(server, line):
    port, seen = server
    got = sent(port, written(*line))
    assert got.startswith(b"HTTP/1.1 200") and not seen


def test_each_request_of_a_connection_goes_its_own_way(server):
    port, _ = server
    got = sent(port, written("POST", PATH), written("POST", "/x"), written("POST", PATH))
    assert [part[-6:] for part in got.split(b"HTTP/1.1 200 OK")[1:]] == [b"\r\nours", b"theirs", b"\r\nours"]


def test_behind_a_proxy_the_client_is_the_one_that_it_names(server):
    """Limits on addresses, and the header that browsers obey over TLS, would be wrong without it."""
    port, seen = server
    sent(port, written("POST", PATH, "x-forwarded-for: 192.0.2.7", "x-forwarded-proto: https"))
    sent(port, written("POST", PATH))
    assert seen[0] == (("192.0.2.7", 0), "https")
    assert (seen[1][0][0], seen[1][1]) == ("127.0.0.1", "http")


# --- an answer in one piece -------------------------------------------------------------------------------------------


class Wire:
    """A transport that tells what was done to it."""

    def __init__(self) -> None:
        self.done: list[bytes | str] = []

    def write(self, data: bytes) -> None:
        self.done.append(data)

    def close(self) -> None:
        self.done.append("closed")

    def is_closing(self) -> bool:
        return "closed" in self.done


def answered_with(*bodies: bytes, expecting: bool = False, broken: bool = False) -> list[bytes | str]:
    """What the server's own cycle does to the transport for one answer: pieces of a body after a head."""
    wire = Wire()

    async def app(scope, receive, send) -> None:
        if expecting:
            await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % length)]})
        assert wire.done == [CONTINUE][:expecting]  # the head waits for the body
        if broken:
            raise OSError
        for at, body in enumerate(bodies, start=1):
            await send({"type": "http.response.body", "body": body, "more_body": at < len(bodies)})

    async def run() -> None:
        event = asyncio.Event()
        event.set()
        cycle = RequestResponseCycle(
            {"method": "POST"}, wire, FlowControl(wire), log, log, False, [], event, expecting, False, lambda: None
        )  # fmt: skip
        cycle.transport = Whole(cycle)
        await cycle.run_asgi(app)

    length, log = sum(map(len, bodies)), logging.Logger("silent")
    wire.pause_reading = wire.resume_reading = lambda: None
    asyncio.run(run())
    return wire.done


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"


def test_head_and_body_leave_together():
    assert answered_with(b"body") == [HEAD % 4 + b"body", "closed"]
    assert answered_with(b"") == [HEAD % 0, "closed"]
    assert answered_with(b"one", b"", b"two") == [HEAD % 6 + b"one", b"", b"two", "closed"]


def test_what_answered_is_not_left_to_the_collector():
    gc.collect()
    gc.disable()
    try:
        answered_with(b"body")
        # Their type alone: a weak reference whose object is gone answers no other question.
        left = [each for each in gc.get_objects() if type(each) in (Whole, RequestResponseCycle)]
    finally:
        gc.enable()
    assert not left


def test_who_may_go_on_with_his_body_is_told_at_once():
    assert answered_with(b"body", expecting=True) == [CONTINUE, HEAD % 4 + b"body", "closed"]


def test_an_answer_that_breaks_off_leaves_as_far_as_it_came():
    assert answered_with(b"body", broken=True) == [HEAD % 4, "closed"]


# --- a service --------------------------------------------------------------------------------------------------------

OK = orjson.dumps({"userId": "ann", "numResults": 3})
KEY = "x-api-key: sesame"
JSON = "content-type: application/json"
ASKED = {
    "a list": (PATH, OK, [KEY, JSON]),
    "no key": (PATH, OK, []),
    "a wrong key": (PATH, OK, ["x-api-key: open"]),
    "a key for something else": ("/v1/events", b'{"events":[]}', [KEY]),
    "nonsense": (PATH, b'{"userID":1}', [KEY]),
    "no JSON": (PATH, b"\xff{", [KEY]),
    "an empty body": (PATH, b"", [KEY]),
    "compressed": (PATH, OK, [KEY, "content-encoding: gzip"]),
    "no kind of JSON": (PATH, OK, [KEY, "content-type: image/png"]),
    "an id of the client's": (PATH, OK, [KEY, "x-request-id: mine-1"]),
    "two ids": (PATH, OK, [KEY, "x-request-id: mine-1", "x-request-id: mine-2"]),
    "an id that is none": (PATH, OK, [KEY, "x-request-id: a b"]),
    "over TLS": (PATH, OK, [KEY, "x-forwarded-proto: https"]),
    "from a page that may not": ("/v1/browser/events", b"{}", [KEY, "origin: https://elsewhere.example"]),
    "to be continued": (PATH, OK, [KEY, "expect: 100-continue"]),
}


def both_ways(port: int, path: str, body: bytes, headers: list[str], length: int | None = None) -> list[tuple]:
    """The short way's answer, and that of the long way, which an empty query takes; without what differs each time."""
    answers = []
    for target in (path, path + "?"):
        got = sent(port, written("POST", target, *headers, body=body, length=length))
        continued = got.startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        head, _, content = got.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        told, answer = dict(line.split(": ", 1) for line in lines), orjson.loads(content)
        if not told["x-request-id"].startswith("mine"):
            fresh = told.pop("x-request-id")
            assert "itemList" in answer or answer["requestId"] == fresh
        del told["date"], told["content-length"]  # a reason may be longer than another
        items = [entry["itemId"] for entry in answer.get("itemList", [])]
        answers.append((status, continued, sorted(told.items()), answer.get("error"), items))
    return answers


def test_nobody_can_tell_which_way_he_was_answered(started):
    service = started(KOKYAKU_DEV="0", KOKYAKU_KEYS="read:sesame")
    statuses = set()
    for name, asked in ASKED.items():
        short, long = both_ways(service.port, *asked)
        assert short == long, name
        statuses.add(short[0].split()[1])
    short, long = both_ways(service.port, PATH, b"", [KEY], length=MAX_BODY + 1)
    assert short == long and short[0].split()[1] == "413"
    assert statuses == {"200", "400", "401", "403", "415"}
