"""The decision log: what `append` said it wrote is found again, whatever happens to the rest of the file."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import Unavailable
from serving import store_erasure as erasure
from serving.decision_drain import blank_erased
from serving.decision_log import DecisionLog, drain
from serving.frames import HEADER, MAX_PAYLOAD, frame, frames
from serving.store import Store
from serving.tombstones import token_of

SECRET = b"s" * 32
REPOSITORY = Path(__file__).parents[2]


def decision(number, customer_id="ann", **fields):
    return {"decision_id": f"d{number}", "request_id": f"r{number}", "decided_at": number, "customer_id": customer_id,
            "slot": "list", "items": ["tea"], **fields}  # fmt: skip


def stored(store):
    rows = store.database.query("SELECT payload FROM decisions ORDER BY seq")
    return [orjson.loads(payload) for (payload,) in rows]


def stored_ids(store):
    return [each["decision_id"] for each in stored(store)]


@pytest.fixture
def store(tmp_path):
    opened = Store.open(tmp_path / "store.db", SECRET)
    yield opened
    opened.close()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "decisions"


@pytest.fixture
def log(folder):
    opened = DecisionLog(folder, "worker 1/ü")
    yield opened
    opened.close()


def test_decisions_arrive_once_and_as_they_were(log, folder, store):
    """A drain brings each decision into the store; draining again brings nothing."""
    first, second = decision(1, features={"rows": [[0.5, 1.0]]}), decision(2, "名前")
    assert log.append([first, orjson.dumps(second)])
    assert log.append([])
    assert drain(folder, store).added == 2
    assert stored(store) == [first, second]
    assert drain(folder, store).read == 0
    assert log.append([decision(3)])
    assert drain(folder, store).added == 1
    assert stored_ids(store) == ["d1", "d2", "d3"]


def test_arrays_are_written_as_lists(log, folder, store):
    """Feature rows come as numpy arrays."""
    assert log.append([decision(1, features=np.array([[0.5, 2.0]]))])
    drain(folder, store)
    assert stored(store)[0]["features"] == [[0.5, 2.0]]


def test_a_decision_logged_twice_is_stored_once(log, folder, store):
    """decision_id is unique, across files too."""
    assert log.append([decision(1), decision(1)])
    other = DecisionLog(folder, "other")
    assert other.append([decision(1)])
    found = drain(folder, store)
    assert (found.read, found.added) == (3, 1)
    other.close()


def test_workers_write_files_of_their_own(folder, store):
    """Two workers of one name do not meet in one file, and none is lost."""
    workers = [DecisionLog(folder, "same") for _ in range(2)]
    for n in range(10):
        assert workers[n % 2].append([decision(n)])
    assert len(list(folder.iterdir())) == 2
    assert drain(folder, store).added == 10
    for worker in workers:
        worker.close()


def test_full_files_are_followed_by_new_ones_and_removed_once_read(folder, store):
    """Rotation by size: read files go, the one being written stays, and their positions are forgotten."""
    log = DecisionLog(folder, "w", rotate_bytes=1_000)
    for n in range(40):
        assert log.append([decision(n)])
    before = len(list(folder.iterdir()))
    assert before > 2
    found = drain(folder, store)
    assert (found.added, found.files_removed, found.damaged_bytes) == (40, before - 1, 0)
    (active,) = folder.iterdir()
    assert [name for (name,) in store.database.query("SELECT name FROM meta WHERE name LIKE 'log %'")] == [
        f"log {active.name}"
    ]
    log.close()
    assert drain(folder, store).files_removed == 1
    assert list(folder.iterdir()) == []
    assert len(stored_ids(store)) == 40


def test_a_torn_tail_of_any_length_loses_only_the_torn_record(store, tmp_path):
    """A crash may leave any number of bytes of the last record: those before it are read, and it is not."""
    whole = frame(decision(1)) + frame(decision(2))
    last = frame(decision(3))
    for length in range(len(last)):
        found = list(frames(whole + last[:length]))
        assert [orjson.loads(payload)["decision_id"] for _, _, payload in found] == ["d1", "d2"]
        assert found[-1][1] == len(whole)
    assert len(list(frames(whole + last))) == 3


def test_a_torn_record_that_becomes_whole_is_read_then(folder, store):
    """A drain in the middle of a write takes what is complete and comes back for the rest."""
    log = DecisionLog(folder, "w")
    assert log.append([decision(1)])
    (path,) = folder.iterdir()
    last = frame(decision(2))
    with path.open("ab") as file:
        file.write(last[:20])
        file.flush()
        assert drain(folder, store).added == 1
        file.write(last[20:])
    assert drain(folder, store).added == 1
    assert stored_ids(store) == ["d1", "d2"]
    log.close()


def test_a_torn_record_of_a_dead_worker_is_counted_and_skipped(folder, store):
    """The writer is gone: nothing will complete the record, so the file is removed and the damage reported."""
    log = DecisionLog(folder, "w")
    assert log.append([decision(1)])
    log.close()
    (path,) = folder.iterdir()
    with path.open("ab") as file:
        file.write(frame(decision(2))[:30])
    found = drain(folder, store)
    assert (found.added, found.damaged_bytes, found.files_removed) == (1, 30, 1)


@given(st.data())
@settings(max_examples=60)
def test_a_flipped_bit_is_detected_and_costs_one_record(data):
    """One bit of one record is wrong: that record is not believed, all others are read."""
    records = [frame(decision(n)) for n in range(4)]
    broken = data.draw(st.integers(0, 3))
    bit = data.draw(st.integers(0, len(records[broken]) * 8 - 1))
    flipped = bytearray(records[broken])
    flipped[bit // 8] ^= 1 << (bit % 8)
    found = [
        orjson.loads(p)["decision_id"]
        for _, _, p in frames(b"".join([*records[:broken], flipped, *records[broken + 1 :]]))
    ]
    assert found == [f"d{n}" for n in range(4) if n != broken]


def test_a_record_that_is_no_decision_is_counted_as_damage(log, folder, store):
    """Framed correctly but without a decision id: skipped, never a crash."""
    assert log.append([b"[1, 2]", b"not json", b'{"decision_id": 7}', decision(1)])
    found = drain(folder, store)
    assert found.added == 1
    sizes = [HEADER.size + len(raw) for raw in (b"[1, 2]", b"not json", b'{"decision_id": 7}')]
    assert found.damaged_bytes == sum(sizes)


def test_a_write_that_fails_says_so_leaves_no_trace_and_the_next_one_works(log, folder, store, monkeypatch):
    """Disk full: False, and the log goes on as if it had not happened."""
    assert log.append([decision(1)])
    write = os.write

    def full(fd, data):
        write(fd, data[:25])  # a part of the block fitted
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    assert not log.append([decision(2)])
    assert log.failures == 1
    monkeypatch.setattr(os, "write", write)
    assert log.append([decision(3)])
    found = drain(folder, store)
    assert (found.added, found.damaged_bytes) == (2, 0)
    assert stored_ids(store) == ["d1", "d3"]


def test_what_is_offered_side_by_side_is_written_at_once(log, folder, store, monkeypatch):
    """By the first who asks; the next who offers is no part of it."""
    writes, write = [], os.write
    monkeypatch.setattr(os, "write", lambda fd, data: writes.append(len(data)) or write(fd, data))
    first, second = log.offer([decision(1), decision(2)]), log.offer([decision(3)])
    assert not writes
    assert log.keep(second)
    third = log.offer([decision(4)])
    assert log.keep(first)
    assert len(writes) == 1
    assert log.keep(third)
    assert len(writes) == 2
    drain(folder, store)
    assert stored_ids(store) == ["d1", "d2", "d3", "d4"]


def test_one_write_that_fails_fails_for_all_who_offered(log, folder, store, monkeypatch):
    """Each of them hears so, and nothing of it is written with what comes later."""
    write = os.write
    batches = [log.offer([decision(n)]) for n in (1, 2)]
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:25]))
    assert [log.keep(batch) for batch in batches] == [False, False]
    assert log.failures == 2
    monkeypatch.setattr(os, "write", write)
    assert not log.keep(batches[0])
    assert log.append([decision(3)])
    found = drain(folder, store)
    assert (stored_ids(store), found.damaged_bytes) == (["d3"], 0)


def test_what_cannot_be_written_is_nobody_elses_trouble(log, folder, store):
    bad, good = log.offer([{"decision_id": object()}]), log.offer([decision(1)])
    assert not log.keep(bad)
    assert log.keep(good)
    drain(folder, store)
    assert stored_ids(store) == ["d1"]


def test_many_threads_offer_and_keep(log, folder, store):
    """Whoever writes: what anybody was told is kept is there, once."""

    def work(thread):
        return all(log.keep(log.offer([decision(1_000 * thread + n)])) for n in range(100))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    drain(folder, store)
    assert sorted(stored_ids(store)) == sorted(f"d{1_000 * thread + n}" for thread in range(8) for n in range(100))


def test_a_short_write_is_a_failed_one(log, folder, store, monkeypatch):
    """The system took a part only: taken back and reported."""
    assert log.append([decision(1)])
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:25]))
    assert not log.append([decision(2)])
    monkeypatch.setattr(os, "write", write)
    assert log.append([decision(3)])
    found = drain(folder, store)
    assert (stored_ids(store), found.damaged_bytes) == (["d1", "d3"], 0)


def test_a_folder_that_cannot_be_made_is_a_failed_write(tmp_path):
    """A file stands where the folder should be: no exception, only False."""
    (tmp_path / "decisions").write_text("in the way")
    log = DecisionLog(tmp_path / "decisions", "w")
    assert not log.append([decision(1)])
    (tmp_path / "decisions").unlink()
    assert log.append([decision(1)])
    log.close()


@pytest.mark.parametrize("bad", [{"decision_id": "\ud800"}, {"decision_id": object()}, b"x" * (MAX_PAYLOAD + 1)])
def test_what_cannot_be_written_is_a_failed_write(log, bad):
    """Not text, not JSON, too large to be read again."""
    assert not log.append([bad])
    assert log.failures == 1


def test_a_log_whose_file_was_deleted_begins_a_new_one(log, folder, store):
    """Within a second a worker notices that it writes into a deleted file."""
    assert log.append([decision(1)])
    (path,) = folder.iterdir()
    path.unlink()
    log._look_at = 0.0
    assert log.append([decision(2)])
    assert drain(folder, store).added == 1
    assert stored_ids(store) == ["d2"]


def test_a_refused_transaction_leaves_everything_for_the_next_drain(log, folder, store, monkeypatch):
    """The position moves only with the rows."""
    assert log.append([decision(1)])
    connection = store.database._writing()
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    assert log.append([decision(n, features="x" * 5_000) for n in range(2, 9)])
    with pytest.raises(Unavailable):
        drain(folder, store)
    assert stored_ids(store) == []
    assert drain(folder, store).added == 8


def test_decisions_of_erased_subjects_arrive_without_their_name(log, folder, store):
    """A request that raced an erasure: what was shown stays, under a random token; who it was does not."""
    erasure.bury(store, [token_of(SECRET, "c:ann"), token_of(SECRET, "v:laptop")], 1)
    private = {"features": {"rows": [[1.0]]}, "session_id": "s", "vetoed": [["a", "bought yesterday"]]}
    log.append([
        decision(1, "ann", action_propensity=0.5, action_id="offer", **private),
        decision(2, None, visitor_id="laptop", **private),
        decision(3, "bob", visitor_id="laptop", **private),
    ])  # fmt: skip
    drain(folder, store)
    first, second, third = stored(store)
    assert first["customer_id"].startswith("erased-") and second["customer_id"].startswith("erased-")
    assert first["customer_id"] != second["customer_id"]
    assert (first["action_propensity"], first["action_id"], first["items"]) == (0.5, "offer", ["tea"])
    assert not {"features", "session_id", "vetoed", "visitor_id"} & (set(first) | set(second))
    assert third == decision(3, "bob", visitor_id="laptop", **private)
    columns = store.database.query(
        "SELECT decision_id, customer_id, visitor_id, request_id, decided_at FROM decisions ORDER BY seq"
    )
    assert columns == [
        ("d1", first["customer_id"], None, "r1", 1), ("d2", second["customer_id"], None, "r2", 2),
        ("d3", "bob", "laptop", "r3", 3),
    ]  # fmt: skip


@pytest.mark.parametrize("gone", [False, True])
def test_a_decision_without_a_moment_is_one_all_the_same(log, folder, store, gone):
    """Programs before wrote null where they knew none; of the erased ones too."""
    if gone:
        erasure.bury(store, [token_of(SECRET, "c:ann")], 1)
    momentless = {**decision(2), "decided_at": None}
    log.append([decision(1), momentless])
    found = drain(folder, store)
    assert (found.added, found.damaged_bytes) == (2, 0)
    assert store.database.query("SELECT decision_id, decided_at FROM decisions") == [("d1", 1), ("d2", 0)]
    assert gone or stored(store)[1] == momentless


def test_drained_frames_of_erased_subjects_are_overwritten_in_place(log, folder, store):
    """The worker keeps its file open: the bytes go, the file's length and the other records stay."""
    log.append([decision(1, "ann-the-erased"), decision(2, "bob")])
    drain(folder, store)
    log.append([decision(3, "ann-the-erased")])  # not drained yet: must not get lost
    (path,) = folder.iterdir()
    size = path.stat().st_size
    erasure.bury(store, [token_of(SECRET, "c:ann-the-erased")], 1)
    assert blank_erased(folder, store, store.erased()) == 1
    assert path.stat().st_size == size
    assert path.read_bytes().count(b"ann-the-erased") == 1
    assert log.append([decision(4, "bob")])
    assert drain(folder, store).added == 2
    assert b"ann-the-erased" not in path.read_bytes()
    assert blank_erased(folder, store, store.erased()) == 0
    log.close()
    found = drain(folder, store)
    assert (found.damaged_bytes, found.files_removed) == (0, 1)
    assert stored_ids(store) == ["d1", "d2", "d3", "d4"]


WRITER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from serving.decision_log import DecisionLog
log = DecisionLog(Path(sys.argv[1]), "w", rotate_bytes=20_000)
for n in range(1_000_000):
    made = {"decision_id": f"d{n}", "request_id": "r", "decided_at": n, "customer_id": "ann", "features": "x" * 500}
    assert log.append([made])
    sys.stdout.write(f"d{n}\\n")
    sys.stdout.flush()
"""


@pytest.mark.parametrize("seed", range(5))
def test_every_decision_that_append_confirmed_survives_kill_9(tmp_path, seed):
    """A worker is killed at a random moment while another process drains; confirmed decisions are stored, once."""
    folder = tmp_path / "decisions"
    store = Store.open(tmp_path / "store.db", SECRET)
    command = [sys.executable, "-c", WRITER, str(folder)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE)
    told = []
    for _ in range(random.Random(seed).randrange(1, 600)):
        told.append(process.stdout.readline())
        if len(told) % 100 == 0:
            drain(folder, store)
    os.kill(process.pid, signal.SIGKILL)
    told += process.communicate()[0].splitlines(keepends=True)
    drain(folder, store)
    confirmed = [line.decode().strip() for line in told if line.endswith(b"\n")]
    assert confirmed
    assert set(confirmed) <= set(stored_ids(store))
    assert list(folder.iterdir()) == []
    store.close()


@given(st.lists(st.binary(max_size=200), max_size=8), st.binary(max_size=60))
@settings(max_examples=60)
def test_frames_give_back_any_payloads_also_after_rubbish(payloads, rubbish):
    """Whatever bytes stand before it, a frame is found; what is found was written (up to a CRC's odds)."""
    block = b"".join(frame(payload) for payload in payloads)
    assert [payload for _, _, payload in frames(block)] == payloads
    found = [payload for _, _, payload in frames(rubbish + block)]
    assert found[-len(payloads) :] == payloads if payloads else True


def test_drains_at_once_do_not_double_anything(folder, store, tmp_path):
    """The service and a sync drain the same files at the same time."""
    from concurrent.futures import ThreadPoolExecutor

    log = DecisionLog(folder, "w", rotate_bytes=2_000)
    other = Store.open(tmp_path / "store.db", SECRET)
    with ThreadPoolExecutor(2) as pool:
        for n in range(100):
            assert log.append([decision(n)])
            if n % 10 == 9:
                for future in [pool.submit(drain, folder, each) for each in (store, other)]:
                    future.result()
    log.close()
    drain(folder, store)
    assert stored_ids(store) == [f"d{n}" for n in range(100)]
    other.close()


def test_where_nobody_ever_logged_there_is_nothing_to_drain(folder, store):
    """No folder is no error."""
    assert drain(folder, store).read == 0
