"""The interaction matrix: every row is what the service folds in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from features.confidence import ConfidenceParams, preferences
from features.errors import DataError
from features.history import Histories, History
from features.ids import Vocabulary
from features.kinds import EventType
from features.moments import DAY
from training.interactions import binary, preference_matrix, trainable

NOW = 100 * DAY
ITEMS = 4


def histories_of(events: list[tuple[int, int, int, int, float]], subjects: int = 3) -> Histories:
    """(subject, day, item, type, quantity) -> Histories."""
    listed = sorted(events)
    history = History(
        time=np.array([e[1] * DAY for e in listed], np.int64),
        recorded=np.array([e[1] * DAY for e in listed], np.int64),
        item=np.array([e[2] for e in listed], np.int32),
        type=np.array([e[3] for e in listed], np.int8),
        quantity=np.array([e[4] for e in listed], np.float32),
        value=np.ones(len(listed), np.float32),
        key=np.arange(len(listed), dtype=np.uint64),
    )
    counts = np.bincount([e[0] for e in listed], minlength=subjects) if listed else np.zeros(subjects, int)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Histories(Vocabulary.of([f"c:{n}" for n in range(subjects)]), Vocabulary.of("abcd"), offsets, history)


EVENT = st.tuples(
    st.integers(0, 2),
    st.integers(0, 110),
    st.integers(-1, ITEMS - 1),
    st.sampled_from(
        [EventType.PURCHASE, EventType.RETURN, EventType.VIEW, EventType.WISHLIST, EventType.WISHLIST_REMOVE]
    ),
    st.sampled_from([1.0, 2.0, 12.0]),
)


@given(st.lists(EVENT, max_size=30))
def test_every_row_is_what_the_service_folds_in(events):
    """Bit for bit: training and serving weigh a history by one function."""
    histories, params = histories_of(events), ConfidenceParams()
    matrix = preference_matrix(histories, NOW, params)
    for row in range(len(histories)):
        items, weights = preferences(histories.at(row).as_of(NOW), NOW, params)
        mine = matrix[row]
        assert mine.indices.tolist() == items.tolist()
        np.testing.assert_array_equal(mine.data, weights)


def test_what_happens_at_the_moment_or_later_is_not_there():
    """Windows are half-open: an event of that very instant belongs to the future."""
    matrix = preference_matrix(histories_of([(0, 100, 0, EventType.PURCHASE, 1.0)]), NOW, ConfidenceParams())
    assert matrix.nnz == 0


def test_a_return_cancels_and_a_removed_wish_is_no_preference():
    """Neither leaves a trace, and nothing negative is stored."""
    events = [
        (0, 90, 0, EventType.PURCHASE, 1.0),
        (0, 90, 0, EventType.RETURN, 1.0),
        (0, 90, 1, EventType.WISHLIST, 1.0),
        (0, 91, 1, EventType.WISHLIST_REMOVE, 1.0),
        (1, 90, 2, EventType.RETURN, 1.0),
    ]
    assert preference_matrix(histories_of(events), NOW, ConfidenceParams()).nnz == 0


def test_what_is_old_weighs_less_and_a_purchase_more_than_a_view():
    """By half-life and by type."""
    events = [
        (0, 99, 0, EventType.PURCHASE, 1.0),
        (1, 39, 0, EventType.PURCHASE, 1.0),
        (2, 99, 0, EventType.VIEW, 1.0),
    ]
    fresh, old, seen = preference_matrix(histories_of(events), NOW, ConfidenceParams(half_life_days=60)).data
    assert fresh > old > seen > 0


def test_only_the_first_columns_on_request():
    """The catalogue comes first in a bundle's vocabulary; the rest is not learned from."""
    events = [(0, 90, 1, EventType.PURCHASE, 1.0), (0, 90, 3, EventType.PURCHASE, 1.0)]
    matrix = preference_matrix(histories_of(events), NOW, ConfidenceParams(), columns=2)
    assert matrix.shape == (3, 2)
    assert matrix.indices.tolist() == [1]


def test_rows_without_anything_are_not_learned_from():
    """They would only pull the factors to zero."""
    matrix = preference_matrix(histories_of([(1, 90, 2, EventType.PURCHASE, 1.0)]), NOW, ConfidenceParams())
    assert trainable(matrix).shape == (1, 4)


def test_nothing_to_learn_from_says_so():
    """One sentence, not a crash of a solver."""
    with pytest.raises(DataError, match="no interactions"):
        trainable(preference_matrix(histories_of([]), NOW, ConfidenceParams()))


def test_a_weight_that_is_not_finite_is_refused():
    """It would poison every factor."""
    matrix = sp.csr_matrix(np.array([[np.inf, 1.0]], np.float32))
    with pytest.raises(DataError, match="not finite"):
        trainable(matrix)


def test_binary_keeps_the_pattern_and_leaves_the_original_alone():
    """A copy with ones."""
    matrix = sp.csr_matrix(np.array([[0.5, 0.0], [2.0, 3.0]], np.float32))
    assert binary(matrix).toarray().tolist() == [[1, 0], [1, 1]]
    assert matrix.data.tolist() == [0.5, 2.0, 3.0]


def test_an_empty_shop_has_an_empty_matrix():
    """Without subjects or items there is nothing, and no error."""
    empty = replace(histories_of([], 0), items=Vocabulary.of([]))
    assert preference_matrix(empty, NOW, ConfidenceParams()).shape == (0, 0)
