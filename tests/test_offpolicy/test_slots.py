"""Pages of slots drawn without replacement: exact worlds in which later slots depend on earlier ones."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import DataError
from training.offpolicy.estimators import dr, ips, sample_of, snips
from training.offpolicy.inference import estimate
from training.offpolicy.models import Constant, Linear, dealt_folds
from training.offpolicy.slots import PAGE_ESTIMATORS, cascade_dr, iips, pages_of, rips, sips, snrips, to_go

SEEDS = st.integers(0, 10_000)
K = 4
"""Actions, the null among them; two slots."""


def first_slot(random: np.random.Generator) -> np.ndarray:
    """Probabilities of the first slot, and liking of each action in the second."""
    return random.dirichlet(np.ones(K)) * 0.8 + 0.2 / K


def second_slot(liking: np.ndarray, first: int) -> np.ndarray:
    """What is left, in proportion to liking."""
    left = np.where(np.arange(K) == first, 0.0, liking)
    return left / left.sum()


class World:
    """Two slots; the log holds each pair of actions as often as its probability says; rewards read from the top."""

    def __init__(self, make_log, seed: int, scale: int = 160) -> None:
        random = np.random.default_rng(seed)
        self.likes = {name: (first_slot(random), first_slot(random)) for name in ("log", "target")}
        self.reward_1, self.reward_2 = random.normal(size=K), random.normal(size=(K, K))
        counts = {(a, b): random.integers(1, scale // 20) for a, b in permutations(range(K), 2)}
        total = sum(counts.values())
        head = np.array([sum(c for (a, _), c in counts.items() if a == each) for each in range(K)])
        chance, policy, action, reward, request, position = [], [], [], [], [], []
        self.truth = self.alone = 0.0
        page = 0
        for (a, b), count in counts.items():
            tail = np.array([counts.get((a, each), 0) for each in range(K)]) / head[a]
            mine = self.likes["target"][0], second_slot(self.likes["target"][1], a)
            self.truth += mine[0][a] * mine[1][b] * (self.reward_1[a] + self.reward_2[a, b])
            self.alone += head[a] / total * mine[1][b] * self.reward_2[a, b]
            for _ in range(count):
                chance += [head / total, tail]
                policy += mine
                action += [a, b]
                reward += [self.reward_1[a], self.reward_2[a, b]]
                request += [page, page]
                position += [0, 1]
                page += 1
        self.alone += self.likes["target"][0] @ self.reward_1
        order = random.permutation(len(action))  # pages stay together by their request alone
        self.log = make_log(
            np.array(chance)[order], np.array(action)[order], np.array(reward)[order],
            request=np.array(request)[order], subject=np.array(request)[order], slots=("hero", "band"),
            position=np.array(position, np.int32)[order], slot=np.array(position, np.int32)[order],
        )  # fmt: skip
        self.policy = np.array(policy)[order]

    def laid_out(self, top: np.ndarray, below: np.ndarray) -> np.ndarray:
        """A model of the first slot's actions, and of the second's given the first, by rows of the log."""
        first = np.zeros(len(self.log), int)
        head = self.log.position == 0
        first[self.log.request[head]] = self.log.action[head]
        return np.where(head[:, None], top, below[first[self.log.request]])


@settings(max_examples=30)
@given(SEEDS)
def test_under_the_cascade_the_value_of_the_page_is_exact(make_log, seed):
    """RIPS, SNRIPS, SIPS and Cascade-DR with any model; the independent one where the log chose the first slot."""
    world = World(make_log, seed)
    random = np.random.default_rng(seed)
    nonsense = world.laid_out(random.normal(size=K), random.normal(size=(K, K)))
    pages = pages_of(world.log, world.policy, "visit", nonsense)
    for way in (rips, snrips, sips, cascade_dr):
        assert way(pages).value == pytest.approx(world.truth, abs=1e-9), way.__name__
    assert iips(pages).value == pytest.approx(world.alone, abs=1e-9)


@settings(max_examples=30)
@given(SEEDS)
def test_a_model_of_all_that_is_to_come_needs_no_weights(make_log, seed):
    """With the exact Q every page has the same Cascade-DR score: nothing is left to vary."""
    world = World(make_log, seed)
    likes = world.likes["target"][1]
    onward = np.array([second_slot(likes, a) @ world.reward_2[a] for a in range(K)])
    exact = world.laid_out(world.reward_1 + onward, world.reward_2)
    score = cascade_dr(pages_of(world.log, world.policy, "visit", exact))
    assert score.value == pytest.approx(world.truth, abs=1e-9)
    np.testing.assert_allclose(score.influence, 0, atol=1e-9)


@settings(max_examples=30)
@given(SEEDS)
def test_pages_of_one_slot_are_decisions(random_log, seed):
    """RIPS, IIPS and SIPS are IPS, SNRIPS is SNIPS, Cascade-DR is DR."""
    log = random_log(seed=seed)
    policy = log.propensity[:, ::-1].copy()
    q = np.random.default_rng(seed).random(policy.shape)
    sample, pages = sample_of(log, policy, "visit", q), pages_of(log, policy, "visit", q)
    pairs = {"rips": ips, "iips": ips, "sips": ips, "snrips": snips, "cascade-dr": dr}
    for name, way in pairs.items():
        mine, other = PAGE_ESTIMATORS[name](pages), way(sample)
        assert mine.value == pytest.approx(other.value), name
        mine, other = estimate(mine, pages.cluster), estimate(other, sample.cluster)
        assert (mine.low, mine.high) == (pytest.approx(other.low), pytest.approx(other.high)), name


@settings(max_examples=30)
@given(SEEDS)
def test_without_a_model_cascade_dr_is_rips(make_log, seed):
    """The same score, page by page."""
    world = World(make_log, seed)
    pages = pages_of(world.log, world.policy, "visit")
    np.testing.assert_allclose(cascade_dr(pages).influence, rips(pages).influence, atol=1e-12)
    zeros = to_go(world.log, world.policy, "visit", Constant())
    assert not zeros.any()


def test_the_logging_policy_is_worth_the_mean_page(make_log):
    """All weights are 1."""
    world = World(make_log, 5)
    pages = pages_of(world.log, world.log.propensity, "visit")
    mean = world.log.reward("visit").sum() / len(pages)
    assert all(way(pages).value == pytest.approx(mean) for name, way in PAGE_ESTIMATORS.items() if name != "cascade-dr")


@settings(max_examples=20)
@given(SEEDS)
def test_the_model_to_go_by_hand(make_log, seed):
    """A model of one mean an action, in loops: the lower slot first, then its value as reward of the upper one."""
    random, n = np.random.default_rng(seed), 120
    first = random.integers(0, K, n)
    second = (first + random.integers(1, K, n)) % K
    chance = np.full((2 * n, K), 1 / K)
    chance[1::2] = np.where(np.arange(K) == first[:, None], 0, 1 / (K - 1))
    action, reward = np.column_stack([first, second]).ravel(), random.normal(size=2 * n)
    page, place = np.repeat(np.arange(n), 2), np.tile([0, 1], n).astype(np.int32)
    log = make_log(chance, action, reward, subject=page // 3, request=page, position=place)
    policy = random.random((2 * n, K)) * (chance > 0)
    policy /= policy.sum(axis=1, keepdims=True)
    found = to_go(log, policy, "visit", Linear(l2=1e-9), folds=3)
    fold = dealt_folds(log.subject, 3)[::2]
    for number in range(3):
        others = [each for each in range(n) if fold[each] != number]
        below = [np.mean([reward[2 * each + 1] for each in others if second[each] == b]) for b in range(K)]
        value = [sum(policy[2 * each + 1, b] * below[b] for b in range(K)) for each in range(n)]
        above = [np.mean([reward[2 * each] + value[each] for each in others if first[each] == a]) for a in range(K)]
        for each in np.flatnonzero(fold == number):
            np.testing.assert_allclose(found[2 * each], above, atol=1e-6)
            np.testing.assert_allclose(found[2 * each + 1], below, atol=1e-6)


def test_a_fitted_model_to_go_makes_errors_small(make_log):
    """The page's exact value within its error, which is well below that of the weights alone."""
    world = World(make_log, 8, scale=2000)
    pages = pages_of(world.log, world.policy, "visit", to_go(world.log, world.policy, "visit", Linear(l2=1e-6)))
    plain, robust = (estimate(way(pages), pages.cluster) for way in (rips, cascade_dr))
    assert robust.value == pytest.approx(world.truth, abs=3 * robust.error)
    assert robust.error < 0.8 * plain.error


def test_an_influence_is_what_one_more_page_does(make_log):
    """The numeric derivative of SNRIPS, also with pages of one slot."""
    world = World(make_log, 2, scale=80)
    short = (world.log.position == 0) | (world.log.request % 3 > 0)
    log, policy = world.log.take(short), world.policy[short]
    pages = pages_of(log, policy, "visit")
    times, names = 300, ("here", "ratio", "reward", "fitted", "expected", "cluster")
    for row in range(0, len(pages), 7):
        rows = np.append(np.tile(np.arange(len(pages)), times), row)
        more = type(pages)(**{name: getattr(pages, name)[rows] for name in names}, left_out=0)
        change = (snrips(more).value - snrips(pages).value) * (times * len(pages) + 1)
        assert change == pytest.approx(snrips(pages).influence[row], abs=5e-3)


def test_pages_with_an_unknown_slot_are_left_out_whole(make_log):
    """The page is counted; the rest is as if it had never been."""
    world = World(make_log, 3)
    reward = world.log.reward("visit").copy()
    gone = int(world.log.request[10])
    reward[10] = np.nan
    log = make_log(
        world.log.propensity, world.log.action, reward, request=world.log.request, subject=world.log.subject,
        slots=("hero", "band"), position=world.log.position, slot=world.log.slot,
    )  # fmt: skip
    pages = pages_of(log, world.policy, "visit", to_go(log, world.policy, "visit", Linear()))
    kept = world.log.request != gone
    without = world.log.take(kept)
    whole = pages_of(without, world.policy[kept], "visit", to_go(without, world.policy[kept], "visit", Linear()))
    assert (pages.left_out, len(pages)) == (1, len(whole))
    assert all(way(pages).value == pytest.approx(way(whole).value) for way in PAGE_ESTIMATORS.values())


def test_one_position_twice_and_no_page_at_all(make_log):
    """The one is refused, the other is undefined."""
    log = make_log([[0.5, 0.5]] * 2, [0, 1], [0, 1], request=np.zeros(2, int))
    with pytest.raises(DataError, match="two decisions at one position"):
        pages_of(log, log.propensity, "visit")
    empty = make_log(np.zeros((0, 2)), [], [])
    pages = pages_of(empty, empty.propensity, "visit", to_go(empty, empty.propensity, "visit", Linear()))
    assert all(np.isnan(way(pages).value) for way in PAGE_ESTIMATORS.values())
