"""What a worker takes in: too many are told at once, the slow are not waited for, and the others do not feel it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn

from features.errors import ConfigError, Unavailable
from serving import admission
from serving.admission import Apart, Connection, Gate

GATE = Gate(requests=4, connections=80, seconds=0.4)
LARGE = 8_000_000
HEAD = b"POST %s HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n"


class App:
    """An application in which requests stay until they are let go."""

    def __init__(self) -> None:
        self.inside = 0
        self.go = asyncio.Event()
        self.loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            return
        while (await receive()).get("more_body"):
            pass
        body = b"done"
        if scope["path"] == "/wait":
            self.inside += 1
            await self.go.wait()
            self.inside -= 1
        elif scope["path"] == "/large":
            body = bytes(LARGE)
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def let_go(self) -> None:
        """From any thread: whoever is inside may leave."""
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self.go.set)

    async def remember_loop(self) -> None:
        self.loop = asyncio.get_running_loop()


class Served:
    """The application behind our protocol, on a port of this machine."""

    def __init__(self, app: App) -> None:
        config = uvicorn.Config(app, port=0, http=Connection, log_config=None, lifespan="off", timeout_keep_alive=1)
        self.app, self.server = app, uvicorn.Server(config)
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        until(lambda: self.server.started)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]
        self._open: list[socket.socket] = []

    def _run(self) -> None:
        async def serve() -> None:
            await self.app.remember_loop()
            await self.server.serve()

        asyncio.run(serve())

    def connect(self, *first: bytes) -> socket.socket:
        """A client that sends so much at once."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        self._open.append(client)
        for part in first:
            client.sendall(part)
        return client

    def stop(self) -> None:
        for client in self._open:
            client.close()
        self.app.let_go()
        self.server.should_exit = True
        self.thread.join(10)


@pytest.fixture
def served(monkeypatch) -> Iterator[Served]:
    gate = Gate(GATE.requests, GATE.connections, GATE.seconds)
    monkeypatch.setattr(Connection, "gate", gate)
    monkeypatch.setattr(admission, "HASTE_SECONDS", 0.2)
    opened = Served(App())
    yield opened
    opened.stop()
    assert gate.unfinished == 0


def until(true, seconds: float = 10.0) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def get(path: bytes) -> bytes:
    return b"GET %s HTTP/1.1\r\nhost: h\r\n\r\n" % path


def answer(client: socket.socket) -> bytes:
    """What comes next, up to the end of an answer or of the connection."""
    got = b""
    with contextlib.suppress(ConnectionError):
        while part := client.recv(65_536):
            got += part
            head, found, body = got.partition(b"\r\n\r\n")
            if found and len(body) >= int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or b"0"):
                break
    return got


def is_closed(client: socket.socket) -> bool:
    with contextlib.suppress(ConnectionError):
        return client.recv(1) == b""
    return True


def test_64_beyond_capacity_are_told_at_once_and_the_admitted_finish(served):
    """The four that were let in are still worked on; the others got 503 and `Retry-After`; probes got through."""
    admitted = [served.connect(get(b"/wait")) for _ in range(4)]
    until(lambda: served.app.inside == 4)
    began = time.monotonic()
    crowd = [served.connect(get(b"/")) for _ in range(64)]
    refused = [answer(client) for client in crowd]
    assert time.monotonic() - began < 5
    assert {each.split(b"\r\n")[0] for each in refused} == {b"HTTP/1.1 503 Service Unavailable"}
    assert all(b"retry-after: 1" in each and b'"overloaded"' in each for each in refused)
    ids = {each.split(b"x-request-id: ")[1].split(b"\r\n")[0] for each in refused}
    assert len(ids) == len(refused) and all(b'"requestId":"%s"' % each in b"".join(refused) for each in ids)
    for probe in (b"/livez", b"/readyz?verbose=1", b"/metrics"):
        assert answer(served.connect(get(probe))).startswith(b"HTTP/1.1 200")
    assert served.app.inside == 4
    served.app.let_go()
    assert {answer(client)[:12] for client in admitted} == {b"HTTP/1.1 200"}
    assert answer(served.connect(get(b"/"))).startswith(b"HTTP/1.1 200")  # there is room again


def test_a_pipelined_request_beyond_capacity_gets_its_answer_in_turn(served):
    """On one connection the second is refused, and both answers come in order."""
    others = [served.connect(get(b"/wait")) for _ in range(3)]
    client = served.connect(get(b"/wait") + get(b"/"))
    until(lambda: served.app.inside == 4)
    served.app.let_go()
    got = answer(client)
    while got.count(b"HTTP/1.1") < 2:
        got += answer(client)
    assert got.index(b"HTTP/1.1 200") < got.index(b"HTTP/1.1 503")
    assert {answer(each)[:12] for each in others} == {b"HTTP/1.1 200"}


@pytest.mark.parametrize("part", [b"GET /", b"GET / HTTP/1.1\r\nhost: h\r\nx-long:", HEAD % (b"/", 100) + b"half"])
def test_who_sends_slowly_is_told_that_it_took_too_long(served, part):
    """A drop now and then does not keep the connection; who was slow learns it, and others are served meanwhile."""
    client = served.connect(part)
    began = time.monotonic()
    with contextlib.suppress(ConnectionError):
        while time.monotonic() - began < 0.3:
            client.sendall(b"a")
            assert answer(served.connect(get(b"/"))).startswith(b"HTTP/1.1 200")
            time.sleep(0.05)
    assert answer(client).startswith(b"HTTP/1.1 408")
    assert is_closed(client)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("part", [b"", b"\r\n", get(b"/") + b"\r\n"], ids=["nothing", "a line", "a line after one"])
def test_who_sends_nothing_is_let_go(served, part):
    """Half-open connections cost a moment."""
    client = served.connect(part)
    if part.startswith(b"GET"):
        assert answer(client).startswith(b"HTTP/1.1 200")
    assert is_closed(client)


def test_a_client_that_is_gone_costs_nothing(served):
    """A connection that is reset in the middle of a body leaves no trace in the count."""
    for _ in range(10):
        client = served.connect(HEAD % (b"/", 100) + b"half")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset, not a farewell
        until(lambda: Connection.gate.unfinished == 1)
        client.close()
        until(lambda: Connection.gate.unfinished == 0)
    assert answer(served.connect(get(b"/"))).startswith(b"HTTP/1.1 200")


def test_slow_clients_take_no_place_among_the_requests(served):
    """Ten that are not done sending, with room for four: the eleventh is served."""
    slow = [served.connect(HEAD % (b"/", 100) + b"half") for _ in range(10)]
    until(lambda: Connection.gate.unfinished == 10)
    assert answer(served.connect(get(b"/"))).startswith(b"HTTP/1.1 200")
    for client in slow:
        client.sendall(bytes(96))
        assert answer(client).startswith(b"HTTP/1.1 200")


def test_who_does_not_read_his_answer_is_let_go(served):
    """The answer stands in memory for a moment and not for ever; a slow but steady reader gets all of it."""
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.connect(("127.0.0.1", served.port))
    deaf.sendall(get(b"/large"))
    until(lambda: len(served.server.server_state.connections) == 1)
    until(lambda: not served.server.server_state.connections, 5)
    deaf.close()
    assert len(answer(served.connect(get(b"/large")))) > LARGE


def test_beyond_its_connections_a_worker_hurries_and_sends_away(served):
    """New ones are asked to come again; those that say nothing leave sooner."""
    idle = [served.connect() for _ in range(GATE.connections)]
    until(lambda: len(served.server.server_state.connections) == GATE.connections)
    late = served.connect(get(b"/"))
    got = answer(late)
    assert got.startswith(b"HTTP/1.1 503") and b"connection: close" in got
    assert is_closed(late)
    assert all(is_closed(client) for client in idle)
    assert answer(served.connect(get(b"/"))).startswith(b"HTTP/1.1 200")


def test_limits_come_from_the_environment():
    assert Gate.from_environment({}) == Gate()
    told = {"KOKYAKU_MAX_REQUESTS": "8", "KOKYAKU_MAX_CONNECTIONS": " 90 ", "KOKYAKU_REQUEST_SECONDS": "2.5"}
    assert Gate.from_environment(told) == Gate(8, 90, 2.5)
    for wrong in ("0", "-1", "many", "nan", "inf"):
        with pytest.raises(ConfigError, match="KOKYAKU_MAX_REQUESTS"):
            Gate.from_environment({"KOKYAKU_MAX_REQUESTS": wrong})


def test_what_is_done_apart_is_bounded_in_number_and_time():
    """The third is sent away, the two who wait too long are told so, and their work is done all the same."""
    release, done = threading.Event(), []

    def work(name: str) -> str:
        release.wait(10)
        done.append(name)
        return name

    async def main() -> None:
        apart = Apart(most=2, seconds=0.1)
        waiting = [asyncio.ensure_future(apart(work, name)) for name in "ab"]
        await asyncio.sleep(0.01)
        with pytest.raises(Unavailable, match="too much"):
            await apart(work, "c")
        for each in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(each, Unavailable) and "too long" in each.what
        with pytest.raises(Unavailable, match="too much"):
            await apart(work, "d")  # their threads are still busy
        release.set()
        while len(done) < 2:
            await asyncio.sleep(0.01)
        assert await apart(work, "e") == "e"

    asyncio.run(main())
    assert sorted(done) == ["a", "b", "e"]


def test_an_error_apart_is_the_callers():
    def broken() -> None:
        raise Unavailable("no disk")

    with pytest.raises(Unavailable, match="no disk"):
        asyncio.run(Apart()(broken))
