"""Kernels look at no bounds, so here each fills arrays that lie between others, and those stay as they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from features.compiled import available
from features.ids import Vocabulary
from serving import candidates_kernel, logged_rows_kernel, slate_kernel, texts_kernel
from serving.candidates import NOTHING, Opinion, best
from serving.sources import fold_in_kernel, vector_kernels
from serving.sources.folding import equations
from serving.sources.index import NAMES
from serving.sources.indexing import indexed
from serving.union import MOST_SOURCES

pytestmark = pytest.mark.skipif(not available(), reason="numba is not installed, or switched off")
RIM, MARK = 64, 77
AWAY = np.array([0, 0, 0, 0, 1, 2, 4, 16, 31], np.uint8)
STRANGE = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1, -1, -1e30, 1e-38, 3e38], np.float32)


class Guarded:
    """Arrays with a rim before and behind each."""

    def __init__(self) -> None:
        self._made: list[tuple[np.ndarray, int]] = []

    def __call__(self, dtype: Any, *shape: int, fill: float = MARK) -> np.ndarray:
        count = int(np.prod(shape))
        whole = np.full(count + 2 * RIM, MARK, dtype)
        whole[RIM : RIM + count] = fill
        self._made.append((whole, count))
        return whole[RIM : RIM + count].reshape(shape)

    def whole(self) -> bool:
        return all((each[:RIM] == MARK).all() and (each[RIM + count :] == MARK).all() for each, count in self._made)


def said(random: np.random.Generator, size: int) -> Opinion:
    """What a source might say: of none, some or all items; with ties and what is no number."""
    items = np.sort(random.choice(size, random.integers(size + 1), replace=False)).astype(np.int32)
    scores = random.choice(STRANGE, len(items)) if random.random() < 0.5 else random.normal(size=len(items)).round(1)
    return Opinion(items, scores.astype(np.float32))


@pytest.mark.parametrize("seed", range(150))
def test_candidates_and_slates_stay_in_their_arrays(seed):
    random, made = np.random.default_rng(seed), Guarded()
    size, sources, count = (int(random.integers(low, high)) for low, high in ((1, 300), (1, 5), (0, 30)))
    bought = np.unique(random.integers(-1, size + 3, random.integers(10))).astype(np.int32) if seed % 2 else NOTHING
    heard, ranked = [said(random, size) for _ in range(sources)], random.random(sources) < 0.4
    near = [best(each.scores, each.items, count + len(bought)) if own else each
            for own, each in zip(ranked, heard, strict=True)]  # fmt: skip
    most, mine = int(random.integers(40)), (count + len(bought)) * sources
    room = min(most or mine, mine)
    items, gone, told = made(np.int32, room), made(np.int32, mine), made(np.float32, 3, room, sources)
    marks, marked = (made(np.uint64, size // 64 + 1, fill=0) for _ in range(2))
    spare = [Opinion.none()] * (MOST_SOURCES - sources)
    found, *out = candidates_kernel.unite(
        *(tuple(getattr(each, name) for each in (*near, *spare)) for name in ("items", "scores")), sources, count,
        most, bought, seed % 4 > 1, random.choice(AWAY, size), random.random(size) < 0.1,
        random.integers(-1, 5, size).astype(np.int32), np.array([3], np.int32), seed % 3 > 0, made(np.int32, size),
        marks, marked, items, told, gone,
    )  # fmt: skip
    leave = sum(out)
    assert made.whole() and found + leave <= mine and found <= room and not marks.any() and not marked.any()
    assert len({*items[:found].tolist(), *gone[:leave].tolist()}) == found + leave
    (told, opinions, _), few = told[:, :found], int(random.integers(found + 3))
    left = slate_kernel.foremost(
        items[:found], told, opinions, few, made(np.int32, few), *(made(np.float32, few, sources) for _ in range(3))
    )
    assert made.whole() and left <= few
    slate_kernel.told(told, opinions, 3, made(np.float32, found, 3 + 2 * sources))
    block, leading = random.choice(STRANGE, (found, 3 + 2 * sources)), made(np.int64, found)
    slate_kernel.settled(
        random.choice(STRANGE, found).astype(float), 0.1, block, sources, made(np.float32, found), leading
    )
    assert made.whole() and ((leading >= 0) & (leading < sources)).all()
    slate_kernel.blended(told, random.choice(STRANGE, sources), made(np.float32, found), leading)
    assert made.whole() and ((leading >= 0) & (leading < sources)).all()
    strange = random.choice(STRANGE, found)
    assert slate_kernel.descending(strange, made(np.int64, found)) == np.isfinite(strange).sum()
    wanted = np.sort(random.integers(-5, size + 50, random.integers(40))).astype(np.int32)
    asked = made(np.float32, len(wanted), 2)
    candidates_kernel.look_up(heard[0].items, heard[0].scores, wanted, 1, asked)
    assert made.whole() and np.array_equal(asked[:, 1], heard[0].of(wanted), equal_nan=True)
    candidates_kernel.read_off(strange, wanted, 0, asked)
    stands = (wanted >= 0) & (wanted < found)
    assert made.whole() and np.array_equal(asked[stands, 0], strange[wanted[stands]], equal_nan=True)
    assert np.isnan(asked[~stands, 0]).all()


@pytest.mark.parametrize("seed", range(100))
def test_an_index_finds_no_more_than_it_holds(seed):
    """Whatever its numbers are; of many more items than are looked at first, and of few."""
    random, made = np.random.default_rng(seed), Guarded()
    groups, count = int(random.integers(1, 8)), int(random.integers(1, 60)) * (50 if seed % 2 else 1)
    places, far = int(random.integers(1, 70)), 10 if seed % 3 else 1
    index = indexed(random.normal(size=(count, places)).astype(np.float32), np.ones(count, bool), groups)
    strange = {
        name: random.choice(STRANGE, getattr(index, name).shape)
        for name in ("axes", "reach", "rest") if random.random() < 0.3
    }  # fmt: skip
    told = {name: strange.get(name, getattr(index, name)) for name in NAMES}
    vectors = random.choice(STRANGE, (count, places)) if seed % 5 else random.normal(size=(count, places)).astype("f4")
    vector = (far * random.normal(size=places)).astype(np.float32) if seed % 7 else random.choice(STRANGE, places)
    held, marks = made(np.int32, 3, len(index.items)), made(np.uint64, count // 64 + 1, fill=0)
    beside = np.unique(random.integers(-70, count + 200, random.integers(count + 1))).astype(np.int32)
    beside = beside if seed % 4 else NOTHING
    wanted = int(random.integers(1, 70))
    items, scores = vector_kernels.search(*told.values(), vectors, vector, wanted, beside, marks, held)
    assert made.whole() and not marks.any() and len(items) == len(scores) <= count
    assert len(set(items.tolist())) == len(items) and (items >= 0).all()


@pytest.mark.parametrize("seed", range(50))
def test_a_vector_is_folded_in_within_its_array(seed):
    """Whatever the numbers of factors and items, by either way; a shop's vectors lie between others too."""
    random, made = np.random.default_rng(seed), Guarded()
    factors, count = int(random.integers(1, 40)), int(random.integers(1, 50))
    vectors = made(np.float32, 60, factors)
    vectors[:] = random.normal(size=vectors.shape)
    items = np.sort(random.choice(60, count, replace=False)).astype(np.int32)
    gram = (vectors.T @ vectors + np.eye(factors)).astype(np.float32)
    found = [made(np.float32, factors) for _ in range(2)]
    filled, half = equations(gram)
    for by, out in zip((half, half[:0, :0]), found, strict=True):
        fold_in_kernel.fold_in(vectors, items, np.ones(count, np.float32), 2.0, filled, by, out)
    assert made.whole()
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-6)
    table = made(np.float64, len(filled) + 2, len(filled))
    table[:] = np.vstack([filled, np.ones(len(filled)), np.zeros(len(filled))])
    fold_in_kernel._solve(table)
    assert made.whole()
    np.testing.assert_allclose(filled @ table[-2], 1, rtol=1e-9)


@pytest.mark.parametrize("seed", range(50))
def test_the_ids_of_a_list_fill_no_more_than_their_room(seed):
    """Room for all of them but one letter is none; what is behind the last line stays."""
    random, made = np.random.default_rng(seed), Guarded()
    known = Vocabulary.of([f"{n:0{random.integers(1, 9)}}-{n}" for n in range(int(random.integers(1, 30)))])
    rows = random.integers(len(known), size=random.integers(1, 20)).astype(np.int32)
    wanted = "".join(f"{known[row]}\n" for row in rows.tolist()).encode()
    for room, size in ((len(wanted), len(wanted)), (len(wanted) + 3, len(wanted)), (len(wanted) - 1, -1), (0, -1)):
        lines = made(np.uint8, room)
        assert texts_kernel.collect(known.blob, known.offsets, rows, lines) == size
        assert made.whole() and (size < 0 or (lines[:size].tobytes() == wanted and (lines[size:] == MARK).all()))


@pytest.mark.parametrize("seed", range(50))
def test_rows_are_packed_within_their_room(seed):
    random, made = np.random.default_rng(seed), Guarded()
    count, width = int(random.integers(40)), int(random.integers(9))
    rows = random.choice(STRANGE[: random.integers(1, len(STRANGE))], (count, width))
    room = made(np.uint8, width * (5 + count // 8 + 4 * count))
    assert logged_rows_kernel.pack(rows, room) <= len(room) and made.whole()
