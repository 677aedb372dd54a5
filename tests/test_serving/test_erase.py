"""Erasure: after the receipt nothing that answers holds the customer, down to the bytes of the files."""

from __future__ import annotations

import itertools
import os
import random
import sqlite3
import threading
import time

import msgspec
import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.dataset import Dataset
from features.errors import BundleError, NotFoundError
from features.history import Histories, History, customer_subject, visitor_subject
from features.ids import Vocabulary
from features.moments import parse_instant
from features.order_reports import Report
from features.shop import Shop
from serving import histories as history_files
from serving import store_erasure as erasure
from serving import store_upkeep as upkeep
from serving.artifact import live_name, publish_live, write_artifact
from serving.decision_drain import drain
from serving.decision_log import DecisionLog
from serving.erase import erase, read_receipt, sweep
from serving.events import StoredEvent
from serving.histories import open_history, overwrite, verify_history, write_history
from serving.profiles import PARTS, People, Profile
from serving.store import Store
from serving.sync import sync
from serving.tombstones import Erased, erased_of, is_erased, token_of

NOON = parse_instant("2020-03-31T12:00Z")
NAME, GUEST_ANSWER, ANSWER = "Annabel-Lee of Kyoto", "a lame greyhound", 'allergic to 牛乳 "milk"'
TRACK, SITE = "https://carrier.example/t/99180", "https://carrier.example/t/55512"
WORDS = (NAME, GUEST_ANSWER, ANSWER.replace('"', '\\"'), TRACK, SITE)
"""What was told of Ann, as JSON has it."""
ANN, LAPTOP, BOB = "customer-annabel-7731", "visitor-laptop-4471", "customer-bob-1182"


def event(event_id, customer_id=None, visitor_id=None, *, at=NOON, type="view", item_id="tea", **fields):
    return StoredEvent(
        event_id=event_id, occurred_at=at, recorded_at=at, type=type, customer_id=customer_id, visitor_id=visitor_id,
        item_id=item_id, **fields,
    )  # fmt: skip


def decision(number, customer_id, visitor_id=None):
    return {"decision_id": f"d{number}", "request_id": "r", "decided_at": NOON, "customer_id": customer_id,
            "visitor_id": visitor_id, "items": ["tea"], "action_propensity": 0.25}  # fmt: skip


def report(order_id, at, tracking_url=None):
    state = "confirmed" if at == NOON else "shipped"
    return Report(order_id=order_id, line="1", at=at, item_id="tea", state=state, tracking_url=tracking_url)


@pytest.fixture
def shop(tmp_path):
    return Shop("toy", tmp_path / "shop")


@pytest.fixture
def store(shop):
    opened = Store.open(shop.store, shop.secret)
    yield opened
    opened.close()


@pytest.fixture
def log(shop):
    opened = DecisionLog(shop.decision_logs, "w")
    yield opened
    opened.close()


@pytest.fixture
def known(shop, store, log):
    """Ann (with her laptop) and Bob: in the live history, the one before, the store and the decision logs."""
    store.append_sync([event("b0", BOB), event("a0", ANN)])
    store.put_customer(ANN, {"name": NAME, "consents": {"training": {"granted": True}}}, NOON)
    store.put_customer(BOB, {"name": "Bob"}, NOON)
    store.put_orders([(ANN, report("o1", NOON, TRACK)), (BOB, report("o2", NOON))], NOON)
    store.put_visitor(LAPTOP, {"answers": {"dog": GUEST_ANSWER}}, NOON)
    log.append([decision(0, ANN)])
    sync(shop, now=NOON + 1)
    store.append_sync(
        [
            event("v1", None, LAPTOP, at=NOON + 2),
            event("a1", ANN, LAPTOP, at=NOON + 3, type="sign_in", item_id=None),
            event("v2", None, LAPTOP, at=NOON + 4),
            event("b1", BOB, LAPTOP, at=NOON + 5),
        ]
    )
    sync(shop, now=NOON + 6)
    store.append_sync([event("a2", ANN, at=NOON + 7, decision_id="d1"), event("v3", None, LAPTOP, at=NOON + 8)])
    store.append_sync([event("b2", BOB, at=NOON + 9)])
    store.put_customer(ANN, {"answers": {"diet": ANSWER}}, NOON + 7)
    store.put_orders([(ANN, report("o1", NOON + 7, SITE))], NOON + 7)
    store.put_visitor(LAPTOP, {"answers": {"dog": GUEST_ANSWER}}, NOON + 8)
    log.append([decision(1, ANN, LAPTOP), decision(2, None, LAPTOP), decision(3, BOB)])
    return store


def everything_that_answers(shop):
    """All bytes under the shop, except the dataset (whose turn is the next sync) and the secret."""
    for path in shop.root.rglob("*"):
        if path.is_file() and shop.dataset not in path.parents:
            yield path, path.read_bytes()


def traces(shop, *ids):
    return [(path.name, text) for path, raw in everything_that_answers(shop) for text in ids if text.encode() in raw]


def test_the_bytes_of_the_id_are_nowhere_but_in_the_dataset(shop, known):
    """Store, write-ahead log, decision logs, both histories: nothing is left of customer, visitor and their words."""
    assert {text for _, text in traces(shop, ANN, LAPTOP, *WORDS)} == {ANN, LAPTOP, *WORDS}
    bobs_row = known.events_of(BOB, None, 0)
    erase(shop, known, ANN, now=NOON + 10)
    left = traces(shop, ANN, LAPTOP, *WORDS)
    assert [(name, text) for name, text in left if text != LAPTOP] == []
    # Bob's event names the shared device: that row is his.
    assert {name for name, _ in left} <= {"store.db"}
    assert known.events_of(BOB, None, 0) == bobs_row


def test_no_read_finds_the_customer_and_everybody_else_is_untouched(shop, known):
    """Events, profile, links, both histories; Bob's are as they were."""
    before = {folder.name: open_history(folder)[0].of(customer_subject(BOB)) for folder in _folders(shop)}
    assert len(before) == 2
    receipt = erase(shop, known, ANN, now=NOON + 10)
    assert known.events_of(ANN, None) == known.events_of(None, LAPTOP) == []
    assert known.read_customer(ANN) is None and known.read_visitor(LAPTOP) is None
    assert known.orders_of(ANN) == () and len(known.orders_of(BOB)) == 1
    assert known.links_of(ANN) == []
    for folder in _folders(shop):
        histories, _ = open_history(folder)
        assert len(histories.of(customer_subject(ANN))) == len(histories.of(visitor_subject(LAPTOP))) == 0
        people = history_files.open_people(folder, upkeep.store_id(known))
        assert people.of(customer_subject(ANN)) is None and people.subjects.find(customer_subject(ANN)) is None
        bob = people.of(customer_subject(BOB))
        assert (bob.fields, [each.order_id for each in bob.orders]) == ({"name": "Bob"}, ["o2"])
        for name in ("time", "item", "type", "value", "key"):
            left, right = getattr(histories.of(customer_subject(BOB)), name), getattr(before[folder.name], name)
            np.testing.assert_array_equal(left, right)
    assert receipt["removed"] == {
        "events": 6, "decisions": 1, "customers": 2, "visitorFields": 1, "orders": 2, "historyEvents": 4,
        "historyProfiles": 1, "visitors": 1,
    }  # fmt: skip


def test_decisions_stay_under_a_random_token(shop, known):
    """What was shown, how likely, and what it brought; not to whom."""
    erase(shop, known, ANN, now=NOON + 10)
    decisions = [
        orjson.loads(payload)
        for (payload,) in known.database.query("SELECT payload FROM decisions ORDER BY decision_id")
    ]
    assert [each["decision_id"] for each in decisions] == ["d0", "d1", "d2", "d3"]
    assert [each["customer_id"][:7] for each in decisions] == ["erased-", "erased-", "erased-", BOB[:7]]
    assert all(each["action_propensity"] == 0.25 and each["items"] == ["tea"] for each in decisions)
    assert all(each.get("visitor_id") is None for each in decisions)
    assert known.database.query("SELECT decision_id, reward, value FROM rewards") == [("d1", "view", 1.0)]


def test_the_receipt_says_what_happens_when(shop, known):
    """Four promises, and a state that can be polled."""
    receipt = erase(shop, known, ANN, now=NOON)
    assert read_receipt(known, receipt["receiptId"]) == receipt
    assert (receipt["kind"], receipt["state"], receipt["requestedAt"]) == ("erase", "erased", "2020-03-31T12:00:00Z")
    assert set(receipt["says"]) == {"now", "nextSync", "nextTraining", "backups"}
    assert "24 hours" in receipt["says"]["nextSync"]
    assert ANN not in orjson.dumps(receipt).decode()
    with pytest.raises(NotFoundError) as missing:
        read_receipt(known, "nonsense")
    assert missing.value.status == 404


def test_erasing_again_is_the_same_erasure(shop, known):
    """One receipt; what arrived in between is gone as well."""
    first = erase(shop, known, ANN, now=NOON)
    second = erase(shop, known, ANN, now=NOON + 5)
    assert second["receiptId"] == first["receiptId"]
    assert second["removed"] == first["removed"]


def test_an_unknown_customer_gets_a_tombstone_and_a_receipt(shop, store):
    """Nobody learns from the answer whether the shop knew him; later data of his is refused."""
    receipt = erase(shop, store, "never seen", now=NOON)
    assert (receipt["state"], set(receipt["removed"].values())) == ("erased", {0})
    assert store.append_sync([event("e", "never seen")]) == ["erased"]
    assert is_erased(shop, "never seen") and not is_erased(shop, "somebody")
    assert erased_of(shop).row("never seen", None)


def test_a_shop_that_never_served_has_erased_nobody(shop):
    """Asking does not make a store."""
    assert not is_erased(shop, ANN)
    assert not shop.store.exists()


def test_late_data_of_the_erased_is_refused_everywhere(shop, known, log):
    """Events, sign-ins on new devices, profile changes, decisions of requests that were under way."""
    erase(shop, known, ANN, now=NOON)
    late = [event("l1", ANN), event("l2", None, LAPTOP), event("l3", ANN, "new phone", type="sign_in", item_id=None)]
    assert known.append_sync(late) == ["erased"] * 3
    assert not known.put_customer(ANN, {"tier": "gold"}, NOON)
    assert not known.put_visitor(LAPTOP, {"answers": {"dog": "no"}}, NOON)
    assert known.put_orders([(ANN, report("o3", NOON)), (BOB, report("o4", NOON))], NOON) == ["erased", "accepted"]
    log.append([decision(9, ANN, LAPTOP)])
    sync(shop, now=NOON + 20)
    assert traces(shop, ANN, *WORDS) == []
    assert known.links_of(ANN) == []


def test_a_decision_that_was_under_way_leaves_no_name_in_its_log(shop, known, log):
    """Another worker learns of an erasure a moment later; whoever drains its log wipes what it wrote meanwhile."""
    erase(shop, known, ANN, now=NOON)
    log.append([decision(9, ANN, LAPTOP), decision(10, BOB)])
    drain(shop.decision_logs, known)
    assert traces(shop, ANN) == []
    assert {name for name, _ in traces(shop, BOB)} >= {path.name for path in shop.decision_logs.iterdir()}


def test_callers_are_told_once_nothing_can_be_read_any_more(shop, known):
    """The moment to drop caches: a request after it computes from what is left."""
    seen = []

    def drop_caches(customer_id):
        folder = shop.histories / str(live_name(shop.histories))
        seen.append((customer_id, known.events_of(ANN, None), len(open_history(folder)[0].of(customer_subject(ANN)))))

    erase(shop, known, ANN, now=NOON, on_erased=drop_caches)
    assert seen == [(ANN, [], 0)]


def test_workers_that_opened_the_history_see_the_erasure_at_once(shop, known):
    """The files are overwritten in place, not replaced: no reload is needed."""
    mapped, _ = open_history(shop.histories / str(live_name(shop.histories)))
    before = mapped.of(customer_subject(ANN))
    mapped_people = history_files.open_people(shop.histories / str(live_name(shop.histories)), upkeep.store_id(known))
    row = mapped.subjects.find(customer_subject(ANN))
    begin, _, _, end = mapped_people.offsets[PARTS * row : PARTS * row + 4]
    raw_before = mapped_people.raw[begin:end]
    assert mapped_people.of(customer_subject(ANN)).fields["name"] == NAME
    assert len(before) == 3 and before.item.max() >= 0
    erase(shop, known, ANN, now=NOON)
    assert len(mapped.of(customer_subject(ANN))) == 0
    after = mapped.at(row)  # even who remembered where the slice lies reads nothing of it
    assert after.item.tolist() == [-1, -1, -1]
    assert after.type.tolist() == after.key.tolist() == after.time.tolist() == [0, 0, 0]
    assert np.isnan(after.value).all()
    assert mapped_people.of(customer_subject(ANN)) is None
    assert bytes(raw_before) == bytes(len(raw_before))


def test_the_dataset_forgets_words_and_orders_with_the_next_sync(shop, known):
    """And a history that is written from it holds no profile."""
    erase(shop, known, ANN, now=NOON + 10)
    report = sync(shop, now=NOON + 20)
    dataset = Dataset(shop.dataset)
    assert {row["customer_id"] for row in dataset.read("customers").to_pylist()} == {BOB}
    assert {row["customer_id"] for row in dataset.read("orders").to_pylist()} == {BOB}
    people = history_files.open_people(shop.histories / report.history, upkeep.store_id(known))
    assert people.of(customer_subject(ANN)) is None and people.of(customer_subject(BOB)).fields == {"name": "Bob"}
    raw = b"".join(path.read_bytes() for path in shop.root.rglob("*") if path.is_file())
    assert not [text for text in (ANN, *WORDS) if text.encode() in raw]


def test_an_erasure_takes_well_under_five_seconds_and_readers_go_on(shop, known):
    """Others are read without an error, and never with another's events, while somebody is forgotten."""
    rng = random.Random(1)
    customers = [f"somebody-{n:04d}" for n in range(300)]
    known.append_sync([event(f"s{n}", rng.choice(customers), at=NOON + n) for n in range(20_000)])
    victims, others = customers[:5], customers[5:30]
    expected = {customer: known.events_of(customer, None) for customer in others}
    stop, failures = threading.Event(), []

    def read():
        while not stop.is_set():
            customer = rng.choice(others)
            if known.events_of(customer, None) != expected[customer]:
                failures.append(customer)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    durations = []
    for victim in victims:
        started = time.monotonic()
        erase(shop, known, victim, now=NOON)
        durations.append(time.monotonic() - started)
    stop.set()
    for reader in readers:
        reader.join()
    assert not failures
    assert max(durations) < 5
    assert traces(shop, *victims) == []


def test_appends_that_race_an_erasure_leave_nothing(shop, known):
    """Whatever order they win in: after the receipt no event of the customer is there."""
    stop = threading.Event()

    def write():
        n = 0
        while not stop.is_set():
            known.append_sync([event(f"race-{n}", ANN), event(f"race-b{n}", BOB)])
            n += 1

    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(0.05)
    erase(shop, known, ANN, now=NOON)
    stop.set()
    writer.join()
    assert known.events_of(ANN, None) == []
    known.database.checkpoint()
    assert traces(shop, ANN) == []


def test_another_process_may_erase_beside_the_service(shop, known):
    """`kokyaku erase` opens the store itself; the service's next write and read know of it."""
    other = Store.open(shop.store, shop.secret)
    erase(shop, other, ANN, now=NOON)
    other.close()
    assert known.events_of(ANN, None) == []
    assert known.append_sync([event("later", ANN)]) == ["erased"]


@pytest.mark.parametrize("broken", ["forget", "put_receipt"])
def test_an_interrupted_erasure_is_finished_without_knowing_the_id(shop, known, monkeypatch, broken):
    """A crash between the steps: the tombstone stands, and a sweep (or the next sync) does the rest."""

    class CrashError(Exception):
        pass

    original, calls = getattr(erasure, broken), []

    def crash(*arguments):
        calls.append(arguments)
        if broken == "forget" or len(calls) == 2:  # the second receipt is the one that says "erased"
            raise CrashError
        return original(*arguments)

    monkeypatch.setattr(erasure, broken, crash)
    with pytest.raises(CrashError):
        erase(shop, known, ANN, now=NOON)
    monkeypatch.setattr(erasure, broken, original)
    ((receipt, _),) = erasure.receipts_in(known, "erasing")
    sweep(shop, known, now=NOON + 1)
    assert known.events_of(ANN, None) == known.events_of(None, LAPTOP) == []
    for folder in _folders(shop):
        assert len(open_history(folder)[0].of(customer_subject(ANN))) == 0
    assert read_receipt(known, receipt["receiptId"])["state"] == "erased"
    sync(shop, now=NOON + 2)
    assert read_receipt(known, receipt["receiptId"])["state"] == "complete"
    assert traces(shop, ANN) == []


@pytest.mark.parametrize("linked_in", ["store and history", "history", "store"])
def test_a_sweep_that_comes_just_after_the_tombstone_hides_no_visitor(shop, known, monkeypatch, linked_in):
    """It takes the customer's links away, and a sync that has asked the dataset already does not ask it again."""
    if linked_in == "history":
        with known.database.transaction() as connection:
            connection.execute("DELETE FROM links")
    elif linked_in == "store":
        monkeypatch.setattr(history_files, "visitors_of", lambda *given: [])
    original = erasure.put_receipt

    def swept(*given):
        monkeypatch.setattr(erasure, "put_receipt", original)
        sweep(shop, known, now=NOON + 10)
        original(*given)

    monkeypatch.setattr(erasure, "put_receipt", swept)  # what an erasure does next
    erase(shop, known, ANN, now=NOON + 10)
    assert known.erased().customer(ANN) and known.erased().visitor(LAPTOP)
    assert known.append_sync([event("late", None, LAPTOP, at=NOON + 11)]) == ["erased"]
    assert known.events_of(None, LAPTOP) == []
    for folder in _folders(shop):
        assert len(open_history(folder)[0].of(visitor_subject(LAPTOP))) == 0


def test_copies_in_the_gaps_of_pages_are_overwritten_too(shop, store):
    """Moving rows between pages can leave copies that secure_delete does not reach: the file is then written anew."""
    rng = random.Random(3)
    customers = [f"customer-{n:05d}" for n in range(200)]
    for start in range(0, 8_000, 500):
        store.append_sync(
            [
                event(
                    f"{rng.getrandbits(64):x}",
                    rng.choice(customers),
                    f"v{rng.randrange(500)}",
                    session_id="s" * rng.randrange(300),
                )
                for _ in range(start, start + 500)
            ]
        )
    gone = customers[::20]
    for customer in gone:
        erase(shop, store, customer, now=NOON)
    assert traces(shop, *gone) == []
    check = sqlite3.connect(shop.store)
    assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    check.close()


# --- the history's files ----------------------------------------------------------------------------------------------


def build(subjects):
    """Histories in which subject k has k + 1 events."""
    counts = np.arange(1, len(subjects) + 1)
    total = int(counts.sum())
    events = History(
        time=np.arange(1, total + 1, dtype=np.int64), recorded=np.arange(1, total + 1, dtype=np.int64),
        item=np.zeros(total, np.int32), type=np.full(total, 7, np.int8), quantity=np.ones(total, np.float32),
        value=np.ones(total, np.float32), key=np.arange(1, total + 1, dtype=np.uint64),
    )  # fmt: skip
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Histories(Vocabulary.of(subjects), Vocabulary.of(["tea"]), offsets, events)


MANIFEST = {"store_id": "s", "store_seq": 1, "as_of": 0, "dataset": "d"}


@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=30, unique=True), st.data())
@settings(max_examples=25)
def test_overwriting_some_leaves_all_others_findable(tmp_path_factory, ids, data):
    """Whoever is erased, in whatever order: the erased are not found, all others are, with their events."""
    subjects = sorted(customer_subject(each) for each in ids)
    gone = data.draw(st.lists(st.sampled_from(subjects), unique=True))
    parent = tmp_path_factory.mktemp("histories")
    folder = parent / write_history(parent, build(subjects), [], MANIFEST)
    for subject in gone:
        overwrite(folder, [subject])
    found = open_history(folder)[0]
    assert {subject: len(found.of(subject)) for subject in subjects} == {
        subject: 0 if subject in gone else row + 1 for row, subject in enumerate(subjects)
    }
    assert (np.diff(found.subjects.hashes.astype(object)) >= 0).all()


def test_checksums_hold_except_where_erasure_changed_the_files(tmp_path):
    """Damage elsewhere is still noticed, and what erasure changed is named."""
    folder = tmp_path / write_history(tmp_path, build(["c:ann", "c:bob"]), [], MANIFEST)
    verify_history(folder)
    assert overwrite(folder, ["c:ann"]) == (1, 0)
    assert overwrite(folder, ["c:ann", "c:nobody"]) == (0, 0)
    verify_history(folder)
    assert {"events", "subjects.blob"} <= set(orjson.loads((folder / "erased.json").read_bytes())["changed"])
    offsets = folder / "offsets.npy"
    offsets.write_bytes(offsets.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(BundleError, match="checksum"):
        open_history(folder)
    offsets.unlink()
    with pytest.raises(BundleError, match="missing"):
        verify_history(folder)


def test_a_history_knows_the_visitors_of_its_customers(tmp_path):
    """Without the dataset: only pairs of whom both have events."""
    subjects = ["c:ann", "c:bob", "v:laptop", "v:phone"]
    links = [("c:ann", "v:phone"), ("c:ann", "v:laptop"), ("c:bob", "v:nowhere"), ("c:ann", "v:phone")]
    folder = tmp_path / write_history(tmp_path, build(subjects), set(links), MANIFEST)
    assert history_files.visitors_of(folder, "ann") == ["laptop", "phone"]
    assert history_files.visitors_of(folder, "bob") == history_files.visitors_of(folder, "cleo") == []


def test_in_a_history_without_profiles_the_events_are_overwritten_all_the_same(tmp_path, monkeypatch):
    """One that the program before wrote may serve until the next sync."""
    monkeypatch.setattr(history_files, "people_arrays", lambda *given: {})
    folder = tmp_path / write_history(tmp_path, build(["c:ann", "c:bob"]), [], MANIFEST)
    assert history_files.open_people(folder, "s") is None
    assert overwrite(folder, ["c:ann"]) == (1, 0)
    assert len(open_history(folder)[0].of("c:ann")) == 0 and len(open_history(folder)[0].of("c:bob")) == 2


def test_profiles_are_overwritten_with_their_subject_and_no_other(tmp_path):
    """Some subjects have events and no profile, some a profile and no events."""
    profiles = {"c:bob": Profile({"name": "Bob"}), "c:cleo": Profile({"name": "Cleopatra"})}
    folder = tmp_path / write_history(tmp_path, build(["c:ann", "c:bob"]), [], MANIFEST, profiles.items())
    people = history_files.open_people(folder, "s")
    assert overwrite(folder, ["c:ann", "c:cleo"]) == (1, 1)
    assert people.of("c:cleo") is None and people.of("c:bob") == profiles["c:bob"]
    assert b"Cleopatra" not in (folder / "people.bytes.npy").read_bytes()
    verify_history(folder)
    # A reader that found the bytes just before they went reads nothing, and does not fail.
    half = People(people.subjects, people.offsets, np.where(people.raw == 0, 0, 32).astype(np.uint8), (0, 0))
    assert half.of("c:bob") is None and half.agreed(half.subjects.find("c:bob")) is None


def test_while_a_profile_is_overwritten_a_word_on_consents_outlives_what_it_guards(tmp_path):
    """However far it came: what is there of it is nothing, and while there is anything the word still stands."""
    profile = Profile(
        {"name": "Bob", "consents": {"personalization": {"granted": False}}},
        orders=(Report(order_id="o", line="1", at=1, item_id="tea", state="shipped"),),
    )
    folder = tmp_path / write_history(tmp_path, build(["c:bob"]), [], MANIFEST, [("c:bob", profile)])
    people = history_files.open_people(folder, "s")
    assert people.of("c:bob") == profile
    bounds, raw = people.offsets.tolist(), people.raw.copy()
    assert len(bounds) == PARTS + 1 and bounds == sorted(set(bounds))
    for gone in range(1, len(raw) + 1):
        raw[gone - 1] = 0
        half = People(people.subjects, people.offsets, raw, (0, 0))
        assert half.of("c:bob") is None
        assert half.agreed(0) == (profile.fields["consents"] if gone <= bounds[-2] else None)


def in_columns(parent, histories, links, manifest, profiles):
    """As `write_history` of the program before wrote a history."""
    told = {subject: msgspec.json.encode(profile) for subject, profile in profiles}
    pieces = [told.get(subject, b"") for subject in histories.subjects]
    people = {
        "people.offsets": np.cumsum([0, *map(len, pieces)]),
        "people.bytes": np.frombuffer(b"".join(pieces), np.uint8),
    }
    write_artifact(parent / "older", {**histories.arrays(), **people}, {"kind": "history", "format": 2, **manifest})
    return "older"


@pytest.mark.parametrize("write", [write_history, in_columns])
@pytest.mark.parametrize("step", range(8))
def test_an_erasure_that_was_cut_off_is_completed_by_the_next(tmp_path, monkeypatch, write, step):
    """Wherever it ended: at one of the ids, or at a file that the disk did not take."""
    profiles = {"c:ann": Profile({"name": "Annabel"}), "c:cleo": Profile({"name": "Cleopatra"})}
    folder = tmp_path / write(tmp_path, build(["c:ann", "c:bob", "c:cleo"]), [], MANIFEST, profiles.items())
    steps, blank, fsync = itertools.count(), history_files._blank_id, os.fsync

    def cut_off(action):
        def acts(*given):
            action(*given)
            if next(steps) == step:
                raise OSError("the end")

        return acts

    with monkeypatch.context() as patch:
        patch.setattr(history_files, "_blank_id", cut_off(blank))
        patch.setattr(os, "fsync", cut_off(fsync))
        with pytest.raises(OSError, match="the end"):
            overwrite(folder, ["c:ann", "c:cleo"])
    overwrite(folder, ["c:ann", "c:cleo"])
    written = b"".join(path.read_bytes() for path in folder.glob("*.npy"))
    assert not [word for word in (b"Annabel", b"Cleopatra", b"c:ann", b"c:cleo") if word in written]
    found = open_history(folder)[0]
    assert [found.at(row).type.tolist() for row in range(3)] == [[0], [7, 7], [0, 0, 0]]
    assert [found.at(row).item.tolist() for row in range(3)] == [[-1], [0, 0], [-1, -1, -1]]
    assert found.subjects.find("c:ann") is None and found.subjects.find("c:cleo") is None
    assert len(found.of("c:bob")) == 2
    assert overwrite(folder, ["c:ann", "c:cleo"]) == (0, 0)


def test_an_erasure_that_was_cut_off_is_counted_by_the_next(tmp_path, monkeypatch):
    """Whoever erases again is told what there was."""
    folder = tmp_path / write_history(tmp_path, build(["c:ann"]), [], MANIFEST, [("c:ann", Profile({"name": "Ann"}))])
    with monkeypatch.context() as patch:
        patch.setattr(history_files, "_blank_id", lambda *given: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            overwrite(folder, ["c:ann"])
    assert overwrite(folder, ["c:ann"]) == (1, 1)


def test_the_id_goes_when_all_else_is_on_the_disk(tmp_path, monkeypatch):
    """A machine that fails keeps what was written in whatever order it likes, but for what was flushed before."""
    folder = tmp_path / write_history(tmp_path, build(["c:ann"]), [], MANIFEST, [("c:ann", Profile({"name": "Ann"}))])
    done, flush, blank = [], history_files._flush, history_files._blank_id
    monkeypatch.setattr(history_files, "_flush", lambda *given: done.append(set(given[2])) or flush(*given))
    monkeypatch.setattr(history_files, "_blank_id", lambda *given: done.append("id") or blank(*given))
    overwrite(folder, ["c:ann"])
    assert done == [{"events", "people.bytes"}, "id", {"subjects.blob", "subjects.hashes"}]


def test_names_of_histories_never_meet(tmp_path):
    """Two of one moment and one sequence number are two folders."""
    names = [write_history(tmp_path, build(["c:ann"]), [], MANIFEST) for _ in range(3)]
    assert len(set(names)) == 3
    publish_live(tmp_path, names[0])
    assert history_files.publish_history(tmp_path, names[2]) == [names[2], names[0]]
    assert {path.name for path in history_files.folders(tmp_path)} == {names[2], names[0]}


def test_tombstones_tell_customers_from_visitors():
    """The same text as customer and as visitor is two subjects; a row with a living customer stays."""
    secret = b"k" * 32
    erased = Erased(secret, [token_of(secret, "c:x"), token_of(secret, "v:y")])
    assert erased.customer("x") and erased.visitor("y")
    assert not erased.customer("y") and not erased.visitor("x")
    assert erased.row("x", "any") and erased.row(None, "y")
    assert not erased.row("living", "y") and not erased.row(None, None) and not erased.row(None, "x")
    assert len(erased) == 2 and not Erased(secret)


def _folders(shop):
    return history_files.folders(shop.histories)
