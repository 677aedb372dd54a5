"""Fitting: recipes become bundles, popularity backs off, and nothing after the moment is looked at."""

from __future__ import annotations

import weakref
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from features.errors import ConfigError, DataError
from features.history import Histories, History
from features.ids import Vocabulary
from features.kinds import EventType
from features.moments import DAY
from serving.bundle import open_bundle, write_bundle
from serving.query import Context, Query
from serving.ranker import Ranker
from serving.recipe import Recipe, SourceSpec
from serving.sources import contract
from training.fitting import Cut, bare_items, fit_bundle, fit_sources
from training.methods import METHODS, resolved, resolved_recipe
from training.popularity import FrequencyParams, PopularityParams

NOW = 100 * DAY
SPECS = {
    "popularity": SourceSpec("popularity", "popularity"),
    "personal-frequency": SourceSpec("personal-frequency", "personal-frequency"),
    "ials": SourceSpec("ials", "factors", "ials", {"factors": 4, "iterations": 8, "regularization": 1.0}),
    "bpr": SourceSpec("bpr", "factors", "bpr", {"factors": 4, "iterations": 3}),
    "cosine": SourceSpec("cosine", "neighbours", "cosine", {"neighbours": 5}),
    "bm25": SourceSpec("bm25", "neighbours", "bm25", {"neighbours": 5}),
    "ease": SourceSpec("ease", "neighbours", "ease", {"neighbours": 5}),
    "graph-filter": SourceSpec("graph-filter", "neighbours", "graph-filter", {"rank": 2, "neighbours": 5}),
}
EVERYTHING = Recipe("everything", tuple(SPECS.values()), {"popularity": 1.0})


def histories_of(lines: list[tuple], items: int = 6, subjects: list[str] | None = None) -> Histories:
    """(subject, day, item[, type[, recorded day]]) -> Histories."""
    names = Vocabulary.of(sorted(subjects or {line[0] for line in lines}))
    rows = sorted((names.row(line[0]), line[1], n) for n, line in enumerate(lines))
    listed = [lines[row[2]] for row in rows]
    history = History(
        time=np.array([int(line[1] * DAY) for line in listed], np.int64),
        recorded=np.array([int((line[4] if len(line) > 4 else line[1]) * DAY) for line in listed], np.int64),
        item=np.array([line[2] for line in listed], np.int32),
        type=np.array([line[3] if len(line) > 3 else EventType.PURCHASE for line in listed], np.int8),
        quantity=np.ones(len(listed), np.float32),
        value=np.ones(len(listed), np.float32),
        key=np.arange(len(listed), dtype=np.uint64),
    )
    counts = np.bincount([row[0] for row in rows], minlength=len(names))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Histories(names, Vocabulary.of([f"item-{n}" for n in range(items)]), offsets, history)


def two_tastes(customers: int = 24, items: int = 12) -> Histories:
    """Even customers buy even items and odd ones odd items, each but one; the last item is bought by two only."""
    lines = [
        (f"c:{u:02}", 60 + (u * 7 + i * 3) % 30, i)
        for u in range(customers)
        for i in range(items - 1)
        if (u + i) % 2 == 0 and i // 2 != u % (items // 2)
    ]
    return histories_of([*lines, ("c:00", 80, items - 1), ("c:01", 80, items - 1)], items)


class TestPopularity:
    """The floor that cannot fail."""

    def fit(self, lines: list[tuple], regions: dict[int, str] | None = None, least: int = 1, **params):
        """Arrays of a popularity source."""
        cut = Cut(histories_of(lines), NOW, min_customers=least, regions=regions)
        return cut.fit(SourceSpec("popularity", "popularity", params=params)).arrays

    def test_a_customer_counts_once_an_item_by_the_latest_purchase(self):
        """Item 0: one customer yesterday and one two half-lives ago: 1/2 + 1/4 x 1/2... as arithmetic below."""
        lines = [("c:1", 50, 0), ("c:1", 98, 0), ("c:1", 98, 0), ("c:2", 96, 0), ("c:2", 98, 1)]
        arrays = self.fit(lines, half_life_days=2)
        assert arrays["items"].tolist() == [[0, 1]]
        assert arrays["scores"][0].tolist() == pytest.approx([2**-1 + 2**-2, 2**-1])

    def test_only_what_customers_bought_counts(self):
        """Views, returns and visitors do not; neither does what comes after the moment."""
        lines = [
            ("c:1", 90, 0),
            ("c:1", 91, 1, EventType.VIEW),
            ("v:1", 92, 2),
            ("c:1", 101, 3),
            ("c:1", 93, 4, EventType.PURCHASE, 120),
        ]
        assert self.fit(lines)["items"].tolist() == [[0]]

    def test_a_region_with_many_sales_has_its_own_order_and_one_with_few_follows_the_shop(self):
        """North sells item 1 a lot; South sold item 2 once, which is not enough to overturn the shop's order."""
        north = [(f"c:n{u}", 99, 1) for u in range(40)]
        rest = [(f"c:r{u}", 99, 0) for u in range(60)]
        lines = [*north, *rest, ("c:s", 99, 2)]
        names = Vocabulary.of(sorted({line[0] for line in lines}))
        regions = {names.row(line[0]): "North" for line in north} | {names.row("c:s"): "South"}
        arrays = self.fit(lines, regions, back_off=10)
        found = Vocabulary.from_arrays(arrays, "regions")
        assert list(found) == ["North", "South"]
        assert arrays["items"][0, 0] == 1
        assert arrays["items"][1, :2].tolist() == [0, 1]
        assert arrays["items"][2, :2].tolist() == [0, 1]

    def test_ties_go_to_the_lowest_row(self):
        """So that two fits are equal."""
        assert self.fit([("c:1", 90, 3), ("c:1", 90, 1), ("c:1", 90, 5)])["items"].tolist() == [[1, 3, 5]]

    def test_an_empty_catalogue_gives_an_empty_list(self):
        """A shop on its first day."""
        arrays = self.fit([("c:1", 90, 0)], least=5)
        assert arrays["items"].shape == (1, 0)

    def test_it_serves_the_region_that_a_request_names(self):
        """Through the ranker that serves; an unknown region gets what sells everywhere."""
        lines = [(f"c:{u}", 99, 1) for u in range(3)] + [(f"c:{u}", 99, 0) for u in range(3, 8)]
        cut = Cut(histories_of(lines), NOW, min_customers=1, regions=dict.fromkeys(range(3), "North"))
        spec = msgspec.structs.replace(SPECS["popularity"], params={"back_off": 1.0})
        ranker = Ranker(fit_bundle(cut, Recipe("p", (spec,), {"popularity": 1.0})))
        first = {
            region: int(ranker.rank(Query(NOW, History.empty(), context=Context(region=region))).items[0])
            for region in ("North", "Atlantis", None)
        }
        assert first == {"North": 1, "Atlantis": 0, None: 0}


class TestFrequency:
    """What orders items that a customer bought equally often."""

    def test_it_is_popularity_as_a_share_of_the_best_seller(self):
        """Yesterday's buyers: three of item 2, one of item 4; nobody bought the others."""
        lines = [("c:1", 99, 2), ("c:2", 99, 2), ("c:3", 99, 2), ("c:3", 99, 2), ("c:1", 99, 4)]
        cut = Cut(histories_of(lines), NOW, min_customers=1)
        popular = cut.fit(SPECS["personal-frequency"]).arrays["popular"]
        assert popular.tolist() == pytest.approx([0, 0, 1, 0, 1 / 3, 0])


class TestCut:
    """What was known at a moment."""

    def test_the_catalogue_needs_enough_customers(self):
        """Items that fewer bought are nobody else's business: they are not recommended by any source."""
        cut = Cut(two_tastes(), NOW, min_customers=5)
        assert np.flatnonzero(~cut.listed).tolist() == [11]
        ranker = Ranker(fit_bundle(cut, EVERYTHING))
        for name in SPECS:
            slate = ranker.rank(Query(NOW, cut.known.at(0), num_results=12), {name: 1.0})
            assert 11 not in slate.items

    def test_what_happens_later_changes_nothing(self):
        """Fits are equal to the byte with and without events at or after the moment, or recorded after it."""
        base = two_tastes()
        names, events = base.subjects, base.events
        late = histories_of(
            [
                *zip([names[r] for r in base.subject_rows()], events.time / DAY, events.item, strict=True),
                ("c:00", 100, 3),
                ("c:01", 120, 2),
                ("c:02", 99, 1, EventType.PURCHASE, 101),
            ],
            len(base.items),
        )
        first, second = (fit_sources(Cut(each, NOW), SPECS.values()) for each in (base, late))
        assert all(np.array_equal(first[key], second[key]) for key in first)

    def test_a_moment_that_rests_gives_its_memory_back_and_answers_as_before(self):
        """What was fitted stays; what is fitted after it is the same as without a rest."""
        histories = two_tastes()
        cut, other = (Cut(histories, 85 * DAY, min_customers=2) for _ in range(2))
        assert 0 < len(cut.known.events) < len(histories.events)
        early, late = ([SPECS[name] for name in names] for names in (("ials", "cosine"), ("bpr", "bm25")))
        before = fit_sources(cut, early)
        fitted, known = cut.fit(early[0]), weakref.ref(cut.known.events.time)
        cut.rest()
        assert known() is None
        assert cut.fit(early[0]) is fitted
        again, plain = fit_sources(cut, [*early, *late]), fit_sources(other, [*early, *late])
        assert again.keys() == plain.keys()
        for name, array in plain.items():
            np.testing.assert_array_equal(again[name], array)
        assert all(again[name] is array for name, array in before.items())

    def test_the_same_source_under_two_names_is_fitted_once(self, monkeypatch):
        """Recipes of a run share their sources."""
        calls = []
        ials = METHODS["ials"]
        counted = replace(ials, learn=lambda *a, **k: calls.append(1) or ials.learn(*a, **k))
        monkeypatch.setitem(METHODS, "ials", counted)
        cut, spec = Cut(two_tastes(), NOW), SPECS["ials"]
        other = msgspec.structs.replace(spec, name="other", params={**spec.params, "seed": 0})
        again = fit_sources(cut, [spec, other])
        assert len(calls) == 1
        assert again["source.ials.gram"] is again["source.other.gram"]
        cut.fit(msgspec.structs.replace(spec, params={**spec.params, "seed": 1}))
        assert len(calls) == 2

    def test_items_outside_the_catalogue_have_no_factors_and_no_neighbours(self):
        """The arrays span all items, so that a request may name any of them."""
        cut = Cut(two_tastes(), NOW)
        assert not cut.fit(SPECS["ials"]).arrays["item_factors"][11].any()
        for name in ("cosine", "bm25", "ease", "graph-filter"):
            arrays = cut.fit(SPECS[name]).arrays
            assert len(arrays["indptr"]) == 13
            assert arrays["indptr"][11] == arrays["indptr"][12]
            assert 11 not in arrays["edges"][:, 0]

    def test_sources_that_weigh_events_alike_read_a_history_once(self, monkeypatch):
        """Four neighbour sources and two of factors have two half-lives between them: two readings, not six."""
        calls, read = [], contract.preferences
        monkeypatch.setattr(contract, "preferences", lambda *asked: calls.append(1) or read(*asked))
        cut = Cut(two_tastes(), NOW)
        ranker = Ranker(fit_bundle(cut, EVERYTHING))
        names = ("ials", "bpr", "cosine", "bm25", "ease", "graph-filter")
        ranker.rank(Query(NOW, cut.known.at(0)), dict.fromkeys(names, 1.0))
        assert len(calls) == 2

    def test_progress_names_the_source_and_ends(self):
        """One bar a source."""
        heard = []
        fit_sources(Cut(two_tastes(), NOW), [SPECS["ials"]], lambda *told: heard.append(told))
        assert heard[-1][1] == heard[-1][2]
        assert {told[0] for told in heard} == {"ials"}

    def test_nothing_to_learn_from_is_an_error_of_the_data(self):
        """Popularity and frequency still fit: they are what serves then."""
        cut = Cut(histories_of([("c:1", 90, 0)]), NOW)
        with pytest.raises(DataError, match="no interactions"):
            cut.fit(SPECS["ials"])
        assert cut.fit(SPECS["popularity"]).arrays["items"].shape == (1, 0)
        assert not cut.fit(SPECS["personal-frequency"]).arrays["popular"].any()


class TestSpecs:
    """What a recipe may say."""

    def test_resolved_writes_every_parameter_out_and_is_idempotent(self):
        """What a request reads is never left to a default."""
        spec = resolved(SPECS["ials"])
        assert spec.params["factors"] == 4
        assert {"regularization", "alpha", "confidence"} <= spec.params.keys()
        assert {"weights", "half_life_days"} <= spec.params["confidence"].keys()
        assert resolved(spec) == spec
        assert resolved_recipe(resolved_recipe(EVERYTHING)) == resolved_recipe(EVERYTHING)

    def test_a_kind_is_its_own_method_where_none_is_named(self):
        """Popularity and frequency need no second word."""
        assert resolved(SPECS["popularity"]).method == "popularity"
        assert resolved(SPECS["popularity"]).params == msgspec.to_builtins(PopularityParams())
        assert resolved(SPECS["personal-frequency"]).params == msgspec.to_builtins(FrequencyParams())

    @pytest.mark.parametrize(
        ("spec", "expected"),
        [
            (SourceSpec("x", "factors", "svd"), "no such method"),
            (SourceSpec("x", "neighbours", "ials"), "no such method"),
            (SourceSpec("x", "factors"), "no such method"),
            (SourceSpec("x", "factors", "ials", {"regularisation": 1.0}), "regularisation.*valid: factors"),
            (SourceSpec("x", "factors", "ials", {"factors": 0}), "factors"),
            (SourceSpec("x", "neighbours", "ease", {"l2": 0.0}), "l2"),
            (SourceSpec("x", "factors", "ials", {"confidence": {"half_life": 3}}), "half_life"),
        ],
    )
    def test_what_makes_no_sense_is_refused_by_name(self, spec, expected):
        """With the valid names."""
        with pytest.raises(ConfigError, match=expected):
            resolved(spec)

    def test_a_weight_without_a_source_is_refused(self):
        """Before anything is fitted."""
        recipe = Recipe("wrong", (SPECS["popularity"],), {"popularity": 1.0, "ease": 0.5})
        with pytest.raises(ConfigError, match="no such source in the recipe; got 'ease'"):
            fit_bundle(Cut(two_tastes(), NOW), recipe)

    def test_a_fallback_without_a_source_is_refused(self):
        """An answer is never empty."""
        recipe = Recipe("wrong", (SPECS["personal-frequency"],), {"personal-frequency": 1.0})
        with pytest.raises(ConfigError, match="popularity"):
            fit_bundle(Cut(two_tastes(), NOW), recipe)


class TestBundle:
    """The bundle in memory is the bundle on disk."""

    @pytest.mark.parametrize("name", SPECS)
    def test_it_answers_the_same_after_writing_and_mapping(self, name, tmp_path: Path):
        """What is evaluated is what is published, source by source."""
        cut = Cut(two_tastes(), NOW)
        bundle = fit_bundle(cut, EVERYTHING)
        write_bundle(tmp_path / bundle.id, bundle)
        before, after = Ranker(bundle), Ranker(open_bundle(tmp_path / bundle.id))
        for row in range(4):
            query = Query(NOW, cut.known.at(row), num_results=5)
            first, second = (ranker.rank(query, {name: 1.0}) for ranker in (before, after))
            assert first.items.tolist() == second.items.tolist()
            assert len(first.items) == 5

    @pytest.mark.parametrize("name", ["ials", "cosine", "bm25", "ease", "graph-filter"])
    def test_models_find_the_item_that_is_missing_from_a_taste(self, name):
        """Customer u has not bought one item of the own taste: it comes first among the new ones."""
        cut = Cut(two_tastes(), NOW)
        ranker = Ranker(fit_bundle(cut, EVERYTHING))
        for u in range(12):
            bought = set(cut.known.at(u).item.tolist())
            missing = [i for i in range(11) if (u + i) % 2 == 0 and i not in bought]
            ranked = ranker.rank(Query(NOW, cut.known.at(u), num_results=12), {name: 1.0}).items
            fresh = [int(item) for item in ranked if item not in bought]
            assert fresh[: len(missing)] == missing

    def test_its_id_names_the_moment_the_recipe_and_the_inputs(self):
        """Equal inputs, equal id; any other input, parameter or moment, another id."""
        cut = Cut(two_tastes(), NOW)
        recipe = Recipe("popular", (SPECS["popularity"],), {"popularity": 1.0})
        same = {fit_bundle(cut, recipe, data_hash="a").id for _ in range(2)}
        other = msgspec.structs.replace(SPECS["popularity"], params={"half_life_days": 3.0})
        different = {
            fit_bundle(cut, recipe, data_hash="b").id,
            fit_bundle(cut, Recipe("popular", (other,), {"popularity": 1.0}), data_hash="a").id,
            fit_bundle(Cut(two_tastes(), NOW + DAY), recipe, data_hash="a").id,
        }
        assert len(same) == 1
        assert len(same | different) == 4
        assert next(iter(same)).startswith("19700411T000000Z-popular-")

    def test_it_holds_nothing_about_a_person(self):
        """No array is as long as the customers are many, and no subject's id is in any text."""
        histories = two_tastes(customers=23)
        bundle = fit_bundle(Cut(histories, NOW), EVERYTHING)
        lengths = {size for array in bundle.arrays.values() for size in array.shape}
        assert not lengths & {22, 23, 24}
        texts = b"".join(array.tobytes() for name, array in bundle.arrays.items() if name.endswith("blob"))
        assert b"c:" not in texts

    def test_bare_items_tell_numbers_of_buyers_and_nothing_else(self):
        """For benchmarks and tests, where there is no catalogue."""
        cut = Cut(two_tastes(), NOW)
        bundle = fit_bundle(cut, EVERYTHING, items=bare_items(cut))
        assert bundle.shared.buyers.tolist() == cut.buyers.tolist()
        assert bundle.text("title", 3) == ""
        assert list(bundle.items) == list(cut.known.items)
