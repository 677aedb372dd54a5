"""The store when things go wrong: killed processes, full disks, files that vanish, two openers at once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from features.errors import DataError, Unavailable
from serving.events import StoredEvent
from serving.group_commit import WAITING_ROWS, GroupCommit
from serving.store import Store

SECRET = b"s" * 32
REPOSITORY = Path(__file__).parents[2]

WRITER = """
import asyncio, sys
from pathlib import Path
from serving.events import StoredEvent
from serving.store import Store

store = Store.open(Path(sys.argv[1]), b"s" * 32)

async def caller(name):
    for n in range(100_000):
        batch = [StoredEvent(event_id=f"{name}-{n}-{k}", occurred_at=n, recorded_at=n, type="view",
                             customer_id="ann", item_id="tea") for k in range(3)]
        outcomes = await store.append(batch)
        assert outcomes == ["accepted"] * 3, outcomes
        sys.stdout.write("".join(f"{event.event_id}\\n" for event in batch))
        sys.stdout.flush()

async def main():
    await asyncio.gather(*(caller(name) for name in "abcdefgh"))

asyncio.run(main())
"""


def start(script, *arguments):
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def event(event_id):
    return StoredEvent(event_id=event_id, occurred_at=1, recorded_at=1, type="view", customer_id="ann", item_id="tea")


@pytest.fixture
def store(tmp_path):
    opened = Store.open(tmp_path / "store.db", SECRET)
    yield opened
    opened.close()


@pytest.mark.parametrize("seed", range(5))
def test_every_acknowledged_event_survives_kill_9_and_none_is_doubled(tmp_path, seed):
    """A process is killed at a random moment of writing; what it said it had stored is there, once."""
    path = tmp_path / "store.db"
    process = start(WRITER, path)
    acknowledged = [process.stdout.readline() for _ in range(random.Random(seed).randrange(1, 400))]
    os.kill(process.pid, signal.SIGKILL)
    rest, errors = process.communicate()
    acknowledged += rest.splitlines(keepends=True)
    told = {line.decode().strip() for line in acknowledged if line.endswith(b"\n")}
    assert told, errors.decode()
    reopened = Store.open(path, SECRET)
    stored = [each.event_id for each in reopened.events_of("ann", None)]
    assert told <= set(stored)
    assert len(stored) == len(set(stored))
    assert reopened.append_sync([event("after the crash")]) == ["accepted"]
    reopened.close()


def test_two_processes_may_open_and_write_a_new_store_at_once(tmp_path):
    """Both find the same tables, and each other's events are duplicates for them."""
    script = """
import sys
from pathlib import Path
from serving.events import StoredEvent
from serving.store import Store
store = Store.open(Path(sys.argv[1]), b"s" * 32)
for n in range(50):
    made = StoredEvent(event_id=f"e{n}", occurred_at=n, recorded_at=n, type="view", customer_id="ann", item_id="tea")
    print(store.append_sync([made])[0])
"""
    both = [start(script, tmp_path / "store.db") for _ in range(2)]
    outputs = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    outcomes = [line for out, _ in outputs for line in out.decode().split()]
    assert sorted(outcomes) == ["accepted"] * 50 + ["duplicate"] * 50


def test_a_full_disk_refuses_all_or_nothing_and_recovers_by_itself(store):
    """Nothing of the refused call is stored; when there is space again the same call goes through."""
    store.append_sync([event("e0")])
    connection = store.database._writing()
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    many = [event(f"e{n}") for n in range(1, 200)]
    with pytest.raises(Unavailable, match="full") as refused:
        asyncio.run(store.append(many))
    assert refused.value.status == 503
    assert [each.event_id for each in store.events_of("ann", None)] == ["e0"]
    assert asyncio.run(store.append(many)) == ["accepted"] * 199  # the next call opened a new connection


def test_a_store_that_vanishes_and_comes_back_is_used_again(tmp_path, store):
    """SQLite would go on writing into the deleted file; here writes are refused until the file is back."""
    store.append_sync([event("e1")])
    store.database.checkpoint()
    path, aside = tmp_path / "store.db", tmp_path / "aside.db"
    path.rename(aside)
    with pytest.raises(Unavailable, match="gone"):
        asyncio.run(store.append([event("e2")]))
    assert not path.exists()
    aside.rename(path)
    assert asyncio.run(store.append([event("e2")])) == ["accepted"]
    assert [each.event_id for each in store.events_of("ann", None)] == ["e1", "e2"]


def test_a_locked_store_says_unavailable_after_a_while_and_then_works(tmp_path, monkeypatch):
    """Another program holds the write lock for longer than we wait."""
    monkeypatch.setattr("serving.database.BUSY_SECONDS", 0.05)
    store = Store.open(tmp_path / "store.db", SECRET)
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked"):
        store.append_sync([event("e1")])
    assert store.events_of("ann", None) == []  # reading goes on
    other.execute("COMMIT")
    other.close()
    assert store.append_sync([event("e1")]) == ["accepted"]
    store.close()


def test_a_file_that_is_no_store_is_refused_and_left_alone(tmp_path):
    """A clear error instead of a repair that destroys somebody's file."""
    path = tmp_path / "store.db"
    path.write_bytes(b"these are my holiday notes " * 100)
    with pytest.raises(DataError, match="not a Kokyaku store"):
        Store.open(path, SECRET)
    assert path.read_bytes().startswith(b"these are my holiday notes")


def test_a_store_of_a_newer_program_is_refused(tmp_path):
    """An old program never writes into tables that it does not know."""
    Store.open(tmp_path / "store.db", SECRET).close()
    with sqlite3.connect(tmp_path / "store.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(DataError, match="newer"):
        Store.open(tmp_path / "store.db", SECRET)


def test_only_its_owner_can_read_the_store(store, tmp_path):
    """Events are personal data: the file, its log and its index are closed to others."""
    store.append_sync([event("e1")])
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("store.db*")}
    assert set(modes) == {"store.db", "store.db-wal", "store.db-shm", "store.db-mark"}
    assert all(mode & 0o077 == 0 for mode in modes.values()), modes


def test_each_flush_is_durable_and_deletes_are_overwritten(store):
    """The settings that durability and erasure rest on are those of the writing connection."""
    connection = store.database._writing()
    settings = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")}
    assert settings == {"journal_mode": "wal", "synchronous": 2}
    assert connection.execute("PRAGMA secure_delete").fetchone()[0] == 1


def test_callers_share_flushes():
    """Forty callers at once cost far fewer commits than forty."""
    groups = []

    def commit(rows):
        groups.append(list(rows))
        return [row * 2 for row in rows]

    async def main(queue):
        return await asyncio.gather(*(queue.submit([n, n]) for n in range(40)))

    queue = GroupCommit(commit)
    assert asyncio.run(main(queue)) == [[2 * n, 2 * n] for n in range(40)]
    assert len(groups) < 20
    queue.close()


def test_a_failing_group_tells_every_caller_and_the_next_one_goes_on():
    """An error belongs to all who waited for that flush, and to nobody after it."""
    broken = threading.Event()
    broken.set()

    def commit(rows):
        if broken.is_set():
            raise Unavailable("no disk")
        return list(rows)

    async def main(queue):
        refused = await asyncio.gather(queue.submit([1]), queue.submit([2]), return_exceptions=True)
        broken.clear()
        return refused, await queue.submit([3])

    queue = GroupCommit(commit)
    refused, accepted = asyncio.run(main(queue))
    assert [type(each) for each in refused] == [Unavailable, Unavailable]
    assert accepted == [3]
    queue.close()


def test_more_than_the_disk_can_take_is_refused_at_once():
    """A disk that hangs does not fill the memory with waiting events."""
    release = threading.Event()

    def commit(rows):
        release.wait(10)
        return list(rows)

    async def main(queue):
        first = asyncio.ensure_future(queue.submit([0] * WAITING_ROWS))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="wait"):
            await queue.submit([1])
        release.set()
        return len(await first)

    queue = GroupCommit(commit)
    assert asyncio.run(main(queue)) == WAITING_ROWS
    queue.close()


def test_who_waits_too_long_is_told_and_what_still_waits_is_not_written():
    """A disk that hangs for a while: callers are answered in time, and may send the same again afterwards."""
    release, written = threading.Event(), []

    def commit(rows):
        release.wait(10)
        written.extend(rows)
        return list(rows)

    async def main(queue):
        first = asyncio.ensure_future(queue.submit([1], 0.1))
        await asyncio.sleep(0.05)  # it is being written
        with pytest.raises(Unavailable, match="does not answer"):
            await queue.submit([2], 0.01)
        with pytest.raises(Unavailable, match="does not answer"):
            await first
        release.set()
        assert await queue.submit([3]) == [3]

    queue = GroupCommit(commit)
    asyncio.run(main(queue))
    assert written == [1, 3]  # what was being written is; who sends it again hears of a duplicate
    queue.close()
    assert queue._waiting == 0


def test_closing_waits_for_a_disk_that_never_answers_as_long_as_a_caller_would(caplog):
    """What is left behind was acknowledged to nobody, and the log says so."""
    never, written = threading.Event(), []

    def commit(rows):
        never.wait()
        written.extend(rows)
        return list(rows)

    async def main(queue):
        asked = [asyncio.ensure_future(queue.submit([n], 0.2)) for n in range(2)]
        await asyncio.sleep(0.05)  # both are being written, or wait
        await asyncio.to_thread(queue.close, 0.01)
        with pytest.raises(Unavailable, match="closed"):
            await queue.submit([2])
        return await asyncio.gather(*asked, return_exceptions=True)

    queue = GroupCommit(commit)
    assert [type(each) for each in asyncio.run(main(queue))] == [Unavailable, Unavailable]
    assert "2 rows that wait for it are left behind, none of which was acknowledged" in caplog.text
    assert not written
    never.set()


def test_a_store_is_closed_also_while_the_disk_keeps_a_writer_busy(tmp_path, monkeypatch):
    monkeypatch.setattr("serving.database.BUSY_SECONDS", 0.05)
    store = Store.open(tmp_path / "store.db", SECRET)
    busy, never = threading.Event(), threading.Event()

    def write():
        with store.database.transaction():
            busy.set()
            never.wait()

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    assert busy.wait(30)
    closing = threading.Thread(target=store.close, daemon=True)
    closing.start()
    closing.join(30)
    assert not closing.is_alive()
    with pytest.raises(Unavailable):
        store.last_seq()
    never.set()
    writer.join(30)
