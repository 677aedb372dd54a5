"""What a query remembers of the history that it is about."""

from __future__ import annotations

from msgspec.structs import replace

from features.history import History
from serving.query import Query

NOW = 1_000_000


def counting():
    """A function that tells how often it was called, for itself and for each argument."""
    calls = []

    def read(*given: object) -> tuple[object, ...]:
        calls.append(given)
        return given

    return read, calls


def test_what_was_read_once_is_not_read_again():
    """Also by a query that was made from this one and asks for something else of the same past."""
    read, calls = counting()
    query = Query(NOW, History.empty())
    assert query.once("what", read, 1) == (1,)
    assert query.once("what", read, 2) == (1,)
    assert replace(query, num_results=3).once("what", read, 3) == (1,)
    assert query.once("other", read, 4) == (4,)
    assert calls == [(1,), (4,)]


def test_nothing_found_is_remembered_too():
    calls = []
    query = Query(NOW, History.empty())
    for _ in range(2):
        assert query.once("what", calls.append, 1) is None
    assert calls == [1]


def test_another_past_and_another_moment_are_read_for_themselves():
    """And the first is still known when it is asked for again, in whatever order they come."""
    read, calls = counting()
    query = Query(NOW, History.empty())
    several = [query, replace(query, now=NOW + 1), replace(query, history=History.empty())]
    for _ in range(2):
        assert [each.once("what", read, at) for at, each in enumerate(several)] == [(0,), (1,), (2,)]
    assert calls == [(0,), (1,), (2,)]


def test_two_queries_share_nothing():
    read, calls = counting()
    history = History.empty()
    for at in range(2):
        assert Query(NOW, history).once("what", read, at) == (at,)
    assert len(calls) == 2
