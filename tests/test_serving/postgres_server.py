"""A real PostgreSQL for tests: started in a folder of its own, stopped, killed and started again by those who ask."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

PASSWORD = "correct-horse"
"""Of `kokyaku`, whom the server trusts without it; no message may show it all the same."""
LOCKED, BARE = "locked", "bare"
"""Users: one whom the server asks for a password, one with no right to make anything."""
_USERS = ("postgres", "nobody")
_START_SECONDS = 30.0
_WRITABLE = "-c default_transaction_read_only=off"


def find_binaries() -> Path | None:
    """The folder of `initdb` and `postgres`, of the path or of a Debian package; None where neither is."""
    found = shutil.which("initdb")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    for initdb in ([Path(found)] if found else []) + debian[::-1]:
        if initdb.with_name("postgres").exists():
            return initdb.parent
    return None


class PostgresServer:
    """A server with one database on a free port of 127.0.0.1; what it acknowledges is on the disk."""

    def __init__(self) -> None:
        binaries = find_binaries()
        if binaries is None:
            pytest.skip("no PostgreSQL server is installed (apt-get install postgresql)")
        pytest.importorskip("psycopg", reason="the driver is not installed (pip install kokyaku[postgres])")
        self._binaries = binaries
        self._folder = Path(tempfile.mkdtemp(prefix="kokyaku-postgres-"))
        self._as: dict[str, Any] = {"cwd": self._folder}
        if os.geteuid() == 0:  # the server refuses to run as root
            user = next((name for name in _USERS if _exists(name)), None)
            if user is None:
                pytest.skip("a PostgreSQL server does not run as root, and there is no user for it")
            shutil.chown(self._folder, user)
            self._as |= {"user": user, "extra_groups": []}
        self._run("initdb", "-D", self._data, "-U", "kokyaku", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        rules = Path(self._data) / "pg_hba.conf"
        rules.write_text(f"host all {LOCKED} 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()
        self.run(f"CREATE ROLE {LOCKED} LOGIN PASSWORD 'another'; CREATE ROLE {BARE} LOGIN")

    @property
    def url(self) -> str:
        """Its address, as `KOKYAKU_STORE` takes it."""
        return self.url_of("kokyaku")

    def url_of(self, user: str, database: str = "postgres") -> str:
        """The address for another user or database."""
        return f"postgresql://{user}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def run(self, statements: str) -> list[Any]:
        """Run statements as the owner of everything; the rows of the last one, if it has any."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True, options=_WRITABLE) as connection:
            cursor = connection.execute(statements)
            return cursor.fetchall() if cursor.description else []

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def start(self) -> None:
        """Start it and wait until it answers."""
        import psycopg

        tied = ["setpriv", "--pdeathsig", "QUIT"] if shutil.which("setpriv") else []  # it ends with the tests
        command = [
            *tied, str(self._binaries / "postgres"), "-D", self._data, "-p", str(self.port), "-h", "127.0.0.1",
            "-k", str(self._folder), "-c", "fsync=on", "-c", "shared_buffers=32MB", "-c", "max_connections=60",
        ]  # fmt: skip
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **self._as)
        patience = time.monotonic() + _START_SECONDS
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > patience:
                    raise RuntimeError((self._folder / "log").read_text()) from None
                time.sleep(0.05)

    def stop(self) -> None:
        """Stop it at once, as a crash would (`immediate`): it recovers from its log when it starts."""
        self._end(signal.SIGQUIT)

    def kill(self) -> None:
        """`kill -9` of the postmaster; its other processes see it and end."""
        self._end(signal.SIGKILL)
        lock = self._folder / "data" / "postmaster.pid"
        patience = time.monotonic() + _START_SECONDS
        while time.monotonic() < patience:  # the next one waits until the last process has let go of the memory
            if not _listens(self.port):
                break
            time.sleep(0.05)
        lock.unlink(missing_ok=True)
        time.sleep(0.3)

    def freeze(self) -> None:
        """Let it be there and answer nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def remove(self) -> None:
        """Stop it and delete its folder."""
        if self._process is not None and self._process.poll() is None:
            self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def shop_id(self, folder: Path) -> str:
        """A shop's name of its own for each folder, and so a schema."""
        return f"t-{hashlib.blake2b(str(folder).encode(), digest_size=8).hexdigest()}"

    def _end(self, how: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(_START_SECONDS)

    def _signal(self, how: signal.Signals) -> None:
        assert self._process is not None
        main = self._process.pid
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        for pid in (main, *map(int, children)):
            os.kill(pid, how)

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run([str(self._binaries / name), *arguments], capture_output=True, check=False, **self._as)
        if done.returncode:
            raise RuntimeError((done.stdout + done.stderr).decode())


def _exists(user: str) -> bool:
    import pwd

    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
