"""How varied lists are tuned to be, on worlds where the right trade-off can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from features.ids import Vocabulary
from features.moments import DAY
from serving.bundle import Bundle
from serving.business import PLAIN
from serving.recipe import Recipe, SelectionSpec, SourceSpec, as_json
from serving.settings.shop import GateSettings
from tests.test_training.test_fitting import histories_of
from training import plots, train
from training.contest import Arena
from training.fitting import Cut, bare_items
from training.gate import Entrant
from training.journal import Judged, _curves, _tried
from training.rankers import Rankers
from training.recipes import is_same, renamed_apart
from training.report import describe, traded_off
from training.selection import Choice, with_variety
from training.session import Champion
from training.split import Window, truth_of
from training.variety import DIVERSITIES, NOVELTIES, only_more_varied, told, trade_off

START, ITEMS, CUSTOMERS = 100 * DAY, 40, 24
WINDOW = Window(START, START + 10 * DAY)
CATEGORY = np.array([0] * 30 + list(range(1, 11)), np.int32)
"""Thirty items of one category, which sell best, then ten of a category each."""
RECIPE = Recipe("sells", (SourceSpec("popularity", "popularity"),), {"popularity": 1.0})
SETTINGS = GateSettings(resamples=200)


def arena(wanted: list[int], category: np.ndarray = CATEGORY, buyers: np.ndarray | None = None) -> Arena:
    """Everybody buys these items in the window. Item i sells 1 - i x 0.5 / 39 as well as the best one."""
    lines = [(f"c:{n:02}", 50 + n, ITEMS - 1) for n in range(CUSTOMERS)]
    lines += [(f"c:{n:02}", 101, item) for n in range(CUSTOMERS) for item in wanted]
    histories = histories_of(lines, ITEMS)
    arrays = {
        **bare_items(Cut(histories, START)),
        "shared.category": category, "item.catalogue": np.ones(ITEMS, bool),
        "shared.buyers": np.ones(ITEMS, np.float32) if buyers is None else buyers.astype(np.float32),
        "source.popularity.items": np.arange(ITEMS, dtype=np.int32)[None],
        "source.popularity.scores": np.linspace(1, 0.5, ITEMS, dtype=np.float32)[None],
        **Vocabulary.of([]).arrays("source.popularity.regions"),
    }  # fmt: skip
    bundle = Bundle({"bundle_id": "x", "as_of": START, "recipe": as_json(RECIPE)}, arrays)
    truth = truth_of(histories, WINDOW, listed=np.ones(ITEMS, bool))
    return Arena(bundle, histories, WINDOW, truth, {})


def test_where_variety_is_free_the_most_is_taken():
    """Only the best item is bought, and it stands first whatever follows. At 0.1 all ten other categories are listed,
    and no larger weight brings more.
    """
    found = trade_off(arena([0]), RECIPE, SETTINGS)
    assert found.chosen == SelectionSpec(0.1)
    assert found.diversities[3].diversity == max(point.diversity for point in found.diversities)
    assert all(point.passed for point in found.diversities)
    assert np.diff([point.diversity for point in found.diversities]).min() >= 0
    assert [point.spec for point in found.diversities] == [PLAIN, *map(SelectionSpec, DIVERSITIES)]


def test_where_every_place_counts_nothing_is_traded_off():
    """The twenty best are bought: whatever takes a place of theirs costs 1 / 20 or so, more than 0.5 %."""
    found = trade_off(arena(list(range(20))), RECIPE, SETTINGS)
    assert found.chosen == PLAIN
    assert [point.passed for point in found.diversities] == [True] + [False] * len(DIVERSITIES)
    assert "relevance alone" in told(found)[0]


def test_the_trade_off_stops_where_it_begins_to_cost():
    """The five best are bought. The fifth is worth 0.949 x 0.9^4 = 0.623 at 0.1, still more than 0.615 of the first
    item of another category, and 0.949 x 0.8^4 = 0.389 at 0.2, less.
    """
    found = trade_off(arena(list(range(5))), RECIPE, SETTINGS)
    assert found.chosen == SelectionSpec(0.1)
    by_weight = {point.spec.diversity: point for point in found.diversities}
    assert by_weight[0.1].change["all"].value == 0
    assert by_weight[0.2].change["all"].value < 0
    (sentence,) = told(found)
    assert "each further item of a category counts 10 % less" in sentence
    assert "bits" not in sentence


def test_novelty_is_tuned_where_no_category_is_known():
    """Item 0 is bought by one customer, the others by 1000: whatever the weight, it leads, and rarer items follow."""
    buyers = np.concatenate([[1], np.full(29, 1000), np.full(10, 10)])
    found = trade_off(arena([0], np.full(ITEMS, -1, np.int32), buyers), RECIPE, SETTINGS)
    assert len(found.diversities) == 1
    assert np.isnan(found.diversities[0].diversity)
    assert found.chosen.diversity == 0
    assert found.chosen.novelty in NOVELTIES
    assert told(found)[0] == "Diversity is not tuned: no item has a category."
    assert "bits instead of" in told(found)[1]


def test_the_margins_are_the_shops():
    """A shop that would pay any price for variety takes the most; by default 0.2 costs too much (see above)."""
    found = trade_off(arena(list(range(5))), RECIPE, GateSettings(variety_margin=0.99, guard_margin=0.99))
    assert found.chosen == SelectionSpec(0.1)  # more brings none
    generous = trade_off(arena(list(range(20))), RECIPE, GateSettings(variety_margin=0.99, guard_margin=0.99))
    assert generous.chosen.diversity > 0


def test_nobody_to_judge_it_on_changes_nothing():
    """A window without purchases shows nothing, so nothing is traded off."""
    found = trade_off(arena([]), RECIPE, SETTINGS)
    assert found.chosen == PLAIN
    assert not any(point.passed for point in found.diversities)


def test_the_table_and_the_plot_hold_every_point():
    found = trade_off(arena(list(range(5))), RECIPE, SETTINGS)
    heads, rows = _tried(found)
    assert len(rows) == 1 + len(DIVERSITIES) + len(NOVELTIES)
    assert {len(row) for row in rows} == {len(heads)}
    assert [row[-1] for row in rows].count(True) == 1
    curves = _curves(found)
    assert len(curves) == 2
    first = next(iter(curves.values()))["All purchases"]
    assert [spot.name for spot in first] == ["0", *(f"{weight:g}" for weight in DIVERSITIES)]
    margins = {"All purchases": 0.005, "Items never bought before": 0.02}
    assert plots.variety(curves, metric="NDCG@20", margins=margins).startswith(b"\x89PNG")


def test_what_is_more_varied_is_what_the_earlier_window_showed():
    """At 0.1 lists are more mixed than at 0 and 0.05, not more than at 0.1 and 0.2; of 0.07 nothing is known."""
    found = trade_off(arena(list(range(5))), RECIPE, SETTINGS)
    weights = [PLAIN, SelectionSpec(0.05), SelectionSpec(0.1), SelectionSpec(0.2), SelectionSpec(0.07)]
    assert [found.more_varied(spec) for spec in weights] == [True, True, False, False, False]


def test_novelty_counts_where_no_category_is_known():
    """Diversity is undefined there, and does not stand in the way."""
    buyers = np.concatenate([[1], np.full(29, 1000), np.full(10, 10)])
    found = trade_off(arena([0], np.full(ITEMS, -1, np.int32), buyers), RECIPE, SETTINGS)
    assert found.more_varied(PLAIN)
    assert not found.more_varied(found.chosen)


def test_only_the_champions_own_voices_are_the_champion_with_more_varied_lists():
    """Its sources may have other names; another weight, equal lists, less varied ones, or no champion are not it."""
    found = replace(trade_off(arena(list(range(5))), RECIPE, SETTINGS), recipe="ours")
    ours = msgspec.structs.replace(RECIPE, name="ours", selection=found.chosen)
    serving = renamed_apart(RECIPE, [msgspec.structs.replace(RECIPE.sources[0], params={"back_off": 9.0})], "-serving")
    other = msgspec.structs.replace(RECIPE, candidates_per_source=50)
    more = msgspec.structs.replace(RECIPE, selection=SelectionSpec(0.2))
    assert only_more_varied(found, {"ours": ours, "serves": serving}, "serves") == "ours"
    for champion in (other, ours, more):
        assert only_more_varied(found, {"ours": ours, "serves": champion}, "serves") is None
    assert only_more_varied(found, {"ours": ours}, None) is None
    assert only_more_varied(found, {"serves": RECIPE}, "serves") is None
    assert only_more_varied(None, {"ours": ours, "serves": RECIPE}, "serves") is None


@pytest.mark.parametrize(("serving", "accepted"), [(PLAIN, True), (SelectionSpec(0.2), False)])
def test_training_asks_less_of_the_champion_with_more_varied_lists(serving, accepted, monkeypatch):
    """Equal figures, which no other challenger gets through with; and not where what serves is as varied already."""
    registered = []
    monkeypatch.setattr(train, "register_refused", lambda *told: registered.append(told))
    found = replace(trade_off(arena(list(range(5))), RECIPE, SETTINGS), recipe="ours")
    ours = msgspec.structs.replace(RECIPE, name="ours", selection=found.chosen)
    champion = msgspec.structs.replace(RECIPE, name="serves", selection=serving)
    scores = dict.fromkeys(("all", "new"), np.linspace(0, 1, 50))
    recipes = {"ours": ours, "serves": champion}
    judged = Judged(None, {}, recipes, [Entrant(name, scores) for name in recipes])
    session = SimpleNamespace(config=SimpleNamespace(gate=SETTINGS), tracking=None, run=None)
    choice = Choice(RECIPE.sources, (ours,), ("ours",), {}, (), found)
    served = Champion(SimpleNamespace(bundle_id="b0"), champion, "serves", champion)
    verdict = train.ask_gate(session, judged, choice, served)
    assert (verdict.accepted, bool(verdict.only), verdict.champion_bundle) == (accepted, accepted, "b0")
    assert len(registered) == (not accepted)


@pytest.mark.parametrize(("name", "expected"), [("ours", SelectionSpec(0.1)), ("popularity", PLAIN)])
def test_the_best_recipe_is_varied_and_a_plain_baseline_stays_plain(name, expected):
    """Only the first of the ranking changes; the others are judged as they were."""
    ours, other = msgspec.structs.replace(RECIPE, name=name), msgspec.structs.replace(RECIPE, name="other")
    choice = Choice(RECIPE.sources, (other, ours), (name, "other"), {}, ())
    where = arena(list(range(5)))
    rankers = Rankers(where.histories, lambda moment: Cut(where.histories, moment), DAY, {}, 1)
    varied = with_variety(choice, where, rankers, SETTINGS)
    assert {recipe.name: recipe.selection for recipe in varied.recipes} == {name: expected, "other": PLAIN}
    assert replace(varied, recipes=choice.recipes, variety=None) == choice


def test_a_trade_off_is_part_of_a_recipe():
    """Another one is another recipe, and its description says so."""
    varied = msgspec.structs.replace(RECIPE, selection=SelectionSpec(0.1, 0.05))
    assert not is_same(RECIPE, varied)
    assert is_same(varied, msgspec.structs.replace(varied, name="other"))
    assert describe(varied) == f"popularity; {traded_off(varied.selection)}"
    assert traded_off(PLAIN) == ""
    assert traded_off(SelectionSpec(0, 1)) == "an item that half as many buy counts 100.0 % more"
