"""What the benches of size tell: nothing fails in a swap, no acknowledged event is missing, a year leaves no trace."""

from __future__ import annotations

import numpy as np
import pytest

from features.shop import Shop
from serving.artifact import live_name
from serving.engine import Engine
from serving.store import Store
from training.bench import intake, swap, year
from training.bench.aside import aside
from training.bench.made import Size, make
from training.bench.rows import Row


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Shop:
    """A shop made for load, as small as it may be."""
    shop = Shop("made", tmp_path_factory.mktemp("made") / "shop")
    make(shop, Size(items=600, customers=300, events=20, factors=8))
    return shop


def found(rows: list[Row]) -> dict[tuple[str, str], Row]:
    return {(row.subject, row.metric): row for row in rows}


def test_swaps_fail_nobody(made) -> None:
    """Bundles are swapped and seen, histories between them; each request is answered."""
    with aside(made) as shop:
        rows = found(swap.measure(shop, rate=20, seconds=1.5, every=0.4))
        assert live_name(shop.histories) is not None
    assert rows["swapping", "failed"].value == 0
    assert rows["swapping", "bundles"].value >= 2
    assert rows["swapping", "p99-ratio"].value > 0


def test_acknowledged_events_are_stored_and_seen_by_the_next_request(made) -> None:
    with aside(made) as shop:
        rows = found(intake.measure(shop, seconds=0.3, rounds=1))
    assert {rows[each].value for each in (("all", "errors"), ("all", "missing"), ("next request", "unseen"))} == {0}
    assert rows["batches of 200", "events"].value > 200
    assert rows["next request", "sent-to-seen"].value > 0


def test_a_year_leaves_the_store_as_small_as_a_month(made) -> None:
    """Each sync moves the month's events into the history: they are all there, and the store holds no more of them."""
    with aside(made) as shop:
        rows = found(year.measure(shop, events=600, months=3, asked=20))
        assert rows["after each sync", "events-in-store"].value == 600
        assert rows["beginning", "own-events"].value == pytest.approx(20, abs=10)
        store = Store.open(shop.store, shop.secret)
        assert store.last_seq() == 3 * 600
        store.close()
        engine = Engine(shop, worker=None)
        try:
            assert engine.live.histories is not None
            assert len(engine.live.histories.events) == 3 * 600
            assert engine.live.history_seq == 3 * 600
        finally:
            engine.close()


def test_a_customer_sees_all_his_events_after_each_sync(toy_shop) -> None:
    """Whatever a sync moved: what a request reads of somebody is the same just before it and just after."""
    engine = Engine(toy_shop, worker="year")
    try:
        passing = year.Passing(engine, np.random.default_rng(3), asked=50)
        for month in range(1, 4):
            passing.month(400)
            before = passing.own_events()
            year.compact(engine, passing.now)
            assert passing.own_events() == before == pytest.approx(month * 400 / 50)
            assert (
                sum(len(engine.store.events_of(name, None, engine.live.history_seq)) for name in passing.customers) == 0
            )
    finally:
        engine.close()
