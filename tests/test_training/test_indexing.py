"""Groups of an index are left by how far their items usually are: as few as were allowed are missed for it."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from features.compiled import available
from serving.recipe import USUAL
from serving.sources.folding import Fold, folded_in
from serving.sources.index import LANES, Index
from serving.sources.indexing import FOUND, JUDGED, indexed, usual_reach
from training import indexing
from training.indexing import SAMPLE, folded_sample, found_share, with_index
from training.interactions import Fitted

ITEMS, PLACES = 6_000, 16
needs_kernels = pytest.mark.skipif(not available(), reason="numba is not installed, or switched off")


def vectors_of(spread: float, items: int = ITEMS) -> np.ndarray:
    """Items around fifty centres, all of one length."""
    random = np.random.default_rng(2)
    centres = random.normal(size=(50, PLACES))
    found = centres[random.integers(50, size=items)] + spread * random.normal(size=(items, PLACES))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype("f4")


def subjects_of(count: int, seed: int = 5) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(count, PLACES))
    return (found * np.random.default_rng(seed + 1).uniform(0.1, 9, (count, 1))).astype("f4")


def group_of(index: Index) -> np.ndarray:
    """int64[n_items]: which group of an index holds each item."""
    groups, block = len(index.reach), np.repeat(np.arange(len(index.rest)), LANES)
    group = np.where(block < groups, block, np.searchsorted(index.starts, block, "right") - 1)
    found, there = np.full(len(index.vectors), -1), index.items >= 0
    found[index.items[there]] = group[there]
    return found


def share_in_groups_read(index: Index, subjects: np.ndarray, scale: float) -> float:
    """Of the best of all subjects: what lies in groups that can say as much as the last of them, if they reach so."""
    vectors, centres, group, hit = index.vectors.astype(float), index.axes[PLACES + 1 :], group_of(index), []
    for one in subjects.astype(float):
        products = vectors @ one
        least = np.sort(products)[-JUDGED]
        most = centres @ one + np.linalg.norm(one) * scale * index.reach
        hit += (most[group[products >= least]] >= least).tolist()
    return float(np.mean(hit))


@pytest.mark.parametrize("spread", [0.3, 1.0, 30.0])
def test_as_many_of_the_best_lie_in_groups_that_are_read_as_is_said(spread):
    """By a count of its own, and no group is thought to reach much farther than that takes."""
    vectors, subjects, listed = vectors_of(spread), subjects_of(60), np.ones(ITEMS, bool)
    index = indexed(vectors, listed, 20, asked=subjects)
    whole = indexed(vectors, listed, 20)
    assert (index.reach <= whole.reach).all()
    assert share_in_groups_read(index, subjects, 1.0) >= FOUND - 1e-4
    if (index.reach < whole.reach).all():
        assert share_in_groups_read(index, subjects, 0.98) < FOUND
    else:
        assert spread == 0.3


@needs_kernels
@pytest.mark.parametrize("count", [20, 100, 400])
def test_others_find_nearly_as_much(count):
    """Who was not asked, and who asks for fewer or more, misses two in a hundred at most."""
    vectors = vectors_of(1.0)
    index = indexed(vectors, np.ones(ITEMS, bool), 20, asked=subjects_of(400))
    shares = []
    for one in subjects_of(200, seed=77):
        products = vectors @ one
        best = np.flatnonzero(products >= np.sort(products)[-count])
        shares.append(np.isin(best, index.near(one, count).items).mean())
    assert np.mean(shares) >= 0.98


def test_vectors_that_are_all_alike_and_subjects_that_are_nothing_make_no_trouble():
    vectors, group = np.ones((200, 3), np.float32), np.zeros(200, np.intp)
    found = usual_reach(vectors, np.ones((1, 3), np.float32), group, np.zeros((4, 3), np.float32))
    assert found.tolist() == [0.0]


def fitted_of(vectors: np.ndarray) -> Fitted:
    return Fitted({"item_factors": vectors, "gram": vectors.T @ vectors, "other": np.arange(3)}, {"loss": 0.5}, 3.0)


def test_beside_what_was_fitted_stands_an_index_and_what_it_finds():
    """What is told was found by subjects whom its groups were not fitted to."""
    vectors, listed = vectors_of(1.0), np.random.default_rng(3).random(ITEMS) < 0.8
    matrix = sp.random(300, int(listed.sum()), 0.002, "csr", random_state=3)
    fitted = fitted_of(vectors)
    found = with_index(fitted, listed, matrix, 3.0, 30.0)
    assert all(found.arrays[name] is array for name, array in fitted.arrays.items())
    index = Index.of(found.arrays, vectors)
    assert index is not None
    gram = (vectors.T @ vectors + 30 * np.eye(PLACES)).astype(np.float32)
    subjects = folded_sample(Fold(vectors[listed], gram, 3.0), matrix)
    assert found.figures == {"loss": 0.5, "index_found": found_share(index, subjects[1::2])}
    assert 0.98 < found.figures["index_found"] <= 1
    assert found.seconds == fitted.seconds
    np.testing.assert_array_equal(index.reach, indexed(vectors, listed, len(index.reach), asked=subjects[::2]).reach)


def test_where_nobody_can_be_asked_nothing_is_missed():
    vectors, listed = vectors_of(1.0), np.ones(ITEMS, bool)
    found = with_index(fitted_of(vectors), listed, sp.csr_matrix((3, ITEMS)), 1.0, 1.0)
    np.testing.assert_array_equal(
        found.arrays["index.reach"], indexed(vectors, listed, len(found.arrays["index.reach"])).reach
    )
    assert np.isnan(found.figures["index_found"])


def test_a_small_catalogue_gets_none():
    fitted = fitted_of(np.ones((9, 2), np.float32))
    assert with_index(fitted, np.ones(9, bool), sp.csr_matrix((3, 9)), 1.0, 1.0) is fitted


def test_the_share_that_is_found_is_counted_by_subject():
    """One misses all that lies in groups left out, another nothing."""
    vectors = np.repeat(np.eye(2, dtype=np.float32), 300, axis=0)
    listed = np.ones(600, bool)
    index = indexed(vectors, listed, 2)
    assert found_share(index, np.eye(2, dtype=np.float32)) == 1.0
    assert np.isnan(found_share(index, np.empty((0, 2), np.float32)))
    if available():
        first = int(np.argmax(index.axes[3:] @ np.eye(2)[0]))
        index.axes[3 + first] = -1  # its centre says that nothing of it is near
        index.reach[:] = 0
        assert found_share(index, np.array([[1, 0], [0, 1]], np.float32)) == pytest.approx(0.5, abs=0.17)


def test_who_has_nothing_is_not_asked():
    """Nothing points anywhere for them, and no request folds them in."""
    vectors, rows = np.eye(3, dtype=np.float32), np.array([1, 1, 4])
    matrix = sp.csr_matrix((np.ones(3, np.float32), (rows, np.array([0, 1, 2]))), (9, 3))
    found = folded_sample(Fold(vectors, np.eye(3, dtype=np.float32), 1.0), matrix)
    assert len(found) == 2
    assert np.abs(found).sum(axis=1).all()


def test_no_more_are_asked_than_are_needed(monkeypatch):
    monkeypatch.setattr(indexing, "SAMPLE", 7)
    matrix = sp.identity(40, format="csr", dtype=np.float32)
    assert SAMPLE > 7
    assert len(folded_sample(Fold(np.ones((40, 2), np.float32), np.eye(2, dtype=np.float32), 1.0), matrix)) == 7


def test_of_a_long_past_the_foremost_items_are_folded_in():
    """As a request does; ties go to the first."""
    count = USUAL.past + 20
    vectors = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
    weights = np.where(np.arange(count) % 10 == 0, 2, 1).astype(np.float32)
    foremost = np.sort(np.argsort(-weights, kind="stable")[: USUAL.past])
    gram = np.eye(3, dtype=np.float32)
    (found,) = folded_sample(Fold(vectors, gram, 1.0), sp.csr_matrix(weights[None]))
    np.testing.assert_allclose(found, folded_in(vectors[foremost], weights[foremost], gram), rtol=1e-4)
