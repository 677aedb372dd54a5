"""PostgreSQL as the store: what users are told, what the schema holds, and how it comes back after a failure.

What it shares with SQLite is tested by the store's contract, in test_store.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import ConfigError, DataError, Unavailable
from features.shop import Shop
from serving import store_sql as sql
from serving.__main__ import main
from serving.events import StoredEvent
from serving.store import Store
from tests.test_serving.postgres_server import BARE, LOCKED, PASSWORD

psycopg = pytest.importorskip("psycopg", reason="the driver is not installed (pip install kokyaku[postgres])")
from serving.postgres import PostgresDatabase  # noqa: E402
from serving.postgres_link import schema_of  # noqa: E402
from serving.postgres_sql import escaped, rendered, unescaped  # noqa: E402

NOON = 1_500_000_000_000_000
SOON = 15.0
"""Seconds in which a store has to be itself again; a busy machine is given time."""


def event(name: str, customer: str = "ann", **fields) -> StoredEvent:
    return StoredEvent(event_id=name, occurred_at=NOON, recorded_at=NOON, type="view", customer_id=customer, **fields)


def ids(store: Store, customer: str = "ann") -> list[str]:
    return [each.event_id for each in store.events_of(customer, None)]


@pytest.fixture
def shop(postgres, tmp_path):
    return Shop(postgres.shop_id(tmp_path), tmp_path / "shop", postgres.url)


@pytest.fixture
def store(shop):
    opened = Store.of(shop)
    yield opened
    opened.close()


# --- what users are told ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", [
    "mysql://u:correct-horse@127.0.0.1/db", "correct-horse", "postgresql://u:correct-horse@127.0.0.1:port/db",
    "postgresql://u:correct-horse@[::1/db", "postgresql://u:correct-horse@h/db?sslmode=nonsense&no_such=1",
])  # fmt: skip
def test_what_is_no_address_is_told_without_repeating_it(url, tmp_path):
    with pytest.raises(ConfigError, match="not the address of a PostgreSQL") as told:
        Store.of(Shop("shop", tmp_path, url))
    assert PASSWORD not in told.value.line() and "postgresql://user:password@host" in told.value.line()


@pytest.mark.parametrize(("user", "database", "says"), [
    ("kokyaku", "elsewhere", 'database "elsewhere" does not exist'), ("stranger", "postgres", '"stranger"'),
    (LOCKED, "postgres", "password authentication failed"), (BARE, "postgres", "make the schema kokyaku_toy its own"),
])  # fmt: skip
def test_what_the_server_refuses_is_told_with_its_remedy(postgres, toy_shop, monkeypatch, capsys, user, database, says):
    """Exit code 2, one line, no password, from a command that an operator would call."""
    monkeypatch.setenv("KOKYAKU_STORE", postgres.url_of(user, database))
    assert main(["--shop", "toy", "--root", str(toy_shop.root), "erase", "ann"]) == 2
    told = capsys.readouterr().err
    assert says in told and told.count("\n") == 1
    assert "KOKYAKU_STORE" in told or user == BARE
    assert PASSWORD not in told and f"127.0.0.1:{postgres.port}" in told


def test_where_nobody_listens(toy_shop, monkeypatch, capsys):
    monkeypatch.setenv("KOKYAKU_STORE", f"postgresql://u:{PASSWORD}@127.0.0.1:1/db")
    assert main(["--shop", "toy", "--root", str(toy_shop.root), "sync"]) == 2
    told = capsys.readouterr().err
    assert "the store cannot be reached" in told and "Connection refused" in told and PASSWORD not in told
    assert main(["--shop", "toy", "--root", str(toy_shop.root), "doctor"]) == 1
    assert PASSWORD not in capsys.readouterr().out


def test_without_the_driver_the_command_that_installs_it_is_told(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("psycopg", "serving.postgres"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"pip install kokyaku\[postgres\]"):
        Store.of(Shop("shop", tmp_path, "postgresql://localhost/db"))


def test_a_shop_and_its_store_do_not_show_the_password(shop, store):
    assert PASSWORD in str(shop.store_url) and PASSWORD not in repr(shop) and PASSWORD not in store.database.where


# --- the secret that replicas share -----------------------------------------------------------------------------------


def test_a_replica_with_another_secret_is_refused_and_with_the_same_is_not(shop, store, tmp_path):
    with pytest.raises(ConfigError, match=r"another secret.*KOKYAKU_SECRET_FILE"):
        Store.of(Shop(shop.id, tmp_path / "other", shop.store_url))
    told = {"KOKYAKU_STORE": shop.store_url, "KOKYAKU_SECRET_FILE": str(shop.root / "secret.key")}
    same = Shop.from_environment(shop.id, tmp_path / "third", told)
    assert same.secret == shop.secret
    Store.of(same).close()


@pytest.mark.parametrize(("content", "says"), [(None, "no secret can be read"), (b"short", "too short")])
def test_a_secret_that_was_named_is_never_made(tmp_path, content, says):
    path = tmp_path / "named.key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=says):
        _ = Shop("shop", tmp_path, None, path).secret
    assert path.exists() == (content is not None)


# --- the schema -------------------------------------------------------------------------------------------------------


def test_each_shop_has_a_schema_of_its_own(shop, store, postgres, tmp_path):
    other = Store.of(Shop(f"{shop.id}-b", tmp_path / "b", postgres.url))
    store.append_sync([event("e1")])
    assert other.append_sync([event("e1", "bob")]) == ["accepted"] and ids(other) == []
    other.close()
    long = [schema_of(f"{'x' * 60}-{n}") for n in range(2)]
    assert len(set(long)) == 2 and max(map(len, long)) <= 63


def test_a_store_of_an_older_program_gets_what_it_lacks_and_one_of_a_newer_is_refused(shop, postgres):
    PostgresDatabase(postgres.url, shop.id, sql.STEPS[:1]).close()
    store = Store.of(shop)
    assert store.held_of("ann", None) == {}
    store.close()
    postgres.run(f'UPDATE "{schema_of(shop.id)}".schema_version SET version = 99')
    with pytest.raises(DataError, match="newer than this program"):
        Store.of(shop)


def test_many_who_open_a_new_store_at_once_make_one(shop):
    assert shop.secret
    opened, errors = [], []

    def open_it():
        try:
            opened.append(Store.of(shop))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and len(opened) == 6
    assert len({store.database.query(sql.GET_META, ("store_id",))[0][0] for store in opened}) == 1
    for store in opened:
        store.close()


def test_the_server_understands_every_statement(store, postgres, shop):
    """Also those that no test happens to reach in a way that differs."""
    statements = {name: text for name, text in vars(sql).items()
                  if isinstance(text, str) and name.isupper() and "{" not in text and " " in text
                  and text.split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")}  # fmt: skip
    assert len(statements) > 70
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f'SET search_path = "{schema_of(shop.id)}"')
        for name, text in statements.items():
            prepared = connection.pgconn.prepare(name.encode(), rendered(text).encode())
            assert prepared.status == psycopg.pq.ExecStatus.COMMAND_OK, (name, prepared.error_message)


def test_numbers_go_on_where_rows_were_deleted(store):
    """ "After a number" means "since", also where the last rows are gone and where some were never committed."""
    store.append_sync([event(f"e{n}") for n in range(3)])
    before = store.last_seq()
    with pytest.raises(DataError), store.database.transaction() as connection:
        connection.execute(sql.ADD_EVENT, ("lost", "ann", None, 0, 0, "view", None, b"{}"))
        raise DataError("never mind")
    with store.database.transaction() as connection:
        connection.execute("DELETE FROM events")
    assert store.last_seq() == before
    store.append_sync([event("later")])
    assert store.last_seq() > before
    assert [each.event_id for each in store.events_of("ann", None, before)] == ["later"]


@given(st.text())
def test_any_text_is_written_and_read_back(text):
    assert unescaped(escaped(text)) == text and "\0" not in escaped(text)


def test_ids_are_told_apart_whatever_they_hold(store):
    odd = ["a\0b", "a\x010b", "a\x01\x01b", "\0", "\x01", "%s", "$1", "?", "\\000", "c" * 512, "𠮷" * 512]
    assert store.append_sync([event(f"e-{n}", name) for n, name in enumerate(odd)]) == ["accepted"] * len(odd)
    assert [ids(store, name) for name in odd] == [[f"e-{n}"] for n in range(len(odd))]


# --- failures ---------------------------------------------------------------------------------------------------------


def until(works, seconds: float = SOON):
    """What a call gives as soon as it does not raise `Unavailable`."""
    patience = time.monotonic() + seconds
    while True:
        try:
            return works()
        except Unavailable:
            if time.monotonic() > patience:
                raise
            time.sleep(0.05)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_server_that_is_gone_is_told_at_once_and_found_again(store, postgres, how):
    """What was acknowledged is there when it is back, and nobody has to do anything."""
    store.append_sync([event("before")])
    getattr(postgres, how)()
    try:
        with pytest.raises(Unavailable):
            store.append_sync([event("during")])
        began = time.monotonic()
        for _ in range(50):
            with pytest.raises(Unavailable, match="the store cannot do this now"):
                ids(store)
        assert time.monotonic() - began < 1.0, "nobody waits for a server that is known to be away"
        with pytest.raises(Unavailable):
            asyncio.run(store.append([event("during")]))
    finally:
        postgres.start()
    assert until(lambda: ids(store)) == ["before"]
    assert until(lambda: store.append_sync([event("during")])) == ["accepted"]
    assert asyncio.run(store.append([event("after")])) == ["accepted"]
    assert ids(store) == ["before", "during", "after"]


def test_a_server_that_says_nothing_holds_up_no_event_loop(store, postgres):
    """The first one waits for a quarter of a second, whoever comes then does not, and threads are set free soon."""
    store.append_sync([event("before")])
    waited: list[float] = []

    def write():
        began = time.monotonic()
        with pytest.raises(Unavailable):
            store.append_sync([event("during")])
        waited.append(time.monotonic() - began)

    async def read():
        began = time.monotonic()
        for _ in range(20):
            with pytest.raises(Unavailable):
                store.events_of("ann", None)
        return time.monotonic() - began

    postgres.freeze()
    try:
        writer = threading.Thread(target=write)
        writer.start()
        assert asyncio.run(read()) < 3.0
        writer.join(20)
        assert waited and waited[0] < 15.0
    finally:
        postgres.thaw()
    assert until(lambda: ids(store))[0] == "before"
    assert until(lambda: store.append_sync([event("during")])) in (["accepted"], ["duplicate"])


def test_connections_that_were_closed_behind_our_back_are_opened_again_unnoticed(store, postgres, shop):
    """A failover, a pooler or an administrator ends them; the next call does not fail for it."""
    ends = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE application_name = 'kokyaku' AND pid != pg_backend_pid()"""
    for n in range(3):
        assert store.append_sync([event(f"e{n}")]) == ["accepted"]
        assert len(ids(store)) == n + 1
        assert postgres.run(ends)[0][0] >= 2
        time.sleep(0.05)
        assert len(ids(store)) == n + 1
        postgres.run(ends)


def test_a_transaction_that_was_cut_off_left_nothing(store, postgres):
    with pytest.raises(Unavailable), store.database.transaction() as connection:
        pid = connection.execute("SELECT pg_backend_pid()::bigint").fetchone()[0]
        connection.execute(sql.ADD_EVENT, ("half", "ann", None, 0, 0, "view", None, b"{}"))
        postgres.run(f"SELECT pg_terminate_backend({pid})")
        connection.execute(sql.ADD_EVENT, ("rest", "ann", None, 0, 0, "view", None, b"{}"))
    assert until(lambda: ids(store)) == []


def test_a_replica_that_stops_while_it_writes_holds_up_the_others_for_a_while_only(shop, store, monkeypatch):
    """Its transaction is ended by the server, and what it goes on with then is not written."""
    monkeypatch.setattr("serving.postgres_link.IDLE_SECONDS", 1)
    stopped = Store.of(shop)
    with pytest.raises(Unavailable), stopped.database.transaction() as connection:
        connection.execute(sql.ADD_EVENT, ("half", "ann", None, 0, 0, "view", None, b"{}"))
        assert until(lambda: store.append_sync([event("e1")])) == ["accepted"]
        connection.execute(sql.ADD_EVENT, ("rest", "ann", None, 0, 0, "view", None, b"{}"))
    assert ids(store) == ["e1"] and until(lambda: stopped.append_sync([event("e2")])) == ["accepted"]
    stopped.close()


def test_who_waits_too_long_for_another_writer_is_told(shop, store, monkeypatch):
    monkeypatch.setattr("serving.postgres_link.LOCK_SECONDS", 1)
    waiting = Store.of(shop)
    with store.database.transaction():
        with pytest.raises(Unavailable, match="lock timeout"):
            waiting.append_sync([event("e1")])
        with pytest.raises(Unavailable, match="lock timeout"):
            asyncio.run(put_at_once(waiting))
        assert ids(waiting) == []
    assert waiting.append_sync([event("e1")]) == ["accepted"]
    waiting.close()


async def put_at_once(store: Store) -> None:
    """In an event loop's own thread, where waiting a second would be too long."""
    began = time.monotonic()
    try:
        store.put_customer("ann", {"tier": "gold"}, NOON)
    finally:
        assert time.monotonic() - began < 0.9


def test_a_schema_that_is_gone_is_told_and_taken_up_when_it_is_back(shop, store, postgres):
    schema = schema_of(shop.id)
    store.append_sync([event("e1")])
    postgres.run(f'ALTER SCHEMA "{schema}" RENAME TO "{schema}_away"')
    with pytest.raises(Unavailable, match="the store is gone"):
        ids(store)
    with pytest.raises(Unavailable):
        store.append_sync([event("e2")])
    postgres.run(f'ALTER SCHEMA "{schema}_away" RENAME TO "{schema}"')
    assert until(lambda: ids(store)) == ["e1"]
    assert until(lambda: store.append_sync([event("e2")])) == ["accepted"]


def test_a_database_that_takes_no_writes_is_read(shop, store, postgres):
    """As a standby, or a server whose disk is full, is."""
    store.append_sync([event("e1")])
    postgres.run("ALTER ROLE kokyaku SET default_transaction_read_only = on")
    try:
        store.database._pool.drop_writer()  # the setting is that of new connections
        with pytest.raises(Unavailable, match="read-only"):
            store.append_sync([event("e2")])
        assert ids(store) == ["e1"]
    finally:
        postgres.run("ALTER ROLE kokyaku RESET default_transaction_read_only")
    assert until(lambda: store.append_sync([event("e2")])) == ["accepted"]


def test_doctor_tells_of_server_durability_and_clock(store):
    found = store.database.condition()
    assert found.verdict == "ok" and "PostgreSQL 1" in found.detail and "clocks" in found.detail
    assert PASSWORD not in found.detail
