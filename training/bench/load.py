"""A small load generator: keep-alive HTTP/1.1 over loopback, closed loop for throughput, open loop for latency.

It runs in a process of its own. Latency in the open loop counts from the moment at which a request was *scheduled*, so
a server that stalls cannot hide the requests that wait behind the stall. What comes while the server warms up is
reported apart.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

MARK = "@number@"
"""Becomes the number of the request wherever a body has it: no two requests send the same event then."""


class LoadPlan(msgspec.Struct, frozen=True):
    """What to send and how.

    Args:
        port: on 127.0.0.1; no other address is ever loaded.
        path: of the POST requests.
        bodies: sent in turn.
        seconds: how long after the warm-up; the load stops by itself.
        connections: open at once.
        rate: requests a second of the open loop; None for a closed loop.
        header: an extra header line such as an API key.
        warm: seconds at the beginning that are counted apart.
        most: requests at most, warm-up included.
        first: the number of the first request; two plans must not share numbers where bodies have them.
    """

    port: int
    path: str
    bodies: list[str]
    seconds: float
    connections: int = 16
    rate: float | None = None
    header: str = ""
    warm: float = 0.0
    most: int = 1_000_000
    first: int = 0


class LoadResult(msgspec.Struct, frozen=True):
    """What came back after the warm-up. Latencies are milliseconds.

    Args:
        requests: answers with status 200.
        errors: all others, those of the warm-up included.
        seconds: from the end of the warm-up to the last answer.
        p50, p99: of the latency; NaN where nothing was asked.
        warm_p99, warm_worst: the same of the warm-up, and its slowest answer; NaN where there was none.
        statuses: how often each status came that was not 200.
    """

    requests: int
    errors: int
    seconds: float
    p50: float
    p99: float
    warm_p99: float = float("nan")
    warm_worst: float = float("nan")
    statuses: dict[str, int] = {}


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request under way."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._done: asyncio.Future[int] | None = None
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """A request under way fails."""
        if self._done and not self._done.done():
            self._done.set_exception(exc or ConnectionResetError("closed by the server"))

    def ask(self, request: bytes) -> asyncio.Future[int]:
        """Send a request; the future gives its status."""
        self._done = asyncio.get_running_loop().create_future()
        self._buffer.clear()
        self.transport.write(request)
        return self._done

    def data_received(self, data: bytes) -> None:
        """Collect until the announced length is there."""
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0 or self._done is None or self._done.done():
            return
        lower = bytes(self._buffer[:head]).lower()
        at = lower.find(b"content-length:")
        length = int(lower[at + 15 : lower.find(b"\r\n", at) if b"\r\n" in lower[at:] else None]) if at >= 0 else 0
        if len(self._buffer) >= head + 4 + length:
            self._done.set_result(int(lower[9:12]))


@dataclass
class Heard:
    """What came back so far: for each answer its moment after the start, its latency (both seconds) and its status."""

    moments: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    def note(self, moment: float, latency: float, status: int) -> None:
        """Take in an answer."""
        self.moments.append(moment)
        self.latencies.append(latency)
        self.statuses.append(status)

    def result(self, warm: float) -> LoadResult:
        """Count; `warm` seconds at the beginning stand apart."""
        moment, latency, status = np.array(self.moments), np.array(self.latencies) * 1000, np.array(self.statuses)
        cold, good = moment < warm, status == 200
        p50, p99 = _percentiles(latency[~cold], 50, 99)
        warm_p99, worst = _percentiles(latency[cold], 99, 100)
        names, counts = np.unique(status[~good], return_counts=True)
        return LoadResult(
            int((good & ~cold).sum()), int((~good).sum()), float(moment.max(initial=warm)) - warm, p50, p99,
            warm_p99, worst, dict(zip(map(str, names.tolist()), counts.tolist(), strict=True)),
        )  # fmt: skip


def encode(plan: LoadPlan) -> list[bytes]:
    """The requests as bytes, made once."""
    extra = f"{plan.header}\r\n" if plan.header else ""
    return [
        (
            f"POST {plan.path} HTTP/1.1\r\nHost: 127.0.0.1:{plan.port}\r\nContent-Type: application/json\r\n"
            f"{extra}Content-Length: {len(body.encode())}\r\n\r\n{body}"
        ).encode()
        for body in plan.bodies
    ]


def requests_of(plan: LoadPlan) -> Iterator[bytes]:
    """The requests one after the other, each with its own number where its body asks for it."""
    made, mark = encode(plan), MARK.encode()
    for number, request in enumerate(itertools.islice(itertools.cycle(made), plan.most), start=plan.first):
        # As long as the mark, so that the announced length stays true.
        yield request.replace(mark, b"%0*d" % (len(mark), number)) if mark in request else request


async def run_load(plan: LoadPlan) -> LoadResult:
    """Load a service as planned."""
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(Connection, "127.0.0.1", plan.port) for _ in range(plan.connections)]
    heard = Heard()
    work = _closed if plan.rate is None else _open
    await work(plan, [protocol for _, protocol in made], requests_of(plan), heard, time.perf_counter())
    for transport, _ in made:
        transport.close()
    return heard.result(plan.warm)


Work = Callable[[LoadPlan, Sequence[Connection], Iterator[bytes], Heard, float], Any]


async def _closed(
    plan: LoadPlan, connections: Sequence[Connection], requests: Iterator[bytes], heard: Heard, started: float
) -> None:
    until = started + plan.warm + plan.seconds

    async def client(connection: Connection) -> None:
        while (sent := time.perf_counter()) < until and (request := next(requests, None)) is not None:
            status = await connection.ask(request)
            heard.note(sent - started, time.perf_counter() - sent, status)

    await asyncio.gather(*(client(connection) for connection in connections))


async def _open(
    plan: LoadPlan, connections: Sequence[Connection], requests: Iterator[bytes], heard: Heard, started: float
) -> None:
    assert plan.rate is not None
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for connection in connections:
        free.put_nowait(connection)

    async def one(scheduled: float, request: bytes) -> None:
        connection = await free.get()
        status = await connection.ask(request)
        heard.note(scheduled - started, time.perf_counter() - scheduled, status)
        free.put_nowait(connection)

    tasks = set()
    for number, request in zip(range(int((plan.warm + plan.seconds) * plan.rate)), requests, strict=False):
        scheduled = started + number / plan.rate
        if (wait := scheduled - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(one(scheduled, request))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)


def _percentiles(values: np.ndarray[Any, Any], *shares: float) -> tuple[float, ...]:
    return tuple(
        float(each) for each in (np.percentile(values, shares) if len(values) else np.full(len(shares), np.nan))
    )


def main() -> None:
    """Read a plan from standard input, write the result to standard output."""
    import sys

    import uvloop

    plan = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=LoadPlan)
    sys.stdout.buffer.write(msgspec.msgpack.encode(uvloop.run(run_load(plan))))


if __name__ == "__main__":
    main()
