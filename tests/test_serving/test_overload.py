"""More than a worker can do, against a real one: `soak/overload.json` has what those met that it let in."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from tests.test_serving.running import Process, ask

CAPACITY = 8
BEYOND = 64
SECONDS = 4.0
RESULT = Path(__file__).parents[2] / "soak" / "overload.json"
CLIENTS = """
import asyncio, json, sys, time

port, clients, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
told = []

async def client(number):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps({"userId": f"user-{number}", "numResults": 8}).encode()
    request = b"POST /v1/recommendations HTTP/1.1\\r\\nhost: 127.0.0.1:%d\\r\\n" % port
    request += b"content-type: application/json\\r\\ncontent-length: %d\\r\\n\\r\\n" % len(body) + body
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\\r\\n\\r\\n")
        await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\\r\\n")[0]))
        status = int(head[9:12])
        told.append((status, time.perf_counter() - began))
        if status == 503:
            await asyncio.sleep(0.2)  # sooner than it is asked to
    writer.close()

async def main():
    await asyncio.gather(*(client(number) for number in range(clients)))

asyncio.run(main())
print(json.dumps(told))
"""


def clients_of(service: Process, count: int) -> subprocess.Popen[bytes]:
    """So many clients in a process of their own, each with one request at a time."""
    command = [sys.executable, "-c", CLIENTS, str(service.port), str(count), str(SECONDS)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def told(clients: subprocess.Popen[bytes]) -> list[tuple[int, float]]:
    output, _ = clients.communicate(timeout=60)
    return [(status, seconds) for status, seconds in orjson.loads(output)]


def milliseconds(met: list[tuple[int, float]], status: int) -> dict[str, float]:
    """How many had that status, and how long they waited for it."""
    waited = [1_000 * seconds for got, seconds in met if got == status]
    if not waited:
        return {"answers": 0}
    p50, p99 = np.percentile(waited, [50, 99])
    return {"answers": len(waited), "p50 ms": round(float(p50), 2), "p99 ms": round(float(p99), 2)}


def crowd(service: Process) -> dict[str, Any]:
    """As many as it has room for, alone and with sixty-four more."""
    for _ in range(200):
        ask(service.port, "/v1/recommendations", {"userId": "warm"})
    alone = told(clients_of(service, CAPACITY))
    both = told(clients_of(service, CAPACITY + BEYOND))
    assert {status for status, _ in (*alone, *both)} <= {200, 503}
    return {
        f"{CAPACITY} clients": milliseconds(alone, 200),
        f"{CAPACITY + BEYOND} clients, let in": milliseconds(both, 200),
        f"{CAPACITY + BEYOND} clients, turned away": milliseconds(both, 503),
    }


@pytest.mark.soak
def test_the_admitted_keep_their_latency(started):
    """Sixty-four beyond capacity are turned away at once; without the limit everybody waits for everybody."""
    limited = crowd(started(KOKYAKU_MAX_REQUESTS=str(CAPACITY)))
    unlimited = crowd(started(KOKYAKU_MAX_REQUESTS="10000"))
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    result = {f"room for {CAPACITY}": limited, "no limit": unlimited, "machine": machine}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2))
    alone, admitted, turned_away = limited.values()
    assert turned_away["answers"] > 0
    assert admitted["p50 ms"] < 2 * alone["p50 ms"]
    assert turned_away["p50 ms"] < 2 * alone["p50 ms"]
    assert unlimited[f"{CAPACITY + BEYOND} clients, let in"]["p50 ms"] > 2 * admitted["p50 ms"]
