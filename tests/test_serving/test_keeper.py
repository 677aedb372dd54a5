"""The process that keeps the worker: it begins it again, hands on what it is told, and leaves with it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import pytest

from serving import keeper, worker
from tests.test_serving.running import Kept, Process, ask, descendants

DRIVER = """
import signal, socket, sys
from serving import keeper
keeper.PAUSES = (0.0, 0.1)
keeper.LONG = float(sys.argv[2])
signal.signal(signal.SIGHUP, getattr(signal, sys.argv[3]))
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has what it runs in the background ignore it
with socket.create_server(("127.0.0.1", 0)) as listening:
    worker = [sys.executable, "-c", sys.argv[1], str(listening.fileno())]
    sys.exit(keeper.Keeper(worker, listening).run())
"""
WORKER = """
import os, signal, socket, sys, time
def left(number, frame):
    print("told", flush=True)
    if {patient}:
        sys.exit(0)
signal.signal(signal.SIGTERM, left)
socket.socket(fileno=int(sys.argv[1])).getsockname()
print("begun", os.getpid(), os.getpgid(0) == os.getpid(), flush=True)
{then}
"""


class Driven:
    """A keeper with a worker of a test's own."""

    def __init__(
        self, then: str = "while True: time.sleep(0.05)", patient: bool = True, *,
        soon: float = 60, hangup: str = "SIG_DFL",
    ) -> None:  # fmt: skip
        command = [sys.executable, "-c", DRIVER, WORKER.format(then=then, patient=patient), str(soon), hangup]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def said(self) -> list[str]:
        assert self.process.stdout is not None
        return self.process.stdout.readline().split()

    def ends(self) -> tuple[int, str]:
        """Its exit code and what it said on stderr."""
        _, said = self.process.communicate(timeout=20)
        return self.process.returncode, said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_hands_on_what_it_is_told_and_leaves_with_the_worker(number):
    """Once: Ctrl-C of a terminal reaches this process alone, for the worker has a group of its own."""
    driven = Driven()
    begun, pid, own_group = driven.said()
    assert (begun, own_group) == ("begun", "True")
    driven.process.send_signal(number)
    assert driven.said() == ["told"]
    assert driven.ends() == (0, "")
    assert not Path(f"/proc/{pid}").exists()


def test_told_twice_it_hands_that_on_as_well():
    driven = Driven(patient=False)
    pid = int(driven.said()[1])
    for _ in range(2):
        driven.process.send_signal(signal.SIGTERM)
        assert driven.said() == ["told"]
    assert driven.process.poll() is None  # it waits for as long as its worker takes
    os.kill(pid, signal.SIGKILL)
    assert driven.ends()[0] == 0


def test_a_worker_that_was_killed_is_begun_again():
    driven = Driven()
    seen = set()
    for _ in range(3):
        pid = int(driven.said()[1])
        seen.add(pid)
        os.kill(pid, signal.SIGKILL)
    seen.add(int(driven.said()[1]))
    driven.process.terminate()
    code, said = driven.ends()
    assert (code, len(seen)) == (0, 4)
    lines = said.splitlines()
    assert len(lines) == 3
    assert '"message": "the worker ended (-9) and is begun again"' in lines[0]
    assert "again in 0.1 s" in lines[1]


def test_a_first_worker_that_cannot_start_is_not_begun_again():
    """What it said stands there, and its exit code is the keeper's."""
    code, said = Driven("sys.exit('error: nothing serves yet')").ends()
    assert (code, said) == (1, "error: nothing serves yet\n")


def test_a_first_worker_that_had_started_is_begun_again_whatever_it_ended_with():
    driven = Driven("time.sleep(0.3); sys.exit(3)", soon=0.1)
    first = driven.said()
    assert driven.said()[1] != first[1]
    driven.process.terminate()
    _, said = driven.ends()
    assert "the worker ended (3) and is begun again" in said


def test_a_hangup_that_is_to_be_ignored_is():
    """`nohup kokyaku serve &`: the terminal is closed, the service goes on."""
    driven = Driven(hangup="SIG_IGN")
    driven.said()
    driven.process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        driven.process.wait(0.5)
    driven.process.terminate()
    assert driven.said() == ["told"]
    assert driven.ends() == (0, "")


def test_a_worker_that_cannot_be_begun_for_want_of_memory_is_told(capsys):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert keeper.Keeper(["/nowhere/python"], listening)._one() == 1
    assert "no worker can be begun: No such file or directory" in capsys.readouterr().err


def test_a_port_that_is_none_is_told(capsys):
    with pytest.raises(SystemExit, match="2"):
        keeper.main(["--port", "70000"])
    assert capsys.readouterr().err.endswith("error: --port: 70000: no port; choose one from 1 to 65535\n")


def test_told_between_two_workers_it_leaves():
    driven = Driven("os.kill(os.getpid(), signal.SIGKILL)")
    for _ in range(4):
        driven.said()
    driven.process.terminate()
    assert driven.ends()[0] == 0


def test_an_address_that_is_taken_is_told_in_one_line(capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert keeper.main(["--port", str(port)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: 127.0.0.1:{port}: cannot listen there; ")
    assert said.count("\n") == 1


def test_it_is_small():
    """Each service pays it: neither the framework nor anything of the engine is loaded."""
    code = (
        "import sys, serving.keeper\n"
        "print([name for name in ('bentoml', 'numpy', 'asyncio', 'orjson', 'msgspec') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_service_answers_again_at_once_after_its_worker_was_killed(started):
    """Requests wait on the socket meanwhile; told to leave, the service ends well and leaves no process behind."""
    service = started(Kept)
    before = service.worker
    assert ask(service.port, "/v1/recommendations", {"userId": "ann"})[0] == 200
    os.kill(before, signal.SIGKILL)
    begun = time.monotonic()
    while ask_or_none(service.port) != 200:
        assert time.monotonic() - begun < 30
        time.sleep(0.05)
    assert service.worker != before
    pids = [service.process.pid, *descendants(service.process.pid)]
    service.process.terminate()
    assert service.process.wait(15) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_worker_that_cannot_start_says_why_in_one_line(toy_shop):
    """A file that a running service refused, and went on without, keeps the next one from starting."""
    toy_shop.config.write_text("[shop]\nholdouts = 3\n")
    env = {**os.environ, "KOKYAKU_DEV": "0", "KOKYAKU_KEYS": "read:sesame", "KOKYAKU_LOG_FORMAT": "json"}
    env |= {"KOKYAKU_ROOT": str(toy_shop.root), "KOKYAKU_SHOP": toy_shop.id}
    command = [sys.executable, "-m", "serving.keeper", "--port", "0"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    (told,) = [line["message"] for line in lines if line["message"].startswith("the worker cannot start")]
    assert f"{toy_shop.config}: " in told and "holdouts" in told
    assert told.endswith('; did you mean "holdout"?')
    assert done.returncode > 0


@pytest.mark.parametrize("kind", [Kept, Process])
def test_a_worker_that_is_left_alone_leaves(started, kind):
    """Its port is free for the next service, however its parent ended."""
    service = started(kind)
    worker = service.worker
    os.kill(service.process.pid, signal.SIGKILL)
    service.process.wait(10)
    until = time.monotonic() + 15
    while Path(f"/proc/{worker}").exists() and time.monotonic() < until:
        time.sleep(0.1)
    assert not Path(f"/proc/{worker}").exists()
    with socket.create_server(("127.0.0.1", service.port)):
        pass


def test_a_worker_whose_parent_went_while_it_started_leaves(monkeypatch):
    """What it begins to watch is not who keeps it by then, but who began it."""
    told = []
    monkeypatch.setenv(keeper.KEPT_BY, str(os.getpid()))
    monkeypatch.setattr(worker, "WATCH_SECONDS", 0.01)
    monkeypatch.setattr(worker.os, "kill", lambda pid, number: told.append((pid, number)))

    async def watched() -> None:
        with ThreadPoolExecutor(1) as thread, contextlib.suppress(TimeoutError):
            await asyncio.wait_for(worker._watch(Mock(), thread), 0.5)

    asyncio.run(watched())
    assert told == [(os.getpid(), signal.SIGTERM)]


def ask_or_none(port: int) -> int | None:
    try:
        return ask(port, "/readyz", timeout=20)[0]
    except OSError:
        return None
