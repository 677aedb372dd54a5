"""Recipes that compete, their names and sameness, and the contest that judges them as the ranker would serve."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from features.build import histories_as_of
from features.dataset import Dataset
from features.moments import DAY
from serving.recipe import RankerSpec, Recipe, SelectionSpec, SourceSpec
from serving.settings.shop import ModelSettings
from training.contest import Arena, contest, repeat_items, sampled, voices_of
from training.evaluate import evaluate
from training.fitting import Cut, fit_bundle
from training.recipes import (
    BASELINES,
    PRESETS,
    Menu,
    complete,
    is_leaner,
    is_same,
    menu,
    plain_only,
    renamed_apart,
)
from training.report import describe
from training.selection import choose, trials, unchosen
from training.split import last_windows, truth_of


@pytest.fixture(scope="module")
def listed() -> Menu:
    return menu(ModelSettings(), preset="quick", customers=2000, items=500)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_menu_holds_baselines_models_and_blends(preset: str) -> None:
    """Both presets fit the same methods; each recipe names only sources of the menu and has popularity to fill with."""
    made = menu(ModelSettings(), preset=preset, customers=2000, items=500)  # type: ignore[arg-type]
    names = {spec.name for spec in made.sources}
    assert names == {
        *BASELINES, "ials", "bpr", "item-item", "ease", "graph-filter", "co-purchase", "replenishment", "wishlist",
        "sequence", "session", "context-popularity",
    }  # fmt: skip
    assert "session" not in {recipe.name for recipe in made.recipes}  # nobody is there when a window starts
    assert [blend.name for blend in made.blends] == ["frequency+ials", "frequency+item-item", "frequency+ease"]
    for recipe in made.recipes:
        own = {spec.name for spec in recipe.sources}
        assert {*recipe.weights, *recipe.new_weights, recipe.fill} <= own <= names


def test_the_shops_settings_reach_the_sources() -> None:
    """Event weights always; a half-life where the shop says one, else each method's own."""
    own = ModelSettings(event_weights={"purchase": 1.0, "wishlist": 0.9}, half_life_days=33.0)
    made = {spec.name: spec.params for spec in menu(own, preset="quick", customers=100, items=100).sources}
    usual = menu(ModelSettings(), preset="quick", customers=100, items=100)
    plain_ials = next(spec.params for spec in usual.sources if spec.name == "ials")
    expected = {**plain_ials["confidence"], "weights": {"purchase": 1.0, "wishlist": 0.9}, "half_life_days": 33.0}
    assert made["ials"]["confidence"] == expected
    assert made["personal-frequency"]["half_life_days"] == 33.0
    plain = {spec.name: spec.params for spec in menu(ModelSettings(), preset="quick", customers=100, items=100).sources}
    assert plain["ials"]["confidence"]["half_life_days"] != 33.0


@pytest.mark.parametrize(("preset", "most", "factors"), [("quick", 100, 32), ("full", 0, 128)])
def test_the_quick_preset_asks_less_of_what_costs_a_request_most(preset: str, most: int, factors: int) -> None:
    """Neighbours of what sells, and vectors beside those of iALS: figures of DECISIONS 92."""
    made = menu(ModelSettings(), preset=preset, customers=2000, items=500).sources  # type: ignore[arg-type]
    params = {spec.name: spec.params for spec in made}
    assert (params["ease"]["most"], params["bpr"]["factors"]) == (most, factors)


def test_too_few_customers_leave_only_what_needs_no_training() -> None:
    """And a sentence says so."""
    made = menu(ModelSettings(), preset="quick", customers=5, items=500)
    assert [recipe.name for recipe in made.recipes] == list(BASELINES)
    assert "too few to learn from" in made.notes[0]


def test_ease_is_left_out_where_it_would_not_fit() -> None:
    """Its smaller side decides; the note names it."""
    made = menu(ModelSettings(), preset="quick", customers=50_000, items=20_000)
    assert "ease" not in {spec.name for spec in made.sources}
    assert made.notes[0].startswith("ease is left out")
    assert "ease" in {spec.name for spec in menu(ModelSettings(), preset="quick", customers=50_000, items=500).sources}


def test_a_graph_filter_is_left_out_where_it_would_not_fit() -> None:
    """Its pairs of items decide, however few the customers are; `full` allows more of them than `quick`."""
    many = {preset: menu(ModelSettings(), preset=preset, customers=500, items=40_000) for preset in PRESETS}
    assert "graph-filter" not in {spec.name for spec in many["quick"].sources}
    assert many["quick"].notes == (
        "graph-filter is left out: it would have to weigh each pair of 40,000 items, more than the 30,000, which "
        "preset quick allows.",
    )
    assert "graph-filter" in {spec.name for spec in many["full"].sources}


def test_a_menu_without_a_source_has_no_recipe_that_needs_it(listed: Menu) -> None:
    """What depends on it goes with it, and why is kept."""
    made = listed.without("ials", "it did not converge")
    assert not any("ials" in recipe.weights for recipe in made.recipes)
    assert "frequency+ials" not in {blend.name for blend in made.blends}
    assert made.notes == ("ials is left out: it did not converge.",)
    assert {recipe.name for recipe in plain_only(listed).recipes} == set(BASELINES)


def test_recipes_that_rank_alike_are_the_same(listed: Menu) -> None:
    """Names and sources without a weight do not matter; weights, parameters and new weights do."""
    one = listed.recipe("one", {"personal-frequency": 1.0, "ials": 0.2}, {"ials": 1.0})
    assert is_same(one, complete(msgspec.structs.replace(one, name="other"), listed.sources, ["item-item"]))
    assert not is_same(one, listed.recipe("one", {"personal-frequency": 1.0, "ials": 0.3}, {"ials": 1.0}))
    assert not is_same(one, listed.recipe("one", {"personal-frequency": 1.0, "ials": 0.2}, {}))
    other = menu(ModelSettings(half_life_days=7.0), preset="quick", customers=2000, items=500)
    assert not is_same(one, other.recipe("one", {"personal-frequency": 1.0, "ials": 0.2}, {"ials": 1.0}))
    assert is_same(
        listed.recipe("x", {"ials": 1.0, "ease": 0.0}, {}), listed.recipe("y", {"ials": 1.0}, {"ials": 1.0})
    )  # fmt: skip


def test_a_champion_of_other_parameters_is_named_apart(listed: Menu) -> None:
    """Only the sources that differ get another name, weights and fallback with them."""
    old = menu(ModelSettings(popularity_half_life_days=3.0), preset="quick", customers=2000, items=500)
    champion = old.recipe("frequency+ials", {"personal-frequency": 1.0, "ials": 0.2}, {"ials": 1.0})
    apart = renamed_apart(champion, listed.sources, "-serving")
    assert {spec.name for spec in apart.sources} == {"popularity-serving", "personal-frequency", "ials"}
    assert (apart.fill, apart.weights) == ("popularity-serving", champion.weights)
    assert is_same(apart, champion)


def test_recipes_are_told_in_words(listed: Menu) -> None:
    """What a merchant reads."""
    recipe = listed.recipe("x", {"personal-frequency": 1.0, "ease": 0.05}, {"ease": 1.0, "popularity": 0.2})
    assert describe(recipe) == "personal-frequency + 0.05 x ease; for new items ease + 0.2 x popularity"


@pytest.fixture(scope="module")
def arena(tiny_dataset: Path) -> Arena:
    """The tiny shop's last window with all sources of the menu."""
    histories = histories_as_of(Dataset(tiny_dataset))
    end = int(histories.events.time.max()) + 1
    (window,) = last_windows(end, 28 * DAY, 1)
    cut = Cut(histories, window.start, min_customers=3)
    made = menu(ModelSettings(), preset="quick", customers=200, items=100)
    bundle = fit_bundle(cut, Recipe("arena", made.sources, {"popularity": 1.0}))
    return Arena(bundle, histories, window, truth_of(histories, window, listed=cut.listed), {})


def test_the_contest_judges_each_recipe_as_if_it_were_alone(arena: Arena, listed: Menu) -> None:
    """Lists and scores equal those of a bundle that holds the recipe only, asked one by one."""
    recipes = [
        *listed.recipes,
        listed.recipe("blend", {"personal-frequency": 1.0, "ease": 0.2}, {"ials": 1.0, "popularity": 0.3}),
    ]
    together = contest(arena, {recipe.name: voices_of(recipe) for recipe in recipes})
    for recipe in recipes:
        alone = evaluate(
            arena.bundle, arena.histories, arena.window, arena.truth, weights=voices_of(recipe)
        )  # fmt: skip
        for task in ("all", "new"):
            assert np.array_equal(together[recipe.name].tasks[task].lists, alone.tasks[task].lists), recipe.name
            assert together[recipe.name].tasks[task].overall == alone.tasks[task].overall


def test_progress_counts_every_customer_of_both_tasks(arena: Arena, listed: Menu) -> None:
    """As the bar promises."""
    heard: list[int] = []
    contest(arena, {"popularity": voices_of(listed.recipes[0])}, heard.append)
    assert sum(heard) == 2 * len(arena.truth)


def test_weights_are_chosen_by_the_earlier_window(arena: Arena, listed: Menu) -> None:
    """The chosen blend is the best of those tried, and the ranking is by all purchases, then by new items."""
    choice = choose(listed, arena, "ndcg@20")
    means = choice.means
    for blend in listed.blends:
        tried = [means[name]["all"] for name in trials(blend) if "all" in means[name]]
        assert means[blend.name]["all"] == max(tried)
    keys = [(means[name]["all"], means[name]["new"]) for name in choice.ranking]
    assert keys == sorted(keys, reverse=True)
    assert len(choice.ranking) == len(choice.recipes) == 15
    assert choice.feeders[0] == "personal-frequency"
    assert choice.feeders[1] in ("item-item", "ease")


def test_without_a_window_popularity_comes_first(listed: Menu) -> None:
    """The order of the menu, nothing else is known."""
    assert unchosen(plain_only(listed)).ranking == BASELINES


def test_a_sample_of_customers_keeps_each_ones_truth(arena: Arena) -> None:
    """The same ones each time, with what they bought."""
    few = sampled(arena.truth, 20)
    assert len(few) == 20
    assert np.array_equal(few.subjects, sampled(arena.truth, 20).subjects)
    place = {int(subject): at for at, subject in enumerate(arena.truth.subjects)}
    for at, subject in enumerate(few.subjects):
        assert np.array_equal(few.of(at), arena.truth.of(place[int(subject)]))
    assert sampled(arena.truth, len(arena.truth)) is arena.truth


def test_repeat_items_are_the_rest_of_new_ones(arena: Arena, listed: Menu) -> None:
    """Customers who bought nothing again have no value there."""
    found = contest(arena, {"popularity": voices_of(listed.recipes[0])})["popularity"]
    again = repeat_items(arena, found).by_customer["ndcg@20"]
    assert np.array_equal(np.isfinite(again), arena.truth.repeated().counts > 0)


HEARD = (
    SourceSpec("popularity", "popularity"),
    SourceSpec("ials", "factors", "ials"),
    SourceSpec("bpr", "factors", "bpr"),
)


def listening(*voices: str, sources: tuple[SourceSpec, ...] = HEARD, **changed: object) -> Recipe:
    """A recipe whose ranker listens to some of the sources."""
    ranker = RankerSpec("ranker", "binary", voices)
    recipe = Recipe("ranker", sources, {"popularity": 1.0}, ranker=ranker)
    return msgspec.structs.replace(recipe, **changed)


SPARED = ("bpr", "ials")


def test_leaner_is_what_hears_fewer_of_the_same_and_nothing_else() -> None:
    """Sources that nobody hears any longer may be gone; another parameter or trade-off makes another recipe."""
    serving = listening("popularity", "ials", "bpr")
    fewer = listening("popularity", "ials")
    assert is_leaner(fewer, serving, SPARED)
    assert is_leaner(msgspec.structs.replace(fewer, name="another", sources=HEARD[:2]), serving, SPARED)
    assert not is_leaner(serving, fewer, SPARED)
    assert not is_leaner(serving, serving, SPARED)
    assert not is_leaner(listening("popularity", "bpr"), fewer, SPARED)
    assert not is_leaner(listening("popularity", "ials", selection=SelectionSpec(0.2)), serving, SPARED)
    tuned = (HEARD[0], SourceSpec("ials", "factors", "ials", {"factors": 32}))
    assert not is_leaner(listening("popularity", "ials", sources=tuned), serving, SPARED)
    assert not is_leaner(listening(ranker=None), serving, SPARED)
    assert not is_leaner(fewer, listening(ranker=None), SPARED)
    assert not is_leaner(fewer, serving, ()), "bpr is gone for another reason"
