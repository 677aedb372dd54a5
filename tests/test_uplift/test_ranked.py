"""AUTOC, gain, value and deciles on doubly robust scores; calibration: by definition and in known worlds."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import ConfigError
from training.uplift.calibration import applied, calibrated, calibrations_of, out_of_fold, shrunk
from training.uplift.ranked import autoc, by_decile, gain_at, ranks_in_folds, value_at

rows = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 4), min_size=n, max_size=n), st.lists(st.floats(-5, 5), min_size=n, max_size=n)
    )
)


def autoc_in_order(effect, order, weights=None):
    """Mean over cuts of (mean of the top - mean of all); rows may weigh more."""
    w = np.ones(len(effect)) if weights is None else weights
    everyone = (w * effect).sum() / w.sum()
    each = [(w[order[:k]] * effect[order[:k]]).sum() / w[order[:k]].sum() for k in range(1, len(order) + 1)]
    return (w[order] * each).sum() / w.sum() - everyone


@given(st.lists(st.integers(0, 2), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_autoc_is_the_mean_over_all_orders_of_equal_scores(score, random):
    """Every order that the scores allow, one by one."""
    score = np.array(score, float)
    effect = np.array([random.uniform(-3, 3) for _ in score])
    orders = [list(each) for each in permutations(range(len(score))) if (np.diff(score[list(each)]) <= 0).all()]
    expected = np.mean([autoc_in_order(effect, order) for order in orders])
    assert autoc(score, effect, np.arange(len(score))).value == pytest.approx(expected, abs=1e-10)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=10))
@settings(max_examples=40)
def test_the_influence_of_autoc_is_its_derivative(effect):
    """By central differences, without ties."""
    effect = np.array(effect)
    n, order = len(effect), list(range(len(effect)))
    found = autoc(-np.arange(n, dtype=float), effect, np.arange(n)).influence
    for row in range(n):
        moved = [autoc_in_order(effect, order, 1 + step * (np.arange(n) == row)) for step in (1e-6, -1e-6)]
        assert found[row] == pytest.approx((moved[0] - moved[1]) / 2e-6, abs=1e-5)


def test_autoc_in_a_world_with_a_closed_form():
    """Effect x for a rank x uniform in [0, 1]: TOC(q) = (1 - q) / 2, so AUTOC is 1/4; intervals hold it."""
    random, held = np.random.default_rng(0), 0
    for _ in range(300):
        x = random.random(400)
        found = autoc(x, x + random.normal(size=400), np.arange(400))
        held += found.low <= 0.25 <= found.high
    assert 0.91 <= held / 300 <= 0.985
    exact = (np.arange(20_000) + 0.5) / 20_000
    assert autoc(exact, exact, np.arange(20_000)).value == pytest.approx(0.25, abs=1e-3)
    assert autoc(np.ones(400), x, np.arange(400)).value == pytest.approx(0, abs=1e-12)


@given(rows, st.floats(0.05, 1))
def test_gain_and_value_are_means_over_all_orders(world, share):
    """Rows are sorted and counted by hand; the one at the border counts in part, ties share what is left."""
    score, effect = (np.array(each, float) for each in world)
    n, left, gain = len(score), share * len(score), 0.0
    for level in sorted(set(score.tolist()), reverse=True):
        here = effect[score == level]
        taken = min(left, len(here))
        gain += taken * here.mean()
        left -= taken
    subject = np.arange(n)
    assert gain_at(score, effect, subject, share).value == pytest.approx(gain / n, abs=1e-9)
    random = gain_at(score, effect, subject, share, over_random=True)
    assert random.value == pytest.approx(gain / n - share * effect.mean(), abs=1e-9)
    value = value_at(score, effect + 1, effect, subject, share)
    assert value.value == pytest.approx(effect.mean() + 1 + gain / n, abs=1e-9)


def test_the_value_of_treating_the_top_is_the_truth():
    """Effect 1 for x > 0.7, -1 otherwise, base 2: treating the top 30 % gives 2.3, all 1.6."""
    random = np.random.default_rng(1)
    x = random.random(20_000)
    effect = np.where(x > 0.7, 1.0, -1.0) + random.normal(size=20_000)
    base = 2 + random.normal(size=20_000)
    for share, truth in ((0.3, 2.3), (1.0, 1.6)):
        found = value_at(x, base, effect, np.arange(20_000), share)
        assert abs(found.value - truth) < 4 * found.error < 0.1


def test_unknown_rows_are_left_out_and_counted():
    """In every figure; nothing known is NaN."""
    score, effect = np.array([3.0, 2, np.nan, 1]), np.array([1.0, np.nan, 5, 0])
    subject = np.arange(4)
    for found in (autoc(score, effect, subject), gain_at(score, effect, subject, 0.5)):
        assert (found.n, found.undefined) == (2, 2)
    assert gain_at(score, effect, subject, 0.5).value == pytest.approx(0.5)
    nothing = np.full(4, np.nan)
    assert np.isnan(autoc(nothing, effect, subject).value)
    assert np.isnan(gain_at(nothing, effect, subject, 0.5).value)
    assert np.isnan(value_at(nothing, effect, effect, subject, 0.5).value)
    with pytest.raises(ConfigError, match="share"):
        gain_at(score, effect, subject, 1.2)


def test_deciles_put_prediction_beside_observation():
    """Ten parts of equal size, lowest first, each mean as counted by hand; equal predictions share a part."""
    random = np.random.default_rng(2)
    predicted = random.permutation(1000) / 1000
    effect = 2 * predicted + random.normal(size=1000)
    found = by_decile(predicted, effect, np.arange(1000))
    assert [part.observed.n for part in found] == [100] * 10
    assert all(low.high < high.low for low, high in pairwise(found))
    for part in found:
        inside = (predicted >= part.low) & (predicted <= part.high)
        assert part.predicted == pytest.approx(predicted[inside].mean())
        assert part.observed.value == pytest.approx(effect[inside].mean())
        assert part.observed.error == pytest.approx(effect[inside].std(ddof=1) / 10, rel=1e-9)
    assert len(by_decile(np.ones(50), effect[:50], np.arange(50))) == 1


def test_ranks_within_folds_forget_the_level_of_a_fold():
    """One constant for each fold is one rank for all; order within a fold stays."""
    fold = np.array([0, 0, 0, 1, 1], np.int32)
    assert ranks_in_folds(np.array([2.0, 2, 2, 7, 7]), fold).tolist() == [0.5] * 5
    found = ranks_in_folds(np.array([1.0, 3, 2, 70, np.nan]), fold)
    np.testing.assert_allclose(found[:4], [1 / 6, 5 / 6, 1 / 2, 1 / 2])
    assert np.isnan(found[4])


def test_calibration_finds_the_exaggeration():
    """Predictions twice too large and shifted: slope 1/2, and calibrated effects are right again."""
    random = np.random.default_rng(3)
    truth = random.normal(size=20_000)
    score = truth + random.normal(size=20_000)
    said = 2 * truth + 3
    found = calibrated(said, score, np.arange(20_000))
    assert found.slope.low < 0.5 < found.slope.high
    assert found.intercept.low < -1.5 < found.intercept.high
    np.testing.assert_allclose(found.apply(said), truth, atol=0.05)
    expected = np.polyfit(said, score, 1)
    np.testing.assert_allclose([found.slope.value, found.intercept.value], expected, rtol=1e-9)


def test_what_was_not_learned_becomes_the_average():
    """Noise keeps nothing of its differences, or next to nothing; a constant none at all; the average is kept."""
    random = np.random.default_rng(4)
    kept = []
    for _ in range(60):
        noise, score = random.normal(size=500), 1 + random.normal(size=500)
        kept.append(calibrated(noise, score, np.arange(500)).kept)
    assert np.mean(np.array(kept) == 0) > 0.6
    assert max(kept) < 0.2
    same = calibrated(np.ones(500), score, np.arange(500))
    assert same.kept == 0 and np.isnan(same.slope.value)
    np.testing.assert_allclose(same.apply(np.array([0.0, 9.0])), score.mean())
    nothing = calibrated(np.full(3, np.nan), score[:3], np.arange(3))
    assert np.isnan(nothing.average.value) and nothing.kept == 0


@given(st.floats(-3, 3), st.floats(0, 3))
def test_shrinking_never_overshoots(slope, error):
    """Between 0 and the slope, and the whole slope where it is known."""
    assert 0 <= shrunk(slope, error) <= max(slope, 0)
    assert shrunk(slope, 0.0) == pytest.approx(max(slope, 0))


def test_calibration_by_arm_and_out_of_fold():
    """Each arm has its own; a fold is calibrated by the others alone: its own scores change nothing in it."""
    random = np.random.default_rng(5)
    truth = random.normal(size=(4000, 2))
    effects, contrasts = truth * [2.0, 0.5], truth + random.normal(size=(4000, 2))
    subject, fold = np.arange(4000), (np.arange(4000) % 4).astype(np.int32)
    found = calibrations_of(effects, contrasts, subject)
    np.testing.assert_allclose([each.kept for each in found], [0.5, 2.0], rtol=0.1)
    np.testing.assert_allclose(applied(found, effects), truth, atol=0.5)
    calm = out_of_fold(effects, contrasts, subject, fold)
    other = np.where((fold == 1)[:, None], -contrasts, contrasts)
    again = out_of_fold(effects, other, subject, fold)
    np.testing.assert_array_equal(again[fold == 1], calm[fold == 1])
    assert not np.allclose(again[fold == 0], calm[fold == 0])
