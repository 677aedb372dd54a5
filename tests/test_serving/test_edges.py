"""Neighbours beside their weights: nothing is lost on the way, and bundles of before are read."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.sources.edges import edges_of, with_edges


@given(st.lists(st.tuples(st.integers(0, 2**31 - 1), st.floats(width=32)), max_size=40))
def test_each_neighbour_keeps_its_weight(pairs):
    """To the bit, whatever it is."""
    indices = np.array([neighbour for neighbour, _ in pairs], np.int32)
    weights = np.array([weight for _, weight in pairs], np.float32)
    arrays = {"indptr": np.arange(3), "indices": indices, "weights": weights}
    found = with_edges(arrays)
    assert found.keys() == {"indptr", "edges"}
    assert found["edges"].shape == (len(pairs), 2)
    assert found["edges"][:, 0].tolist() == indices.tolist()
    assert found["edges"][:, 1].tolist() == weights.view(np.int32).tolist()
    assert edges_of(found) is found["edges"], "what is mapped is not copied"
    assert (edges_of(arrays) == found["edges"]).all(), "of a bundle of before"


def test_what_has_no_neighbours_stays_as_it_is():
    arrays = {"item_factors": np.ones((2, 3))}
    assert with_edges(arrays) == arrays
