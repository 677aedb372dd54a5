"""The compiled rows against the same in numpy: for any events, items and shops, to the last place of a single."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.assemble import CODED, FEATURE_NAMES, SHARED_NAMES, SharedTables, assemble
from features.compiled import available, switched
from features.history import History
from features.kinds import EventType as E
from features.moments import DAY

pytestmark = pytest.mark.skipif(not available(), reason="numba is not installed, or switched off")
NOW, N_ITEMS = 20_000 * DAY, 9
KINDS = [E.PURCHASE, E.PURCHASE, E.RETURN, E.VIEW, E.CLICK, E.CART, E.WISHLIST, E.WISHLIST_REMOVE, E.SEARCH, E.OTHER]
events = st.lists(
    st.tuples(
        st.integers(1, 900 * 24).map(lambda hours: NOW - hours * (DAY // 24)),
        st.integers(-1, N_ITEMS - 1),
        st.sampled_from(KINDS),
        st.sampled_from([0.0, 1.0, 2.5]),
        st.sampled_from([float("nan"), 0.0, 3.0, 17.25]),
    ),
    max_size=60,
)


def history(rows) -> History:
    ordered = sorted(rows, key=lambda row: row[0])
    kinds = (np.int64, np.int32, np.int8, np.float32, np.float32)
    time, item, kind, quantity, value = (
        np.array([row[at] for row in ordered], dtype) for at, dtype in enumerate(kinds)
    )
    return History(time, time.copy(), item, kind, quantity, value, np.arange(len(ordered), dtype=np.uint64))


def shop(seed: int) -> SharedTables:
    random = np.random.default_rng(seed)
    tables = {name: (random.random(N_ITEMS) * 50).astype(np.float32) for name in SHARED_NAMES}
    for name in ("repeat_share", "gap_days", "price", "age_days"):
        tables[name][random.random(N_ITEMS) < 0.3] = np.nan
    return SharedTables(**(tables | {name: random.integers(-1, 4, N_ITEMS).astype(np.int32) for name in CODED}))


def both(past: History, items: np.ndarray, shared: SharedTables) -> tuple[np.ndarray, np.ndarray]:
    compiled = assemble(past, items, shared, NOW - 3 * DAY, NOW)
    with switched(False):
        return compiled, assemble(past, items, shared, NOW - 3 * DAY, NOW)


@given(events, st.integers(0, 50), st.permutations(range(N_ITEMS)), st.integers(0, N_ITEMS))
def test_the_kernel_equals_numpy(rows, seed, order, count):
    """Column by column, in any order of the items, none of them included."""
    compiled, plain = both(history(rows), np.array(order[:count], np.int32), shop(seed))
    for column, name in enumerate(FEATURE_NAMES):
        np.testing.assert_allclose(compiled[:, column], plain[:, column], rtol=3e-7, atol=1e-9, err_msg=name)


def test_nothing_of_one_request_is_left_for_the_next():
    """The tables that are kept between requests are clean: an empty history gives what it gives a new thread."""
    full = history([(NOW - n * DAY, n % N_ITEMS, KINDS[n % len(KINDS)], 1.0, 5.0) for n in range(1, 80)])
    items, shared = np.arange(N_ITEMS, dtype=np.int32), shop(1)
    both(full, items, shared)
    after = assemble(History.empty(), items, shared, NOW, NOW)
    fresh: list[np.ndarray] = []
    thread = threading.Thread(target=lambda: fresh.append(assemble(History.empty(), items, shared, NOW, NOW)))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(after, fresh[0])
