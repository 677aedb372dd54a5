"""The selector against a slow greedy and against what can be proved; the shop's wishes against arithmetic by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from itertools import combinations, pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.compiled import switched
from features.errors import ConfigError
from features.history import History
from features.ids import Vocabulary
from features.kinds import EventType
from features.moments import DAY, HOUR
from serving.bundle import Bundle
from serving.business import Business
from serving.config import ShopConfig, load_config
from serving.query import Filter, Query
from serving.ranker import Ranker
from serving.recipe import Recipe, SelectionSpec, as_json, from_json
from serving.selecting import Selected, Selector, Trace
from serving.settings.selection import Boost, SelectionSettings
from serving.shelf import Shelf
from tests.test_serving.conftest import AS_OF, ITEMS, RECIPE, build_history, build_toy_bundle
from tests.test_serving.grown import AGREED

UTC = "UTC"
WORLD = st.lists(
    st.tuples(st.floats(0.0078125, 1.0, width=32), st.integers(-1, 3), st.integers(-1, 3), st.integers(0, 1000)),
    min_size=1, max_size=14,
)  # fmt: skip
"""Items as (score, category, brand, buyers); -1 is unknown."""
SPECS = st.builds(SelectionSpec, st.sampled_from([0.0, 0.05, 0.3, 0.9]), st.sampled_from([0.0, 0.1, 1.0]))


class Shop:
    """Some items as a selector sees them: a bundle of nothing but shared statistics."""

    def __init__(self, items: list[tuple[float, int, int, int]]) -> None:
        ranked = sorted(items, key=lambda item: -item[0])
        self.scores = np.array([item[0] for item in ranked], np.float32)
        self.rows = np.arange(len(items), dtype=np.int32)
        self.category, self.brand, self.buyers = (np.array([item[at] for item in ranked]) for at in (1, 2, 3))

    def selector(self, spec: SelectionSpec, boosts: dict[int, float] | None = None) -> Selector:
        toy, count = build_toy_bundle(), len(self.rows)
        arrays = {name: np.resize(array, count) for name, array in toy.shared.arrays().items()}
        arrays |= {"shared.category": self.category.astype(np.int32), "shared.brand": self.brand.astype(np.int32)}
        arrays |= {"shared.buyers": self.buyers.astype(np.float32), "item.catalogue": np.ones(count, bool)}
        names = [str(row) for row in range(count)]
        bundle = Bundle(toy.manifest, {**arrays, **Vocabulary.of(names).arrays("items")})
        wished = tuple(Boost(factor, item_id=bundle.items[row]) for row, factor in (boosts or {}).items())
        business = Business(bundle, SelectionSettings(boosts=wished), UTC) if wished else None
        return Selector(Shelf(bundle), spec, business)

    def chosen(self, spec: SelectionSpec, count: int, boosts: dict[int, float] | None = None) -> list[int]:
        return self.selector(spec, boosts).select(self.rows, self.scores, count, AS_OF).places.tolist()

    def pairs(self, places: list[int]) -> int:
        """Pairs of one known category."""
        return sum(self.category[a] == self.category[b] != -1 for a, b in combinations(places, 2))

    def slowly(self, spec: SelectionSpec, count: int, boosts: dict[int, float]) -> list[tuple[int, float]]:
        """The definition, item by item and place by place."""
        listed: list[tuple[int, float]] = []
        left = list(range(len(self.rows)))
        while left and len(listed) < count:
            values = {}
            for at in left:
                value = float(self.scores[at]) * boosts.get(at, 1.0) * max(int(self.buyers[at]), 1) ** -spec.novelty
                for above, _ in listed:
                    if self.category[above] == self.category[at] != -1:
                        value *= 1 - spec.diversity
                    if self.brand[above] == self.brand[at] != -1:
                        value *= 1 - spec.diversity / 2
                values[at] = value
            best = max(left, key=lambda at: values[at])
            listed.append((best, values[best]))
            left.remove(best)
        return listed


BOOSTS = st.dictionaries(st.integers(0, 13), st.sampled_from([0.5, 3.0]))


@given(items=WORLD, spec=SPECS, count=st.integers(0, 16), boosts=BOOSTS)
def test_the_selector_is_the_slow_greedy(items, spec, count, boosts):
    """Place by place the same value; the same items wherever no two values are nearly equal."""
    shop = Shop(items)
    boosts = {at: factor for at, factor in boosts.items() if at < len(items)}
    found = shop.selector(spec, boosts).select(shop.rows, shop.scores, count, AS_OF)
    expected = shop.slowly(spec, count, boosts)
    assert found.values.tolist() == pytest.approx([value for _, value in expected], rel=1e-6)
    values = [value for _, value in expected]
    if all(high > low * (1 + 1e-9) for high, low in pairwise(values)) and len(values) == len(items):
        assert found.places.tolist() == [place for place, _ in expected]


@given(items=WORLD, spec=SPECS, count=st.integers(0, 16))
def test_what_is_chosen_is_distinct_descending_and_told(items, spec, count):
    """A permutation of some candidates; with as many places as candidates none is lost; the trace multiplies out."""
    shop = Shop(items)
    found = shop.selector(spec).select(shop.rows, shop.scores, count, AS_OF)
    assert len(set(found.places.tolist())) == len(found.places) == min(count, len(items))
    assert (np.diff(found.values) <= 0).all()
    if found.trace is not None:
        told = found.trace
        product = told.relevance * told.boost * told.objective * told.novelty * told.diversity
        assert product.tolist() == pytest.approx(found.values.tolist(), rel=1e-5)
        assert told.before.tolist() == found.places.tolist()


@given(items=WORLD, count=st.integers(0, 16), boosts=st.dictionaries(st.integers(0, 13), st.just(1.0)))
def test_nothing_traded_off_is_the_order_of_the_scores(items, count, boosts):
    """Bit by bit, and a boost by the factor 1 changes no item and no score either."""
    shop = Shop(items)
    boosts = {at: factor for at, factor in boosts.items() if at < len(items)}
    found = shop.selector(SelectionSpec(), boosts).select(shop.rows, shop.scores, count, AS_OF)
    assert found.places.tolist() == list(range(min(count, len(items))))
    assert found.values.tobytes() == shop.scores[:count].tobytes()
    assert (found.trace is None) == (not boosts)


@given(items=WORLD, count=st.integers(1, 14), weights=st.tuples(st.floats(0, 0.95), st.floats(0, 0.95)))
def test_more_diversity_never_leaves_more_pairs_of_one_category(items, count, weights):
    """Proved for categories alone: the greedy list maximises sum(log worth) + log(1 - diversity) x pairs."""
    shop = Shop([(score, category, -1, 1) for score, category, _, _ in items])
    less, more = (shop.pairs(shop.chosen(SelectionSpec(weight), count)) for weight in sorted(weights))
    assert more <= less


@given(items=WORLD, count=st.integers(1, 14), weights=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_more_novelty_never_chooses_more_popular_items(items, count, weights):
    """The sum of self-informations of the chosen is monotone: they maximise sum(log score) + novelty x that sum."""
    shop = Shop(items)
    bits = -np.log2(np.maximum(shop.buyers, 1))
    less, more = (bits[shop.chosen(SelectionSpec(novelty=weight), count)].sum() for weight in sorted(weights))
    assert more >= less - 1e-6


def test_by_hand():
    """0.9 and 0.8 of one category, 0.5 of another: at 0.5 the second of the category counts 0.4 and comes last."""
    shop = Shop([(0.9, 0, -1, 1), (0.8, 0, -1, 1), (0.5, 1, -1, 1)])
    found = shop.selector(SelectionSpec(0.5)).select(shop.rows, shop.scores, 3, AS_OF)
    assert found.places.tolist() == [0, 2, 1]
    assert found.values.tolist() == pytest.approx([0.9, 0.5, 0.4])
    assert found.trace.diversity.tolist() == pytest.approx([1, 1, 0.5])


def test_a_brand_costs_half_and_an_unknown_one_nothing():
    """The same brand at 0.4 takes 0.2 off: 0.8 x 0.8 = 0.64 is less than 0.7."""
    shop = Shop([(0.9, 0, 7, 1), (0.8, 1, 7, 1), (0.7, 2, 8, 1)])
    assert shop.chosen(SelectionSpec(0.4), 3) == [0, 2, 1]
    unknown = Shop([(0.9, -1, -1, 1), (0.8, -1, -1, 1), (0.7, -1, -1, 1)])
    assert unknown.chosen(SelectionSpec(0.9), 3) == [0, 1, 2]


def test_half_the_buyers_count_two_to_the_novelty_times():
    """200 buyers at 0.5 and 100 at 0.4 are level at novelty log2(5 / 4)."""
    shop, level = Shop([(0.5, -1, -1, 200), (0.4, -1, -1, 100)]), float(np.log2(5 / 4))
    assert shop.chosen(SelectionSpec(novelty=level - 0.01), 2) == [0, 1]
    assert shop.chosen(SelectionSpec(novelty=level + 0.01), 2) == [1, 0]


def test_what_stands_above_counts():
    """Two items of category 0 above: 0.9 x 0.5 x 0.5 falls behind 0.3."""
    shop = Shop([(0.9, 0, -1, 1), (0.3, 1, -1, 1), (0.1, 0, -1, 1), (0.1, 0, -1, 1)])
    selector, above = shop.selector(SelectionSpec(0.5)), np.array([2, 3], np.int32)
    assert selector.select(shop.rows[:2], shop.scores[:2], 2, AS_OF, above).places.tolist() == [1, 0]


def test_scores_of_nothing_or_less_stay_behind_in_their_order():
    """No factor makes them relevant, and a penalty never lifts them."""
    shop = Shop([(0.5, 0, -1, 1), (0.4, 0, -1, 1), (0.0, 1, -1, 1), (-0.2, 1, -1, 1), (-0.3, 0, -1, 1)])
    found = shop.selector(SelectionSpec(0.9), {4: 100.0}).select(shop.rows, shop.scores, 5, AS_OF)
    assert found.places.tolist() == [0, 1, 2, 3, 4]
    assert found.values.tolist() == pytest.approx([0.5, 0.04, 0.0, -0.2, -0.3])


def test_many_places_underflow_to_nothing_and_never_repeat():
    """0.01^300 is 0 as a number, and a place that was given stays given."""
    shop = Shop([(1.0, 0, -1, 1)] * 400)
    for on in (True, False):
        found = _switched(on, lambda: shop.selector(SelectionSpec(0.99)).select(shop.rows, shop.scores, 400, AS_OF))
        assert sorted(found.places.tolist()) == list(range(400))
        assert (np.diff(found.values) <= 0).all() and found.values[-1] == 0


@given(
    items=WORLD, spec=SPECS, count=st.integers(0, 16), boosts=BOOSTS, above=st.integers(0, 3), down=st.integers(0, 9)
)
def test_places_are_given_alike_with_and_without_kernels(items, spec, count, boosts, above, down):
    """Items, values and all that is told of them; with ties, unknown kinds, items above and scores of nothing or less.

    A power may differ in its last bit, so where places differ, the first that does was as good for what stood above it.
    """
    shop = Shop(items)
    shop.scores -= np.float32(0.0625 * down)
    selector = shop.selector(spec, {at: factor for at, factor in boosts.items() if at < len(items)})
    found, plain = (
        _switched(on, lambda: selector.select(shop.rows, shop.scores, count, AS_OF, shop.rows[:above]))
        for on in (True, False)
    )
    assert found.values.tolist() == pytest.approx(plain.values.tolist(), rel=1e-6, abs=1e-9)
    assert (found.trace is None) == (plain.trace is None)
    apart = np.flatnonzero(found.places != plain.places)
    if len(apart):
        first = apart[0]
        stood = np.concatenate([shop.rows[:above], shop.rows[plain.places[:first]]])
        other = found.places[first : first + 1]
        alone = _switched(False, lambda: selector.select(shop.rows[other], shop.scores[other], 1, AS_OF, stood))
        assert alone.values.tolist() == pytest.approx(plain.values[first : first + 1].tolist(), rel=1e-6, abs=1e-9)
    elif plain.trace is not None:
        for name in Trace.__struct_fields__:
            one, other = getattr(found.trace, name), getattr(plain.trace, name)
            assert one.dtype == other.dtype
            assert one.tolist() == pytest.approx(other.tolist(), rel=1e-6)


def _switched(on: bool, made: Callable[[], Selected]) -> Selected:
    with switched(on):
        return made()


def toy(recipe: Recipe = RECIPE, **arrays) -> Bundle:
    """The toy bundle with other arrays; prices are 1 to 8."""
    made = build_toy_bundle(recipe=recipe)
    return Bundle(made.manifest, {**made.arrays, **{name.replace("__", "."): array for name, array in arrays.items()}})


def factors(bundle: Bundle, settings: SelectionSettings, price=None) -> tuple[list, list, list]:
    rows = np.arange(8, dtype=np.int32)
    found = Business(bundle, settings, UTC).factors(rows, Shelf(bundle).price if price is None else price, AS_OF)
    return (found.boost.tolist(), found.objective.tolist(), found.known.tolist())


class TestWishes:
    """Boosts and objectives over the toy shop."""

    def test_boosts_of_an_item_multiply(self):
        """Twice by its category's end, three times by its id; a misspelt one is of nothing, and said."""
        wished = (Boost(2.0, category="Group > B"), Boost(3.0, item_id="b1"), Boost(9.0, brand="nobody's"))
        boost, objective, known = factors(toy(), SelectionSettings(boosts=wished))
        assert boost == [1, 1, 1, 1, 2, 6, 2, 2]
        assert objective == [1.0] * 8
        assert all(known)
        assert Business(toy(), SelectionSettings(boosts=wished), UTC).idle() == [wished[2]]

    def test_a_brand_is_matched_as_people_write_it(self):
        """Full-width and half-width, upper and lower case are one brand."""
        from serving.bundle import text_arrays

        brands = text_arrays("brand", ["ＡＣＭＥ", "ＡＣＭＥ", "", "", "other", "other", "", ""])
        bundle = toy(shared__brand=np.array([1, 1, -1, -1, 0, 0, -1, -1], np.int32), **brands)
        assert factors(bundle, SelectionSettings(boosts=(Boost(2.0, brand="acme"),)))[0] == [2, 2, 1, 1, 1, 1, 1, 1]

    def test_a_boost_obeys_the_shops_calendar(self):
        """In Tokyo the day begins nine hours before UTC's; the last day is the one before `until`."""
        first, last = date(2024, 10, 4), date(2024, 10, 5)
        settings = SelectionSettings(boosts=(Boost(2.0, item_id="a0", from_=first, until=last),))
        business, rows = Business(toy(), settings, "Asia/Tokyo"), np.zeros(1, np.int32)
        price, begin = np.ones(1, np.float32), 20_000 * DAY - 9 * HOUR
        in_force = [business.factors(rows, price, begin + at) is not None for at in (-1, 0, DAY - 1, DAY)]
        assert in_force == [False, True, True, False]

    def test_revenue_is_the_price_beside_the_median(self):
        """Prices 1 to 8, median 4.5; an unknown price counts as the median and is told."""
        price = np.array([1, 2, 3, 4, 5, 6, 7, np.nan], np.float32)
        _, objective, known = factors(toy(), SelectionSettings(objective="revenue", strength=0.5), price=price)
        assert objective == pytest.approx([*((value / 4.5) ** 0.5 for value in range(1, 8)), 1.0])
        assert known == [True] * 7 + [False]

    def test_margin_takes_tax_and_cost_out_and_guesses_by_the_median_share(self):
        """Item 0: 1 / 1.25 - 0.4 = 0.4, a share of 1/2; item 1: 2 - 0.5 = 1.5, a share of 3/4; the others 5/8."""
        cost, net = np.full(8, np.nan, np.float32), np.ones(8, np.float32)
        cost[:2], net[0] = (0.4, 0.5), 0.8
        bundle = toy(item__unit_cost=cost, item__net_share=net)
        _, objective, known = factors(bundle, SelectionSettings(objective="margin"))
        worth = [0.4, 1.5, *(price * 5 / 8 for price in range(3, 9))]
        assert objective == pytest.approx([value / np.median(worth[:2]) for value in worth])
        assert known == [True, True] + [False] * 6

    def test_what_sells_at_a_loss_counts_nothing_and_is_not_removed(self):
        """A sale below cost: behind all that is relevant, and shown."""
        bundle = toy(item__unit_cost=np.full(8, 0.5, np.float32))
        ranker = Ranker(bundle, business=Business(bundle, SelectionSettings(objective="margin"), UTC))
        ranker.shelf.apply([("a0", {"price": 0.25})])
        asked = Query(now=AS_OF, history=build_history(("purchase", "a0", 1.0)), num_results=8)
        plain = Ranker(bundle).rank(asked)
        assert plain.items[0] == 0
        slate = ranker.rank(asked)
        assert sorted(slate.items.tolist()) == list(range(8))
        assert slate.items[3] == 0  # behind a1 to a3; the other group has no relevance at all
        assert slate.scores[3] == 0

    @pytest.mark.parametrize("objective", ["revenue", "margin"])
    def test_money_that_nobody_knows_is_refused(self, objective):
        bundle = toy(item__price=np.full(8, np.nan, np.float32), item__unit_cost=np.ones(8, np.float32))
        with pytest.raises(ConfigError, match="no item"):
            Business(bundle, SelectionSettings(objective=objective), UTC)

    def test_without_wishes_there_is_no_business(self):
        assert Business.of(toy(), ShopConfig()) is None
        idle = ShopConfig(selection=SelectionSettings(objective="margin", strength=0.0))
        assert Business.of(toy(), idle) is None


KINDS = st.sampled_from(["view", "purchase", "return", "wishlist"])
EVENTS = st.lists(st.tuples(KINDS, st.sampled_from(ITEMS), st.floats(0.01, 400)), max_size=8)


@given(events=EVENTS, spec=SPECS, boosted=st.sampled_from(ITEMS), excluded=st.booleans())
def test_the_selector_never_removes_repeats_or_brings_back(events, spec, boosted, excluded):
    """With room for all items the same ones are shown as without it; what filters removed stays away."""
    bundle = toy(msgspec.structs.replace(RECIPE, selection=spec))
    business = Business(bundle, SelectionSettings(boosts=(Boost(50.0, item_id=boosted),)), UTC)
    plain, wishing = Ranker(toy()), Ranker(bundle, business=business)
    for each in (plain, wishing):
        each.shelf.apply([("a1", {"withdraw": True}), ("b1", {"inStock": False})])
    wanted = Filter(exclude=("purchased",) if excluded else ())
    asked = Query(now=AS_OF, history=build_history(*events), num_results=8, filter=wanted)
    one, two = plain.rank(asked), wishing.rank(asked)
    assert sorted(one.items.tolist()) == sorted(two.items.tolist())
    assert one.filled == two.filled
    assert not {1, 5} & set(two.items.tolist())
    assert (np.diff(two.scores) <= 1e-6).all()
    bought = set(asked.history.of_types(EventType.PURCHASE).item.tolist())
    assert not (excluded and bought & set(two.items.tolist()))


@given(events=EVENTS, specs=st.lists(SPECS, min_size=1, max_size=4))
def test_selecting_many_ways_at_once_equals_selecting_each(events, specs):
    """A voice is scored once for all its selections, and no list, score or trace differs."""
    ranker, weights = Ranker(toy()), dict(RECIPE.weights)
    asked = Query(now=AS_OF, history=build_history(*events), num_results=5)
    for spec, slate in zip(specs, ranker.rank_each(asked, [weights] * len(specs), specs), strict=True):
        alone = ranker.rank(asked, weights, selection=spec)
        assert slate.items.tolist() == alone.items.tolist()
        assert slate.scores.tolist() == alone.scores.tolist()
        assert slate.sources == alone.sources


def test_a_stranger_gets_the_boost_too():
    """Nobody is known, so popularity fills the list, and the selector chooses among it: b3 leads, then as before."""
    bundle = toy()
    business = Business(bundle, SelectionSettings(boosts=(Boost(100.0, item_id="b3"),)), UTC)
    slate = Ranker(bundle, business=business).rank(Query(now=AS_OF, history=History.empty(), num_results=4))
    assert [bundle.items[row] for row in slate.items.tolist()] == ["b3", "a0", "a1", "a2"]
    assert slate.scores.tolist() == [0.0] * 4
    assert slate.trace.before.tolist() == [7, 0, 1, 2]


def test_a_named_voice_is_kept():
    """`Buy again` promises what was bought: no wish changes it, unless the caller asks for a selection."""
    bundle = toy(msgspec.structs.replace(RECIPE, selection=SelectionSpec(0.5)))
    business = Business(bundle, SelectionSettings(boosts=(Boost(100.0, item_id="a1"),)), UTC)
    ranker = Ranker(bundle, business=business)
    asked = Query(now=AS_OF, history=build_history(("purchase", "a0", 1.0), ("purchase", "a1", 90.0)), num_results=2)
    voice = {"personal-frequency": 1.0}
    assert ranker.rank(asked, voice).items.tolist() == [0, 1]
    assert ranker.rank(asked, voice, selection=SelectionSpec()).items.tolist() == [1, 0]
    assert ranker.with_business(None).rank(asked, voice, selection=SelectionSpec()).items.tolist() == [0, 1]


def test_old_manifests_load_and_new_ones_carry_the_trade_off():
    """A recipe written before there were trade-offs has none; weights out of range are refused."""
    old = as_json(RECIPE)
    del old["selection"]
    assert from_json(old).selection == SelectionSpec()
    tuned = msgspec.structs.replace(RECIPE, selection=SelectionSpec(0.1, 0.05))
    assert from_json(as_json(tuned)) == tuned
    with pytest.raises(msgspec.ValidationError):
        from_json({**old, "selection": {"diversity": 1.0}})


BOOST = '[[selection.boosts]]\nfactor = 2.0\nitem-id = "a0"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[selection]\nobjectiv = "margin"', 'did you mean "objective"?'),
        ('[selection]\nobjective = "profit"', "profit"),
        ("[selection]\nstrength = 2.0", "<= 1"),
        ("[[selection.boosts]]\nfactor = 2.0", "exactly one of"),
        (BOOST + 'brand = "x"', "exactly one of"),
        (BOOST + "factr = 1.0", 'did you mean "factor"?'),
        (BOOST.replace("2.0", "-1.0"), ">= 0"),
        (BOOST + "from = 2026-12-01\nuntil = 2026-12-01", "ends before it begins"),
        (BOOST + 'from = "soon"', "date"),
    ],
)
def test_mistakes_in_the_settings_are_named(tmp_path, text, message):
    path = tmp_path / "shop.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"shop\.toml") as caught:
        load_config(path)
    assert message in caught.value.line()


def test_dates_may_be_written_with_or_without_quotes(tmp_path):
    path = tmp_path / "shop.toml"
    path.write_text(BOOST + 'from = 2026-12-01\nuntil = "2026-12-24"', encoding="utf-8")
    (boost,) = load_config(path).selection.boosts
    assert (boost.from_, boost.until) == (date(2026, 12, 1), date(2026, 12, 24))


class TestService:
    """From `shop.toml` to the answer."""

    def test_a_boost_changes_the_next_answer_and_explain_says_how(self, toy_shop, toy_engine, client):
        toy_shop.config.write_text(
            AGREED + '[shop]\nholdout = 0.0\n[[selection.boosts]]\nitem-id = "b3"\nfactor = 50.0\n'
        )
        assert toy_engine.refresh()
        answer = client.post("/v1/recommendations", json={"visitorId": "v", "numResults": 3, "explain": True}).json()
        assert [item["itemId"] for item in answer["itemList"]] == ["b3", "a0", "a1"]
        told = answer["explain"]["selection"]
        assert [(one["itemId"], one["placeBefore"], one["placeAfter"], one["boost"]) for one in told] == [
            ("b3", 8, 1, 50.0), ("a0", 1, 2, 1.0), ("a1", 2, 3, 1.0)
        ]  # fmt: skip

    def test_without_wishes_nothing_is_told(self, client):
        answer = client.post("/v1/recommendations", json={"visitorId": "v", "numResults": 3, "explain": True}).json()
        assert answer["explain"]["selection"] == []
        assert [item["itemId"] for item in answer["itemList"]] == ["a0", "a1", "a2"]

    def test_an_unknown_margin_is_told(self, toy_shop, toy_engine, client):
        """Two costs are known: their median share stands for the others', and `explain` says for which."""
        from serving.artifact import publish_live
        from serving.bundle import write_bundle

        cost = np.array([0.5, np.nan, np.nan, np.nan, 1.0, np.nan, np.nan, np.nan], np.float32)
        made = build_toy_bundle("toy-2")
        write_bundle(toy_shop.bundles / "toy-2", Bundle(made.manifest, {**made.arrays, "item.unit_cost": cost}))
        publish_live(toy_shop.bundles, "toy-2")
        toy_shop.config.write_text(AGREED + '[shop]\nholdout = 0.0\n[selection]\nobjective = "margin"\n')
        toy_engine.refresh()
        toy_engine.refresh()  # settings come first, and did not fit the old bundle
        answer = client.post("/v1/recommendations", json={"visitorId": "v", "numResults": 8, "explain": True}).json()
        told = {one["itemId"]: one["valueKnown"] for one in answer["explain"]["selection"]}
        assert told == {item: item in ("a0", "b0") for item in ITEMS}
        assert not toy_engine.refusals

    def test_margin_without_costs_is_refused(self, toy_shop, toy_engine):
        """A running service keeps what it had and says so; a new one does not start; the doctor fails it."""
        from serving import ops
        from serving.engine import Engine

        toy_shop.config.write_text('[selection]\nobjective = "margin"\n')
        before = toy_engine.live.config
        toy_engine.refresh()
        assert toy_engine.live.config == before
        assert "no item has a cost" in toy_engine.refusals["shop.toml"]
        with pytest.raises(ConfigError, match="no item has a cost"):
            Engine(toy_shop, worker=None)
        found = {check.name: check for check in ops.doctor(toy_shop)}
        assert found["selection"].verdict == "fail"

    def test_a_boost_of_nothing_is_warned_of(self, toy_shop):
        from serving import ops

        toy_shop.config.write_text('[[selection.boosts]]\nbrand = "acme"\nfactor = 2.0\n')
        found = {check.name: check for check in ops.doctor(toy_shop)}
        assert found["selection"].verdict == "warn"
        assert 'brand "acme"' in found["selection"].detail
