"""Starts the service's worker and keeps it running: `python -m serving.keeper --host 127.0.0.1 --port 3000`.

BentoML's supervisor does the same for many workers of many services, and loads the framework to do so: a second before
the worker begins, and 57 MB for as long as it lives. There is one worker here, so this loads nothing: it holds the
socket, on which connections wait while a worker that died is begun again; it starts BentoML's own worker on it, hands
on what it is told, and leaves when that has left. `bentoml serve` starts the same worker, with its supervisor.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from types import FrameType

SERVICE, NAME = "serving.service:Kokyaku", "kokyaku"
BACKLOG = 2048
PAUSES = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before a worker is begun again; the longer, the more often it died soon after it was begun."""
LONG = 60.0
"""Seconds after which a worker did not die soon."""
HEAP = {"MALLOC_ARENA_MAX": "1", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""One heap for all threads, which take turns, wastes less; in large pages a request is a twelfth quicker."""
KEPT_BY = "KOKYAKU_KEPT_BY"
"""Names to the worker in its environment the process that keeps it: when that is gone, the worker leaves."""
LISTEN = "KOKYAKU_LISTEN"
"""The address to listen on, where the command names none; so that `doctor`, which is not told the command, knows it."""
BELIEVED = "FORWARDED_ALLOW_IPS"
"""The server's own: addresses and networks of proxies that are believed about clients; only this machine by default."""
_TOLD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Keeper:
    """Keeps one worker on a socket.

    Args:
        command: starts the worker.
        listening: the socket, which the worker inherits.
    """

    def __init__(self, command: Sequence[str], listening: socket.socket) -> None:
        self._command, self._socket = command, listening
        self._worker: subprocess.Popen[bytes] | None = None
        self._leaving = False

    def run(self) -> int:
        """Until it is told to leave, or the very first worker soon ends by itself: it cannot start, now or again.

        Returns:
            The worker's exit code; 0 where a signal ended it.
        """
        for each in _TOLD:
            if signal.getsignal(each) != signal.SIG_IGN:  # as `nohup` wants it
                signal.signal(each, self._told)
        died, first = 0, True
        while True:
            begun = time.monotonic()
            code = self._one()
            soon = time.monotonic() - begun <= LONG
            if self._leaving or (first and soon and code > 0):
                return max(code, 0)
            first = False
            died = died if soon else 0
            pause = PAUSES[min(died, len(PAUSES) - 1)]
            died += 1
            _say("warning", f"the worker ended ({code}) and is begun again" + (f" in {pause:g} s" if pause else ""))
            if self._told_within(pause):
                return 0

    def _one(self) -> int:
        """Run a worker in a process group of its own, so that Ctrl-C reaches it once, from here."""
        environment = {**HEAP, **os.environ, KEPT_BY: str(os.getpid())}
        try:
            self._worker = subprocess.Popen(
                self._command, env=environment, pass_fds=[self._socket.fileno()], process_group=0
            )
        except OSError as error:  # no memory or no process left; later there may be
            _say("error", f"no worker can be begun: {error.strerror or error}")
            return 1
        if self._leaving:  # it was told while the worker was begun
            self._worker.send_signal(signal.SIGTERM)
        return self._worker.wait()

    def _told(self, number: int, frame: FrameType | None) -> None:
        """Told once, the worker finishes what it took in; told twice, it stops at once (`serving.leaving`)."""
        self._leaving = True
        if self._worker is not None:
            with contextlib.suppress(ProcessLookupError):
                self._worker.send_signal(signal.SIGTERM)

    def _told_within(self, seconds: float) -> bool:
        """Wait, unless it is told to leave."""
        until = time.monotonic() + seconds
        while not self._leaving and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))
        return self._leaving


def worker_command(descriptor: int, grace: int) -> list[str]:
    """The command line of BentoML's worker on an open socket.

    Args:
        descriptor: of the socket.
        grace: seconds to finish what was taken in.
    """
    return [
        sys.executable, "-m", "_bentoml_impl.worker.service", SERVICE, "--fd", str(descriptor), "--service-name", NAME,
        "--backlog", str(BACKLOG), "--worker-id", "1", "--timeout-graceful-shutdown", str(grace),
    ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Listen and keep a worker; 2 where nobody can listen there."""
    parser = argparse.ArgumentParser("python -m serving.keeper", description=__doc__.partition("\n")[0])
    parser.add_argument("--host", default=listens(os.environ), help=f"address to listen on; else {LISTEN} names it")
    parser.add_argument("--port", type=int, default=3000, help="port to listen on")
    parser.add_argument("--timeout-graceful-shutdown", type=int, default=10, help="seconds to finish what was taken in")
    given = parser.parse_args(arguments)
    if not 0 <= given.port < 1 << 16:
        parser.error(f"--port: {given.port}: no port; choose one from 1 to 65535")
    try:
        family = socket.AF_INET6 if ":" in given.host else socket.AF_INET
        listening = socket.create_server((given.host, given.port), family=family, backlog=BACKLOG)
    except OSError as error:
        sys.stderr.write(f"error: {given.host}:{given.port}: cannot listen there; {error.strerror or error}; "
                         "choose another --port or --host\n")  # fmt: skip
        return 2
    with listening:
        _say("info", "listening on http://{}:{}".format(*listening.getsockname()[:2]))
        if unknown_proxies(given.host, os.environ):
            _say("warning", f"{BELIEVED} is not set: a proxy before this service counts as one client for all")
        command = worker_command(listening.fileno(), given.timeout_graceful_shutdown)
        return Keeper(command, listening).run()


def listens(environ: Mapping[str, str]) -> str:
    """The address that the environment names, or loopback."""
    return environ.get(LISTEN) or "127.0.0.1"


def unknown_proxies(host: str, environ: Mapping[str, str]) -> bool:
    """Whether others than this machine may connect, and nothing says which of them are proxies."""
    here = host.startswith("127.") or host in ("localhost", "::1") or environ.get("KOKYAKU_DEV") == "1"
    return not here and not environ.get(BELIEVED, "").strip(" ,")


def _say(level: str, message: str) -> None:
    """As the worker's own lines are (`serving.logs`), for which this process loads nothing."""
    at = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    told = {"time": at, "level": level, "logger": "kokyaku.keeper", "message": message}
    plain = f"{at[11:19]}     {level:7} kokyaku.keeper: {message}"
    sys.stderr.write((plain if sys.stderr.isatty() else json.dumps(told)) + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
