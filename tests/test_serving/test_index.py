"""The index over item vectors: what it finds of what a full scan finds, and who has one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.compiled import available, switched
from serving.candidates import best
from serving.sources.index import LEAST_ITEMS, Index, index_arrays, indexed, recall
from serving.sources.vector_kernels import search

GROUPS, ITEMS, PLACES = 60, 6_000, 16


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """Items in groups, as a shop's are, of very different lengths."""
    random = np.random.default_rng(4)
    centres = random.normal(size=(GROUPS, PLACES))
    found = centres[random.integers(GROUPS, size=ITEMS)] + 0.5 * random.normal(size=(ITEMS, PLACES))
    return (found * random.gamma(2, 0.5, (ITEMS, 1))).astype(np.float32)


@pytest.fixture(scope="module")
def listed() -> np.ndarray:
    return np.random.default_rng(5).random(ITEMS) < 0.9


@pytest.fixture(scope="module")
def index(vectors: np.ndarray, listed: np.ndarray) -> Index:
    return indexed(vectors, listed)


def test_it_holds_every_listed_item_once_beside_its_code(index: Index, vectors: np.ndarray, listed: np.ndarray):
    """Each number is off by half of what its vector's largest is divided into."""
    assert sorted(index.items.tolist()) == np.flatnonzero(listed).tolist()
    off = np.abs(index.codes * index.scales[:, None] - vectors[index.items]).max(axis=1)
    assert (off <= 0.501 * index.scales).all()
    np.testing.assert_allclose(127 * index.scales, np.abs(vectors[index.items]).max(axis=1), rtol=1e-5)
    assert index.starts[0] == 0
    assert index.starts[-1] == len(index.items)


def test_it_finds_nearly_all_that_a_full_scan_finds(index: Index, vectors: np.ndarray):
    """Customers whose taste is a mix of a few items: 95 % of the 20 best at a sixth of the work."""
    random = np.random.default_rng(6)
    subjects = np.stack([vectors[random.integers(ITEMS, size=3)].sum(axis=0) for _ in range(50)])
    assert recall(index, vectors, subjects, 20) > 0.95


def test_what_it_finds_is_exact(index: Index, vectors: np.ndarray):
    """Scores are inner products, best first; with all groups looked at it is the full scan."""
    vector = vectors[7]
    found = index.best(vector, 50)
    np.testing.assert_allclose(found.scores, vectors[found.items] @ vector, rtol=1e-5)
    assert (np.diff(found.scores) <= 0).all()
    assert recall(index, vectors, vectors[:5], len(index.items)) == 1


@pytest.mark.skipif(not available(), reason="numba is not installed, or switched off")
def test_the_kernel_finds_the_same(index: Index, vectors: np.ndarray):
    for vector in vectors[:20]:
        found = index.best(vector, 30)
        with switched(False):
            assert found.items.tolist() == index.best(vector, 30).items.tolist()


def test_it_is_read_back_as_it_was_written(index: Index, vectors: np.ndarray):
    again = Index.of(index.arrays(), vectors)
    assert again is not None
    assert again.best(vectors[3], 10).items.tolist() == index.best(vectors[3], 10).items.tolist()
    assert Index.of({"item_factors": vectors}, vectors) is None


def test_a_bundle_without_codes_is_read(index: Index, vectors: np.ndarray):
    """As they were written before: the whole vectors stood where the codes stand now."""
    before = {name: array for name, array in index.arrays().items() if name not in ("index.codes", "index.scales")}
    again = Index.of({**before, "index.vectors": vectors[index.items]}, vectors)
    assert again is not None
    assert again.best(vectors[3], 10).items.tolist() == index.best(vectors[3], 10).items.tolist()


def test_nothing_points_nowhere(vectors: np.ndarray):
    """An item without any weight has a code like all others, and a product of 0."""
    some = vectors.copy()
    some[3] = 0
    index = indexed(some, np.ones(len(some), bool))
    found = index.best(vectors[7], len(some))
    assert found.scores[found.items == 3].tolist() == [0]


@pytest.mark.skipif(not available(), reason="numba is not installed, or switched off")
def test_a_group_is_looked_at_once_whatever_the_vector():
    """Products beyond the range of single precision are all alike: no group stands out then, and none comes again."""
    centres, codes = np.full((3, 2), 2, np.float32), np.ones((6, 2), np.int8)
    starts, items, scales = np.array([0, 2, 4, 6]), np.arange(6, dtype=np.int32), np.ones(6, np.float32)
    vectors = np.ones((6, 2), np.float32)
    for number in (np.finfo(np.float32).min, np.finfo(np.float32).max, np.nan):
        found, scores, vector = np.full(60, -1, np.int32), np.empty(60, np.float32), np.full(2, number, np.float32)
        top, values = np.full(6, -1, np.int32), np.empty(6, np.float32)
        many = search(centres, starts, items, codes, scales, vectors, vector, 50, 6, found, scores, top, values)
        assert (found >= 0).sum() == len(set(found[found >= 0].tolist())) <= 6
        assert many == 0  # what is beyond the range is no score


SAID = st.one_of(
    st.sampled_from([np.nan, np.inf, -np.inf, -3.4e38, 3.4e38, -0.0, 0.0, 1.0]), st.floats(-2, 2, width=32)
)


@pytest.mark.skipif(not available(), reason="numba is not installed, or switched off")
@given(st.lists(SAID, min_size=1, max_size=60), st.integers(1, 3), st.integers(0, 70), st.integers(0, 70))
def test_the_kernel_keeps_the_best_as_numpy_does(said, times, near, count):
    """Ties by item, and nothing that is no number; whatever the codes say first, the vectors decide then."""
    nearly = np.repeat(np.array(said, np.float32), times)
    many = len(nearly)
    exact = np.random.default_rng(many).permutation(nearly)
    items = np.arange(many, dtype=np.int32)[::-1].copy()
    top, values = np.empty(count, np.int32), np.empty(count, np.float32)
    found = search(
        np.ones((1, 1), np.float32), np.array([0, many]), items, np.ones((many, 1), np.int8), nearly,
        exact[:, None].copy(), np.ones(1, np.float32), many, near, np.empty(many, np.int32),
        np.empty(many, np.float32), top, values,
    )  # fmt: skip
    with switched(False):
        close = best(nearly, items, near).items
        plain = best(exact[close], close, count)
    assert top[:found].tolist() == plain.items.tolist()
    assert values[:found].tolist() == plain.scores.tolist()


@pytest.mark.skipif(not available(), reason="numba is not installed, or switched off")
def test_a_thousand_are_put_in_order_too(index: Index, vectors: np.ndarray):
    """More than are sorted by counting."""
    found = index.best(vectors[9], 1_000)
    with switched(False):
        plain = index.best(vectors[9], 1_000)
    assert found.items.tolist() == plain.items.tolist()
    np.testing.assert_allclose(found.scores, plain.scores, rtol=1e-5)


def test_only_a_large_catalogue_has_one():
    """What counts is how many items are listed, not how many there ever were."""
    vectors, listed = (
        np.random.default_rng(1).normal(size=(LEAST_ITEMS, 2)).astype(np.float32),
        np.ones(LEAST_ITEMS, bool),
    )
    assert Index.of(index_arrays(vectors, listed), vectors) is not None
    listed[0] = False
    assert index_arrays(vectors, listed) == {}
