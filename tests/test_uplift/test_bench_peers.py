"""T-learners of other packages in the bench: ours alone is ours; theirs by stand-ins, and themselves where they are."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest

from tests.test_uplift.worlds import three_arms
from training.bench import peers
from training.uplift.boosting import Shape
from training.uplift.crossfit import cross_fit
from training.uplift.learners import fit_t

SHAPE = Shape(leaf_rows=20, trees=40)


class Means:
    """A T-learner whose outcome models are means; keeps what it was given."""

    def __init__(self, *models, **named):
        self.models = [*models, *named.values()]

    def learn(self, X, y, treated):
        assert set(np.unique(treated)) == {0, 1} and len(X) == len(y) == len(treated)
        self.effect = y[treated == 1].mean() - y[treated == 0].mean()
        return self


class TwoModels(Means):
    def fit(self, X, y, treatment):
        return self.learn(X, y, treatment)

    def predict(self, X):
        return np.full(len(X), self.effect)


class BaseT(Means):
    def fit(self, X, treatment, y):
        return self.learn(X, y, treatment)

    def predict(self, X):
        return np.full((len(X), 1), self.effect)


class BaseTClassifier(BaseT):
    pass


class BaseTRegressor(BaseT):
    pass


def module(name, **members) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(members)
    return made


@pytest.fixture
def packages(monkeypatch):
    """Both can be imported; a T-learner in each."""
    for name, made in (
        ("sklift", module("sklift")),
        ("sklift.models", module("sklift.models", TwoModels=TwoModels)),
        ("causalml", module("causalml")),
        ("causalml.inference", module("causalml.inference")),
        ("causalml.inference.meta", module(
            "causalml.inference.meta", BaseTClassifier=BaseTClassifier, BaseTRegressor=BaseTRegressor
        )),
    ):  # fmt: skip
        monkeypatch.setitem(sys.modules, name, made)


@pytest.fixture
def gone(monkeypatch):
    for name in ("sklift.models", "causalml.inference.meta"):
        monkeypatch.setitem(sys.modules, name, None)


def test_packages_that_are_not_there_are_named(gone):
    """One sentence each, and no learner: ours alone is of no use without others."""
    fits, missing = peers.peers()
    assert not fits and len(missing) == 2
    assert all("kokyaku[peers]" in sentence for sentence in missing) and "causalml" in missing[1]


def test_ours_alone_is_ours():
    """Fitted by itself or taken from the nuisances: the same effects to the last digit, out of fold and refitted."""
    log, _ = three_arms(800)
    found = cross_fit(log, "visit", learners={"T": fit_t, peers.OURS: peers.fit_alone}, folds=3, shape=SHAPE, threads=1)
    np.testing.assert_array_equal(found.effects["T"], found.effects[peers.OURS])
    ours, theirs = (found.models[name].predict(log.features) for name in ("T", peers.OURS))
    np.testing.assert_array_equal(ours, theirs)


def test_others_see_the_rows_of_an_arm_and_null(packages):
    """Stand-ins that take means: each arm's effect out of fold is the difference of means on the other folds."""
    log, _ = three_arms(900)
    fits, missing = peers.peers()
    assert not missing
    assert list(fits) == [
        "kokyaku:T", "scikit-uplift:T", "scikit-uplift:T, our trees", "causalml:T", "causalml:T, our trees",
    ]  # fmt: skip
    found = cross_fit(log, "visit", learners=fits, folds=3, shape=SHAPE, threads=1)
    reward = log.rewards["visit"]
    for fold in range(3):
        kept = found.fold != fold
        means = [reward[kept & (log.action == action)].mean() for action in range(3)]
        for name in list(fits)[1:]:
            expected = np.tile([means[1] - means[0], means[2] - means[0]], ((~kept).sum(), 1))
            np.testing.assert_allclose(found.effects[name][~kept], expected)
    assert all(found.seconds[name] > 0 for name in fits)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("ours", [True, False])
def test_estimators_fit_the_outcome(packages, binary, ours):
    """Classifiers for 0 and 1, else regressors; one thread; LightGBM's defaults or the parameters of our trees."""
    pytest.importorskip("sklearn")
    log, _ = three_arms(600)
    if binary:
        log.rewards["visit"] = (log.rewards["visit"] > 0).astype(float)
    fits, _ = peers.peers()
    for package in ("scikit-uplift:T", "causalml:T"):
        name = package + (peers.OUR_TREES if ours else "")
        model = cross_fit(log, "visit", learners={name: fits[name]}, folds=3, shape=SHAPE, threads=1).models[name]
        learner = model.models[0]
        assert len(learner.models) == 2 and learner.models[0] is not learner.models[1]
        for estimator in learner.models:
            assert type(estimator).__name__ == ("LGBMClassifier" if binary else "LGBMRegressor")
            told = estimator.get_params()
            assert (told["n_jobs"], told["num_leaves"]) == (1, 8 if ours else 31)
            assert (told["n_estimators"], told["min_child_samples"]) == ((40, 20) if ours else (100, 20))
        if package.startswith("causalml"):
            assert type(learner) is (BaseTClassifier if binary else BaseTRegressor)


@pytest.mark.parametrize("package", ["sklift", "causalml"])
def test_the_packages_themselves(package):
    """Where they are installed: regressors with the parameters of our trees give our effects, but for bins."""
    pytest.importorskip(package, reason=f"{package} is not installed (extra: peers)", exc_type=ImportError)
    log, _ = three_arms(1500)
    fits, _ = peers.peers()
    wanted = {"sklift": "scikit-uplift"}.get(package, package) + ":T" + peers.OUR_TREES
    found = cross_fit(
        log, "visit", learners={"T": fit_t, wanted: fits[wanted]}, folds=3, shape=SHAPE, threads=1
    )  # fmt: skip
    for arm in range(2):
        assert np.corrcoef(found.effects[wanted][:, arm], found.effects["T"][:, arm])[0, 1] > 0.98
