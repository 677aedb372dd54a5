"""Histories: every vectorised step equals a loop over events that a reader can check."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.history import DTYPES, FIELDS, Histories, History, customer_subject, visitor_subject
from features.ids import Vocabulary

Event = tuple[int, int, int, int, float, float, int]  # in the order of FIELDS
ITEMS = 5


def history_of(events: list[Event]) -> History:
    """Arrays in the order of (time, key), as every build gives them."""
    ordered = sorted(events, key=lambda event: (event[0], event[-1]))
    columns = zip(*ordered, strict=True) if ordered else ([] for _ in FIELDS)
    return History(*(np.array(column, DTYPES[name]) for name, column in zip(FIELDS, columns, strict=True)))


def events_of(history: History) -> list[Event]:
    """Arrays as a list of tuples."""
    return list(zip(*(getattr(history, name).tolist() for name in FIELDS), strict=True))


EVENTS: st.SearchStrategy[Event] = st.tuples(
    st.integers(0, 20), st.integers(0, 30), st.integers(-1, ITEMS - 1), st.integers(0, 24),
    st.floats(0, 9, width=32), st.floats(0, 99, width=32), st.integers(0, 2**64 - 1),
)  # fmt: skip
HISTORIES = st.lists(EVENTS, max_size=25, unique_by=lambda event: event[-1])


@given(HISTORIES, st.integers(-1, 32))
def test_as_of_knows_the_past_only(events: list[Event], now: int) -> None:
    """Kept is what occurred before `now` and was recorded by `now`, nothing else, in the same order."""
    history = history_of(events)
    expected = [event for event in events_of(history) if event[0] < now and event[1] <= now]
    assert events_of(history.as_of(now)) == expected


@given(HISTORIES, HISTORIES)
def test_joined_keeps_each_event_once_in_order(earlier: list[Event], later: list[Event]) -> None:
    """An event of both stands once, as the earlier history has it; order is time, then key."""
    known = {event[-1] for event in earlier}
    union = earlier + [event for event in later if event[-1] not in known]
    expected = sorted(union, key=lambda event: (event[0], event[-1]))
    assert events_of(history_of(earlier).joined(history_of(later))) == expected


@given(HISTORIES)
def test_joining_again_changes_nothing(events: list[Event]) -> None:
    """Joining a history with itself, or with nothing, gives it back."""
    history = history_of(events)
    for other in (history, History.empty()):
        assert events_of(history.joined(other)) == events_of(history)
        assert events_of(other.joined(history)) == events_of(history)


@given(HISTORIES, st.lists(st.integers(-1, 7), min_size=ITEMS, max_size=ITEMS))
def test_with_items_translates_known_items_only(events: list[Event], translation: list[int]) -> None:
    """Each item row moves to its new row; events without an item stay without one (never the last row)."""
    history = history_of(events)
    moved = history.with_items(np.array(translation, np.int32))
    assert moved.item.tolist() == [translation[item] if item >= 0 else -1 for item in history.item.tolist()]
    assert moved.time is history.time


@given(HISTORIES, st.sets(st.integers(0, 24), max_size=4))
def test_of_types(events: list[Event], types: set[int]) -> None:
    """Only the asked types remain."""
    history = history_of(events)
    assert events_of(history.of_types(*types)) == [event for event in events_of(history) if event[3] in types]


def test_types_of_the_arrays() -> None:
    """Columns have the declared types, also when there is nothing in them and after a join."""
    event: Event = (1, 1, 0, 7, 1.0, 2.0, 3)
    for history in (History.empty(), history_of([event]), History.empty().joined(history_of([event]))):
        assert {name: getattr(history, name).dtype.type for name in FIELDS} == dict(DTYPES)


def many(by_subject: dict[str, list[Event]]) -> Histories:
    """Histories of several subjects, sorted by id."""
    names = sorted(by_subject)
    pieces = [history_of(by_subject[name]) for name in names] or [History.empty()]
    events = History(*(np.concatenate([getattr(piece, name) for piece in pieces]) for name in FIELDS))
    offsets = np.cumsum([0, *(len(by_subject[name]) for name in names)], dtype=np.int64)
    items = Vocabulary.of(f"item {n}" for n in range(ITEMS))
    return Histories(Vocabulary.of(names), items, offsets, events)


SUBJECTS = st.dictionaries(st.sampled_from(["c:ann", "c:bob", "v:1", "v:2", "c:華"]), HISTORIES, max_size=5)


@given(SUBJECTS)
def test_each_subject_has_its_own_events(by_subject: dict[str, list[Event]]) -> None:
    """`of` gives one subject's events and no other's; `subject_rows` names the owner of each."""
    histories = many(by_subject)
    for row, name in enumerate(sorted(by_subject)):
        assert events_of(histories.of(name)) == events_of(history_of(by_subject[name]))
        assert (histories.subject_rows() == row).sum() == len(by_subject[name])
    assert len(histories.of("c:nobody")) == 0


@given(SUBJECTS, st.integers(-1, 32))
def test_as_of_of_all_is_as_of_of_each(by_subject: dict[str, list[Event]], now: int) -> None:
    """Cutting all histories at once equals cutting them one by one; subjects keep their rows."""
    histories = many(by_subject)
    cut = histories.as_of(now)
    assert list(cut.subjects) == list(histories.subjects)
    for row in range(len(histories)):
        assert events_of(cut.at(row)) == events_of(histories.at(row).as_of(now))


@given(SUBJECTS)
def test_arrays_round_trip(by_subject: dict[str, list[Event]]) -> None:
    """Saved and read again, every subject and item is as before."""
    histories = many(by_subject)
    again = Histories.from_arrays(histories.arrays())
    assert list(again.subjects) == list(histories.subjects)
    assert list(again.items) == list(histories.items)
    assert events_of(again.events) == events_of(histories.events)
    assert again.offsets.tolist() == histories.offsets.tolist()


def test_customers_and_visitors_never_share_a_subject() -> None:
    """A visitor whose id equals a customer's is somebody else."""
    assert customer_subject("1") != visitor_subject("1")
    assert customer_subject("v:1") != visitor_subject("1")


SERVED = ("features.history", "features.ids", "features.moments", "features.text", "features.errors", "features.shop")
HEAVY = ("pandas", "duckdb", "ibis", "pyarrow", "sklearn", "scipy", "matplotlib")


@pytest.mark.parametrize("module", SERVED)
def test_what_serves_imports_nothing_heavy(module: str) -> None:
    """A serving worker pays for numpy at most: importing this module alone loads no table library."""
    code = f"import sys, {module}; print(*sorted(set(sys.modules) & set({HEAVY!r})))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.split() == []


def test_histories_hold_no_python_objects() -> None:
    """Everything saved is a flat array of numbers or bytes, which can be mapped and read without pickle."""
    arrays: dict[str, Any] = many({"c:ann": [(1, 1, 0, 7, 1.0, 2.0, 3)]}).arrays()
    assert all(array.dtype.kind in "iuf" and array.ndim == 1 for array in arrays.values())
