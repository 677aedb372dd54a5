"""From stored events to histories: the same as the dataset would give, for any order of arrival."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.build import histories_as_of
from features.dataset import Dataset
from features.history import FIELDS, History, customer_subject, visitor_subject
from features.ids import Vocabulary
from features.kinds import EVENT_TYPES, EventType
from features.moments import DAY, HOUR
from features.shop import Shop
from features.text import event_key
from serving.artifact import live_name, read_manifest
from serving.events import StoredEvent, to_history
from serving.histories import open_history
from serving.links import BEGINNING, Timeline
from serving.newer import Reach, newer_of
from serving.store import Store
from serving.subjects import subject_history
from serving.sync import sync

NOON = 1_500_000_000_000_000
ITEMS = Vocabulary.of(["mug", "pot", "tea"])


def event(event_id, at, type="view", item_id="tea", **fields):
    return StoredEvent(event_id=event_id, occurred_at=at, recorded_at=at + 1, type=type, item_id=item_id, **fields)


def assert_same(one: History, other: History) -> None:
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
        assert getattr(one, name).dtype == getattr(other, name).dtype


def test_the_columns_of_a_history_are_arithmetic_on_its_events():
    """Value is price x quantity - discount, NaN without a price; a missing quantity is one; unknown items are -1."""
    history = to_history(
        [
            event("b", 20, "purchase", "pot", quantity=3.0, unit_price=2.5, discount=1.5, customer_id="ann"),
            event("a", 10, "purchase", "mug", unit_price=4.0, customer_id="ann"),
            event("c", 30, "test_drive", None, quantity=2.0, customer_id="ann"),
            event("d", 40, "wishlist", "unheard of", discount=1.0, customer_id="ann"),
        ],
        ITEMS,
    )
    assert history.time.tolist() == [10, 20, 30, 40]
    assert history.recorded.tolist() == [11, 21, 31, 41]
    assert history.item.tolist() == [0, 1, -1, -1]
    assert history.type.tolist() == [EventType.PURCHASE, EventType.PURCHASE, EventType.OTHER, EventType.WISHLIST]
    assert history.quantity.tolist() == [1.0, 3.0, 2.0, 1.0]
    np.testing.assert_array_equal(history.value, np.float32([4.0, 3 * 2.5 - 1.5, np.nan, np.nan]))
    assert history.key.tolist() == [event_key(name) for name in "abcd"]


def test_no_events_are_an_empty_history():
    """With the types of every other history."""
    assert_same(to_history([], ITEMS), History.empty())


def world(seed: int, count: int = 60) -> list[StoredEvent]:
    """Random visits of two devices and three people, in the order of arrival: ties in time, late arrivals.

    Sign-ins and sign-outs arrive in order: one that arrived late could take events out of a mapped slice, which only
    the next sync does.
    """
    r = random.Random(seed)
    signs = iter(sorted(r.sample(range(count * 1000), count)))
    events = []
    for n in range(count):
        kind = r.choice([*r.sample(EVENT_TYPES, 3), "view", "purchase", "test_drive", "sign_in", "sign_out"])
        signing = kind in ("sign_in", "sign_out")
        visitor = r.choice(["laptop", "phone"] if signing else ["laptop", "phone", None])
        anonymous = visitor is not None and kind != "sign_in" and r.random() < 0.6
        made = event(
            f"e{n}",
            NOON + (next(signs) if signing else 1000 * r.randrange(count)),
            kind,
            r.choice(["mug", "pot", "tea", "lid", None]),
            customer_id=None if anonymous else r.choice(["ann", "bob", "cleo"]),
            visitor_id=visitor,
            quantity=r.choice([None, 1.0, 2.0, 0.5]),
            unit_price=r.choice([None, 0.0, 9.99, 3.0]),
            discount=r.choice([None, 0.25]),
        )
        events.append(made)
    return events


SUBJECTS = [("ann", None), ("bob", None), ("cleo", None), (None, "laptop"), (None, "phone")]


@pytest.mark.parametrize("seed", range(4))
def test_live_histories_are_those_that_the_dataset_gives_after_a_sync(tmp_path, seed):
    """Half of the events are synced, half only stored: each subject's joined history is the one built from all."""
    shop = Shop("toy", tmp_path)
    store = Store.open(shop.store, shop.secret)
    events = world(seed)
    store.append_sync(events[:30])
    sync(shop, now=NOON + 10**9)
    folder = shop.histories / str(live_name(shop.histories))
    mapped, seq = open_history(folder)[0], read_manifest(folder)["store_seq"]
    assert seq == 30
    store.append_sync(events[30:])
    items = Vocabulary.of(["lid", "mug", "pot", "tea"])
    translation = mapped.items.translate_to(items)
    joined = [
        subject_history(store, mapped, customer, visitor, after_seq=seq, items=items, translation=translation)
        for customer, visitor in SUBJECTS
    ]
    sync(shop, now=NOON + 2 * 10**9)
    built = histories_as_of(Dataset(shop.dataset))
    assert list(built.items) == list(items)
    for (customer, visitor), history in zip(SUBJECTS, joined, strict=True):
        subject = customer_subject(customer) if customer else visitor_subject(visitor)
        assert_same(history, built.of(subject))
    assert sum(map(len, joined)) == len(events)
    store.close()


def slow_world(seed: int, count: int = 80) -> list[StoredEvent]:
    """`world` as it arrives in forty days: what is no sign-in or sign-out comes up to a week after it happened."""
    r = random.Random(seed)
    events = []
    for n, each in enumerate(world(seed, count)):
        arrived = NOON + n * 12 * HOUR
        late = 0 if each.type in ("sign_in", "sign_out") else r.choice([0, 0, HOUR, DAY, 3 * DAY, 7 * DAY])
        events.append(msgspec.structs.replace(each, occurred_at=arrived - late, recorded_at=arrived))
    return events


@pytest.mark.parametrize("seed", range(6))
def test_sign_ins_that_are_settled_are_asked_for_by_nobody_and_missed_by_nobody(tmp_path, seed):
    """The histories are those that the dataset gives, also of what arrives days late."""
    shop = Shop("toy", tmp_path)
    store = Store.open(shop.store, shop.secret)
    events = slow_world(seed)
    for end in (40, 60):
        store.append_sync(events[:end])
        sync(shop, now=events[end - 1].recorded_at + 1)
    assert store.database.query("SELECT count(*) FROM links WHERE settled = 1")[0][0]
    folder = shop.histories / str(live_name(shop.histories))
    mapped, seq = open_history(folder)[0], read_manifest(folder)["store_seq"]
    store.append_sync(events[60:])
    items = Vocabulary.of(["lid", "mug", "pot", "tea"])
    joined = [
        subject_history(
            store, mapped, customer, visitor, after_seq=seq, items=items, translation=mapped.items.translate_to(items)
        )
        for customer, visitor in SUBJECTS
    ]
    sync(shop, now=events[-1].recorded_at + 1)
    built = histories_as_of(Dataset(shop.dataset))
    for (customer, visitor), history in zip(SUBJECTS, joined, strict=True):
        assert_same(history, built.of(customer_subject(customer) if customer else visitor_subject(visitor)))
    store.close()


def test_what_comes_days_late_is_found_by_a_sign_in_that_was_settled(tmp_path):
    """Also by who asks whether there is anything new."""
    shop = Shop("toy", tmp_path)
    store = Store.open(shop.store, shop.secret)
    store.append_sync([event("in", NOON, "sign_in", None, customer_id="ann", visitor_id="laptop")])
    for n in range(2):
        store.append_sync([event(f"other-{n}", NOON + 9 * DAY, customer_id="bob")])
        sync(shop, now=NOON + 10 * DAY + n)
    settled = "SELECT settled FROM links"
    assert store.database.query(settled) == [(1,)]
    manifest = read_manifest(shop.histories / str(live_name(shop.histories)))
    late = event("late", NOON - HOUR, visitor_id="laptop")
    store.append_sync([msgspec.structs.replace(late, recorded_at=NOON + 11 * DAY)])
    assert store.database.query(settled) == [(0,)]
    assert [each.event_id for each in store.events_of("ann", None, manifest["store_seq"])] == ["late"]
    assert newer_of(store.database, "ann", None, Reach(manifest["store_seq"])).events
    store.close()


def reads_after(days: int, folder: Path) -> tuple[int, int]:
    """Ann signed in twice each day, with one of three devices and with a new browser: statements and rows of a look."""
    shop = Shop("toy", folder)
    store = Store.open(shop.store, shop.secret)
    for n in range(days):
        at = NOON + n * DAY
        signing = [
            event(f"{name}-{n}", at, "sign_in", None, customer_id="ann", visitor_id=name)
            for name in (f"device-{n % 3}", f"browser-{n}")
        ]
        store.append_sync(signing)
    for k in range(2):
        sync(shop, now=at + HOUR + k)
        store.append_sync([event(f"late-{k}", at + 2 * HOUR, customer_id="ann")])
    live = shop.histories / str(live_name(shop.histories))
    mapped, seq = open_history(live)[0], read_manifest(live)["store_seq"]
    asked, query = [], store.database.query

    def counted(text, values=()):
        asked.append(rows := query(text, values))
        return rows

    store.database.query = counted
    translation = mapped.items.translate_to(ITEMS)
    new = subject_history(store, mapped, "ann", None, after_seq=seq, items=ITEMS, translation=translation)
    assert len(new) == 2 * days + 2
    store.close()
    return len(asked), sum(map(len, asked))


def test_what_a_request_reads_of_sign_ins_does_not_grow_with_them(tmp_path):
    """After a year it is what it was after a month."""
    assert reads_after(30, tmp_path / "month") == reads_after(365, tmp_path / "year")


def test_before_the_first_sync_the_store_alone_is_the_history(tmp_path):
    """No mapped history yet: nothing is missing."""
    store = Store.open(tmp_path / "store.db", b"s" * 32)
    store.append_sync([event("a", NOON, customer_id="ann")])
    nothing = np.empty(0, np.int32)
    history = subject_history(store, None, "ann", None, after_seq=0, items=ITEMS, translation=nothing)
    assert history.item.tolist() == [2]
    empty = subject_history(store, None, None, None, after_seq=0, items=ITEMS, translation=nothing)
    assert len(empty) == 0
    store.close()


STEPS = st.lists(st.tuples(st.sampled_from([None, "ann", "bob"]), st.integers(0, 12)), max_size=8)


@given(STEPS, st.integers(-1, 13))
def test_an_anonymous_event_has_the_owner_that_a_slow_reading_gives(steps, at):
    """The next sign-in at or after it, unless a sign-out lies in between; ties go to the smaller id."""
    timeline = Timeline("v", [(seq, customer, when) for seq, (customer, when) in enumerate(steps)])
    ins = sorted((when, customer) for customer, when in steps if customer is not None and when >= at)
    outs = [when for customer, when in steps if customer is None and when >= at]
    expected = ins[0][1] if ins and not any(out < ins[0][0] for out in outs) else None
    assert timeline.owner(at) == expected
    spans = [claim for claim in timeline.claims(-1) if claim.after < at <= claim.until]
    assert [claim.customer_id for claim in spans] == ([expected] if expected else [])


def test_a_first_sign_in_claims_from_the_beginning():
    """Nothing came before it that could have owned the events."""
    (claim,) = Timeline("v", [(7, "ann", 50)]).claims(6)
    assert (claim.after, claim.until, claim.customer_id, claim.seq) == (BEGINNING, 50, "ann", 7)
    assert Timeline("v", [(7, "ann", 50)]).claims(7) == []
