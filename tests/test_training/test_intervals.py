"""Intervals: percentile bootstrap over customers, paired, seeded, honest about what is undefined."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from features.errors import ConfigError
from training.intervals import compare, mean_interval, mean_intervals

FINITE = st.floats(-100, 100, allow_nan=False)


def test_the_value_is_the_mean_of_the_defined_scores_and_the_others_are_counted():
    """NaN is neither zero nor dropped in silence."""
    found = mean_interval(np.array([1.0, np.nan, 3.0, np.nan]))
    assert (found.value, found.n, found.undefined) == (2.0, 2, 2)


def test_nothing_defined_gives_nan_and_no_error():
    """The gate reads this as "nothing to judge"."""
    found = mean_interval(np.array([np.nan, np.nan]))
    assert np.isnan([found.value, found.low, found.high]).all()
    assert (found.n, found.undefined) == (0, 2)
    assert mean_interval(np.empty(0)).n == 0


def test_one_customer_has_a_value_but_no_interval():
    """One customer says nothing of how customers differ."""
    found = mean_interval(np.array([0.5]))
    assert found.value == 0.5
    assert np.isnan([found.low, found.high]).all()


def test_it_covers_the_true_mean_as_often_as_it_says():
    """Over 300 samples of 200 skewed scores, about 95 % of the 95 % intervals hold the true mean 1."""
    random = np.random.default_rng(11)
    found = [mean_interval(random.exponential(1.0, 200), resamples=400, seed=i) for i in range(300)]
    covered = np.mean([each.low <= 1 <= each.high for each in found])
    assert 0.90 <= covered <= 0.98


def test_its_width_is_that_of_the_normal_theory_where_that_holds():
    """For 4,000 standard normal scores half the width is about 1.96 / sqrt(4000)."""
    scores = np.random.default_rng(5).normal(size=4000)
    found = mean_interval(scores)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * scores.std() / np.sqrt(4000), rel=0.06)


def test_pairing_removes_what_customers_have_in_common():
    """A small steady gain is found although customers differ a hundred times as much."""
    random = np.random.default_rng(3)
    base = random.normal(0, 1, 500)
    better = base + 0.01 + random.normal(0, 0.01, 500)
    assert compare(better, base).low > 0
    unpaired = mean_interval(better)
    assert unpaired.low < 0 < unpaired.high


def test_a_customer_undefined_on_either_side_is_left_out_of_the_pair():
    """Row 1 lacks the other's score and row 2 mine: only row 0 and 3 are compared."""
    found = compare(np.array([1.0, 1.0, np.nan, 3.0]), np.array([0.0, np.nan, 1.0, 1.0]))
    assert (found.value, found.n, found.undefined) == (1.5, 2, 2)


def test_clusters_are_drawn_whole():
    """Every score ten times over is no more evidence than once; without clusters it would seem so."""
    scores = np.random.default_rng(2).normal(size=100)
    copies, who = np.tile(scores, 10), np.tile(np.arange(100), 10)
    once, clustered, naive = mean_interval(scores), mean_interval(copies, clusters=who), mean_interval(copies)
    assert clustered.n == 100
    assert clustered.high - clustered.low == pytest.approx(once.high - once.low, rel=0.15)
    assert naive.high - naive.low < 0.5 * (once.high - once.low)


def test_clusters_of_unequal_size_keep_the_mean_of_rows():
    """The value is the mean over rows: (1 + 1 + 4) / 3."""
    found = mean_interval(np.array([1.0, 1.0, 4.0]), clusters=np.array(["a", "a", "b"]))
    assert found.value == 2.0
    assert 1.0 <= found.low <= found.high <= 4.0


@given(arrays(np.float64, st.integers(2, 40), elements=FINITE), st.integers(0, 5))
def test_it_is_seeded_and_stays_among_the_scores(scores, seed):
    """The same seed gives the same interval, and a mean of draws lies between the extremes."""
    found = mean_interval(scores, resamples=50, seed=seed)
    assert found == mean_interval(scores, resamples=50, seed=seed)
    assert scores.min() - 1e-9 <= found.low <= found.high <= scores.max() + 1e-9


@given(arrays(np.float64, st.integers(2, 40), elements=FINITE))
def test_comparing_the_other_way_mirrors_the_interval(scores):
    """(a - b) and (b - a) have the same ends with the other sign."""
    other = np.roll(scores, 1)
    there, back = compare(scores, other, resamples=50), compare(other, scores, resamples=50)
    assert [there.value, there.low, there.high] == pytest.approx([-back.value, -back.high, -back.low], abs=1e-9)


def test_many_customers_are_drawn_in_pieces_with_the_same_result_shape(monkeypatch):
    """The chunk only bounds memory."""
    scores = np.random.default_rng(8).normal(size=50)
    whole = mean_interval(scores, resamples=64)
    monkeypatch.setattr("training.intervals._CELLS", 500)
    pieces = mean_interval(scores, resamples=64)
    assert whole == pieces


@pytest.mark.parametrize("wrong", [{"resamples": 0}, {"confidence": 1.0}, {"confidence": 0.0}])
def test_options_that_make_no_sense_are_refused(wrong):
    """With what was got."""
    with pytest.raises(ConfigError):
        mean_interval(np.ones(3), **wrong)


def test_scores_of_different_customers_are_refused():
    """Pairing needs the same customers."""
    with pytest.raises(ConfigError, match="same customers"):
        compare(np.ones(3), np.ones(4))


def test_several_at_once_are_what_each_is_alone():
    """The same draws of the same customers."""
    random = np.random.default_rng(0)
    columns = {"one": random.random(50), "two": random.random(50) * 3}
    together = mean_intervals(columns, resamples=200)
    for name, scores in columns.items():
        alone = mean_interval(scores, resamples=200)
        found = together[name]
        assert (found.value, found.low, found.high) == pytest.approx((alone.value, alone.low, alone.high))
        assert (found.n, found.undefined) == (50, 0)


@pytest.mark.parametrize("wrong", [np.array([1.0, np.nan]), np.array([1.0])])
def test_columns_that_cannot_share_their_draws(wrong):
    with pytest.raises(ConfigError, match="same customers"):
        mean_intervals({"one": np.ones(2), "two": wrong})
