"""What it would take to explain an effect away: published examples, EconML, a planted cause, and the sentences."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_uplift.peers.worlds import SEEDS, three_arms
from tests.test_uplift.worlds import log_of
from training.intervals import Interval
from training.uplift.boosting import Shape
from training.uplift.crossfit import CrossFit, cross_fit
from training.uplift.folds import folds_of
from training.uplift.learners import fit_t
from training.uplift.nuisance import Choice, Outcomes, action_scores
from training.uplift.sensitivity import (
    bias_scale,
    e_value,
    nearer_end,
    risk_ratio,
    robustness_value,
    sensitivity,
    unseen,
)  # fmt: skip


@pytest.mark.parametrize(
    ("ratio", "low", "high", "published"),
    [
        (3.9, 1.8, 8.7, (7.26, 3.0)),  # VanderWeele & Ding 2017: bottle-feeding and deaths of infants
        (10.73, 8.02, 14.36, (20.95, 15.52)),  # the same: smoking and lung cancer (Hammond & Horn 1958)
        (0.80, 0.71, 0.91, (1.81, 1.43)),  # the same, a ratio below 1
    ],
)
def test_published_e_values(ratio, low, high, published):
    """Of the ratio, and of the end of its interval that is nearer to 1."""
    found = Interval(ratio, low, high, 100, 0)
    assert (e_value(ratio), e_value(nearer_end(found, 1.0))) == pytest.approx(published, abs=0.01)


def test_published_robustness_values():
    """Cinelli & Hazlett 2020, Darfur: t = 4.18 on 783 degrees of freedom; 13.9 %, and 7.6 % for the interval's end."""
    strength, limit = 4.18445 / 783**0.5, 1.963 / 782**0.5
    assert robustness_value(strength) == pytest.approx(0.139, abs=5e-4)
    assert robustness_value(strength - limit) == pytest.approx(0.076, abs=5e-4)


@given(st.floats(0.01, 100))
def test_e_values_mirror_and_bound(ratio):
    """As much for harm as for gain; the bounding factor of two such ties is the ratio itself (Ding & VanderWeele)."""
    found = e_value(ratio)
    assert found == pytest.approx(e_value(1 / ratio))
    assert found * found / (2 * found - 1) == pytest.approx(max(ratio, 1 / ratio))


@given(st.floats(0, 50))
def test_a_robustness_value_is_where_the_bias_reaches_the_effect(strength):
    """r / sqrt(1 - r) = f, by definition; between 0 and 1."""
    found = robustness_value(strength)
    assert 0 <= found < 1
    assert found / np.sqrt(1 - found) == pytest.approx(strength, rel=1e-6, abs=1e-9)


def test_the_nearer_end():
    """Nothing itself where it lies inside; unknown without an interval."""
    assert nearer_end(Interval(2.0, 1.5, 3.0, 9, 0), 1.0) == 1.5
    assert nearer_end(Interval(0.5, 0.2, 0.8, 9, 0), 1.0) == 0.8
    assert nearer_end(Interval(1.2, 0.9, 1.6, 9, 0), 1.0) == 1.0
    assert np.isnan(nearer_end(Interval(1.2, np.nan, np.nan, 1, 0), 1.0))
    assert e_value(1.0) == 1 and robustness_value(0.0) == 0


def given_fit(log, chance, outcome) -> CrossFit:
    """Effects with nuisances that are given."""
    fold = folds_of(log.subject, log.action, folds=3, seed=0)
    scores = action_scores(log.action, log.reward("visit"), chance, outcome)
    return CrossFit(
        "visit", log, np.ones(len(log), bool), fold, Choice(chance, True, 0), Outcomes(outcome, (), (), (), 0.0),
        scores, {}, {}, {}, (),
    )  # fmt: skip


def test_an_outcome_that_never_happened():
    """No division by nothing: it cannot be said what would explain it away."""
    n = 200
    action, chance = np.arange(n) % 2, np.full((n, 2), 0.5)
    log = log_of(action, chance, np.zeros((n, 1)), np.zeros(n), observational=True)
    found = sensitivity(given_fit(log, chance, np.zeros((n, 2))), 1)
    assert np.isnan(found.robustness).all() and "cannot be said" in unseen(found)


@pytest.mark.parametrize("seed", SEEDS)
def test_against_econml(seed):
    """Its effect and residuals are ours; its second moment of a is 2 (ours) - mean a^2, the same in expectation."""
    said = json.loads(Path(__file__).with_name("peers").joinpath("recorded.json").read_text())[str(seed)]["econml"]
    world = three_arms(seed)
    fit = given_fit(
        log_of(world.arm, world.chance, np.zeros((len(world.arm), 1)), world.money), world.chance, world.outcome
    )
    for arm in (1, 2):
        theta, sigma, nu, theirs = (said[f"{name}, arm {arm - 1}"] for name in ("theta", "sigma", "nu", "robustness"))
        assert robustness_value(abs(theta) / np.sqrt(sigma * nu)) == pytest.approx(theirs, abs=1e-5)
        a = (world.arm == arm) / world.chance[:, arm] - (world.arm == 0) / world.chance[:, 0]
        mine = (nu + (a**2).mean()) / 2
        assert bias_scale(fit, arm) == pytest.approx(np.sqrt(sigma * mine), rel=1e-9)
        assert sensitivity(fit, arm).effect.value == pytest.approx(theta, rel=1e-9)


def confounded(n: int = 4000, strength: float = 1.0, *, seed: int = 0):
    """Nothing has an effect; an unseen coin makes both the action and the visit more likely."""
    random = np.random.default_rng(seed)
    unseen_coin = random.random(n) < 0.5
    action = (random.random(n) < 0.3 + 0.4 * strength * unseen_coin).astype(int)
    visit = random.random(n) < 0.2 + 0.4 * strength * unseen_coin
    chance = np.tile([1 - action.mean(), action.mean()], (n, 1))
    means = [visit[action == each].mean() for each in (0, 1)]
    return (
        unseen_coin,
        log_of(action, chance, np.zeros((n, 1)), visit, observational=True),
        chance,
        np.tile(means, (n, 1)),
    )


def test_the_bounds_hold_against_a_planted_cause():
    """What the coin does to the effect and to the ratio is within both bounds, worked out from the coin itself."""
    coin, log, chance, outcome = confounded()
    fit, visit, cells = given_fit(log, chance, outcome), log.reward("visit"), (False, True)
    found = sensitivity(fit, 1)
    assert found.effect.low > 0 and found.robustness[1] > 0  # of something that has no effect
    share = np.array([log.action[coin == u].mean() for u in cells])
    mean = np.array([[visit[(coin == u) & (log.action == each)].mean() for each in (0, 1)] for u in cells])
    of_action = max(share[1] / share[0], (1 - share[0]) / (1 - share[1]))
    of_visit = (mean[1] / mean[0]).max()
    weight = np.array([(coin == u).mean() for u in cells])
    standard = weight @ mean
    joint = of_action * of_visit / (of_action + of_visit - 1)  # Ding & VanderWeele 2016
    assert found.ratio.value / (standard[1] / standard[0]) <= joint
    assert max(of_action, of_visit) >= found.e_value[0]
    told = outcome[np.arange(len(log)), log.action]
    knowing = mean[coin.astype(int), log.action]
    r_visit = ((knowing - told) ** 2).mean() / ((visit - told) ** 2).mean()
    r_action = 1 - (1 / chance).sum(axis=1).mean() / (weight @ (1 / share + 1 / (1 - share)))
    bias = bias_scale(fit, 1) * np.sqrt(r_visit * r_action / (1 - r_action))
    assert abs(found.effect.value - (standard[1] - standard[0])) <= bias
    assert max(r_action, r_visit) >= found.robustness[0] * 0.95  # the coin's work leaves a little more than nothing


def test_the_risk_ratio_and_its_interval():
    """That of two means, with the interval of its logarithm (Katz et al. 1978); undefined for money."""
    _, log, chance, outcome = confounded()
    fit = given_fit(log, chance, outcome)
    found, visit = risk_ratio(fit, 1), log.reward("visit")
    means, counts = ([float(f(visit[log.action == each])) for each in (0, 1)] for f in (np.mean, len))
    assert found.value == pytest.approx(means[1] / means[0])
    error = np.sqrt(sum((1 - mean) / (mean * count) for mean, count in zip(means, counts, strict=True)))
    assert np.log(found.high / found.value) == pytest.approx(1.96 * error, rel=0.01)
    money = log_of(log.action, chance, np.zeros((len(log), 1)), 3.5 * visit, observational=True)
    each = sensitivity(given_fit(money, chance, 3.5 * outcome), 1)
    assert np.isnan(each.ratio.value) and np.isnan(each.e_value).all()
    assert each.robustness == pytest.approx(sensitivity(fit, 1).robustness)  # of no unit
    assert "times as likely" not in unseen(each)


def test_sentences_say_what_it_would_take():
    """In both languages; that nothing may be there at all is said; what cannot be said is said so."""
    _, log, chance, outcome = confounded()
    strong = sensitivity(given_fit(log, chance, outcome), 1)
    told = unseen(strong)
    assert f"{strong.e_value[0]:.2f} times as likely" in told and "%" in told and "lies within" not in told
    assert "見かけだけ" in unseen(strong, "ja")
    _, log, chance, outcome = confounded(400, 0.0, seed=3)
    assert "no effect at all lies within its interval" in unseen(sensitivity(given_fit(log, chance, outcome), 1))
    nobody = given_fit(log, np.tile([1.0, 0.0], (400, 1)), outcome)
    assert "cannot be said" in unseen(sensitivity(nobody, 1))


def test_from_a_cross_fit_of_a_log_that_nobody_drew():
    """Estimated probabilities and outcomes give a figure as well."""
    _, log, _, _ = confounded(1500)
    found = cross_fit(log, "visit", learners={"T": fit_t}, folds=3, shape=Shape(trees=20), threads=1)
    each = sensitivity(found, 1)
    assert each.action == "arm-1" and 0 < each.robustness[1] < each.robustness[0] < 1
