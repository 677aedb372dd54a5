"""The engine: mapped history and newer events are one past, and parts swap without a request noticing."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest

from features import pace
from features.history import FIELDS, Histories, History, customer_subject, visitor_subject
from features.ids import Vocabulary
from features.moments import DAY
from serving import worker
from serving.artifact import publish_live
from serving.bundle import write_bundle
from serving.events import StoredEvent
from serving.histories import write_history
from serving.stops import add_stop

AS_OF = 20_000 * DAY


def publish_history(shop, name: str, subjects: dict[str, History], seq: int) -> None:
    """Histories whose item vocabulary is the reverse of the bundle's, so that rows must be translated."""
    order = sorted(subjects)
    items = Vocabulary.of([f"{group}{number}" for group in "ba" for number in (3, 2, 1, 0)])
    events = [subjects[subject] for subject in order]
    offsets = np.cumsum([0, *(len(one) for one in events)]).astype(np.int64)
    together = History(*(np.concatenate([getattr(one, name) for one in events]) for name in FIELDS))
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


def swapped(toy_shop, make_toy_bundle, name: str) -> None:
    write_bundle(toy_shop.bundles / name, make_toy_bundle(name))
    publish_live(toy_shop.bundles, name)


def test_a_bundle_that_no_longer_serves_is_let_go_of(toy_shop, toy_engine, make_toy_bundle):
    """At once, without the collector, which looks past what was frozen; with its open files and its mappings."""
    folder = toy_shop.bundles / "toy-1"

    def opened() -> int:
        return sum(path.resolve().parent == folder for path in Path("/proc/self/fd").iterdir() if path.exists())

    bundle = toy_engine.live.bundle
    bundle.title(0), bundle.codes_under(("food",)), bundle.ids_of(np.array([1], np.int32))
    kept = weakref.ref(bundle)
    del bundle
    assert opened()
    gc.disable()
    try:
        swapped(toy_shop, make_toy_bundle, "toy-2")
        assert toy_engine.refresh()
        assert kept() is None
        assert opened() == 0
    finally:
        gc.enable()


def test_what_is_taken_off_while_a_bundle_is_opened_is_off_at_once_and_stays_off(
    toy_shop, toy_engine, make_toy_bundle, monkeypatch
):
    """The old bundle serves meanwhile, and then the new one; an item, and the price of another, come from elsewhere."""
    states: list[tuple[str, bool, float]] = []

    def rest(_: float) -> None:
        live = toy_engine.live
        states.append((live.bundle.id, bool(live.ranker.shelf.stopped[0]), float(live.ranker.shelf.price[1])))
        if len(states) == 1:
            add_stop(toy_engine.store, "item", "a0", because="recalled", who="bea", now=AS_OF)
            toy_engine.store.put_items([("a1", {"price": 77.0})], AS_OF)

    monkeypatch.setattr(pace.time, "sleep", rest)
    monkeypatch.setattr(pace, "WORK", 0.0)
    monkeypatch.setattr(worker, "WATCH_SECONDS", 0.0)
    swapped(toy_shop, make_toy_bundle, "toy-2")
    assert worker._taken_up(toy_engine)
    assert ("toy-1", True, 77.0) in states, "it waited for the new bundle"
    shelf = toy_engine.live.ranker.shelf
    assert (toy_engine.live.bundle.id, shelf.stopped[0], shelf.price[1]) == ("toy-2", True, 77.0)


def test_a_change_that_comes_when_the_new_shelf_was_just_filled_is_in_force(
    toy_shop, toy_engine, make_toy_bundle, monkeypatch
):
    """It is a request's: it goes to the shelf that serves, which is the old bundle's for another moment."""
    real = toy_engine.store.item_changes

    def changes(after: int):
        found = real(after)
        if not after:
            monkeypatch.undo()
            toy_engine.store.put_items([("a0", {"withdraw": True})], AS_OF)
            toy_engine.refresh_shelf()
        return found

    swapped(toy_shop, make_toy_bundle, "toy-2")
    toy_engine.store.put_items([("a1", {"price": 5.0})], AS_OF)
    toy_engine.refresh_shelf()
    monkeypatch.setattr(toy_engine.store, "item_changes", changes)
    assert toy_engine.refresh()
    assert toy_engine.live.bundle.id == "toy-2"
    assert toy_engine.live.ranker.shelf.withdrawn[0]
