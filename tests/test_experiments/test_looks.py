"""Intervals that hold at every look, and variance that the past takes away without moving the difference."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import ConfigError
from training.bench import peeking
from training.experiments.looks import adjusted, confidence_at, difference


@given(st.integers(1, 400), st.floats(0.5, 0.999))
def test_errors_of_all_looks_add_up_to_what_was_promised(looks, confidence):
    """1 / (j (j + 1)) telescopes: the sum of the first n shares is n / (n + 1)."""
    spent = sum(1 - confidence_at(look, confidence) for look in range(1, looks + 1))
    assert spent == pytest.approx((1 - confidence) * looks / (looks + 1))


def test_there_is_no_look_before_the_first():
    with pytest.raises(ConfigError, match="counted from 1"):
        confidence_at(0)


def test_peeking_every_week_misses_seldom():
    """A customer's weeks hang together; over 20 looks at 300 shops without an effect at most 5 % ever claim one."""
    random, wrong, naive = np.random.default_rng(4), 0, 0
    for _ in range(300):
        taste = random.gamma(1.0, 1.0, 600)
        weeks = random.poisson(taste[:, None], (600, 20)).cumsum(axis=1).astype(float)
        treated = random.random(600) < 0.5
        shown = [difference(weeks[:, w], treated, confidence=confidence_at(w + 1)).found for w in range(20)]
        plain = [difference(weeks[:, w], treated).found for w in range(20)]
        wrong += any(each.low > 0 or each.high < 0 for each in shown)
        naive += any(each.low > 0 or each.high < 0 for each in plain)
    assert wrong <= 24  # 15 in the mean at most; more than 24 has probability 0.008
    assert naive > 2 * wrong  # what a reader who trusts every look of a plain interval would have believed


def test_the_past_narrows_the_interval_and_keeps_the_difference():
    """Three quarters of the variance were there before; the effect of 0.5 stays."""
    random = np.random.default_rng(5)
    before = random.normal(0, 1, 20_000)
    treated = random.random(20_000) < 0.3
    outcome = 3 + before + random.normal(0, np.sqrt(1 / 3), 20_000) + 0.5 * treated
    plain, found = difference(outcome, treated), difference(outcome, treated, before)
    assert found.saved == pytest.approx(0.75, abs=0.02)
    assert found.found.low < 0.5 < found.found.high
    width = (found.found.high - found.found.low) / (plain.found.high - plain.found.low)
    assert width == pytest.approx(0.5, abs=0.03)


@given(st.integers(2, 40), st.integers(0, 1000))
def test_the_adjustment_is_a_regression_within_groups(n, seed):
    """theta equals that of a least-squares fit with one intercept a group (second derivation)."""
    random = np.random.default_rng(seed)
    treated = np.arange(2 * n) % 2 == 0
    x, y = random.normal(size=2 * n), random.normal(size=2 * n)
    values, _ = adjusted(y, treated, x)
    design = np.column_stack([treated, ~treated, x]).astype(float)
    slope = np.linalg.lstsq(design, y, rcond=None)[0][2]
    np.testing.assert_allclose(values, y - slope * (x - x.mean()), atol=1e-8)


def test_a_group_of_one_says_nothing():
    """With the counts, so that a reader sees why."""
    found = difference(np.ones(5), np.array([True, True, True, True, False]))
    assert np.isnan(found.found.value)
    assert (found.treated, found.held) == (4, 1)


def test_the_bench_of_peeking_in_small():
    """Shared-out looks and the sequences hold in every world; plain intervals do not. Widths are worked out anew."""
    rows = peeking.run(60, 200, seed=1)
    held = {(row.task, row.subject): row.value for row in rows if row.metric == "coverage"}
    assert len(held) == 16
    for (world, method), share in held.items():
        assert share < 0.93 if method == "plain" else share >= 0.88, (world, method)
    width = {(row.subject, row.metric): row.value for row in rows if row.task == "width"}
    assert width["plain", "look-26"] == 1
    assert width["looks", "look-52"] == pytest.approx(-NormalDist().inv_cdf(0.05 / (52 * 53) / 2) / 1.959964, rel=1e-6)
    sequences = {look: width["mixture-13", f"look-{look}"] for look in peeking.SHOWN}
    assert min(sequences, key=sequences.__getitem__) == 13, "tightest where it is told to be"


def test_a_boundary_crossed_by_a_random_walk_as_often_as_promised():
    """The mixture's boundary for a Gaussian walk: Ville's inequality, an oracle that knows no experiment."""
    random, bound = np.random.default_rng(8), peeking.limits()["mixture-4"]
    walks = np.abs(random.normal(size=(20_000, peeking.LOOKS)).cumsum(axis=1)) / np.sqrt(np.arange(1, 53))
    crossed = (walks > bound).any(axis=1).mean()
    assert 0.01 < crossed <= 0.05


def test_statistics_are_those_of_the_report():
    """|difference| over its error at each look, as `difference` has them; people who did not enter are not there."""
    random = np.random.default_rng(9)
    values, treated = peeking.arrivals(random, 3000), random.random(3000) < 0.5
    seen = peeking.statistics(values, treated)
    for look in (3, 20, 52):
        there = np.isfinite(values[:, look - 1])
        found = difference(values[there, look - 1], treated[there])
        assert seen[look - 1] == pytest.approx(abs(found.found.value) / found.error)
    assert peeking.statistics(values[:40], treated[:40]).tolist() == [0.0] * 52


@pytest.mark.parametrize(("treated", "held", "columns"), [(30, 30, 40), (60, 30, 9), (500, 30, 40)])
def test_columns_that_foretell_nothing_make_no_interval_too_narrow(treated, held, columns):
    """With a column for every two subjects a fit takes most of the noise; intervals still miss 5 times of 100."""
    random, runs = np.random.default_rng(6), 300
    group = np.repeat([True, False], (treated, held))
    missed = 0
    for _ in range(runs):
        found = difference(random.normal(size=len(group)), group, random.normal(size=(len(group), columns))).found
        missed += not found.low <= 0 <= found.high
    assert missed <= 26, "15 in the mean; more than 26 has probability .003"


def test_the_first_columns_are_used_and_those_that_tell_nothing_are_none():
    random = np.random.default_rng(7)
    group = np.repeat([True, False], 50)
    told = random.normal(size=(100, 10))
    y = told[:, 0] + random.normal(size=100)
    blank = np.column_stack([np.full(100, 2.0), np.full(100, np.nan), told, random.normal(size=(100, 30))])
    assert difference(y, group, blank).found == difference(y, group, told).found
    assert difference(y[:8], group[:8] & (np.arange(8) < 4), told[:8]).saved == 0
