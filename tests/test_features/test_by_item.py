"""Events in the order of their items: by the kernel, by numpy, and as whoever reads them expects."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import by_item as module
from features import confidence
from features.by_item import FEW, ITEM, QUANTITY, TIME, TYPE, VALUE, bits, bought_in, by_item
from features.compiled import available, switched
from features.history import History
from features.kinds import EventType
from serving.sources import kernels

EVENTS = st.lists(st.tuples(st.integers(-1, 6), st.sampled_from([*EventType]), st.floats(0, 9, width=32)), max_size=30)
NOW = 1_900_000_000_000_001
"""Microseconds of the year 2030, an odd number of them."""


def past(lines: list[tuple[int, EventType, float]]) -> History:
    """One event after the other, a microsecond between them; the value of every third is not known."""
    count = len(lines)
    time, items = NOW + np.arange(count), np.array([line[0] for line in lines], np.int32)
    quantity = np.array([line[2] for line in lines], np.float32)
    value = np.where(np.arange(count) % 3 == 0, np.nan, 2 * quantity).astype(np.float32)
    kinds = np.array([line[1] for line in lines], np.int8)
    return History(time, time, items, kinds, quantity, value, time.astype(np.uint64))


@given(EVENTS)
def test_what_is_about_an_item_stands_in_its_order(lines):
    """Of one item in the order of the history, nothing lost of any number; what is about no item is left out."""
    history = past(lines)
    found = by_item(history)
    kept = sorted((at for at in range(len(lines)) if lines[at][0] >= 0), key=lambda at: lines[at][0])
    assert found.events[:, ITEM].tolist() == [lines[at][0] for at in kept]
    assert found.events[:, TIME].astype(np.int64).tolist() == [NOW + at for at in kept]
    assert found.events[:, TYPE].tolist() == [lines[at][1] for at in kept]
    assert np.array_equal(found.events[:, QUANTITY].astype(np.float32), history.quantity[kept])
    assert np.array_equal(found.events[:, VALUE].astype(np.float32), history.value[kept], equal_nan=True)
    for kind in EventType:
        assert bool(found.types & bits((kind,))) == any(lines[at][1] is kind for at in kept)


@pytest.mark.skipif(not available(), reason="numba is not installed, or switched off")
@pytest.mark.parametrize("count", [0, 1, FEW - 1, FEW, FEW + 1, 5 * FEW])
def test_numpy_says_the_same_of_few_and_of_many(count):
    random = np.random.default_rng(count)
    history = past([(int(random.integers(-1, 40)), EventType(random.integers(25)), 1.0) for _ in range(count)])
    found = by_item(history)
    with switched(False):
        plain = by_item(history)
    assert np.array_equal(found.events, plain.events, equal_nan=True)
    assert found.types == plain.types


@given(EVENTS, st.lists(st.integers(0, 8), unique=True, max_size=6))
def test_how_often_and_when_last_an_item_was_bought(lines, asked):
    """By going through all, by the kernel, by numpy."""
    found = by_item(past(lines))
    when = [[NOW + at for at, line in enumerate(lines) if line[:2] == (item, EventType.PURCHASE)] for item in asked]
    wanted = [len(each) for each in when], [each[-1] if each else 0 for each in when]
    items = np.array(asked, np.int32)
    assert tuple(each.tolist() for each in bought_in(found, items)) == wanted
    with switched(False):
        assert tuple(each.tolist() for each in bought_in(found, items)) == wanted


def test_kernels_read_the_columns_that_are_written():
    """Their constants stand in their own files, so they are written down more than once."""
    for other in (kernels, confidence):
        for name in ("ITEM", "TIME", "TYPE", "QUANTITY"):
            assert getattr(other, name) == getattr(module, name)
    assert kernels.VALUE == VALUE
