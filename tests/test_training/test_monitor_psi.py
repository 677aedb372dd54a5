"""PSI and its band: properties that hold always, the stated rate of false alarms, and changes that are found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from training.monitor.measure import Limits, Measure, Verdict, by_severity, counts, judged, rejected, worst
from training.monitor.psi import SAME, Histogram, histogram, pooled, psi, smoothed, stability
from training.monitor.shares import Share, share_of, two_sided

counts_of = st.integers(2, 12).flatmap(
    lambda k: st.tuples(*(arrays(np.float64, k, elements=st.integers(0, 5000).map(float)) for _ in range(2)))
)


@given(counts_of)
def test_psi_is_a_divergence(both):
    """Never below 0, 0 for equal shares, the same both ways."""
    p, q = (smoothed(each) for each in both)
    assert psi(p, q) >= 0
    assert psi(p, p) == 0
    assert psi(p, q) == pytest.approx(psi(q, p), rel=1e-12, abs=1e-15)


@given(counts_of, st.data())
def test_putting_bins_together_never_adds(both, data):
    """The log-sum inequality: what two bins tell together is at most what they tell apart."""
    p, q = (smoothed(each) for each in both)
    first, second = data.draw(st.lists(st.integers(0, len(p) - 1), min_size=2, max_size=2, unique=True))
    groups = np.arange(len(p))
    groups[second] = groups[first]
    merged = [np.bincount(groups, weights=each, minlength=len(p)) for each in (p, q)]
    kept = merged[0] > 0
    assert psi(merged[0][kept], merged[1][kept]) <= psi(p, q) + 1e-12


@given(counts_of)
def test_order_of_bins_does_not_matter(both):
    turned = [np.ascontiguousarray(each[::-1]) for each in both]
    one, other = stability(*map(alone, both)), stability(*map(alone, turned))
    assert one.value == pytest.approx(other.value, nan_ok=True) and one.p == pytest.approx(other.p, nan_ok=True)


def alone(counts: np.ndarray) -> Histogram:
    """A histogram of rows that are each a person's only one."""
    code = np.repeat(np.arange(len(counts)), counts.astype(int)).astype(np.int64)
    return histogram(np.arange(len(code)), code, np.ones(len(code)), len(counts))


def test_known_value():
    """By hand: (.5 - .25) ln 2 + (.5 - .75) ln (2/3)."""
    expected = 0.25 * np.log(2) + 0.25 * np.log(1.5)
    assert psi(np.array([0.5, 0.5]), np.array([0.25, 0.75])) == pytest.approx(expected)


def test_scaled_chi_square_of_independent_rows():
    """Without clustering the band is that of Yurdakul & Naranjo: chi-square of k - 1 degrees times 1/n + 1/m."""
    random = np.random.default_rng(0)
    one, other = alone(random.multinomial(20_000, [0.2] * 5)), alone(random.multinomial(4_000, [0.2] * 5))
    found = stability(one, other)
    assert found.band == pytest.approx(9.4877 * (1 / 20_000 + 1 / 4_000), rel=0.03)
    assert found.chance == pytest.approx(4 * (1 / 20_000 + 1 / 4_000), rel=0.03)


def drawn(random: np.random.Generator, people: int, shares: np.ndarray, *, alike: float, rows: float) -> Histogram:
    """People with a geometric number of rows, who have each a taste of their own around the shares."""
    taste = random.dirichlet(shares * alike, people)
    count = random.geometric(1 / rows, people)
    table = random.multinomial(count, taste).astype(float)
    who, code = np.nonzero(table)
    return histogram(who, code, table[who, code], len(shares))


SHARES = np.array([0.4, 0.25, 0.15, 0.1, 0.06, 0.03, 0.01])


def test_no_drift_no_more_alarms_than_stated():
    """400 windows of 6 features in which nothing changed: the share in which any is called changed stays near 5 %."""
    alarms = 0
    for seed in range(400):
        random = np.random.default_rng(seed)
        p = [
            stability(drawn(random, 150, SHARES, alike=3, rows=4), drawn(random, 60, SHARES, alike=3, rows=4)).p
            for _ in range(6)
        ]
        alarms += bool(rejected(np.array(p), 0.05).any())
    assert alarms <= 400 * 0.05 + 3 * np.sqrt(400 * 0.05 * 0.95)  # three standard errors above the stated rate


def split(random: np.random.Generator, people: int) -> Histogram:
    """Half of the people have all their ten rows in bins 0 to 3, half in 4 to 7: one contrast is clustered alone."""
    side = random.integers(0, 2, people)
    table = np.zeros((people, 8))
    for at in (0, 1):
        table[side == at, 4 * at : 4 * at + 4] = random.multinomial(10, [0.25] * 4, (side == at).sum())
    who, code = np.nonzero(table)
    return histogram(who, code, table[who, code], 8)


def test_where_some_contrasts_are_clustered_and_others_are_not():
    """The law has few degrees of freedom then; as many as bins would call half as much again."""
    wrong = 0
    for seed in range(600):
        random = np.random.default_rng(seed)
        wrong += stability(split(random, 200), split(random, 80)).p < 0.05
    assert wrong <= 600 * 0.05 + 3 * np.sqrt(600 * 0.05 * 0.95)


def test_rows_of_one_person_are_not_independent():
    """Taking each row for a person's only one would cry wolf in most windows: that is why people are told apart."""
    wolf = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        sides = [drawn(random, people, SHARES, alike=1, rows=10) for people in (150, 60)]
        wolf += stability(*(alone(side.counts) for side in sides)).p < 0.05
        assert stability(*sides).band > 2 * stability(*(alone(side.counts) for side in sides)).band
    assert wolf > 20


def test_a_change_is_found_and_its_interval_holds_it():
    """A change of 0.3: the excess lies around it."""
    other = np.array([0.2, 0.35, 0.15, 0.1, 0.1, 0.06, 0.04])
    truth, held = psi(SHARES, other), 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        found = stability(drawn(random, 600, SHARES, alike=5, rows=4), drawn(random, 300, other, alike=5, rows=4))
        assert found.p < 0.001
        held += found.low <= truth <= found.high
    assert held >= 34


def test_small_windows_do_not_cry_wolf():
    """Twelve rows may differ by a PSI far above 0.25, which is said to be worth nothing."""
    random = np.random.default_rng(3)
    found = stability(alone(random.multinomial(5000, [0.25] * 4)), alone(np.array([6.0, 4.0, 1.0, 1.0])))
    assert found.value > 0.25 and found.p > 0.05 and found.band > 0.25


def test_all_rows_in_another_bin():
    """No spread in the data on either side, and all the same a change beyond doubt."""
    found = stability(alone(np.array([10_000.0, 0.0])), alone(np.array([0.0, 200.0])))
    assert found.p < 1e-6 and found.excess > 1


def test_one_bin_is_no_change_and_a_few_rows_tell_nothing():
    assert stability(alone(np.array([500.0, 0.0])), alone(np.array([80.0, 0.0]))) == SAME
    assert np.isnan(stability(alone(np.array([500.0, 0.0])), alone(np.array([2.0, 0.0]))).value)
    assert np.isnan(stability(alone(np.zeros(3)), alone(np.array([5.0, 5.0, 5.0]))).value)


def test_one_person_gives_no_band():
    """All rows of a window of one person: a PSI and no verdict on it."""
    one = histogram(np.zeros(100, np.int64), np.repeat(np.arange(2), 50).astype(np.int64), np.ones(100), 2)
    found = stability(alone(np.array([300.0, 700.0])), one)
    assert np.isfinite(found.value) and np.isnan(found.p) and np.isnan(found.band)


def test_rare_bins_are_one():
    one, other = pooled(alone(np.array([500.0, 480, 2, 1, 0])), alone(np.array([50.0, 47, 1, 0, 0])))
    assert len(one.counts) < 5 and one.n == 983 and other.n == 98


def test_bins_put_together_have_the_covariance_of_the_whole():
    """As if the rows had been counted in the wider bins from the beginning."""
    random = np.random.default_rng(1)
    who, code = random.integers(0, 40, 300), random.integers(0, 5, 300)
    groups = np.array([0, 1, 1, 2, 0])
    merged = histogram(who, code, np.ones(300), 5).merged(groups, 3)
    whole = histogram(who, groups[code], np.ones(300), 3)
    assert np.allclose(merged.spread, whole.spread) and merged.counts.tolist() == whole.counts.tolist()


def test_covariance_is_that_of_clusters():
    """The spread of the shares is what a bootstrap over people gives."""
    random = np.random.default_rng(5)
    people, taste = 300, random.dirichlet([0.5, 0.5, 0.5], 300)
    count = random.integers(1, 9, people)
    table = random.multinomial(count, taste).astype(float)
    who, code = np.nonzero(table)
    found = histogram(who, code, table[who, code], 3)
    picks = random.integers(0, people, (1500, people))
    sums = np.stack([table[pick].sum(axis=0) for pick in picks])
    shares = sums / sums.sum(axis=1, keepdims=True)
    assert np.allclose(found.spread, np.cov(shares.T), rtol=0.12, atol=2e-6)


# Verdicts.


def test_benjamini_and_hochberg():
    """By the paper's procedure: the largest k with p_(k) <= k / m x share, and all below it; NaN is no test."""
    p = np.array([0.01, 0.04, np.nan, 0.03, 0.005, 0.5])
    assert rejected(p, 0.05).tolist() == [True, True, False, True, True, False]
    assert not rejected(np.array([0.02, 0.9, 0.8]), 0.05).any() and not rejected(np.array([np.nan]), 0.05).any()


def test_verdicts_need_chance_and_size():
    def one(p: float | None, size: float) -> Verdict:
        return judged([Measure("data", "x", "X", 1.0, p=p, size=size, limits=Limits(0.1, 0.25))])[0].verdict

    assert one(0.001, 0.3) is Verdict.ACT and one(0.001, 0.15) is Verdict.WATCH and one(0.001, 0.05) is Verdict.OK
    assert one(0.2, 0.3) is Verdict.OK and one(float("nan"), 0.3) is Verdict.UNKNOWN
    assert one(None, 0.3) is Verdict.ACT and one(None, float("nan")) is Verdict.UNKNOWN


def test_worst_first():
    told = [Measure("data", name, name, verdict=verdict) for name, verdict in zip("abc", Verdict, strict=False)]
    assert [each.name for each in by_severity(told)] == ["c", "b", "a"]
    assert worst(told) is Verdict.ACT and worst([]) is Verdict.UNKNOWN
    assert counts(told) == {"act": 1, "watch": 1, "unknown": 0, "ok": 1}


# Shares.


def test_share_of_clusters_is_held_by_its_interval():
    """Persons with a rate of their own: 95 % of the intervals hold the rate, as far as 300 can tell."""
    held = 0
    for seed in range(300):
        random = np.random.default_rng(seed)
        n = random.integers(1, 12, 120).astype(float)
        x = random.binomial(n.astype(int), random.beta(2, 8, 120)).astype(float)
        low, high = share_of(x.sum(), n.sum(), (x @ x, x @ n, n @ n), 120).ends
        held += low <= 0.2 <= high
    assert 0.92 <= held / 300 <= 0.99


def test_two_shares():
    assert two_sided(Share(10, 100, 0.03, 100), Share(10, 100, 0.03, 100)) == 1
    assert two_sided(Share(40, 100, 0.05, 100), Share(10, 100, 0.03, 100)) < 1e-5
    assert np.isnan(two_sided(Share(4, 10, 0.1, 10), Share(10, 100, 0.03, 100)))
    assert two_sided(Share(100, 100, 0, 100), Share(0, 100, 0, 100)) == 0
