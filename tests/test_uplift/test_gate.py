"""The gate: what is better ships, what is not shown to be does not, and harm stops it whatever it earns."""

from __future__ import annotations

import numpy as np
import pytest

from training.uplift.estimate import mean_of
from training.uplift.gate import Guard, Ruling, always, picked_elsewhere, rule, value_of
from training.uplift.nuisance import action_scores


def world(
    effects: np.ndarray, seed: int, n: int = 4000, noise: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Net scores of three actions for two kinds of subjects, folds, and the kind of each."""
    random = np.random.default_rng(seed)
    kind = random.integers(0, 2, n)
    outcome_of = np.column_stack([np.zeros(n), effects[kind]])
    action = random.integers(0, 3, n).astype(np.int32)
    outcome = outcome_of[np.arange(n), action] + random.normal(0, noise, n)
    scores = action_scores(action, outcome, np.full((n, 3), 1 / 3), np.zeros((n, 3)))
    return scores, random.integers(0, 5, n), kind


def ruled(effects: list[list[float]], seed: int = 0, **more: object) -> Ruling:
    """A policy that knows the kinds: for each the action that is truly best."""
    table = np.array(effects)
    scores, fold, kind = world(table, seed)
    best = np.argmax(np.column_stack([np.zeros(2), table]), axis=1)
    chances = np.eye(3)[best[kind]]
    return rule(chances, scores, fold, np.arange(len(fold)), (None, "a", "b"), **more)


def test_different_people_need_different_actions():
    """A policy that gives each kind its own action is better than either action for all."""
    assert ruled([[1.0, 0.0], [0.0, 1.0]]).ships == "policy"


def test_where_one_action_is_best_for_all_it_ships_alone():
    """A policy cannot be better than that, and is refused for it."""
    found = ruled([[0.2, 1.0], [0.2, 1.0]])
    assert (found.ships, found.action) == ("action", 2)
    assert not found.claims[0].passed
    assert found.values["b"].value == pytest.approx(1.0, abs=0.1)


def test_where_nothing_helps_nothing_ships():
    found = ruled([[-0.5, -0.5], [-0.5, -0.5]])
    assert (found.ships, found.action) == ("nothing", 0)


def test_a_policy_that_is_no_better_passes_one_time_in_forty():
    """With equal effects for all, a policy that splits people at random is not better: 2.5 % of worlds by chance."""
    passed = 0
    for seed in range(400):
        scores, fold, kind = world(np.array([[0.5, 0.5], [0.5, 0.5]]), seed, n=600)
        chances = np.eye(3)[1 + kind]
        passed += rule(chances, scores, fold, np.arange(600), (None, "a", "b")).ships == "policy"
    assert passed <= 20  # the best action is picked on other folds, so the mean is at most 10


def test_what_leaves_much_to_chance_passes_no_oftener():
    """Equal effects, and a policy that shares out evenly: it differs from any pick in the luck of that pick alone.

    A best action that is picked on other folds is unlucky on its own more often than not; here it would be beaten in
    one world in eight.
    """
    passed = 0
    for seed in range(300):
        scores, fold, _ = world(np.array([[0.0, 0.0], [0.0, 0.0]]), seed, n=600)
        passed += rule(np.full((600, 3), 1 / 3), scores, fold, np.arange(600), (None, "a", "b")).ships == "policy"
    assert passed <= 15


def test_one_action_of_many_passes_by_chance_one_time_in_forty():
    """Of twelve that do nothing the best one looks good: its interval is that of twelve."""
    passed = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        scores, fold = random.normal(size=(500, 13)), random.integers(0, 5, 500)
        actions = (None, *(f"a{number}" for number in range(12)))
        passed += rule(np.eye(13)[np.zeros(500, int)], scores, fold, np.arange(500), actions).ships == "action"
    assert passed <= 11  # 5 in the mean at most


def test_unsubscribes_cannot_be_bought():
    """However much the policy earns; the action for everybody has to keep the limit as well."""
    n = 4000
    extra = np.column_stack([np.zeros(n), np.full(n, 0.02), np.full(n, 0.0)])
    effects = [[1.0, 0.0], [0.0, 0.5]]
    assert ruled(effects, guards=[Guard("unsubscribe", extra, 0.05)]).ships == "policy"
    refused = ruled(effects, guards=[Guard("unsubscribe", extra, 0.001)])
    assert refused.ships == "nothing"
    assert any("unsubscribe" in claim.sentence and not claim.passed for claim in refused.claims)


def test_a_tier_is_not_sacrificed():
    """The gold tier loses while the others gain more."""
    scores, fold, kind = world(np.array([[1.5, 1.5], [-0.5, -0.5]]), 0)
    everybody = np.tile([0.0, 0.5, 0.5], (len(kind), 1))
    found = rule(
        everybody, scores, fold, np.arange(len(kind)), (None, "a", "b"), tiers={"gold": kind == 1, "others": kind == 0}
    )
    assert found.ships == "nothing"
    assert next(claim.passed for claim in found.claims if claim.what == "tier others")
    assert not next(claim.passed for claim in found.claims if claim.what == "tier gold")


def test_the_pick_among_learners_has_to_hold_as_well():
    """The best of several is flattered by having been picked; what was best on other folds is not."""
    scores, fold, kind = world(np.array([[1.0, 0.0], [0.0, 1.0]]), 0)
    right, wrong = np.eye(3)[1 + kind], np.eye(3)[2 - kind]
    subject, actions = np.arange(len(kind)), (None, "a", "b")
    alone = rule(right, scores, fold, subject, actions, pool=[right, wrong])
    assert (alone.ships, len(alone.claims)) == ("policy", 1), "it is the pick of every fold"
    # By its own fold each looks best where the other was picked.
    scores[:, 1:] += np.where((fold % 2)[:, None], 3, -3) * np.column_stack([1 - 2 * kind, 2 * kind - 1])
    chances = np.where((fold % 2)[:, None], right, wrong)
    found = rule(chances, scores, fold % 2, subject, actions, pool=[chances, right, wrong])
    assert found.claims[0].passed
    found = rule(right, scores, fold % 2, subject, actions, pool=[right, wrong])
    assert found.claims[1].what.startswith("the pick of the best learner")
    assert not found.claims[1].passed


def test_the_same_as_one_action_is_no_better_by_rounding():
    """A policy that is the best single action: a difference of 1e-18 with an error of 1e-19 is none."""
    scores, fold, kind = world(np.array([[0.3, 0.1], [0.3, 0.1]]), 0)
    chances = np.tile([0.0, 1.0, 0.0], (len(kind), 1))
    nearly = np.tile([0.0, 1.0 - 1e-15, 1e-15], (len(kind), 1))
    for each in (chances, nearly):
        assert rule(each, scores, fold, np.arange(len(kind)), (None, "a", "b")).ships == "action"


def test_a_handful_of_people_proves_nothing():
    """It differs for five, for whom all went well: no interval by a normal law."""
    scores = np.tile([0.0, 1.0, 0.0], (1000, 1))
    chances = np.tile([0.0, 1.0, 0.0], (1000, 1))
    chances[:5], scores[:5, 2] = [0.0, 0.0, 1.0], 9.0
    found = rule(chances, scores, np.arange(1000) % 5, np.arange(1000), (None, "a", "b"))
    assert found.ships == "action"
    assert "5 subjects only" in found.claims[0].sentence
    assert found.claims[0].found.low > 0


def test_a_budget_is_the_same_for_the_action_that_a_policy_has_to_beat():
    """A quarter may have it: a policy that picks a quarter by chance is no better, and everybody is too many."""
    scores, fold, kind = world(np.array([[1.0, 0.1], [1.0, 0.1]]), 0)
    n, share = len(kind), np.array([1.0, 0.25, 1.0])
    some = np.where(np.random.default_rng(9).random((n, 1)) < 0.25, [[0.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]])
    found = rule(some, scores, fold, np.arange(n), (None, "a", "b"), share=share)
    assert not found.claims[0].passed
    assert (found.ships, found.action) == ("action", 2), "what everybody may have"
    assert rule(some, scores, fold, np.arange(n), (None, "a", "b"), share=np.array([1, 0.25, 0.5])).ships == "nothing"
    free = rule(some, scores, fold, np.arange(n), (None, "a", "b"))
    assert (free.ships, free.action) == ("action", 1)


def test_the_pick_of_a_fold_is_made_on_the_others():
    """Of two policies each is best where it is not judged."""
    one, two = np.tile([1.0, 0.0], (4, 1)), np.tile([0.0, 1.0], (4, 1))
    net = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    assert picked_elsewhere([one, two], net, np.array([0, 0, 1, 1])).argmax(axis=1).tolist() == [1, 1, 0, 0]


def test_who_may_not_have_an_action_gets_nothing():
    """Single actions are judged as they would be given; a policy never needs the score of what it does not do."""
    net = np.array([[1.0, np.nan], [0.0, 3.0]])
    assert always(net).tolist() == [[1.0, 1.0], [0.0, 3.0]]
    assert value_of(np.array([[1.0, 0.0], [0.5, 0.5]]), net).tolist() == [1.0, 1.5]


def test_scores_are_unbiased_whatever_the_model_says():
    """The mean score of an action is its mean outcome, with a useless model and with a perfect one."""
    random = np.random.default_rng(1)
    n = 60_000
    chance = random.uniform(0.2, 0.8, n)
    action = (random.random(n) < chance).astype(np.int32)
    outcome = 1.0 + 0.5 * action + random.normal(0, 0.5, n)
    propensity = np.column_stack([1 - chance, chance])
    for models in (np.zeros((n, 2)), np.tile([1.0, 1.5], (n, 1))):
        found = action_scores(action, outcome, propensity, models).mean(axis=0)
        np.testing.assert_allclose(found, [1.0, 1.5], atol=0.05)


def test_clusters_widen_the_interval():
    """What one subject did ten times is one observation: the error of ten copies is the error of one."""
    random = np.random.default_rng(2)
    values = random.normal(size=500)
    once = mean_of(values, np.arange(500))
    copies = mean_of(np.repeat(values, 10), np.repeat(np.arange(500), 10))
    assert copies.value == pytest.approx(once.value)
    assert copies.error == pytest.approx(once.error)
    assert once.error == pytest.approx(values.std(ddof=1) / np.sqrt(500), rel=1e-6)


def test_nothing_has_no_mean_and_one_has_no_interval():
    nothing = mean_of(np.array([np.nan]), np.array([0]))
    assert np.isnan(nothing.value)
    assert (nothing.n, nothing.undefined) == (0, 1)
    one = mean_of(np.array([1.0, 2.0]), np.array([7, 7]))
    assert one.value == 1.5
    assert np.isnan(one.low)
