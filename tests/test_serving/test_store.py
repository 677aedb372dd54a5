"""The store's contract, the same for every database; and properties that hold for any order of writes."""

from __future__ import annotations

import asyncio
import random
import tempfile
import threading
from pathlib import Path

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import DataError, Unavailable
from features.order_reports import Report
from serving import store_erasure as erasure
from serving import store_sessions as sessions
from serving import store_sql as sql
from serving import store_upkeep as upkeep
from serving.events import StoredEvent
from serving.newer import NOTHING, Newer, Reach, newer_of
from serving.store import Store
from serving.store_latest import latest_recorded
from serving.tombstones import token_of

SECRET = b"s" * 32
NOON = 1_500_000_000_000_000


def event(event_id="e1", customer_id="ann", *, at=NOON, type="view", item_id="tea", **fields):
    fields = {"recorded_at": at, **fields}
    return StoredEvent(event_id=event_id, occurred_at=at, type=type, customer_id=customer_id, item_id=item_id, **fields)


def ids(events):
    return [each.event_id for each in events]


def open_sqlite(folder: Path, request=None) -> Store:
    return Store.open(folder / "store.db", SECRET)


def open_postgres(folder: Path, request) -> Store:
    server = request.getfixturevalue("postgres")
    from serving.postgres import PostgresDatabase  # the driver is an extra

    return Store(PostgresDatabase(server.url, server.shop_id(folder), sql.STEPS), SECRET)


FACTORIES = {"sqlite": open_sqlite, "postgres": open_postgres}
"""Each opens the store that lies in a folder; a further database is one more line here."""


@pytest.fixture(params=FACTORIES.values(), ids=FACTORIES.keys())
def open_again(request, tmp_path):
    """Opens the same store once more."""
    opened = []

    def once_more():
        opened.append(request.param(tmp_path, request))
        return opened[-1]

    yield once_more
    for store in opened:
        store.close()


@pytest.fixture
def store(open_again):
    return open_again()


class TestEvents:
    def test_an_appended_event_is_read_back_as_it_was(self, store):
        full = event(
            visitor_id="v1", session_id="s1", quantity=2.0, unit_price=3.5, discount=0.5, coupon="c", order_id="o",
            line="1", channel="web", decision_id="d", traffic_source="mail", referrer="r", device="phone",
            region="東京", attributes={"gift": True, "deep": {"list": [1, 2.5, None]}},
        )  # fmt: skip
        assert store.append_sync([full]) == ["accepted"]
        assert store.events_of("ann", None) == [full]

    def test_async_and_sync_appends_are_the_same(self, store):
        assert asyncio.run(store.append([event("e1"), event("e2")])) == ["accepted", "accepted"]
        assert store.append_sync([event("e2"), event("e3")]) == ["duplicate", "accepted"]
        assert ids(store.events_of("ann", None)) == ["e1", "e2", "e3"]

    def test_sending_an_event_again_changes_nothing(self, store):
        first = event(recorded_at=NOON + 5)
        later = event(recorded_at=NOON + 9)
        assert store.append_sync([first]) == ["accepted"]
        assert store.append_sync([later, later]) == ["duplicate", "duplicate"]
        assert store.events_of("ann", None) == [first]

    def test_a_retry_of_an_event_whose_time_the_shop_stamped_is_a_duplicate(self, store):
        assert store.append_sync([event(at=NOON)]) == ["accepted"]
        assert store.append_sync([event(at=NOON + 7_000_000)]) == ["duplicate"]

    @pytest.mark.parametrize(
        "other",
        [{"item_id": "coffee"}, {"customer_id": "bob"}, {"type": "cart"}, {"quantity": 3.0}, {"attributes": {"a": 1}}],
    )
    def test_the_same_id_with_other_content_is_a_collision_and_the_first_stands(self, store, other):
        assert store.append_sync([event()]) == ["accepted"]
        assert store.append_sync([event(**other)]) == ["collision"]
        assert store.events_of("ann", None) == [event()]

    def test_another_time_named_by_the_client_is_a_collision(self, store):
        assert store.append_sync([event(at=NOON, recorded_at=NOON + 1)]) == ["accepted"]
        assert store.append_sync([event(at=NOON + 2, recorded_at=NOON + 9)]) == ["collision"]

    def test_duplicates_and_collisions_are_seen_within_one_batch(self, store):
        outcomes = store.append_sync([event(), event(), event(item_id="coffee"), event("e2")])
        assert outcomes == ["accepted", "duplicate", "collision", "accepted"]

    def test_reads_come_in_the_order_of_storing_and_after_a_sequence_number(self, store):
        store.append_sync([event("late", at=NOON + 9), event("early", at=NOON)])
        before = store.last_seq()
        store.append_sync([event("third", at=NOON - 9)])
        assert ids(store.events_of("ann", None)) == ["late", "early", "third"]
        assert ids(store.events_of("ann", None, before)) == ["third"]
        assert store.last_seq() == before + 1

    def test_nobody_else_s_events_are_read(self, store):
        store.append_sync([event("a", "ann"), event("b", "bob"), event("v", None, visitor_id="ann")])
        assert ids(store.events_of("ann", None)) == ["a"]
        assert ids(store.events_of(None, "ann")) == ["v"]
        assert store.events_of("nobody", None) == store.events_of(None, None) == []

    @pytest.mark.parametrize("strange", ["'; DROP TABLE events; --", "a\x00b", "é́", "🛒" * 100, "%", "_", " "])
    def test_any_id_is_only_an_id(self, store, strange):
        assert store.append_sync([event(strange, strange, item_id=strange, visitor_id=strange)]) == ["accepted"]
        assert ids(store.events_of(strange, None)) == [strange]
        assert store.events_of(strange[:-1] + "x", None) == []

    def test_half_a_surrogate_pair_is_refused_in_writing_and_unknown_in_reading(self, store):
        with pytest.raises(DataError, match="cannot be written as JSON"):
            store.append_sync([event("e\ud800")])
        assert store.events_of("\ud800", None) == []

    def test_a_bad_event_refuses_its_call_and_no_other(self, store):
        async def both():
            bad = store.append([event("good-1"), event("bad", at=2**70)])
            good = store.append([event("good-2")])
            return await asyncio.gather(bad, good, return_exceptions=True)

        bad, good = asyncio.run(both())
        assert isinstance(bad, DataError)
        assert good == ["accepted"]
        assert ids(store.events_of("ann", None)) == ["good-2"]

    def test_numbers_that_are_none_are_stored_as_not_given(self, store):
        assert store.append_sync([event(unit_price=float("nan"))]) == ["accepted"]
        assert store.events_of("ann", None)[0].unit_price is None

    def test_an_empty_append_is_an_empty_answer(self, store):
        assert asyncio.run(store.append([])) == store.append_sync([]) == []

    def test_many_callers_at_once_all_get_their_own_outcomes(self, store):
        async def callers():
            calls = [store.append([event(f"{n}-{k}", f"c{n}") for k in range(3)]) for n in range(50)]
            return await asyncio.gather(*calls, store.append([event("0-0", "c0")]))

        outcomes = asyncio.run(callers())
        assert sorted(outcome for each in outcomes for outcome in each) == ["accepted"] * 150 + ["duplicate"]
        assert all(len(store.events_of(f"c{n}", None)) == 3 for n in range(50))

    def test_a_caller_who_gave_up_does_not_disturb_the_others(self, store):
        async def one_leaves():
            leaving = asyncio.create_task(store.append([event("left")]))
            staying = asyncio.create_task(store.append([event("stayed")]))
            await asyncio.sleep(0)
            leaving.cancel()
            return await staying

        assert asyncio.run(one_leaves()) == ["accepted"]
        assert "stayed" in ids(store.events_of("ann", None))

    def test_another_process_s_writes_are_seen_at_once(self, store, open_again):
        other = open_again()
        store.append_sync([event("e1")])
        assert ids(other.events_of("ann", None)) == ["e1"]
        other.append_sync([event("e2")])
        assert ids(store.events_of("ann", None)) == ["e1", "e2"]
        assert store.append_sync([event("e2")]) == ["duplicate"]

    def test_what_was_stored_is_there_after_opening_again(self, store, open_again):
        store.append_sync([event()])
        store.close()
        assert ids(open_again().events_of("ann", None)) == ["e1"]

    def test_threads_read_while_others_write(self, store):
        stop, failures = threading.Event(), []

        def read():
            while not stop.is_set():
                found = ids(store.events_of("ann", None))
                if found != [f"e{n}" for n in range(len(found))]:
                    failures.append(found)

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for n in range(40):
            store.append_sync([event(f"e{n}")])
        stop.set()
        for reader in readers:
            reader.join()
        assert not failures

    def test_a_closed_store_says_so(self, store):
        store.close()
        with pytest.raises(Unavailable):
            store.events_of("ann", None)
        with pytest.raises(Unavailable):
            asyncio.run(store.append([event()]))


class TestLatest:
    """When the shop last heard of anything."""

    def test_it_stays_known_when_a_sync_has_dropped_the_last_event(self, store, open_again):
        assert latest_recorded(store) is None
        store.append_sync([event("1", at=NOON, recorded_at=NOON + 2), event("2", at=NOON, recorded_at=NOON + 5)])
        assert latest_recorded(store) == NOON + 5
        assert upkeep.drop_events(store, up_to=2, before=NOON + 9) == 2
        assert upkeep.drop_events(store, up_to=2, before=NOON + 9) == 0
        assert latest_recorded(store) == latest_recorded(open_again()) == NOON + 5
        store.append_sync([event("3", recorded_at=NOON + 7)])
        assert latest_recorded(store) == NOON + 7

    def test_it_stays_known_when_who_did_it_is_erased_and_is_all_that_does(self, store):
        store.append_sync([event("1", "bob", recorded_at=NOON + 1), event("2", "ann", recorded_at=NOON + 5)])
        erasure.forget(store, "ann", [])
        assert latest_recorded(store) == NOON + 5
        assert upkeep.drop_events(store, up_to=2, before=NOON + 9) == 1
        assert latest_recorded(store) == NOON + 5
        notes = dict(store.database.query("SELECT name, value FROM meta"))
        assert notes.keys() == {"store_id", "latest_event"} and notes["latest_event"] == f"2 {NOON + 5}"

    def test_the_latest_is_the_one_that_came_last_whatever_a_wrong_clock_said(self, store):
        store.append_sync([event("1", recorded_at=NOON + 10**15)])
        upkeep.drop_events(store, up_to=1, before=2 * NOON)
        store.append_sync([event("2", recorded_at=NOON)])
        assert latest_recorded(store) == NOON
        upkeep.drop_events(store, up_to=2, before=2 * NOON)
        assert latest_recorded(store) == NOON


class TestLinks:
    def visit(self, store, *steps):
        """Steps of one visitor: (id, customer or None, type, minute)."""
        for event_id, customer, kind, minute in steps:
            made = event(event_id, customer, type=kind, at=NOON + minute, visitor_id="v", recorded_at=NOON + 999)
            assert store.append_sync([made]) == ["accepted"]

    def test_anonymous_events_become_the_customer_s_with_the_sign_in(self, store):
        self.visit(store, ("before", None, "view", 1))
        assert ids(store.events_of(None, "v")) == ["before"]
        self.visit(store, ("in", "ann", "sign_in", 2), ("after", None, "view", 3))
        assert ids(store.events_of("ann", None)) == ["before", "in"]
        assert ids(store.events_of(None, "v")) == ["after"]
        assert store.links_of("ann") == ["v"]

    def test_an_event_at_the_moment_of_the_sign_in_is_before_it(self, store):
        self.visit(store, ("same", None, "view", 2), ("in", "ann", "sign_in", 2))
        assert ids(store.events_of("ann", None)) == ["same", "in"]

    def test_a_sign_out_keeps_what_was_before_it_from_the_next_customer(self, store):
        self.visit(store, ("x", None, "view", 1), ("out", None, "sign_out", 2), ("y", None, "view", 3))
        self.visit(store, ("in", "bob", "sign_in", 4))
        assert ids(store.events_of("bob", None)) == ["y", "in"]
        assert ids(store.events_of(None, "v")) == ["x", "out"]

    def test_an_event_that_arrives_late_still_finds_its_owner(self, store):
        self.visit(store, ("in", "ann", "sign_in", 5))
        after = store.last_seq()
        self.visit(store, ("late", None, "view", 3))
        assert ids(store.events_of("ann", None, after)) == ["late"]
        assert store.events_of(None, "v", after) == []

    def test_two_customers_of_one_device_each_get_their_own(self, store):
        self.visit(store, ("x", None, "view", 1), ("a", "ann", "sign_in", 2))
        self.visit(store, ("y", None, "view", 3), ("b", "bob", "sign_in", 4))
        assert ids(store.events_of("ann", None)) == ["x", "a"]
        assert ids(store.events_of("bob", None)) == ["y", "b"]

    def test_claims_name_the_span_that_a_later_sign_in_takes(self, store):
        self.visit(store, ("a", "ann", "sign_in", 2), ("out", None, "sign_out", 3))
        after = store.last_seq()
        self.visit(store, ("b", "bob", "sign_in", 7))
        (claim,) = store.claims_on("v", after)
        assert (claim.visitor_id, claim.customer_id, claim.after, claim.until) == ("v", "bob", NOON + 3, NOON + 7)
        assert (store.links_of("bob", after), store.links_of("ann", after)) == (["v"], [])

    def test_of_two_sign_ins_at_one_instant_the_smaller_id_counts(self, store):
        self.visit(store, ("x", None, "view", 1), ("b", "bob", "sign_in", 2), ("a", "ann", "sign_in", 2))
        assert ids(store.events_of("ann", None)) == ["x", "a"]
        assert ids(store.events_of("bob", None)) == ["b"]


class TestItemsAndCustomers:
    def test_item_changes_come_oldest_first_and_once(self, store):
        assert store.item_changes(0) == ([], 0)
        store.put_items([("tea", {"price": 2.0})], NOON)
        changes, last = store.item_changes(0)
        assert changes == [("tea", {"price": 2.0})]
        store.put_items([("tea", {"inStock": False}), ("mug", {"title": "湯のみ"})], NOON + 1)
        changes, newest = store.item_changes(last)
        assert changes == [("tea", {"inStock": False}), ("mug", {"title": "湯のみ"})]
        assert store.item_changes(newest) == ([], newest)

    def test_a_customer_s_answers_are_merged_key_by_key(self, store):
        assert store.read_customer("ann") is None
        assert store.put_customer("ann", {"region": "north", "answers": {"pet": "dog", "tea": "green"}}, NOON)
        assert store.put_customer("ann", {"answers": {"pet": "cat"}, "tier": "gold"}, NOON + 1)
        expected = {"region": "north", "answers": {"pet": "cat", "tea": "green"}, "tier": "gold"}
        assert store.read_customer("ann") == expected

    def test_fields_that_are_no_json_are_refused(self, store):
        for bad in (object(), "\ud800", 10**40):
            with pytest.raises(DataError):
                store.put_items([("tea", {"price": bad})], NOON)
            with pytest.raises(DataError):
                store.put_customer("ann", {"points": bad}, NOON)
            with pytest.raises(DataError):
                store.put_visitor("v", {"points": bad}, NOON)
        assert store.item_changes(0) == ([], 0)
        assert store.read_customer("ann") is store.read_visitor("v") is None


class TestPeople:
    def report(self, at=NOON, state="shipped", order_id="o", **fields):
        return Report(order_id=order_id, line="1", at=at, item_id="tea", state=state, **fields)

    def test_a_visitor_s_fields_are_merged_key_by_key_and_none_forgets(self, store):
        assert store.read_visitor("v") is None
        store.put_visitor("v", {"name": "Ann", "answers": {"pet": "dog"}}, NOON)
        store.put_visitor("v", {"name": None, "answers": {"tea": "green"}}, NOON + 1)
        assert store.read_visitor("v") == {"answers": {"pet": "dog", "tea": "green"}}
        assert store.read_customer("v") is None

    def test_what_a_visitor_tells_again_is_not_stored_again(self, store):
        for _ in range(3):
            assert store.put_visitor("v", {"answers": {"pet": "dog"}}, NOON)
        assert len(store.visitor_rows("v")) == 1

    def test_changes_are_read_after_a_number(self, store):
        store.put_customer("ann", {"tier": "gold"}, NOON)
        store.put_orders([("ann", self.report()), ("bob", self.report(order_id="p"))], NOON)
        store.put_customer("ann", {"tier": "silver"}, NOON)
        store.put_orders([("ann", self.report(NOON + 1, "delivered"))], NOON)
        assert [orjson.loads(row) for row in store.customer_rows("ann")] == [{"tier": "gold"}, {"tier": "silver"}]
        assert [report.state for report in store.reports_of("ann")] == ["shipped", "delivered"]
        assert [orjson.loads(row) for row in store.customer_rows("ann", 1)] == [{"tier": "silver"}]
        assert [report.state for report in store.reports_of("ann", 1)] == ["delivered"]
        assert [step.state for step in store.orders_of("ann")[0].steps] == ["shipped", "delivered"]
        assert [step.state for step in store.orders_of("ann", after=1)[0].steps] == ["delivered"]
        assert store.reports_of("nobody") == store.customer_rows("nobody") == [] and store.orders_of("nobody") == ()

    def test_a_line_reported_twice_with_the_same_content_is_one_step(self, store):
        once = self.report()
        assert store.put_orders([("ann", once), ("ann", once)], NOON) == ["accepted", "duplicate"]
        stamped = self.report(NOON + 9, stamped=True)
        later = self.report(NOON + 9)
        assert store.put_orders([("ann", stamped), ("ann", later)], NOON + 9) == ["duplicate", "accepted"]
        assert store.put_orders([("bob", self.report(NOON + 10))], NOON + 10) == ["collision"]
        assert len(store.orders_of("ann")[0].steps) == 1 and store.orders_of("bob") == ()

    def test_orders_are_seen_by_another_process_and_after_opening_again(self, store, open_again):
        store.put_orders([("ann", self.report())], NOON)
        store.put_visitor("v", {"tier": "x"}, NOON)
        other = open_again()
        assert other.orders_of("ann") == store.orders_of("ann") != ()
        assert other.read_visitor("v") == {"tier": "x"}

    def test_a_sign_in_moves_what_was_told_in_the_same_transaction(self, store, monkeypatch):
        store.put_visitor("v", {"answers": {"pet": "dog"}}, NOON)
        sign_in = event("s", "ann", visitor_id="v", type="sign_in", item_id=None, at=NOON + 1)

        def broken(*given):
            raise RuntimeError

        with monkeypatch.context() as crash:
            crash.setattr("serving.store_people.refusals", broken)
            with pytest.raises(RuntimeError):
                store.append_sync([sign_in])
        assert (store.read_visitor("v"), store.read_customer("ann")) == ({"answers": {"pet": "dog"}}, None)
        assert store.append_sync([sign_in]) == ["accepted"]
        assert (store.read_visitor("v"), store.read_customer("ann")) == (None, {"answers": {"pet": "dog"}})

    def test_half_a_surrogate_pair_is_nobody(self, store):
        assert store.visitor_rows("\ud800") == store.customer_rows("\ud800") == []
        assert store.reports_of("\ud800") == []
        assert newer_of(store.database, "\ud800", None, Reach()) == newer_of(store.database, None, "\ud800", Reach())


class TestNewer:
    """One look: what is newer than the last sync, for every database."""

    def look(self, store, customer_id=None, visitor_id=None, reach=(0, 0, 0)):
        return newer_of(store.database, customer_id, visitor_id, Reach(*reach))

    def test_fields_come_in_the_order_of_telling(self, store):
        store.put_customer("ann", {"tier": "gold"}, NOON)
        store.put_customer("bob", {"tier": "none"}, NOON)
        store.put_customer("ann", {"tier": "silver"}, NOON)
        assert [orjson.loads(row) for row in self.look(store, "ann").fields] == [{"tier": "gold"}, {"tier": "silver"}]
        assert [orjson.loads(row) for row in self.look(store, "ann", reach=(0, 1, 0)).fields] == [{"tier": "silver"}]
        assert self.look(store, "ann", reach=(0, 3, 0)) == self.look(store, "cleo") == NOTHING
        store.put_visitor("v", {"name": "V"}, NOON)
        assert [orjson.loads(row) for row in self.look(store, None, "v").fields] == [{"name": "V"}]
        assert self.look(store, "v") == self.look(store, None, "ann") == NOTHING

    def test_events_and_orders_are_told_of_after_a_number(self, store):
        store.append_sync([event("1", "ann"), event("2", None, visitor_id="v"), event("3", "bob", visitor_id="w")])
        assert self.look(store, "ann") == self.look(store, None, "v") == Newer(events=True)
        assert self.look(store, "ann", reach=(1, 0, 0)) == self.look(store, None, "v", reach=(2, 0, 0)) == NOTHING
        assert self.look(store, None, "w") == NOTHING  # a customer's event is not the device's
        store.put_orders([("cleo", Report(order_id="o", line="1", at=NOON, item_id="tea", state="shipped"))], NOON)
        assert self.look(store, "cleo") == Newer(orders=True)
        assert self.look(store, "cleo", reach=(0, 0, 1)) == NOTHING

    def test_a_sign_in_is_news_of_both(self, store):
        """What a linked visitor did since counts too, and a visitor's slice may have become somebody's."""
        store.append_sync([event("1", None, visitor_id="v"), event("2", "ann", visitor_id="v", type="sign_in")])
        assert self.look(store, "ann").events and self.look(store, None, "v", reach=(2, 0, 0)).events
        assert not self.look(store, "ann", reach=(2, 0, 0)).events
        store.append_sync([event("3", None, visitor_id="v", at=NOON - 1)])
        assert self.look(store, "ann", reach=(2, 0, 0)).events
        assert ids(store.events_of("ann", None, 2)) == ["3"]

    @pytest.mark.parametrize("seed", range(3))
    def test_where_there_is_nothing_a_thorough_reading_finds_nothing(self, store, seed):
        r = random.Random(seed)
        for n in range(40):
            kind = r.choice(["view", "view", "sign_in", "sign_out"])
            customer = "ann" if kind == "sign_in" else None if kind == "sign_out" else r.choice(["ann", "bob", None])
            visitor = r.choice(["v", "w"]) if customer is None or kind == "sign_in" else r.choice(["v", None])
            store.append_sync([event(str(n), customer, visitor_id=visitor, type=kind, at=NOON + r.randrange(50))])
        for after in range(0, 44, 4):
            for who in (("ann", None), ("bob", None), (None, "v"), (None, "w"), ("cleo", None)):
                found, read = self.look(store, *who, reach=(after, 0, 0)), store.events_of(*who, after)
                claims = [
                    claim
                    for visitor in (store.links_of(who[0], after) if who[0] else [who[1]])
                    for claim in store.claims_on(visitor, after)
                    if who[0] in (None, claim.customer_id)
                ]
                assert found.events or not (read or claims), (who, after)
                if who[0] is not None and not found.events:
                    assert not any(each.type == "sign_in" for each in read)
        assert not self.look(store, "ann", reach=(40, 0, 0)).events


class TestSessions:
    def test_a_session_that_was_ended_is_known_to_every_process_and_for_as_long_as_it_matters(self, store, open_again):
        other, hours, day = open_again(), 8 * 3_600, 86_400
        begun = 1_700_000_000.0
        assert not sessions.has_ended(store, "one")
        for name in ("one", "one"):  # twice is once
            sessions.end_session(store, name, begun + hours)
        assert sessions.has_ended(other, "one") and not sessions.has_ended(other, "on")
        sessions.end_session(other, "two", begun + day)
        assert sessions.has_ended(store, "one"), "another clock may be behind"
        sessions.end_session(other, "three", begun + hours + 2 * day)
        assert [sessions.has_ended(store, name) for name in ("one", "two", "three")] == [False, False, True]
        assert upkeep.store_id(store) == upkeep.store_id(other) != "", "another note is gone"


class TestTombstones:
    def bury(self, store, *subjects):
        erasure.bury(store, [token_of(SECRET, subject) for subject in subjects], NOON)

    def test_nothing_new_of_an_erased_customer_or_visitor_is_stored(self, store):
        self.bury(store, "c:ann", "v:laptop")
        outcomes = store.append_sync(
            [
                event("1", "ann"),
                event("2", "ann", visitor_id="phone"),
                event("3", None, visitor_id="laptop"),
                event("4", "bob", visitor_id="laptop"),
                event("5", None, visitor_id="phone"),
            ]
        )
        assert outcomes == ["erased", "erased", "erased", "accepted", "accepted"]
        assert not store.put_customer("ann", {"tier": "gold"}, NOON)
        assert not store.put_visitor("laptop", {"tier": "gold"}, NOON) and store.put_visitor("ann", {}, NOON)
        report = Report(order_id="o", line="1", at=NOON)
        assert store.put_orders([("ann", report), ("bob", report)], NOON) == ["erased", "accepted"]
        assert store.read_customer("ann") is None
        assert store.links_of("ann") == []

    def test_a_tombstone_of_another_process_is_honoured_by_the_next_write(self, store, open_again):
        store.append_sync([event("1", "ann")])
        self.bury(open_again(), "c:ann")
        assert store.append_sync([event("2", "ann")]) == ["erased"]
        assert store.erased().customer("ann")

    def test_whether_somebody_is_erased_is_known_at_once_in_the_erasing_process(self, store):
        assert not store.is_erased("ann", None)
        self.bury(store, "c:ann")
        assert store.is_erased("ann", "any")
        assert not store.is_erased(None, "ann")
        assert not store.is_erased("bob", None)

    def test_a_further_tombstone_is_read_without_all_those_before_it(self, store, open_again, monkeypatch):
        """There is one for each erasure ever, and every worker looks for new ones all the time."""
        other = open_again()
        erasure.bury(other, [token_of(SECRET, f"c:{n}") for n in range(20)], NOON)
        assert store.erased().customer("7")
        read, query = [], store.database.query

        def counted(statement, parameters=()):
            rows = query(statement, parameters)
            read.extend(rows if statement == sql.TOMBSTONES_AFTER else ())
            return rows

        monkeypatch.setattr(store.database, "query", counted)
        erasure.bury(other, [token_of(SECRET, "v:late"), token_of(SECRET, "c:7")], NOON)
        erased = store.erased()
        assert erased.visitor("late") and erased.customer("7") and not erased.customer("late")
        assert [bytes(row[0]) for row in read] == [token_of(SECRET, "v:late")]
        assert len(store.erased()) == 21 and len(read) == 1

    def test_tombstones_of_a_store_that_was_put_back_are_read_anew(self, store, open_again):
        """An older copy in its place has fewer of them, and perhaps others since."""
        erasure.bury(store, [token_of(SECRET, f"c:{n}") for n in range(3)], NOON)
        other = open_again()
        with other.database.transaction() as connection:
            connection.execute("DELETE FROM tombstones WHERE number > 1")
        assert len(store.erased()) == 1 and store.erased().customer("0")

    def test_tombstones_say_nothing_without_the_secret(self, store):
        self.bury(store, "c:ann")
        tokens = store.database.query("SELECT token FROM tombstones")
        assert tokens == [(token_of(SECRET, "c:ann"),)]
        assert token_of(b"x" * 32, "c:ann") != tokens[0][0]


BATCHES = st.lists(st.lists(st.tuples(st.integers(0, 5), st.sampled_from("xy")), max_size=6), max_size=6)


@given(BATCHES)
@settings(max_examples=25)
def test_any_interleaving_of_duplicates_stores_each_first_content_once(batches):
    """However sendings are repeated, mixed and cut into batches: one row an id, and it is the first content."""
    with tempfile.TemporaryDirectory() as folder:
        store, first = open_sqlite(Path(folder)), {}
        for batch in batches:
            expected = []
            for number, item in batch:
                is_new = number not in first
                same = first.setdefault(number, item) == item
                expected.append("accepted" if is_new else "duplicate" if same else "collision")
            assert store.append_sync([event(f"e{n}", item_id=item) for n, item in batch]) == expected
        assert {each.event_id: each.item_id for each in store.events_of("ann", None)} == {
            f"e{number}": item for number, item in first.items()
        }
        store.close()


@given(st.builds(dict, attributes=st.none() | st.dictionaries(st.text(), st.integers(-(2**53), 2**53) | st.text())))
@settings(max_examples=50)
def test_storing_is_lossless_for_any_attributes(fields):
    from serving.events import decode, encode, same_content

    written = event(**fields)
    assert decode(encode(written)) == written
    assert same_content(written, msgspec.structs.replace(written, recorded_at=NOON + 1))
