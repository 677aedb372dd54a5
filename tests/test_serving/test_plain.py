"""Lists that training ordered, best first, are opinions of the same items in the same order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.compiled import switched
from serving.sources.plain import Listed, RankedLists


@given(st.lists(st.integers(0, 60), unique=True, max_size=20), st.integers(0, 5), st.integers(0, 25))
def test_a_list_is_an_opinion(listed, spare, count):
    """Its best are its beginning; each item has its score, and what is not on it has none; -1 is beyond its end."""
    items = np.array([[*listed, *[-1] * spare], [-1] * (len(listed) + spare)], np.int32)
    scores = -np.arange(items.size, dtype=np.float32).reshape(items.shape)
    lists = RankedLists(items, scores)
    opinion, empty = lists.opinion(0), lists.opinion(1)
    assert len(empty.items) == len(empty.best(3).items) == 0
    assert (opinion.items.dtype, opinion.scores.dtype) == (np.int32, np.float32)
    assert opinion.items.tolist() == sorted(listed)
    found = opinion.best(count)
    assert found.items.tolist() == listed[:count]
    assert found.scores.tolist() == [-place for place in range(len(listed))][:count]
    asked = np.arange(62, dtype=np.int32)
    told = np.empty((62, 2), np.float32)
    opinion.tell(asked, told, 0)
    with switched(False):
        opinion.tell(asked, told, 1)
    expected = [-listed.index(item) if item in listed else np.nan for item in asked.tolist()]
    assert np.array_equal(told[:, 0], np.array(expected, np.float32), equal_nan=True)
    assert np.array_equal(told[:, 1], told[:, 0], equal_nan=True)


@pytest.mark.parametrize("span, kept_by_item", [(40, True), (41, False)])
def test_a_list_of_most_items_is_kept_by_item(span, kept_by_item):
    """What is no number is no score; nothing is known beyond the last item, wherever it is kept."""
    items = np.array([[span - 1, *range(9)]], np.int32)
    scores = np.array([[9, np.inf, np.nan, *range(7)]], np.float32)
    opinion = RankedLists(items, scores).opinion(0)
    assert isinstance(opinion, Listed) == kept_by_item
    told = np.empty((4, 1), np.float32)
    opinion.tell(np.array([0, 2, span - 1, span + 7], np.int32), told, 0)
    assert np.array_equal(told[:, 0], np.array([np.nan, 0, 9, np.nan], np.float32), equal_nan=True)
    assert opinion.items.tolist() == [*range(9), span - 1]
