"""`serving.union`: a round over the sources' lists, then another, until there are enough; the kernel as in numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.compiled import available, switched
from serving.candidates import Candidates
from serving.scoring import ranks_of
from serving.union import foremost, shortened

BOTH = pytest.mark.parametrize("kernels", [
    False, pytest.param(True, marks=pytest.mark.skipif(not available(), reason="numba is missing, or switched off")),
])  # fmt: skip
NAN = np.nan


@st.composite
def tables(draw: st.DrawFn) -> np.ndarray:
    """Scores of a few sources, with ties and holes; some rows that nobody proposes."""
    shape = draw(st.integers(0, 20)), draw(st.integers(1, 4))
    cells = draw(st.lists(st.none() | st.integers(-2, 3), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]))
    return np.array([NAN if each is None else each for each in cells], np.float32).reshape(shape)


def by_hand(scores: np.ndarray, most: int) -> np.ndarray:
    """Round by round, as the module says it."""
    lists = [
        sorted((row for row in range(len(scores)) if np.isfinite(scores[row, source])),
               key=lambda row, source=source: (-scores[row, source], row))
        for source in range(scores.shape[1])
    ]  # fmt: skip
    found, heard = set(), np.full_like(scores, NAN)
    for turn in range(len(scores)):
        for source, rows in enumerate(lists):
            if turn < len(rows):
                if len(found | {rows[turn]}) > most:
                    return heard
                found.add(rows[turn])
                heard[rows[turn], source] = scores[rows[turn], source]
    return heard


@given(scores=tables(), most=st.integers(0, 25))
def test_the_foremost_are_those_of_the_first_rounds(scores, most):
    found = foremost(scores, most)
    assert found.dtype == np.float32
    assert np.array_equal(found, by_hand(scores, most), equal_nan=True)
    proposed = int(np.isfinite(scores).any(axis=1).sum())
    assert np.isfinite(found).any(axis=1).sum() == min(most, proposed)


@given(scores=tables(), most=st.integers(0, 25))
def test_more_never_lose_what_fewer_had(scores, most):
    few, more = (np.isfinite(foremost(scores, count)) for count in (most, most + 1))
    assert not (few & ~more).any()


def test_each_source_has_its_turn():
    """The second source's first comes before the first one's second; what both list takes one place."""
    scores = np.array([[9, NAN], [8, NAN], [7, 5], [NAN, 6], [NAN, NAN]], np.float32)
    assert np.isfinite(foremost(scores, 2)).tolist() == [[1, 0], [0, 0], [0, 0], [0, 1], [0, 0]]
    assert np.isfinite(foremost(scores, 3)).tolist() == [[1, 0], [1, 0], [0, 0], [0, 1], [0, 0]]
    assert np.array_equal(foremost(scores, 4), scores, equal_nan=True)


@BOTH
@given(scores=tables(), most=st.integers(1, 25))
def test_all_that_is_said_of_a_candidate_stays_beside_it(kernels, scores, most):
    items = np.arange(len(scores), dtype=np.int32) * 2
    names = tuple("abcd"[: scores.shape[1]])
    candidates = Candidates(items, names, scores, np.nan_to_num(scores) + 1, (("stopped", np.array([99], np.int32)),))
    with switched(kernels):
        found = shortened(candidates, most)
    heard = scores if len(scores) <= most else foremost(scores, most)
    kept = np.ones(len(scores), bool) if len(scores) <= most else np.isfinite(heard).any(axis=1)
    assert found.items.tolist() == items[kept].tolist()
    assert np.array_equal(found.scores, heard[kept], equal_nan=True)
    assert np.array_equal(found.opinions, candidates.opinions[kept])
    assert (found.sources, found.removed) == (candidates.sources, candidates.removed)
    if found.ranks is not None:
        assert np.array_equal(found.ranks, ranks_of(found.scores), equal_nan=True)
    assert (found.ranks is not None) == (kernels and len(scores) > most)
    assert shortened(candidates, 0) is candidates
