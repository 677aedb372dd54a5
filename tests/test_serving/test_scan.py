"""The scan of a small catalogue: whoever is among the best is found, whatever the vectors look like."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.compiled import available, switched
from serving.candidates import best
from serving.sources.index import coded, laned
from serving.sources.scan import LEAST_ITEMS, MOST_ITEMS, MOST_PLACES, Scan
from serving.sources.vector_kernels import _bounds

pytestmark = pytest.mark.skipif(not available(), reason="numba is not installed, or switched off")
KINDS = ("even", "of different lengths", "some are nothing", "few different", "one place rules", "tiny")


def made(kind: str, items: int, places: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    found = random.normal(size=(items, places))
    if kind == "of different lengths":
        found *= random.gamma(0.3, 1, (items, 1))
    elif kind == "some are nothing":
        found[random.random(items) < 0.5] = 0
    elif kind == "few different":
        found = found[random.integers(max(items // 8, 1), size=items)]
    elif kind == "one place rules":
        found[:, 0] *= 1_000
    elif kind == "tiny":
        found *= 1e-20
    return found.astype(np.float32)


@given(
    kind=st.sampled_from(KINDS), items=st.integers(1, 300), places=st.integers(1, 70), seed=st.integers(0, 10_000),
    count=st.integers(0, 320), asked=st.sampled_from(["an item", "anybody", "nothing"]),
)  # fmt: skip
def test_all_that_are_among_the_best_are_found(kind, items, places, seed, count, asked):
    """Nobody who is left out has a higher product than the last of the best, by exact arithmetic."""
    vectors, random = made(kind, items, places, seed), np.random.default_rng(seed + 1)
    vector = vectors[0] if asked == "an item" else random.normal(size=places).astype(np.float32)
    vector = vector * np.float32(asked != "nothing")
    rows = np.sort(random.choice(2 * items, items, replace=False)).astype(np.int32)
    found = Scan(rows, vectors).near(vector, count)
    exact = vectors.astype(np.float64) @ vector.astype(np.float64)
    places_of = np.searchsorted(rows, found.items)
    assert (rows[places_of] == found.items).all()
    assert (np.diff(found.items) > 0).all()
    least = float(np.finfo(np.float32).tiny)  # below it single precision has fewer and fewer digits
    np.testing.assert_allclose(
        found.scores, exact[places_of], rtol=1e-4, atol=least + 1e-5 * np.abs(exact).max(initial=0)
    )
    left = np.setdiff1d(np.arange(items), places_of)
    if count and len(left):
        assert len(found.items) >= count
        assert exact[left].max() <= np.sort(exact)[-count] + 1e-9 * np.abs(exact).max() + least


@pytest.mark.parametrize("seed", range(60))
def test_no_product_lies_outside_its_bounds(seed):
    """Rounding errors that all point one way: numbers half between two steps, signs aligned, one place that rules."""
    random, places = np.random.default_rng(seed), (1, 2, 3, 8, 64, MOST_PLACES)[seed % 6]
    sign = random.choice([-1, 1], places)
    vector = np.floor(random.uniform(0 if seed % 2 else 16_384, 32_766, places)) + 0.5
    vector += random.choice([-1, 1]) * 10.0 ** random.uniform(-5, -3)
    vector[random.integers(places)] = 32_767
    vectors = np.floor(random.uniform(0, 126, (200, places))) + 0.5
    vectors += random.choice([-1, 1], (200, 1)) * 10.0 ** random.uniform(-6, -2, (200, 1))
    vectors[:, random.integers(places)] = 127
    scale = 10.0 ** random.integers(-3, 4, 2)
    vector = (scale[0] * vector * sign).astype(np.float32)
    vectors = (scale[1] * vectors * random.choice([-1, 1], (200, 1)) * sign).astype(np.float32)
    low, high = np.empty(200, np.float32), np.empty(200, np.float32)
    codes, scales = coded(vectors)
    _bounds(laned(codes), scales, np.abs(vectors).sum(axis=1, dtype=np.float32), vector, low, high)
    exact = vectors.astype(np.float64) @ vector.astype(np.float64)
    assert ((low <= exact) & (exact <= high)).all()


@pytest.mark.parametrize("kind", ["even", "of different lengths", "one place rules"])
def test_the_best_are_those_of_asking_all(kind):
    """Item by item, and few are asked in full; where one place drowns the others it may be all."""
    vectors, rows = made(kind, 4_000, 64, 3), np.arange(4_000, dtype=np.int32)
    scan = Scan(rows, vectors)
    for vector in np.random.default_rng(4).normal(size=(20, 64)).astype(np.float32):
        assert scan.best(vector, 100).items.tolist() == best(vectors @ vector, rows, 100).items.tolist()
        assert kind == "one place rules" or len(scan.near(vector, 100).items) < 400
        with switched(False):
            assert scan.best(vector, 100).items.tolist() == best(vectors @ vector, rows, 100).items.tolist()


def test_equal_products_go_to_the_first_items():
    rows = np.arange(0, 1_000, 2, dtype=np.int32)
    scan = Scan(rows, np.ones((500, 8), np.float32))
    assert scan.best(np.ones(8, np.float32), 5).items.tolist() == [0, 2, 4, 6, 8]


def test_who_has_one():
    """Few items are asked at once; with too many places the sums of whole numbers would run over."""
    rows = np.arange(LEAST_ITEMS, dtype=np.int32)
    assert Scan.of(rows, np.ones((LEAST_ITEMS, 4), np.float32)) is not None
    assert Scan.of(rows[1:], np.ones((LEAST_ITEMS - 1, 4), np.float32)) is None
    assert Scan.of(rows, np.ones((LEAST_ITEMS, MOST_PLACES + 1), np.float32)) is None
    assert Scan.of(np.arange(MOST_ITEMS + 1, dtype=np.int32), np.ones((MOST_ITEMS + 1, 1), np.float32)) is None
    assert Scan.of(rows, np.full((LEAST_ITEMS, 4), 1e37, np.float32)) is None
    wide = np.ones((LEAST_ITEMS, MOST_PLACES), np.float32)
    found = Scan(rows, wide).best(np.ones(MOST_PLACES, np.float32), 3)
    assert found.items.tolist() == [0, 1, 2]
    assert found.scores.tolist() == [MOST_PLACES] * 3
