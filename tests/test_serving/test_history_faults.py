"""What a damaged or missing history does: reads go on, no refusal of consent is lost, nobody erased comes back.

Ann bought b2, and Bob refused personal lists; both stand in the history alone. By its file the shop relies on another
basis than consent, so whoever forgot Bob's refusal would treat him as if he had agreed.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import orjson
import pytest

from features.dataset import Dataset, ImportRecord
from features.errors import BundleError
from features.history import Histories, customer_subject
from features.ids import Vocabulary
from features.moments import format_instant
from features.shop import Shop
from serving.artifact import LIVE, MANIFEST, live_name, read_manifest
from serving.clock import set_clock
from serving.engine import Engine
from serving.erase import erase
from serving.events import StoredEvent
from serving.gauges import gauges_of
from serving.histories import ERASED, IMPORTED, folders, imported_by, open_history, publish_history, write_history
from serving.hydrate import STORED, UNMAPPED
from serving.memory import look
from serving.profiles import Profile
from serving.store import Store
from serving.store_upkeep import store_id
from serving.sync import sync
from tests.test_serving.conftest import AS_OF, ITEMS, SHOP_TOML, build_history
from tests.test_serving.grown import records
from tests.test_serving.test_faults import HOME, build_shop, opened, post
from training.commands.serve import command

REFUSAL = {"personalization": {"granted": False, "at": "2024-01-01T00:00:00Z"}}
LISTS = {
    "/v1/recommendations": {"userId": "ann"},
    "/v1/rankings": {"userId": "ann", "inputList": ["a1", "b1"]},
    "/v1/related-items": {"itemIds": ["a0"], "userId": "ann"},
    "/v1/pages": {"page": "home", "userId": "ann"},
}


def publish(shop: Shop, seq: int, imported: str | None, *, refuses: tuple[str, ...] = ("bob",)) -> Path:
    """A history of Ann's purchase and of those who refused; it knows an import by file where one is named."""
    store = Store.of(shop)
    mine = store_id(store)
    store.close()
    past = build_history(("purchase", "b2", 2.0))
    bounds = np.array([0, len(past)], np.int64)
    histories = Histories(Vocabulary.of([customer_subject("ann")]), Vocabulary.of(ITEMS), bounds, past)
    manifest = {"store_id": mine, "store_seq": seq, "as_of": AS_OF, "dataset": "d", "customers_seq": 0, "orders_seq": 0}
    manifest |= {} if imported is None else {IMPORTED: imported}
    told = [(customer_subject(each), Profile({"consents": REFUSAL})) for each in sorted(refuses)]
    name = write_history(shop.histories, histories, [], manifest, told)
    publish_history(shop.histories, name, imported=imported)
    return shop.histories / name


@pytest.fixture
def shop(tmp_path) -> Shop:
    return build_shop(tmp_path / "shop")


@pytest.fixture(autouse=True)
def looked_at_again_at_once(monkeypatch) -> None:
    monkeypatch.setattr("serving.engine._REFUSED_SECONDS", 0.0)
    monkeypatch.setattr("serving.store.TRUST_SECONDS", 0.0)


def nonsense(name: str):
    """Another content of an array, of the same type and shape, so that only its checksum tells."""

    def damage(folder: Path) -> None:
        path = folder / f"{name}.npy"
        before = np.load(path)
        np.save(path, np.random.default_rng(1).integers(0, 100, before.shape).astype(before.dtype))

    return damage


DAMAGE = {
    "half a manifest": lambda folder: os.truncate(folder / MANIFEST, 100),
    "another JSON": lambda folder: (folder / MANIFEST).write_text("[1]"),
    "a manifest without files": lambda folder: (folder / MANIFEST).write_text('{"kind": "history", "format": 1}'),
    "a manifest without numbers": lambda folder: without(folder, "store_seq"),
    "a missing array": lambda folder: (folder / "people.offsets.npy").unlink(),
    "missing events": lambda folder: (folder / "events.npy").unlink(),
    "half of the events": lambda folder: os.truncate(folder / "events.npy", 140),
    "a missing folder": shutil.rmtree,
    "nonsense for bounds": nonsense("offsets"),
    "nonsense for hashes": nonsense("subjects.hashes"),
    "nonsense for rows": nonsense("subjects.rows"),
    "nonsense for bounds of profiles": nonsense("people.offsets"),
    "nonsense about erasures": lambda folder: (folder / ERASED).write_text("{"),
}


def without(folder: Path, name: str) -> None:
    manifest = read_manifest(folder)
    del manifest[name]
    (folder / MANIFEST).write_bytes(orjson.dumps(manifest))


@contextmanager
def copied(folder: Path):
    """What was whole is put back at the end."""
    aside = folder.with_name(f".{folder.name}")
    shutil.copytree(folder, aside)
    yield
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)


def first(client, user: str) -> str:
    return post(client, "/v1/recommendations", {"userId": user}).json()["itemList"][0]["itemId"]


def of_history(engine) -> dict[str, float]:
    told = {(each.name, each.labels.get("part")): each.value for each in gauges_of(engine, "0")}
    return {name: told[name, "history"] for name in ("degraded", "refused_swaps")}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_worker_that_starts_on_a_damaged_history_takes_the_one_before(shop, damage):
    """No import came in between, so with the store it knows all; when a whole one is there, that is taken up."""
    older = publish(shop, 1, "import-1")
    newer = publish(shop, 2, "import-1")
    DAMAGE[damage](newer)
    with opened(shop) as (engine, client):
        assert list(engine.refusals) == [f"history {newer.name}"]
        assert (engine.live.history_name, engine.live.blind) == (older.name, False)
        assert of_history(engine) == {"degraded": 1.0, "refused_swaps": 1.0}
        answer = post(client, "/v1/recommendations", {"userId": "ann"}).json()
        assert (answer["itemList"][0]["itemId"], "degraded" in answer) == ("b2", False)
        assert not engine.consents_of(engine.live, "bob", None).to("personalization")
        assert not engine.refresh()
        whole = publish(shop, 3, "import-1")
        assert engine.refresh()
        assert (engine.live.history_name, engine.refusals) == (whole.name, {})
        assert of_history(engine)["degraded"] == 0.0
    with pytest.raises(BundleError):
        DAMAGE[damage](whole)
        Engine(shop, worker=None)


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_an_import_told_between_two_histories_is_not_taken_for_a_yes(shop, damage):
    """Bob's refusal came by file and stands in the damaged one alone: nothing personal of any customer is used."""
    publish(shop, 1, "import-1", refuses=())
    newer = publish(shop, 2, "import-2")
    with copied(newer):
        DAMAGE[damage](newer)
        engine = Engine(shop, worker="test")
        assert (engine.live.history_name, engine.live.blind) == (None, True)
        assert list(engine.refusals) == [f"history {newer.name}"]
        for who in ("ann", "bob"):
            assert not engine.consents_of(engine.live, who, None).to("personalization")
    assert engine.refresh()
    assert (engine.live.history_name, engine.live.blind, engine.refusals) == (newer.name, False, {})
    assert engine.consents_of(engine.live, "ann", None).to("personalization")
    assert not engine.consents_of(engine.live, "bob", None).to("personalization")
    engine.close()


def test_without_any_history_lists_go_on_and_say_that_they_know_nothing_personal(shop):
    """Also where the request itself says yes: it cannot overrule a refusal that nobody can read now."""
    folder = publish(shop, 0, "import-1")
    shop.config.write_text(
        SHOP_TOML + HOME + '[channels.letters]\nmedium = "email"\nactions = ["news"]\n'
        '[actions.news]\nkind = "content"\ntexts = [{title = "News"}]\n'
    )
    shutil.rmtree(folder)
    with opened(shop) as (engine, client):
        assert post(client, "/v1/events", {"events": [bought("ann"), bought("bob")]}).json()["accepted"] == 2
        for path, asked in LISTS.items():
            answer = post(client, path, asked)
            assert (answer.status_code, answer.json()["degraded"], answer.json()["reason"]) == (200, True, UNMAPPED)
        insists = {"userId": "bob", "consents": {"personalization": True}}
        assert post(client, "/v1/recommendations", insists).json()["reason"] == UNMAPPED
        assert {row["customer_id"] for row in records(engine)} == {None}
        letter = post(client, "/v1/actions", {"channel": "letters", "userId": "ann"}).json()
        assert (letter["decision"], UNMAPPED in str(letter)) == ("wait", True)
        assert "degraded" not in post(client, "/v1/recommendations", {}).json()
        for path in ("/v1/customers/read", "/v1/customers/export"):  # half of it would pass for all
            answer = post(client, path, {"userId": "ann"})
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")


def bought(user: str, **who: str) -> dict[str, str]:
    return {"type": "purchase", "itemId": "b3", "userId": user, **who}


def test_without_any_history_a_visitor_has_what_the_store_knows(shop):
    """What a visitor agreed to stands in the store alone, so it is known; of what was done the older part is not."""
    shutil.rmtree(publish(shop, 0, None))
    with opened(shop) as (_, client):
        event = {"type": "purchase", "itemId": "b3", "visitorId": "laptop"}
        assert post(client, "/v1/events", {"events": [event]}).status_code == 200
        answer = post(client, "/v1/recommendations", {"visitorId": "laptop"}).json()
        assert (answer["itemList"][0]["itemId"], answer["reason"]) == ("b3", STORED)
        refused = {"visitorId": "laptop", "consents": {"personalization": False}}
        assert post(client, "/v1/recommendations", refused).json()["itemList"][0]["source"] == "popularity"


def test_nobody_can_read_which_history_is_live(shop):
    """A worker begins without one, and a sync puts it right."""
    publish(shop, 1, "import-1")
    (shop.histories / LIVE).write_text("{")
    with opened(shop) as (engine, client):
        assert (engine.live.blind, list(engine.refusals)) == (True, [f"history {LIVE}"])
        assert post(client, "/v1/recommendations", {"userId": "ann"}).json()["reason"] == UNMAPPED
        assert post(client, "/v1/events", {"events": [bought("ann")]}).status_code == 200
        report = sync(shop, now=engine.clock.now())
        assert engine.refresh()
        assert (engine.live.history_name, engine.live.blind, engine.refusals) == (report.history, False, {})


def test_a_history_of_which_nobody_noted_what_it_knows_does_not_stand_in(shop):
    """One of an earlier program, and one of another store."""
    publish(shop, 1, None)
    shutil.rmtree(publish(shop, 2, "import-1"))
    engine = Engine(shop, worker="test")
    assert engine.live.blind
    engine.close()
    older = publish(shop, 3, "import-1")
    shutil.rmtree(publish(shop, 4, "import-1"))
    manifest = read_manifest(older) | {"store_id": "another"}
    (older / MANIFEST).write_bytes(orjson.dumps(manifest))
    engine = Engine(shop, worker="test")
    assert engine.live.blind
    engine.close()


# --- while it serves --------------------------------------------------------------------------------------------------


def without_events(folder: Path, _) -> None:
    os.truncate(folder / "events.npy", 140)


def without_a_disk(_, monkeypatch) -> None:
    def fails(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("serving.slices.available", lambda: False)
    monkeypatch.setattr("serving.slices.os.pread", fails)


@pytest.mark.parametrize("breaks", [without_events, without_a_disk])
def test_events_that_cannot_be_read_any_more_cost_only_themselves(shop, breaks, monkeypatch):
    """The index and the profiles are mapped: consents are known, and what the store holds is used."""
    folder = publish(shop, 0, "import-1")
    with opened(shop) as (engine, client):
        assert first(client, "ann") == "b2"
        breaks(folder, monkeypatch)
        for path, asked in LISTS.items():
            answer = post(client, path, asked)
            assert (answer.status_code, answer.json()["degraded"], answer.json()["reason"]) == (200, True, STORED), path
        assert post(client, "/v1/events", {"events": [bought("ann")]}).status_code == 200
        assert first(client, "ann") == "b3"
        bob = post(client, "/v1/recommendations", {"userId": "bob"}).json()
        assert (bob["itemList"][0]["source"], "degraded" in bob) == ("popularity", False)
        assert {row["customer_id"] for row in records(engine) if row["fallback"] == STORED} == {"ann"}


def test_consents_that_cannot_be_read_are_no_yes(shop):
    """The shop relies on another basis where nothing was told; here something was, and nobody can read what."""
    folder = publish(shop, 0, "import-1")
    path = folder / "people.bytes.npy"
    path.write_bytes(path.read_bytes().replace(b'"granted":false', b'"granted":fal\0e'))
    with opened(shop) as (engine, _):
        assert engine.consents_of(engine.live, "ann", None).to("personalization")
        assert not engine.consents_of(engine.live, "bob", None).to("personalization")


def test_no_answer_names_a_path_of_the_server(shop):
    """The log has it, see `test_logs`."""
    folder = publish(shop, 0, "import-1")
    with opened(shop) as (_, client):
        without_events(folder, None)
        answer = post(client, "/v1/customers/read", {"userId": "ann"})
        assert (answer.status_code, answer.json()["error"]["field"]) == (503, None)
        assert str(shop.root.parent) not in answer.text


@pytest.mark.parametrize("damage", [name for name in DAMAGE if name != "a missing folder"])
def test_a_damaged_history_is_not_taken_up(shop, damage):
    older = publish(shop, 0, "import-1")
    with opened(shop) as (engine, client):
        newer = publish(shop, 1, "import-1")
        DAMAGE[damage](newer)
        assert not engine.refresh()
        assert (engine.live.history_name, list(engine.refusals)) == (older.name, [f"history {newer.name}"])
        assert first(client, "ann") == "b2"


# --- erasure ----------------------------------------------------------------------------------------------------------


def test_whoever_is_erased_while_a_history_is_damaged_is_not_in_it_when_it_is_whole_again(shop):
    """The one before is overwritten at once, the damaged one when it is taken up."""
    older, newer = publish(shop, 0, "import-1"), publish(shop, 1, "import-1")
    with opened(shop) as (engine, _):
        with copied(newer):
            os.truncate(newer / MANIFEST, 100)
            again = Engine(shop, worker="again")
            with pytest.raises(BundleError):
                erase(shop, engine.store, "ann", now=AS_OF)
            assert not len(open_history(older)[0].of(customer_subject("ann")))
        assert len(open_history(newer)[0].of(customer_subject("ann")))
        assert again.live.history_name == older.name
        assert again.refresh()
        assert again.live.history_name == newer.name
        assert not len(again.history_of(again.live, "ann", None))
        again.close()


def test_a_history_that_stands_in_is_swept_first(shop):
    """It may have been out of reach when somebody was erased."""
    older, newer = publish(shop, 0, "import-1"), publish(shop, 1, "import-1")
    shutil.move(older, shop.root / "aside")
    store = Store.of(shop)
    erase(shop, store, "ann", now=AS_OF)
    store.close()
    shutil.move(shop.root / "aside", older)
    shutil.rmtree(newer)
    engine = Engine(shop, worker="test")
    assert engine.live.history_name == older.name
    assert not len(engine.history_of(engine.live, "ann", None))
    engine.close()


def test_an_index_that_erasure_changed_is_compared_all_the_same(shop):
    """But for the two files that hold the ids: of these the order of the hashes is looked at."""
    folder = publish(shop, 0, "import-1")
    store = Store.of(shop)
    erase(shop, store, "ann", now=AS_OF)
    store.close()
    open_history(folder, verify=False)
    hashes = np.load(folder / "subjects.hashes.npy")
    np.save(folder / "subjects.hashes.npy", np.array([2, 1], hashes.dtype))
    with pytest.raises(BundleError, match="index is damaged"):
        open_history(folder, verify=False)


# --- what is published ------------------------------------------------------------------------------------------------


def test_a_sync_notes_the_last_import_by_file(shop):
    """What came from the store is in the store."""
    store = Store.of(shop)
    set_clock(shop, AS_OF)
    for number in range(2):
        view = StoredEvent(
            event_id=f"e{number}", occurred_at=AS_OF, recorded_at=AS_OF, type="view", customer_id="ann", item_id="a0"
        )
        store.append_sync([view])
        sync(shop, now=AS_OF + number)
    store.close()
    live = shop.histories / str(live_name(shop.histories))
    assert imported_by(shop.histories) == read_manifest(live)[IMPORTED] == ""
    shutil.rmtree(live)
    engine = Engine(shop, worker="test")
    assert (engine.live.blind, len(engine.history_of(engine.live, "ann", None))) == (False, 2)
    engine.close()


def test_an_import_by_file_is_what_the_store_does_not_know(shop):
    """The history before it does not stand in for the one after it."""
    set_clock(shop, AS_OF)
    dataset = Dataset(shop.dataset)
    for number in range(2):
        record = ImportRecord(id=f"shop-{number}", source="csv", at=format_instant(AS_OF), parts={})
        with dataset.writing():
            dataset.commit(record)
        sync(shop, now=AS_OF + number)
        assert imported_by(shop.histories) == record.id
    assert len(folders(shop.histories)) == 2
    shutil.rmtree(shop.histories / str(live_name(shop.histories)))
    engine = Engine(shop, worker="test")
    assert engine.live.blind
    engine.close()


def test_serve_starts_on_a_damaged_history_and_says_so(shop, monkeypatch, capsys):
    """It hands over to the service, whose worker begins without it."""
    begun = []
    monkeypatch.setattr("training.commands.serve.os.execve", lambda *command: begun.append(command))
    folder = publish(shop, 0, None)
    os.truncate(folder / MANIFEST, 100)
    command(shop="toy", root=shop.root, host="127.0.0.1", port=3000, dev=True)
    assert len(begun) == 1
    assert f"Refused history {folder.name}" in capsys.readouterr().out


def test_memory_is_looked_at_without_a_damaged_history(shop):
    """`kokyaku serve` asks before it starts."""
    os.truncate(publish(shop, 0, None) / MANIFEST, 100)
    assert "0 customers" in look(shop).detail
