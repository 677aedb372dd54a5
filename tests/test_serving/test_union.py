"""`serving.union`: a round over the lists, then another, of what the filters left; the kernel as in numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.compiled import available, switched
from serving.candidates import Candidates
from serving.union import foremost, shortened

needs_kernels = pytest.mark.skipif(not available(), reason="numba is not installed, or switched off")
LISTS = st.lists(st.lists(st.integers(0, 30), unique=True, max_size=12), max_size=5)


def rows(items: list[int]) -> np.ndarray:
    return np.array(items, np.int32)


def by_hand(lists: list[list[int]], left: set[int], most: int) -> list[int]:
    """Round by round, as the docstring says it."""
    queues = [[item for item in items if item in left] for items in lists]
    found: list[int] = []
    for turn in range(max(map(len, queues), default=0)):
        for items in queues:
            if turn < len(items) and items[turn] not in found and len(found) < most:
                found.append(items[turn])
    return sorted(found)


@pytest.mark.parametrize("kernels", [False, pytest.param(True, marks=needs_kernels)])
@given(lists=LISTS, gone=st.sets(st.integers(0, 30)), most=st.integers(0, 20))
def test_the_foremost_are_those_of_the_first_rounds(kernels, lists, gone, most):
    left = rows(sorted({item for items in lists for item in items} - gone))
    with switched(kernels):
        places = foremost([rows(items) for items in lists], left, most)
    assert places.dtype == np.intp
    assert left[places].tolist() == by_hand(lists, set(left.tolist()), most)
    assert len(places) == min(most, len(left))


@given(lists=LISTS, most=st.integers(0, 20))
def test_one_more_only_adds_one(lists, most):
    """So a longer list never loses what a shorter one had."""
    left = rows(sorted({item for items in lists for item in items}))
    given_lists = [rows(items) for items in lists]
    few, more = (set(foremost(given_lists, left, count).tolist()) for count in (most, most + 1))
    assert few <= more


@pytest.mark.parametrize("kernels", [False, pytest.param(True, marks=needs_kernels)])
def test_what_is_in_no_list_stays_behind(kernels):
    with switched(kernels):
        assert foremost([rows([7, 3])], rows([1, 3, 5, 7]), 3).tolist() == [1, 3]
        assert foremost([], rows([1, 3]), 1).tolist() == []


@given(
    table=st.lists(st.lists(st.none() | st.integers(0, 4), min_size=3, max_size=3), min_size=1, max_size=15),
    most=st.integers(1, 15),
)
def test_lists_are_those_of_the_scores(table, most):
    """Ties stand in the order of the items, as the sources give them; scores and opinions stay beside their items."""
    scores = np.array([[np.nan if each is None else each for each in line] for line in table], np.float32)
    items = np.arange(len(table), dtype=np.int32) * 2
    candidates = Candidates(items, ("a", "b", "c"), scores, scores + 1, (("stopped", rows([99])),))
    lists = [
        sorted(items[np.isfinite(column)].tolist(), key=lambda item, column=column: (-column[item // 2], item))
        for column in scores.T
    ]
    found = shortened(candidates, most)
    expected = items.tolist() if len(items) <= most else by_hand(lists, set(items.tolist()), most)
    assert found.items.tolist() == expected
    assert np.array_equal(found.scores, scores[found.items // 2], equal_nan=True)
    assert np.array_equal(found.opinions, found.scores + 1, equal_nan=True)
    assert found.removed == candidates.removed
    assert shortened(candidates, 0) is candidates
