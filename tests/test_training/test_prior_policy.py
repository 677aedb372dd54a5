"""A prior as a policy: trees that say what the table says, for every visit, and a slot that serves them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from features.covariates import VISIT, visit_values
from features.moments import HOUR, parse_instant
from serving.policies import PolicySpec
from serving.policy_files import open_policy, write_policy
from serving.prior import DIMENSIONS, NOTHING, words_of
from training.prior import ActionsFitted, PriorParams, counted, fit_prior
from training.prior_policy import Within, forest_of, prior_policy, runs_of, tree_of
from training.prior_rows import Seen

WORDS = {
    "region": ("east", "north", "south"), "season": ("autumn", "spring", "summer", "winter"),
    "traffic_source": ("ads", "search"), "device": ("desk", "phone"),
    "hour": ("afternoon", "evening", "morning", "night"),
}  # fmt: skip
SOUTHERN = ("south",)
NOW = parse_instant("2024-01-15T00:00:00Z")


def fitted_of(
    names: tuple[str, ...], *, seed=0, arms=(NOTHING, "guide", "tips"), n=2_500
) -> tuple[ActionsFitted, Seen]:
    """A prior in which every cell is different."""
    random = np.random.default_rng(seed)
    codes = np.stack([random.integers(-1 if name != "season" and name != "hour" else 0, len(WORDS[name]), n) for name in DIMENSIONS], axis=1)  # noqa: E501  # fmt: skip
    seen = Seen(
        random.integers(0, len(arms), n), random.random(n), np.ones(n), np.arange(n), np.arange(n), codes, arms,
        DIMENSIONS, tuple(WORDS[name] for name in DIMENSIONS),
    )  # fmt: skip
    some = seen.about(names)
    params = PriorParams(names, least_people=1)
    beyond = counted(some, 20.0, dict.fromkeys(names, 4.0), params)
    base = fit_prior(replace(some, arm=np.zeros(n, np.int64), arms=("(any)",)), params)
    return ActionsFitted(base, replace(base, prior=beyond)), seen


def visits():
    """All kinds of visits: every region, also an unknown one and none, months, hours, devices."""
    regions, devices = (*WORDS["region"], "atlantis", None), ("desk", "phone", "toaster", None)
    for region, source, device, month, hour in itertools.product(
        regions, ("ads", None), devices, (1, 4, 8, 12), (5, 6, 22)
    ):
        yield {"region": region, "traffic_source": source, "device": device, "month": month, "hour": hour}


@pytest.mark.parametrize(
    "names",
    [(), ("region",), ("season",), ("hour", "season"), ("season", "device"), ("region", "season", "device"),
     ("device", "region", "season", "hour"), ("region", "season", "traffic_source", "device", "hour")],
)  # fmt: skip
def test_trees_say_what_the_table_says(names, tmp_path: Path) -> None:
    fitted, seen = fitted_of(names, n=1_200)
    prior = fitted.beyond.prior
    spec = PolicySpec("p", ("guide", "tips"), {"click": 1.0}, floor=0.01, explore="thompson")
    made = prior_policy(fitted, seen, spec, "click", SOUTHERN, "a test")
    policy = open_policy(write_policy(tmp_path, made))
    assert policy.reads <= set(VISIT), "nothing of a person is read"
    for visit in list(visits())[:: 1 if len(names) < 3 else 7]:
        table = prior.score(words_of(visit, SOUTHERN))
        told = {**dict.fromkeys(VISIT), **visit}
        assert policy.score(told).values[0, 1:] == pytest.approx(table[1:] - table[0], abs=1e-9), visit


def test_a_slot_that_was_never_empty_holds_actions_against_all(tmp_path: Path) -> None:
    fitted, seen = fitted_of(("device",), arms=("guide", "tips"))
    spec = PolicySpec("p", ("guide", "tips"), {"click": 1.0}, nothing=False)
    policy = open_policy(write_policy(tmp_path, prior_policy(fitted, seen, spec, "click")))
    found = policy.score({**dict.fromkeys(VISIT), "device": "phone"})
    assert found.values[0, 1:] == pytest.approx(fitted.beyond.prior.score({"device": "phone"}))
    assert (found.spread[0, 1:] > 0).all()


def test_what_serving_tells_of_a_visit_is_what_training_reads() -> None:
    """`visit_values` and `words_of` give a season and a part of the day at every hour of a year."""
    for hour in range(0, 366 * 24, 7):
        visit = visit_values(
            NOW + hour * HOUR, "America/New_York", device=None, traffic_source=None, region="south", known=False
        )
        told = words_of(visit, SOUTHERN)
        assert told["season"] in WORDS["season"]
        assert told["hour"] in WORDS["hour"]
        assert (told["season"] == "summer") == (visit["month"] in (12, 1, 2))


def test_a_tree_holds_where_all_its_tests_hold() -> None:
    tests = [Within(0, runs_of([1, 2, 12])), Within(1, ((3, 3),), outside=True), Within(2, ())]
    forest = forest_of([tree_of(tests, 5.0), tree_of([], 1.0)])
    nan = np.nan
    rows = [[1, 2, nan], [12, 4, nan], [12, nan, nan], [3, 2, nan], [1, 3, nan], [1, 2, 0], [nan, 2, nan]]
    assert forest.predict(np.array(rows, np.float32)).tolist() == [6, 6, 6, 1, 1, 1, 1]
