"""Calibration: bins that lose nothing, intervals that know customers, and a slope that another optimiser finds too."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize
from scipy.special import expit, logit
from scipy.stats import binomtest

from features.build import histories_as_of
from features.dataset import Dataset
from features.errors import ConfigError
from features.moments import DAY
from serving.query import Query
from serving.ranker import Ranker
from serving.recipe import RankerSpec, Recipe, SourceSpec
from training import plots
from training.calibration import (
    Calibration,
    Scored,
    binned,
    calibration_of,
    is_probability,
    recalibration,
    scored,
    told,
)
from training.contest import Arena
from training.evaluate import FILTERS
from training.fitting import Cut, fit_bundle
from training.intervals import share_interval
from training.journal import draw_calibration
from training.rankers import Effort, Rankers
from training.split import Window, truth_of

SCORES = arrays(np.float64, st.integers(1, 60), elements=st.floats(0.001, 0.999).map(lambda x: round(x, 2)))
BLEND = Recipe("frequency+ease", (), {"ease": 1.0})
VOICES = ("popularity", "personal-frequency")


def world(slope: float = 1.0, shift: float = 0.0, customers: int = 400, each: int = 40, seed: int = 0) -> Scored:
    """Customers whose purchases follow logit P = shift + slope x logit(score)."""
    random = np.random.default_rng(seed)
    score = expit(random.normal(-2.5, 1.2, customers * each))
    bought = random.random(len(score)) < expit(shift + slope * logit(score))
    return Scored(score, bought, np.repeat(np.arange(customers, dtype=np.int32), each))


@given(SCORES, st.integers(1, 12))
def test_bins_share_out_all_rows_in_order(score, bins):
    """Each row stands in one bin, equal scores together, and no bin reaches into the next."""
    parts = binned(score, bins)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(score)))
    assert 1 <= len(parts) <= bins
    assert all(len(part) for part in parts)
    assert all(score[low].max() < score[high].min() for low, high in itertools.pairwise(parts))


@given(SCORES, st.data())
def test_bins_add_up_to_the_whole(score, data):
    """Counts, mean scores and shares bought of the bins weigh up to those of all; the error is between 0 and 1."""
    bought = data.draw(arrays(bool, len(score)))
    customer = data.draw(arrays(np.int32, len(score), elements=st.integers(0, 5)))
    found = calibration_of(Scored(score, bought, customer))
    weight = np.array([part.count for part in found.bins])
    assert weight.sum() == found.count == len(score)
    assert np.average([part.predicted for part in found.bins], weights=weight) == pytest.approx(found.predicted)
    assert np.average([part.observed.value for part in found.bins], weights=weight) == pytest.approx(bought.mean())
    assert abs(found.predicted - found.observed.value) - 1e-12 <= found.error <= 1
    for part in found.bins:
        assert part.low <= part.predicted + 1e-12 <= part.high + 2e-12


def test_distinct_scores_make_tenths():
    """As many rows in each bin."""
    assert [len(part) for part in binned(np.linspace(0.01, 0.99, 200))] == [20] * 10


def test_a_chance_is_found_to_be_one():
    """Slope 1 and intercept 0 lie inside their intervals, the error is small, most tenths hold their prediction."""
    found = calibration_of(world())
    assert found.slope.low < 1 < found.slope.high
    assert found.intercept.low < 0 < found.intercept.high
    assert found.error < 0.01
    assert sum(part.observed.low <= part.predicted <= part.observed.high for part in found.bins) >= 8


@pytest.mark.parametrize(("slope", "shift"), [(0.5, -1.0), (1.6, 0.7)])
def test_a_distorted_score_is_found_out(slope, shift):
    """The distortion itself comes back, and 1 lies outside."""
    found = calibration_of(world(slope, shift))
    assert found.slope.low < slope < found.slope.high
    assert found.intercept.low < shift < found.intercept.high
    assert not found.slope.low < 1 < found.slope.high
    assert found.error > 0.02


def test_the_slope_is_the_greatest_likelihood():
    """A general optimiser on the written-out likelihood ends at the same place."""
    found = world(0.8, 0.3, customers=60)
    x = logit(found.score)

    def loss(beta):
        z = beta[0] + beta[1] * x
        return float(np.sum(np.logaddexp(0, z) - found.bought * z))

    best = minimize(loss, np.array([0.0, 1.0]), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-9}).x
    slope, intercept = recalibration(found)
    assert [intercept.value, slope.value] == pytest.approx(best.tolist(), abs=1e-5)


def test_rare_outcomes_far_up_the_scores_have_a_slope_too():
    """A plain Newton step overshoots here and ends nowhere."""
    random = np.random.default_rng(2)
    score = expit(np.concatenate([random.normal(-7, 1, 2700), random.normal(0, 3, 50)]))
    bought = np.concatenate([np.zeros(2700, bool), random.random(50) < 0.9])
    slope, intercept = recalibration(Scored(score, bought, np.arange(2750, dtype=np.int32)))
    x = logit(np.clip(score, 1e-7, 1 - 1e-7))
    pull = bought - expit(intercept.value + slope.value * x)
    assert [pull.sum(), (pull * x).sum()] == pytest.approx([0, 0], abs=1e-5)  # the likelihood is flat in both


def test_rows_said_twice_tell_nothing_new():
    """Each customer's rows doubled: the same interval of the share, and the same slope with the same interval."""
    once = world(customers=50, each=6)
    twice = Scored(*(np.concatenate([column, column]) for column in (once.score, once.bought, once.customer)))
    for mine, other in zip(recalibration(once), recalibration(twice), strict=True):
        assert (mine.value, mine.low, mine.high) == pytest.approx((other.value, other.low, other.high))
    alone = share_interval(once.bought[::6], once.customer[::6])
    sixfold = share_interval(np.repeat(once.bought[::6], 6), once.customer)
    assert (sixfold.low, sixfold.value, sixfold.high) == pytest.approx((alone.low, alone.value, alone.high))


@given(arrays(bool, st.integers(2, 40)), st.data())
def test_a_share_lies_inside_its_interval(found, data):
    """Also where nothing or all was found; and the interval always has a width."""
    clusters = data.draw(arrays(np.int32, len(found), elements=st.integers(0, 4)))
    assume(len(np.unique(clusters)) > 1)
    interval = share_interval(found, clusters)
    assert 0 <= interval.low <= interval.value + 1e-12
    assert interval.value <= interval.high + 1e-12 <= 1 + 1e-12
    assert interval.low < interval.high


def test_independent_rows_have_the_textbook_interval():
    """Wilson's, when each row is a customer; of none in 40 the upper end is z^2 / (n + z^2)."""
    found = np.arange(4000) < 300
    interval, wilson = share_interval(found, np.arange(4000)), binomtest(300, 4000).proportion_ci(method="wilson")
    assert (interval.low, interval.high) == pytest.approx((wilson.low, wilson.high), rel=1e-4)
    none = share_interval(np.zeros(40, bool), np.arange(40))
    assert (none.low, none.high) == (0.0, pytest.approx(1.96**2 / (40 + 1.96**2), abs=1e-4))


def test_share_intervals_cover_as_often_as_they_say():
    """Customers of unequal size whose rows are alike: about 95 % of the intervals hold the true share."""
    random = np.random.default_rng(5)
    held = 0
    for _ in range(300):
        chance = random.beta(0.5, 9.5, 150)  # mean 0.05
        sizes = random.integers(1, 20, 150)
        clusters = np.repeat(np.arange(150), sizes)
        interval = share_interval(random.random(len(clusters)) < chance[clusters], clusters)
        held += interval.low <= 0.05 <= interval.high
    assert 0.90 <= held / 300 <= 0.99


def test_what_is_undefined_is_nan_with_a_count():
    """Nothing considered, nothing bought, one customer, equal scores, a score that separates."""
    nothing = calibration_of(Scored(np.empty(0), np.empty(0, bool), np.empty(0, np.int32)))
    assert (nothing.count, nothing.bins) == (0, ())
    assert np.isnan([nothing.error, nothing.predicted, nothing.observed.value, nothing.slope.value]).all()
    score, who = np.linspace(0.1, 0.9, 20), np.arange(20, dtype=np.int32)
    for bought in (np.zeros(20, bool), np.ones(20, bool), np.arange(20) > 9):
        assert np.isnan([each.value for each in recalibration(Scored(score, bought, who))]).all()
    assert np.isnan(recalibration(Scored(np.full(20, 0.3), who % 2 == 0, who))[0].value)
    alone = recalibration(Scored(score, who % 2 == 0, np.zeros(20, np.int32)))[0]
    assert np.isfinite(alone.value)
    assert np.isnan([alone.low, alone.high]).all()
    assert np.isnan(share_interval(np.array([True, False]), np.zeros(2)).low)
    with pytest.raises(ConfigError, match="cluster"):
        share_interval(np.array([True]), np.zeros(2))


def test_an_order_is_not_calibrated_and_the_report_says_so():
    """A blend's sum and lambdarank's order are named as what they are."""
    order = Recipe("ranker-order", (), {}, ranker=RankerSpec("ranker-order", "lambdarank", VOICES))
    assert not is_probability(BLEND)
    assert not is_probability(order)
    assert "weighted sum" in told(BLEND, {})[0]
    assert "lambdarank" in told(order, {})[0]
    assert all("not calibrated" in told(each, {})[0] for each in (BLEND, order))


def test_a_chance_is_told_with_its_figures():
    """The highest tenth, what was bought of it, and the slope."""
    recipe = Recipe("ranker", (), {}, ranker=RankerSpec("ranker", "binary", VOICES))
    found = calibration_of(world())
    said = told(recipe, {"all": found, "new": calibration_of(Scored(np.empty(0), np.empty(0, bool), np.empty(0)))})
    assert f"it says {found.bins[-1].predicted:.1%}" in said[0]
    assert f"slope {found.slope.value:.2f} [" in said[0]
    assert "considered nothing" in said[1]


def test_it_is_drawn_with_and_without_anything_bought():
    """Zero has no place on a logarithm and is no reason to fail."""
    empty = Scored(np.linspace(0.01, 0.1, 50), np.zeros(50, bool), np.arange(50, dtype=np.int32))
    for found in ({"all": calibration_of(world(customers=60))}, {"all": calibration_of(empty)}, {}):
        assert draw_calibration(found).startswith(b"\x89PNG")
    assert plots.reliability({"nothing": []}).startswith(b"\x89PNG")


@pytest.fixture(scope="module")
def judged(tiny_dataset: Path) -> tuple[Arena, Recipe]:
    """The tiny simulated shop with a ranker fitted up to its last ten days."""
    histories = histories_as_of(Dataset(tiny_dataset))
    end, length = int(histories.events.time.max()) // DAY * DAY, 10 * DAY
    sources = tuple(SourceSpec(name, name) for name in VOICES)
    spec = RankerSpec("ranker", "binary", VOICES, {"trees": 20, "min_leaf": 10})
    cuts: dict[int, Cut] = {}

    def cut_at(moment: int) -> Cut:
        return cuts.setdefault(moment, Cut(histories, moment, min_customers=2))

    rankers = Rankers(histories, cut_at, length, regions={}, effort=Effort(200), threads=1)
    recipe = Recipe("ranker", sources, {"popularity": 1.0}, ranker=spec)
    window = Window(end - length, end)
    bundle = fit_bundle(cut_at(window.start), recipe, rankers=rankers.fit(spec, sources, window.start))
    return Arena(bundle, histories, window, truth_of(histories, window, listed=cut_at(window.start).listed), {}), recipe


def test_scores_are_those_that_are_shown(judged):
    """What is compared for a customer is what the service's own list says of the same items; same customers twice."""
    arena, recipe = judged
    found = scored(arena, recipe, at_most=30)
    again = scored(arena, recipe, at_most=30)
    ranker, known = Ranker(arena.bundle), arena.histories.as_of(arena.window.start)
    for task, each in found.items():
        assert len(np.unique(each.customer)) == 30
        assert np.array_equal(each.score, again[task].score)
        row = int(each.customer[0])
        query = Query(arena.window.start, known.at(row), num_results=20, filter=FILTERS[task])
        slate = ranker.rank(query, recipe.ranker, filled=False)
        mine = np.sort(each.score[each.customer == row])[::-1][:20]
        assert mine.tolist() == pytest.approx(slate.scores.tolist(), abs=1e-7)
        considered = ranker.considered(query, VOICES)
        place = int(np.searchsorted(arena.truth.subjects, row))
        assert each.bought[each.customer == row].tolist() == np.isin(considered.items, arena.truth.of(place)).tolist()
    assert isinstance(calibration_of(found["all"]), Calibration)
    assert 0 < found["all"].bought.mean() < 0.5
    assert not scored(arena, recipe, at_most=0)["all"].score.size
