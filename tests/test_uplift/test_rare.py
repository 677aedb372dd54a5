"""Rare events: exact bounds where nothing or hardly anything happened, and what the gate makes of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from training.intervals import Interval
from training.uplift.gate import Guard, rule
from training.uplift.rare import Logged, bounds, slack, widened


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.data())
def test_equal_weights_give_the_exact_poisson_limits(n, data):
    """Garwood 1936, by another function: the limits of a count are quantiles of chi squares."""
    events = data.draw(st.integers(0, n))
    happened = np.zeros(n)
    happened[:events] = 1
    low, high = bounds(np.full(n, 1 / n), happened, np.arange(n))
    assert high == pytest.approx(chi2.ppf(0.975, 2 * events + 2) / 2 / n)
    assert low == pytest.approx(chi2.ppf(0.025, 2 * events) / 2 / n if events else 0.0)


def test_nothing_among_n_is_the_rule_of_three():
    """-ln(.05) / n at one-sided 95 %, which is a two-sided confidence of 90 %."""
    _, high = bounds(np.full(300, 1 / 300), np.zeros(300), np.arange(300), confidence=0.9)
    assert high == pytest.approx(3 / 300, rel=0.01)


def test_one_subject_is_one_observation_and_the_largest_weight_counts():
    """Ten decisions of each of thirty people say what thirty decisions say; one heavy decision widens all."""
    people = bounds(np.full(300, 1 / 300), np.zeros(300), np.arange(300) // 10)[1]
    assert people == pytest.approx(bounds(np.full(30, 1 / 30), np.zeros(30), np.arange(30))[1])
    uneven = np.full(300, 1 / 300)
    uneven[0] *= 50
    assert bounds(uneven, np.zeros(300), np.arange(300))[1] == pytest.approx(-np.log(0.025) * 50 / 300)


def test_bounds_of_weighted_events_hold_in_enough_worlds():
    """Three propensities, inverse weights, seven events expected: at most 2.5 % of worlds lie above the upper bound."""
    random = np.random.default_rng(0)
    above = below = 0
    for _ in range(2000):
        chance = random.choice([0.1, 0.3, 0.8], 1000)
        took, event = random.random(1000) < chance, random.random(1000) < 0.02
        low, high = bounds(took / chance / 1000, event.astype(float), np.arange(1000))
        above, below = above + (high < 0.02), below + (low > 0.02)
    assert above <= 60  # 50 in the mean if it were exact
    assert below <= 60


def log_of(n: int, unsubscribed: int = 0) -> Logged:
    """Half of n get the action; the first so many of them unsubscribe; nobody else does."""
    action = (np.arange(n) % 2).astype(np.int32)
    gone = np.zeros(n)
    gone[np.flatnonzero(action)[:unsubscribed]] = 1
    return Logged(action, np.full((n, 2), 0.5), {"gone": gone, "spent": gone * 9.5}, {"gone": -1.0})


def test_what_a_policy_adds_where_nothing_happened():
    """The action for everybody: 3.7 by its half of the decisions. A policy that does nothing adds nothing for sure."""
    logged, everybody = log_of(1000), np.tile([0.0, 1.0], (1000, 1))
    who = np.ones(1000, bool)
    down, up = slack(logged, "gone", everybody, np.arange(1000), who)
    assert up == pytest.approx(-np.log(0.025) / 500)
    assert down == pytest.approx(-np.log(0.025) / 500), "nor did it happen to those who got nothing"
    assert slack(logged, "gone", 1 - everybody, np.arange(1000), who) == (0.0, 0.0)
    assert slack(log_of(1000, 3), "spent", everybody, np.arange(1000), who) == (0.0, 0.0), "no event"


def ruled(n: int, limit: float, unsubscribed: int = 0, *, exact: bool = True):
    """The gate on an action that everybody likes, with its guard."""
    logged = log_of(n, unsubscribed)
    took = logged.action == 1
    liked = np.column_stack([np.where(took, 0.0, 0.0), np.where(took, 2.0, 0.0)])
    gone = np.column_stack([np.where(took, 0.0, 2 * logged.rewards["gone"]), np.where(took, 2, 0)])
    gone[:, 1] *= logged.rewards["gone"]
    guards = [Guard("gone", gone, limit)]
    return rule(np.tile([0.0, 1.0], (n, 1)), liked, np.arange(n) % 3, np.arange(n), (None, "a"), guards=guards,
                logged=logged if exact else None)  # fmt: skip


def test_a_guard_without_any_event_is_not_known_to_be_kept():
    """600 decisions with the action cannot show less than 0.006 a decision; 6,000 can. A plain interval would pass."""
    assert ruled(1200, 0.001, exact=False).ships == "action"
    few = ruled(1200, 0.001)
    assert few.ships == "nothing"
    claim = next(claim for claim in few.claims if claim.what == "extra gone")
    assert claim.found.value == 0
    assert claim.found.high == pytest.approx(-np.log(0.025) / 600)
    assert ruled(12_000, 0.001).ships == "action"
    assert ruled(12_000, 0.001, unsubscribed=30).ships == "nothing"


def test_a_tier_in_which_nothing_happened_is_not_known_to_be_harmed():
    """Its cost is lost for sure, what it brings is not known to be nothing."""
    n = 400
    logged = log_of(n)
    logged = Logged(logged.action, logged.chance, logged.rewards, {"gone": 1.0})
    everybody, who = np.tile([0.0, 1.0], (n, 1)), np.arange(n) < 100
    found = Interval(-0.01, -0.01, -0.01, 100, 0)
    wide = widened(found, logged, everybody, np.arange(n), who=who, worth=logged.worth)
    assert wide.high == pytest.approx(-0.01 - np.log(0.025) / 50)
    assert wide.value == found.value
    broad = Interval(-0.01, -1.0, 1.0, 100, 0)
    assert widened(broad, logged, everybody, np.arange(n), who=who, worth=logged.worth) == broad
    net = np.tile([0.0, -0.01], (n, 1))
    for exact, passed in ((logged, True), (None, False)):
        ruling = rule(everybody, net, np.arange(n) % 3, np.arange(n), (None, "a"), tiers={"gold": who}, logged=exact)
        assert next(claim.passed for claim in ruling.claims if claim.what == "tier gold") is passed
