"""One shop's schema in a PostgreSQL: the same promises as `serving.database`, for services on several machines.

One writer at a time: a transaction takes an advisory lock of the shop before it looks at anything. So numbers grow in
the order of commits, a limit that has room is not exceeded, and of two draws one is first, as in SQLite.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg

from features.errors import DataError
from serving.backend import Condition, Connection
from serving.postgres_link import LOCK_SECONDS, LOOP_SECONDS, Address, Link, connect, is_away, unopened
from serving.postgres_link import on_event_loop as in_a_hurry
from serving.postgres_pool import Pool
from serving.postgres_sql import FIRST, many, rendered, tables

_OLDEST = 130_000
_SKEW_SECONDS = 1.0
_VACUUM_BYTES = 128 * 1024 * 1024
"""Larger tables are left to the next sync and to the server's own vacuum: an erasure would take seconds."""
_SIZE = """SELECT coalesce(sum(pg_table_size(oid)), 0)::bigint FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'"""
_TABLES = "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1"
_ABOUT = """SELECT current_setting('server_version'), current_setting('server_version_num')::bigint,
    current_setting('server_encoding'), current_setting('fsync'), current_setting('full_page_writes'),
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"""


class PostgresDatabase:
    """The schema of one shop, made with all tables when it is not there.

    Args:
        url: see `serving.postgres_link.Address`.
        shop_id: whose.
        steps: as `serving.database.SqliteDatabase` takes them.

    Raises:
        ConfigError: no such address.
        DataError: the schema is of a newer program, or the database holds no UTF-8.
        Unavailable: the server does not answer, or refuses.
    """

    shared = True

    def __init__(self, url: str, shop_id: str, steps: Sequence[Sequence[str]]) -> None:
        self.address = Address(url, shop_id)
        self.where = self.address.where
        self._write_lock = threading.Lock()
        self._pool = Pool(self.address)
        try:
            link = connect(self.address)
            try:
                self._create_schema(link, steps)
            except BaseException:
                link.close()
                raise
        except psycopg.Error as error:
            raise unopened(error, self.address) from error
        self._pool.put_back(link)

    @contextmanager
    def transaction(self) -> Iterator[_Transaction]:
        """Hold the write lock of the shop, against all replicas; commit at the end, durably, or not at all.

        Raises:
            Unavailable: it could not be made durable. Where the server went away during the commit itself it may be
                durable all the same; what is written again is a duplicate.
        """
        if not self._write_lock.acquire(timeout=LOOP_SECONDS if in_a_hurry() else LOCK_SECONDS):
            raise self._pool.unavailable("others are writing")
        try:
            link = self._pool.begun()
            try:
                with self._pool.at_work(link):
                    yield _Transaction(link)
                    link.execute("COMMIT")
            except BaseException:
                if link.pgconn.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                    self._pool.roll_back(link)
                raise
        except psycopg.Error as error:
            self._pool.drop_writer()
            raise self._pool.met(error) from error
        finally:
            self._write_lock.release()

    def insert_new(self, connection: Connection, statement: str, rows: Sequence[Sequence[Any]]) -> list[bool]:
        """All in one statement: each round trip to the server would cost more than the row."""
        if not rows:
            return []
        columns = [list(column) for column in zip(*rows, strict=True)]
        new = {key for (key,) in connection.execute(many(statement), columns)}
        found = []
        for row in rows:
            found.append(row[0] in new)
            new.discard(row[0])  # the same key again is not new
        return found

    def count_new(self, connection: Connection, statement: str, rows: Sequence[Sequence[Any]]) -> int:
        """As `insert_new`."""
        return sum(self.insert_new(connection, statement, rows))

    def query(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of a SELECT, as of the last commit of any replica.

        Raises:
            Unavailable: the server does not answer: after a quarter of a second where an event loop waits.
        """
        text = rendered(statement)
        for again in (True, False):
            link = self._pool.reader()
            try:
                with self._pool.at_work(link):
                    rows = link.execute(text, parameters).fetchall()
            except UnicodeEncodeError:
                rows = []  # half a surrogate pair: nothing can be stored under such an id
            except psycopg.Error as error:
                silent = not link.broken
                link.close()
                if again and is_away(error) and not silent:  # it was closed behind our back; reading twice is harmless
                    self._pool.drop_idle()
                    continue
                raise self._pool.met(error) from error
            self._pool.put_back(link)
            return rows
        raise AssertionError("unreachable")

    def mark(self) -> None:
        """None: what another replica has committed is known to the server alone."""

    @contextmanager
    def alone(self, name: str, busy: str) -> Iterator[None]:
        """Hold an advisory lock of the shop, against all replicas; it goes with the connection that took it."""
        link = self._pool.opened()
        try:
            try:
                taken = link.execute("SELECT pg_try_advisory_lock($1)", (self.address.key(name),)).fetchone()
            except psycopg.Error as error:
                raise self._pool.met(error) from error
            if taken != (True,):
                raise DataError(busy, where=self.where, hint="wait for it, then run this again")
            yield
        finally:
            link.close()

    def scrub(self, texts: Collection[str]) -> None:
        """Let the server reclaim deleted rows. Their bytes stay in its log and in free space until that is reused."""
        if int(self.query(_SIZE)[0][0]) <= _VACUUM_BYTES:
            self._vacuum()

    def tidy(self, *, thoroughly: bool) -> None:
        """Let the server reclaim what was deleted, beside its own vacuum; nobody has to wait for it."""
        self._vacuum()

    def condition(self) -> Condition:
        """Version, durability and clock of the server."""
        before = time.time()
        version, number, _, fsync, pages, at = self.query(_ABOUT)[0]
        skew = abs(at / 1e6 - (before + time.time()) / 2)
        detail = f"PostgreSQL {version}, {self.where}, schema {self.address.schema}"
        if number < _OLDEST:
            return Condition("fail", detail, "PostgreSQL 13 or newer is needed")
        if "off" in (fsync, pages):
            return Condition(
                "fail", f"{detail}, fsync or full_page_writes is off", "switch them on: a crash loses rows"
            )
        if skew > _SKEW_SECONDS:
            return Condition("warn", f"{detail}, clocks {skew:.1f} s apart", "check the time services of both machines")
        return Condition("ok", f"{detail}, clocks {skew * 1000:.0f} ms apart")

    def close(self) -> None:
        """Close every connection but one on which the server keeps somebody waiting; what was committed stays."""
        self._pool.close()
        if self._write_lock.acquire(timeout=LOCK_SECONDS):
            try:
                self._pool.drop_writer()
            finally:
                self._write_lock.release()

    # --- the schema -----------------------------------------------------------------------------------------------

    def _create_schema(self, link: Link, steps: Sequence[Sequence[str]]) -> None:
        with link.transaction():
            link.execute("SELECT pg_advisory_xact_lock($1)", (self.address.key("writes"),))  # of two, one finds it done
            if link.execute("SHOW server_encoding").fetchone() != ("UTF8",):
                raise DataError("the database does not hold UTF-8", where=self.where, hint="create it with UTF8")
            known = link.execute("SELECT 1 FROM pg_namespace WHERE nspname = $1", (self.address.schema,)).fetchone()
            if known is None:
                link.execute(f'CREATE SCHEMA "{self.address.schema}"')
            if link.execute("SELECT to_regclass('schema_version') IS NULL").fetchone() == (True,):
                link.execute("CREATE TABLE schema_version (version BIGINT NOT NULL)")
                link.execute("INSERT INTO schema_version VALUES (0)")
            version = int((link.execute("SELECT version FROM schema_version").fetchone() or (0,))[0])
            if version > len(steps):
                where = f"{self.where} schema {self.address.schema}"
                raise DataError("the store is newer than this program", where=where, got=version, hint="update")
            for statement in () if version else FIRST:
                link.execute(statement)
            for statement in (each for step in steps[version:] for each in tables(step)):
                link.execute(statement)
            link.execute("UPDATE schema_version SET version = $1", (len(steps),))

    def _vacuum(self) -> None:
        tables = [row[0] for row in self.query(_TABLES)]
        link = self._pool.reader()
        try:
            with contextlib.suppress(psycopg.errors.QueryCanceled):  # it takes long: the server's own goes on with it
                link.execute(f"VACUUM {', '.join(tables)}")
        except psycopg.Error as error:
            link.close()
            raise self._pool.met(error) from error
        self._pool.put_back(link)


class _Transaction:
    """The statements of `serving.store_sql` on a connection that holds the write lock."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Any:
        """Run one statement."""
        return self._link.execute(rendered(statement), parameters)

    def executemany(self, statement: str, parameters: Sequence[Sequence[Any]], /) -> Any:
        """Run one statement for each row, without waiting for each answer."""
        cursor = self._link.cursor()
        cursor.executemany(rendered(statement), parameters)
        return cursor
