"""Leaf masks come to the leaves that steps come to, for all trees, values and widths of word."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import BundleError
from serving import exits
from serving.exits import Exits
from tests.test_serving.grown import forest, stump


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 7, 8, 9, 20, 40, 64]), st.integers(1, 4),
    st.sampled_from([0, 1, 3, 1000]),
)  # fmt: skip
def test_the_same_as_steps(seed: int, leaves: int, count: int, asked: int) -> None:
    """On thresholds, between them, beyond them and missing; whatever share of the questions is left to ask."""
    rng = np.random.default_rng(seed)
    forests = [forest(rng, trees=int(rng.integers(1, 12)), leaves=leaves, columns=4) for _ in range(count)]
    with mock.patch.object(exits, "ASKED", asked):
        found = Exits(forests)
    rows = np.concatenate([rng.integers(-1, 8, (6, 4)), rng.integers(-1, 8, (6, 4)) + 0.5]).astype(np.float32)
    rows[rng.random(rows.shape) < 0.2] = np.nan
    for row in rows:
        assert found.predict(row) == pytest.approx([each.predict(row[None])[0] for each in forests], abs=1e-9)


def test_too_many_leaves_and_too_few_columns_are_refused() -> None:
    with pytest.raises(BundleError, match="too many leaves"):
        Exits([forest(np.random.default_rng(0), trees=1, leaves=65, columns=2)])
    with pytest.raises(BundleError, match="more columns"):
        Exits([stump(3, 0.0, 1.0, 2.0)]).predict(np.zeros(3, np.float32))
