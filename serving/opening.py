"""Where a shop's store lies: in the PostgreSQL that `KOKYAKU_STORE` names, else in a SQLite file in its folder."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from features.errors import ConfigError
from serving import store_sql as sql
from serving.backend import Database
from serving.database import SqliteDatabase

if TYPE_CHECKING:
    from features.shop import Shop

_WHOSE = "secret"


def open_database(shop: Shop) -> Database:
    """Open the database of a shop; it is made, with all tables, when there is none.

    Raises:
        ConfigError: the address is none, the driver is not installed, or the database is one of another secret.
        DataError: what is there is something else, or of a newer program.
        Unavailable: it cannot be opened now.
    """
    if shop.store_url is None:
        return SqliteDatabase(shop.store, sql.STEPS)
    try:
        from serving.postgres import PostgresDatabase
    except ImportError as error:
        hint = "pip install kokyaku[postgres]"
        raise ConfigError("the driver for PostgreSQL is not installed", where="KOKYAKU_STORE", hint=hint) from error
    database = PostgresDatabase(shop.store_url, shop.id, sql.STEPS)
    try:
        _check_secret(database, shop.secret)
    except BaseException:
        database.close()
        raise
    return database


def _check_secret(database: Database, secret: bytes) -> None:
    """Tombstones and draws of replicas with unlike secrets would not agree; the first one says which it is."""
    fingerprint = hashlib.blake2b(secret, digest_size=16, person=b"kokyaku.replicas").hexdigest()
    found = database.query(sql.GET_META, (_WHOSE,))
    if not found:
        with database.transaction() as connection:
            connection.execute(sql.SET_META_ONCE, (_WHOSE, fingerprint))
            found = connection.execute(sql.GET_META, (_WHOSE,)).fetchall()
    if found[0][0] != fingerprint:
        hint = "copy secret.key of the replica that made it, or name that file by KOKYAKU_SECRET_FILE"
        raise ConfigError("the store belongs to another secret", where=database.where, hint=hint)
