"""Long work rests between its steps where requests are beside it, and nowhere else."""

from __future__ import annotations

import threading

import pytest

from features import pace
from features.pace import LONGEST, REST, WORK, breathe, gently


class Clock:
    """Time of the processor that passes only when somebody works."""

    def __init__(self) -> None:
        self.now = 100.0
        self.rests: list[float] = []

    def thread_time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.rests.append(seconds)


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pace, "time", clock)
    return clock


def test_nobody_rests_who_was_not_asked_to(clock) -> None:
    clock.now += 1
    breathe()
    with gently():
        pass
    clock.now += 1
    breathe()
    assert clock.rests == []


def test_a_rest_is_as_long_as_the_work_before_it_asks_for(clock) -> None:
    with gently():
        clock.now += WORK / 2
        breathe()
        assert clock.rests == [], "too little was done"
        clock.now += WORK
        breathe()
        assert clock.rests == pytest.approx([REST * 1.5 * WORK])
        breathe()
        assert len(clock.rests) == 1, "nothing was done since"
        clock.now += 60
        breathe()
        assert clock.rests[1] == LONGEST


def test_something_is_done_before_each_rest_and_only_then(clock) -> None:
    told: list[float] = []
    with gently(lambda: told.append(clock.now)):
        breathe()
        assert told == []
        clock.now += WORK * 1.01
        at = clock.now
        breathe()
        assert told == [at]


def test_another_thread_goes_on_as_it_was(clock) -> None:
    """A request is never slowed by the swap beside it."""
    with gently():
        clock.now += 1
        other = threading.Thread(target=breathe)
        other.start()
        other.join()
        assert clock.rests == []
