"""Qini, AUUC and uplift@k: by definition, in worlds with a closed form, and their influence by finite differences."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import ConfigError, DataError
from tests.test_uplift.worlds import three_arms, trial
from training.uplift.curves import auuc, curve, qini, trial_of, uplift_at
from training.uplift.estimate import difference, estimated
from training.uplift.placebo import placebo

METRICS = {"qini": qini, "auuc": auuc}


@st.composite
def worlds(draw, most=24):
    """Rows of both arms, few different scores (ties), probabilities that differ."""
    n = draw(st.integers(2, most))
    treated = [True, False, *draw(st.lists(st.booleans(), min_size=n - 2, max_size=n - 2))]
    reward = draw(st.lists(st.integers(-3, 3), min_size=n, max_size=n))
    score = draw(st.lists(st.integers(0, 6), min_size=n, max_size=n))
    e = draw(st.lists(st.sampled_from([0.2, 0.5, 0.7]), min_size=n, max_size=n))
    rest = draw(st.sampled_from([0.0, 0.2]))  # probability of a third action
    chance = [[(1 - each) * (1 - rest), each * (1 - rest)] for each in e]
    return np.array(score, float), trial(treated, reward, chance)


def by_definition(score, rows, kind, weights=None):
    """The area under a curve, cut by cut in O(n^2), as the docstring says it; rows may weigh more."""
    extra = np.ones(len(score)) if weights is None else weights
    w = extra / np.where(rows.treated, rows.chance[:, 1], rows.chance[:, 0])
    u = extra / rows.chance.sum(axis=1)
    points = [(0.0, 0.0)]
    for cut in sorted(set(score.tolist()), reverse=True):
        top = score >= cut
        nt, nc = w[top & rows.treated].sum(), w[top & ~rows.treated].sum()
        if nt == 0 or nc == 0:
            continue
        mean_t = (w * rows.reward)[top & rows.treated].sum() / nt
        mean_c = (w * rows.reward)[top & ~rows.treated].sum() / nc
        x = u[top].sum() / u.sum()
        scale = nt / w[rows.treated].sum() if kind == "qini" else x
        points.append((x, scale * (mean_t - mean_c)))
    area = sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in itertools.pairwise(points))
    return area - points[-1][1] / 2 if kind == "qini" else area


@given(worlds())
def test_areas_are_what_the_definition_says(world):
    """Ties, unequal probabilities and a third action included."""
    score, rows = world
    for kind, metric in METRICS.items():
        assert metric(score, rows).value == pytest.approx(by_definition(score, rows, kind), abs=1e-10)


@given(worlds(12))
@settings(max_examples=40)
def test_the_influence_is_the_derivative_by_the_weight_of_a_row(world):
    """By central differences of the definition."""
    score, rows = world
    for kind, metric in METRICS.items():
        found = metric(score, rows).influence
        for row in range(len(score)):
            moved = [
                by_definition(score, rows, kind, 1 + step * (np.arange(len(score)) == row)) for step in (1e-5, -1e-5)
            ]
            assert found[row] == pytest.approx((moved[0] - moved[1]) / 2e-5, abs=1e-5)


@given(worlds(), st.randoms(use_true_random=False))
def test_the_order_of_the_file_decides_nothing(world, random):
    """Also not among equal scores."""
    score, rows = world
    order = np.array(random.sample(range(len(score)), len(score)))
    for metric in (*METRICS.values(), lambda s, t: uplift_at(s, t, 0.4)):
        np.testing.assert_allclose(metric(score[order], rows.take(order)).value, metric(score, rows).value, atol=1e-10)


@given(worlds())
def test_only_the_order_of_scores_counts(world):
    """Scores may be stretched; a score that is the same for all has a Qini of 0 and half the average as AUUC."""
    score, rows = world
    assert qini(np.exp(score / 3) - 5, rows).value == pytest.approx(qini(score, rows).value, abs=1e-12)
    same = np.ones(len(score))
    assert qini(same, rows).value == pytest.approx(0, abs=1e-12)
    assert auuc(same, rows).value == pytest.approx(uplift_at(same, rows, 1.0).value / 2, abs=1e-12)


def half_helped(n_groups: int = 40):
    """Half of the heads gain 1, the others nothing; perfectly balanced."""
    helped = np.repeat([1.0, 0.0], 2 * n_groups)
    treated = np.tile([True, False], 2 * n_groups)
    return helped, trial(treated, helped * treated)


def test_a_world_with_a_closed_form():
    """Effect 1 for half of the heads: Q rises to 1/2 at x = 1/2 and stays; Qini 3/8 - 1/4 = 1/8, reversed -1/8."""
    helped, rows = half_helped()
    assert qini(helped, rows).value == pytest.approx(1 / 8)
    assert qini(-helped, rows).value == pytest.approx(-1 / 8)
    assert qini(helped, rows, per="head").value == pytest.approx(1 / 16)
    assert auuc(helped, rows).value == pytest.approx(3 / 8)
    assert uplift_at(helped, rows, 0.5).value == pytest.approx(1)
    assert uplift_at(helped, rows, 0.75).value == pytest.approx(2 / 3)  # half of the border's equal scores
    points = curve(helped, rows)
    assert points.share.tolist() == [0, 0.5, 1]
    assert points.value.tolist() == [0, 0.5, 0.5]
    assert points.area == pytest.approx(3 / 8)


def test_unequal_probabilities_are_undone():
    """The same world in which the helped are treated four times as often: the same figures, not those of raw means."""
    random = np.random.default_rng(5)
    n = 40_000
    helped = random.random(n) < 0.5
    e = np.where(helped, 0.8, 0.2)
    treated = random.random(n) < e
    base = np.where(helped, 1.0, 0.0)  # who is helped also buys more without
    rows = trial(treated, base + helped * treated, np.column_stack([1 - e, e]))
    found = qini(helped.astype(float), rows)
    assert abs(found.value - 1 / 8) < 4 * found.error
    assert found.error < 0.005
    ignored = qini(helped.astype(float), replace(rows, chance=np.full((n, 2), 0.5)))
    assert abs(ignored.value - 1 / 8) > 0.02


def test_intervals_hold_the_truth_as_often_as_they_say():
    """400 small trials of the world with Qini 1/8, with noise: between 91 and 98 % of 95 % intervals."""
    random = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        helped = random.random(300) < 0.5
        treated = random.random(300) < 0.5
        rows = trial(treated, helped * treated + random.normal(size=300))
        found = qini(helped.astype(float), rows)
        held += found.low <= 1 / 8 <= found.high
    assert 0.91 <= held / 400 <= 0.98


def test_intervals_are_clustered_by_subject():
    """Every row four times over, as one subject's, tells no more than once."""
    random = np.random.default_rng(2)
    score, treated = random.normal(size=400), random.random(400) < 0.5
    reward = random.normal(size=400)
    once = qini(score, trial(treated, reward))
    again = np.repeat(np.arange(400), 4)
    wide = qini(score[again], trial(treated[again], reward[again], subject=again))
    assert wide.value == pytest.approx(once.value, abs=1e-3)  # cuts are the same
    assert wide.error == pytest.approx(once.error, rel=1e-6)
    naive = qini(score[again], trial(treated[again], reward[again]))
    assert naive.error == pytest.approx(once.error / 2, rel=1e-2)


def test_two_scores_are_compared_as_pairs():
    """A score against itself differs by exactly 0; other rows are refused."""
    random = np.random.default_rng(3)
    rows = trial(random.random(200) < 0.5, random.normal(size=200))
    score = random.normal(size=200)
    mine = qini(score, rows)
    same = difference(mine, qini(score * 2, rows), rows.subject)
    assert (same.value, same.error) == (0, 0)
    near = difference(mine, qini(score + 0.01 * random.normal(size=200), rows), rows.subject)
    assert near.error < mine.error / 2
    with pytest.raises(ConfigError, match="same rows"):
        difference(mine, qini(score[:100], rows.take(np.arange(100))), rows.subject)


def test_what_is_undefined_is_nan_with_its_count():
    """One arm only; unknown scores are left out and counted."""
    lonely = trial([True] * 5, range(5))
    assert np.isnan(qini(np.arange(5.0), lonely).value)
    assert qini(np.arange(5.0), lonely).undefined == 5
    with pytest.raises(DataError, match="both"):
        curve(np.arange(5.0), lonely)
    helped, rows = half_helped()
    gaps = np.where(np.arange(len(helped)) % 4 < 2, np.nan, helped)
    found = qini(gaps, rows)
    assert (found.n, found.undefined) == (80, 80)
    assert found.value == pytest.approx(1 / 8)
    with pytest.raises(ConfigError, match="share"):
        uplift_at(helped, rows, 0)
    with pytest.raises(ConfigError, match="score"):
        qini(helped[:3], rows)
    with pytest.raises(ConfigError, match="confidence"):
        estimated(0.0, np.zeros(2), np.arange(2), confidence=1.0)


def test_a_trial_is_one_action_and_null_of_a_log():
    """Eligible rows of the two, probabilities as recorded; unknown actions are named."""
    log, _ = three_arms(300)
    found = trial_of(log, "visit", "arm-2")
    assert set(log.action[found.places]) == {0, 2}
    assert found.treated.tolist() == (log.action[found.places] == 2).tolist()
    np.testing.assert_array_equal(found.chance, log.propensity[found.places][:, [0, 2]])
    with pytest.raises(DataError, match="arm-1"):
        trial_of(log, "visit", "arm-9")
    with pytest.raises(DataError, match="arm-1"):
        trial_of(log, "visit", None)


def test_the_placebo_measures_as_the_metric_does():
    """With the deal that was, the vectorised kernel gives the Qini, gaps at the start and ties included."""
    from training.uplift.placebo import _qinis

    random = np.random.default_rng(4)
    score = np.sort(np.round(random.normal(size=300), 1))[::-1]
    e = np.where(random.random(300) < 0.5, 0.3, 0.6)
    treated = random.random(300) < e
    treated[:7] = True
    score[:7] = np.arange(20, 13, -1)
    rows = trial(treated, random.normal(size=300), np.column_stack([1 - e, e]))
    ends = np.flatnonzero(np.append(np.diff(score) != 0, True))
    found = _qinis(np.stack([treated, treated]), rows, ends)
    np.testing.assert_allclose(found, qini(score, rows).value, atol=1e-12)


def test_the_placebo_finds_what_is_there_and_nothing_else():
    """A real difference lies above all deals; with one effect for all p values are uniform."""
    random = np.random.default_rng(6)
    n = 2000
    x, treated = random.normal(size=n), random.random(n) < 0.5
    real = placebo(x, trial(treated, 0.5 * x * treated + random.normal(size=n)), permutations=99)
    assert (real.percentile, real.p) == (100, 0.01)
    ps = []
    for _ in range(60):
        treated = random.random(200) < 0.5
        rows = trial(treated, x[:200] + 0.7 * treated)
        ps.append(placebo(x[:200], rows, permutations=39).p)
    assert 0.35 < np.mean(ps) < 0.65
    same = placebo(np.ones(200), rows, permutations=20)
    np.testing.assert_allclose([same.real, *same.drawn], 0, atol=1e-12)


def test_the_placebo_deals_as_the_trial_did():
    """By subject where each had one treatment; by recorded probabilities where they differ; the same seed, the same."""
    from training.uplift.placebo import _dealt

    random = np.random.default_rng(7)
    subject = np.repeat(np.arange(50), 3)
    whole = np.repeat(random.random(50) < 0.4, 3)
    dealt = _dealt(trial(whole, np.zeros(150), subject=subject), 10, np.random.default_rng(0)).reshape(10, 50, 3)
    assert (dealt == dealt[:, :, :1]).all()
    assert (dealt[:, :, 0].sum(axis=1) == whole[::3].sum()).all()
    e = np.repeat([0.1, 0.9], 500)
    rows = trial(random.random(1000) < e, np.zeros(1000), np.column_stack([1 - e, e]))
    shares = _dealt(rows, 20, np.random.default_rng(0)).reshape(20, 2, 500).mean(axis=(0, 2))
    np.testing.assert_allclose(shares, [0.1, 0.9], atol=0.02)
    again = [placebo(np.arange(1000.0), rows, permutations=20, seed=3).drawn for _ in range(2)]
    assert again[0].tolist() == again[1].tolist()
    lonely = placebo(np.arange(5.0), trial([True] * 5, range(5)), permutations=20)
    assert np.isnan(lonely.percentile)
