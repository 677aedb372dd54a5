"""An index is published where it finds what a full scan finds, and only there; it looks at as few items as will do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from serving.recipe import USUAL
from serving.sources import index as indexes
from serving.sources.folding import folded_in
from serving.sources.index import LOOKED_AT, Index, indexed, recall, scanned
from training import indexing
from training.indexing import FEWER, LEAST_RECALL, SURE_RECALL, folded_sample, quickest, with_index

ITEMS, PLACES = 3_000, 16


def vectors_of(spread: float) -> np.ndarray:
    """Items around fifty centres."""
    random = np.random.default_rng(2)
    centres = random.normal(size=(50, PLACES))
    return (centres[random.integers(50, size=ITEMS)] + spread * random.normal(size=(ITEMS, PLACES))).astype("f4")


@pytest.mark.parametrize(
    ("spread", "least", "groups"), [(0.3, 0.95, 49), (30.0, 0.95, 1), (30.0, 1.01, 0)],
    ids=["groups", "everywhere", "nowhere"],
)  # fmt: skip
def test_vectors_without_groups_are_all_looked_at(monkeypatch, spread: float, least: float, groups: int):
    """What lies in groups is found by its group, what points everywhere among all; what is not found has none."""
    monkeypatch.setattr(indexing, "LEAST_RECALL", least)
    monkeypatch.setattr(indexing, "SURE_RECALL", least)
    monkeypatch.setattr(indexes, "LEAST_ITEMS", 1_000)
    monkeypatch.setattr(indexing, "JUDGED", 30)
    vectors, listed = vectors_of(spread), np.random.default_rng(3).random(ITEMS) < 0.8
    matrix = sp.random(200, int(listed.sum()), 0.002, "csr", random_state=3)
    arrays = {"item_factors": vectors, "gram": vectors.T @ vectors, "other": np.arange(3)}
    found = with_index(arrays, listed, matrix, 3.0, 30.0)
    assert len(found.get("index.centres", ())) == groups
    assert all(found[name] is array for name, array in arrays.items())
    index = Index.of(found, vectors)
    assert (index is not None) == bool(groups)
    assert index is None or index.looked_at < LOOKED_AT


@pytest.mark.parametrize(
    ("spread", "judged", "enough"), [(0.6, 50, 6), (0.6, 10, 16), (0.1, 10, LOOKED_AT), (1.2, 10, None)]
)
def test_it_looks_at_as_few_as_find_enough(monkeypatch, spread: float, judged: int, enough: int | None):
    """The first of the steps that does; the last where none is sure and it is enough; none where it is not."""
    monkeypatch.setattr(indexing, "JUDGED", judged)
    index = indexed(vectors_of(spread), np.ones(ITEMS, bool))
    subjects = index.vectors[:200]
    wanted, found = scanned(index, subjects, judged), quickest(index, subjects)
    shares = [recall(replace(index, looked_at=few, least=judged * few), subjects, wanted) for few in FEWER]
    assert (None if found is None else found.looked_at) == enough
    if enough in FEWER:
        assert [share >= SURE_RECALL for share in shares].index(True) == FEWER.index(enough)
        assert found is not None
        assert found.least == judged * enough
    else:
        assert max(shares) < SURE_RECALL
        assert (recall(index, subjects, wanted) >= LEAST_RECALL) == (found is index)


def test_who_has_nothing_is_not_asked():
    """Nothing points anywhere for them, and no request folds them in."""
    vectors, rows = np.eye(3, dtype=np.float32), np.array([1, 1, 4])
    matrix = sp.csr_matrix((np.ones(3, np.float32), (rows, np.array([0, 1, 2]))), (9, 3))
    found = folded_sample(vectors, matrix, np.float32(1), np.eye(3, dtype=np.float32))
    assert len(found) == 2
    assert np.abs(found).sum(axis=1).all()


def test_of_a_long_past_the_foremost_items_are_folded_in():
    """As a request does; ties go to the first."""
    count = USUAL.past + 20
    vectors = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
    weights = np.where(np.arange(count) % 10 == 0, 2, 1).astype(np.float32)
    foremost = np.sort(np.argsort(-weights, kind="stable")[: USUAL.past])
    gram = np.eye(3, dtype=np.float32)
    (found,) = folded_sample(vectors, sp.csr_matrix(weights[None]), np.float32(1), gram)
    np.testing.assert_allclose(found, folded_in(vectors[foremost], weights[foremost], gram), rtol=1e-4)


def test_where_nobody_has_anything_there_is_none(monkeypatch):
    """Nobody can be asked how good it is."""
    monkeypatch.setattr(indexes, "LEAST_ITEMS", 1_000)
    vectors = vectors_of(0.3)
    arrays = {"item_factors": vectors, "gram": vectors.T @ vectors}
    assert with_index(arrays, np.ones(ITEMS, bool), sp.csr_matrix((3, ITEMS)), 1.0, 1.0) is arrays


def test_a_small_catalogue_gets_none():
    """Nothing is grouped and nothing is looked for."""
    vectors = np.ones((9, 2), np.float32)
    arrays = {"item_factors": vectors, "gram": vectors.T @ vectors}
    assert with_index(arrays, np.ones(9, bool), sp.csr_matrix((3, 9)), 1.0, 1.0) is arrays
