"""A ranker in the whole of training: learned on earlier windows, judged, published, and served as it was judged."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from features.assemble import assemble
from features.build import histories_as_of
from features.dataset import Dataset
from features.errors import BundleError, DataError
from features.history import Histories
from features.kinds import EventType
from features.moments import DAY
from features.shop import Shop
from serving.bundle import Bundle, open_bundle, write_bundle
from serving.query import Query
from serving.ranker import Ranker
from serving.recipe import RankerSpec, Recipe, SelectionSpec, SourceSpec
from serving.settings.shop import GateSettings
from training.contest import Arena, contest, sampled, voices_of
from training.evaluate import FILTERS
from training.fitting import Cut, fit_bundle
from training.rankers import EFFORT, OBJECTIVES, Effort, Rankers
from training.selection import Choice, with_variety
from training.session import TrainOptions
from training.split import Window, truth_of
from training.train import train

MakeShop = Callable[..., Shop]
SOURCES = (SourceSpec("popularity", "popularity"), SourceSpec("personal-frequency", "personal-frequency"))
SPEC = RankerSpec("ranker", "binary", ("popularity", "personal-frequency"), {"trees": 20, "min_leaf": 10})
LENGTH = 10 * DAY


@pytest.fixture(scope="module")
def histories(tiny_dataset: Path) -> Histories:
    return histories_as_of(Dataset(tiny_dataset))


@pytest.fixture(scope="module")
def rankers(histories: Histories, tiny_dataset: Path) -> Rankers:
    dataset = Dataset(tiny_dataset)
    cuts: dict[int, Cut] = {}

    def cut_at(moment: int) -> Cut:
        return cuts.setdefault(moment, Cut(histories, moment, min_customers=2, dataset=dataset))

    return Rankers(histories, cut_at, LENGTH, regions={}, effort=Effort(400), threads=1)


@pytest.fixture(scope="module")
def end(histories: Histories) -> int:
    return int(histories.events.time.max()) // DAY * DAY


def test_windows_end_before_the_moment_and_follow_each_other(rankers: Rankers, end: int) -> None:
    """No window of examples reaches into what is judged, and each has a past to learn from."""
    windows = rankers.windows(end)
    assert 1 <= len(windows) <= rankers.effort.windows
    assert windows[-1].end == end
    assert all(early.end == late.start for early, late in itertools.pairwise(windows))


def test_a_past_too_short_is_a_sentence(rankers: Rankers, histories: Histories) -> None:
    first = int(histories.events.time[histories.events.type == EventType.PURCHASE].min())
    with pytest.raises(DataError, match="too short"):
        rankers.fit(SPEC, SOURCES, first + 2 * LENGTH - 1)


def test_voices_that_cannot_be_fitted_for_every_window_are_named(
    rankers: Rankers, histories: Histories, end: int
) -> None:
    """Without wishes there is no wishlist; with too short a past no window asks."""
    wishes = SourceSpec("wishes", "wishlist", "wishlist")
    assert rankers.unfit((*SOURCES, wishes), end) == {}
    bought = histories.where(histories.events.type == EventType.PURCHASE)
    alone = Rankers(bought, lambda at: Cut(bought, at, min_customers=2), LENGTH, regions={}, effort=Effort(400))
    failed = alone.unfit((*SOURCES, wishes), end)
    assert list(failed) == ["wishes"]
    assert "no wishes to learn from" in failed["wishes"]
    first = int(bought.events.time.min())
    assert alone.unfit((wishes,), first + LENGTH) == {}


def test_nothing_after_the_moment_is_looked_at(rankers: Rankers, histories: Histories, end: int) -> None:
    """The trees are the same when the future never happened."""
    moment = end - LENGTH
    past = histories.where(histories.events.time < moment)
    alone = Rankers(past, lambda at: Cut(past, at, min_customers=2), LENGTH, regions={}, effort=Effort(400), threads=1)
    whole = Rankers(
        histories, lambda at: Cut(histories, at, min_customers=2), LENGTH, regions={}, effort=Effort(400), threads=1
    )
    one, two = (each.fit(SPEC, SOURCES, moment) for each in (alone, whole))
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_examples_are_what_the_service_would_consider(rankers: Rankers, end: int) -> None:
    """Each group holds something that was bought, and all of a task have the same columns."""
    window = rankers.windows(end)[-1]
    for task, found in rankers.examples(window, SPEC.voices, SOURCES).items():
        assert found.groups.sum() == len(found.label) == len(found.block), task
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(found.groups)[:-1]])
        assert (np.add.reduceat(found.label.astype(int), starts) > 0).all()


@pytest.mark.parametrize("selection", [SelectionSpec(), SelectionSpec(0.2, 0.1)], ids=["plain", "varied"])
def test_what_is_judged_is_what_serves(
    rankers: Rankers, histories: Histories, end: int, tmp_path: Path, selection: SelectionSpec
) -> None:
    """A bundle that is written and mapped again gives each customer the list that was judged."""
    moment = end - LENGTH
    recipe = Recipe(
        "ranker", SOURCES, {"personal-frequency": 1.0}, {"popularity": 1.0}, ranker=SPEC, selection=selection
    )
    bundle = fit_bundle(rankers.cut_at(moment), recipe, rankers=rankers.fit(SPEC, SOURCES, moment))
    window = Window(moment, end)
    truth = truth_of(histories, window, listed=rankers.cut_at(moment).listed)
    arena = Arena(bundle, histories, window, truth, {})
    found = contest(arena, {"ranker": voices_of(recipe)}, selections={"ranker": selection})["ranker"]
    judged = found.tasks["all"].lists
    write_bundle(tmp_path / bundle.id, bundle)
    served = Ranker(open_bundle(tmp_path / bundle.id))
    known = histories.as_of(moment)
    for place, row in enumerate(truth.subjects[:25].tolist()):
        query = Query(moment, known.at(row), num_results=20, filter=FILTERS["all"])
        slate = served.rank(query)
        assert slate.items.tolist() == [item for item in judged[place].tolist() if item >= 0]
        chances = slate.scores[: len(slate.items) - slate.filled]
        assert ((chances > 0) & (chances < 1)).all()
        if slate.features is not None:
            rows = assemble(query.history, slate.items, bundle.shared, bundle.as_of, query.now)
            np.testing.assert_array_equal(slate.features, rows)
        assert (slate.features is None) == (slate.filled > 0)
        again = served.rank_given(query, np.sort(slate.items[:5]))
        assert set(again.items.tolist()) == set(slate.items[:5].tolist())
        told = served.scorer(query).contributions(query, slate.considered, slate.items)
        assert set(told) == set(slate.items[: len(slate.items) - slate.filled].tolist())
        assert all(abs(told[item][0][2]) >= abs(told[item][-1][2]) for item in told)
        stranger = served.rank(msgspec.structs.replace(query, history=known.at(0)), personal=False)
        assert served.rank(query, personal=False).items.tolist() == stranger.items.tolist()


def test_lists_of_trees_are_varied_too(rankers: Rankers, histories: Histories, end: int) -> None:
    """The trees that were fitted for the earlier window score what is traded off; they are not fitted again."""
    moment = end - LENGTH
    recipe = Recipe("ranker", SOURCES, {"personal-frequency": 1.0}, {"popularity": 1.0}, ranker=SPEC)
    bundle = fit_bundle(rankers.cut_at(moment), msgspec.structs.replace(recipe, ranker=None))
    window = Window(moment, end)
    truth = sampled(truth_of(histories, window, listed=rankers.cut_at(moment).listed), 40)
    choice = Choice(SOURCES, (recipe,), ("ranker",), {}, ())
    rankers.fit_all([recipe], moment)
    before = len(rankers._fitted)
    varied = with_variety(choice, Arena(bundle, histories, window, truth, {}), rankers, GateSettings(resamples=100))
    assert varied.variety is not None
    assert varied.variety.recipe == "ranker"
    assert varied.recipes[0].selection == varied.variety.chosen
    renamed = msgspec.structs.replace(recipe, ranker=msgspec.structs.replace(SPEC, name="other"))
    assert set(rankers.fit_all([renamed], moment)[0]) >= {"ranker.other.all.offset"}
    assert len(rankers._fitted) == before


def test_a_voice_that_is_gone_is_named(rankers: Rankers, end: int) -> None:
    """A source that could not be fitted on everything takes the ranker with it, in words."""
    recipe = Recipe("ranker", SOURCES[:1], {"popularity": 1.0}, ranker=SPEC)
    arrays, failed = rankers.fit_all([recipe], end)
    assert not arrays
    assert "personal-frequency" in failed["ranker"]


def test_a_bundle_without_its_trees_is_refused(rankers: Rankers, histories: Histories, end: int) -> None:
    recipe = Recipe("ranker", SOURCES, {"personal-frequency": 1.0}, ranker=SPEC)
    bundle = fit_bundle(rankers.cut_at(end), recipe)
    with pytest.raises(BundleError, match="trees are missing"):
        Ranker(Bundle(bundle.manifest, bundle.arrays)).rank(Query(end, histories.at(0)))


def test_a_shop_with_enough_past_trains_rankers(make_shop: MakeShop, tiny_dataset: Path, tmp_path: Path) -> None:
    """They compete by name in the verdict, and a second training judges the champion whatever it is."""
    shop = make_shop(tmp_path)
    shutil.copytree(tiny_dataset, shop.dataset)
    shop.config.write_text("[model]\nwindow-days = 10\nmin-customers = 2\n", encoding="utf-8")
    outcome = train(shop, TrainOptions(preset="full"))
    competing = {row.recipe for row in outcome.verdict.table}
    assert competing & {*OBJECTIVES} == {*EFFORT["full"].competing}, outcome.report.notes
    again = train(shop, TrainOptions(preset="full"))
    assert again.verdict.champion == outcome.verdict.winner


def test_the_quick_preset_learns_less(rankers: Rankers, end: int) -> None:
    """Fewer windows before the moment, and no order alone."""
    quick, full = EFFORT["quick"], EFFORT["full"]
    assert (quick.competing, full.competing) == (("ranker",), tuple(OBJECTIVES))
    # Windows of half the length, so that the shop's past holds more of them than either looks at.
    short, long = (
        Rankers(rankers.histories, rankers.cut_at, LENGTH // 2, regions={}, effort=effort).windows(end)
        for effort in (quick, full)
    )
    assert short == long[-quick.windows :]
    assert len(short) < len(long)
