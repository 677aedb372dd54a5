"""Reward models: never asked about whom they learnt from, and right where rewards follow them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import DataError
from training.offpolicy.models import Constant, Linear, Trees, cross_fitted, dealt_folds


@given(st.lists(st.integers(-(2**40), 2**60), min_size=1, max_size=60), st.integers(2, 7), st.integers(0, 99))
def test_a_subject_is_in_one_fold_and_folds_are_of_a_size(subjects, folds, seed):
    """In subjects, to one."""
    subject = np.array(subjects)
    fold = dealt_folds(subject, folds, seed)
    pairs = set(zip(subjects, fold.tolist(), strict=True))
    assert len(pairs) == len(set(subjects))
    sizes = [sum(number == each for _, number in pairs) for each in range(folds)]
    assert max(sizes) - min(sizes) <= 1


def test_a_subject_is_predicted_by_a_model_that_never_met_it(random_log):
    """Seen by a model that remembers whom it learnt from; each decision that counts is asked once."""
    log = random_log(n=80)
    reward = log.reward("visit").copy()
    reward[5] = np.nan
    usable = np.ones(80, bool)
    usable[9] = False
    partial = replace(log, usable=usable, rewards={"visit": reward})
    asked = []

    class Spy:
        def fit(self, learnt, target):
            assert np.isfinite(target).all()
            assert learnt.usable.all()
            met = set(learnt.subject.tolist())

            def predict(of):
                assert not met & set(of.subject.tolist())
                asked.extend(of.subject.tolist())
                return np.zeros(of.propensity.shape)

            return predict

    found = cross_fitted(partial, "visit", Spy())
    assert sorted(asked) == sorted(np.delete(log.subject, [5, 9]).tolist())
    assert np.isnan(found[[5, 9]]).all()
    assert not np.delete(found, [5, 9], axis=0).any()


def test_two_subjects_are_enough_and_one_is_not(make_log):
    """With more folds than subjects."""
    log = make_log([[0.5, 0.5]] * 4, [0, 1, 0, 1], [0, 1, 0, 1], subject=np.array([1, 1, 2, 2]))
    assert np.isfinite(cross_fitted(log, "visit", Linear(), folds=5)).all()
    with pytest.raises(DataError, match="other subjects"):
        cross_fitted(log.take(log.subject == 1), "visit", Linear())


def test_the_ridge_by_its_normal_equations(random_log):
    """Each action's coefficients minimise |y - X b|^2 + l2 |b - B|^2: the gradient there is 0."""
    log = random_log(n=200, seed=6)
    model, reward = Linear(l2=4.0), log.reward("visit")
    predict = model.fit(log, reward)
    values = log.features.astype(float)
    standard = (values - values.mean(axis=0)) / values.std(axis=0)
    design = np.column_stack([np.ones(200), standard])
    predicted = predict(log)
    coefficients = np.linalg.lstsq(design, predicted, rcond=None)[0]
    np.testing.assert_allclose(design @ coefficients, predicted, atol=1e-9)
    pooled = np.linalg.solve(design.T @ design + 4 * np.eye(3), design.T @ reward)
    for action in range(3):
        own = log.action == action
        slope = design[own].T @ (design[own] @ coefficients[:, action] - reward[own])
        np.testing.assert_allclose(slope + 4 * (coefficients[:, action] - pooled), 0, atol=1e-8)


def test_what_is_missing_is_at_its_mean_and_what_never_varies_says_nothing(random_log):
    """NaN in a feature, a column of NaN, a constant one, an action nobody took: finite all the same."""
    log = random_log(n=50)
    features = np.column_stack([log.features, np.full(50, np.nan), np.full(50, 7.0)]).astype(np.float32)
    features[::3, 0] = np.nan
    wider = replace(log, features=features, names=("a", "b", "c", "d"), categorical=(False,) * 4,
                    action=np.minimum(log.action, 1))  # fmt: skip
    predicted = Linear().fit(wider, wider.reward("visit"))(wider)
    assert np.isfinite(predicted).all()
    blank = replace(wider, features=np.full_like(features, np.nan))
    at_mean = Linear().fit(wider, wider.reward("visit"))(blank)
    assert np.ptp(at_mean, axis=0).max() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("model", [Trees(False, 30, 8, 20, 0.2), Trees(True, 30, 8, 20, 0.2)])
def test_trees_learn_what_a_straight_line_cannot(random_log, model):
    """A reward that is an exclusive or of a feature and the action; predicted out of fold, twice the same."""
    log = random_log(n=1200, k=2, seed=1)
    wanted = ((log.features[:, 0] > 0) != (log.action == 1)).astype(float)
    told = replace(log, rewards={"visit": wanted})
    predicted = cross_fitted(told, "visit", model, folds=2)
    truth = np.column_stack([log.features[:, 0] > 0, log.features[:, 0] <= 0])
    assert np.abs(predicted - truth).mean() < 0.1
    np.testing.assert_array_equal(predicted, cross_fitted(told, "visit", model, folds=2))


def test_trees_of_too_few_rows_say_the_mean(random_log):
    """Also for an action that was hardly ever taken."""
    log = random_log(n=60)
    predicted = Trees(by_action=True).fit(log, log.reward("visit"))(log)
    assert np.ptp(predicted) == 0
    assert predicted[0, 0] == pytest.approx(log.reward("visit").mean())
    assert (Constant(0.25).fit(log, log.reward("visit"))(log) == 0.25).all()
