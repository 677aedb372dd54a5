"""The limiters: never more than was allowed in any window, waits that are true, and a memory that is bounded."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import limits
from serving.limits import Buckets, Throttle, TooManyError, network

STEPS = st.lists(st.floats(0, 3, allow_nan=False, width=32), min_size=1, max_size=80)
"""Seconds between one attempt and the next."""
RATES = st.floats(0.1, 50, allow_nan=False)
BURSTS = st.integers(0, 20)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def passed(steps, rate: float, burst: int) -> tuple[list[float], list[tuple[float, TooManyError]]]:
    """When a client that tries at these steps got through, and when and how it was refused."""
    clock, through, refused = Clock(), [], []
    buckets = Buckets(clock)
    for step in steps:
        clock.now += step
        try:
            buckets.take("key", rate, burst)
        except TooManyError as error:
            refused.append((clock.now, error))
        else:
            through.append(clock.now)
    return through, refused


@given(STEPS, RATES, BURSTS)
def test_no_window_lets_more_through_than_the_burst_and_the_rate(steps, rate, burst):
    through, _ = passed(steps, rate, burst)
    at_once = burst or max(1.0, rate)
    for first in range(len(through)):
        for last in range(first, len(through)):
            seconds = through[last] - through[first]
            assert last - first + 1 <= at_once + seconds * rate + 1e-6


@given(STEPS, RATES, BURSTS)
def test_a_client_within_its_rate_is_never_refused(steps, rate, burst):
    """Whoever waits at least 1/rate between requests gets through, whatever the burst."""
    _, refused = passed([step + 1 / rate + 1e-9 for step in steps], rate, max(burst, 1))
    assert refused == []


@given(STEPS, RATES, BURSTS)
def test_who_waits_as_long_as_told_gets_through(steps, rate, burst):
    clock = Clock()
    buckets = Buckets(clock)
    for step in steps:
        clock.now += step
        try:
            buckets.take("key", rate, burst)
        except TooManyError as error:
            clock.now += error.retry_after
            buckets.take("key", rate, burst)


@given(STEPS, RATES, BURSTS)
def test_a_refusal_costs_nothing_and_a_burst_is_there_at_first(steps, rate, burst):
    """The first ones pass, and hammering does not lengthen the wait."""
    at_once = int(burst or max(1.0, rate))
    through, _ = passed([0.0] * at_once, rate, burst)
    assert len(through) == at_once
    hammered, _ = passed([0.0] * (at_once + 50) + [1 / rate + 1e-6], rate, burst)
    assert len(hammered) == at_once + 1


def test_keys_do_not_share_a_bucket():
    buckets = Buckets(Clock())
    buckets.take("one", 1, 1)
    buckets.take("two", 1, 1)
    with pytest.raises(TooManyError):
        buckets.take("one", 1, 1)


def test_a_clock_that_stands_or_steps_back_gives_nothing_away():
    clock = Clock()
    buckets = Buckets(clock)
    buckets.take("key", 1, 2)
    clock.now -= 500
    buckets.take("key", 1, 2)
    for _ in range(3):
        with pytest.raises(TooManyError) as refused:
            buckets.take("key", 1, 2)
        assert refused.value.retry_after == 1
    clock.now += 2.5
    buckets.take("key", 1, 2)


def test_the_memory_of_buckets_and_addresses_is_bounded(monkeypatch):
    monkeypatch.setattr(limits, "MOST", 50)
    buckets, throttle = Buckets(Clock()), Throttle(Clock(), most=1)
    for number in range(200):
        buckets.take(number, 1, 1)
        throttle.failed(f"192.0.2.{number}")
    assert len(buckets._left) == len(throttle._wrong) == 50
    with pytest.raises(TooManyError):
        buckets.take(199, 1, 1)
    assert throttle.blocked("192.0.2.199")


@given(st.lists(st.tuples(st.floats(0, 30, width=32), st.booleans()), max_size=60), st.integers(1, 6))
def test_no_window_has_more_wrong_keys_than_allowed(tries, most):
    """Attempts that pass `check` and then fail: never more than `most` in any `seconds`."""
    clock, wrong = Clock(), []
    throttle = Throttle(clock, most=most, seconds=60)
    for step, fails in tries:
        clock.now += step
        try:
            throttle.check("192.0.2.1")
        except TooManyError as error:
            assert wrong[-most] + 60 - clock.now <= error.retry_after <= 60
        else:
            if fails:
                throttle.failed("192.0.2.1")
                wrong.append(clock.now)
    for first in wrong:
        assert sum(first <= at < first + 60 - 1e-9 for at in wrong) <= most


def test_a_wait_is_told_in_whole_seconds_and_never_zero():
    for wait, told in ((0.0, 1), (0.2, 1), (1.0, 1), (1.01, 2), (59.5, 60)):
        assert TooManyError("too many", where="key", wait=wait).retry_after == told == max(1, math.ceil(wait))


def test_one_household_of_version_6_is_one_address():
    """A /64 is what one person gets: addresses inside it are not new people."""
    throttle = Throttle(Clock(), most=2)
    throttle.failed("2001:db8:1:2::1")
    throttle.failed("2001:db8:1:2:ffff::9")
    assert throttle.blocked("2001:db8:1:2:abcd::")
    assert not throttle.blocked("2001:db8:1:3::1")
    assert network("fe80::1%eth0") == "fe80::"
    assert network("::ffff:x:y") == "::ffff:x:y"
    assert network("::ffff:192.0.2.1") == "192.0.2.1", "a socket of version 6 brings those of version 4 so"
