"""Customers shared out among processes: the same answers in the same order, whoever gave them."""

from __future__ import annotations

import os
import signal
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import DataError
from training import parallel
from training.parallel import in_parts

forks = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes are started however little there is to do."""
    monkeypatch.setattr(parallel, "LEAST", 1)


@pytest.mark.parametrize("total", [0, 1, 2, 15, 16, 17, 333])
@forks
def test_parts_are_the_whole_in_order(always, total):
    """Each place once, in order, and progress adds up."""
    heard: list[int] = []
    answers = in_parts(list, total, heard.append, processes=2)
    assert [place for part in answers for place in part] == list(range(total))
    assert sum(heard) == total
    assert all(answers)


@forks
def test_others_really_work(always):
    """More than one process answers, and none of them is this one; what they read came by the fork alone."""
    table = np.arange(400)

    def work(places: range) -> tuple[int, int]:
        return os.getpid(), int(table[places.start : places.stop].sum())

    answers = in_parts(work, len(table), processes=2)
    assert os.getpid() not in {pid for pid, _ in answers}
    assert sum(total for _, total in answers) == table.sum()


def test_little_work_stays_here():
    """Starting processes costs more than it saves."""
    answers = in_parts(lambda places: (os.getpid(), len(places)), parallel.LEAST - 1, processes=2)
    assert {pid for pid, _ in answers} == {os.getpid()}
    assert sum(size for _, size in answers) == parallel.LEAST - 1


@given(st.integers(0, 500), st.integers(1, 9))
@settings(max_examples=60)
def test_parts_are_even(total, processes):
    """No part is empty, none is larger than another by more than one place."""
    sizes = [len(part) for part in parallel._parts(total, processes)]
    assert sum(sizes) == total
    assert not sizes or (min(sizes) >= 1 and max(sizes) - min(sizes) <= 1)


@forks
def test_an_error_arrives_as_it_was(always):
    """With what, where and the value, and the next call works."""

    def fails(places: range) -> None:
        raise DataError("no such thing", where="here", got=places.start)

    with pytest.raises(DataError, match="no such thing") as caught:
        in_parts(fails, 100, processes=2)
    assert caught.value.where == "here"
    assert len(in_parts(len, 100, processes=2)) == 16


@forks
def test_a_killed_process_is_said(always):
    """Memory that ran out ends in a sentence, not in a wait without end."""

    def dies(places: range) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(DataError, match="ended from outside"):
        in_parts(dies, 100, processes=2)


@forks
def test_a_contest_does_not_depend_on_the_number_of_processes(always, monkeypatch):
    """Every list of every recipe on both tasks is the same."""
    from serving.recipe import Recipe
    from tests.test_training.test_evaluate import CUT, HISTORIES, SOURCES, TRUTH, WINDOW
    from training.contest import Arena, contest, voices_of
    from training.evaluate import TASKS
    from training.fitting import fit_bundle

    recipe = Recipe("mixed", SOURCES, {"personal-frequency": 1.0, "cosine": 0.5}, {"cosine": 1.0})
    arena = Arena(fit_bundle(CUT, recipe), HISTORIES, WINDOW, TRUTH, {})
    found = []
    for processes in (1, 2, 3):
        monkeypatch.setattr(parallel, "_processors", lambda processes=processes: processes)
        found.append(contest(arena, {"mixed": voices_of(recipe)})["mixed"])
    for task in TASKS:
        alone = found[0].tasks[task].lists
        assert (alone >= 0).any()
        assert all(np.array_equal(alone, other.tasks[task].lists) for other in found[1:])
