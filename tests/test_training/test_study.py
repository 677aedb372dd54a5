"""Studies: resumed they go on as if nothing had happened, the worst trials are stopped, and crashes are mended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.errors import DataError
from training.spaces import Dimension
from training.study import UNPRUNED_TRIALS, Study, Tried

SPACE = {"x": Dimension(0.0, 10.0), "n": Dimension(1, 64, log=True), "on": Dimension(choices=(True, False))}


def value_of(params: Any) -> float:
    return -((params["x"] - 3) ** 2) - abs(params["n"] - 7) + (0.5 if params["on"] else 0.0)


def run_trials(study: Study, count: int) -> list[Tried]:
    for _ in range(count):
        asked = study.ask()
        asked.complete(value_of(asked.params), 0.1, {"all": 1.0})
    return study.tried()


def test_a_study_resumes_where_the_sampler_has_begun_to_learn(tmp_path: Path) -> None:
    """Beyond the random trials the sampler reads what was tried, and still repeats itself over a break."""
    one = run_trials(Study(tmp_path / "one.jsonl", SPACE), 18)
    run_trials(Study(tmp_path / "two.jsonl", SPACE), 11)
    assert run_trials(Study(tmp_path / "two.jsonl", SPACE), 7) == one
    assert len({each.params["x"] for each in one}) == 18
    assert all(isinstance(each.params["n"], int) for each in one)


def test_the_sampler_learns(tmp_path: Path) -> None:
    """After the random trials it comes nearer to the best than they did, on the whole."""
    tried = run_trials(Study(tmp_path / "study.jsonl", SPACE), 40)
    random, learned = tried[:10], tried[-10:]
    assert np.median([each.value for each in learned]) > np.median([each.value for each in random])


def test_the_worst_are_stopped_and_only_after_the_first_few(tmp_path: Path) -> None:
    study = Study(tmp_path / "study.jsonl", SPACE)
    for number in range(UNPRUNED_TRIALS):
        asked = study.ask()
        assert not asked.hopeless(1, float(-number))  # ever worse, and still judged in full
        asked.complete(float(-number), 0.1, {})
    bad, fair = study.ask(), study.ask()
    assert bad.hopeless(1, -100.0)
    bad.prune(0.2)
    assert not fair.hopeless(1, -2.5)  # worse than the median, but not among the worst
    fair.complete(-2.5, 0.1, {})
    pruned = study.tried()[UNPRUNED_TRIALS]
    assert (pruned.state, pruned.value, pruned.seconds) == ("pruned", -100.0, 0.2)


def test_trials_whose_process_is_gone_are_interrupted(tmp_path: Path) -> None:
    """Killed in the middle of a trial, and in the middle of a line: both are mended when the study is opened."""
    path = tmp_path / "study.jsonl"
    study = Study(path, SPACE)
    run_trials(study, 2)
    study.ask()
    with path.open("ab") as file:
        file.write(b'{"op_code": 4, "worker')
    again = Study(path, SPACE)
    assert [each.state for each in again.tried()] == ["complete", "complete", "interrupted"]
    assert len(again) == 2
    assert [each.state for each in run_trials(again, 1)][-1] == "complete"


def test_a_point_is_wanted_until_it_was_tried_in_full(tmp_path: Path) -> None:
    point = {"x": 1.0, "n": 8, "on": False}
    study = Study(tmp_path / "study.jsonl", SPACE)
    study.want([point])
    study.ask().interrupt()
    study = Study(tmp_path / "study.jsonl", SPACE)
    study.want([point, dict(point)])
    asked = study.ask()
    assert asked.params == point
    asked.complete(0.0, 0.1, {})
    study.want([point])
    assert study.ask().params != point


def test_what_is_no_study_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.jsonl"
    path.write_text("not a journal\n{}\n")
    with pytest.raises(DataError, match="--fresh"):
        Study(path, SPACE)
