"""The study from a log to a verdict, in worlds where the answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from features.errors import ConfigError, DataError
from serving.policies import probabilities
from tests.test_uplift.worlds import drawn, log_of
from training.uplift.log import DecisionLog
from training.uplift.options import StudyOptions, tiers_of
from training.uplift.proposals import values_on
from training.uplift.study import study

FEW = ("DR", "constant")


def world(effects: list[list[float]], seed: int = 0, n: int = 3000) -> DecisionLog:
    """Two kinds of subjects (x0 says which) and two actions drawn evenly; the reward is a visit."""
    random = np.random.default_rng(seed)
    kind = random.integers(0, 2, n)
    chance = np.full((n, 3), 1 / 3)
    action = drawn(chance, random)
    truth = np.column_stack([np.full(n, 0.3), 0.3 + np.array(effects)[kind]])
    visit = random.random(n) < truth[np.arange(n), action]
    features = np.column_stack([kind, random.normal(size=n)])
    return log_of(action, chance, features, visit)


def options(**more: object) -> StudyOptions:
    return StudyOptions({"visit": 1.0}, permutations=20, learners=FEW, threads=1, **more)


def test_people_who_need_different_actions_get_them():
    """The challenger is the learner, its policy follows the kind, and the gate lets it ship."""
    found = study(world([[0.4, 0.0], [0.0, 0.4]]), options())
    assert found.ruling.ships == "policy"
    assert found.challenger.learner == "DR"
    block = np.array([[0, 0], [1, 0]], np.float32)
    values = values_on(block, found.challenger, found.fits)
    chances = probabilities(found.challenger.spec, values, np.ones(values.shape, bool))
    assert chances.argmax(axis=1).tolist() == [1, 2]
    assert found.challenger.value.low < 0.7 < found.challenger.value.high
    measured = {(each.learner, each.action): each for each in found.measured}
    assert measured["DR", "arm-1"].placebo == 100
    assert measured["constant", "arm-1"].autoc.value == pytest.approx(0, abs=1e-12)


def test_a_declared_direction_holds_for_the_effects_that_serve():
    """The second action does more for the second kind; declared never to rise with it, its effects do not."""
    log = world([[0.2, 0.0], [0.2, 0.4]])
    found = study(log, options(effect_monotone={"x0": -1}))
    first, second = found.fits["visit"].models["DR"].predict(np.array([[0, 0], [1, 0]], np.float32))[:, 1]
    assert second <= first
    free = study(log, options()).fits["visit"].models["DR"].predict(np.array([[0, 0], [1, 0]], np.float32))[:, 1]
    assert free[1] > free[0] + 0.2


def test_one_action_for_all_ships_alone_and_only_while_it_is_worth_its_cost():
    """The same log, once for nothing and once at a cost above the gain."""
    log = world([[0.3, 0.1], [0.3, 0.1]])
    free, dear = study(log, options()), study(log, options(costs={"arm-1": 0.6, "arm-2": 0.6}))
    assert (free.ruling.ships, free.ruling.action) == ("action", 1)
    assert dear.ruling.ships == "nothing"


def test_a_budget_is_kept_by_every_proposal():
    """A tenth of a mail a head, when everybody would like one."""
    log = world([[0.4, 0.0], [0.0, 0.4]])
    costs = {"arm-1": 0.1, "arm-2": 0.1}
    found = study(log, options(costs=costs, budget=0.01))
    for proposal in found.proposals:
        assert proposal.chances[:, 1:].sum(axis=1).mean() * 0.1 <= 0.01 + 1e-9
        assert proposal.spec.price > 0


def test_a_guard_is_learned_and_asked():
    """An action that drives people away is refused, however many visits it brings."""
    log = world([[0.4, 0.4], [0.4, 0.4]])
    random = np.random.default_rng(1)
    away = (random.random(len(log)) < np.where(log.action > 0, 0.2, 0.02)).astype(float)
    log = replace(log, rewards={**log.rewards, "unsubscribe": away})
    assert study(log, options()).ruling.ships == "action"
    assert study(log, options(guards={"unsubscribe": 0.01})).ruling.ships == "nothing"


def test_a_failed_check_stops_the_study_unless_it_is_overridden_by_name():
    """Here a column knows the arm."""
    log = world([[0.4, 0.0], [0.0, 0.4]])
    leaking = np.column_stack([log.features[:, 0], log.action + 0.0]).astype(np.float32)
    log = replace(log, features=leaking)
    with pytest.raises(DataError, match="checks failed") as caught:
        study(log, options())
    failed = str(caught.value).rsplit("override by name: ", 1)[1].split(", ")
    assert "arm-classifier" in failed
    assert study(log, options(overridden=failed)).checks


def test_tiers_are_told_by_their_words():
    log = replace(world([[0.1, 0.1], [0.1, 0.1]], n=300), words=(("silver", "gold"), ()), categorical=(True, False))
    tiers = tiers_of(log, "x0")
    assert set(tiers) == {"silver", "gold"}
    assert tiers["gold"].sum() + tiers["silver"].sum() == 300
    assert tiers_of(log, "") == {}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"costs": {"arm-3": 1.0}}, "arm-1, arm-2"),
        ({"tier": "level"}, "x0, x1"),
        ({"guards": {"complaint": 0.1}}, "visit"),
    ],
)
def test_what_the_log_does_not_have_is_named(more, said):
    """With what it has."""
    with pytest.raises((ConfigError, DataError), match=said):
        study(world([[0.1, 0.1], [0.1, 0.1]], n=300), options(**more))


def test_nothing_is_worth_anything():
    with pytest.raises(ConfigError, match="worth"):
        study(world([[0.1, 0.1], [0.1, 0.1]], n=300), StudyOptions({"visit": 0.0}))
