"""A service under measurement: started as a process of its own, loaded from another, and what it costs the machine."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec
import orjson

from features.errors import DataError
from features.shop import Shop
from training.bench.load import LoadPlan, LoadResult
from training.commands.serve import service_command, service_environment

CONNECTIONS = 16
PATIENCE = 120.0
"""Seconds until a service must be ready, at most."""
NUMBERS = 200_000
"""Numbers of requests that one load may use up where its bodies have them."""
_MOST = 1_000_000
_TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Route:
    """A route under load; `events` is how many of them each body carries."""

    path: str
    bodies: list[str]
    events: int = 0


@dataclass(frozen=True, slots=True)
class Started:
    """A running service.

    Args:
        port: on 127.0.0.1.
        pid: of its process group.
        seconds: from its start until it was ready.
        processor: seconds of processor time, of all its processes, until then.
    """

    port: int
    pid: int
    seconds: float
    processor: float

    def load(
        self, route: Route, seconds: float, *, rate: float | None = None, warm: float = 0.0, first: int = 0
    ) -> Loaded:
        """Load one route from a process of its own."""
        most = NUMBERS if route.events else _MOST
        plan = LoadPlan(
            self.port, route.path, route.bodies, seconds, CONNECTIONS, rate, warm=warm, first=first, most=most
        )
        before = processor_time(self.pid)
        command = [sys.executable, "-m", "training.bench.load"]
        done = subprocess.run(command, input=msgspec.msgpack.encode(plan), stdout=subprocess.PIPE, check=True)
        return Loaded(msgspec.msgpack.decode(done.stdout, type=LoadResult), processor_time(self.pid) - before)

    def ask(self, path: str, body: object) -> Any:
        """One request; its answer.

        Raises:
            DataError: it was refused, or none came.
        """
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", orjson.dumps(body))
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  (loopback)
                return orjson.loads(answer.read())
        except OSError as error:
            raise DataError("the service did not answer", where=path, got=str(error)) from error


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load gave, and the processor time in seconds that it cost the service."""

    result: LoadResult
    processor: float

    @property
    def throughput(self) -> float:
        """Good answers a second."""
        return self.result.requests / self.result.seconds if self.result.seconds else float("nan")

    @property
    def microseconds(self) -> float:
        """Processor time of one answer; only of a load without warm-up."""
        return 1e6 * self.processor / self.result.requests if self.result.requests else float("nan")


@contextlib.contextmanager
def running(shop: Shop, target: str | None = None) -> Iterator[Started]:
    """The shop's service in development mode on a free port, until the block ends.

    Args:
        shop: whose.
        target: the BentoML service to start; default: the product's own.

    Raises:
        DataError: it does not become ready.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = service_environment(shop, dev=True)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an install has its byte code; it is not compiled at each start
    begun = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            service_command("127.0.0.1", port, target),
            env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=said,
        )  # fmt: skip
        try:
            _wait_ready(f"http://127.0.0.1:{port}/readyz", process, said)
            seconds = time.perf_counter() - begun
            yield Started(port, process.pid, seconds, processor_time(process.pid))
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)


def processor_time(pid: int) -> float:
    """Seconds of processor time (user and system) of a process and its children. NaN where there is no /proc."""
    total = 0.0
    for process in family(pid):
        try:
            words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return float("nan")
        total += (int(words[11]) + int(words[12])) * _TICK
    return total


def proportional_memory(processes: Sequence[int], what: str = "Pss") -> float:
    """Megabytes of some processes; shared pages count by share. NaN where there is no /proc.

    Args:
        processes: their pids.
        what: a line of `smaps_rollup`: `Pss`, `Pss_Anon` (private), `Pss_File` (mapped).
    """
    total = 0.0
    for process in processes:
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            return float("nan")
        total += sum(float(line.split()[1]) for line in lines if line.startswith(f"{what}:")) / 1024
    return total


def family(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        mine = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        mine = []
    return [pid, *(below for child in mine for below in family(child))]


def _wait_ready(url: str, process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1):  # noqa: S310  (loopback)
            return
        time.sleep(0.05)
    said.seek(0)
    last = said.read().decode(errors="replace").strip().rpartition("\n")[2]
    hint = f"its last words: {last}" if last else "run kokyaku serve --dev to see why"
    raise DataError("the service did not become ready", where=url, hint=hint)
