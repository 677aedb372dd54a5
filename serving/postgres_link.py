"""How a PostgreSQL is reached: the address, the settings of a connection, how long one waits, what errors mean."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import psycopg
from psycopg import conninfo
from psycopg.abc import AdaptContext, Buffer
from psycopg.types.array import ListBinaryDumper
from psycopg.types.numeric import Int8BinaryDumper
from psycopg.types.string import StrBinaryDumper, TextBinaryLoader

from features.errors import ConfigError, Unavailable
from serving.postgres_sql import escaped, unescaped

CONNECT_SECONDS = 2
LOOP_SECONDS = 0.25
"""An event loop waits no longer for an answer: everybody else's request waits with it."""
STATEMENT_SECONDS = 120
"""The longest that any other thread waits, and that the server works on one statement: a sync has long ones."""
LOCK_SECONDS = 5
"""For who writes now."""
IDLE_SECONDS = 15
"""A replica that stops in the middle of a transaction holds up the others no longer."""
_NAME_BYTES = 63
_SETTINGS = """
    SET search_path = "{schema}"; SET statement_timeout = '{statement}s'; SET lock_timeout = '{lock}s';
    SET idle_in_transaction_session_timeout = '{idle}s';
    SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') IN ('off', 'local')"""
_AWAY = ("08", "57P")
"""Classes of error that mean: there is no server any more, or not yet."""
_REFUSED = ("25006", "25P", "3F000", "40", "42501", "42P01", "53", "54", "55P03", "57014", "58", "XX")
"""Those of a server that cannot do it now: read-only, too slow, no schema, deadlock, no right, full, locked, broken."""


class Address:
    """Where the store of a shop lies.

    Args:
        url: `postgresql://user:password@host:port/database`; more as libpq knows it.
        shop_id: each shop has a schema of its own.

    Raises:
        ConfigError: no such address; the message does not repeat it, as it may hold a password.
    """

    def __init__(self, url: str, shop_id: str) -> None:
        hint = "write postgresql://user:password@host:port/database"
        if not url.startswith(("postgresql://", "postgres://")):
            raise ConfigError("not the address of a PostgreSQL", where="KOKYAKU_STORE", hint=hint)
        try:
            parts = conninfo.conninfo_to_dict(url)
            _ = [int(port) for port in str(parts.get("port") or 0).split(",")]  # several hosts have several
        except (psycopg.ProgrammingError, ValueError):
            raise ConfigError("not the address of a PostgreSQL", where="KOKYAKU_STORE", hint=hint) from None
        self.url = url
        self.schema = schema_of(shop_id)
        host, port, name = (parts.get(part) for part in ("host", "port", "dbname"))
        self.where = f"postgresql://{host or 'localhost'}:{port or 5432}/{name or parts.get('user') or ''}"

    def key(self, lock: str) -> int:
        """The number of an advisory lock of this shop; locks are the whole server's, so another shop has another."""
        digest = hashlib.blake2b(f"{lock} {self.schema}".encode(), digest_size=8, person=b"kokyaku.locks").digest()
        return int.from_bytes(digest, "big", signed=True)


def schema_of(shop_id: str) -> str:
    """The schema of a shop; a name that is too long for one is cut and told apart by its hash."""
    name = f"kokyaku_{shop_id}"
    if len(name) <= _NAME_BYTES:
        return name
    return f"{name[:45]}_{hashlib.blake2b(shop_id.encode(), digest_size=8).hexdigest()}"


class Link(psycopg.Connection[tuple[Any, ...]]):
    """A connection that gives up waiting, also where the server is there and says nothing."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """As in the base class, within the patience of this thread."""
        return super().wait(gen, interval, patience() if timeout is None else timeout)


def patience() -> float:
    """Seconds that this thread may wait for an answer."""
    return LOOP_SECONDS if on_event_loop() else STATEMENT_SECONDS + 1.0


def on_event_loop() -> bool:
    """Whether an event loop runs in this thread, so that waiting here makes all of its requests wait."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def connect(address: Address) -> Link:
    """A new connection that commits durably and looks into the shop's schema.

    Raises:
        psycopg.Error: there is none to be had.
    """
    link = Link.connect(
        address.url, autocommit=True, cursor_factory=_Cursor, context=None,
        connect_timeout=CONNECT_SECONDS, tcp_user_timeout=5_000, keepalives_idle=10, keepalives_interval=5,
        client_encoding="utf8", fallback_application_name="kokyaku",
    )  # fmt: skip
    try:
        _adapt(link)
        limits = {"statement": STATEMENT_SECONDS, "lock": LOCK_SECONDS, "idle": IDLE_SECONDS}
        at_once(link, _SETTINGS.format(schema=address.schema, **limits))
    except BaseException:
        link.close()
        raise
    return link


def at_once(link: Link, statements: str) -> None:
    """Run several statements without parameters in one round trip."""
    link.cursor().execute(statements, prepare=False, binary=False)


class _Cursor(psycopg.RawCursor[tuple[Any, ...]]):
    """Takes `$1` for parameters, and rows as bytes: numbers and blobs need not be spelt out."""

    def __init__(self, connection: Any, **options: Any) -> None:
        super().__init__(connection, **options)
        self.format = psycopg.pq.Format.BINARY


class _Text(StrBinaryDumper):
    def dump(self, obj: str) -> Buffer | None:
        return escaped(obj).encode()


class _Read(TextBinaryLoader):
    def load(self, data: Buffer) -> str:
        return unescaped(str(data, "utf-8"))


def _adapt(context: AdaptContext) -> None:
    """Numbers are 64 bits wide, so that a statement is prepared once and not once a width."""
    context.adapters.register_dumper(int, Int8BinaryDumper)
    context.adapters.register_dumper(str, _Text)
    context.adapters.register_dumper(list, ListBinaryDumper)  # of the same
    context.adapters.register_loader("text", _Read)


def is_away(error: psycopg.Error) -> bool:
    """Whether an error means that the connection, or the server, is gone or silent."""
    state = error.sqlstate
    if state is not None:
        return state.startswith(_AWAY)
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)


def explained(error: psycopg.Error, where: str) -> Exception:
    """What a user should read; errors of our own making (a wrong statement) stay what they are."""
    state = error.sqlstate
    if not is_away(error) and not (state is not None and state.startswith(_REFUSED)):
        return error
    if state in ("42P01", "3F000"):
        hint = "bring the schema back; the service goes on by itself"
        return Unavailable("the store is gone", where=where, got=_first_line(error), hint=hint)
    hint = "try again in a moment; if it lasts, look after the database server"
    return Unavailable("the store cannot do this now", where=where, got=_first_line(error), hint=hint)


def unopened(error: psycopg.Error, address: Address) -> Exception:
    """What a user should read where the store cannot be opened at all: most likely the address is wrong."""
    if error.sqlstate == "42501":
        hint = f"let its user create schemas in the database, or make the schema {address.schema} its own"
        return Unavailable("no right to make the store", where=address.where, got=_first_line(error), hint=hint)
    if not is_away(error):
        return explained(error, address.where)
    hint = "is the server up, and is KOKYAKU_STORE right: host, port, database, user, password?"
    return Unavailable("the store cannot be reached", where=address.where, got=_first_line(error), hint=hint)


def _first_line(error: psycopg.Error) -> str:
    """What the server said; which server it was is told beside it."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line.rpartition(" failed: ")[2]
