"""Sources, filters, blend, selection and fill on a world whose right answers can be read off."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import BundleError
from features.history import History
from features.moments import DAY
from serving.bundle import Bundle
from serving.business import Business
from serving.candidates import Candidates, Opinion, best
from serving.query import Context, Filter, Query
from serving.ranker import LONG, Ranker
from serving.recipe import USUAL, Breadth, as_json, from_json
from serving.scoring import Blend
from serving.settings.selection import Quota, SelectionSettings
from serving.sources import KINDS, build_sources

AS_OF = 20_000 * DAY
KINDS_OF_EVENTS = st.sampled_from(["view", "purchase", "return", "wishlist", "wishlist_remove", "cart"])
ITEM_IDS = st.sampled_from([f"{group}{number}" for group in "ab" for number in range(4)])


def query(history: History, **changes) -> Query:
    return Query(now=AS_OF, history=history, **changes)


def names(ranker: Ranker, rows) -> list[str]:
    return [ranker.bundle.items[int(row)] for row in rows]


@pytest.mark.parametrize("kind", sorted(KINDS))
class TestSourceContract:
    """What every candidate source promises."""

    @pytest.fixture
    def source(self, kind, toy_bundle):
        return next(source for source in build_sources(toy_bundle).values() if type(source) is KINDS[kind])

    def test_proposals_are_distinct_finite_and_descending(self, source, history_of):
        found = source.opine(query(history_of(("purchase", "a0", 3), ("view", "b1", 1)))).best(5)
        assert len(found.items) <= 5
        assert len(set(found.items.tolist())) == len(found.items)
        assert np.isfinite(found.scores).all()
        assert (np.diff(found.scores) <= 0).all()

    def test_same_question_same_answer(self, source, history_of):
        past = history_of(("purchase", "a0", 3), ("purchase", "b0", 3))
        one, two = source.opine(query(past)).best(8), source.opine(query(past)).best(8)
        assert one.items.tolist() == two.items.tolist()
        assert one.scores.tolist() == two.scores.tolist()

    @given(events=st.lists(st.tuples(KINDS_OF_EVENTS, ITEM_IDS, st.floats(0.0001, 400)), max_size=12))
    def test_any_history_gives_finite_scores_of_distinct_rising_items(self, kind, toy_bundle, history_of, events):
        """Opinions are float32 on int32 rows, whatever happened and however lately; an item has one score."""
        source = next(source for source in build_sources(toy_bundle).values() if type(source) is KINDS[kind])
        said = source.opine(query(history_of(*events)))
        assert said.items.dtype == np.int32
        assert said.scores.dtype == np.float32
        assert (np.diff(said.items) > 0).all()
        assert not np.isnan(said.scores).any()
        found = said.best(8)
        causes = source.causes(query(history_of(*events)), found.items)
        assert set(causes.tolist()) <= {-1, *(toy_bundle.items.row(item) for _, item, _ in events)}

    @given(
        events=st.lists(st.tuples(KINDS_OF_EVENTS, ITEM_IDS, st.sampled_from([0.001, 3.0])), max_size=8),
        later=st.lists(st.tuples(KINDS_OF_EVENTS, ITEM_IDS, st.sampled_from([0.002, 2.0])), max_size=4),
    )
    def test_what_was_read_for_one_question_is_not_the_answer_to_another(
        self, kind, toy_bundle, history_of, events, later
    ):  # fmt: skip
        """A query that was asked and then given another moment, or another past, answers like a fresh one."""
        source = next(source for source in build_sources(toy_bundle).values() if type(source) is KINDS[kind])
        asked, other = query(history_of(*events)), history_of(*later)
        source.opine(asked)
        for changes in ({"now": AS_OF + DAY}, {"history": other}, {"num_results": 3}):
            found = source.opine(msgspec.structs.replace(asked, **changes))
            fresh = source.opine(Query(**{"now": AS_OF, "history": asked.history, **changes}))
            assert np.array_equal(found.items, fresh.items)
            assert np.array_equal(found.scores, fresh.scores)

    @given(
        events=st.lists(st.tuples(KINDS_OF_EVENTS, ITEM_IDS, st.sampled_from([0.001, 3.0])), max_size=8, unique=True),
        random=st.randoms(use_true_random=False),
    )
    def test_the_order_of_different_events_of_one_instant_says_nothing(
        self, kind, toy_bundle, history_of, events, random
    ):  # fmt: skip
        """Purchases and views of one instant, in any order, are the same past (a wish and its removal are not)."""
        alike = [event for event in events if event[0] in ("view", "purchase", "return", "cart")]
        source = next(source for source in build_sources(toy_bundle).values() if type(source) is KINDS[kind])
        one, two = (source.opine(query(history_of(*each))) for each in (alike, random.sample(alike, len(alike))))
        assert one.items.tolist() == two.items.tolist()
        assert one.scores.tolist() == pytest.approx(two.scores.tolist(), rel=1e-4)

    def test_a_stranger_gets_nothing_personal(self, source):
        found = source.opine(query(History.empty())).best(5)
        assert (len(found.items) == 0) == source.personal

    def test_causes_are_items_of_the_past_or_none(self, source, history_of):
        asked = query(history_of(("purchase", "a0", 3)))
        causes = source.causes(asked, np.array([3, 1], np.int32))
        assert causes.dtype == np.int32
        assert len(causes) == 2
        assert set(causes.tolist()) <= {-1, 0, 1, 3}


def test_popularity_knows_regions_and_falls_back(toy_bundle):
    """A region with its own list gets it; an unknown one gets everywhere's."""
    ranker = Ranker(toy_bundle)
    north = ranker.rank(query(History.empty(), context=Context(region="north"), num_results=3))
    nowhere = ranker.rank(query(History.empty(), context=Context(region="mars"), num_results=3))
    assert names(ranker, north.items) == ["b0", "b1", "b2"]
    assert names(ranker, nowhere.items) == ["a0", "a1", "a2"]


def test_buy_again_counts_with_decay(toy_bundle, history_of):
    """Two purchases 30 days ago weigh 2 x 1/2 = 1, one of today weighs 1; one of 60 days ago 1/4."""
    source = build_sources(toy_bundle)["personal-frequency"]
    past = history_of(("purchase", "a1", 30), ("purchase", "a1", 30), ("purchase", "b2", 0.0), ("purchase", "b3", 60))
    found = source.opine(query(past)).best(10)
    assert found.scores == pytest.approx([1.0, 1.0, 0.25])
    assert found.items.tolist() == [1, 6, 7]  # the tie goes to the lower row


def test_a_return_takes_a_purchase_back(toy_bundle, history_of):
    source = build_sources(toy_bundle)["personal-frequency"]
    assert not len(source.opine(query(history_of(("purchase", "a1", 5), ("return", "a1", 5)))).best(10).items)


def test_fold_in_points_to_the_own_group(toy_bundle, history_of):
    """With one purchase in group A: u = (gram + 0.1 I + 10 y y')^-1 y (1 + 10) = 11 / 14.1 on axis A, 0 on axis B."""
    source = build_sources(toy_bundle)["ials"]
    vector = source.fold_in(query(history_of(("purchase", "a0", 0.0))))
    assert vector == pytest.approx([11 / 14.1, 0.0], rel=1e-5)


def test_neighbours_add_up(toy_bundle, history_of):
    """a1's score from a0 (weight 1/2) and a2 (weight 1/2), both bought now, is 1/2 + 1/2."""
    source = build_sources(toy_bundle)["item-item"]
    found = source.opine(query(history_of(("purchase", "a0", 0.0), ("purchase", "a2", 0.0)))).best(8)
    assert dict(zip(found.items.tolist(), found.scores.tolist(), strict=True))[1] == pytest.approx(1.0)
    assert source.causes(
        query(history_of(("purchase", "a0", 0.0), ("purchase", "b2", 0.0))), np.array([1], np.int32)
    ) == [0]


@given(
    st.lists(st.sampled_from([-np.inf, np.inf, np.nan, -3.4e38, 0.0, 1.0, 1.5, 2.0]), max_size=30),
    st.integers(0, 12),
)
def test_best_is_a_stable_sort_of_the_usable(scores, count):
    """Equal to sorting everything by (-score, item); sentinels and non-finite scores never come through."""
    given_scores = np.array(scores, np.float32)
    items = np.arange(100, 100 + len(scores), dtype=np.int32)
    usable = [
        (-s, i) for s, i in zip(given_scores.tolist(), items.tolist(), strict=True) if np.isfinite(s) and s > -1e30
    ]
    assert best(given_scores, items, count).items.tolist() == [i for _, i in sorted(usable)[:count]]


def test_blend_divides_each_source_by_its_largest():
    """1 x 4/4 + 0.5 x 1/2 = 1.25 for the first; 1 x 2/4 = 0.5 for the second; 0.5 x 2/2 for the third."""
    said = {
        "x": Opinion(np.array([1, 2], np.int32), np.array([4, 2], np.float32)),
        "y": Opinion(np.array([1, 3], np.int32), np.array([1, 2], np.float32)),
    }
    found = Candidates.of_best(said, 5)
    scores, leading = Blend({"x": 1.0, "y": 0.5}).score(query(History.empty()), found)
    assert scores.tolist() == [1.25, 0.5, 0.5]
    assert leading.tolist() == [0, 0, 1]


def test_filters_remove_with_reasons(toy_bundle, history_of):
    """What was bought, what is withdrawn and what is of another category leave, each under its own name."""
    ranker = Ranker(toy_bundle)
    ranker.shelf.apply([("a1", {"withdraw": True}), ("a2", {"inStock": False})])
    asked = query(
        history_of(("purchase", "a0", 1), ("purchase", "b0", 1)),
        filter=Filter(exclude=("purchased",), categories=("Group > A",)),
        num_results=8,
    )
    slate = ranker.rank(asked)
    assert names(ranker, slate.items) == ["a3"]
    removed = {reason: set(names(ranker, rows)) for reason, rows in slate.considered.removed}
    assert removed["withdrawn"] == {"a1"}
    assert removed["out-of-stock"] == {"a2"}
    assert removed["purchased"] == {"a0", "b0"}
    assert "b1" in removed["other-category"]


def test_fill_never_displaces(toy_bundle, history_of):
    """The first places are the same with and without filling; only missing places are filled, no item twice."""
    ranker = Ranker(toy_bundle)
    asked = query(history_of(("purchase", "b3", 1)), num_results=8)
    bare = ranker.rank(asked, {"personal-frequency": 1.0}, filled=False)
    full = ranker.rank(asked, {"personal-frequency": 1.0})
    assert full.items[: len(bare.items)].tolist() == bare.items.tolist()
    assert sorted(full.items.tolist()) == list(range(8))
    assert full.filled == 7


def test_without_personal_sources_the_past_does_not_matter(toy_bundle, history_of):
    """The holdout's list is the same for everyone in the region."""
    ranker = Ranker(toy_bundle)
    one = ranker.rank(query(history_of(("purchase", "b3", 1))), personal=False)
    two = ranker.rank(query(History.empty()), personal=False)
    assert one.items.tolist() == two.items.tolist()


@given(events=st.lists(st.tuples(KINDS_OF_EVENTS, ITEM_IDS, st.floats(0.01, 400)), max_size=12))
def test_any_history_gives_a_full_distinct_slate(toy_bundle, history_of, events):
    """No history, however odd, gives an empty, short or repeating answer, or an item outside the catalogue."""
    slate = Ranker(toy_bundle).rank(query(history_of(*events), num_results=8))
    assert sorted(slate.items.tolist()) == list(range(8))
    assert np.isfinite(slate.scores).all()
    assert (np.diff(slate.scores) <= 1e-6).all()


@given(st.lists(ITEM_IDS, unique=True, min_size=1))
def test_given_items_are_ordered_and_only_these(toy_bundle, history_of, given_ids):
    """What was bought comes first, what no source knows of comes last by what sells, and none is lost or added."""
    ranker = Ranker(toy_bundle)
    rows = toy_bundle.items.rows_of(given_ids)
    slate = ranker.rank_given(query(history_of(("purchase", "b3", 1))), rows)
    assert sorted(names(ranker, slate.items)) == sorted(given_ids)
    if "b3" in given_ids:
        assert names(ranker, slate.items)[0] == "b3"


WEIGHTINGS = st.lists(
    st.dictionaries(
        st.sampled_from(["popularity", "personal-frequency", "ials", "item-item"]),
        st.sampled_from([0.0, 0.5, 1.0]),
        min_size=1,
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize(("most", "shown"), [(0, 5), (1, 1)])
@given(events=st.lists(st.tuples(KINDS_OF_EVENTS, ITEM_IDS, st.floats(0.01, 400)), max_size=8), several=WEIGHTINGS)
def test_ranking_for_many_weightings_equals_ranking_for_each(narrow, history_of, most, shown, events, several):
    """Gathering and filtering once for all weightings changes no list, score or source."""
    ranker = narrow(most)
    for wanted in (Filter(), Filter(exclude=("purchased",))):
        asked = query(history_of(*events), num_results=shown, filter=wanted)
        for weights, slate in zip(several, ranker.rank_each(asked, several), strict=True):
            alone = ranker.rank(asked, weights)
            assert slate.items.tolist() == alone.items.tolist()
            assert slate.scores.tolist() == alone.scores.tolist()
            assert slate.sources == alone.sources


def test_only_the_foremost_of_the_past_speak_for_others(make_toy_bundle, toy_bundle, history_of):
    """What was bought long ago is in the past of both, and speaks only where all of it does."""
    past = history_of(("purchase", "a0", 300), ("purchase", "b0", 2))
    for most, spoken in ((1, {"b"}), (2, {"a", "b"}), (0, {"a", "b"})):
        ranker = Ranker(make_toy_bundle(recipe=msgspec.structs.replace(toy_bundle.recipe, past=most)))
        near = ranker.opinion("item-item", query(past))
        assert {name[0] for name in names(ranker, near.items)} == spoken
        folded = ranker.sources["ials"].fold_in(query(past))
        assert (folded[0] > 0.01) == ("a" in spoken)
        causes = ranker.sources["item-item"].causes(query(past), np.array([1, 5], np.int32))
        assert causes.tolist() == [0 if "a" in spoken else -1, 4]
        again = ranker.opinion("personal-frequency", query(past))
        assert names(ranker, again.items) == ["a0", "b0"]  # what is bought again is asked of all of the past


@pytest.fixture(scope="module")
def narrow(make_toy_bundle, toy_bundle):
    """Builds a ranker that orders so many candidates."""
    return lambda most: Ranker(make_toy_bundle(recipe=msgspec.structs.replace(toy_bundle.recipe, candidates=most)))


@given(
    events=st.lists(st.tuples(KINDS_OF_EVENTS, ITEM_IDS, st.floats(0.01, 400)), max_size=8),
    most=st.integers(0, 8), shown=st.integers(1, 3), bought=st.booleans(),
)  # fmt: skip
def test_the_foremost_of_what_the_filters_leave_are_ordered(narrow, history_of, events, most, shown, bought):
    """A filter takes no place; a longer list has more to choose from; 0 is no limit."""
    wanted = Filter(exclude=("purchased",) if bought else ())
    asked, voices = query(history_of(*events), num_results=shown, filter=wanted), ("popularity", "item-item")
    everything = narrow(0).considered(asked, voices)
    found = narrow(most).considered(asked, voices)
    assert len(found) == (min(len(everything), max(most, LONG * shown)) if most else len(everything))
    assert set(found.items.tolist()) <= set(everything.items.tolist())
    assert dict(found.removed).keys() == dict(everything.removed).keys()


def test_quotas_choose_from_all_that_was_gathered(narrow, history_of):
    """An item that is not among the foremost still comes where a quota asks for it, and fills no hole."""
    ranker, asked = narrow(4), query(history_of(("purchase", "a0", 3), ("purchase", "b0", 4)), num_results=1)
    voices = ranker.scorer(asked).voices
    behind = np.setdiff1d(ranker.remaining(asked, voices).items, ranker.considered(asked, voices).items)
    quota = Quota(1, at_least=1, item_ids=tuple(names(ranker, behind[-1:])))
    wishes = Business(ranker.bundle, SelectionSettings(quotas=(quota,)), "UTC")
    slate = ranker.with_business(wishes).rank(asked)
    assert slate.items.tolist() == behind[-1:].tolist()
    assert slate.filled == 0


def test_a_manifest_of_before_there_was_a_limit_orders_all(toy_bundle):
    """What was trained on all candidates and all of the past goes on so; a new recipe says how many."""
    written = as_json(toy_bundle.recipe)
    assert from_json(written) == toy_bundle.recipe
    assert toy_bundle.recipe.breadth == USUAL
    del written["candidates"], written["past"]
    assert from_json(written).breadth == Breadth(USUAL.per_source, 0, past=0)


def test_a_recipe_of_a_later_program_is_refused_and_nothing_else(toy_bundle):
    """The watch goes on with the bundle that it has; whatever stands behind it is looked at all the same."""
    later = {**toy_bundle.manifest["recipe"], "yetToCome": 1}
    with pytest.raises(BundleError, match="yetToCome"):
        _ = Bundle({**toy_bundle.manifest, "recipe": later}, toy_bundle.arrays).recipe
