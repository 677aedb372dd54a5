"""Diagnostics of weights, and the refusals that follow from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from features.moments import DAY
from training.offpolicy.diagnostics import Diagnosis, diagnose, effective_size, hill
from training.offpolicy.estimators import sample_of
from training.offpolicy.refusal import Limits, cautions, refuse
from training.offpolicy.targets import always, logging, uniform

WEIGHTS = arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 100))


@given(WEIGHTS)
def test_the_effective_size_lies_between_one_and_the_number_of_weights(weight):
    """And is the number itself only where all weights are equal."""
    found = effective_size(weight)
    if weight.max() < 1e-100:
        assert found in (0, pytest.approx(found))
        return
    assert 1 - 1e-9 <= found <= len(weight) + 1e-9
    assert effective_size(np.full(len(weight), 3.0)) == pytest.approx(len(weight))
    assert effective_size(7 * weight) == pytest.approx(found)


def test_by_hand():
    """(1 + 1 + 2)^2 / (1 + 1 + 4)."""
    assert effective_size(np.array([1.0, 1.0, 2.0, 0.0])) == pytest.approx(16 / 6)
    assert effective_size(np.zeros(3)) == 0


def test_hills_index_by_hand():
    """Of 100 positive weights the ten largest over the eleventh; zeros do not count."""
    weight = np.random.default_rng(0).pareto(3, 100) + 1
    largest = sorted(weight.tolist(), reverse=True)[:11]
    rise = sum(np.log(each / largest[10]) for each in largest[:10]) / 10
    assert hill(np.concatenate([weight, np.zeros(500)])) == pytest.approx(1 / rise)


@pytest.mark.parametrize("index", [1.2, 2.0, 4.0])
def test_the_tail_index_of_a_pareto_is_found(index):
    """From its exact quantiles; bounded weights have no tail, and too few say nothing."""
    quantiles = (np.arange(1, 40_001) - 0.5) / 40_000
    assert hill(quantiles ** (-1 / index)) == pytest.approx(index, rel=0.03)
    assert hill(np.repeat([1.0, 4.0], 500)) == np.inf
    assert np.isnan(hill(np.ones(50)))


def test_what_a_log_could_not_have_done_is_counted_by_slot_and_day(make_log):
    """Half the mass of one slot, on one day, is where the log has none."""
    chance = np.array([[0.5, 0.5, 0.0]] * 4 + [[0.25, 0.25, 0.5]] * 4)
    policy = np.array([[0.5, 0.0, 0.5]] * 4 + [[0.25, 0.25, 0.5]] * 4)
    at = np.repeat([0, 3 * DAY + 5], 4)
    log = make_log(chance, [0, 1] * 4, np.zeros(8), slots=("hero", "band"),
                   slot=np.repeat([0, 1], 4).astype(np.int32), decided_at=at)  # fmt: skip
    found = diagnose(log, sample_of(log, policy, "visit"))
    assert found.whole.unsupported == pytest.approx(0.25)
    assert found.whole.departs == 0.5
    assert [(each.of, each.unsupported) for each in found.slots] == [("hero", 0.5), ("band", 0.0)]
    assert [each.of for each in found.days] == ["1970-01-01", "1970-01-04"]
    assert found.whole.mean_weight == pytest.approx((1 + 0 + 1 + 0 + 4) / 8)
    assert found.whole.randomised == 1


def test_the_mean_weight_is_tested_with_subjects_as_clusters(random_log):
    """Right propensities pass, propensities that were logged wrongly do not."""
    log = random_log(n=4000, seed=1)
    found = diagnose(log, sample_of(log, uniform(log), "visit")).whole
    assert abs(found.z) < 3
    assert refuse(found, Limits()) is None
    wrong = log.propensity.copy()
    wrong[:, 0] *= 0.7
    wrong[:, 1] += log.propensity[:, 0] * 0.3
    off = replace(log, propensity=wrong)
    told = diagnose(off, sample_of(off, always(None)(off), "visit")).whole
    refusal = refuse(told, Limits())
    assert told.mean_weight > 1.2
    assert refusal is not None
    assert refusal.codes == ("mean-weight",)
    assert "should average 1" in refusal.text


def whole(log, policy) -> tuple[Diagnosis, tuple[str, ...]]:
    """The diagnosis of a policy, and the codes of the refusal."""
    found = diagnose(log, sample_of(log, policy, "visit"))
    refusal = refuse(found.whole, Limits())
    return found, refusal.codes if refusal else ()


def test_each_reason_alone(make_log, random_log):
    """Codes, with the figure and the limit."""
    log = random_log(n=3000, seed=2)
    assert whole(log, uniform(log))[1] == ()
    assert whole(log.take(np.arange(60)), uniform(log.take(np.arange(60))))[1] == ("effective-sample-size",)
    single = replace(log, subject=np.zeros(3000, np.int64))
    assert whole(single, uniform(single))[1] == ("one-subject",)
    none = replace(log, usable=np.zeros(3000, bool))
    assert whole(none, uniform(none))[1] == ("no-decisions",)
    unseen = make_log(np.tile([0.5, 0.5, 0.0], (1000, 1)), np.arange(1000) % 2, np.zeros(1000))
    refusal = refuse(diagnose(unseen, sample_of(unseen, np.tile([0.5, 0.4, 0.1], (1000, 1)), "visit")).whole, Limits())
    assert "support" in refusal.codes
    reason = next(each for each in refusal.reasons if each.code == "support")
    assert (reason.figure, reason.limit) == (pytest.approx(0.1), 0.01)
    assert "10.0%" in reason.text


def test_what_was_never_randomised_is_worth_what_it_earned_and_nothing_else_is_known(make_log):
    """The log's own policy is not refused; another one is, for every reason at once."""
    log = make_log(np.tile([0.0, 1.0], (500, 1)), np.ones(500), np.zeros(500))
    assert whole(log, logging(log))[1] == ()
    assert set(whole(log, np.tile([1.0, 0.0], (500, 1)))[1]) >= {"nothing-randomised", "support"}


def test_cautions_say_what_is_not_enough_to_refuse(random_log):
    """An observational log, a slot that says too little, a day on which weights do not add up."""
    log = random_log(n=2000, seed=3, slots=("hero", "band"), slot=(np.arange(2000) < 50).astype(np.int32))
    found, codes = whole(log, uniform(log))
    assert codes == ()
    said = cautions(found, Limits(), observational=True)
    assert any("observational" in each for each in said)
    assert any(each.startswith("Slot band") for each in said)
    days = tuple(replace(each, p=1e-9) for each in found.days)
    assert any("1 of 1 days" in each for each in cautions(replace(found, days=days), Limits(), observational=False))
    heavy = replace(found, whole=replace(found.whole, tail=1.4, unsupported=0.005))
    text = " ".join(cautions(heavy, Limits(), observational=False))
    assert "heavy tail" in text
    assert "0.50%" in text
