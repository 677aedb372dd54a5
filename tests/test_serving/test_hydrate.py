"""Reading who asks: the quick reading finds what a thorough one does, up to the last acknowledged write."""

from __future__ import annotations

import itertools
import random
import sqlite3

import msgspec
import numpy as np
import pytest

from features.compiled import switched
from features.errors import BundleError
from features.history import FIELDS, Histories, History
from features.ids import Vocabulary
from features.moments import DAY, MICROSECOND
from features.order_reports import Report, lines_of
from features.orders import as_of
from features.text import UnitHash, unit_hash
from serving import histories, pipeline, wire
from serving import store_erasure as erasure
from serving import store_sql as sql
from serving.bundle import Bundle, text_arrays
from serving.clock import set_clock
from serving.engine import Engine
from serving.events import StoredEvent
from serving.fields import GUEST, composed, decode, plain
from serving.histories import open_history, publish_history, write_history
from serving.hydrate import hydrate
from serving.newer import NOTHING, Found, newer_of
from serving.person import Consents, Person, Project
from serving.subjects import subject_history
from serving.sync import sync
from serving.tombstones import token_of
from tests.test_serving.conftest import AS_OF, ITEMS

PEOPLE = [
    ("ann", None),
    ("bob", None),
    ("cleo", None),
    ("ann", "phone"),
    (None, "phone"),
    (None, "laptop"),
    (None, None),
]
YES, NO = {"granted": True, "at": "2020-01-01T00:00:00Z"}, {"granted": False, "at": "2020-01-02T00:00:00Z"}


# --- the same as before -----------------------------------------------------------------------------------------------


def thorough(engine: Engine, user_id, visitor_id, now: int) -> tuple[int, History, Consents, Person, tuple[int, ...]]:
    """Each table asked for by itself, whether there is anything in it or not: how requests were read before."""
    live, store = engine.live, engine.store
    history = subject_history(
        store, live.histories, user_id, visitor_id, after_seq=live.history_seq, items=live.bundle.items,
        translation=live.translation,
    )  # fmt: skip
    now = max(now, int(history.recorded.max(initial=0)), int(history.time.max(initial=0))) + MICROSECOND
    after = live.people.after if live.people else (0, 0)
    profile = live.people.of(f"c:{user_id}") if live.people and user_id is not None else None
    changes, reports = [] if profile is None else [profile.fields], [] if profile is None else [*profile.orders]
    if user_id is not None:
        changes += [decode(row) for row in store.customer_rows(user_id, after[0])]
        reports += store.reports_of(user_id, after[1])
    elif visitor_id is not None:
        changes += [decode(row) for row in store.visitor_rows(visitor_id)]
    fields = plain(composed(changes))
    consents = Consents(fields.get("consents", {}), frozenset(live.config.consent.assumed))
    person = Person(
        **{name: fields.get(key) for name, key in {
            "name": "name", "region": "region", "postal_prefix": "postalPrefix", "time_zone": "timeZone",
            "tier": "tier",
        }.items()},
        points=float(fields["points"]) if "points" in fields else None,
        **{name: fields.get(name, {}) for name in ("attributes", "answers", "asked", "shown")},
        channels=tuple(fields["channels"]) if "channels" in fields else None,
        orders=as_of(lines_of(reports), now), projects=msgspec.convert(fields.get("projects", ()), tuple[Project, ...]),
    )  # fmt: skip
    if person.name is None and "name" in person.answers:
        person = msgspec.structs.replace(person, name=person.answers["name"])
    return now, history.as_of(now), consents, person, live.windows.barred(history, person.orders, now)


def lived(r: random.Random, engine: Engine, since: int) -> None:
    """What may be told and done in a while: events, sign-ins, fields, consents, orders, of some and not of others."""
    store = engine.store
    for n in range(r.randrange(12)):
        at, kind = since + n, r.choice(["view", "purchase", "return", "wishlist", "sign_in", "sign_out"])
        visitor = r.choice(["laptop", "phone", None])
        customer = r.choice(["ann", "bob"] if visitor is None or kind == "sign_in" else ["ann", "bob", None, None])
        store.append_sync([StoredEvent(
            event_id=f"e{since}-{n}", occurred_at=at - r.choice([0, 0, 5]), recorded_at=at, type=kind,
            item_id=r.choice(ITEMS), customer_id=customer, visitor_id=visitor if kind != "sign_out" else "phone",
        )])  # fmt: skip
    for n in range(r.randrange(5)):
        told = r.choice([
            {"tier": "gold", "points": 3}, {"tier": None, "timeZone": "Asia/Tokyo"}, {"attributes": {"size": n}},
            {"answers": {"name": "Ann", "pet": None}}, {"consents": {"personalization": r.choice([YES, NO])}},
            {"channels": ["email"], "asked": {"pet": since}},
            {"projects": [{"kind": "room", "since": since}], "shown": {"pet": since}},
        ])  # fmt: skip
        if r.random() < 0.5:
            store.put_customer(r.choice(["ann", "bob"]), told, since + n)
        else:
            store.put_visitor(r.choice(["laptop", "phone"]), told, since + n)
    for n in range(r.randrange(3)):
        state = r.choice(["confirmed", "shipped", "delivered", "cancelled"])
        made = Report(order_id=f"o{n}", line="1", at=since + n, item_id=r.choice(ITEMS), state=state)
        store.put_orders([(("ann", "bob")[n % 2], made)], since + n)


def alike(one: History, other: History) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name), equal_nan=name == "value") for name in FIELDS)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("synced", [False, True])
def test_what_is_read_is_what_a_thorough_look_finds(toy_engine, seed, synced):
    """Of everybody, whatever was told and done before the last sync and since: history, consents, person, rests."""
    r = random.Random(seed)
    lived(r, toy_engine, AS_OF)
    if synced:
        sync(toy_engine.shop, now=AS_OF + DAY)
        toy_engine.refresh()
        lived(r, toy_engine, AS_OF + 2 * DAY)
    live, refused = toy_engine.live, 0
    for (user_id, visitor_id), now in itertools.product(PEOPLE, (AS_OF + 3 * DAY, AS_OF - 1)):
        then, history, consents, person, barred = thorough(toy_engine, user_id, visitor_id, now)
        assert alike(toy_engine.history_of(live, user_id, visitor_id), history)
        assert toy_engine.consents_of(live, user_id, visitor_id) == consents
        assert toy_engine.person_of(live, user_id, visitor_id, then) == person
        query, _ = hydrate(toy_engine, live, wire.RecommendationsRequest(user_id=user_id, visitor_id=visitor_id), now)
        assert query.consents == consents
        if query.personal:
            assert alike(query.history, history)
            assert (query.now, query.person, query.barred) == (then, person, barred)
        else:
            refused += 1
            assert not len(query.history) and query.person == Person() and query.user_id is query.visitor_id is None
    assert refused < 2 * len(PEOPLE)


def test_what_was_agreed_to_before_the_sync_and_taken_back_since_is_no(toy_engine):
    """And what was agreed to since is yes, beside what was before."""
    toy_engine.store.put_customer("ann", {"consents": {"personalization": YES, "training": YES}}, AS_OF)
    sync(toy_engine.shop, now=AS_OF + DAY)
    toy_engine.refresh()
    live = toy_engine.live
    assert toy_engine.consents_of(live, "ann", None).to("personalization")
    toy_engine.store.put_customer("ann", {"consents": {"personalization": NO, "marketing": YES}}, AS_OF + DAY)
    told = toy_engine.consents_of(live, "ann", None)
    assert [told.to(purpose) for purpose in ("personalization", "training", "marketing")] == [False, True, True]
    assert not hydrate(toy_engine, live, wire.RecommendationsRequest(user_id="ann"), AS_OF + DAY)[0].personal


def test_of_whom_nothing_was_told_since_the_store_is_not_asked(toy_engine, monkeypatch):
    """After a sync one statement tells who has news: nobody. A word or an event more costs what it needs."""
    toy_engine.store.put_customer("ann", {"tier": "gold", "consents": {"personalization": YES}}, AS_OF)
    view = StoredEvent(event_id="e", occurred_at=AS_OF, recorded_at=AS_OF, type="view", item_id="a0", customer_id="ann")
    toy_engine.store.append_sync([view])
    sync(toy_engine.shop, now=AS_OF + DAY)
    toy_engine.refresh()
    asked, query = [], toy_engine.store.database.query
    monkeypatch.setattr(toy_engine.store.database, "query", lambda *given: asked.append(given[0]) or query(*given))
    read, _ = hydrate(toy_engine, toy_engine.live, wire.RecommendationsRequest(user_id="ann"), AS_OF + DAY)
    assert (read.history.item.tolist(), read.person.tier, asked) == ([0], "gold", [sql.NEWS])
    asked.clear()
    assert hydrate(toy_engine, toy_engine.live, wire.RecommendationsRequest(user_id="ann"), AS_OF + DAY)[0].personal
    assert asked == []
    toy_engine.store.append_sync([msgspec.structs.replace(view, event_id="f")])
    asked.clear()
    read, _ = hydrate(toy_engine, toy_engine.live, wire.RecommendationsRequest(user_id="ann"), AS_OF + DAY)
    assert (read.history.item.tolist(), asked) == ([0, 0], [sql.NEWS, sql.NEWER_OF_CUSTOMER, sql.EVENTS_OF_CUSTOMER])


# --- consent comes first ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "values"),
    [(sql.NEWER_OF_CUSTOMER, ("a", 0, 0, 0)), (sql.NEWER_OF_VISITOR, ("a", 0)), (sql.NEWS, (0, 0, 0, 9))],
)
def test_the_look_that_brings_consents_reads_nothing_else_of_anybody(toy_engine, statement, values):
    """SQLite itself tells which columns a statement touches: of events, orders and links only whose they are, and
    whether a link is settled.

    News also looks when rows were received: by that it knows the last one again, and keeps a number made of it.
    """
    touched: dict[str, set[str]] = {}

    def note(action, table, column, *_):
        if action == sqlite3.SQLITE_READ:
            touched.setdefault(table, set()).add(column)
        return sqlite3.SQLITE_OK

    connection = sqlite3.connect(toy_engine.shop.store)
    connection.set_authorizer(note)
    connection.execute(statement, values).fetchall()
    connection.close()
    received = {"recorded_at", "changed_at"} if statement == sql.NEWS else set()
    mine = touched.pop("customers", None) or touched.pop("visitors")
    assert mine <= {"customer_id", "visitor_id", "change", "payload"} | received
    touched.get("links", set()).discard("settled")
    assert touched and set().union(*touched.values()) <= {"customer_id", "visitor_id", "seq", "change"} | received


def test_who_refuses_is_read_no_further(toy_engine, monkeypatch):
    toy_engine.store.put_customer("ann", {"consents": {"personalization": NO}}, AS_OF)
    view = StoredEvent(event_id="e", occurred_at=AS_OF, recorded_at=AS_OF, type="view", item_id="a0", customer_id="ann")
    toy_engine.store.append_sync([view])
    asked, query = [], toy_engine.store.database.query
    monkeypatch.setattr(toy_engine.store.database, "query", lambda *given: asked.append(given[0]) or query(*given))
    read, _ = hydrate(toy_engine, toy_engine.live, wire.RecommendationsRequest(user_id="ann"), AS_OF)
    assert (read.personal, len(read.history), asked) == (False, 0, [sql.NEWS, sql.NEWER_OF_CUSTOMER])


def test_who_is_being_erased_is_somebody_of_whom_nothing_is_known(toy_engine, monkeypatch):
    """Between the events and the id, which goes last: no event of a kind or an item, no field, no consent."""
    toy_engine.store.put_customer("ann", {"tier": "gold", "consents": {"personalization": YES}}, AS_OF)
    bought = [StoredEvent(
        event_id=f"e{n}", occurred_at=AS_OF, recorded_at=AS_OF, type="purchase", item_id=f"a{n}", customer_id="ann",
    ) for n in range(3)]  # fmt: skip
    toy_engine.store.append_sync(bought)
    sync(toy_engine.shop, now=AS_OF + DAY)
    toy_engine.refresh()
    ask = wire.RecommendationsRequest(user_id="ann", num_results=4)
    assert len(hydrate(toy_engine, toy_engine.live, ask, AS_OF + DAY)[0].history.item) == 3
    monkeypatch.setattr(histories, "_blank_id", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        histories.overwrite(toy_engine.shop.histories / toy_engine.live.history_name, ["c:ann"])
    read, _ = hydrate(toy_engine, toy_engine.live, ask, AS_OF + DAY)
    assert (set(read.history.item.tolist()), set(read.history.type.tolist())) == ({-1}, {0})
    assert (read.person, read.consents.told, read.now) == (Person(), {}, AS_OF + DAY + MICROSECOND)
    answers = [
        pipeline.recommend(toy_engine, wire.RecommendationsRequest(user_id=who, num_results=4), AS_OF + DAY)
        for who in ("ann", "nobody")
    ]
    mine, theirs = ([each["itemId"] for each in answer["itemList"]] for answer in answers)
    assert mine == theirs and len(mine) == 4


# --- freshness --------------------------------------------------------------------------------------------------------


@pytest.fixture
def workers(toy_shop):
    """Two workers of one shop: each has a store, a bundle and a history of its own."""
    set_clock(toy_shop, AS_OF)
    both = [Engine(toy_shop, worker=name) for name in ("one", "two")]
    yield both
    for each in both:
        each.close()


def test_what_one_worker_acknowledged_the_other_s_next_request_sees(workers):
    """An event, a sign-in, a word, an order, a consent taken back and an erasure; the other had asked before each."""
    one, two = workers
    live = two.live

    def seen(user_id="ann"):
        return hydrate(two, live, wire.RecommendationsRequest(user_id=user_id), AS_OF)[0]

    def done(event_id, kind, **who):
        made = {"occurred_at": AS_OF, "recorded_at": AS_OF, "type": kind, "item_id": "a0", **who}
        assert one.store.append_sync([StoredEvent(event_id=event_id, **made)]) == ["accepted"]

    assert len(seen().history) == 0
    done("1", "view", customer_id="ann")
    assert len(seen().history) == 1
    done("2", "view", visitor_id="phone")
    assert len(seen().history) == 1
    done("3", "sign_in", customer_id="ann", visitor_id="phone", item_id=None)
    assert len(seen().history) == 3
    one.store.put_customer("ann", {"tier": "gold"}, AS_OF)
    assert seen().person.tier == "gold"
    assert one.store.put_orders([("ann", Report(order_id="o", line="1", at=AS_OF - 1, item_id="b1"))], AS_OF) == [
        "accepted"
    ]
    assert [line.order_id for line in seen().person.orders] == ["o"]
    one.store.put_customer("ann", {"consents": {"personalization": NO}}, AS_OF)
    assert not seen().personal
    one.store.put_customer("ann", {"consents": {"personalization": YES}}, AS_OF)
    assert seen().personal and len(seen().history) == 3
    erasure.bury(one.store, [token_of(one.shop.secret, "c:ann")], AS_OF)
    erasure.forget(one.store, "ann", ["phone"])
    assert not len(seen().history) and seen().person == Person()


def test_an_event_of_another_worker_changes_the_next_list(workers):
    one, two = workers
    asked = wire.RecommendationsRequest(user_id="ann", num_results=3)
    assert pipeline.recommend(two, asked, AS_OF)["itemList"][0]["source"] == "popularity"
    made = StoredEvent(
        event_id="1", occurred_at=AS_OF, recorded_at=AS_OF, type="purchase", item_id="b2", customer_id="ann"
    )
    one.store.append_sync([made])
    first = pipeline.recommend(two, asked, AS_OF)["itemList"][0]
    assert (first["itemId"], first["source"]) == ("b2", "personal-frequency")


# --- parts of it ------------------------------------------------------------------------------------------------------


def test_nobody_is_nothing(toy_engine):
    assert newer_of(toy_engine.store.database, None, None, toy_engine.live.reach) is NOTHING
    assert toy_engine.find(toy_engine.live, None, None) == Found()


def before_plain(change):
    own = {name: value for name, value in change.items() if name != GUEST}
    said = composed([change.get(GUEST) or {}, own])
    return {
        name: {key: each for key, each in value.items() if each is not None} if isinstance(value, dict) else value
        for name, value in said.items() if value is not None
    }  # fmt: skip


@pytest.mark.parametrize("change", [
    {}, {"tier": None, "name": "A"}, {"answers": {"a": None, "b": 1}}, {GUEST: None, "tier": "x"},
    {GUEST: {"answers": {"a": 1, "c": None}, "tier": "guest"}, "answers": {"a": 2}},
])  # fmt: skip
def test_fields_without_a_guest_need_no_composing(change):
    assert plain(change) == before_plain(change)


def test_a_hash_that_was_begun_is_the_whole_one():
    for parts in ((), ("a",), ("a", "名前"), ("\ud800", "")):
        assert UnitHash("holdout", "shop")(*parts) == unit_hash("holdout", "shop", *parts)


@pytest.mark.parametrize("kernels", [True, False])
def test_a_slice_is_read_with_its_items_moved(toy_shop, toy_bundle, history_of, kernels):
    """As if it was mapped and moved: items that are none, items that the other vocabulary lacks, no events at all."""
    past = history_of(("view", "a0", 3), ("purchase", "b1", 2), ("view", "b3", 1))
    past = msgspec.structs.replace(past, item=np.array([0, -1, 7], np.int32))
    mapped = Histories(Vocabulary.of(["c:ann", "c:bob"]), toy_bundle.items, np.array([0, 3, 3]), past)
    name = write_history(toy_shop.histories, mapped, [], {"store_id": "s", "store_seq": 0, "as_of": 1, "dataset": None})
    publish_history(toy_shop.histories, name)
    moved = np.array([3, 2, 1, 0, -1, 5, 6, -1], np.int32)
    with switched(kernels):
        read, _ = open_history(toy_shop.histories / name)
        for translation in (None, moved, np.empty(0, np.int32)):
            found = past if translation is None else past.with_items(translation)
            assert alike(read.at(0, translation), found) and alike(mapped.at(0, translation), found)
            assert all(getattr(read.at(0, translation), each).dtype == getattr(found, each).dtype for each in FIELDS)
            assert len(read.at(1, translation)) == 0
        assert read.at(0, moved).item.tolist() == [3, -1, -1]
        with pytest.raises(BundleError, match="ends too early"):
            read.read(1, 9, moved)


@pytest.mark.parametrize("kernels", [True, False])
def test_the_ids_and_texts_of_a_list_are_those_of_its_rows(make_toy_bundle, kernels, monkeypatch):
    """Of any characters and length; a row that is none is no item."""
    plain_one = make_toy_bundle()
    names = ["a", "item-2", "名前", "x" * 20_000, "é", "\n", "a\0b", "\ud800"]
    titles = ["", "名前", "x" * 20_000, "two\nlines", "é", " ", "", "h"]
    new = {**Vocabulary.of(names).arrays("items"), **text_arrays("title", titles)}
    strange = Bundle(plain_one.manifest, {**plain_one.arrays, **new})
    with switched(kernels):
        for bundle, ids in ((plain_one, ITEMS), (strange, names)):
            for rows in ([], [0], [2], [4, 0, 2], [7, 0, 3], [1, 1], [6, 0], list(range(8)), [0, 1, 6, 2]):
                assert bundle.ids_of(np.array(rows, np.int32)) == [ids[row] for row in rows]
                assert bundle.texts("title", np.array(rows, np.int32)) == [bundle.text("title", row) for row in rows]
            for wrong in (-1, 8, 1000):
                with pytest.raises(IndexError):
                    bundle.ids_of(np.array([0, wrong], np.int32))
        assert strange.texts("title", np.arange(8, dtype=np.int32)) == titles
