"""A service of ours as a process of its own, for tests that start, ask, kill and stop it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import orjson

READY_SECONDS = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port: int, path: str, body: object | None = None, timeout: float = 10):
    """(status, JSON) of a POST, or of a GET where there is no body."""
    data = None if body is None else orjson.dumps(body)
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            raw, status = answer.read(), answer.status
    except urllib.error.HTTPError as error:
        raw, status = error.read(), error.code
    try:
        return status, orjson.loads(raw)
    except orjson.JSONDecodeError:
        return status, raw.decode()


def descendants(pid: int) -> list[int]:
    """All processes below one, children first."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(word) for word in task.read_text().split()]
    return [below for child in found for below in (*descendants(child), child)]


class Process:
    """One running service, begun as its Bento is."""

    start = ("bentoml", "serve", "serving.service:Kokyaku")

    def __init__(self, shop, log: Path, **environment: str) -> None:
        self.port = free_port()
        self.log = log
        env = {**os.environ, "KOKYAKU_DEV": "1", "KOKYAKU_ROOT": str(shop.root), "KOKYAKU_SHOP": shop.id}
        env |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "BENTOML_DO_NOT_TRACK": "True", **environment}
        command = [sys.executable, "-m", *self.start, "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--timeout-graceful-shutdown", "5"]
        with log.open("ab") as out:
            self.process = subprocess.Popen(command, env=env, stdout=out, stderr=out, start_new_session=True)
        self.wait()

    def wait(self) -> None:
        """Until it is ready."""
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            with contextlib.suppress(OSError):
                if ask(self.port, "/readyz", timeout=1)[0] == 200:
                    return
            time.sleep(0.1)
        raise AssertionError(f"the service did not become ready:\n{self.log.read_text()[-3000:]}")

    @property
    def worker(self) -> int:
        """The pid of the process that answers; its parent only starts it again when it is gone."""
        for pid in descendants(self.process.pid):
            with contextlib.suppress(OSError):
                if b"_bentoml_impl.worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
        raise AssertionError("no worker runs")

    def kill(self) -> None:
        """kill -9 of the service and all its workers at once; workers have process groups of their own."""
        for pid in [*descendants(self.process.pid), self.process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> None:
        """Ask it to finish."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()


class Kept(Process):
    """One running service, begun as `kokyaku serve` does."""

    start = ("serving.keeper",)
