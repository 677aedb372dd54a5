"""What was learned is what serving scores: calibrated effects of the refitted trees, over the policy's artefact."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from features.errors import ConfigError
from serving.effects import NET_VALUE
from serving.effects import Blocked as Rule
from serving.policies import PolicySpec
from serving.policy_files import open_policy, write_policy
from tests.test_uplift.drawn import randomised
from training.bench.policy import Load, measure
from training.intervals import Interval
from training.uplift.blocks import Blocked
from training.uplift.boosting import Shape
from training.uplift.calibration import applied
from training.uplift.crossfit import cross_fit
from training.uplift.estimate import unknown
from training.uplift.gate import Ruling
from training.uplift.learners import LEARNERS
from training.uplift.options import StudyOptions
from training.uplift.proposals import Proposal, spread_on, values_on
from training.uplift.shipping import policy_of, ships, withheld
from training.uplift.study import Study
from training.uplift.written import named

NONE = np.zeros((0, 2))
SPEC = PolicySpec("learned", ("a",), {"visit": 2.0}, costs={"a": 0.3})


@pytest.fixture(scope="module")
def fits():
    log = randomised(2_000)
    log = replace(log, names=("hour", "weekday", "orders_28d"))
    gain = np.where((log.features[:, 0] > 0) & (log.action == 1), 1.0, 0.0)
    log = replace(log, rewards={"visit": log.reward("visit") + gain})
    some = {name: LEARNERS[name] for name in ("T", "DR")}
    return {"visit": cross_fit(log, "visit", learners=some, folds=3, shape=Shape(trees=30), threads=1)}


@pytest.mark.parametrize("learner", ["T", "DR"])
def test_serving_scores_what_was_learned(fits, learner: str, tmp_path: Path) -> None:
    fit = fits["visit"]
    policy = open_policy(write_policy(tmp_path, policy_of(SPEC, fits, learner, fallback="a")))
    rows = fit.log.features[:60]
    expected = applied(fit.calibration(learner), fit.models[learner].predict(rows))[:, 0]
    assert np.ptp(expected) > 0.3, "the effect differs"
    for row, effect in zip(rows, expected, strict=True):
        told = dict(zip(fit.log.names, row.tolist(), strict=True))
        assert policy.score(told).values[0] == pytest.approx([0.0, 2 * effect - 0.3], abs=1e-9)


@pytest.mark.parametrize("learner", ["T", "DR"])
def test_a_cautious_policy_serves_as_it_was_judged(fits, learner: str) -> None:
    """An effect is off by the error of the average and by what is left between people: the same in both places."""
    fit = fits["visit"]
    spec = msgspec.structs.replace(SPEC, cautious=True)
    proposal = Proposal(learner, spec, NONE, NONE, unknown(fit.log.subject), NONE)
    rows = fit.log.features[:60]
    spread, values = spread_on(proposal, fits), values_on(rows, proposal, fits)
    error, left = fit.calibration(learner)[0].average.error, fit.left(learner)[0]
    assert left > 0
    assert spread[0] == pytest.approx([0.0, 2 * np.hypot(error, left)])
    served = policy_of(spec, fits, learner)
    for at, row in enumerate(rows):
        scored = served.score(dict(zip(fit.log.names, row.tolist(), strict=True)))
        assert scored.spread[0] == pytest.approx(spread[0], abs=1e-9)
        assert scored.values[0] == pytest.approx(values[at], abs=1e-9)


def found_of(fits, ships: str, *, learner: str = "T", **changes: object) -> Study:
    """A study that came to a ruling."""
    fit = fits["visit"]
    log = replace(fit.log, **changes)
    nothing = Interval(0.0, 0.0, 0.0, 9, 0)
    harm = Blocked(Rule("a", NET_VALUE, None, 0.1), "1", False, nothing, 9)
    proposal = Proposal(learner, SPEC, NONE, NONE, unknown(log.subject), NONE, (harm,), learner != "linear-T")
    ruling = Ruling(ships, int(ships == "action"), (), {})
    options = StudyOptions({"visit": 2.0}, costs={"a": 0.3}, floor=0.1)
    return Study(log, options, [], {"visit": replace(fit, log=log)}, [], NONE, [proposal], NONE, ruling, [])


def test_what_the_gate_lets_through_is_what_ships(fits) -> None:
    """The challenger under its new name with its blocks; one action by its average; nothing."""
    policy = ships(found_of(fits, "policy"), "spring-1", "a study")
    assert (policy.sheet.spec.name, policy.sheet.about, len(policy.forests)) == ("spring-1", "a study", 1)
    assert policy.sheet.blocks == (Rule("a", NET_VALUE, None, 0.1),)
    one = ships(found_of(fits, "action"), "spring-2")
    gained = 2 * np.nanmean(fits["visit"].contrasts[:, 0]) - 0.3
    assert (one.forests, one.sheet.columns, one.sheet.fallback, one.sheet.spec.floor) == ({}, (), "a", 0.1)
    assert one.score({}).values[0] == pytest.approx([0.0, gained])
    assert gained > 0
    assert ships(found_of(fits, "nothing"), "spring-3") is None


@pytest.mark.parametrize(
    ("ruling", "changes", "words"),
    [
        ("nothing", {}, "Nothing is let through"),
        ("policy", {"observational": True}, "Nobody drew these actions"),
        ("action", {"observational": True}, "Nobody drew these actions"),
        ("policy", {"learner": "linear-T"}, "linear-T is no sum of trees"),
        ("policy", {"names": ("hour", "recency", "history")}, "does not know of a customer (recency, history)"),
    ],
)
def test_why_nothing_is_written(fits, ruling: str, changes: dict, words: str) -> None:
    found = found_of(fits, ruling, **changes)
    assert words in withheld(found)
    assert ships(found, "x") is None


def test_one_action_needs_no_column(fits) -> None:
    """What serving does not know of a customer does not matter where nothing is read."""
    found = found_of(fits, "action", names=("hour", "recency", "history"))
    assert withheld(found) == ""
    assert ships(found, "x").sheet.columns == ()


def test_names_are_folders() -> None:
    """Whatever the experiment is called; two runs of a day differ."""
    for source in ("../../etc", "春のメール", "A" * 99, " / "):
        name = named(source, 0, "0123456789")
        assert re.fullmatch(r"[a-z0-9][a-z0-9-]*-19700101-01234567", name)
        assert len(name) < 63


def test_what_cannot_be_shipped_is_said(fits) -> None:
    with pytest.raises(ConfigError, match="trees can be served; got 'linear'; one of"):
        policy_of(SPEC, fits, "linear")
    with pytest.raises(ConfigError, match="effects were not learned"):
        policy_of(PolicySpec("x", ("a",), {"spend": 1.0}), fits, "T")
    with pytest.raises(ConfigError, match="not the log's"):
        policy_of(PolicySpec("x", ("b",), {"visit": 1.0}), fits, "T")


def test_the_bench_times_both_methods() -> None:
    rows = measure(Load(slots=2, actions=3, trees=3, pages=20))
    found = {(row.subject, row.metric): row.value for row in rows}
    assert found["policy", "time-ratio"] > 1
    assert found["policy", "time"] > found["part:effects", "time"] > 0
    assert found["policy", "memory-table"] > 0
