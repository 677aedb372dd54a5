"""The engine: mapped history and newer events are one past, and parts swap without a request noticing."""

from __future__ import annotations

import numpy as np
import pytest

from features.errors import Unavailable
from features.history import Histories, History, customer_subject, visitor_subject
from features.ids import Vocabulary
from features.moments import DAY
from serving.artifact import publish_live
from serving.bundle import write_bundle
from serving.events import StoredEvent
from serving.histories import write_history
from serving.query import Query
from serving.store_people import PeopleStore

AS_OF = 20_000 * DAY


def publish_history(shop, name: str, subjects: dict[str, History], seq: int) -> None:
    """Histories whose item vocabulary is the reverse of the bundle's, so that rows must be translated."""
    order = sorted(subjects)
    items = Vocabulary.of([f"{group}{number}" for group in "ba" for number in (3, 2, 1, 0)])
    events = [subjects[subject] for subject in order]
    offsets = np.cumsum([0, *(len(one) for one in events)]).astype(np.int64)
    together = History(*(np.concatenate([getattr(one, name) for one in events]) for name in History.__slots__))
    histories = Histories(Vocabulary.of(order), items, offsets, together)
    manifest = {"store_id": "s", "store_seq": seq, "as_of": AS_OF, "dataset": name}
    publish_live(shop.histories, write_history(shop.histories, histories, [], manifest))


@pytest.fixture
def past(history_of):
    """ann's purchase of a0, in the rows of the reversed vocabulary (a0 is row 7 there)."""
    one = history_of(("purchase", "a0", 2.0))
    return one.with_items(np.arange(7, -1, -1, dtype=np.int32))


def items_of(engine, user=None, visitor=None) -> list[str]:
    rows = engine.history_of(engine.live, user, visitor).item
    return [engine.live.bundle.items[int(row)] for row in rows]


def stored(event_id: str, item: str, at: int, **who) -> StoredEvent:
    return StoredEvent(event_id=event_id, occurred_at=at, recorded_at=at, type="purchase", item_id=item, **who)


def test_mapped_and_newer_events_are_one_past(toy_shop, toy_engine, past):
    publish_history(toy_shop, "h1", {customer_subject("ann"): past}, seq=0)
    toy_engine.store.append_sync([stored("new", "b1", AS_OF, customer_id="ann")])
    assert toy_engine.refresh()
    assert items_of(toy_engine, "ann") == ["a0", "b1"]
    assert items_of(toy_engine, "bob") == []


def test_an_event_in_both_counts_once(toy_shop, toy_engine, past):
    """The history's event e0 stands in the store as well."""
    publish_history(toy_shop, "h1", {customer_subject("ann"): past}, seq=0)
    toy_engine.refresh()
    toy_engine.store.append_sync([stored("e0", "a0", int(past.time[0]), customer_id="ann")])
    assert items_of(toy_engine, "ann") == ["a0"]


def test_a_visitor_becomes_a_customer_by_signing_in(toy_shop, toy_engine, past):
    """What the visitor did before counts for the customer from the sign-in on, mapped or stored, and not before."""
    publish_history(toy_shop, "h1", {visitor_subject("v"): past}, seq=0)
    toy_engine.refresh()
    toy_engine.store.append_sync([stored("s1", "b2", AS_OF, visitor_id="v")])
    assert items_of(toy_engine, "ann") == []
    assert items_of(toy_engine, visitor="v") == ["a0", "b2"]
    sign_in = StoredEvent(
        event_id="in", occurred_at=AS_OF + 1, recorded_at=AS_OF + 1, type="sign_in", customer_id="ann", visitor_id="v"
    )
    toy_engine.store.append_sync([sign_in])
    known = toy_engine.history_of(toy_engine.live, "ann", None)
    assert [toy_engine.live.bundle.items[int(row)] for row in known.item if row >= 0] == ["a0", "b2"]
    assert items_of(toy_engine, visitor="v") == []


def test_a_new_bundle_is_taken_up_and_a_damaged_one_is_not(toy_shop, toy_engine, make_toy_bundle):
    """A request that began before keeps the bundle it began with."""
    before = toy_engine.live
    write_bundle(toy_shop.bundles / "toy-2", make_toy_bundle("toy-2"))
    publish_live(toy_shop.bundles, "toy-2")
    assert toy_engine.refresh()
    assert toy_engine.live.bundle.id == "toy-2"
    assert before.bundle.id == "toy-1"

    write_bundle(toy_shop.bundles / "toy-3", make_toy_bundle("toy-3"))
    path = toy_shop.bundles / "toy-3" / "shared.price.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    publish_live(toy_shop.bundles, "toy-3")
    assert not toy_engine.refresh()
    assert toy_engine.live.bundle.id == "toy-2"
    assert "checksum" in toy_engine.refusals["bundle toy-3"]


def test_changes_of_items_outlive_a_swap(toy_shop, toy_engine, make_toy_bundle):
    toy_engine.store.put_items([("a0", {"withdraw": True})], AS_OF)
    toy_engine.refresh()
    write_bundle(toy_shop.bundles / "toy-2", make_toy_bundle("toy-2"))
    publish_live(toy_shop.bundles, "toy-2")
    toy_engine.refresh()
    assert toy_engine.live.ranker.shelf.withdrawn.tolist() == [True] + 7 * [False]


def test_a_question_is_put_also_while_the_store_refuses(toy_engine, monkeypatch):
    """That it was put is not remembered then; the page is worth more."""

    def full(self, *told):
        raise Unavailable("the disk is full")

    monkeypatch.setattr(PeopleStore, "put_visitor", full)
    monkeypatch.setattr(PeopleStore, "put_customer", full)
    for who in ({"visitor_id": "v"}, {"user_id": "ann"}):
        toy_engine.note_shown(Query(now=AS_OF, history=History.empty(), **who), "pet")
