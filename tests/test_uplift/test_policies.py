"""Policies: probabilities that sum to one and mean what they say, a budget that is kept, harm that is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from features.errors import ConfigError
from serving.policies import NULL, PolicySpec, best_of, drawn, net_values, probabilities
from training.uplift.policies import budget_price, sleeping_dogs, spent

KINDS = ("greedy", "thompson", "inverse-gap")


@st.composite
def blocks(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Values and what is eligible; null always is."""
    n, k = draw(st.integers(1, 8)), draw(st.integers(2, 6))
    values = draw(hnp.arrays(np.float64, (n, k), elements=st.floats(-2, 2)))
    values[:, NULL] = 0.0
    eligible = draw(hnp.arrays(np.bool_, (n, k)))
    eligible[:, NULL] = True
    return values, eligible


def spec(k: int, **settings: object) -> PolicySpec:
    return PolicySpec("test", tuple(f"a{n}" for n in range(1, k)), {"visit": 1.0}, **settings)


@given(blocks(), st.sampled_from(KINDS), st.floats(0, 1), st.booleans())
def test_probabilities_are_a_distribution_over_what_is_eligible(block, kind, floor, cautious):
    """One a row, nothing where it may not be, at least the floor (or the equal share) on the rest."""
    values, eligible = block
    policy = spec(values.shape[1], explore=kind, floor=floor, cautious=cautious, draws=50)
    chances = probabilities(policy, values, eligible, np.full(values.shape, 0.3))
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    assert (chances[~eligible] == 0).all()
    least = np.minimum(floor, 1 / eligible.sum(axis=1, keepdims=True))
    assert (chances >= np.where(eligible, least, 0) - 1e-12).all()


@given(blocks(), st.sampled_from(KINDS))
def test_what_is_better_is_never_taken_less(block, kind):
    """For equal spreads the order of probabilities is the order of values."""
    values, eligible = block
    chances = probabilities(spec(values.shape[1], explore=kind, gap=5.0), values, eligible)
    for row, chance, may in zip(values, chances, eligible, strict=True):
        for one, other in itertools.combinations(np.flatnonzero(may), 2):
            better, worse = (one, other) if row[one] >= row[other] else (other, one)
            assert chance[better] >= chance[worse] - 1e-12


def test_a_thompson_policy_is_its_frequency_over_normal_draws():
    """Two actions: the frequency tends to the probability that a normal number exceeds zero."""
    values, spread = np.array([[0.0, 0.1]]), np.array([[0.0, 0.2]])
    chances = probabilities(spec(2, explore="thompson", draws=10_000), values, np.ones((1, 2), bool), spread)
    assert chances[0, 1] == pytest.approx(0.6915, abs=0.015)  # Phi(0.5)
    again = probabilities(spec(2, explore="thompson", draws=10_000), values, np.ones((1, 2), bool), spread)
    assert chances.tolist() == again.tolist()


def test_caution_does_nothing_where_nothing_is_sure():
    """A value of 1 with a standard error of 1 is not known to be above zero; one with 0.1 is."""
    values, spread = np.array([[0.0, 1.0], [0.0, 1.0]]), np.array([[0.0, 1.0], [0.0, 0.1]])
    chances = probabilities(spec(2, cautious=True), values, np.ones((2, 2), bool), spread)
    assert chances.tolist() == [[1.0, 0.0], [0.0, 1.0]]


@given(blocks(), st.floats(0, 1, exclude_max=True))
def test_what_is_drawn_was_possible(block, u):
    """Also at the edges, where sums are rounded."""
    values, eligible = block
    chances = probabilities(spec(values.shape[1], floor=0.05), values, eligible)
    found = drawn(chances, np.full(len(values), u))
    assert (chances[np.arange(len(values)), found] > 0).all()


def test_draws_have_the_frequencies_that_were_said():
    """Over an even grid of points each action comes exactly its share of times."""
    points = (np.arange(1000) + 0.5) / 1000
    found = drawn(np.tile([0.25, 0.0, 0.6, 0.15], (1000, 1)), points)
    assert np.bincount(found, minlength=4).tolist() == [250, 0, 600, 150]


def test_net_values_take_costs_and_their_price_from_the_worth_of_all_rewards():
    """Worked by hand."""
    policy = PolicySpec(
        "test", ("mail", "call"), {"visit": 2.0, "optout": -10.0}, {"mail": 0.1, "call": 1.0}, price=0.5
    )
    effects = {"visit": np.array([[0.5, 1.0]]), "optout": np.array([[0.01, 0.0]])}
    np.testing.assert_allclose(net_values(policy, effects), [[0.0, 1.0 - 0.1 - 0.15, 2.0 - 1.5]])


@given(blocks(), st.floats(0, 1))
def test_a_budget_is_kept_and_no_lower_price_would_keep_it(block, budget):
    """The price is the lowest at which the mean cost fits."""
    gross, eligible = block
    costs = np.linspace(0, 1, gross.shape[1])
    price = budget_price(gross, costs, eligible, budget)
    assert spent(gross, costs, eligible, price) <= budget + 1e-12
    if price > 1e-6:
        assert spent(gross, costs, eligible, price * (1 - 1e-6)) > budget


def test_the_price_finds_the_best_use_of_a_budget():
    """Against every assignment of actions to five subjects, where the budget falls between subjects."""
    random = np.random.default_rng(3)
    for _ in range(20):
        gross = np.column_stack([np.zeros(5), random.uniform(0, 2, (5, 2))])
        costs, may = np.array([0.0, 0.3, 0.8]), np.ones((5, 3), bool)
        price = budget_price(gross, costs, may, 0.4)
        chosen = best_of(gross - (1 + price) * costs, may)
        mine, cost = (gross - costs)[np.arange(5), chosen].sum(), costs[chosen].sum()
        best = max(
            (gross - costs)[np.arange(5), list(each)].sum()
            for each in itertools.product(range(3), repeat=5)
            if costs[list(each)].sum() <= cost + 1e-12
        )
        assert mine == pytest.approx(best)


def test_a_negative_budget_is_refused():
    with pytest.raises(ConfigError, match="negative"):
        budget_price(np.zeros((1, 2)), np.zeros(2), np.ones((1, 2), bool), -1.0)


def test_known_harm_is_blocked_and_chance_is_not():
    """A group that loses 0.2 is found; with no effect at all, next to no world has a block."""
    random = np.random.default_rng(0)
    group, subject = np.repeat(np.arange(5), 400), np.arange(2000)
    scores = np.column_stack([np.zeros(2000), random.normal(0, 1, 2000), random.normal(0, 1, 2000)])
    scores[group == 2, 1] -= 0.3
    found = sleeping_dogs(scores, group, subject)
    assert [(block.action, block.group) for block in found] == [(1, 2)]
    worlds = [
        sleeping_dogs(np.column_stack([np.zeros(1000), np.random.default_rng(seed).normal(size=(1000, 2))]),
                      np.repeat(np.arange(5), 200), np.arange(1000))
        for seed in range(200)
    ]  # fmt: skip
    assert sum(bool(each) for each in worlds) <= 20  # at most 5 % in the mean; 20 of 200 has probability 0.002
