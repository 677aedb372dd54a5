"""What the store asks of a database: `serving.database` (SQLite) and `serving.postgres` give the same.

The statements are those of `serving.store_sql`, written for SQLite; another database renders them in its own words.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple, Protocol


class Cursor(Protocol):
    """What a statement gave."""

    @property
    def rowcount(self) -> int:
        """Rows that were written or deleted."""

    def fetchone(self) -> Any:
        """The next row, or None."""

    def fetchall(self) -> list[Any]:
        """All rows."""

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """A transaction under way: it holds the write lock, so nobody else writes in between."""

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Cursor:
        """Run one statement."""

    def executemany(self, statement: str, parameters: Sequence[Sequence[Any]], /) -> Any:
        """Run one statement for each row of parameters."""


class Mark(NamedTuple):
    """Differs from what it was as soon as any process has committed something.

    Args:
        file: which database it is; another one has taken its place where this differs.
        own: how many commits this process has made: whatever becomes of the rest, it knows of its own.
        commit: which commit was the last one.
    """

    file: int
    own: int
    commit: bytes


class Condition(NamedTuple):
    """How a database is, for `kokyaku doctor`."""

    verdict: Literal["ok", "warn", "fail"]
    detail: str
    remedy: str = ""


class Database(Protocol):
    """A database that holds one shop's tables; safe to use from many threads.

    Every method may raise `Unavailable`, and works again as soon as the database does.
    """

    @property
    def where(self) -> str:
        """The file, or server and database; never a password."""

    @property
    def shared(self) -> bool:
        """Whether services on several machines may use it, so that what lies on one's disk is not all there is."""

    def transaction(self) -> AbstractContextManager[Connection]:
        """Hold the one write lock; commit at the end, durably, or not at all."""

    def insert_new(self, connection: Connection, statement: str, rows: Sequence[Sequence[Any]]) -> list[bool]:
        """Run an INSERT that passes over a taken key for each row, in order: which rows are new."""

    def count_new(self, connection: Connection, statement: str, rows: Sequence[Sequence[Any]]) -> int:
        """`insert_new` where nobody asks which: how many rows are new."""

    def query(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of a SELECT, as of the last commit."""

    def mark(self) -> Mark | None:
        """A mark of the last commit, without asking the database; None: only a query tells."""

    def alone(self, name: str, busy: str) -> AbstractContextManager[None]:
        """Hold a lock of that name against every process that uses this database.

        Raises:
            DataError: another one holds it; `busy` is the sentence that says so.
        """

    def scrub(self, texts: Collection[str]) -> None:
        """After rows were deleted: overwrite the copies that may be left of texts that stood in them."""

    def tidy(self, *, thoroughly: bool) -> None:
        """After a sync: give back the space of deleted rows, thoroughly where somebody was erased."""

    def condition(self) -> Condition:
        """How it is set up, for an operator."""

    def close(self) -> None:
        """Close what is open; what was committed stays."""
