"""What a shop's disk, files and clock do to it: reads go on and say why they know less, writes are refused for now."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import orjson
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from features.errors import BundleError, ConfigError, Unavailable
from features.history import customer_subject
from features.shop import Shop
from serving import clock as clocks
from serving import store_erasure as erasure
from serving.access import Access
from serving.artifact import LIVE, MANIFEST, live_name, publish_live
from serving.bundle import write_bundle
from serving.clock import Clock, set_clock
from serving.engine import Engine
from serving.erase import COMPLETE, ERASED, ERASING, sweep
from serving.events import StoredEvent
from serving.histories import open_history
from serving.http import routes
from serving.hydrate import OUTDATED, UNREAD
from serving.policy_files import write_policy
from serving.store import Store
from serving.sync import sync
from tests.test_serving.conftest import AS_OF, SHOP_TOML, build_history, build_toy_bundle
from tests.test_serving.grown import policy, records
from tests.test_serving.test_engine import publish_history
from tests.test_serving.test_kills import HOME

SECRET = bytes(range(32))
STOP = {"kind": "item", "name": "a1", "because": "recalled"}
WRITES = {
    "/v1/events": {"events": [{"type": "purchase", "itemId": "b3", "userId": "ann"}]},
    "/v1/items": {"items": [{"itemId": "a0", "price": 3.0}]},
    "/v1/customers/update": {"userId": "ann", "region": "north"},
    "/v1/customers/consent": {"userId": "ann", "purpose": "training", "granted": True},
    "/v1/stops": {"add": STOP},
    "/v1/customers/erase": {"userId": "zoe"},
}


def build_shop(root: Path) -> Shop:
    """A published toy shop whose home page is drawn by an exploring policy."""
    shop = Shop("toy", root)
    root.mkdir(exist_ok=True)
    key = root / "secret.key"
    key.touch(mode=0o600)
    key.write_bytes(SECRET)
    shop.config.write_text(SHOP_TOML + HOME)
    write_policy(shop.policies, policy("hero", {"for-you": 0.1, "popular": 0.2, "buy-again": 0.1}, floor=0.2))
    write_bundle(shop.bundles / "toy-1", build_toy_bundle())
    publish_live(shop.bundles, "toy-1")
    set_clock(shop, AS_OF)
    return shop


@contextlib.contextmanager
def opened(shop: Shop) -> Iterator[tuple[Engine, TestClient]]:
    """An engine over a shop and its HTTP face."""
    engine = Engine(shop, worker="test")
    app = Starlette(routes=routes(lambda: engine, Access(dev=True)))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield engine, client
    engine.close()


@pytest.fixture
def shop(tmp_path) -> Shop:
    return build_shop(tmp_path / "shop")


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of four megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system can be mounted by root only; the limit on a file's size stands for it")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def post(client, path, body):
    return client.post(path, content=orjson.dumps(body))


def bought(client, user: str) -> int:
    return post(client, "/v1/events", {"events": [{"type": "purchase", "itemId": "b3", "userId": user}]}).status_code


def page(client, user: str):
    answer = post(client, "/v1/pages", {"page": "home", "userId": user})
    assert answer.status_code == 200
    return answer.json()


def refuses_writes(client, paths=tuple(WRITES)) -> None:
    """Every write is told to come again."""
    for path in paths:
        answer = post(client, path, WRITES[path])
        assert (answer.status_code, answer.headers.get("retry-after")) == (503, "1"), path
        assert answer.json()["error"]["code"] == "unavailable"
        assert answer.json()["error"]["field"] is None and "/" not in answer.json()["error"]["message"], path


# --- the disk ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def no_file_grows() -> Iterator[None]:
    """What a full disk does, without one: no byte can be added to any file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def filled(place: Path) -> Iterator[None]:
    """A disk without a free byte."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    yield
    filler.unlink()


def survives_a_full_disk(shop: Shop, full: contextlib.AbstractContextManager[None]) -> None:
    """Answers go on without draws, nothing half-written stays, and with room again all is as before."""
    publish_history(shop, "h1", {customer_subject("zoe"): build_history(("purchase", "b2", 2.0))}, seq=0)
    with opened(shop) as (engine, client):
        assert bought(client, "ann") == 200
        drawn = page(client, "ann")
        with full:
            refuses_writes(client)
            listed = post(client, "/v1/recommendations", {"userId": "ann", "numResults": 3}).json()
            assert listed["itemList"][0]["itemId"] == "b3"  # what was stored is read
            met = [page(client, f"user-{n}") for n in range(20)]
            assert met[-1]["logged"] is False  # the first ones may still fit into what the file had of the disk
            assert len({answer["slots"][0]["actionId"] for answer in met}) == 1  # the same for all: nothing was drawn
        assert bought(client, "ann") == 200
        assert [slot["actionId"] for slot in page(client, "ann")["slots"]] == [
            slot["actionId"] for slot in drawn["slots"]
        ]
        assert len({page(client, f"user-{n}")["slots"][0]["actionId"] for n in range(30)}) > 1
        kept = {row["decision_id"] for row in records(engine)}
        for answer in met:
            assert {slot["decisionId"] in kept for slot in answer["slots"]} == {answer.get("logged", True)}
        assert len(engine.store.events_of("ann", None)) == 2
        assert len(engine.history_of(engine.live, "zoe", None)) == 1
        assert post(client, "/v1/customers/erase", {"userId": "zoe"}).json()["state"] == ERASED
        assert len(engine.history_of(engine.live, "zoe", None)) == 0


def test_a_disk_on_which_no_file_grows(shop):
    survives_a_full_disk(shop, no_file_grows())


def test_a_disk_that_is_full(small_disk):
    survives_a_full_disk(build_shop(small_disk / "shop"), filled(small_disk))


def test_a_file_system_that_turned_read_only(shop, monkeypatch):
    """As after an error of the disk: what is open can be read, and nothing can be written."""
    with opened(shop) as (engine, client):
        assert bought(client, "ann") == 200
        with monkeypatch.context() as broken:
            connect = engine.store.database._connect

            def reader():
                connection = connect()
                connection.execute("PRAGMA query_only = ON")
                return connection

            def no_write(*_):
                raise OSError(30, "Read-only file system")

            broken.setattr(engine.store.database, "_connect", reader)
            broken.setattr("serving.decision_log.os.write", no_write)
            engine.store.database._drop_writer()
            refuses_writes(client)
            assert page(client, "ann")["logged"] is False
        engine.store.database._drop_writer()
        assert bought(client, "ann") == 200
        assert page(client, "ann").get("logged", True)


def full(*_, **__) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", "/somewhere")


def no_write_mapped(path, mmap_mode=None, **how):
    if mmap_mode == "r+":
        raise OSError(errno.EROFS, "Read-only file system", str(path))
    return LOAD(path, mmap_mode=mmap_mode, **how)


REFUSED = {
    "the note on what is changed": ("serving.histories.write_atomically", full),
    "the history's arrays": ("serving.histories.np.load", no_write_mapped),
    "the flush": ("serving.histories.os.fsync", full),
    "the decision logs": ("serving.erase.blank_erased", full),
    "the drain": ("serving.erase.drain", full),
}
LOAD = np.load


@pytest.mark.parametrize("finished_by", ["asking again", "sync"])
@pytest.mark.parametrize("what", REFUSED)
def test_an_erasure_that_the_disk_refuses_by_half_is_asked_for_again(shop, monkeypatch, what, finished_by):
    """The store takes its part and the shop's folder refuses its own: 503, and either way ends with nothing left."""
    publish_history(shop, "h1", {customer_subject("zoe"): build_history(("purchase", "b2", 2.0))}, seq=0)
    with opened(shop) as (engine, client):
        assert bought(client, "zoe") == 200
        page(client, "zoe")
        with monkeypatch.context() as broken:
            broken.setattr(*REFUSED[what])
            refuses_writes(client, ["/v1/customers/erase"])
            assert engine.store.erased().row("zoe", None)
        if finished_by == "sync":
            sync(shop, now=engine.clock.now())
            assert [len(erasure.receipts_in(engine.store, state)) for state in (ERASING, ERASED, COMPLETE)] == [0, 0, 1]
        else:
            answer = post(client, "/v1/customers/erase", {"userId": "zoe"})
            assert (answer.status_code, answer.json()["state"]) == (202, ERASED)
        live = shop.histories / str(live_name(shop.histories))
        assert len(open_history(live)[0].of(customer_subject("zoe"))) == 0
        assert engine.store.events_of("zoe", None) == []
        engine.decisions.close()
        assert not [path for path in shop.root.rglob("*") if path.is_file() and path.parent != shop.dataset
                    and b"zoe" in path.read_bytes()]  # fmt: skip


@pytest.mark.parametrize("call", ["export", "sweep"])
def test_whoever_copies_or_sweeps_on_a_disk_that_refuses_is_told_to_come_again(shop, monkeypatch, call):
    with opened(shop) as (engine, client):
        assert bought(client, "ann") == 200
        monkeypatch.setattr("serving.export.drain", full)
        monkeypatch.setattr("serving.erase.blank_erased", full)
        if call == "export":
            answer = post(client, "/v1/customers/export", {"userId": "ann"})
            assert (answer.status_code, answer.headers["retry-after"], answer.json()["error"]["field"]) == (
                503, "1", None,
            )  # fmt: skip
        else:
            erasure.bury(engine.store, [b"token"], AS_OF)
            with pytest.raises(Unavailable, match="disk refuses"):
                sweep(shop, engine.store, now=AS_OF)


def test_a_shop_on_a_read_only_disk_says_so_at_the_start_and_starts_when_it_is_not(small_disk):
    """Without its store a worker does not begin: it could not know who was forgotten and what was stopped."""
    shop = build_shop(small_disk / "shop")
    Store.open(shop.store, shop.secret).close()
    mount = ["mount", "-o", "remount,ro", str(small_disk)]
    subprocess.run(mount, check=True)
    with pytest.raises(Unavailable, match="store") as refused:
        Engine(shop, worker="test")
    assert str(shop.store) in refused.value.line()
    subprocess.run([*mount[:2], "remount,rw", mount[-1]], check=True)
    with opened(shop) as (_, client):
        assert bought(client, "ann") == 200


# --- the store --------------------------------------------------------------------------------------------------------


@pytest.fixture
def seen_at_once(monkeypatch) -> None:
    """What a reader notices within a second he notices now."""
    monkeypatch.setattr("serving.database._LOOK_SECONDS", 0.0)
    monkeypatch.setattr("serving.store.TRUST_SECONDS", 0.0)


def test_a_store_that_is_gone_and_comes_back(shop, tmp_path, seen_at_once):
    """Answers say that they know nothing personal; when it is back the next ones do, and nothing was lost."""
    with opened(shop) as (engine, client):
        assert bought(client, "ann") == 200
        assert page(client, "ann")["basis"]["kind"] == "little"
        engine.store.database.checkpoint()
        shop.store.rename(tmp_path / "aside")
        refuses_writes(client)
        for path, asked in (
            ("/v1/recommendations", {"userId": "ann"}),
            ("/v1/rankings", {"userId": "ann", "inputList": ["a1", "b1"]}),
            ("/v1/related-items", {"itemIds": ["a0"], "userId": "ann"}),
            ("/v1/pages", {"page": "home", "userId": "ann"}),
        ):
            answer = post(client, path, asked)
            assert (answer.status_code, answer.json()["degraded"]) == (200, True), path
            assert answer.json()["reason"] == UNREAD
        with pytest.raises(Unavailable):
            engine.refresh()
        (tmp_path / "aside").rename(shop.store)
        assert bought(client, "ann") == 200
        answer = post(client, "/v1/recommendations", {"userId": "ann"}).json()
        assert answer["itemList"][0]["itemId"] == "b3"
        assert "degraded" not in answer
        assert not engine.refresh()
        assert {row["customer_id"] for row in records(engine) if row["fallback"] == UNREAD} == {None}


def test_what_the_last_sync_mapped_is_used_while_events_cannot_be_read(
    toy_shop, toy_engine, client, history_of, monkeypatch
):
    """A customer's consents are known, so his mapped past serves, and the answer says that it ends there."""
    past = history_of(("purchase", "b2", 2.0)).with_items(np.arange(7, -1, -1, dtype=np.int32))
    publish_history(toy_shop, "h1", {customer_subject("ann"): past}, seq=0)
    assert toy_engine.refresh()
    assert (
        post(client, "/v1/events", {"events": [{"type": "view", "itemId": "a1", "userId": "ann"}]}).status_code == 200
    )

    def away(*_):
        raise Unavailable("the store is gone")

    monkeypatch.setattr(toy_engine.store, "events_of", away)
    answer = post(client, "/v1/recommendations", {"userId": "ann"}).json()
    assert (answer["degraded"], answer["reason"]) == (True, OUTDATED)
    assert (answer["itemList"][0]["itemId"], answer["itemList"][0]["source"]) == ("b2", "personal-frequency")


def test_a_channel_waits_while_the_store_is_away(shop, tmp_path, seen_at_once):
    """Nobody gets a letter whose limits cannot be counted: wait, and ask again in a minute."""
    shop.config.write_text(
        SHOP_TOML + HOME + '[channels.letters]\nmedium = "email"\nactions = ["news"]\n'
        '[actions.news]\nkind = "content"\ntexts = [{title = "News"}]\n'
    )
    with opened(shop) as (_, client):
        shop.store.rename(tmp_path / "aside")
        answer = post(client, "/v1/actions", {"channel": "letters", "userId": "ann"})
        assert answer.status_code == 200
        assert (answer.json()["decision"], UNREAD in answer.text) == ("wait", True), answer.json()


@pytest.mark.parametrize("cut", [1, 500, 4000])
def test_a_torn_last_record_costs_what_was_never_acknowledged(tmp_path, cut):
    """Power fails while a record is written: the store opens, without repair, with all that was whole before."""
    store = Store.open(tmp_path / "store.db", SECRET)
    for number in range(20):
        made = StoredEvent(
            event_id=f"e{number}", occurred_at=1, recorded_at=1, type="view", customer_id="ann", item_id="tea"
        )
        store.append_sync([made])
    for name in ("store.db", "store.db-wal"):
        shutil.copy(tmp_path / name, tmp_path / f"torn-{name}")
    store.close()
    (tmp_path / "torn-store.db-wal").rename(tmp_path / "torn.db-wal")
    (tmp_path / "torn-store.db").rename(tmp_path / "torn.db")
    os.truncate(tmp_path / "torn.db-wal", (tmp_path / "torn.db-wal").stat().st_size - cut)
    torn = Store.open(tmp_path / "torn.db", SECRET)
    assert [event.event_id for event in torn.events_of("ann", None)] == [f"e{number}" for number in range(19)]
    assert torn.append_sync([made]) == ["accepted"]
    torn.close()


# --- the bundle -------------------------------------------------------------------------------------------------------


def spoil(folder: Path) -> None:
    """Turn one byte of an array."""
    path = folder / "source.ials.item_factors.npy"
    whole = bytearray(path.read_bytes())
    whole[-3] ^= 1
    path.write_bytes(whole)


DAMAGE = {
    "a turned byte": spoil,
    "a missing file": lambda folder: (folder / "source.ials.gram.npy").unlink(),
    "a missing folder": shutil.rmtree,
    "half a manifest": lambda folder: os.truncate(folder / MANIFEST, 100),
    "another JSON": lambda folder: (folder / MANIFEST).write_text("[1]"),
    "a manifest without files": lambda folder: (folder / MANIFEST).write_text('{"kind": "bundle", "format": 1}'),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_bundle_is_refused_and_the_old_one_serves(shop, damage, monkeypatch):
    """It is named in the refusals; when it is whole it is taken up by itself."""
    monkeypatch.setattr("serving.engine._REFUSED_SECONDS", 0.0)
    with opened(shop) as (engine, client):
        write_bundle(shop.bundles / "toy-2", build_toy_bundle("toy-2"))
        DAMAGE[damage](shop.bundles / "toy-2")
        publish_live(shop.bundles, "toy-2")
        for _ in range(2):
            assert not engine.refresh()
            assert list(engine.refusals) == ["bundle toy-2"]
            assert post(client, "/v1/recommendations", {"userId": "ann"}).json()["bundleId"] == "toy-1"
        shutil.rmtree(shop.bundles / "toy-2", ignore_errors=True)
        write_bundle(shop.bundles / "toy-2", build_toy_bundle("toy-2"))
        assert engine.refresh()
        assert not engine.refusals
        assert post(client, "/v1/recommendations", {"userId": "ann"}).json()["bundleId"] == "toy-2"


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_worker_that_starts_on_a_damaged_bundle_takes_the_one_before(shop, damage):
    """A restart after a disk error serves; what only looks at the shop is told what is wrong."""
    write_bundle(shop.bundles / "toy-2", build_toy_bundle("toy-2"))
    publish_live(shop.bundles, "toy-2")
    DAMAGE[damage](shop.bundles / "toy-2")
    with opened(shop) as (engine, client):
        assert list(engine.refusals) == ["bundle toy-2"]
        assert post(client, "/v1/recommendations", {"userId": "ann"}).json()["bundleId"] == "toy-1"
    with pytest.raises(BundleError, match="toy-2"):
        Engine(shop, worker=None)


def test_a_bundle_that_is_deleted_while_it_serves_goes_on(shop):
    """What is mapped stays; the watch goes on too, and takes up the next one."""
    with opened(shop) as (engine, client):
        before = post(client, "/v1/recommendations", {"userId": "ann"}).json()["itemList"]
        shutil.rmtree(shop.bundles / "toy-1")
        assert not engine.refresh()
        assert post(client, "/v1/recommendations", {"userId": "ann"}).json()["itemList"] == before


def test_what_is_broken_in_one_part_keeps_no_other_back(shop):
    """Nobody can read which bundle is live: a stop is in force all the same, and the trouble is told."""
    with opened(shop) as (_, client):
        other = Engine(shop, worker="other")
        (shop.bundles / LIVE).write_text("{")
        assert post(client, "/v1/stops", {"add": STOP}).status_code == 200
        assert other.refresh()
        assert other.live.stops.items
        with pytest.raises(BundleError, match="live"):
            other.refresh()
        other.close()


# --- the clock --------------------------------------------------------------------------------------------------------


class Machine:
    """A machine's clocks: the one that people set, and the steady one."""

    def __init__(self, monkeypatch) -> None:
        self.wall, self.steady = 1_000_000_000, 0
        monkeypatch.setattr(clocks.time, "time_ns", lambda: self.wall * 1_000_000_000)
        monkeypatch.setattr(clocks.time, "monotonic_ns", lambda: self.steady * 1_000_000_000)

    def passes(self, seconds: int) -> None:
        self.wall += seconds
        self.steady += seconds


def test_time_does_not_go_back_when_the_clock_is_set_back(monkeypatch):
    """It goes on at half its pace until the machine's clock is there, and from then on with it."""
    with monkeypatch.context() as patched:
        machine, clock = Machine(patched), Clock()
        told = [clock.now()]
        machine.wall -= 600
        for _ in range(30):
            machine.passes(60)
            told.append(clock.now())
        steps = [(later - earlier) // 1_000_000 for earlier, later in pairwise(told)]
        assert steps == [30] * 20 + [60] * 10
        assert told[-1] == machine.wall * 1_000_000
        machine.wall -= 30 * 86_400  # somebody wants another day
        assert clock.now() == machine.wall * 1_000_000


CLOCKS = {"empty": b"", "torn": b'{"offset_micro', "nameless": b"{}", "no number": b'{"offset_microseconds": "x"}'}


@pytest.mark.parametrize("content", CLOCKS.values(), ids=CLOCKS)
def test_a_damaged_clock_is_named_with_its_remedy(shop, content):
    """It is no bug of ours: one line, and the shop goes on once it is put right."""
    shop.clock.write_bytes(content)
    with pytest.raises(ConfigError, match="clock is damaged") as refused:
        Engine(shop, worker="test")
    assert str(shop.clock) in refused.value.line() and "delete it" in refused.value.hint
    shop.clock.unlink()
    with opened(shop) as (_, client):
        assert bought(client, "ann") == 200


def test_serve_ends_with_one_line_where_the_clock_is_damaged(shop):
    shop.clock.write_bytes(b"")
    command = [sys.executable, "-m", "training", "serve", "--dev", "--shop", "toy", "--root", str(shop.root)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, "clock is damaged" in ended.stderr, "Traceback" in ended.stderr) == (2, True, False)


@pytest.mark.parametrize(("back", "held"), [(3_599, True), (3_600, False)])
def test_a_step_of_an_hour_is_meant(monkeypatch, back, held):
    """A smaller one is bridged; who sets a clock back further wants the other time, and it is an earlier one then."""
    with monkeypatch.context() as patched:
        machine, clock = Machine(patched), Clock()
        before = clock.now()
        machine.wall -= back
        assert (clock.now() >= before) is held


def test_a_sign_out_after_a_step_back_is_after_the_sign_in(shop, monkeypatch):
    """What the next person does on the device is not the customer's, also when the service starts in between."""

    def said(client, kind: str, **who: str) -> None:
        event = {"type": kind, "visitorId": "laptop", **who}
        assert post(client, "/v1/events", {"events": [event]}).json()["accepted"] == 1

    behind = 0
    now = time.time_ns
    monkeypatch.setattr(clocks.time, "time_ns", lambda: now() - behind)
    with opened(shop) as (_, client):
        said(client, "sign_in", userId="ann")
    behind = 1_800 * 1_000_000_000
    with opened(shop) as (engine, client):
        said(client, "sign_out")
        said(client, "view", itemId="b1")
        assert [event.type for event in engine.store.events_of("ann", None)] == ["sign_in"]
        assert [event.type for event in engine.store.events_of(None, "laptop")] == ["sign_out", "view"]
        assert post(client, "/v1/recommendations", {"userId": "ann"}).status_code == 200
