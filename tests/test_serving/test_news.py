"""Who has news in the store: known in memory, certain in what it denies, and never behind an acknowledged write."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from features.order_reports import Report
from serving import news as news_module
from serving.events import StoredEvent
from serving.newer import NOTHING, Reach, newer_of
from serving.news import AT_ONCE, TRUST_SECONDS, News
from serving.store import Store

SECRET = b"s" * 32
REPOSITORY = Path(__file__).parents[2]
PEOPLE = ("ann", "bob", "cleo", "dan")
NEW = Reach()


@pytest.fixture
def open_store(tmp_path):
    """Opens the same store again, as another process would."""
    opened = []

    def again() -> Store:
        opened.append(Store.open(tmp_path / "store.db", SECRET))
        return opened[-1]

    yield again
    for each in opened:
        each.close()


@pytest.fixture
def later(monkeypatch):
    """Lets as much time pass as the last mark is believed."""
    passed = [0.0]
    clock = news_module.time.monotonic
    monkeypatch.setattr(news_module.time, "monotonic", lambda: clock() + passed[0])
    return lambda: passed.__setitem__(0, passed[0] + TRUST_SECONDS + 0.01)


def view(number: int, customer: str | None = None, visitor: str | None = None, kind: str = "view") -> StoredEvent:
    return StoredEvent(
        event_id=f"e{number}", occurred_at=number, recorded_at=number, type=kind, item_id="tea", customer_id=customer,
        visitor_id=visitor,
    )  # fmt: skip


def something(r: random.Random, store: Store, number: int) -> None:
    """One write of any kind that concerns somebody."""
    kind = r.choice(["own", "anonymous", "sign_in", "sign_out", "told", "told before", "order"])
    customer, visitor = r.choice(PEOPLE), r.choice(["laptop", "phone"])
    if kind == "told":
        store.put_customer(customer, {"tier": "gold"}, number)
    elif kind == "told before":
        store.put_visitor(visitor, {"tier": "tin"}, number)
    elif kind == "order":
        made = Report(order_id=f"o{number}", line="1", at=number, item_id="tea", state="shipped")
        store.put_orders([(customer, made)], number)
    else:
        owner = customer if kind in ("own", "sign_in") else None
        known = None if kind == "own" else visitor
        store.append_sync([view(number, owner, known, kind if kind.startswith("sign") else "view")])


@pytest.mark.parametrize("seed", range(8))
def test_who_is_denied_has_nothing_newer(open_store, seed):
    """After each write, of one's own process or of another one, whatever it was and wherever the last sync ended."""
    r = random.Random(seed)
    one, other = open_store(), open_store()
    for number in range(r.randrange(8)):
        something(r, one, number)
    last = [one.database.query(f"SELECT coalesce(max({key}), 0) FROM {table}")[0][0]
            for key, table in (("seq", "events"), ("change", "customers"), ("change", "orders"))]  # fmt: skip
    reach = r.choice([NEW, Reach(*last), Reach(*(r.randrange(each + 1) for each in last))])
    news, denied = News(one.database, reach), 0
    for number in range(10, 30):
        for customer in PEOPLE:
            if news.none_of(customer, reach):
                denied += 1
                assert newer_of(other.database, customer, None, reach) == NOTHING
        something(r, r.choice([one, other]), number)
    assert denied


def test_only_they_have_news_whom_something_concerns(open_store):
    """An anonymous event concerns whom its visitor has become; a sign-in whom he becomes."""
    store = open_store()
    news = News(store.database, NEW)
    store.append_sync([view(1, "ann", "laptop", "sign_in"), view(2, "bob")])
    store.put_visitor("phone", {"tier": "tin"}, 3)
    assert [news.none_of(each, NEW) for each in PEOPLE] == [False, False, True, True]
    behind = Reach(store.last_seq(), 0, 0)
    news = News(store.database, behind)
    assert all(news.none_of(each, behind) for each in PEOPLE)
    store.append_sync([view(4, None, "laptop"), view(5, None, "phone")])
    assert [news.none_of(each, behind) for each in PEOPLE] == [False, True, True, True]


WRITER = """
import sys
from pathlib import Path
from serving.events import StoredEvent
from serving.store import Store

store = Store.open(Path(sys.argv[1]), b"s" * 32)
for line in sys.stdin:
    name = line.strip()
    store.append_sync([StoredEvent(event_id=name, occurred_at=1, recorded_at=1, type="view", customer_id=name)])
    print("acknowledged", flush=True)
store.close()
"""


def test_what_another_process_has_acknowledged_is_known_at_once(open_store, tmp_path):
    """However often, and long before the mark would be doubted."""
    news = News(open_store().database, NEW)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "store.db")], cwd=REPOSITORY, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert writer.stdin is not None and writer.stdout is not None
    for number in range(50):
        assert news.none_of(f"c{number}", NEW)
        writer.stdin.write(f"c{number}\n")
        writer.stdin.flush()
        assert writer.stdout.readline() == "acknowledged\n"
        assert not news.none_of(f"c{number}", NEW)
    writer.communicate(timeout=20)


def test_while_nothing_is_committed_nobody_asks(open_store, later, monkeypatch):
    """One look a second, for a process that ended between its commit and its mark."""
    store, asked = open_store(), []
    news, query = News(store.database, NEW), store.database.query
    monkeypatch.setattr(store.database, "query", lambda *given: asked.append(given[0]) or query(*given))
    for _ in range(100):
        assert news.none_of("ann", NEW)
    assert len(asked) == 1
    with sqlite3.connect(store.database.where) as silent:
        silent.execute("INSERT INTO customers (customer_id, payload, changed_at) VALUES ('ann', '{}', 1)")
    silent.close()
    assert news.none_of("ann", NEW)
    later()
    assert not news.none_of("ann", NEW) and len(asked) == 2


def test_what_came_in_bulk_is_read_piece_by_piece(open_store, monkeypatch):
    """While it is, nothing is certain, so no request waits for all of it."""
    store = open_store()
    news = News(store.database, NEW)
    store.append_sync([view(n, f"c{n}") for n in range(3 * AT_ONCE)])
    assert [news.none_of("nobody", NEW) for _ in range(5)] == [False, False, False, True, True]
    assert not any(news.none_of(f"c{n}", NEW) for n in range(3 * AT_ONCE))


def test_of_too_many_nothing_is_certain(open_store):
    """The memory of a worker is bounded; the next sync begins anew."""
    store = open_store()
    news = News(store.database, NEW, most=3)
    store.append_sync([view(n, f"c{n}") for n in range(3)])
    assert news.none_of("nobody", NEW)
    store.append_sync([view(n, f"c{n}") for n in range(3, 5)])
    news.none_of("nobody", NEW)
    store.append_sync([view(9, "late")])
    assert not news.none_of("nobody", NEW) and not news.none_of("late", NEW)


def test_of_another_history_than_its_own_nothing_is_certain(open_store):
    """A request that began before a swap holds the older one."""
    news = News(open_store().database, Reach(5, 0, 0))
    assert news.none_of("ann", Reach(5, 0, 0))
    assert not news.none_of("ann", NEW) and not news.none_of("ann", Reach(6, 0, 0))


def test_a_store_that_was_put_back_is_read_from_the_start(open_store, tmp_path, later, monkeypatch):
    """Its numbers begin before those that were seen."""
    store = open_store()
    shutil.copy(tmp_path / "store.db", tmp_path / "backup")
    news = News(store.database, NEW)
    store.append_sync([view(n, "ann") for n in range(5)])
    assert not news.none_of("ann", NEW)
    for name in ("store.db", "store.db-wal", "store.db-shm"):
        (tmp_path / name).unlink()
    shutil.copy(tmp_path / "backup", tmp_path / "store.db")
    monkeypatch.setattr("serving.database._LOOK_SECONDS", 0.0)
    store.database._local.look_at = 0.0
    open_store().append_sync([view(9, "bob"), *(view(n, f"c{n}") for n in range(10, 10 + AT_ONCE))])
    later()
    assert [news.none_of("cleo", NEW) for _ in range(4)] == [True, False, True, True]  # it notices, it reads, it knows
    assert not news.none_of("bob", NEW)


def test_a_mark_that_was_removed_is_found_again(open_store, tmp_path, later, monkeypatch):
    """Until then the second's look tells."""
    one, other = open_store(), open_store()
    monkeypatch.setattr("serving.database._LOOK_SECONDS", 0.0)
    news = News(one.database, NEW)
    assert news.none_of("ann", NEW)
    (tmp_path / "store.db-mark").unlink()
    other.append_sync([view(1, "ann")])
    one.database._local.look_at = 0.0
    later()
    assert not news.none_of("ann", NEW)
    other.append_sync([view(2, "bob")])
    assert not news.none_of("bob", NEW)


def test_without_a_mark_nothing_is_certain(tmp_path, monkeypatch):
    """Where no file can be made beside the database, and once it is closed."""
    (tmp_path / "store.db-mark").mkdir()
    store = Store.open(tmp_path / "store.db", SECRET)
    assert store.database.mark() is None and not News(store.database, NEW).none_of("ann", NEW)
    store.append_sync([view(1, "ann")])
    assert store.last_seq() == 1
    store.close()
    (tmp_path / "store.db-mark").rmdir()
    store = Store.open(tmp_path / "store.db", SECRET)
    assert News(store.database, NEW).none_of("bob", NEW)
    (tmp_path / "store.db-mark").unlink()
    (tmp_path / "store.db-mark").mkdir()
    monkeypatch.setattr("serving.database._LOOK_SECONDS", 0.0)
    store.database._local.look_at = 0.0
    assert store.last_seq() == 1 and store.database.mark() is None
    (tmp_path / "store.db-mark").rmdir()
    assert store.last_seq() == 1 and store.database.mark() is not None
    store.close()
    assert store.database.mark() is None


def test_a_commit_whose_mark_cannot_be_written_is_known_all_the_same(open_store, monkeypatch):
    """On a full disk, or with no file to be had: the process that committed asks, until it can write again."""
    store = open_store()
    news = News(store.database, NEW)
    assert news.none_of("ann", NEW)

    def full(*_: object) -> int:
        raise OSError(28, "no space")

    with monkeypatch.context() as patched:
        patched.setattr("serving.commit_mark.os.pwrite", full)
        store.append_sync([view(1, "ann")])
    assert not news.none_of("ann", NEW) and not news.none_of("bob", NEW)
    monkeypatch.setattr("serving.database._LOOK_SECONDS", 0.0)
    store.database._local.look_at = 0.0
    assert store.last_seq() == 1 and not news.none_of("ann", NEW) and news.none_of("bob", NEW)


def test_nothing_in_it_has_a_name(open_store):
    """Who was erased since may stand in it as a number of this process, which leads back to nobody."""
    store = open_store()
    news = News(store.database, NEW)
    store.append_sync([view(1, "ann")])
    assert not news.none_of("ann", NEW)
    assert news._known and all(type(each) is int for each in news._known)
