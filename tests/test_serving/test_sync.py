"""Sync: everything that was acknowledged becomes part of the dataset, once, whatever interrupts it."""

from __future__ import annotations

import os
import time

import msgspec
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.build import histories_as_of
from features.dataset import Dataset
from features.errors import DataError
from features.moments import DAY, parse_instant, to_datetime
from features.order_reports import Report, lines_of
from features.shop import Shop
from serving import store_erasure as erasure
from serving import store_upkeep as upkeep
from serving.artifact import live_name, read_manifest
from serving.decision_drain import LEFT_SECONDS, drain
from serving.decision_log import DecisionLog
from serving.erase import erase, read_receipt
from serving.events import StoredEvent
from serving.histories import folders, open_history, open_people
from serving.person import Consents
from serving.store import Store
from serving.sync import sync
from serving.sync_consents import consents_in
from training.sends import take_sends

NOON = parse_instant("2020-03-31T12:00Z")
ALL_TABLES = ("events", "decisions", "identities", "items", "customers", "orders", "outcomes")


def event(event_id, customer_id="ann", *, at=NOON, type="view", item_id="tea", **fields):
    return StoredEvent(
        event_id=event_id, occurred_at=at, recorded_at=at + 1, type=type, customer_id=customer_id, item_id=item_id,
        **fields,
    )  # fmt: skip


REPORT = Report(
    order_id="o1", line="2", at=NOON, item_id="tea", quantity=2.0, ordered_at=NOON - 1, promised_at=NOON + DAY,
    payment_state="paid", state="shipped", text="on its way", image_url="https://i", tracking_url="https://t",
    confirmed_for=NOON + 2, place="Shop", hours="9-17", gift=True, subscription="s", stamped=True,
)  # fmt: skip


def decision(number, customer_id="ann", **fields):
    full = {
        "decision_id": f"d{number}", "request_id": f"r{number}", "decided_at": NOON + number, "surface": "page.home",
        "slot": "hero", "position": 1, "draw_order": 0, "eligible": [["offer", 0.5], [None, 0.5]],
        "vetoed": [["tip", "bought"]], "action_id": "offer", "items": ["tea", "pot"], "action_propensity": 0.5,
        "policy": "p", "bundle_id": "b", "shop_hash": "h", "holdout": False, "customer_id": customer_id,
        "visitor_id": None, "features": {"rows": [[1.5]]}, "drawn": True, "logged": True, "unknown": "left out",
    }  # fmt: skip
    return full | fields


@pytest.fixture
def shop(tmp_path):
    return Shop("toy", tmp_path / "shop")


@pytest.fixture
def store(shop):
    opened = Store.open(shop.store, shop.secret)
    yield opened
    opened.close()


@pytest.fixture
def filled(shop, store):
    """A store with a little of everything."""
    store.append_sync(
        [
            event("e1", None, visitor_id="laptop"),
            event("e2", visitor_id="laptop", type="sign_in", item_id=None, at=NOON + 5),
            event("e3", type="purchase", quantity=2.0, unit_price=3.0, decision_id="d1", attributes={"色": "赤"}),
            event("e4", "bob", at=NOON + 40 * DAY),
        ]
    )
    store.put_items([("tea", {"price": 3.0, "title": "Tea", "inStock": True})], NOON)
    store.put_customer("ann", {"answers": {"pet": "dog"}, "region": "north", "timeZone": "Asia/Tokyo"}, NOON)
    store.put_orders([("ann", REPORT), ("bob", Report(order_id="o2", line="1", at=NOON, item_id="pot"))], NOON)
    log = DecisionLog(shop.decision_logs, "w")
    assert log.append([decision(1), decision(2, "bob")])
    log.close()
    return store


def contents(shop):
    """All rows of the dataset, as comparable text."""
    dataset = Dataset(shop.dataset)
    return {table: sorted(map(repr, dataset.read(table).to_pylist())) for table in ALL_TABLES}


def rows(shop, table):
    return Dataset(shop.dataset).read(table).to_pylist()


def instants(shop, table, column):
    return Dataset(shop.dataset).read(table)[column].cast(pa.int64()).to_pylist()


def test_all_that_was_stored_is_in_the_dataset_as_it_was(shop, filled):
    """Each table gets its rows, in its own columns and types."""
    report = sync(shop, now=NOON + 50 * DAY)
    assert report.counts == {"events": 4, "decisions": 2, "identities": 1, "items": 1, "customers": 1, "orders": 2}
    assert report.decisions_drained == 2
    events = {row["event_id"]: row for row in rows(shop, "events")}
    assert set(events) == {"e1", "e2", "e3", "e4"}
    assert events["e3"] | {"occurred_at": 0, "recorded_at": 0, "content_hash": 0} == {
        **dict.fromkeys(events["e3"]), "event_id": "e3", "occurred_at": 0, "recorded_at": 0, "customer_id": "ann",
        "type": "purchase", "item_id": "tea", "quantity": 2.0, "unit_price": 3.0, "decision_id": "d1",
        "attributes": '{"色":"赤"}', "source": "store", "revision": 0, "withdrawn": False, "content_hash": 0,
    }  # fmt: skip
    assert sorted(instants(shop, "events", "occurred_at")) == [NOON, NOON, NOON + 5, NOON + 40 * DAY]
    assert sorted(instants(shop, "events", "recorded_at"))[-1] == NOON + 40 * DAY + 1
    (link,) = rows(shop, "identities")
    assert (link["visitor_id"], link["customer_id"]) == ("laptop", "ann")
    assert instants(shop, "identities", "linked_at") == [NOON + 5]
    logged = {row["decision_id"]: row for row in rows(shop, "decisions")}["d1"]
    assert (logged["action_id"], logged["action_propensity"], logged["items"]) == ("offer", 0.5, ["tea", "pot"])
    assert orjson.loads(logged["eligible"]) == [["offer", 0.5], [None, 0.5]]
    assert orjson.loads(logged["features"]) == {"rows": [[1.5]]}
    (item,) = rows(shop, "items")
    assert (item["item_id"], item["price"], item["title"], item["in_stock"]) == ("tea", 3.0, "Tea", True)
    (customer,) = rows(shop, "customers")
    assert (customer["region"], customer["time_zone"]) == ("north", "Asia/Tokyo")
    assert orjson.loads(customer["answers"]) == {"pet": "dog"}
    order = {row["order_id"]: row for row in rows(shop, "orders")}["o1"]
    assert order == {
        "order_id": "o1", "line": "2", "valid_from": to_datetime(NOON), "customer_id": "ann", "item_id": "tea",
        "quantity": 2.0, "ordered_at": to_datetime(NOON - 1), "promised_at": to_datetime(NOON + DAY),
        "payment_state": "paid", "shipment_state": "shipped", "state_text": "on its way",
        "state_image_url": "https://i", "tracking_url": "https://t", "confirmed_for": to_datetime(NOON + 2),
        "pickup_place": "Shop", "pickup_hours": "9-17", "gift": True, "subscription": "s", "source": "store",
    }  # fmt: skip
    people = open_people(shop.histories / report.history, upkeep.store_id(filled))
    profile = people.of("c:ann")
    assert profile.orders == (msgspec.structs.replace(REPORT, stamped=False),)
    assert profile.fields == {"answers": {"pet": "dog"}, "region": "north", "timeZone": "Asia/Tokyo"}
    assert people.of("c:nobody") is None and people.after == (1, 2)


def test_who_has_only_fields_or_orders_is_a_subject_without_events(shop, store):
    """Profiles of strangers to the events move nobody's slice."""
    store.append_sync([event("e1", "bob"), event("e2", "dan", item_id="pot"), event("e3", "dan")])
    store.put_customer("ann", {"tier": "gold"}, NOON)
    store.put_orders([("cleo", REPORT)], NOON)
    report = sync(shop, now=NOON + DAY)
    live, people = (find(shop.histories / report.history) for find in (open_history, one_s_people(store)))
    histories = live[0]
    assert list(histories.subjects) == ["c:ann", "c:bob", "c:cleo", "c:dan"]
    assert [len(histories.at(row)) for row in range(4)] == [0, 1, 0, 2]
    plain = histories_as_of(Dataset(shop.dataset))
    for subject in plain.subjects:
        np.testing.assert_array_equal(histories.of(subject).key, plain.of(subject).key)
    assert [people.of(subject) is None for subject in histories.subjects] == [False, True, False, True]


def one_s_people(store):
    return lambda folder: open_people(folder, upkeep.store_id(store))


def test_consents_keep_their_history_in_the_profile(shop, store, make_dataset):
    """Each version repeats the one before: what is told twice is history once; an import is part of it."""
    yes, no, import_ = {"granted": True, "at": "1"}, {"granted": False, "at": "2"}, {"granted": True, "at": "0"}
    make_dataset(
        shop.dataset, customers=[{"customer_id": "ann", "consents": orjson.dumps({"training": import_}).decode()}]
    )
    store.put_customer("ann", {"consents": {"marketing": yes}}, NOON)
    sync(shop, now=NOON + DAY)
    store.put_customer("ann", {"consents": {"marketing": no}}, NOON + 2 * DAY)
    store.put_customer("ann", {"tier": "gold"}, NOON + 3 * DAY)
    report = sync(shop, now=NOON + 4 * DAY)
    profile = one_s_people(store)(shop.histories / report.history).of("c:ann")
    assert [list(each) for each in profile.consents] == [["training", import_], ["marketing", yes], ["marketing", no]]
    assert profile.fields == {"consents": {"training": import_, "marketing": no}, "tier": "gold"}


def test_a_promise_that_says_never_is_none(shop, store, make_dataset):
    """Some systems write 9999 where nobody knows: no wall clock reaches there."""
    order = {"order_id": "o", "customer_id": "ann", "item_id": "tea", "shipment_state": "confirmed"}
    far = parse_instant("9999-12-31T23:59:59Z")
    make_dataset(shop.dataset, orders=[{**order, "valid_from": NOON, "promised_at": far, "confirmed_for": far}])
    report = sync(shop, now=NOON + DAY)
    (line,) = lines_of(one_s_people(store)(shop.histories / report.history).of("c:ann").orders)
    assert line.promised_at is None and line.steps[-1].confirmed_for is None


TOLD_NO = {"granted": False, "at": "2020-04-05T00:00:00Z"}
FILED = [
    ({"marketing": {"granted": True}}, False),  # the file does not know of the refusal
    ({"personalization": {"granted": True, "at": "2020-04-04T00:00:00Z"}}, False),
    ({"personalization": {"granted": True, "at": "2020-04-06T00:00:00Z"}}, True),
    (None, False),
]


@pytest.mark.parametrize(("filed", "agreed"), FILED)
@pytest.mark.parametrize("synced", [True, False])
def test_no_file_undoes_a_refusal_that_it_does_not_know_of(shop, store, make_dataset, filed, agreed, synced):
    """Whether the refusal was in the dataset when the file came or not; a grant of a later moment counts."""
    store.put_customer("ann", {"consents": {"personalization": TOLD_NO}, "tier": "gold"}, NOON)
    if synced:
        sync(shop, now=NOON + 1)
    if not synced:
        make_dataset(shop.dataset, customers=[{"customer_id": "ann", "valid_from": NOON - DAY, "region": "south"}])
    version = {"customer_id": "ann", "valid_from": NOON + DAY, "region": "north"}
    version |= {} if filed is None else {"consents": orjson.dumps(filed).decode()}
    make_dataset(shop.dataset, customers=[version])
    store.put_customer("bob", {"tier": "gold"}, NOON + 2 * DAY)
    first = sync(shop, now=NOON + 3 * DAY)
    store.put_customer("ann", {"name": "Ann"}, NOON + 4 * DAY)  # builds on what stands
    for report in (first, sync(shop, now=NOON + 5 * DAY)):
        fields = one_s_people(store)(shop.histories / report.history).of("c:ann").fields
        assert fields["region"] == "north" and (synced or fields["tier"] == "gold")
        assert Consents(fields["consents"], frozenset({"personalization"})).to("personalization") is agreed
    (then,) = [row for row in rows(shop, "customers") if row["valid_from"] == to_datetime(NOON)]
    assert (then["region"], then["tier"]) == (None if synced else "south", "gold"), "what came later was not known"
    assert consents_in(Dataset(shop.dataset), NOON)["ann"].now == {"personalization": TOLD_NO}


def test_what_a_source_says_again_is_no_news(shop, make_dataset):
    """An export repeats each night what it knows; what it says otherwise than before counts."""
    yes, no = {"training": {"granted": True}}, {"training": False}
    versions = [("crm", yes, 0), ("desk", no, 1), ("crm", yes, 2), ("desk", "no", 3)]
    made = [
        {"customer_id": "ann", "source": source, "consents": orjson.dumps(said).decode(), "valid_from": NOON + at}
        for source, said, at in versions
    ]
    dataset = make_dataset(shop.dataset, customers=made)
    agreed = [Consents(consents_in(dataset, NOON + at)["ann"].now).to("training") for at in range(4)]
    assert agreed == [True, False, False, False]
    make_dataset(shop.dataset, customers=[{**made[0], "consents": orjson.dumps(no).decode(), "valid_from": NOON + 4}])
    make_dataset(shop.dataset, customers=[{**made[0], "valid_from": NOON + 5}])
    assert Consents(consents_in(dataset)["ann"].now).to("training")


@pytest.mark.parametrize("said", [False, {"granted": "yes"}, {}, "no", 1])
def test_what_is_not_clearly_yes_is_no_also_where_it_is_assumed(said):
    """A file may say it in other words than ours."""
    assumed = frozenset({"training"})
    assert not Consents({"training": said}, assumed).to("training")
    assert Consents({"training": True}).to("training") and Consents({"training": None}, assumed).to("training")


def test_a_line_of_which_only_one_version_names_the_customer_is_his(shop, store, make_dataset):
    """A carrier's export knows the order and not who ordered it; a line that nobody owns is in no profile."""
    make_dataset(
        shop.dataset,
        events=[{"customer_id": "ann"}],
        orders=[
            {
                "order_id": "o",
                "customer_id": "ann",
                "item_id": "tea",
                "valid_from": NOON,
                "shipment_state": "confirmed",
            },
            {"order_id": "o", "valid_from": NOON + 1, "shipment_state": "shipped"},
            {"order_id": "p", "item_id": "tea", "valid_from": NOON, "shipment_state": "shipped"},
        ],
    )
    report = sync(shop, now=NOON + DAY)
    people = one_s_people(store)(shop.histories / report.history)
    (line,) = lines_of(people.of("c:ann").orders)
    assert (line.item_id, [step.state for step in line.steps]) == ("tea", ["confirmed", "shipped"])
    assert len(people.raw) == people.offsets[-1] and len(people.subjects) == 1


def test_syncing_again_adds_nothing(shop, filled):
    """No rows, no record, no new history."""
    first = sync(shop, now=NOON + 50 * DAY)
    before, imports = contents(shop), Dataset(shop.dataset).manifest().imports
    second = sync(shop, now=NOON + 51 * DAY)
    assert second.import_id is None and not second.history_renewed
    assert second.history == first.history
    assert contents(shop) == before
    assert Dataset(shop.dataset).manifest().imports == imports


def test_a_shop_to_which_nothing_happened_can_be_synced(shop):
    """No dataset, no store: nothing to do, and no history of nothing."""
    report = sync(shop, now=NOON)
    assert (report.import_id, report.history, report.counts) == (None, None, {})


def test_only_what_is_new_is_added_the_next_time(shop, filled):
    """The second record holds the second day."""
    sync(shop, now=NOON + 50 * DAY)
    filled.append_sync([event("e5", "bob")])
    filled.put_items([("tea", {"price": 4.0})], NOON + DAY)
    report = sync(shop, now=NOON + 51 * DAY)
    assert report.counts == {"events": 1, "items": 1}
    prices = {row["valid_from"].day: (row["price"], row["title"]) for row in rows(shop, "items")}
    assert prices == {31: (3.0, "Tea"), 1: (4.0, "Tea")}  # the later version repeats what was not named


def test_changes_build_on_the_catalogue_that_was_imported(shop, store, make_dataset):
    """A price of today does not forget the title of the import."""
    make_dataset(
        shop.dataset,
        items=[{"item_id": "tea", "title": "Green tea", "category": ["drinks", "tea"], "price": 1.0, "brand": "B"}],
        customers=[{"customer_id": "ann", "region": "south", "answers": '{"a": 1}', "tier": "gold"}],
    )
    store.put_items([("tea", {"price": 2.0}), ("tea", {"withdraw": True})], NOON)
    store.put_items([("tea", {"withdraw": False})], NOON + 1)
    store.put_customer("ann", {"region": "north"}, NOON)
    sync(shop, now=NOON + DAY)
    _, withdrawn, back = sorted(rows(shop, "items"), key=lambda row: row["valid_from"])
    for version in (withdrawn, back):
        assert (version["title"], version["category"], version["brand"]) == ("Green tea", ["drinks", "tea"], "B")
        assert version["price"] == 2.0
    assert (withdrawn["in_stock"], withdrawn["available_until"] is None) == (False, False)
    assert (back["in_stock"], back["available_until"]) == (True, None)
    _, customer = sorted(rows(shop, "customers"), key=lambda row: row["valid_from"])
    assert (customer["region"], customer["tier"], customer["answers"]) == ("north", "gold", '{"a": 1}')


def test_an_event_that_an_import_brought_already_is_not_doubled(shop, store, make_dataset):
    """The same event_id by file and by HTTP is one event."""
    make_dataset(shop.dataset, events=[{"event_id": "e1", "customer_id": "ann", "item_id": "tea"}])
    store.append_sync([event("e1"), event("e2")])
    report = sync(shop, now=NOON + DAY)
    assert report.counts == {"events": 1, "events already there": 1}
    assert sorted(row["event_id"] for row in rows(shop, "events")) == ["e1", "e2"]
    assert sync(shop, now=NOON + DAY).import_id is None


STEPS = (
    "decision logs drained", "erasures finished", "rows written", "erased rows left out", "committed",
    "history written", "history published", "store tidied",
)  # fmt: skip


class StopHereError(Exception):
    """Stands for a crash."""


@pytest.mark.parametrize("last_step", STEPS)
def test_a_sync_that_is_interrupted_after_any_step_is_finished_by_the_next(shop, filled, tmp_path, last_step):
    """The dataset comes out the same as without the interruption, and so does the history."""
    erase(shop, filled, "bob", now=NOON + 49 * DAY)
    twin = Shop("toy", tmp_path / "twin")
    _copy(shop, twin)
    sync(twin, now=NOON + 50 * DAY)

    def crash(step):
        if step == last_step:
            raise StopHereError

    with pytest.raises(StopHereError):
        sync(shop, now=NOON + 50 * DAY, after_step=crash)
    report = sync(shop, now=NOON + 50 * DAY)
    assert _without_tokens(contents(shop)) == _without_tokens(contents(twin))
    assert sum(row["event_id"] == "e3" for row in rows(shop, "events")) == 1
    one, other = (histories_as_of(Dataset(each.dataset)).arrays() for each in (shop, twin))
    assert {name: array.tobytes() for name, array in one.items()} == {n: a.tobytes() for n, a in other.items()}
    live = open_history(shop.histories / report.history)[0]
    assert {name: array.tobytes() for name, array in live.arrays().items()} == {n: a.tobytes() for n, a in one.items()}
    assert [path.name for path in folders(shop.histories)] == [report.history]
    people, its = (one_s_people(filled)(folders(each.histories)[-1]) for each in (shop, twin))
    assert people.raw.tobytes() == its.raw.tobytes() and people.after == its.after == (1, 2)
    assert people.of("c:ann").orders and people.of("c:bob") is None
    assert not [receipt for receipt, _ in erasure.receipts_in(filled, "erased")]


def _copy(shop, twin):
    import shutil
    import sqlite3

    twin.root.mkdir(parents=True)
    shutil.copy(shop.root / "secret.key", twin.root / "secret.key")
    if shop.decision_logs.exists():
        shutil.copytree(shop.decision_logs, twin.decision_logs)
    source, target = sqlite3.connect(shop.store), sqlite3.connect(twin.store)
    source.backup(target)
    source.close()
    target.close()


def _without_tokens(tables):
    import re

    return {
        table: sorted(re.sub("erased-[0-9a-f]+", "erased-X", row) for row in each) for table, each in tables.items()
    }


def test_two_syncs_at_once_are_one_too_many(shop, filled):
    """The second is told so and changes nothing."""

    def second(step):
        if step == "committed":
            with pytest.raises(DataError, match="another sync"):
                sync(shop, now=NOON + 50 * DAY)

    assert sync(shop, now=NOON + 50 * DAY, after_step=second).counts["events"] == 4


def test_events_that_arrive_during_a_sync_wait_for_the_next(shop, filled):
    """The history says how far it reaches, so that nothing falls between it and the store."""

    def meanwhile(step):
        if step in ("rows written", "committed"):
            filled.append_sync([event(f"during {step}", "bob")])

    sync(shop, now=NOON + 50 * DAY, after_step=meanwhile)
    assert len(rows(shop, "events")) == 4
    manifest = read_manifest(shop.histories / str(live_name(shop.histories)))
    newer = filled.events_of("bob", None, manifest["store_seq"])
    assert [each.event_id for each in newer] == ["during rows written", "during committed"]
    assert sync(shop, now=NOON + 51 * DAY).counts == {"events": 2}


def test_the_history_is_one_that_serving_can_map(shop, filled):
    """It is what the dataset gives, with the moment and the sequence number it stands for."""
    report = sync(shop, now=NOON + 50 * DAY)
    histories, manifest = open_history(shop.histories / report.history)
    assert live_name(shop.histories) == report.history
    assert (manifest["kind"], manifest["format"], manifest["store_seq"]) == ("history", 4, 4)
    assert (manifest["as_of"], manifest["dataset"]) == (NOON + 50 * DAY, report.import_id)
    assert list(histories.subjects) == ["c:ann", "c:bob"]
    assert len(histories.of("c:ann")) == 3  # the laptop's event before the sign-in is hers


def test_events_ahead_of_the_clock_are_in_the_history(shop, store):
    """A clock that runs ahead must not make an event vanish between store and history."""
    store.append_sync([event("ahead", at=NOON + 100)])
    report = sync(shop, now=NOON)
    assert len(open_history(shop.histories / report.history)[0].of("c:ann")) == 1


def test_two_histories_are_kept_and_the_store_drops_what_both_hold(shop, filled):
    """Workers may still read the one before; recent rows stay, so that a client's retry is a duplicate."""
    first = sync(shop, now=NOON + 50 * DAY)
    assert first.events_dropped == 0
    filled.append_sync([event("recent", "bob", at=NOON + 50 * DAY)])
    second = sync(shop, now=NOON + 50 * DAY)
    assert second.events_dropped == 4  # all that both reach, received more than a day ago
    filled.append_sync([event("newest", "bob", at=NOON + 50 * DAY)])
    third = sync(shop, now=NOON + 50 * DAY)
    assert {path.name for path in folders(shop.histories)} == {third.history, second.history}
    assert third.events_dropped == 0
    assert filled.append_sync([event("recent", "bob", at=NOON + 50 * DAY)]) == ["duplicate"]
    assert [each.event_id for each in filled.events_of("bob", None)] == ["recent", "newest"]
    assert len(rows(shop, "events")) == 6


def test_what_a_replica_left_that_nobody_follows_is_taken_in(shop, store):
    """Each replica of Kubernetes logs in a folder of its own; a sync sees them all, and touches none that lives."""
    logs = {name: DecisionLog(shop.decision_logs / name, "w") for name in ("gone", "quiet", "busy")}
    for number, (name, log) in enumerate(logs.items()):
        assert log.append([decision(number, customer_id="ann"), decision(10 + number, customer_id="bob")]), name
    logs["gone"].close()
    files = {name: next((shop.decision_logs / name).iterdir()) for name in logs}
    for name in ("gone", "quiet"):
        os.utime(files[name], (0, time.time() - LEFT_SECONDS - 9))
    receipt = erase(shop, store, "ann", now=NOON)
    report = sync(shop, now=NOON)
    assert (report.decisions_drained, report.receipts_completed) == (4, 1)
    assert {name for name, path in files.items() if path.exists()} == {"quiet", "busy"}  # the lock says who lives
    assert b'"ann"' not in files["quiet"].read_bytes()
    assert {row["decision_id"] for row in rows(shop, "decisions")} == {"d0", "d10", "d1", "d11"}
    assert "ann" not in {row["customer_id"] for row in rows(shop, "decisions")}
    assert erasure.receipt_by_id(store, receipt["receiptId"])["state"] == "complete"
    assert logs["quiet"].append([decision(21)])
    assert drain(shop.decision_logs / "quiet", store).added == 1
    for log in logs.values():
        log.close()


def test_a_retry_after_its_row_was_dropped_is_still_one_event(shop, filled):
    """The store has forgotten it; the dataset has not."""
    sync(shop, now=NOON + 50 * DAY)
    filled.append_sync([event("x", "bob", at=NOON + 50 * DAY)])
    sync(shop, now=NOON + 50 * DAY)
    assert filled.append_sync([event("e4", "bob", at=NOON + 40 * DAY)]) == ["accepted"]
    assert sync(shop, now=NOON + 52 * DAY).counts == {"events already there": 1}
    assert sum(row["event_id"] == "e4" for row in rows(shop, "events")) == 1


def test_links_outlive_the_events_that_made_them(shop, filled):
    """Whose a visitor's late events are must be known after the sign-in's row is gone."""
    for day in (50, 51, 52):
        filled.append_sync([event(f"x{day}", "bob", at=NOON + day * DAY)])
        sync(shop, now=NOON + day * DAY)
    assert filled.append_sync([event("late", None, visitor_id="laptop", at=NOON + 4)]) == ["accepted"]
    assert [each.event_id for each in filled.events_of("ann", None)] == ["late"]


def test_live_changes_of_items_become_one_row_each_and_stay_in_force(shop, store):
    """A thousand price changes do not slow the start; the last word on each field holds."""
    for n in range(20):
        store.put_items([("tea", {"price": float(n)}), ("mug", {"price": 1.0})], NOON + n)
    store.put_items([("tea", {"inStock": False})], NOON + 30)
    sync(shop, now=NOON + DAY)
    changes, last = store.item_changes(0)
    assert sorted(changes) == [("mug", {"price": 1.0}), ("tea", {"price": 19.0, "inStock": False})]
    assert last == 41
    store.put_items([("tea", {"price": 99.0})], NOON + 40)
    assert store.item_changes(last)[0] == [("tea", {"price": 99.0})]
    assert len(rows(shop, "items")) == 20 + 1 + 20


def test_a_new_store_under_an_old_dataset_is_synced_from_its_beginning(shop, filled):
    """Sequence numbers belong to one store file: a fresh one starts at one again and nothing of it is skipped."""
    sync(shop, now=NOON + 50 * DAY)
    filled.close()
    for path in shop.root.glob("store.db*"):
        path.unlink()
    fresh = Store.open(shop.store, shop.secret)
    fresh.append_sync([event("after the loss", "bob")])
    assert sync(shop, now=NOON + 51 * DAY).counts == {"events": 1}
    assert len(rows(shop, "events")) == 5
    fresh.close()


def test_a_damaged_history_is_made_anew(shop, filled):
    """Damage is noticed by its checksum, and the remedy that doctor names works."""
    report = sync(shop, now=NOON + 50 * DAY)
    path = shop.histories / report.history / "events.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    again = sync(shop, now=NOON + 50 * DAY)
    assert again.history_renewed and again.history != report.history
    open_history(shop.histories / again.history)


class TestErasedRows:
    def test_the_dataset_forgets_with_the_next_sync(self, shop, filled):
        """Events, profile and links go; decisions keep what was shown, how likely it was and what it brought."""
        sync(shop, now=NOON + 50 * DAY)
        receipt = erase(shop, filled, "ann", now=NOON + 50 * DAY)
        report = sync(shop, now=NOON + 51 * DAY)
        assert report.receipts_completed == 1
        assert report.counts == {
            "events erased": 3, "identities erased": 1, "customers erased": 1, "orders erased": 1,
            "decisions made anonymous": 1, "outcomes": 1,
        }  # fmt: skip
        assert [row["event_id"] for row in rows(shop, "events")] == ["e4"]
        assert rows(shop, "identities") == rows(shop, "customers") == []
        anonymous, kept = sorted(rows(shop, "decisions"), key=lambda row: row["decision_id"])
        assert anonymous["customer_id"].startswith("erased-")
        assert (anonymous["action_id"], anonymous["action_propensity"]) == ("offer", 0.5)
        assert (anonymous["features"], anonymous["vetoed"], anonymous["visitor_id"]) == (None, "[]", None)
        assert kept["customer_id"] == "bob" and kept["features"] is not None
        (outcome,) = rows(shop, "outcomes")
        assert (outcome["decision_id"], outcome["reward"], outcome["value"]) == ("d1", "purchase", 2.0 * 3.0)
        assert "'ann'" not in repr(contents(shop)) and "'laptop'" not in repr(contents(shop))
        assert read_receipt(filled, receipt["receiptId"])["state"] == "complete"
        assert list(histories_as_of(Dataset(shop.dataset)).subjects) == ["c:bob"]
        assert sync(shop, now=NOON + 52 * DAY).import_id is None

    def test_rewards_of_events_that_never_reached_the_dataset_are_kept(self, shop, filled):
        """Erased before the first sync: the decision's outcome is there, nothing else."""
        erase(shop, filled, "ann", now=NOON)
        sync(shop, now=NOON + 50 * DAY)
        assert [row["value"] for row in rows(shop, "outcomes")] == [6.0]
        assert [row["event_id"] for row in rows(shop, "events")] == ["e4"]
        assert {row["customer_id"][:7] for row in rows(shop, "decisions")} == {"erased-", "bob"}
        assert filled.database.query("SELECT count(*) FROM rewards") == [(0,)]

    def test_visitors_that_only_the_dataset_links_are_forgotten_too(self, shop, store, make_dataset):
        """The link came by import; the visitor's own events go with the customer's."""
        make_dataset(
            shop.dataset,
            events=[
                {"event_id": "later", "visitor_id": "tablet", "item_id": "tea", "type": "view", "at": "2020-01-05"},
                {"event_id": "hers", "customer_id": "ann", "item_id": "tea", "at": "2020-01-01"},
                {"event_id": "his", "customer_id": "bob", "visitor_id": "tablet", "item_id": "tea"},
            ],
            identities=[{"visitor_id": "tablet", "customer_id": "ann", "linked_at": "2020-01-02"}],
            orders=[{"order_id": "o", "customer_id": "ann"}, {"order_id": "p", "customer_id": "bob"}],
        )
        store.append_sync([event("stored", None, visitor_id="tablet")])
        erase(shop, store, "ann", now=NOON)
        sync(shop, now=NOON)
        assert [row["event_id"] for row in rows(shop, "events")] == ["his"]
        assert [row["order_id"] for row in rows(shop, "orders")] == ["p"]
        assert store.append_sync([event("tomorrow", None, visitor_id="tablet")]) == ["erased"]

    def test_an_erasure_during_a_sync_is_not_undone_by_it(self, shop, filled):
        """Wherever in the sync it falls: no history that serves holds the customer, and the next sync cleans up."""
        for number, moment in enumerate(("rows written", "committed", "history written")):
            who = f"racer-{number}"
            filled.append_sync([event(f"r{number}", who)])

            def race(step, moment=moment, who=who):
                if step == moment:
                    erase(shop, filled, who, now=NOON)

            report = sync(shop, now=NOON + 50 * DAY, after_step=race)
            histories, _ = open_history(shop.histories / report.history)
            assert len(histories.of(f"c:{who}")) == 0
            assert all(b"racer" not in path.read_bytes() for path in shop.histories.rglob("*.npy"))
        sync(shop, now=NOON + 51 * DAY)
        assert not [row for row in rows(shop, "events") if (row["customer_id"] or "").startswith("racer")]
        assert not erasure.receipts_in(filled, "erased")

    def test_quarantined_rows_of_the_erased_go_too(self, shop, store):
        """They were never understood, so the id is looked for in every column; other rows stay."""
        path = shop.dataset / "quarantine" / "import-1.parquet"
        path.parent.mkdir(parents=True)
        raw = [
            '{"who": "ann", "when": "yesterday-ish"}',
            '{"who": "annabel", "note": "for \\"ann\\"s sake"}',
            '"2020-01-01;ann;tea;-5"',
            '{"who": "bob", "amount": 12}',
            '{"nested": {"ids": ["x", "ann"]}}',
        ]
        table = pa.table(
            {"row_number": range(5), "reason": ["r"] * 5, "detail": [""] * 5, "raw": raw, "file": ["f"] * 5}
        )
        pq.write_table(table, path)
        sync(shop, now=NOON)
        assert len(pq.read_table(path)) == 5
        erase(shop, store, "ann", now=NOON)
        assert sync(shop, now=NOON).counts["quarantined rows erased"] == 4
        assert pq.read_table(path)["raw"].to_pylist() == [raw[3]]

    def test_what_only_looks_like_json_in_a_quarantined_row_keeps_no_erasure_back(self, shop, store):
        path = shop.dataset / "quarantine" / "import-1.parquet"
        path.parent.mkdir(parents=True)
        theirs = ['"C:\\users\\ann";2020', '"tea\tann";5', '"\\ud800";ann', '"C:\\data";"ann"', '"ann\\x"']
        others = ['"C:\\data";bob', '"tea\tannabel";5', '"\\ud800"', '"C:\\annabel"']
        pq.write_table(pa.table({"row_number": range(9), "raw": [*theirs[:2], *others, *theirs[2:]]}), path)
        receipt = erase(shop, store, "ann", now=NOON)
        report = sync(shop, now=NOON)
        assert (report.counts["quarantined rows erased"], report.receipts_completed) == (5, 1)
        assert pq.read_table(path)["raw"].to_pylist() == others
        assert erasure.receipt_by_id(store, receipt["receiptId"])["state"] == "complete"

    def test_reports_of_their_parcels_go_also_where_they_name_nobody(self, shop, store, make_dataset):
        """A carrier's export knows the order and not whose it is."""
        order = {"line": "1", "item_id": "tea", "shipment_state": "shipped", "valid_from": NOON}
        make_dataset(shop.dataset, orders=[{**order, "order_id": each, "customer_id": each} for each in ("ann", "bob")])
        track = [{**order, "order_id": each, "tracking_url": f"https://t/{each}"} for each in ("ann", "bob", "nobody")]
        make_dataset(shop.dataset, orders=[{**each, "valid_from": NOON + 1, "customer_id": None} for each in track])
        erase(shop, store, "ann", now=NOON)
        sync(shop, now=NOON + DAY)
        assert sorted(each["order_id"] for each in rows(shop, "orders")) == ["bob", "bob", "nobody"]

    def test_so_do_those_of_a_file_of_sends(self, shop, store, tmp_path):
        """Its refused rows have columns of their own."""
        path = tmp_path / "mails.csv"
        rows = "ann,d1,2024-01-01T00:00:00Z,sent\nbob,d2,2024-01-01T00:00:00Z,sent\n"
        path.write_text(f"customer_id,decision_id,sent_at,status\n{rows}")
        refused = take_sends(shop, path, now=NOON).quarantine
        erase(shop, store, "ann", now=NOON)
        assert sync(shop, now=NOON).counts["quarantined rows erased"] == 1
        assert pq.read_table(refused)["customer_id"].to_pylist() == ["bob"]
