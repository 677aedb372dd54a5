"""The index over item vectors: what it finds of what a full scan finds, and who has one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.compiled import available, switched
from features.errors import BundleError
from serving.candidates import best
from serving.sources.index import (
    LEAST_ITEMS,
    LOOKED_AT,
    Index,
    in_rows,
    index_of,
    indexed,
    laned,
    recall,
    scanned,
)
from serving.sources.vector_kernels import LANES, search, search_down

GROUPS, ITEMS, PLACES = 60, 6_000, 16
NONE = np.empty(0, np.float32)


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
    assert recall(index, subjects, scanned(index, subjects, 20)) > 0.95


def test_what_it_finds_is_exact(index: Index, vectors: np.ndarray):
    """Scores are inner products, best first; with all groups looked at it is the full scan."""
    vector = vectors[7]
    found = index.best(vector, 50)
    np.testing.assert_allclose(found.scores, vectors[found.items] @ vector, rtol=1e-5)
    assert (np.diff(found.scores) <= 0).all()
    assert recall(index, vectors[:5], scanned(index, vectors[:5], len(index.items))) == 1
    assert np.isnan(recall(index, vectors[:0], []))


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
    centres, codes = np.full((3, 1), 2, np.float32), np.ones((6, 1), np.int8)
    starts, items, scales = np.array([0, 2, 4, 6]), np.arange(6, dtype=np.int32), np.ones(6, np.float32)
    vectors, largest = np.ones((6, 1), np.float32), np.finfo(np.float32).max
    for number, usable in ((largest, True), (-largest, False), (np.nan, False)):
        found, numbers, vector = np.empty(60, np.int32), np.empty(60, np.int32), np.full(1, number, np.float32)
        scores = np.empty(60, np.float32)
        top, values = np.full(60, -1, np.int32), np.empty(60, np.float32)
        many = search(centres, starts, items, codes, scales, vectors, vector, 50, found, scores, numbers, top, values)
        assert sorted(top[:many].tolist()) == (list(range(6)) if usable else []), "beyond the range is no score"


SAID = st.one_of(
    st.sampled_from([np.nan, np.inf, -np.inf, -3.4e38, 3.4e38, -0.0, 0.0, 1.0]), st.floats(-2, 2, width=32)
)


@pytest.mark.skipif(not available(), reason="numba is not installed, or switched off")
@given(st.lists(SAID, min_size=1, max_size=60), st.sampled_from([1, 2, 3, 40]), st.integers(0, 70))
def test_the_kernel_keeps_the_best_as_numpy_does(said, times, near):
    """Ties by item, and nothing that is no number; what they say of those are products of whole vectors."""
    nearly = np.repeat(np.array(said, np.float32), times)
    many = len(nearly)
    exact = np.random.default_rng(many).permutation(nearly)
    items = np.arange(many, dtype=np.int32)[::-1].copy()
    top, values = np.empty(near, np.int32), np.empty(near, np.float32)
    found = search(
        np.ones((1, 1), np.float32), np.array([0, many]), items, np.ones((many, 1), np.int8), nearly,
        exact[:, None].copy(), np.ones(1, np.float32), many, np.empty(many, np.int32), np.empty(many, np.float32),
        np.empty(many, np.int32), top, values,
    )  # fmt: skip
    with switched(False):
        plain = best(nearly, items, near)
    assert sorted(top[:found].tolist()) == sorted(plain.items.tolist())
    np.testing.assert_array_equal(values[:found], exact[top[:found]])


@pytest.mark.skipif(not available(), reason="numba is not installed, or switched off")
@given(
    st.lists(st.sampled_from([np.nan, np.inf, -np.inf, -3e38, -0.0, *range(-9, 99)]), min_size=1, max_size=60),
    st.sampled_from([1, 2, 40, 90]), st.integers(0, 70),
)  # fmt: skip
def test_of_a_single_group_the_best_are_kept_as_numpy_does(said, times, near):
    """The same, stretch by stretch: whole numbers times 32,767 are exact."""
    nearly = np.tile(np.array(said, np.float32), times)
    many, vector = len(nearly), np.full(1, 32_767, np.float32)
    exact = np.random.default_rng(many).permutation(nearly)
    items, codes = np.arange(many, dtype=np.int32)[::-1].copy(), laned(np.ones((many, 1), np.int8))
    top, values = np.empty(near, np.int32), np.empty(near, np.float32)
    found = search_down(
        items, codes, nearly, NONE, exact[:, None].copy(), vector, np.empty(many + 1, np.int32),
        np.empty(many + 1, np.int32), top, values,
    )  # fmt: skip
    with switched(False), np.errstate(over="ignore", invalid="ignore"):
        plain = best(nearly * vector, items, near)
    assert sorted(top[:found].tolist()) == sorted(plain.items.tolist())
    with np.errstate(over="ignore", invalid="ignore"):
        np.testing.assert_array_equal(values[:found], exact[top[:found]] * vector)


@pytest.mark.skipif(not available(), reason="numba is not installed, or switched off")
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_of_what_is_no_number_nothing_is_found(vectors, wrong):
    index = indexed(vectors, np.ones(len(vectors), bool), groups=1)
    assert (
        len(index.best(np.where(np.arange(vectors.shape[1]) == 1, wrong, vectors[0]).astype(np.float32), 9).items) == 0
    )


@pytest.mark.parametrize("count, places", [(1, 1), (31, 7), (33, 65), (3_001, 64)])
def test_a_bundle_whose_single_group_stands_in_rows_is_read(count, places):
    vectors = np.random.default_rng(count).normal(size=(count, places)).astype(np.float32)
    index = indexed(vectors, np.ones(count, bool), groups=1)
    told, vector = index.arrays(), vectors[0]
    before = {**told, "index.codes": in_rows(told["index.codes"], count, places)}
    again = Index.of(before, vectors)
    assert again is not None and (again.codes == index.codes).all()
    assert again.best(vector, 20).items.tolist() == index.best(vector, 20).items.tolist()


def test_codes_that_do_not_fit_are_refused(vectors):
    """A kernel would read on behind them."""
    told = indexed(vectors, np.ones(len(vectors), bool), groups=1).arrays()
    codes = told["index.codes"]
    for wrong in (codes[:-1], codes[:, :-1], codes[:, :, :16], in_rows(codes, 40, 8)):
        with pytest.raises(BundleError, match="codes"):
            Index.of({**told, "index.codes": wrong}, vectors)


@pytest.mark.skipif(not available(), reason="numba is not installed, or switched off")
@pytest.mark.parametrize("places", [516, 517, 520, 1_024])
def test_sums_of_many_places_fit_into_32_bits(places):
    """Numbers that are all as large as they can be: the customer's are made smaller."""
    random = np.random.default_rng(places)
    vectors = (1 - 0.5 * random.random((300, places))).astype(np.float32)
    index = indexed(vectors, np.ones(300, bool), groups=1)
    assert recall(index, vectors[:5], scanned(index, vectors[:5], 50)) > 0.9


@pytest.mark.skipif(not available(), reason="numba is not installed, or switched off")
@pytest.mark.parametrize("size", [1e-12, 1e-22, 1e-30])
def test_a_short_vector_finds_what_a_long_one_does(size):
    """Its square would be nothing in single precision."""
    random = np.random.default_rng(7)
    vectors = (random.normal(size=(5_000, 8)) * random.gamma(0.3, 1, (5_000, 1))).astype(np.float32)
    index, vector = indexed(vectors, np.ones(5_000, bool), groups=1), random.normal(size=8)
    found = [set(index.near((scale * vector).astype(np.float32), 300).items.tolist()) for scale in (1, size)]
    assert len(found[0] & found[1]) >= 0.99 * len(found[0])


@given(st.integers(1, 200), st.integers(1, 70), st.integers(0, 9))
def test_codes_side_by_side_are_those_in_rows(count, places, seed):
    codes = np.random.default_rng(seed).integers(-127, 128, (count, places)).astype(np.int8)
    beside = laned(codes)
    assert beside.shape[2:] == (LANES, 2) and beside.sum(dtype=np.int64) == codes.sum(dtype=np.int64)
    assert (in_rows(beside, count, places) == codes).all()


@pytest.mark.parametrize("groups", [1, 20])
def test_numpy_finds_what_kernels_find(vectors, groups):
    index = indexed(vectors, np.ones(len(vectors), bool), groups=groups)
    found = set(index.best(vectors[5], 20).items.tolist())
    with switched(False):
        assert len(found & set(index.best(vectors[5], 20).items.tolist())) >= 19


@pytest.mark.skipif(not available(), reason="numba is not installed, or switched off")
@given(
    st.integers(0, 10_000), st.sampled_from([0.05, 0.3, 3.0]), st.sampled_from([1, 30, 300]),
    st.sampled_from(["an item", "anybody", "nothing"]),
)  # fmt: skip
@settings(max_examples=60)
def test_by_length_as_many_are_looked_at_as_can_be_among_the_best(seed, spread, count, asked):
    """What a full scan finds is found, but for products that bytes cannot tell apart; of very different lengths few."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(5_000, 8)).astype(np.float32)
    vectors *= random.gamma(spread, 1, (5_000, 1)).astype(np.float32)
    listed = random.random(5_000) < 0.9
    index = indexed(vectors, listed, groups=1)
    assert len(index.lengths) == listed.sum() and (np.diff(index.lengths) <= 0).all()
    vector = vectors[0] if asked == "an item" else random.normal(size=8).astype(np.float32)
    # Products of very short ones are beyond single precision, whoever works them out.
    vector = vector / max(np.linalg.norm(vector.astype(float)), 1e-30) * float(asked != "nothing")
    vector = vector.astype(np.float32)
    found, (wanted,) = index.best(vector, count), scanned(index, vector[None], count)
    exact = vectors @ vector
    last, reach = exact[wanted].min(), np.linalg.norm(vector) * np.linalg.norm(vectors, axis=1).max()
    assert len(found.items) == len(wanted)
    assert found.scores.min() >= last - 0.02 * reach - 1e-5 * abs(last)


@pytest.mark.skipif(not available(), reason="numba is not installed, or switched off")
@pytest.mark.parametrize("seed", range(5))
def test_of_very_different_lengths_few_are_looked_at(seed):
    """And all of them in a bundle that was made before lengths were told; both find the same.

    Codes of the shorter half are made the best there are: who looks at them finds them.
    """
    random = np.random.default_rng(seed)
    vectors = (random.normal(size=(5_000, 8)) * random.gamma(0.05, 1, (5_000, 1))).astype(np.float32)
    told = indexed(vectors, np.ones(5_000, bool), groups=1).arrays()
    vector = random.normal(size=8).astype(np.float32)
    codes, short = in_rows(np.array(told["index.codes"]), 5_000, 8), slice(2_500, None)
    codes[short] = np.where(vector > 0, 127, -127)
    baited = {
        **told,
        "index.codes": laned(codes),
        "index.scales": np.where(np.arange(5_000) < 2_500, told["index.scales"], 9),
    }
    found = []
    for arrays in (told, baited):
        arrays = {**arrays, "index.scales": arrays["index.scales"].astype(np.float32)}
        without = {name: array for name, array in arrays.items() if name != "index.lengths"}
        found += [set(Index.of(each, vectors).near(vector, 10).items.tolist()) for each in (arrays, without)]
    assert found[0] == found[1] == found[2]
    assert found[3] <= set(told["index.items"][short].tolist())


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
    assert index_of(vectors, listed) is not None
    listed[0] = False
    assert index_of(vectors, listed) is None


@pytest.mark.parametrize("kernels", [False, True])
def test_it_looks_at_as_many_as_it_says(index: Index, vectors: np.ndarray, kernels: bool):
    """So many for each that is wanted, and so many in all: the more, the less it misses."""
    some, found = vectors[:30], []
    with switched(kernels):
        for looks in ((1, 0), (4, 0), (1, 800), (1, len(vectors))):
            again = Index.of({**index.arrays(), "index.looks": np.array(looks)}, vectors)
            assert again is not None
            found.append(recall(again, some, scanned(again, some, 50)))
    assert found[0] < found[1] < found[2] < found[3]
    assert found[3] > 0.99


def test_an_index_that_does_not_say_how_many_it_looks_at(index: Index, vectors: np.ndarray):
    """Of before it was written: it looks at as many as all did."""
    before = {name: array for name, array in index.arrays().items() if name != "index.looks"}
    again = Index.of(before, vectors)
    assert again is not None
    assert (again.looked_at, again.least) == (LOOKED_AT, 0)
