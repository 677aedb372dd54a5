"""A mark that changes with each commit to a database file, whichever process commits, and costs a look into a file.

It is eight random bytes beside the database. Who commits writes others before telling anybody of the commit; who reads
looks at them. SQLite knows as much, but to ask it takes a transaction.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

_BYTES = 8


class CommitMark:
    """The mark of one database; safe to use from many threads.

    It is read and not mapped: who copies over a file makes it empty first, and a look into mapped memory that is no
    more kills the process.

    Args:
        database: the file; beside the place where it lies in truth, whatever name it is opened by, lies the mark, made
            where there is none. Where it cannot be made there is no mark.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._owed = False
        self._file: int | None = None
        self.look_again()

    def read(self) -> bytes | None:
        """What it is now; None where there is none.

        It takes no lock. Of a file that is put away meanwhile it may give something else: a mark that never was.
        """
        file = self._file
        if file is None:
            return None
        try:
            found = os.pread(file, _BYTES, 0)
        except OSError:
            return None
        return found if len(found) == _BYTES else None

    def change(self) -> None:
        """Something was committed.

        Where that cannot be written (a full disk, no descriptor left), this process has no mark any more until it can,
        and others hear of the commit when they doubt theirs.
        """
        with self._lock:
            self._owed = True
            self._settle()

    def look_again(self) -> None:
        """Hold the file that lies there now: somebody may have removed it, or put another one in its place."""
        with self._lock:
            self._settle()

    def close(self) -> None:
        """There is no mark any more, until somebody looks again."""
        with self._lock:
            self._put_away()

    def _settle(self) -> None:
        """Hold the right file and write what has to be written; the lock is held, so only into a file of ours."""
        try:
            file = self._found()
            if self._owed or os.fstat(file).st_size < _BYTES:
                self._owed = os.pwrite(file, os.urandom(_BYTES), 0) < _BYTES
        except OSError:
            self._put_away()

    def _found(self) -> int:
        """The file at the path: the one that is held, which takes no other descriptor, or another one."""
        path = Path(f"{os.path.realpath(self._database)}-mark")
        try:
            if self._file is not None and os.path.samestat(path.stat(), os.fstat(self._file)):
                return self._file
        except FileNotFoundError:
            pass
        self._put_away()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self._file

    def _put_away(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)
