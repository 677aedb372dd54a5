"""What was learned is what serving scores: calibrated effects of the refitted trees, over the policy's artefact."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from features.errors import ConfigError
from serving.policies import PolicySpec
from serving.policy_files import open_policy, write_policy
from tests.test_uplift.drawn import randomised
from training.bench.policy import Load, measure
from training.uplift.boosting import Shape
from training.uplift.calibration import applied
from training.uplift.crossfit import cross_fit
from training.uplift.learners import LEARNERS
from training.uplift.shipping import policy_of

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
