"""A small load generator: keep-alive HTTP/1.1 over loopback, closed loop for throughput, open loop for latency.

It runs in a process of its own. Latency in the open loop counts from the moment at which a request was *scheduled*, so
a server that stalls cannot hide the requests that wait behind the stall.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np


class LoadPlan(msgspec.Struct, frozen=True):
    """What to send and how.

    Args:
        port: on 127.0.0.1; no other address is ever loaded.
        path: of the POST requests.
        bodies: sent in turn.
        seconds: how long; the load stops by itself.
        connections: open at once.
        rate: requests a second of the open loop; None for a closed loop.
        header: an extra header line such as an API key.
    """

    port: int
    path: str
    bodies: list[str]
    seconds: float
    connections: int = 16
    rate: float | None = None
    header: str = ""


class LoadResult(msgspec.Struct, frozen=True):
    """What came back. Latencies are milliseconds."""

    requests: int
    errors: int
    seconds: float
    p50: float
    p99: float


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


async def run_load(plan: LoadPlan) -> LoadResult:
    """Load a service as planned."""
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(Connection, "127.0.0.1", plan.port) for _ in range(plan.connections)]
    connections = [protocol for _, protocol in made]
    latencies: list[float] = []
    statuses: list[int] = []
    requests = itertools.cycle(encode(plan))
    started = time.perf_counter()
    work = _closed if plan.rate is None else _open
    await work(plan, connections, requests, latencies, statuses, started)
    seconds = time.perf_counter() - started
    for transport, _ in made:
        transport.close()
    milliseconds = np.array(latencies) * 1000 if latencies else np.array([np.nan])
    p50, p99 = np.percentile(milliseconds, [50, 99])
    good = sum(status == 200 for status in statuses)
    return LoadResult(good, len(statuses) - good, seconds, float(p50), float(p99))


async def _closed(
    plan: LoadPlan, connections: Sequence[Connection], requests: Any, latencies: list[float], statuses: list[int],
    started: float,
) -> None:  # fmt: skip
    async def client(connection: Connection) -> None:
        while (sent := time.perf_counter()) < started + plan.seconds:
            statuses.append(await connection.ask(next(requests)))
            latencies.append(time.perf_counter() - sent)

    await asyncio.gather(*(client(connection) for connection in connections))


async def _open(
    plan: LoadPlan, connections: Sequence[Connection], requests: Any, latencies: list[float], statuses: list[int],
    started: float,
) -> None:  # fmt: skip
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for connection in connections:
        free.put_nowait(connection)

    async def one(scheduled: float) -> None:
        connection = await free.get()
        statuses.append(await connection.ask(next(requests)))
        latencies.append(time.perf_counter() - scheduled)
        free.put_nowait(connection)

    assert plan.rate is not None
    tasks = set()
    for number in range(int(plan.seconds * plan.rate)):
        scheduled = started + number / plan.rate
        if (wait := scheduled - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(one(scheduled))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)


def main() -> None:
    """Read a plan from standard input, write the result to standard output."""
    import sys

    import uvloop

    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=LoadPlan)
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(run_load(plan))))


if __name__ == "__main__":
    main()
