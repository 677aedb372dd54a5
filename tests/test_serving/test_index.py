"""The index over item vectors: nothing that a full scan finds is missed, whatever the vectors look like.

Where that is given up for a share (`tests/test_training/test_indexing.py`), only `reach` differs.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.compiled import available, switched
from features.errors import BundleError
from features.ids import Vocabulary
from serving.bundle import Bundle
from serving.candidates import best
from serving.recipe import Recipe, SourceSpec, as_json
from serving.sources import Factors, indexing
from serving.sources.index import LEAST_ITEMS, NAMES, Index, marks
from serving.sources.indexing import (
    IN_GROUP,
    coded,
    grouped_by,
    index_of,
    indexed,
    laned,
    principal_axes,
    rest_of,
)
from serving.sources.vector_kernels import LANES, LARGEST

KINDS = ("even", "of different lengths", "some are nothing", "few different", "one place rules", "tiny", "in groups")
needs_kernels = pytest.mark.skipif(not available(), reason="numba is not installed, or switched off")


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
    elif kind == "in groups":
        found = 0.3 * found + random.normal(size=(7, places))[random.integers(7, size=items)]
    return found.astype(np.float32)


def turned(index: Index, vectors: np.ndarray) -> np.ndarray:
    """float64[blocks x LANES, k]: the vectors as they stand in blocks; 0 where none does."""
    found = np.zeros((len(index.items), vectors.shape[1]))
    there = index.items >= 0
    found[there] = vectors[index.items[there]].astype(float) @ index.axes[: vectors.shape[1]].T.astype(float)
    return found


def in_rows(told: np.ndarray, places: int) -> np.ndarray:
    """int8[blocks x LANES, k]: what `laned` was given."""
    blocks = len(told) // LANES // (places + places % 2)
    ends, begin, found = [*marks(places), places + places % 2], 0, []
    for first, last in itertools.pairwise(ends):
        size = blocks * (last - first) * LANES
        part = told[begin : begin + size].reshape(blocks, (last - first) // 2, LANES, 2)
        found.append(part.transpose(0, 2, 1, 3).reshape(-1, last - first))
        begin += size
    return np.hstack(found)[:, :places]


@needs_kernels
@given(
    kind=st.sampled_from(KINDS), items=st.integers(1, 600), places=st.integers(1, 70), seed=st.integers(0, 10_000),
    count=st.integers(0, 620), asked=st.sampled_from(["an item", "anybody", "nothing"]),
    groups=st.sampled_from([1, 2, 9, 1_000]), aside=st.sampled_from([0.0, 0.02, 0.5, 1.0]),
)  # fmt: skip
@settings(max_examples=300)
def test_all_that_are_among_the_best_are_found(kind, items, places, seed, count, asked, groups, aside):
    """Nobody who is left out has a higher product than the last of the best that count, by exact arithmetic."""
    vectors, random = made(kind, 2 * items, places, seed), np.random.default_rng(seed + 1)
    listed = np.zeros(2 * items, bool)
    listed[random.choice(2 * items, items, replace=False)] = True
    vector = vectors[0] if asked == "an item" else random.normal(size=places).astype(np.float32)
    vector = vector * np.float32(asked != "nothing")
    counts = listed & (random.random(2 * items) >= aside)
    beside = random.permutation(np.flatnonzero(~counts)).astype(np.int32)[: int(2 * aside * items)]
    counts = listed & ~np.isin(np.arange(2 * items), beside)
    found = indexed(vectors, listed, groups).near(vector, count, beside)
    exact = vectors.astype(np.float64) @ vector.astype(np.float64)
    assert len(np.unique(found.items)) == len(found.items)
    assert listed[found.items].all()
    least = float(np.finfo(np.float32).tiny)  # below it single precision has fewer and fewer digits
    np.testing.assert_allclose(
        found.scores, exact[found.items], rtol=1e-4, atol=least + 1e-5 * np.abs(exact).max(initial=0)
    )
    left = np.setdiff1d(np.flatnonzero(listed), found.items)
    if count and len(left):
        assert counts[found.items].sum() >= count
        assert exact[left].max() <= np.sort(exact[counts])[-count] + 1e-9 * np.abs(exact).max() + least


@needs_kernels
@pytest.mark.parametrize("places, large", [(64, 15), (64, 0), (24, 15), (8, 3), (64, 62)])
def test_roundings_that_all_point_one_way_hide_nobody(places, large):
    """Codes and steps of a thousand are all rounded up by half, of the best one down: it is found among them.

    Axes are those of the places, else nothing would stand half between two steps.
    """
    end = places - 1
    vector = np.where(np.arange(places) % 2 == 0, 0.501, 0.499)
    vector[large], vector[end] = 32_767, 100
    lifted = np.where(np.arange(places) % 2 == 0, 127.0, -127.0)
    lowered = -lifted
    lifted[large], lifted[end] = 125.5001, 1
    lowered[large], lowered[end] = 125.4999, 6
    rows = np.vstack([np.tile(lifted, (1_024, 1)), lowered, np.tile(0.9 * lifted, (31, 1))])
    codes, scales = coded(rows)
    axes = np.vstack([np.eye(places), np.ones(places), np.zeros(places)]).astype(np.float32)
    rest = np.column_stack([rest_of(rows), scales])
    far = np.full(1, np.linalg.norm(rows, axis=1).max() + 1, np.float32)
    items = np.arange(1_056, dtype=np.int32)
    index = Index(axes, far, np.array([1, 33]), items, laned(codes), rest, rows.astype(np.float32))
    assert np.argmax(rows @ vector) == 1_024
    assert 1_024 in index.near(vector.astype(np.float32), 1).items


@needs_kernels
def test_a_long_list_is_as_long_as_was_asked():
    """More than are looked at before it is asked for the first time what has to be reached."""
    vectors = np.zeros((1_000, 8), np.float32)
    vectors[:, 0] = np.linspace(1, 2, 1_000)
    index = indexed(vectors, np.ones(1_000, bool))
    for count in (150, 301, 600, 999):
        found = index.best(np.eye(8, dtype=np.float32)[0], count)
        assert found.items.tolist() == list(range(999, 999 - count, -1))


@needs_kernels
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("groups", [1, 16])
def test_the_best_are_those_of_asking_all(kind, groups):
    """Item by item, by kernels and without; and few are asked in full, where they are not all alike."""
    vectors, rows = made(kind, 4_000, 64, 3), np.arange(4_000, dtype=np.int32)
    index = indexed(vectors, np.ones(4_000, bool), groups)
    for vector in np.random.default_rng(4).normal(size=(20, 64)).astype(np.float32):
        wanted = best(vectors @ vector, rows, 100)
        found = index.best(vector, 100)
        np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-5)
        assert kind == "few different" or len(set(found.items.tolist()) ^ set(wanted.items.tolist())) <= 2
        assert kind == "few different" or len(index.near(vector, 100).items) < 400
        with switched(False):
            np.testing.assert_allclose(index.best(vector, 100).scores, wanted.scores, rtol=1e-5)


@pytest.mark.parametrize("kernels", [False, True])
def test_equal_products_go_to_the_first_items(kernels):
    rows = np.arange(0, 1_000, 2)
    with switched(kernels):
        index = indexed(np.ones((1_000, 8), np.float32), np.isin(np.arange(1_000), rows), 3)
        assert index.best(np.ones(8, np.float32), 5).items.tolist() == [0, 2, 4, 6, 8]
        assert index.best(np.ones(8, np.float32), 0).items.tolist() == []


@needs_kernels
@pytest.mark.parametrize("groups", [1, 8])
def test_what_cannot_be_among_the_best_is_not_read(groups):
    """Codes of what is short, and of what points elsewhere, are made the best there are: who reads them finds them."""
    random = np.random.default_rng(groups)
    vectors = np.abs(random.normal(size=(4_000, 64))).astype(np.float32) * np.float32(0.01)
    vectors[:, 0] = 1
    vectors[:1_000] *= 9
    index = indexed(vectors, np.ones(4_000, bool), groups)
    short = np.flatnonzero(index.rest[:, 0] < 2)
    behind = np.arange(len(index.codes)) >= len(index.rest) * 16 * LANES  # all but what stands before the first mark
    baited, part = index.codes.copy(), index.codes[behind].reshape(-1, len(index.rest), 16 * LANES)
    part[:, short] = 127
    baited[behind] = part.ravel()
    vector = vectors[5]
    again = Index(**{name: getattr(index, name) for name in NAMES} | {"codes": baited}, vectors=vectors)
    assert len(short) > len(index.rest) / 2
    assert sorted(again.near(vector, 50).items.tolist()) == sorted(index.near(vector, 50).items.tolist())
    assert again.best(vector, 50).items.max() < 1_000


@needs_kernels
def test_groups_that_cannot_say_enough_are_not_read():
    """Codes of all other groups are made the best there are, first blocks included: who reads them finds them."""
    random = np.random.default_rng(3)
    mine = np.repeat(np.arange(8), 500)
    vectors = (10 * np.eye(8)[mine] + 0.1 * random.normal(size=(4_000, 8))).astype(np.float32)
    index = indexed(vectors, np.ones(4_000, bool), 8)
    asked = vectors[1_700]
    least = np.sort(vectors @ asked)[-50]
    most = index.axes[9:] @ asked + np.linalg.norm(asked) * index.reach
    block = np.arange(len(index.rest))
    group = np.where(block < 8, block, np.searchsorted(index.starts, block, "right") - 1)
    others = np.flatnonzero(most[group] < least)
    baited = index.codes.copy().reshape(len(index.rest), -1)
    signs = np.where(index.axes[:8] @ asked > 0, 127, -127).reshape(4, 1, 2)
    baited[others] = np.broadcast_to(signs, (4, LANES, 2)).ravel()
    again = Index(**{name: getattr(index, name) for name in NAMES} | {"codes": baited.ravel()}, vectors=vectors)
    assert len(others) > len(index.rest) / 2
    found = index.near(asked, 50).items
    assert (mine[found] == mine[1_700]).all()
    assert sorted(again.near(asked, 50).items.tolist()) == sorted(found.tolist())


@pytest.mark.parametrize("groups", [1, 7, 40])
def test_no_item_is_farther_from_its_centre_than_is_said(groups):
    vectors = made("in groups", 3_000, 12, 2)
    index = indexed(vectors, np.ones(3_000, bool), groups)
    block_of = np.repeat(np.arange(len(index.rest)), LANES)
    there = index.items >= 0
    group = np.where(block_of < groups, block_of, np.searchsorted(index.starts, block_of, "right") - 1)[there]
    distance = np.linalg.norm(vectors[index.items[there]] - index.axes[13:].astype(float)[group], axis=1)
    assert (distance <= index.reach[group]).all()
    assert index.reach.max() <= distance.max() * 1.001 + 1e-3


@pytest.mark.parametrize("kernels", [False, True])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 3e38])
def test_of_what_is_no_number_nothing_is_found(kernels, wrong):
    """What is too large for an index is asked of all vectors."""
    vectors = made("even", 500, 8, 1)
    vector = np.where(np.arange(8) == 1, wrong, vectors[0]).astype(np.float32)
    with switched(kernels), np.errstate(all="ignore"):
        found = indexed(vectors, np.ones(500, bool), 2).best(vector, 9)
        wanted = best(vectors @ vector, np.arange(500, dtype=np.int32), 9)
    assert found.items.tolist() == wanted.items.tolist()


@needs_kernels
@pytest.mark.parametrize("size", [1e-12, 1e-22, 1e-30])
def test_a_short_vector_finds_what_a_long_one_does(size):
    vectors, vector = made("of different lengths", 5_000, 8, 7), np.random.default_rng(7).normal(size=8)
    index = indexed(vectors, np.ones(5_000, bool), 4)
    found = [set(index.best((scale * vector).astype(np.float32), 300).items.tolist()) for scale in (1, size)]
    assert len(found[0] & found[1]) >= 0.99 * len(found[0])


@given(
    kind=st.sampled_from(KINDS), items=st.integers(1, 300), places=st.integers(1, 70), seed=st.integers(0, 999),
    groups=st.integers(1, 12),
)  # fmt: skip
def test_it_holds_every_listed_item_once_beside_its_code(kind, items, places, seed, groups):
    """Each number is off by half a step at most; what is said of a block is true of all vectors in it."""
    vectors = made(kind, items, places, seed)
    listed = np.random.default_rng(seed).random(items) < 0.8
    index = indexed(vectors, listed, groups)
    held, block = turned(index, vectors), np.repeat(np.arange(len(index.rest)), LANES)
    assert sorted(index.items[index.items >= 0].tolist()) == np.flatnonzero(listed).tolist()
    step = index.rest[block, -1:].astype(float) * index.axes[places]
    off = np.abs(in_rows(index.codes, places) * step - held)
    assert (off <= 0.5001 * step + 1e-5 * np.abs(held).max()).all()
    for column, mark in enumerate(marks(places)):
        behind = np.linalg.norm(held[:, mark:], axis=1).reshape(-1, LANES).max(axis=1)
        assert (behind <= index.rest[:, column] * (1 + 1e-5) + 1e-5 * index.rest[:, 0]).all()


@pytest.mark.parametrize("groups", [1, 6])
def test_blocks_of_a_group_descend_by_length_from_its_first(groups):
    """The first blocks of all groups come first; each group's others follow, and none of them is longer."""
    vectors = made("in groups", 3_000, 12, 2) * np.random.default_rng(3).gamma(1, 1, (3_000, 1)).astype(np.float32)
    index = indexed(vectors, np.ones(3_000, bool), groups)
    centres, group = grouped_by(vectors, groups, 0)
    assert index.starts[0] == groups == len(centres)
    assert index.starts[-1] == len(index.rest)
    assert (np.diff(index.rest[:groups, 0]) <= 0).all()
    group = np.argmax((index.axes[13:, None] == centres).all(axis=2), axis=0)[group]
    for number in range(groups):
        blocks = [number, *range(index.starts[number], index.starts[number + 1])]
        mine = [item for block in blocks for item in index.items[LANES * block : LANES * (block + 1)] if item >= 0]
        assert sorted(mine) == np.flatnonzero(group == number).tolist()
        assert (np.diff(np.linalg.norm(vectors[mine].astype(float), axis=1)) <= 1e-6).all()
        assert (np.diff(index.rest[blocks, 0]) <= 0).all()


def test_axes_are_at_right_angles_and_the_first_says_most():
    vectors = made("one place rules", 500, 9, 1)
    axes = principal_axes(vectors)
    np.testing.assert_allclose(axes @ axes.T, np.eye(9), atol=1e-9)
    said = ((vectors @ axes.T) ** 2).sum(axis=0)
    assert (np.diff(said) <= 1e-6 * said[0]).all()
    np.testing.assert_allclose(rest_of(np.ones((LANES, 9)))[0], 3, rtol=1e-6)


def test_each_vector_is_in_the_group_of_its_nearest_centre():
    vectors = made("in groups", 900, 6, 4)
    centres, group = grouped_by(vectors, 7, 0)
    distance = np.linalg.norm(vectors[:, None] - centres, axis=2)
    np.testing.assert_allclose(distance[np.arange(900), group], distance.min(axis=1), rtol=1e-4)
    assert (
        np.mean([distance[group == one, one].mean() for one in range(7)]) < 0.5 * np.linalg.norm(vectors, axis=1).mean()
    )


@given(st.integers(1, 5), st.integers(1, 70), st.integers(0, 9))
def test_codes_side_by_side_are_those_in_rows(blocks, places, seed):
    vectors = np.random.default_rng(seed).normal(size=(blocks * LANES, places))
    codes, scales = coded(vectors)
    assert len(scales) == blocks
    assert (in_rows(laned(codes), places) == codes).all()


def test_it_is_read_back_as_it_was_written():
    vectors = made("in groups", 3_000, 16, 5)
    index = indexed(vectors, np.ones(3_000, bool), 5)
    again = Index.of(index.arrays(), vectors)
    assert again is not None
    assert again.best(vectors[3], 10).items.tolist() == index.best(vectors[3], 10).items.tolist()
    assert Index.of({"item_factors": vectors}, vectors) is None
    before = {f"index.{name}": np.zeros(3) for name in ("centres", "starts", "items", "codes", "scales", "looks")}
    assert Index.of({"item_factors": vectors, **before}, vectors) is None, "of a bundle of before"


@pytest.mark.parametrize("name", ["codes", "items", "rest", "axes", "reach"])
def test_arrays_that_do_not_fit_are_refused(name):
    """A kernel would read on behind them."""
    vectors = made("even", 500, 20, 1)
    told = indexed(vectors, np.ones(500, bool), 2).arrays()
    with pytest.raises(BundleError, match="index") as error:
        Index.of({**told, f"index.{name}": told[f"index.{name}"][..., :-1]}, vectors)
    assert error.value.where == f"index.{name}"


@pytest.mark.parametrize(
    "name, wrong",
    [
        ("items", {1: 500}), ("starts", {1: 99}), ("starts", {1: -1}), ("starts", {0: 1}), ("starts", {-1: 3}),
        ("starts", {1: -(2**63), 2: -1}),
    ],
)  # fmt: skip
def test_numbers_that_point_outside_are_refused(name, wrong):
    vectors = made("even", 500, 20, 1)
    told = {key: array.copy() for key, array in indexed(vectors, np.ones(500, bool), 3).arrays().items()}
    for place, number in wrong.items():
        told[f"index.{name}"][place] = number
    with pytest.raises(BundleError, match="index"):
        Index.of(told, vectors)


@pytest.mark.parametrize("starts", [np.zeros(0, np.int64), np.zeros(1, np.int64)])
def test_an_index_without_groups_is_refused(starts):
    vectors = made("even", 500, 20, 1)
    told = indexed(vectors, np.ones(500, bool)).arrays()
    axes = {"index.axes": told["index.axes"][: 20 + len(starts)], "index.reach": told["index.reach"][:0]}
    nothing = {f"index.{name}": told[f"index.{name}"][:0] for name in ("items", "codes", "rest")}
    with pytest.raises(BundleError, match="index"):
        Index.of({**told, **axes, **nothing, "index.starts": starts}, vectors)


def test_arrays_of_other_kinds_are_refused():
    vectors = made("even", 500, 20, 1)
    told = indexed(vectors, np.ones(500, bool)).arrays()
    for name, array in told.items():
        with pytest.raises(BundleError, match="index"):
            Index.of({**told, name: array.astype(np.float64)}, vectors)


def test_only_a_large_catalogue_has_one():
    """What counts is how many items are listed, not how many there ever were; nor is there one of huge numbers."""
    vectors, listed = made("even", LEAST_ITEMS + 5, 2, 1), np.ones(LEAST_ITEMS + 5, bool)
    listed[5:10] = False
    index, alone = index_of(vectors, listed), index_of(vectors, listed, grouped=False)
    assert index is not None and alone is not None
    assert len(alone.starts) == 2
    for wrong in (np.nan, np.inf, 2 * LARGEST):
        changed = vectors.copy()
        changed[3, 1] = wrong
        assert index_of(changed, listed) is None
        changed[5], changed[3] = changed[3], 1
        assert index_of(changed, listed) is not None
    listed[0] = False
    assert index_of(vectors, listed) is None


def source_of(listed: np.ndarray, arrays: Mapping[str, np.ndarray]) -> Factors:
    """A source of factors over a bundle of so many items."""
    spec = SourceSpec("taste", "factors", "ials")
    items = {"item.catalogue": listed, **Vocabulary.of(f"i{row}" for row in range(len(listed))).arrays("items")}
    manifest = {"bundle_id": "b", "as_of": 0, "recipe": as_json(Recipe("r", (spec,), {"taste": 1.0}))}
    return Factors(spec, Bundle(manifest, {**items, **{f"source.taste.{name}": each for name, each in arrays.items()}}))


def test_a_source_takes_the_index_of_its_bundle_or_makes_one(monkeypatch):
    """With an index nothing is copied; without one it is, where most items are not listed."""
    vectors, listed = made("in groups", 9_000, 4, 1), np.arange(9_000) % 2 == 0
    fitted = {"item_factors": vectors, "gram": vectors.T @ vectors}
    index = index_of(vectors, listed)
    assert index is not None
    published, before = source_of(listed, {**fitted, **index.arrays()}), source_of(listed, fitted)
    monkeypatch.setattr(indexing, "LEAST_ITEMS", 9_000)
    small = source_of(listed, fitted)
    assert published.index is not None and before.index is not None and small.index is None
    assert len(published.index.starts) == 9_000 // 2 // IN_GROUP + 1
    assert len(before.index.starts) == 2
    rows = np.arange(0, 9_000, 2, dtype=np.int32)
    wanted = best(vectors[rows] @ vectors[2], rows, 20).items.tolist()
    assert published.index.best(vectors[2], 20).items.tolist() == wanted
    assert before.index.best(vectors[2], 20).items.tolist() == wanted
    assert [len(each._scored) for each in (published, before, small)] == [9_000, 9_000, 4_500]
