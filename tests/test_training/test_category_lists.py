"""Lists of a category: the place of the bought item for the customer beside the shop's usual orders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from features.build import histories_as_of
from features.dataset import Dataset
from features.history import Histories
from features.moments import DAY, format_instant
from serving.recipe import Recipe, SourceSpec
from training.category_lists import (
    BEST_SELLING,
    CATALOGUE,
    METRICS,
    NEWEST,
    OURS,
    SLICES,
    Places,
    category_lists,
    measured,
    place_in,
    positions,
    scores_of,
    shop_orders,
    standings,
    told,
)
from training.contest import Arena
from training.fitting import Cut, fit_bundle
from training.journal import draw_category_lists
from training.split import Window, truth_of

RECIPE = Recipe(
    "habit",
    (SourceSpec("popularity", "popularity"), SourceSpec("personal-frequency", "personal-frequency")),
    {"personal-frequency": 1.0},
)
CUT = 100 * DAY
FIRST = 1_483_228_800_000_000  # 2017-01-01


def at(day: float) -> str:
    return format_instant(FIRST + int(day * DAY))


@pytest.fixture(scope="module")
def shop(make_dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Twelve teas (two kinds of six), ten cups, three spoons; what stands last in every shop order is what one buys.

    Everybody (c0..c7) buys every item of day 1 + its number once, so that the items differ in age alone; c0..c7 buy
    tea t11 many times. Customer c buys cup number c again and again, and then once more in the window.
    """
    items = [
        *(
            {"item_id": f"t{n:02}", "category": ["drinks", "green" if n % 2 else "black"],
             "attributes": f'{{"position": {n}}}'}
            for n in range(12)
        ),
        *(
            {"item_id": f"u{n:02}", "category": ["table", "cups"], "attributes": '{"position": "no"}'}
            for n in range(10)
        ),
        *({"item_id": f"v{n:02}", "category": ["table", "spoons"]} for n in range(3)),
        {"item_id": "w00"},
    ]  # fmt: skip
    names = [item["item_id"] for item in items]
    events = []
    for who in range(8):
        for number, name in enumerate(names):
            events.append({"customer_id": f"c{who}", "item_id": name, "at": at(1 + number + who / 100)})
        for day in (40, 60, 80):
            events.append({"customer_id": f"c{who}", "item_id": f"u{who:02}", "at": at(day + who / 100)})
        for day in (75, 85, 95):
            events.append({"customer_id": f"c{who}", "item_id": "t11", "at": at(day + 0.5 + who / 100)})
        for name in (f"u{who:02}", "t00", "v01", "w00"):  # the window
            events.append({"customer_id": f"c{who}", "item_id": name, "at": at(105 + who / 100)})
    return make_dataset(tmp_path_factory.mktemp("lists") / "dataset", events=events, items=items)


@pytest.fixture(scope="module")
def arena(shop: Dataset) -> Arena:
    histories = histories_as_of(shop)
    window = Window(FIRST + CUT, FIRST + CUT + 20 * DAY)
    cut = Cut(histories, window.start, min_customers=2, dataset=shop)
    bundle = fit_bundle(cut, Recipe("arena", RECIPE.sources, {"popularity": 1.0}))
    return Arena(bundle, histories, window, truth_of(histories, window, listed=cut.listed), {})


def row(arena: Arena, item: str) -> int:
    found = arena.histories.items.find(item)
    assert found is not None
    return found


def test_a_list_is_the_narrowest_category_of_ten(arena):
    """Teas: six of a kind are too few, so all twelve drinks. Cups are a list. Spoons stand in all of the table."""
    where, lists = category_lists(arena.bundle)
    size = {name: len(lists[where[row(arena, name)]][1]) for name in ("t00", "t11", "u03", "v01")}
    depth = {name: lists[where[row(arena, name)]][0] for name in ("t00", "u03", "v01")}
    assert size == {"t00": 12, "t11": 12, "u03": 10, "v01": 13}
    assert depth == {"t00": 1, "u03": 2, "v01": 1}
    assert where[row(arena, "w00")] == -1
    assert all(row(arena, name) in lists[where[row(arena, name)]][1] for name in ("t00", "u03", "v01"))
    assert category_lists(arena.bundle, least=20)[1] == []


def test_the_orders_of_the_shop(arena, shop):
    """Sales of the last 28 days only, the first event of each item, and the attribute where it is a number."""
    known = arena.histories.as_of(arena.window.start)
    position = positions(shop, known.items, arena.window.start)
    orders = shop_orders(known, arena.window.start, position)
    sales = orders[BEST_SELLING]
    assert (sales[row(arena, "t11")], sales[row(arena, "u03")], sales[row(arena, "t00")]) == (24, 1, 0)
    newest = np.argsort(-orders[NEWEST])
    assert newest[0] == row(arena, "w00")
    assert newest[-1] == row(arena, "t00")
    assert position[row(arena, "t03")] == 3
    assert np.isnan([position[row(arena, "u03")], position[row(arena, "v01")]]).all()
    assert np.argmax(orders[CATALOGUE]) == row(arena, "t00")
    assert CATALOGUE not in shop_orders(known, arena.window.start, np.full(len(known.items), np.nan))


def test_places_are_those_that_the_world_was_built_for(arena, shop):
    """One's own cup comes first for the customer; the shop's orders cannot know whose cup it is."""
    known = arena.histories.as_of(arena.window.start)
    places = measured(arena, RECIPE, positions(shop, known.items, arena.window.start))
    truth = np.array([arena.histories.items[item] for item in arena.truth.items.tolist()])
    listed = truth[truth != "w00"]
    assert places.unlisted == 8
    assert places.repeat.all()
    cups = np.flatnonzero(np.char.startswith(listed, "u"))
    assert places.ranks[OURS][cups].tolist() == [1.0] * 8
    assert places.ranks[BEST_SELLING][cups].tolist() == [4.5] * 8  # eight cups sold once each: places 1 to 8
    assert places.ranks[NEWEST][cups].tolist() == [10.0 - who for who in range(8)]
    tea = np.flatnonzero(listed == "t00")
    assert places.ranks[CATALOGUE][tea].tolist() == [1.0] * 8
    assert places.ranks[NEWEST][tea].tolist() == [12.0] * 8
    assert set(places.sizes.tolist()) == {10, 12, 13}
    assert set(places.customer.tolist()) == set(arena.truth.subjects.tolist())


def test_some_purchases_are_the_same_ones_each_time(arena):
    one, two = (measured(arena, RECIPE, at_most=5) for _ in range(2))
    assert len(one.sizes) == 5
    assert one.ranks[OURS].tolist() == two.ranks[OURS].tolist()
    assert one.unlisted == 8
    whole = measured(arena, RECIPE)
    assert {*one.ranks[OURS].tolist()} <= {*whole.ranks[OURS].tolist()}


def test_what_an_order_does_not_hold_is_undefined_and_counted():
    """Neither the last place nor nothing at all."""
    places = Places(
        {OURS: np.array([np.nan, 2.0, 4.0]), NEWEST: np.array([5.0, 6.0, 7.0])}, np.array([10, 10, 20]),
        np.array([0, 0, 1], np.int32), np.array([False, True, True]), np.array([1, 1, 2]), 4,
    )  # fmt: skip
    by = {(each.slice, each.order, each.metric): each for each in standings(places, resamples=20)}
    assert by[SLICES[0], OURS, "place"].value.value == 3.0
    assert by[SLICES[0], OURS, "place"].value.undefined == 1
    assert by[SLICES[0], NEWEST, "place"].value.value == 6.0
    assert by[SLICES[0], NEWEST, "place"].gain.value == -3.5  # paired: without the purchase that ours does not hold
    assert np.isnan(by[SLICES[1], OURS, "place"].value.value)
    assert np.isnan(by[SLICES[1], NEWEST, "first-10"].gain.value)
    assert "nothing of never bought before" in " ".join(told(places, list(by.values())))


@given(arrays(np.float64, st.integers(1, 30), elements=st.integers(0, 5).map(float)))
def test_places_share_out_the_list(scores):
    """Each list's places sum to 1 + 2 + ... + n whatever the ties, and follow the scores."""
    places = np.array([place_in(scores, at) for at in range(len(scores))])
    assert places.sum() == pytest.approx(len(scores) * (len(scores) + 1) / 2)
    order = np.argsort(-scores, kind="stable")
    assert (np.diff(places[order]) >= 0).all()
    shuffled = [np.mean(np.flatnonzero(np.sort(-scores) == -value)) + 1 for value in scores]
    assert places.tolist() == pytest.approx(shuffled)


@given(st.integers(2, 50), st.data())
def test_metrics_of_a_rank(size, data):
    """All are best at the top and fall with the rank; the percentile goes from 1 to 0."""
    ranks = np.sort(data.draw(arrays(np.float64, 6, elements=st.integers(1, size).map(float))))
    found = scores_of(ranks, np.full(6, size))
    assert set(found) == set(METRICS)
    assert all((np.diff(found[name]) <= 0).all() for name in METRICS if name != "place")
    ends = scores_of(np.array([1.0, size]), np.array([size, size]))
    assert ends["percentile"].tolist() == [1.0, 0.0]
    assert ends["reciprocal-rank"].tolist() == [1.0, 1 / size]
    assert ends["first-10"].tolist() == [1.0, float(size <= 10)]


def test_a_merchant_reads_places(arena, shop):
    """Place, length of the list, what it was instead, and what stands for the shop's own order."""
    known = arena.histories.as_of(arena.window.start)
    places = measured(arena, RECIPE, positions(shop, known.items, arena.window.start))
    found = standings(places, resamples=50)
    said = told(places, found)
    by = {(each.slice, each.order, each.metric): each for each in found}
    assert f"at place {by[SLICES[0], OURS, 'place'].value.value:.0f} of 12 on average" in said[0]
    other = by[SLICES[0], NEWEST, "place"]
    assert f"place {other.value.value:.0f} and " in said[0]
    assert f"(places gained {-other.gain.value:.1f} [{-other.gain.high:.1f}, {-other.gain.low:.1f}])" in said[0]
    assert other.gain.value < 0
    assert "The shop's own order is not recorded" in said[-1]
    assert "attribute position" not in said[-1]
    assert "attribute position" in told(measured(arena, RECIPE), standings(measured(arena, RECIPE), resamples=9))[-1]
    assert draw_category_lists(found, "95 %").startswith(b"\x89PNG")


def test_a_shop_without_categories_is_a_sentence(tmp_path: Path, make_dataset):
    events = [
        {"customer_id": f"c{who}", "item_id": f"i{n}", "at": at(day)}
        for who in range(4) for n in range(12) for day in (1 + n, 105)
    ]  # fmt: skip
    bare = make_dataset(tmp_path / "bare", events=events)
    histories: Histories = histories_as_of(bare)
    window = Window(FIRST + CUT, FIRST + CUT + 20 * DAY)
    cut = Cut(histories, window.start, min_customers=2, dataset=bare)
    found = Arena(
        fit_bundle(cut, Recipe("arena", RECIPE.sources, {"popularity": 1.0})), histories, window,
        truth_of(histories, window, listed=cut.listed), {},
    )  # fmt: skip
    places = measured(found, RECIPE)
    assert (len(places.sizes), places.unlisted) == (0, 48)
    said = told(places, standings(places, resamples=10))
    assert len(said) == 1
    assert "not measured" in said[0]
