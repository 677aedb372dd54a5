"""Folds, nuisances, learners and their export: honest, deterministic, and right in a world with known effects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import ConfigError, DataError
from tests.test_uplift.worlds import drawn, log_of, three_arms
from training.uplift.boosting import Shape, constraints_of, fit_trees, in_threads, predicted
from training.uplift.challengers import Encoding, _ridge
from training.uplift.crossfit import ALL, cross_fit
from training.uplift.export import summed
from training.uplift.folds import folds_of
from training.uplift.learners import LEARNERS
from training.uplift.nuisance import FLOOR, action_scores, choice_of, contrast_scores

QUICK = Shape(trees=60, rate=0.08, leaf_rows=60, bins=63)


@pytest.fixture(scope="module")
def world():
    """The log, its true effects, and everything fitted."""
    log, effect = three_arms()
    return log, effect, cross_fit(log, "visit", shape=QUICK, folds=3)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2)), min_size=40, max_size=80), st.integers(2, 5),
    st.integers(0, 3),
)  # fmt: skip
def test_folds_are_by_subject_and_stratified(rows, folds, seed):
    """A subject lies in one fold; of each action of the first decision folds differ by one subject at most."""
    subject, action = np.array(rows).T
    if len(set(subject.tolist())) < folds:
        return
    found = folds_of(subject, action.astype(np.int32), folds=folds, seed=seed)
    first = {}
    for person, took, fold in zip(subject.tolist(), action.tolist(), found.tolist(), strict=True):
        assert first.setdefault(person, (took, fold))[1] == fold
    for took in range(3):
        counts = np.bincount([fold for each, fold in first.values() if each == took], minlength=folds)
        assert np.ptp(counts) <= 1
    assert found.tolist() == folds_of(subject, action.astype(np.int32), folds=folds, seed=seed).tolist()


def test_impossible_folds_are_refused():
    """With what was asked."""
    with pytest.raises(ConfigError, match="two folds"):
        folds_of(np.arange(9), np.zeros(9, np.int32), folds=1)
    with pytest.raises(DataError, match="fewer subjects"):
        folds_of(np.zeros(9, np.int64), np.zeros(9, np.int32))


def test_learners_find_effects_that_differ(world):
    """Better than one effect for all; DR and R close to the truth; ranking by response is not an effect."""
    _, effect, found = world
    assert list(found.effects) == list(ALL)
    error = {name: float(np.sqrt(((each - effect) ** 2).mean())) for name, each in found.effects.items()}
    for name in ("S", "X", "DR", "R", "linear-T"):
        assert error[name] < 0.75 * error["constant"], name
    assert error["response"] > error["constant"]
    assert np.corrcoef(found.effects["DR"][:, 0], effect[:, 0])[0, 1] > 0.85
    assert found.notes == ()


def test_a_trial_of_what_was_fitted(world):
    """Rows of one action and null, with the probabilities that the scores used."""
    log, _, found = world
    trial = found.trial("arm-1")
    assert set(log.action[trial.places]) == {0, 1}
    np.testing.assert_array_equal(trial.chance, found.choice.chance[trial.places][:, [0, 1]])


def test_scores_have_the_effect_as_their_mean(world):
    """Although the arms are unlike: raw differences of means are far off."""
    log, effect, found = world
    error = found.contrasts.std(axis=0) / np.sqrt(len(log))
    assert (np.abs(found.contrasts.mean(axis=0) - effect.mean(axis=0)) < 4 * error).all()
    raw = [log.reward("visit")[log.action == a].mean() - log.reward("visit")[log.action == 0].mean() for a in (1, 2)]
    assert abs(raw[1] - effect[:, 1].mean()) > 10 * error[1]


def test_scores_are_doubly_robust():
    """Right on average with wrong outcomes and right probabilities, or the other way round; wrong with neither."""
    log, effect = three_arms(40_000, noise=0.2)
    right = log.features[:, 2:3] + np.column_stack([np.zeros(len(log)), effect])
    right = np.where(np.isnan(right), 0.0, right).astype(float)
    wrong = np.full(right.shape, 7.0)
    even = np.full(right.shape, 1 / 3)
    reward = log.reward("visit")
    for chance, outcome, good in ((log.propensity, wrong, True), (even, right, True), (even, wrong, False)):
        found = contrast_scores(log.action, reward, chance, outcome)
        off = np.abs(found.mean(axis=0) - effect.mean(axis=0)).max()
        assert (off < 5 * found.std() / 200) == good


def test_scores_of_what_was_not_possible_are_unknown():
    """NaN where the action was not eligible or the reward is unknown."""
    chance = np.array([[0.5, 0.5], [1.0, 0.0], [0.5, 0.5]])
    found = action_scores(np.array([1, 0, 0], np.int32), np.array([3.0, 1, np.nan]), chance, np.ones((3, 2)))
    assert found[0].tolist() == [1, 1 + 2 / 0.5]
    assert found[1, 0] == 1 and np.isnan(found[1, 1])
    assert np.isnan(found[2]).all()


def test_nothing_of_a_judged_outcome_reaches_its_prediction(world):
    """Rewards of one fold are spoilt: effects and outcomes in that fold stay bit for bit, in others they change."""
    log, _, found = world
    spoilt = np.where(found.fold == 1, 50.0, log.reward("visit"))
    again = cross_fit(replace(log, rewards={"visit": spoilt}), "visit", shape=QUICK, folds=3)
    here = found.fold == 1
    for name in ALL:
        np.testing.assert_array_equal(again.effects[name][here], found.effects[name][here], err_msg=name)
        assert not np.array_equal(again.effects[name][~here], found.effects[name][~here])
    np.testing.assert_array_equal(again.outcomes.out[here], found.outcomes.out[here])


def test_the_answer_does_not_depend_on_threads(world):
    """One thread or three, the same bits."""
    log, _, found = world
    again = cross_fit(log, "visit", shape=QUICK, folds=3, threads=1)
    for name in ALL:
        np.testing.assert_array_equal(again.effects[name], found.effects[name])


def test_effects_export_as_forests(world):
    """Serving's kernel says what the boosters say, for each learner and arm, missing values included."""
    log, _, found = world
    block = log.features[:400]
    for name in (*LEARNERS, "response"):
        model = found.models[name]
        expected = model.predict(block)
        for arm, forest in enumerate(model.forests()):
            np.testing.assert_allclose(forest.predict(block), expected[:, arm], atol=1e-12, err_msg=name)
            assert type(forest).from_arrays(forest.arrays()) is not None
            np.testing.assert_allclose(forest.contributions(block[0]).sum() + forest.value[forest.roots].sum(),
                                       expected[0, arm], atol=1e-9)  # fmt: skip
    trees = {name: len(found.models[name].forests()[0].roots) for name in LEARNERS}
    assert trees["T"] == 2 * QUICK.trees and trees["S"] <= 2 * QUICK.trees
    assert trees["X"] <= 2 * QUICK.trees and trees["DR"] == trees["R"] <= QUICK.trees


def test_an_effect_that_no_tree_asks_about_exports_as_nothing():
    """S on noise so short that no split is made: a forest that says 0."""
    random = np.random.default_rng(0)
    chance = np.full((200, 2), 0.5)
    log = log_of(drawn(chance, random), chance, np.ones((200, 1)), np.zeros(200))
    found = cross_fit(log, "visit", folds=3, learners={"S": LEARNERS["S"]})
    (forest,) = found.models["S"].forests()
    np.testing.assert_array_equal(forest.predict(log.features), 0)
    with pytest.raises(DataError, match="no forests"):
        summed([])


def test_probabilities_are_estimated_where_nobody_drew_them():
    """Close to the truth, out of fold, at least the floor, zero where not eligible, and the result says so."""
    log, _ = three_arms(6000, observational=True)
    closed = log.features[:, 0] > 1.5
    allowed = log.propensity * np.where(closed[:, None], [[1, 1, 0]], 1)
    truth = allowed / allowed.sum(axis=1, keepdims=True)
    log = replace(log, action=drawn(truth, np.random.default_rng(1)).astype(np.int32), propensity=truth)
    fold = folds_of(log.subject, log.action, folds=3)
    found = choice_of(log, fold, np.ones(len(log), bool), QUICK)
    assert found.estimated
    assert np.abs(found.chance - truth).mean() < 0.04
    np.testing.assert_allclose(found.chance.sum(axis=1), 1)
    assert (found.chance[closed, 2] == 0).all()
    assert found.chance[log.eligible].min() >= FLOOR / (1 + 3 * FLOOR)
    assert choice_of(replace(log, observational=False), fold, np.ones(len(log), bool), QUICK).chance is log.propensity
    told = cross_fit(log.take(np.arange(1500)), "visit", folds=3, shape=QUICK, learners={"T": LEARNERS["T"]})
    assert "estimates" in told.notes[0]


def test_a_rare_arm_is_undefined_and_the_rest_goes_on():
    """NaN in its column, no forest, other arms as usual."""
    log, _ = three_arms(1500)
    seldom = np.flatnonzero(log.action == 2)[20:]
    some = log.take(np.setdiff1d(np.arange(len(log)), seldom))
    found = cross_fit(some, "visit", folds=3, shape=QUICK)
    for name, each in found.effects.items():
        assert np.isfinite(each[:, 0]).all() and np.isnan(each[:, 1]).all(), name
    assert found.models["DR"].forests()[1] is None and found.models["S"].forests()[1] is None


def test_what_cannot_be_learned_is_refused_in_a_sentence():
    """No null, no choice, no such reward or column, too few folds."""
    log, _ = three_arms(600)
    with pytest.raises(ConfigError, match="three"):
        cross_fit(log, "visit", folds=2)
    with pytest.raises(DataError, match="null action was hardly ever"):
        cross_fit(log.take(log.action != 0), "visit")
    with pytest.raises(DataError, match="no decision"):
        cross_fit(replace(log, usable=np.zeros(600, bool)), "visit")
    with pytest.raises(DataError, match="no such reward"):
        cross_fit(log, "spend")
    with pytest.raises(ConfigError, match="x9"):
        cross_fit(log, "visit", shape=Shape(effect_monotone={"x9": 1}))


def test_a_learner_that_fails_is_left_out_and_named(monkeypatch):
    """The others go on."""
    monkeypatch.setattr("training.uplift.learners.LARGEST", 1000)
    log, _ = three_arms(800)
    found = cross_fit(log, "visit", folds=3, shape=QUICK, learners={name: LEARNERS[name] for name in ("S", "T")})
    assert list(found.effects) == ["T"]
    assert found.notes[0].startswith("S was left out: the S-learner's table is too large")


def test_rows_that_tell_nothing_are_not_learned_from():
    """Unusable, unknown, or without choice: still predicted, and counted."""
    log, _ = three_arms(1200)
    reward = log.reward("visit").copy()
    reward[:50] = np.nan
    usable = np.arange(1200) >= 100
    chance = log.propensity.copy()
    chance[100:150], action = [1, 0, 0], log.action.copy()
    action[100:150] = 0
    log = replace(log, rewards={"visit": reward}, usable=usable, propensity=chance, action=action)
    found = cross_fit(log, "visit", folds=3, shape=QUICK, learners={"DR": LEARNERS["DR"]})
    assert found.rows.sum() == 1050
    assert np.isnan(found.scores[:150]).all() and np.isfinite(found.scores[150:]).all()
    assert np.isfinite(found.effects["DR"]).all()
    assert found.notes == ("150 of 1,200 decisions are unusable, of unknown reward or without choice.",)


def test_declared_monotone_effects_are_monotone():
    """X, DR and R never fall with the column, although noise would make them."""
    log, _ = three_arms(1500, noise=2.0)
    shape = Shape(trees=60, rate=0.1, leaf_rows=20, effect_monotone={"x0": 1})
    learners = {name: LEARNERS[name] for name in ("X", "DR", "R")}
    found = cross_fit(log, "visit", folds=3, shape=shape, learners=learners)
    free = cross_fit(log, "visit", folds=3, shape=Shape(trees=60, rate=0.1, leaf_rows=20), learners=learners)
    grid = np.zeros((200, 4), np.float32)
    grid[:, 0] = np.linspace(-3, 3, 200)
    for name, model in found.models.items():
        assert (np.diff(model.predict(grid), axis=0) >= -1e-12).all(), name
        assert (np.diff(free.models[name].predict(grid), axis=0) < 0).any(), name
    assert constraints_of({"x0": 1}, ("x0", "x1")) == [1, 0]


def test_leaves_hold_enough_rows_of_each_arm():
    """Of a model of two arms every leaf has twice the rows; few rows make small leaves and no error."""
    random = np.random.default_rng(0)
    block = random.normal(size=(6000, 2)).astype(np.float32)
    for arms, least in ((1, 300), (2, 600)):
        tree = fit_trees(block, random.normal(size=6000), Shape(trees=5), arms=arms)
        assert min(tree.trees_to_dataframe().query("left_child.isnull()")["count"]) >= least
    few = fit_trees(block[:30], random.normal(size=30), Shape())
    assert np.isfinite(predicted(few, block)).all()


def test_the_linear_challenger_is_a_ridge_regression():
    """Its weights solve the normal equations for one of the strengths; codes become indicators, gaps a column."""
    random = np.random.default_rng(1)
    block = np.column_stack([random.normal(size=300), random.integers(0, 3, 300), random.normal(size=300)])
    block[random.random(300) < 0.2, 2] = np.nan
    encoding = Encoding.of(block.astype(np.float32), (False, True, False))
    table = encoding.apply(block.astype(np.float32))
    assert table.shape == (300, 1 + 2 + 1 + 2)
    np.testing.assert_allclose(table[:, 1:].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(table[:, 1:].std(axis=0), 1, atol=1e-6)
    rows = random.random(300) < 0.5
    reward = 2 * block[:, 0] + (block[:, 1] == 1) + 0.3 * random.normal(size=300)
    found = _ridge(table, reward, rows)
    X, y = table[rows], reward[rows]
    penalty = np.eye(X.shape[1]) * rows.sum()
    penalty[0, 0] = 0
    exact = [np.linalg.solve(X.T @ X + s * penalty, X.T @ y) for s in np.logspace(-4, 4, 17)]
    assert min(np.abs(found - each).max() for each in exact) < 1e-8
    unseen = encoding.apply(np.array([[0, 9, np.nan]], np.float32))
    assert np.isfinite(unseen).all()


def test_work_in_threads_comes_back_in_order():
    """With its processor time; what fails is heard."""
    told = []
    found = in_threads([lambda at=at: at * at for at in range(5)], threads=3, progress=told.append)
    assert [answer for answer, _ in found] == [0, 1, 4, 9, 16]
    assert all(seconds >= 0 for _, seconds in found)
    assert sum(told) == 5
    with pytest.raises(ZeroDivisionError):
        in_threads([lambda: 1 // 0])


def test_where_nobody_recorded_probabilities_they_are_estimated():
    """NaN is no certainty: a log that nobody drew is learned from; a row with one possible action is not."""
    log, _ = three_arms(900, observational=True)
    chance = np.full(log.propensity.shape, np.nan)
    chance[:9] = [np.nan, 0.0, 0.0]
    action = log.action.copy()
    action[:9] = 0
    unknown = replace(log, propensity=chance, action=action)
    found = cross_fit(unknown, "visit", learners={"T": LEARNERS["T"]}, folds=3, shape=Shape(trees=20), threads=1)
    assert not found.rows[:9].any() and found.rows[9:].all()
    assert np.isfinite(found.contrasts[9:]).all() and found.choice.estimated
