"""Intervals of estimates: clustered by subject, paired, with the corrections for few subjects."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from features.errors import ConfigError
from training.intervals import mean_interval
from training.offpolicy.estimators import Score, ips, mean_of, sample_of, sndr, snips
from training.offpolicy.inference import difference, estimate, relative, standard_error, two_sided
from training.offpolicy.targets import always, uniform

SEEDS = st.integers(0, 10_000)


@given(SEEDS)
def test_one_decision_a_subject_is_the_interval_of_every_textbook(seed):
    """mean +- t s / sqrt(n), as scipy has it."""
    scores = np.random.default_rng(seed).normal(size=20)
    found = estimate(mean_of(scores), np.arange(20))
    low, high = stats.t.interval(0.95, 19, loc=scores.mean(), scale=stats.sem(scores))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert (found.n, found.clusters) == (20, 20)


@given(SEEDS)
def test_the_clustered_error_by_hand(seed):
    """Sums by subject in a loop; copies of a decision add nothing."""
    random = np.random.default_rng(seed)
    scores, cluster = random.normal(size=30), random.integers(0, 6, 30)
    cluster = np.unique(cluster, return_inverse=True)[1]
    groups, score = int(cluster.max()) + 1, mean_of(scores)
    total = 0.0
    for group in range(groups):
        total += sum(scores[row] - scores.mean() for row in range(30) if cluster[row] == group) ** 2
    assert standard_error(score.influence, cluster) == pytest.approx((groups / (groups - 1) * total) ** 0.5 / 30)
    copied = mean_of(np.repeat(scores, 3))
    assert standard_error(copied.influence, np.repeat(cluster, 3)) == pytest.approx(
        standard_error(score.influence, cluster)
    )


@pytest.mark.parametrize("way", [ips, snips, sndr])
def test_it_agrees_with_a_bootstrap_over_subjects(random_log, way):
    """The error of the linearised estimate is the spread of the estimate itself over drawn subjects."""
    log = random_log(n=800, seed=4)
    policy = uniform(log)
    predictions = np.full(policy.shape, 0.3)
    sample = sample_of(log, policy, "visit", predictions)
    error = estimate(way(sample), sample.cluster).error
    rows = [np.flatnonzero(sample.cluster == number) for number in range(sample.clusters)]
    random, values = np.random.default_rng(0), []
    for _ in range(250):
        drawn = np.concatenate([rows[number] for number in random.integers(0, len(rows), len(rows))])
        values.append(way(sample_of(log.take(drawn), policy[drawn], "visit", predictions[drawn])).value)
    assert error == pytest.approx(np.std(values), rel=0.15)


def test_the_linearised_mean_agrees_with_the_projects_bootstrap(random_log):
    """The same means over subjects as `training.intervals` draws."""
    log = random_log(n=2000, seed=9)
    found = estimate(mean_of(log.reward("visit")), np.unique(log.subject, return_inverse=True)[1])
    drawn = mean_interval(log.reward("visit"), clusters=log.subject)
    assert (found.low, found.high) == (pytest.approx(drawn.low, abs=4e-3), pytest.approx(drawn.high, abs=4e-3))


@given(SEEDS)
def test_a_policy_against_itself_differs_by_nothing(random_log, seed):
    """Paired: the difference is 0 and the ratio 1 without any error, though each alone has one."""
    log = random_log(seed=seed)
    sample = sample_of(log, always("a")(log), "visit")
    score = snips(sample)
    gap = estimate(difference(score, score), sample.cluster)
    assert (gap.value, gap.error) == (0, 0)
    if score.value > 0:
        ratio = estimate(relative(score, score), sample.cluster)
        assert (ratio.value, ratio.error) == (1, pytest.approx(0, abs=1e-12))


def test_pairing_takes_away_what_both_share(random_log):
    """The error of the difference is far below that of two independent estimates."""
    log = random_log(n=500)
    near = 0.9 * log.propensity + 0.1 * uniform(log)
    samples = [sample_of(log, policy, "visit") for policy in (log.propensity, near)]
    first, second = (ips(sample) for sample in samples)
    gap = estimate(difference(first, second), samples[0].cluster)
    alone = [estimate(score, samples[0].cluster).error for score in (first, second)]
    assert gap.error < 0.3 * np.hypot(*alone)


def test_the_ratio_is_the_delta_method(random_log):
    """Error of log(a / b) to first order, and NaN for a ratio to nothing."""
    log = random_log(n=800, seed=2)
    sample, other = sample_of(log, always("a")(log), "visit"), sample_of(log, log.propensity, "visit")
    a, b = ips(sample), ips(other)
    logs = Score(np.log(a.value / b.value), a.influence / a.value - b.influence / b.value)
    found = estimate(relative(a, b), sample.cluster)
    assert found.value == pytest.approx(a.value / b.value)
    assert found.error == pytest.approx(found.value * estimate(logs, sample.cluster).error)
    assert np.isnan(relative(a, Score(0.0, np.zeros(len(sample)))).value)


def test_one_subject_has_a_value_and_no_interval():
    """However many decisions it has."""
    found = estimate(mean_of(np.arange(10.0)), np.zeros(10, np.int64))
    assert found.value == 4.5
    assert np.isnan([found.low, found.high, found.error]).all()
    none = estimate(mean_of(np.zeros(0)), np.zeros(0, np.int64))
    assert np.isnan(none.value)
    assert none.clusters == 0


def test_z_and_p_are_those_of_a_t_test():
    """As scipy's; an exact match is p = 1, a certain miss p = 0, and one subject says nothing."""
    scores = np.random.default_rng(0).normal(1.2, 1, 40)
    z, p = two_sided(mean_of(scores), np.arange(40), 1.0)
    expected = stats.ttest_1samp(scores, 1.0)
    assert (z, p) == (pytest.approx(expected.statistic), pytest.approx(expected.pvalue))
    assert two_sided(mean_of(np.ones(5)), np.arange(5), 1.0) == (0.0, 1.0)
    assert two_sided(mean_of(np.full(5, 2.0)), np.arange(5), 1.0) == (np.inf, 0.0)
    assert np.isnan(two_sided(mean_of(np.ones(3)), np.zeros(3, np.int64), 1.0)).all()


def test_bad_questions_are_refused():
    """A confidence that is no share, and subjects of other decisions."""
    with pytest.raises(ConfigError, match="confidence"):
        estimate(mean_of(np.ones(3)), np.arange(3), confidence=1.0)
    with pytest.raises(ConfigError, match="subject"):
        estimate(mean_of(np.ones(3)), np.arange(2))
