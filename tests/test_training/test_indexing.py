"""An index is published where it finds what a full scan finds, and only there; by groups where that is enough."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from serving.sources import index as indexes
from training import indexing
from training.indexing import with_index

ITEMS, PLACES = 3_000, 16


@pytest.mark.parametrize(
    ("spread", "least", "groups"), [(0.3, 0.95, 49), (30.0, 0.95, 1), (30.0, 1.01, 0)],
    ids=["groups", "everywhere", "nowhere"],
)  # fmt: skip
def test_vectors_without_groups_are_all_looked_at(monkeypatch, spread: float, least: float, groups: int):
    """What lies in groups is found by its group, what points everywhere among all; what is not found has none."""
    monkeypatch.setattr(indexing, "LEAST_RECALL", least)
    monkeypatch.setattr(indexes, "LEAST_ITEMS", 1_000)
    monkeypatch.setattr(indexes, "LOOKED_AT", 3)
    random = np.random.default_rng(2)
    centres = random.normal(size=(50, PLACES))
    vectors = (centres[random.integers(50, size=ITEMS)] + spread * random.normal(size=(ITEMS, PLACES))).astype("f4")
    listed = random.random(ITEMS) < 0.8
    matrix = sp.random(200, int(listed.sum()), 0.002, "csr", random_state=3)
    arrays = {"item_factors": vectors, "gram": vectors.T @ vectors, "other": np.arange(3)}
    found = with_index(arrays, listed, matrix, 3.0, 30.0)
    assert len(found.get("index.centres", ())) == groups
    assert all(found[name] is array for name, array in arrays.items())


def test_a_small_catalogue_gets_none():
    """Nothing is grouped and nothing is looked for."""
    vectors = np.ones((9, 2), np.float32)
    arrays = {"item_factors": vectors, "gram": vectors.T @ vectors}
    assert with_index(arrays, np.ones(9, bool), sp.csr_matrix((3, 9)), 1.0, 1.0) is arrays
