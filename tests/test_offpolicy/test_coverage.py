"""The world with known effects, and how often intervals hold its truth: a small version of `kokyaku bench coverage`."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from features.errors import ConfigError
from training.bench import coverage
from training.bench.bandit_world import (
    REWARD,
    SLOTS,
    BanditWorld,
    known_features,
    mail_policy,
    target_policy,
    world_of,
)
from training.bench.coverage import Plan, rows_of, run, verdict
from training.cli import main
from training.offpolicy.estimators import ESTIMATORS, UNBIASED
from training.simulation.effects import ACTIONS, MISSING_CLICKS, Segment

PLAN = Plan(size="tiny", runs=150, people=500)


@pytest.fixture(scope="module")
def world() -> BanditWorld:
    """The population of the tiny shop."""
    return world_of("tiny", 0)


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> coverage.Found:
    """What 150 draws bring."""
    return run(PLAN, tmp_path_factory.mktemp("cache"))


def test_a_draw_is_a_log_of_whole_people(world):
    """Every decision of a person, hero before band, each action eligible and no action on a page twice."""
    log, policy = world.draw(np.random.default_rng(0), 300)
    assert log.slots == SLOTS
    np.testing.assert_allclose(log.propensity.sum(axis=1), 1)
    np.testing.assert_allclose(policy.sum(axis=1), 1)
    assert (log.taken > 0).all()
    assert not policy[log.propensity == 0].any()
    hero, band = (log.take(log.slot == code) for code in (0, 1))
    assert hero.request.tolist() == band.request.tolist()
    assert not ((hero.action == band.action) & (hero.action > 0)).any()
    rows = np.arange(len(band))[hero.action > 0]
    assert not band.propensity[rows, hero.action[rows]].any()
    whole = set(np.diff(world.starts).tolist())
    assert set(np.bincount(log.subject[log.slot != 1]).tolist()) <= whole
    assert len(np.unique(log.subject)) == 300


def test_actions_and_rewards_come_as_often_as_the_log_says(world):
    """The mean of (taken - probability) and of (response - true chance) is 0, within four standard errors."""
    random = np.random.default_rng(1)
    log, _ = world.draw(random, 4000)
    taken = np.zeros(log.propensity.shape)
    taken[np.arange(len(log)), log.action] = 1
    error = np.sqrt((log.propensity * (1 - log.propensity)).sum(axis=0))
    assert (np.abs((taken - log.propensity).sum(axis=0)) <= 4 * error + 1e-9).all()
    assert not log.reward(REWARD)[(log.action == 0) & (log.slot < 2)].any()
    mails = log.slot == 2
    np.testing.assert_allclose(log.propensity[mails], mail_policy(int(mails.sum())))


def test_the_truth_is_the_mean_of_what_the_policy_would_bring(world):
    """Drawn from the target policy itself, slot by slot, with the band after the log's hero: a second derivation."""
    random, total, decisions, scores = np.random.default_rng(2), 0.0, 0, []
    for _ in range(12):
        log, policy = world.draw(random, 1500)
        # Where a row lies in the population is told by its propensities no more: ask for the same people again.
        state = np.random.default_rng(int(random.integers(2**32)))
        at = state.integers(0, world.people, 1500)
        rows = np.concatenate([np.arange(world.starts[each], world.starts[each + 1]) for each in at])
        log, policy = world._logged(state, rows, np.arange(len(rows)))
        page = ~world.rows.mail[rows]
        where = np.concatenate([rows[page], rows[page], rows[~page]])
        action = (policy.cumsum(axis=1) < state.random((len(log), 1))).sum(axis=1)
        score = world.chance_of(where, log.slot, action)
        total, decisions = total + score.sum(), decisions + len(score)
        scores.append(score.mean())
    assert total / decisions == pytest.approx(world.truth(), abs=4 * np.std(scores, ddof=1) / np.sqrt(12))


def test_chances_are_those_of_the_effects_table(world):
    """A click of the base rate, plus the effect, less what is not recorded; nothing for the null action."""
    rows = world.rows
    pet = np.flatnonzero(~rows.mail & ((rows.situation & int(Segment.PET)) > 0))[:5]
    tip = 1 + next(place for place, action in enumerate(ACTIONS) if action.id == "tip-pet-care")
    slot = np.ones(len(pet), int)
    expected = (rows.base[pet, 1] + 0.07) * (1 - MISSING_CLICKS)
    np.testing.assert_allclose(world.chance_of(pet, slot, np.full(len(pet), tip)), expected)
    assert not world.chance_of(pet, slot, np.zeros(len(pet), int)).any()
    quiet = np.flatnonzero(rows.mail & ((rows.situation & int(Segment.QUIET)) > 0))
    mails = np.full(len(quiet), 2)
    unsent = world.chance_of(quiet, mails, np.zeros(len(quiet), int))
    np.testing.assert_allclose(unsent, rows.base[quiet, 0])
    sent = world.chance_of(quiet, mails, np.full(len(quiet), len(ACTIONS)))
    np.testing.assert_allclose(sent, unsent * (1 - 0.25 * 0.99))


def test_the_hidden_taste_is_not_among_the_features(world):
    """Neither the model nor the policy can tell it."""
    plain = np.zeros(1, np.int64)
    hidden = plain | int(Segment.HIDDEN)
    assert known_features(plain).tolist() == known_features(hidden).tolist()
    eligible = np.ones((1, 1 + len(ACTIONS)), bool)
    for slot in range(3):
        at = np.array([slot])
        assert target_policy(plain, at, eligible).tolist() == target_policy(hidden, at, eligible).tolist()


def test_unbiased_estimators_hold_the_truth_as_often_as_they_say(found):
    """150 draws; of intervals that hold it in 95 % fewer than 133 do with probability 5e-4, all 150 with 5e-4."""
    assert found.effective.min() > 500
    for name in UNBIASED:
        value, low, high = found.figures[name].T
        holds = int(((low <= found.truth) & (found.truth <= high)).sum())
        assert 133 <= holds < 150, name
        error = value - found.truth
        assert abs(error.mean()) < 4 * error.std() / np.sqrt(len(error)), name


def test_the_standard_error_is_the_spread_over_draws(found):
    """The mean half width over 1.96 is what the values really vary by; clustering is what makes it so."""
    for name in UNBIASED:
        value, low, high = found.figures[name].T
        assert ((high - low) / 2).mean() / 1.965 == pytest.approx(value.std(), rel=0.17), name


def test_clipping_is_biased_downwards_and_says_so(found):
    """The bias is there, and its rows say it without a claim."""
    rows = {(row.subject, row.metric): row for row in rows_of(PLAN, found)}
    assert rows["clipped-ips", "bias"].high < 0
    assert rows["clipped-ips", "coverage"].value < rows["ips", "coverage"].value
    assert [subject for subject, metric in rows if metric == "coverage"] == [*ESTIMATORS]


def test_an_interrupted_run_goes_on_where_it_was(tmp_path, monkeypatch):
    """Finished draws are read, not made again; other people or another seed are other draws."""
    made = []
    real = coverage._one
    monkeypatch.setattr(coverage, "CHUNK", 2)

    def once(world, plan, number):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(number)
        return real(world, plan, number)

    monkeypatch.setattr(coverage, "_one", once)
    plan = Plan(size="tiny", runs=4, people=20)
    with pytest.raises(KeyboardInterrupt):
        run(plan, tmp_path)
    monkeypatch.setattr(coverage, "_one", lambda *given: made.append(given[2]) or real(*given))
    resumed = run(plan, tmp_path)
    assert made == [0, 1, 2, 2, 3]
    run(Plan(size="tiny", runs=3, people=20), tmp_path)
    assert made == [0, 1, 2, 2, 3]
    fresh = run(plan, tmp_path / "other")
    np.testing.assert_array_equal(resumed.figures["dr"], fresh.figures["dr"])
    run(Plan(size="tiny", runs=2, people=20, seed=1), tmp_path)
    assert made[-2:] == [0, 1]
    assert "effective sample size" in verdict(resumed)


def test_the_command_writes_its_rows(tmp_path, monkeypatch):
    """With a sentence about what holds; a size or model that there is not is exit code 2."""
    monkeypatch.setattr(coverage, "CHUNK", 10)
    file = tmp_path / "rows.json"
    with pytest.raises(SystemExit) as done:
        main(["bench", "coverage", "--size", "tiny", "--runs", "10", "--people", "30", "--cache", str(tmp_path),
              "--json", str(file)])  # fmt: skip
    assert done.value.code == 0
    rows = msgspec.json.decode(file.read_bytes())
    assert sum(row["metric"] == "coverage" for row in rows) == len(ESTIMATORS)
    for option in (["--size", "huge"], ["--model", "forest"]):
        with pytest.raises(SystemExit) as done:
            main(["bench", "coverage", "--cache", str(tmp_path), *option])
        assert done.value.code == 2


def test_an_unknown_size_or_model(tmp_path: Path):
    """Named with what there is."""
    with pytest.raises(ConfigError, match="tiny"):
        world_of("huge", 0)
    with pytest.raises(ConfigError, match="linear or trees"):
        run(Plan(model="forest"), tmp_path)
