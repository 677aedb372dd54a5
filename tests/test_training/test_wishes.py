"""Wishes: spells as they were, hazards that are counts over days, and what removal, purchase and price do to a wish."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from features.build import histories_as_of
from features.dataset import Dataset
from features.errors import DataError
from features.history import History
from features.kinds import EventType
from features.moments import DAY
from serving.query import Query
from serving.ranker import Ranker
from serving.recipe import Recipe, SourceSpec
from serving.sources import build_sources
from serving.sources.wishlist import cumulated
from tests.test_training.test_fitting import NOW, histories_of
from training.fitting import Cut, fit_bundle
from training.known import Prices, prices_of
from training.wishes import EDGES, WishlistParams, fit_wishlist, hazards, spells

WISH, GONE, BUY = EventType.WISHLIST, EventType.WISHLIST_REMOVE, EventType.PURCHASE
SPEC = SourceSpec("wishes", "wishlist", "wishlist", {"horizon_days": 10.0})
SHOP = [(f"c:{n}", 10 + n, item) for n in range(6) for item in range(6)] + [
    (f"c:{n}", 40 + k, n % 6, kind) for n in range(6) for k, kind in ((0, WISH), (5 + n, BUY if n % 2 else GONE))
]


def bundle_of(lines: list[tuple] = SHOP, prices: Prices | None = None):
    cut = Cut(histories_of(lines), NOW, min_customers=1)
    if prices is not None:
        cut.__dict__["prices"] = prices
    return fit_bundle(cut, Recipe("r", (SourceSpec("popularity", "popularity"), SPEC), {"popularity": 1.0}))


@pytest.fixture(scope="module")
def bundle():
    return bundle_of()


def past_of(*lines: tuple, value: float = np.nan) -> History:
    """(day, item, type), with this price on every line."""
    past = histories_of([("c:x", *line) for line in lines]).at(0)
    return structs.replace(past, value=np.full(len(past), value, np.float32))


def said(source, past: History) -> dict[int, float]:
    opinion = source.opine(Query(now=NOW, history=past))
    return dict(zip(opinion.items.tolist(), opinion.scores.tolist(), strict=True))


def test_spells_end_with_whatever_comes_next() -> None:
    """A purchase converts; a removal, a new wish and the moment do not; events of others are nothing."""
    lines = [
        ("c:1", 10, 0, WISH), ("c:1", 13, 0, BUY), ("c:1", 14, 1, WISH), ("c:1", 20, 1, GONE), ("c:1", 21, 2, WISH),
        ("c:1", 22, 3, BUY), ("c:1", 23, 2, EventType.VIEW), ("c:2", 50, 2, WISH), ("c:2", 60, 2, WISH),
        ("c:2", 61, 2, BUY), ("c:3", 99, 2, BUY),
    ]  # fmt: skip
    days, bought = spells(histories_of(lines), NOW)
    assert sorted(zip(days.tolist(), bought.tolist(), strict=True)) == [
        (1.0, True), (3.0, True), (6.0, False), (10.0, False), (79.0, False),
    ]  # fmt: skip


def test_many_wishes_make_their_own_hazard_and_none_the_half_lifes() -> None:
    """Hazard 0.1 a day in the first week and none after; beyond what was seen the curve halves in 30 days."""
    random = np.random.default_rng(0)
    waited = random.exponential(10, 40_000)
    bought = waited < 7
    found, counts = hazards(np.where(bought, waited, 14.0), bought, np.array(EDGES), WishlistParams())
    assert found[:3] == pytest.approx(0.1, rel=0.05)
    assert found[3] < 0.002
    assert counts.sum() == bought.sum()
    middle = (np.array(EDGES[5:-1]) + np.array(EDGES[6:])) / 2
    assert found[6:-1] / found[5] == pytest.approx(np.exp2(-(middle[1:] - middle[0]) / 30))


@given(st.lists(st.tuples(st.floats(0, 1000), st.booleans()), min_size=1, max_size=30))
def test_hazards_are_positive_and_finite_whatever_was_seen(wishes) -> None:
    days, bought = np.array([d for d, _ in wishes]), np.array([b for _, b in wishes])
    found, counts = hazards(days, bought, np.array(EDGES), WishlistParams())
    assert (found > 0).all()
    assert np.isfinite(found).all()
    assert counts.sum() == bought.sum()


@given(st.lists(st.floats(0, 2000), min_size=2, max_size=5))
def test_the_cumulated_hazard_is_the_integral(ages) -> None:
    """Against a sum over small steps; it never falls."""
    edges, hazard = np.array([0.0, 10.0, 100.0]), np.array([0.5, 0.1, 0.01])
    ages = np.sort(np.array(ages))
    found = cumulated(ages, edges, hazard)
    assert (np.diff(found) >= 0).all()
    grid = np.linspace(0, ages[-1], 20_001)
    middle = (grid[1:] + grid[:-1]) / 2
    steps = hazard[np.searchsorted(edges, middle, "right") - 1] * np.diff(grid)
    assert found[-1] == pytest.approx(steps.sum(), rel=1e-2, abs=1e-2)


def test_a_younger_wish_leads_and_what_was_removed_or_bought_is_none(bundle) -> None:
    found = said(
        build_sources(bundle)["wishes"],
        past_of((50, 0, WISH), (95, 1, WISH), (95, 2, WISH), (96, 2, GONE), (95, 3, WISH), (96, 3, BUY), (97, 4, GONE)),
    )
    assert list(found) == [0, 1]
    assert found[1] > found[0] > 0


def test_what_was_taken_off_before_counts_less(bundle) -> None:
    """Wished again after two removals: a quarter of the hazard."""
    source = build_sources(bundle)["wishes"]
    once = said(source, past_of((95, 0, WISH)))[0]
    again = said(source, past_of((80, 0, WISH), (81, 0, GONE), (82, 0, WISH), (83, 0, GONE), (95, 0, WISH)))[0]
    assert np.log1p(-again) == pytest.approx(np.log1p(-once) / 4, rel=1e-4)


def test_a_price_that_fell_raises_the_hazard_and_one_that_rose_does_not_lower_it(bundle) -> None:
    """Half the price of the wish: 1 + 2 x 0.5 = twice the hazard; unknown prices leave it."""
    source = build_sources(bundle)["wishes"]
    plain = said(source, past_of((95, 0, WISH)))[0]
    source.prices = np.array([5, 20, np.nan, 5, 5, 5], np.float32)
    past = past_of((95, 0, WISH), (95, 1, WISH), (95, 2, WISH), value=10.0)
    found = said(source, past)
    assert np.log1p(-found[0]) == pytest.approx(2 * np.log1p(-plain), rel=1e-4)
    assert found[1] == found[2] == pytest.approx(plain)
    assert source.wishes(Query(now=NOW, history=past)).drop.tolist() == [0.5, 0.0, 0.0]


def test_a_listed_price_stands_in_where_the_event_has_none() -> None:
    """Listed at 10 from day 0 and at 8 from day 90; wished on day 50, 95 and before it was listed."""
    item, since = np.array([0, 0, 1, -1], np.int32), np.array([90, 0, 60, 5], np.int64) * DAY
    prices = Prices.of(item, since, np.array([8, 10, 10, 1], np.float32), 6)
    source = build_sources(bundle_of(prices=prices))["wishes"]
    source.prices = np.full(6, 8, np.float32)
    ask = [(50, 0, WISH)], [(95, 0, WISH)], [(50, 1, WISH)]
    drops = [source.wishes(Query(now=NOW, history=past_of(*lines))).drop[0] for lines in ask]
    assert drops == pytest.approx([0.2, 0.0, 0.0])


def test_a_live_price_is_in_force_with_the_next_request(bundle) -> None:
    """The shop lowers a price after training: the wish rises without a new bundle."""
    ranker, past = Ranker(bundle), past_of((95, 0, WISH), value=10.0)
    before = said(ranker.sources["wishes"], past)[0]
    ranker.shelf.apply([(bundle.items[0], {"price": 1.0})])
    assert said(ranker.sources["wishes"], past)[0] > before


def test_nothing_after_the_moment_is_learned() -> None:
    later = [("c:0", 100, 0, WISH), ("c:1", 100.5, 0, BUY), ("c:1", 98, 1, WISH, 101)]
    one, two = (bundle_of(lines).source_arrays("wishes") for lines in (SHOP, SHOP + later))
    assert all((one[name] == two[name]).all() for name in one)


def test_a_shop_without_wishes_has_no_such_source() -> None:
    cut = Cut(histories_of([("c:1", 10, 0), ("c:1", 11, 0, GONE)]), NOW, min_customers=1)
    with pytest.raises(DataError, match="no wishes"):
        fit_wishlist(cut, WishlistParams())


def test_prices_of_a_dataset_are_all_versions_by_the_moment(tiny_dataset) -> None:
    """Each version's price from its own instant, and none of later."""
    dataset = Dataset(tiny_dataset)
    histories = histories_as_of(dataset)
    table = dataset.read("items", ["item_id", "valid_from", "price"]).to_pylist()
    middle = sorted(int(row["valid_from"].timestamp() * 1e6) for row in table)[len(table) * 9 // 10]
    found = prices_of(dataset, histories.items, middle)
    expected = {
        (histories.items.row(row["item_id"]), int(row["valid_from"].timestamp() * 1e6)): row["price"] for row in table
    }
    rows = np.repeat(np.arange(len(histories.items)), np.diff(found.offsets))
    seen = dict(zip(zip(rows.tolist(), found.since.tolist(), strict=True), found.price.tolist(), strict=True))
    assert seen == pytest.approx({key: price for key, price in expected.items() if key[1] <= middle})
    assert 0 < len(seen) < len(expected)
