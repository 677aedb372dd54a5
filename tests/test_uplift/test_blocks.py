"""Sleeping dogs are left alone by the policy that is judged, by blocks that the judged customers did not decide."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from serving.effects import NET_VALUE, Column, PolicySheet, Size, SlotPolicy
from serving.effects import Blocked as Rule
from serving.policies import PolicySpec
from tests.test_uplift.worlds import drawn, log_of
from training.intervals import Interval
from training.uplift.blocks import Blocked, blocks_by_tier, blocks_by_value, left_by
from training.uplift.gate import value_of
from training.uplift.log import DecisionLog
from training.uplift.options import StudyOptions
from training.uplift.proposals import net_scores, pool_of, proposed
from training.uplift.study import Study, study, unserved

OPTIONS = StudyOptions(
    {"visit": 1.0}, folds=3, permutations=20, threads=1, tier="tier", floor=0.2, learners=("DR", "linear-T")
)  # fmt: skip


def world(n: int = 2400, seed: int = 0) -> DecisionLog:
    """One action; it brings silver 0.5, costs gold 0.5 and does the same for all others of a tier."""
    random = np.random.default_rng(seed)
    gold = random.integers(0, 2, n)
    chance = np.full((n, 2), 0.5)
    action = drawn(chance, random)
    truth = 0.5 + 0.45 * action * np.where(gold, -1, 1)
    made = log_of(action, chance, np.column_stack([random.normal(size=n), gold]), random.random(n) < truth)
    return replace(made, names=("x0", "tier"), words=((), ("silver", "gold")), categorical=(False, True))


@pytest.fixture(scope="module")
def found() -> Study:
    return study(world(), OPTIONS)


def test_gold_is_left_alone_and_that_is_worth_it(found: Study) -> None:
    """A fifth of gold would get the action for the sake of learning; the block takes that away and nothing else."""
    gold = found.log.features[:, 1] == 1
    best = found.challenger
    assert {(each.action, each.who) for each in best.blocks if each.tier} == {("arm-1", "gold")}
    assert best.chances[gold, 1].max() == 0
    assert best.unblocked[gold, 1] == pytest.approx(0.2)
    assert np.isclose(best.chances[~gold, 1], 0.8).mean() > 0.9, "a tenth on the border holds some of both"
    assert found.by_blocks.value == pytest.approx(0.2 * 0.45 * gold.mean(), abs=0.03)
    assert found.by_blocks.low > 0
    assert found.ruling.values["policy"].value == pytest.approx(value_of(best.chances, found.net).mean())


def test_who_is_judged_does_not_decide_the_blocks(found: Study) -> None:
    """With the scores of a fold turned over, what is done in that fold stays and what is done in others does not."""
    fit = found.fits["visit"]
    here = fit.fold == 0
    turned = {"visit": replace(fit, scores=np.where(here[:, None], 1 - fit.scores, fit.scores))}
    again = {
        each.learner: each for each in proposed(turned, OPTIONS, found.log, net_scores(turned, OPTIONS, found.log))
    }
    for before in found.proposals:
        np.testing.assert_array_equal(again[before.learner].chances[here], before.chances[here])
        assert (again[before.learner].values[~here] != before.values[~here]).any()


def test_harmless_actions_are_seldom_blocked() -> None:
    """All families together: at most one set of blocks in twenty; 15 of 150 has a probability of 0.01."""
    wrong = 0
    for seed in range(150):
        random = np.random.default_rng(seed)
        log = log_of(random.integers(0, 3, 2400), np.full((2400, 3), 1 / 3), random.integers(0, 4, (2400, 1)), 0.0)
        scores, values = random.normal(size=(2400, 3)), random.normal(size=(2400, 3))
        everybody = np.ones(2400, bool)
        wrong += bool(blocks_by_tier(log, "x0", scores, everybody)) or bool(
            blocks_by_value(log, "x0", values, scores, everybody)
        )
    assert wrong <= 15


def test_what_is_harmed_by_all_actions_together_is_left_alone_but_for_what_helps() -> None:
    """Each of three actions costs .14 with an error of .05: unsure alone, sure together. The fourth surely helps."""
    random = np.random.default_rng(1)
    n, gold = 1600, np.arange(1600) % 2 == 1
    effect = np.array([0.0, -0.14, -0.14, -0.14, 0.12])
    noise = random.normal(size=(n, 5)) * np.array([0.0, 1, 1, 1, 0.3]) * np.sqrt(2)
    noise -= np.where(gold[:, None], noise[gold].mean(axis=0), noise[~gold].mean(axis=0))
    scores = np.where(gold[:, None], effect, 0.0) + noise
    log = log_of(np.zeros(n), np.full((n, 5), 0.2), gold[:, None].astype(float), 0.0)
    found = blocks_by_tier(log, "x0", scores, np.ones(n, bool))
    assert {(each.action, each.who) for each in found} == {(f"arm-{k}", "1") for k in (1, 2, 3)}
    assert all(each.together and each.effect.high < 0 for each in found)
    alone = blocks_by_tier(log, "x0", scores * [1, 1, 0, 0, 0], np.ones(n, bool))
    assert not alone


def test_a_tenth_that_is_harmed_is_found_by_its_value() -> None:
    """Those of the second tenth lose 1; it is blocked by bounds that hold nobody else. Others are not asked."""
    random = np.random.default_rng(0)
    values = np.column_stack([np.zeros(4000), random.permutation(4000) / 4000])
    harmed = (values[:, 1] > 0.1) & (values[:, 1] < 0.2)
    scores = np.column_stack([np.zeros(4000), random.normal(size=4000) * 0.5 - harmed])
    log = log_of(np.zeros(4000), np.full((4000, 2), 0.5), np.zeros((4000, 1)), 0.0)
    (block,) = blocks_by_value(log, "", values, scores, np.ones(4000, bool))
    assert (block.who, block.tier, block.rule.by) == ("2", False, NET_VALUE)
    assert (block.rule.low, block.rule.high) == (pytest.approx(0.1, abs=0.02), pytest.approx(0.2, abs=0.02))
    left = left_by([block], log, log.features, values, np.ones((4000, 2), bool))
    assert (left[:, 1] != harmed).mean() > 0.98
    assert left[:, 0].all()
    assert not blocks_by_value(log, "", values, scores, ~harmed)


def test_training_blocks_whom_serving_blocks() -> None:
    """By value and by column, with bounds on one side and on both, at the bounds themselves."""
    rules = (Rule("a", NET_VALUE, None, 0.0), Rule("a", NET_VALUE, 2.0, 3.0), Rule("a", "hour", 5.0, 6.0))
    columns = (Column("hour"),)
    averages = [-1.0, 0.0, 1.0, 2.0, 2.5, 3.0]
    for average in averages:
        sheet = PolicySheet(PolicySpec("p", ("a",), {"visit": 1.0}), columns, {"visit": (Size(average),)}, rules)
        served = SlotPolicy(sheet, {})
        hours = np.array([[4.0], [5.0], [6.0], [np.nan]], np.float32)
        log = log_of([0] * 4, np.full((4, 2), 0.5), hours, 0.0)
        log = replace(log, actions=(None, "a"), names=("hour",))
        blocks = [Blocked(rule, "", False, Interval(0, 0, 0, 0, 0), 0) for rule in rules]
        left = left_by(blocks, log, hours, np.tile([0.0, average], (4, 1)), np.ones((4, 2), bool))
        assert [served.score({"hour": float(hour)}).blocked.tolist() for hour in hours[:, 0]] == (~left).tolist()


def test_a_learner_that_cannot_serve_is_named_and_not_judged(found: Study) -> None:
    """Also where its policy is worth most: the gate's figures are those of the one that would serve."""
    assert {each.learner: each.servable for each in found.proposals} == {"DR": True, "linear-T": False}
    assert found.challenger.learner == "DR"
    by_name = {each.learner: each for each in found.proposals}
    better = replace(by_name["linear-T"], value=replace(by_name["linear-T"].value, value=9.0))
    (sentence,) = unserved([better, by_name["DR"]])
    assert "linear-T's policy is worth most" in sentence
    assert "DR's" in sentence
    assert unserved([by_name["DR"], better]) == []
    assert [each.learner for each in pool_of([better, by_name["DR"]])] == ["DR"]
    assert "no learner was tried" in unserved([better])[0]
