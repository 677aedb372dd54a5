"""Who has news in the store: known in memory, certain in what it denies, and never behind an acknowledged write."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest

from features.order_reports import Report
from serving import news as news_module
from serving.commit_mark import CommitMark
from serving.events import StoredEvent
from serving.newer import NOTHING, Reach, newer_of
from serving.news import AT_ONCE, TRUST_SECONDS, News
from serving.steps import one_moment
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
from serving.steps import one_moment
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


def put_back(folder: Path, backup: Path) -> None:
    """As an operator does: another file in the place of the store, and nothing left of its log."""
    for name in ("store.db-wal", "store.db-shm"):
        (folder / name).unlink()
    shutil.copy(backup, folder / "new")
    (folder / "new").rename(folder / "store.db")


def restore(folder: Path, backup: Path) -> None:
    """By SQLite's own backup, into the same file."""
    with closing(sqlite3.connect(backup)) as source, closing(sqlite3.connect(folder / "store.db")) as target:
        source.backup(target)


@pytest.fixture(params=[put_back, restore])
def backup(request, open_store, tmp_path):
    """Takes a copy of the store now; it gives back what puts the copy in its place."""

    def copy():
        with closing(sqlite3.connect(tmp_path / "store.db")) as source, closing(sqlite3.connect(tmp_path / "b")) as to:
            source.backup(to)
            to.execute("PRAGMA journal_mode = DELETE")
        return lambda: request.param(tmp_path, tmp_path / "b")

    return copy


def certain(news: News, customer: str, calls: int = 5) -> list[bool]:
    return [news.none_of(customer, NEW) for _ in range(calls)]


def look_again(store: Store) -> None:
    """As if this thread had not looked for a second which file lies there."""
    store.database._local.look_at = 0.0


def test_a_store_that_was_put_back_is_read_from_the_start(open_store, backup, later):
    """Its numbers begin before those that were seen: who comes first is told nothing certain, however late."""
    store = open_store()
    store.append_sync([view(n, "dan") for n in range(3)])
    back = backup()
    news = News(store.database, NEW)
    store.append_sync([view(n, "dan") for n in range(3, 9)])
    assert certain(news, "ann", 2) == [True, True]
    back()
    open_store().append_sync([view(20, "ann"), *(view(n, f"c{n}") for n in range(30, 30 + AT_ONCE))])
    later()
    look_again(store)
    assert certain(news, "ann") == [False] * 5 and certain(news, "cleo", 2) == [True, True]
    assert not any(news.none_of(f"c{n}", NEW) for n in range(30, 30 + AT_ONCE))


def tell(store: Store, kind: str, customer: str, at: int) -> None:
    if kind == "told":
        store.put_customer(customer, {"tier": "gold"}, at)
    elif kind == "order":
        made = Report(order_id=f"o{at}", line="1", at=at, item_id="tea", state="shipped")
        store.put_orders([(customer, made)], at)
    else:
        store.append_sync([view(at, customer)])


@pytest.mark.parametrize("kind", ["told", "order"])
def test_of_a_store_that_was_put_back_all_kinds_are_read_again(open_store, backup, later, kind):
    """A consent that was withdrawn since, beside events that would tell nothing."""
    store = open_store()
    back = backup()
    news = News(store.database, NEW)
    for at in range(4):
        tell(store, kind, "dan", at)
    assert certain(news, "ann", 2) == [True, True]
    back()
    tell(open_store(), kind, "ann", 20)
    later()
    look_again(store)
    assert certain(news, "ann") == [False] * 5


@pytest.mark.parametrize("kind", ["told", "order", "event"])
def test_a_store_that_was_put_back_and_has_grown_beyond_is_read_again(open_store, backup, later, kind):
    """Then its highest number says nothing."""
    store = open_store()
    back = backup()
    news = News(store.database, NEW)
    for at in range(5):
        tell(store, kind, "dan", at)
    assert certain(news, "ann", 2) == [True, True]
    back()
    other = open_store()
    tell(other, kind, "ann", 10)
    for at in range(11, 18):
        tell(other, kind, "dan", at)
    later()
    look_again(store)
    assert certain(news, "ann") == [False] * 5 and news.none_of("cleo", NEW)


def test_another_file_is_read_from_the_start_though_its_last_row_is_the_same(open_store, tmp_path, later):
    """It may be a store of another night."""
    store = open_store()
    shutil.copy(tmp_path / "store.db", tmp_path / "b")
    news = News(store.database, NEW)
    store.append_sync([view(1, "dan"), view(2, "dan")])
    assert certain(news, "ann", 2) == [True, True]
    put_back(tmp_path, tmp_path / "b")
    open_store().append_sync([view(1, "ann"), view(2, "dan")])
    look_again(store)
    assert store.last_seq() == 2  # another part of the service notices
    assert certain(news, "ann") == [False] * 5


def test_a_visitor_of_a_store_that_was_put_back_is_asked_about_again(open_store, backup, later):
    """Whom he became there is said by its links alone."""
    store = open_store()
    store.append_sync([view(1, "ann")])
    back = backup()
    behind = Reach(store.last_seq() + 1, 0, 0)
    news = News(store.database, behind)
    store.append_sync([view(2, "bob"), view(3, None, "laptop")])
    assert [news.none_of(each, behind) for each in PEOPLE] == [True] * 4
    back()
    open_store().append_sync([view(4, "ann", "laptop", "sign_in"), view(5, None, "laptop")])
    later()
    look_again(store)
    assert [news.none_of("ann", behind) for _ in range(5)] == [False] * 5 and news.none_of("bob", behind)


def test_what_this_process_writes_into_a_store_that_was_put_back_is_known_at_once(open_store, backup):
    """No time passes: who writes notices the file, and all readers with him."""
    store = open_store()
    back = backup()
    news = News(store.database, NEW)
    store.append_sync([view(n, "dan") for n in range(5)])
    assert certain(news, "ann", 2) == [True, True]
    back()
    store.append_sync([view(9, "ann")])
    assert not news.none_of("ann", NEW) and newer_of(store.database, "ann", None, NEW).events
    assert certain(news, "ann") == [False] * 5 and certain(news, "cleo", 2) == [True, True]


def test_a_thread_that_has_not_looked_yet_does_not_bring_the_old_file_back(open_store, tmp_path):
    """An export reads in a thread of its own; what one thread has noticed of the file, all have."""
    store, aside = open_store(), ThreadPoolExecutor(1)
    shutil.copy(tmp_path / "store.db", tmp_path / "b")
    news = News(store.database, NEW)
    store.append_sync([view(n, "dan") for n in range(9)])
    assert aside.submit(news.none_of, "ann", NEW).result() and news.none_of("ann", NEW)
    put_back(tmp_path, tmp_path / "b")
    other = open_store()
    other.append_sync([view(20, "bob")])
    look_again(store)
    assert not news.none_of("ann", NEW) and certain(news, "ann", 2) == [True, True]
    other.append_sync([view(21, "cleo")])
    assert not aside.submit(news.none_of, "cleo", NEW).result()
    other.append_sync([view(22, "ann")])
    assert not aside.submit(news.none_of, "ann", NEW).result() and certain(news, "ann") == [False] * 5
    aside.shutdown()


def test_a_reader_that_failed_notices_another_file_all_the_same(open_store, tmp_path):
    """Its connection is gone by then, but not what was read through it."""
    store = open_store()
    shutil.copy(tmp_path / "store.db", tmp_path / "b")
    store.append_sync([view(1, "dan")])
    mark = store.database.mark()
    store.database._drop_reader()
    put_back(tmp_path, tmp_path / "b")
    assert store.last_seq() == 0 and store.database.mark().file == mark.file + 1


def test_of_a_file_that_is_replaced_while_it_is_read_nothing_is_certain(open_store, monkeypatch):
    """It is not known which of the two was read."""
    store = open_store()
    news, query = News(store.database, NEW), store.database.query

    def late(*given):
        found = query(*given)
        store.database._file += len(asked) == 0
        asked.append(given)
        return found

    asked: list[object] = []
    monkeypatch.setattr(store.database, "query", late)
    assert certain(news, "ann", 3) == [False, True, True]


def test_an_erasure_of_the_last_row_costs_a_question_and_no_more(open_store):
    store = open_store()
    news = News(store.database, NEW)
    store.append_sync([view(1, "bob"), view(2, "ann")])
    assert news.none_of("cleo", NEW)
    with store.database.transaction() as connection:
        connection.execute("DELETE FROM events WHERE customer_id = 'ann'")
    assert certain(news, "cleo", 3) == [False, True, True] and not news.none_of("bob", NEW)


# --- visitors with many links -----------------------------------------------------------------------------------------


def link(store: Store, visitor: str, customers: list[str], at: Iterator[int] | None = None) -> None:
    """Each signs in at the same device and signs out again."""
    told = []
    for number, customer in enumerate(customers):
        when = number if at is None else next(at)
        for kind, owner in (("sign_in", customer), ("sign_out", None)):
            told.append(StoredEvent(event_id=f"{kind}{visitor}{number}", occurred_at=when, recorded_at=number,
                                    type=kind, customer_id=owner, visitor_id=visitor))  # fmt: skip
    store.append_sync(told)


@pytest.mark.parametrize("instants", ["one", "each its own"])
def test_no_request_reads_all_links_of_a_visitor(open_store, monkeypatch, instants):
    """A till where thousands signed in: their links are read once, in pieces, and not for each event."""
    store = open_store()
    customers = [f"c{n}" for n in range(700)]
    link(store, "till", customers, itertools.repeat(1) if instants == "one" else None)
    behind = Reach(store.last_seq(), 0, 0)
    news, query, sizes = News(store.database, behind), store.database.query, []

    def sized(*given):
        found = query(*given)
        sizes.append(len(found))
        return found

    monkeypatch.setattr(store.database, "query", sized)
    store.append_sync([view(n, None, "till") for n in range(199)])
    answers, read = [], []
    while len(answers) < 12:
        sizes.clear()
        answers.append(news.none_of("nobody", behind))
        read.append(sum(sizes))
    assert max(read) <= 2 * AT_ONCE and answers == [False] * 7 + [True] * 5 and sum(read) < 2 * len(customers) + 2000
    assert not any(news.none_of(each, behind) for each in customers)
    sizes.clear()
    store.append_sync([view(n, None, "till") for n in range(200, 300)])
    assert news.none_of("nobody", behind) and len(sizes) == 1, "nobody is asked about twice"


def test_a_visitor_who_was_half_read_is_no_other_one(open_store):
    """His events may be erased before his links are read to the end."""
    store = open_store()
    link(store, "till", [f"c{n}" for n in range(AT_ONCE)])
    link(store, "phone", ["ann", "bob"])
    behind = Reach(store.last_seq(), 0, 0)
    news = News(store.database, behind)
    store.append_sync([view(1, None, "till"), view(2, None, "phone")])
    assert not news.none_of("cleo", behind)
    with store.database.transaction() as connection:
        connection.execute("DELETE FROM events WHERE visitor_id = 'till' AND customer_id IS NULL")
    assert [news.none_of(each, behind) for each in PEOPLE] == [False, False, True, True]


def test_of_many_visitors_not_all_are_remembered(open_store):
    """The memory of a worker is bounded; who is forgotten is asked about again."""
    store = open_store()
    link(store, "laptop", ["ann"])
    behind = Reach(store.last_seq(), 0, 0)
    news = News(store.database, behind, most=3)
    store.append_sync([view(n, None, f"v{n}") for n in range(10)])
    assert news.none_of("ann", behind) and len(news._asked) <= 3
    store.append_sync([view(20, None, "laptop")])
    assert not news.none_of("ann", behind)


# --- the mark ---------------------------------------------------------------------------------------------------------


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


TROUBLES = {
    "removed": lambda mark, before: mark.unlink(),
    "emptied": lambda mark, before: os.truncate(mark, 0),
    "put back": lambda mark, before: mark.write_bytes(before),
    "another": lambda mark, before: (mark.unlink(), mark.write_bytes(before)),
    "a folder": lambda mark, before: (mark.unlink(), mark.mkdir()),
}


@pytest.mark.parametrize("when", ["before the commit", "after it"])
@pytest.mark.parametrize("trouble", TROUBLES)
def test_what_this_process_has_acknowledged_is_known_at_once_whatever_happens_to_the_mark(
    open_store, tmp_path, trouble, when
):
    store, path = open_store(), tmp_path / "store.db-mark"
    news = News(store.database, NEW)
    assert news.none_of("ann", NEW)
    before = path.read_bytes()
    if when == "before the commit":
        TROUBLES[trouble](path, before)
    store.append_sync([view(1, "ann")])
    if when == "after it":
        TROUBLES[trouble](path, before)
    assert not news.none_of("ann", NEW)


def test_threads_that_write_find_what_they_wrote(open_store, tmp_path):
    """Beside others that do, and beside one that spoils the mark all the time."""
    store, path, stop = open_store(), tmp_path / "store.db-mark", threading.Event()
    news = News(store.database, NEW)

    def spoil() -> None:
        while not stop.wait(0.002):
            with suppress(FileNotFoundError):
                os.truncate(path, 0)
            with suppress(FileNotFoundError):
                path.unlink()

    def work(thread: int) -> list[str]:
        missed = []
        for number in range(30):
            name = f"t{thread}n{number}"
            news.none_of(name, NEW)
            store.append_sync([view(thread * 1000 + number, name)])
            if news.none_of(name, NEW):
                missed.append(name)
        return missed

    with ThreadPoolExecutor(5) as threads:
        spoiling = threads.submit(spoil)
        assert [missed for found in [threads.submit(work, n) for n in range(4)] for missed in found.result()] == []
        stop.set()
        spoiling.result()


SHORTENER = """
import os, sys
from pathlib import Path
from serving.commit_mark import CommitMark

database = Path(sys.argv[1])
mark = CommitMark(database)
os.truncate(f"{database}-mark", 0)
assert mark.read() is None
os.truncate(f"{database}-mark", 5)
assert mark.read() is None
mark.look_again()
assert len(mark.read()) == 8
print("lives")
"""


def test_a_mark_that_is_copied_over_kills_nobody(tmp_path):
    """To copy over a file makes it empty first; in a process of its own, which could die of it."""
    command = [sys.executable, "-c", SHORTENER, str(tmp_path / "store.db")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, "lives\n"), done.stderr


def test_a_mark_that_is_owed_is_paid(tmp_path, monkeypatch):
    """Also where the commit whose mark failed came while another thread wrote one."""
    mark, path, write = CommitMark(tmp_path / "store.db"), tmp_path / "store.db-mark", os.pwrite
    path.unlink()
    committing = threading.Thread(target=mark.change)

    def interrupted(*given) -> int:
        if threading.current_thread() is committing:
            raise OSError(28, "no space")
        written = write(*given)
        committing.start()
        committing.join(0.3)
        return written

    with monkeypatch.context() as patched:
        patched.setattr("serving.commit_mark.os.pwrite", interrupted)
        mark.look_again()
        committing.join()
    before = path.read_bytes()
    mark.look_again()
    assert path.read_bytes() != before and mark.read() == path.read_bytes()


def test_a_mark_takes_no_descriptor_to_write(tmp_path, monkeypatch):
    """Where none is left others hear of a commit all the same."""
    mark, other = CommitMark(tmp_path / "store.db"), CommitMark(tmp_path / "store.db")

    def none_left(*_: object, **__: object) -> int:
        raise OSError(24, "too many open files")

    before = other.read()
    monkeypatch.setattr("serving.commit_mark.os.open", none_left)
    mark.change()
    assert mark.read() == other.read() != before


def test_a_store_with_two_names_has_one_mark(open_store, tmp_path):
    """Who opens it by a link to it commits for all."""
    store = open_store()
    (tmp_path / "named").mkdir()
    (tmp_path / "named" / "link.db").symlink_to(tmp_path / "store.db")
    news = News(store.database, NEW)
    assert news.none_of("ann", NEW)
    linked = Store.open(tmp_path / "named" / "link.db", SECRET)
    linked.append_sync([view(1, "ann")])
    linked.close()
    assert not news.none_of("ann", NEW) and [each.name for each in (tmp_path / "named").iterdir()] == ["link.db"]


def test_nothing_in_it_has_a_name(open_store):
    """Who was erased since may stand in it as a number of this process, which leads back to nobody."""
    store = open_store()
    news = News(store.database, NEW)
    store.append_sync([view(1, "ann")])
    assert not news.none_of("ann", NEW)
    assert news._known and all(type(each) is int for each in news._known)


def test_who_is_asked_about_in_one_moment_shares_one_look_and_the_next_sees_what_came(open_store, monkeypatch):
    """Of a thread that works on several requests: another thread looks for itself, and so does who comes alone."""
    one, other = open_store(), open_store()
    one.append_sync([view(1, "ann")])
    news, looks, mark = News(one.database, NEW), [], one.database.mark
    assert news.none_of("bob", NEW)
    monkeypatch.setattr(one.database, "mark", lambda: looks.append(1) or mark())
    with one_moment():
        assert [news.none_of(name, NEW) for name in ("bob", "cleo", "ann")] == [True, True, False]
        assert len(looks) == 1
        other.append_sync([view(2, "cleo")])  # after all who share this moment had come
        assert news.none_of("bob", NEW)
        assert len(looks) == 1
        with ThreadPoolExecutor(1) as pool:
            assert not pool.submit(news.none_of, "cleo", NEW).result()
    with one_moment():
        assert [news.none_of(name, NEW) for name in ("cleo", "dan")] == [False, True]
    other.append_sync([view(3, "dan")])
    assert not news.none_of("dan", NEW)
    looks.clear()
    with one_moment():
        assert [news.none_of(name, NEW) for name in ("bob", "bob", "bob")] == [True] * 3
    assert len(looks) == 1
