"""Estimators of a policy's value: exact where nothing is left to chance, and the same by a second derivation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from features.errors import DataError
from training.offpolicy.estimators import (
    ESTIMATORS,
    Sample,
    clipped_ips,
    dm,
    dr,
    ips,
    sample_of,
    sndr,
    snips,
    switch_dr,
    switch_threshold,
)

SEEDS = st.integers(0, 10_000)


def policy_like(chance: np.ndarray, seed: int) -> np.ndarray:
    """A random policy where the log has support."""
    wanted = np.random.default_rng(seed).random(chance.shape) * (chance > 0)
    return wanted / wanted.sum(axis=1, keepdims=True)


@st.composite
def complete_worlds(draw):
    """Contexts x actions, each as often in the log as its probability says; some actions are not eligible."""
    contexts, k = draw(st.integers(1, 4)), draw(st.integers(2, 4))
    random = np.random.default_rng(draw(SEEDS))
    counts = random.integers(0, 5, (contexts, k))
    counts[:, 0] += 1
    counts *= (60 // counts.sum(axis=1, keepdims=True)) + 1
    return counts, random.normal(size=(contexts, k)), draw(SEEDS)


@given(complete_worlds())
def test_where_every_action_is_as_frequent_as_its_probability_the_value_is_exact(make_log, world):
    """IPS, SNIPS, DR and SNDR whatever the reward model says, and those that lean on the model when it is right."""
    counts, reward, seed = world
    context, action = (np.repeat(each.ravel(), counts.ravel()) for each in np.indices(counts.shape))
    chance = (counts / counts.sum(axis=1, keepdims=True))[context]
    log = make_log(chance, action, reward[context, action])
    policy = policy_like(counts.astype(float), seed)[context]
    truth = (policy * reward[context]).sum(axis=1).mean()
    nonsense = np.random.default_rng(seed).normal(size=counts.shape)[context]
    sample = sample_of(log, policy, "visit", nonsense)
    assert sample.weight.mean() == pytest.approx(1)
    for name in ("ips", "snips", "dr", "sndr"):
        assert ESTIMATORS[name](sample).value == pytest.approx(truth, abs=1e-9), name
    exact = sample_of(log, policy, "visit", reward[context])
    for name in ("dm", "dr", "sndr", "switch-dr"):
        assert ESTIMATORS[name](exact).value == pytest.approx(truth, abs=1e-9), name


@given(SEEDS, st.floats(-50, 50))
def test_a_constant_added_to_all_rewards_is_added_to_self_normalised_estimates(random_log, seed, constant):
    """And moves no interval; IPS has no such property (it moves by the constant times the mean weight)."""
    log = random_log(seed=seed)
    shifted = replace(log, rewards={"visit": log.reward("visit") + constant})
    policy = policy_like(log.propensity, seed)
    predictions = np.random.default_rng(seed).normal(size=policy.shape)
    before, after = (sample_of(each, policy, "visit", predictions) for each in (log, shifted))
    for way in (snips, sndr):
        assert way(after).value == pytest.approx(way(before).value + constant, abs=1e-8)
        np.testing.assert_allclose(way(after).influence, way(before).influence, atol=1e-7)
    moved = ips(after).value - ips(before).value
    assert moved == pytest.approx(constant * before.weight.mean(), abs=1e-8)


@given(SEEDS)
def test_a_model_that_says_nothing_leaves_the_weights_alone(random_log, seed):
    """DR is IPS, SNDR is SNIPS, and without bounds Switch-DR is DR and clipped IPS is IPS."""
    log = random_log(seed=seed)
    policy = policy_like(log.propensity, seed)
    sample = sample_of(log, policy, "visit", np.zeros(policy.shape))
    fitted = sample_of(log, policy, "visit", np.random.default_rng(seed).random(policy.shape))
    same = [
        (dr(sample), ips(sample)), (sndr(sample), snips(sample)), (switch_dr(fitted, np.inf), dr(fitted)),
        (clipped_ips(sample, np.inf), ips(sample)), (switch_dr(fitted, -1.0), dm(fitted)),
        (ips(fitted), ips(sample)),
    ]  # fmt: skip
    for one, other in same:
        assert one.value == pytest.approx(other.value, abs=1e-12)
        np.testing.assert_allclose(one.influence, other.influence, atol=1e-12)


@given(SEEDS)
def test_a_model_that_knows_the_rewards_leaves_nothing_to_the_weights(random_log, seed):
    """DR, SNDR, Switch-DR and DM are then the mean of what the policy is expected to bring, to the last digit."""
    log = random_log(seed=seed)
    table = np.random.default_rng(seed).normal(size=log.propensity.shape)
    told = replace(log, rewards={"visit": table[np.arange(len(log)), log.action]})
    policy = policy_like(log.propensity, seed)
    sample = sample_of(told, policy, "visit", table)
    truth = (policy * table).sum(axis=1).mean()
    for name in ("dm", "dr", "sndr", "switch-dr"):
        assert ESTIMATORS[name](sample).value == pytest.approx(truth, abs=1e-12), name


@given(SEEDS)
def test_the_logging_policy_is_worth_what_the_log_earned(random_log, seed):
    """Its weights are all 1."""
    log = random_log(seed=seed)
    sample = sample_of(log, log.propensity, "visit")
    assert sample.weight.tolist() == [1.0] * len(log)
    for way in (ips, snips, clipped_ips):
        assert way(sample).value == pytest.approx(log.reward("visit").mean())


@given(SEEDS)
def test_by_hand_in_loops(random_log, seed):
    """Each formula once more, row by row."""
    log = random_log(n=25, seed=seed)
    policy = policy_like(log.propensity, seed)
    q = np.random.default_rng(seed + 1).random(policy.shape)
    n, clip, threshold = len(log), 1.3, 1.7
    w, base, scores = [], [], dict.fromkeys(("ips", "clip", "dm", "dr", "switch"), 0.0)
    for row in range(n):
        a, r = int(log.action[row]), float(log.reward("visit")[row])
        w.append(policy[row, a] / log.propensity[row, a])
        base.append(sum(policy[row, b] * q[row, b] for b in range(policy.shape[1])))
        scores["ips"] += w[row] * r / n
        scores["clip"] += min(w[row], clip) * r / n
        scores["dm"] += base[row] / n
        scores["dr"] += (base[row] + w[row] * (r - q[row, a])) / n
        scores["switch"] += (base[row] + (w[row] * (r - q[row, a]) if w[row] <= threshold else 0.0)) / n
    taken = [q[row, log.action[row]] for row in range(n)]
    rewards = log.reward("visit").tolist()
    sample = sample_of(log, policy, "visit", q)
    assert ips(sample).value == pytest.approx(scores["ips"])
    assert clipped_ips(sample, clip).value == pytest.approx(scores["clip"])
    assert dm(sample).value == pytest.approx(scores["dm"])
    assert dr(sample).value == pytest.approx(scores["dr"])
    assert switch_dr(sample, threshold).value == pytest.approx(scores["switch"])
    assert snips(sample).value == pytest.approx(sum(a * b for a, b in zip(w, rewards, strict=True)) / sum(w))
    rest = sum(a * (b - c) for a, b, c in zip(w, rewards, taken, strict=True)) / sum(w)
    assert sndr(sample).value == pytest.approx(sum(base) / n + rest)


def often(sample: Sample, row: int, times: int) -> Sample:
    """The sample `times` times over, and one row once more."""
    rows = np.append(np.tile(np.arange(len(sample)), times), row)
    return Sample(**{name: getattr(sample, name)[rows] for name in Sample.__dataclass_fields__})


@pytest.mark.parametrize("name", [*ESTIMATORS])
def test_the_influence_of_a_decision_is_what_one_more_of_it_does(random_log, name):
    """The definition, (V(with a little more of row i) - V) / little: the numeric derivative of every estimator."""
    log = random_log(n=30, seed=3)
    policy = policy_like(log.propensity, 5)
    sample = sample_of(log, policy, "visit", np.random.default_rng(1).random(policy.shape))
    way = {"clipped-ips": lambda s: clipped_ips(s, 1.5), "switch-dr": lambda s: switch_dr(s, 1.5)}.get(
        name, ESTIMATORS[name]
    )
    score, times = way(sample), 400
    for row in range(len(sample)):
        more = way(often(sample, row, times)).value
        assert (more - score.value) * (times * len(sample) + 1) == pytest.approx(score.influence[row], abs=2e-3)
    assert score.influence.mean() == pytest.approx(0, abs=1e-12)


@given(SEEDS)
def test_the_threshold_is_the_best_of_its_candidates_by_the_papers_rule(random_log, seed):
    """Variance plus squared bound of the bias, recomputed in loops for every candidate."""
    log = random_log(n=40, seed=seed)
    policy = policy_like(log.propensity, seed)
    sample = sample_of(log, policy, "visit", np.random.default_rng(seed).random(policy.shape))
    assume(np.abs(sample.reward).max() > 0)

    def loss(threshold: float) -> float:
        scores = [
            sample.expected[row]
            + (sample.weight[row] * (sample.reward[row] - sample.fitted[row]) if sample.weight[row] <= threshold else 0)
            for row in range(len(sample))
        ]
        bias = np.mean([
            sum(p for p, q in zip(sample.policy[row], sample.propensity[row], strict=True) if p / q > threshold)
            for row in range(len(sample))
        ])  # fmt: skip
        return float(np.var(scores) / len(sample) + (np.abs(sample.reward).max() * bias) ** 2)

    chosen = switch_threshold(sample)
    candidates = [np.inf, *np.quantile(sample.weight, np.linspace(1, 0, 21))]
    assert chosen in candidates
    assert loss(chosen) <= min(loss(each) for each in candidates) + 1e-12


def test_what_does_not_count_is_left_out(random_log):
    """Rows that are not usable and unknown rewards, with their predictions."""
    log = random_log(n=20)
    reward = log.reward("visit").copy()
    reward[3] = np.nan
    usable = np.ones(20, bool)
    usable[[0, 7]] = False
    partial = replace(log, usable=usable, rewards={"visit": reward})
    policy, predictions = policy_like(log.propensity, 1), np.full(log.propensity.shape, 0.5)
    predictions[[0, 3, 7]] = np.nan
    sample = sample_of(partial, policy, "visit", predictions)
    kept = np.setdiff1d(np.arange(20), [0, 3, 7])
    assert sample.rows.tolist() == kept.tolist()
    whole = sample_of(log.take(kept), policy[kept], "visit", predictions[kept])
    for name, way in ESTIMATORS.items():
        assert way(sample).value == way(whole).value, name


def test_without_any_decision_or_weight_the_value_is_undefined(make_log):
    """NaN, and no warning."""
    empty = make_log(np.zeros((0, 2)), [], [])
    sample = sample_of(empty, np.zeros((0, 2)), "visit")
    assert all(np.isnan(way(sample).value) for way in ESTIMATORS.values())
    never = make_log([[0.5, 0.5, 0.0]] * 3, [0, 1, 0], [1, 0, 1])
    elsewhere = sample_of(never, np.array([[0.0, 0.0, 1.0]] * 3), "visit")
    assert np.isnan([snips(elsewhere).value, sndr(elsewhere).value]).all()
    assert ips(elsewhere).value == 0


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (np.full((4, 3), 0.5), "one probability for each decision and action"),
        (np.full((4, 2), 0.4), "sum to 1"),
        (np.array([[1.5, -0.5]] * 4), "sum to 1"),
        (np.array([[np.nan, 1.0]] * 4), "sum to 1"),
    ],
)
def test_what_is_no_policy_is_refused(make_log, policy, words):
    """With the row and what it holds."""
    log = make_log([[0.5, 0.5]] * 4, [0, 1, 0, 1], [0, 1, 0, 1])
    with pytest.raises(DataError, match=words):
        sample_of(log, policy, "visit")


def test_bad_predictions_and_impossible_decisions_are_refused(make_log):
    """They would come out as a number otherwise."""
    log = make_log([[0.5, 0.5]] * 2, [0, 1], [0, 1])
    with pytest.raises(DataError, match="predictions"):
        sample_of(log, log.propensity, "visit", np.full((2, 2), np.nan))
    wrong = make_log([[1.0, 0.0]] * 2, [0, 1], [0, 1])
    with pytest.raises(DataError, match="probability 0"):
        sample_of(wrong, wrong.propensity, "visit")
    with pytest.raises(DataError, match="visit"):
        sample_of(log, log.propensity, "click")
