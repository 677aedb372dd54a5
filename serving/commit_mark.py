"""A mark that changes with each commit to a database file, whichever process commits, and costs a look into memory.

It is eight random bytes in a file beside the database. Who commits writes others before telling anybody of the commit;
who reads has them mapped. SQLite knows as much, but to ask it takes a transaction.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

_BYTES = 8


class CommitMark:
    """The mark of one database; safe to use from many threads.

    Args:
        path: of the mark's file; made where there is none. Where it cannot be made there is no mark.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._owed = path, False
        self._identity: tuple[int, int] | None = None
        self._mapped: mmap.mmap | None = None
        self.look_again()

    def read(self) -> bytes | None:
        """What it is now; None where there is none."""
        mapped = self._mapped
        return None if mapped is None else mapped[:_BYTES]

    def change(self) -> None:
        """Something was committed.

        It is written and not mapped: on a full disk that fails, and does not kill. Then this process has no mark any
        more, until it can be written, and others hear of the commit when they doubt theirs.
        """
        try:
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(file, os.urandom(_BYTES), 0)
            finally:
                os.close(file)
        except OSError:
            self._owed = True
            self.close()

    def look_again(self) -> None:
        """Map the file that lies there now: somebody may have removed it, or put another one in its place."""
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            self.close()
            return
        try:
            found = os.fstat(file)
            if (found.st_dev, found.st_ino) != self._identity:
                if found.st_size < _BYTES or self._owed:
                    os.pwrite(file, os.urandom(_BYTES), 0)
                    self._owed = False
                self._mapped = mmap.mmap(file, _BYTES, access=mmap.ACCESS_READ)
                self._identity = (found.st_dev, found.st_ino)
        except (OSError, ValueError):
            self.close()
        finally:
            os.close(file)

    def close(self) -> None:
        """There is no mark any more, until somebody looks again."""
        self._mapped = self._identity = None
