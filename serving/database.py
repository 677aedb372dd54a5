"""One SQLite file: a writing connection, a reading one for each thread, and what to do when the disk fails.

An error of the disk becomes `Unavailable`; the connection that met it is dropped and the next call opens a new one,
so recovery needs nobody. A file that was deleted or replaced under us is noticed, because SQLite itself would go on
writing into the deleted one.
"""

from __future__ import annotations

import mmap
import os
import re
import sqlite3
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from features.errors import DataError, Unavailable
from features.files import exclusive
from serving.backend import Condition, Connection, Mark
from serving.commit_mark import CommitMark

BUSY_SECONDS = 5.0
_LOOK_SECONDS = 1.0
"""A reader looks this often whether its file is still the one at the path; the writer looks each time."""
_PATIENCE_SECONDS = 3.0
"""For a checkpoint that waits for readers."""
_VACUUM_BYTES = 128 * 1024 * 1024
"""A larger file is written anew by the next sync instead of by an erasure: it would hold up events for seconds."""
_SPARSE = 0.5
_WORTH_BYTES = 64 * 1024 * 1024
"""A file of this size, of which this share is free, is written anew after a sync."""
_SETTINGS = (
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",
    "PRAGMA foreign_keys = OFF",
    "PRAGMA wal_autocheckpoint = 4000",
)


_SEVERAL = (64, 16, 4, 1)
"""Rows of one statement; few different ones, so that each is prepared once."""


@cache
def _several(statement: str, count: int) -> str:
    """An INSERT of one row as one of several."""
    before, row, after = _ROW.split(statement)
    return before + ", ".join([row] * count) + after


_ROW = re.compile(r"(?<=VALUES )(\([?, ]+\))")


class SqliteDatabase:
    """A SQLite database in WAL mode.

    Args:
        path: the file; created with all tables when it is not there, readable by its owner only.
        steps: statements that lead from each schema version to the next; version 0 is an empty file.

    Raises:
        DataError: not a database of ours, or of a newer program.
        Unavailable: the file cannot be opened or written.
    """

    shared = False

    def __init__(self, path: Path, steps: Sequence[Sequence[str]]) -> None:
        self.path = path
        self.where = str(path)
        self._write_lock = threading.Lock()
        self._writer: tuple[sqlite3.Connection, int] | None = None
        self._local = threading.local()
        self._readers: dict[int, sqlite3.Connection] = {}
        self._closed = False
        self._look_lock = threading.Lock()
        self._file = 0
        """How often another file took the place of ours, as far as any thread has noticed."""
        self._commits = 0
        try:
            self._create_file()
            self._identity = self._found()
            self._create_schema(steps)
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
                raise DataError("not a Kokyaku store", where=str(path), hint="move the file away") from error
            raise self._explained(error) from error
        except OSError as error:
            raise Unavailable("the store cannot be opened", where=str(path), got=error.strerror) from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the write lock of this process and of the file; commit at the end, durably, or not at all.

        Raises:
            Unavailable: it could not be made durable.
        """
        with self._write_lock:
            try:
                connection = self._writing()
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                    self._commits += 1
                    self._mark.change()
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
            except sqlite3.DatabaseError as error:
                self._drop_writer()
                raise self._explained(error) from error

    def insert_new(self, connection: Connection, statement: str, rows: Sequence[Sequence[Any]]) -> list[bool]:
        """Row by row: here that costs nothing."""
        return [connection.execute(statement, row).rowcount > 0 for row in rows]

    def count_new(self, connection: Connection, statement: str, rows: Sequence[Sequence[Any]]) -> int:
        """Many rows in one statement: beside each the interpreter's lock is handed over, which holds requests up."""
        new, at = 0, 0
        for size in _SEVERAL:
            while len(rows) - at >= size:
                values = [value for row in rows[at : at + size] for value in row]
                new += connection.execute(_several(statement, size), values).rowcount
                at += size
        return new

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of a SELECT, on this thread's own connection, as of the last commit.

        Raises:
            Unavailable: the file cannot be read now.
        """
        try:
            rows: list[Any] = self._reading().execute(sql, parameters).fetchall()
        except UnicodeEncodeError:
            return []  # half a surrogate pair: nothing can be stored under such an id
        except sqlite3.DatabaseError as error:
            self._drop_reader()
            raise self._explained(error) from error
        return rows

    def mark(self) -> Mark | None:
        """A mark of the last commit of any process. That another file took the place of ours is noticed by `query`."""
        own = self._commits
        commit = self._mark.read()
        return None if commit is None else Mark(self._file, own, commit)

    def checkpoint(self) -> bool:
        """Move the write-ahead log into the file and cut it to nothing; False when a reader was in the way."""
        with self._write_lock:
            try:
                busy = self._writing().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0]
            except sqlite3.DatabaseError as error:
                self._drop_writer()
                raise self._explained(error) from error
        return not busy

    def vacuum(self) -> None:
        """Write the file anew, without what deletions left in the gaps of its pages."""
        with self._write_lock:
            try:
                self._writing().execute("VACUUM")
            except sqlite3.DatabaseError as error:
                self._drop_writer()
                raise self._explained(error) from error

    def space(self) -> tuple[int, int, int]:
        """Pages of the file, how many of them are free, and the file's bytes."""
        pages, free, size = (
            int(self.query(f"PRAGMA {name}")[0][0]) for name in ("page_count", "freelist_count", "page_size")
        )
        return pages, free, pages * size

    def alone(self, name: str, busy: str) -> AbstractContextManager[None]:
        """Hold a lock file beside the database."""
        return exclusive(self.path.with_name(f"{name}.lock"), busy=busy)

    def scrub(self, texts: Collection[str]) -> None:
        """Overwrite the write-ahead log, and the copies that moving rows between pages may have left in their gaps.

        Args:
            texts: what must not be found in the file. A short one may be found by chance: then we clean for nothing.
        """
        self._checkpoint_soon()
        if self.path.stat().st_size <= _VACUUM_BYTES and _stands_in(self.path, texts):
            self.vacuum()
            self._checkpoint_soon()

    def tidy(self, *, thoroughly: bool) -> None:
        """Write the file anew where half of it is free, or `thoroughly`; empty the write-ahead log."""
        pages, free, size = self.space()
        if thoroughly or (size > _WORTH_BYTES and free > pages * _SPARSE):
            self.vacuum()
        self.checkpoint()

    def condition(self) -> Condition:
        """Whether the write-ahead log is on: some file systems do not allow it."""
        mode = self.query("PRAGMA journal_mode")[0][0]
        if mode == "wal":
            return Condition("ok", "opens, write-ahead log on")
        return Condition("fail", f"journal mode is {mode}", "the folder's file system does not support WAL; move it")

    def close(self) -> None:
        """Close every connection but one that the disk keeps busy; what was committed stays."""
        self._closed = True
        if self._write_lock.acquire(timeout=BUSY_SECONDS):
            try:
                self._drop_writer()
                self._mark.close()
            finally:
                self._write_lock.release()
        for connection in list(self._readers.values()):
            connection.close()
        self._readers.clear()

    def _checkpoint_soon(self) -> None:
        patience = time.monotonic() + _PATIENCE_SECONDS
        while not self.checkpoint() and time.monotonic() < patience:
            time.sleep(0.01)

    def _create_file(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        self._mark = CommitMark(self.path)

    def _create_schema(self, steps: Sequence[Sequence[str]]) -> None:
        connection = self._connect()
        try:
            self._switch_to_wal(connection)
            connection.execute("BEGIN IMMEDIATE")  # the second of two processes waits here and finds it done
            found = int(connection.execute("PRAGMA user_version").fetchone()[0])
            for statement in (each for step in steps[found:] for each in step):
                connection.execute(statement)
            if found < len(steps):
                connection.execute(f"PRAGMA user_version = {len(steps)}")
            connection.execute("COMMIT")
        finally:
            connection.close()
        if found > len(steps):
            raise DataError("the store is newer than this program", where=str(self.path), got=found, hint="update")

    def _switch_to_wal(self, connection: sqlite3.Connection) -> None:
        """Switching the journal mode does not wait for a busy file as other statements do, so we do."""
        patience = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL").fetchall()
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    raise
                if time.monotonic() > patience:
                    raise
                time.sleep(0.01)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{quote(str(self.path.absolute()))}?mode=rw",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        for setting in _SETTINGS:
            connection.execute(setting)
        return connection

    def _look(self) -> int:
        """The number of the file at the path; where it is another one, no thread's connection is good any more."""
        found = self._found()
        with self._look_lock:
            if found != self._identity:
                self._identity = found
                self._file += 1
            return self._file

    def _found(self) -> tuple[int, int]:
        try:
            found = self.path.stat()
        except OSError as error:
            raise self._gone(error.strerror) from error
        return (found.st_dev, found.st_ino)

    def _gone(self, why: str | None) -> Unavailable:
        hint = "bring the file back; the service goes on by itself"
        return Unavailable("the store is gone", where=str(self.path), got=why, hint=hint)

    def _writing(self) -> sqlite3.Connection:
        if self._closed:
            raise self._gone("closed")
        file = self._look()
        if self._writer is not None and self._writer[1] != file:
            self._drop_writer()
        if self._writer is None:
            self._writer = (self._connect(), file)
        return self._writer[0]

    def _reading(self) -> sqlite3.Connection:
        local, now = self._local, time.monotonic()
        connection: sqlite3.Connection | None = getattr(local, "connection", None)
        if connection is not None and local.look_at > now and local.file == self._file and not self._closed:
            return connection
        if self._closed:
            raise self._gone("closed")
        file = self._look()
        if connection is None or local.file != file:
            self._drop_reader()
            self._close_readers_of_dead_threads()
            connection = self._connect()
            local.connection, local.file = connection, file
            self._readers[threading.get_ident()] = connection
        self._mark.look_again()
        local.look_at = now + _LOOK_SECONDS
        return connection

    def _drop_reader(self) -> None:
        connection = self._readers.pop(threading.get_ident(), None)
        if connection is not None:
            connection.close()
        self._local.connection = None

    def _close_readers_of_dead_threads(self) -> None:
        alive = {thread.ident for thread in threading.enumerate()}
        for ident in [ident for ident in list(self._readers) if ident not in alive]:
            self._readers.pop(ident).close()

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._writer[0].close()
            self._writer = None

    def _explained(self, error: sqlite3.DatabaseError) -> Exception:
        """What a user should read; errors of our own making (a wrong statement) stay what they are."""
        if type(error) not in (sqlite3.OperationalError, sqlite3.DatabaseError):
            return error
        hint = "try again in a moment; if it lasts, check disk space and permissions"
        return Unavailable("the store cannot do this now", where=str(self.path), got=str(error), hint=hint)


def _stands_in(path: Path, texts: Collection[str]) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        return any(raw.find(text.encode("utf-8", "surrogatepass")) >= 0 for text in texts)
