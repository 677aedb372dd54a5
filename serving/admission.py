"""Admission: what one worker takes in, for how long it waits for whom, and what it does beside its event loop.

An engine answers one request after the other, so a request that would wait behind too many others is told so at once,
before any of it is worked on: those that were let in keep their latency. A client that sends or reads slowly costs a
connection for a few seconds and no place among the requests. Probes are always let in.
"""

from __future__ import annotations

import asyncio
from asyncio import TimerHandle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Any, ClassVar, ParamSpec, TypeVar, cast

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from features.errors import ConfigError, Unavailable
from serving.decide import new_id
from serving.direct import Shortcut, Whole
from serving.telemetry import Tally

P = ParamSpec("P")
Result = TypeVar("Result")

PROBES = frozenset((b"/livez", b"/readyz", b"/healthz", b"/metrics"))
APART = 32
"""So many calls at most work or wait beside the event loop."""
APART_SECONDS = 4.0
HASTE_SECONDS = 1.0
"""With too many connections a new one has this long for its request."""
TURNED_AWAY = Tally(
    "turned_away", "Requests and connections that were not served, by why.", ("why",),
    [("requests",), ("connections",), ("slow",)],
)  # fmt: skip


@dataclass
class Gate:
    """The limits of one worker, and how full it is.

    Args:
        requests: so many at once are worked on or wait for it.
        connections: beyond these, new ones are asked to come again.
        seconds: in which a request has to be whole, counted from connecting or from its first byte; and in which the
            reader of an answer has to take something.
        unfinished: requests of which a part is still to come; they take no place.
    """

    requests: int = 64
    connections: int = 1_000
    seconds: float = 5.0
    unfinished: int = field(default=0, init=False)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Gate:
        """`KOKYAKU_MAX_REQUESTS`, `KOKYAKU_MAX_CONNECTIONS` and `KOKYAKU_REQUEST_SECONDS`, where they are set.

        Raises:
            ConfigError: not a number above zero.
        """
        return cls(
            int(positive(environ, "KOKYAKU_MAX_REQUESTS", cls.requests)),
            int(positive(environ, "KOKYAKU_MAX_CONNECTIONS", cls.connections)),
            positive(environ, "KOKYAKU_REQUEST_SECONDS", cls.seconds),
        )

    def refusal(self, at_work: int, connections: int) -> str | None:
        """Why a request is turned away; None where there is room.

        Args:
            at_work: whole requests that are not answered yet.
            connections: open ones.
        """
        if at_work >= self.requests:
            return "requests"
        return "connections" if connections > self.connections else None


class Stage(Enum):
    """What of a connection's next request is here."""

    NOTHING = 0
    HEAD = 1
    """A part of its head."""
    BODY = 2
    """Its head and perhaps a part of its body."""


class Connection(HttpToolsProtocol):
    """One client, as the server sees it: its requests are counted as they arrive, and it is not waited for for ever."""

    gate: ClassVar[Gate] = Gate()
    shortcut: ClassVar[Shortcut] = Shortcut()
    _served: Any = None
    _ours: Any = None
    """What answers requests that take the shortcut."""
    _timer: TimerHandle | None = None
    _reader_timer: TimerHandle | None = None
    _stage = Stage.NOTHING
    _counted = False
    """Whether its request is among the unfinished ones."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connected: the first request is awaited."""
        super().connection_made(transport)
        self.access_log = False  # ours is `serving.logs`; the server's own would be put together and thrown away
        self._served = self.app
        self._ours = self._served if self.root_path else self.shortcut.behind(self._served)
        crowded = len(self.connections) > self.gate.connections
        self._wait(HASTE_SECONDS if crowded else self.gate.seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._stop_waiting()
        self._finished()
        self._drop_reader_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Something came: if it is less than a request, the rest is awaited."""
        super().data_received(data)
        if self._timer is None and (self._stage is not Stage.NOTHING or self._is_idle()):
            self._wait(self.gate.seconds)

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._stage = Stage.HEAD
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head of a request is here: let it in, or turn it away."""
        self._stage = Stage.BODY
        # Of the tasks those whose request is not whole yet do not work.
        why = self.gate.refusal(len(self.tasks) - self.gate.unfinished, len(self.connections))
        short = False
        if why is not None and self.url.partition(b"?")[0] not in PROBES:
            TURNED_AWAY.add((why,))
            self.app = cast("Any", _TURNED_AWAY[why])
        else:
            why, short = None, self.shortcut.leads(self.parser.get_method(), self.url)
            self.app = self._ours if short else self._served
        super().on_headers_complete()
        if short and self.cycle is not None and self.cycle.scope is self.scope:  # who wants a WebSocket has none
            self.cycle.transport = cast("Any", Whole(self.cycle))
        if why is None and not self.pipeline:
            self._counted = True
            self.gate.unfinished += 1

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._stage = Stage.NOTHING
        self._stop_waiting()
        self._finished()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is on its way; who does not take it is not waited for."""
        self._finished()  # answered without its body: refused, as a rule
        super().on_response_complete()
        if self.transport.is_closing() and self.transport.get_write_buffer_size():
            self._await_reader()

    def pause_writing(self) -> None:
        """The client reads slower than we write."""
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        """The client took what there was."""
        super().resume_writing()
        self._drop_reader_timer()

    def timeout_keep_alive_handler(self) -> None:
        """No further request came."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def _is_idle(self) -> bool:
        """Whether neither a request nor an answer is under way, and nothing ends that."""
        return self.timeout_keep_alive_task is None and (self.cycle is None or self.cycle.response_complete)

    def _finished(self) -> None:
        if self._counted:
            self._counted = False
            self.gate.unfinished -= 1

    def _wait(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self._give_up)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _await_reader(self) -> None:
        if self._reader_timer is None:
            self._reader_timer = self.loop.call_later(self.gate.seconds, self.transport.abort)

    def _drop_reader_timer(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    def _give_up(self) -> None:
        """The request did not become whole in time."""
        self._timer = None
        cycle = self.cycle
        answering = cycle is not None and not cycle.response_complete
        if answering and not cycle.more_body:
            self._wait(self.gate.seconds)  # the one before it is still worked on
            return
        TURNED_AWAY.add(("slow",))
        if self._stage is Stage.HEAD or (answering and not cycle.response_started):
            self.transport.write(_TOO_SLOW)
        self.transport.close()


async def turned_away(scope: Any, receive: Any, send: Any, *, close: bool = False) -> None:
    """The answer to a request for which there is no room."""
    message = "too many requests at once; try again in a moment"
    error = {"code": "overloaded", "message": message, "field": None}
    request_id = new_id()
    body = orjson.dumps({"error": error, "requestId": request_id})
    headers = [
        (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), (b"retry-after", b"1"),
        (b"x-request-id", request_id.encode()),
    ]  # fmt: skip
    headers += [(b"connection", b"close")] if close else []
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})


_TURNED_AWAY = {"requests": turned_away, "connections": partial(turned_away, close=True)}


class Apart:
    """What may take long (a disk, an export) in threads beside the event loop, so many at once and so long at most.

    Args:
        most: how many calls may work or wait; more are sent away at once.
        seconds: a caller who waited so long is told so. His call goes on: it can be asked for again.
    """

    def __init__(self, most: int = APART, seconds: float = APART_SECONDS) -> None:
        self._most, self._seconds = most, seconds
        self._busy = 0

    async def __call__(self, work: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
        """The result of a call.

        Raises:
            Unavailable: too many are waiting, or it takes too long.
        """
        if self._busy >= self._most:
            raise Unavailable("too much is waiting for the disk", hint="try again in a moment")
        self._busy += 1
        call = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
        call.add_done_callback(self._done)
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.shield(call)
        except TimeoutError:
            raise Unavailable("this takes too long now", hint="ask again in a moment; it may be done by then") from None

    def _done(self, call: asyncio.Future[Any]) -> None:
        self._busy -= 1
        if not call.cancelled():
            call.exception()  # seen, also where nobody waits for it any more


def positive(environ: Mapping[str, str], name: str, otherwise: float) -> float:
    """A number of the environment.

    Raises:
        ConfigError: not a number above zero.
    """
    given = environ.get(name, "").strip()
    try:
        number = float(given) if given else float(otherwise)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e9:
        raise ConfigError("not a number above zero", where=name, got=given, hint="leave it out for the usual limit")
    return number


_SLOW = orjson.dumps({"error": {"code": "too_slow", "message": "the request did not arrive in time", "field": None}})
_TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
    % len(_SLOW)
) + _SLOW
