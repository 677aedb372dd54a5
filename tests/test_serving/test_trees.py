"""The kernel of the trees against a walk down each tree, one row at a time; damaged arrays are refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.compiled import available, switched
from features.errors import BundleError
from serving.trees import NAMES, Forest

COLUMNS = 4
needs_kernels = pytest.mark.skipif(not available(), reason="numba is not installed, or switched off")
SINGLES = st.one_of(st.sampled_from([np.nan, -np.inf, np.inf, -1.0, -0.0, 0.0, 0.5, 1.0]), st.floats(width=32))
VALUES = st.sampled_from([np.nan, -np.inf, np.inf, -1.0, -0.0, 0.0, 0.5, 1.0, 2.0])


def grown(seed: int, trees: int, depth: int) -> Forest:
    """A forest of random trees."""
    random = np.random.default_rng(seed)
    nodes: list[list[float]] = []

    def grow(left_to_go: int) -> int:
        place = len(nodes)
        if not left_to_go or random.random() < 0.3:
            nodes.append([0, np.inf, place, place, 1, float(random.normal())])
            return place
        threshold = float(random.choice([-1.0, 0.0, 0.5, 1.0]))
        nodes.append([int(random.integers(COLUMNS)), threshold, 0, 0, int(random.integers(2)), float(random.normal())])
        nodes[place][2] = grow(left_to_go - 1)
        nodes[place][3] = grow(left_to_go - 1)
        return place

    roots = [grow(depth) for _ in range(trees)]
    feature, threshold, left, right, nan_left, value = (np.array(column) for column in zip(*nodes, strict=True))
    forest = Forest(
        feature.astype(np.int32), threshold, left.astype(np.int32), right.astype(np.int32), nan_left.astype(bool),
        value, np.array(roots, np.int32), np.array([depth], np.int32),
    )  # fmt: skip
    return replace(forest, depth=np.array([max(height(forest, root) for root in roots)], np.int32))


def height(forest: Forest, at: int) -> int:
    """Steps from a node to the leaf farthest below it."""
    if forest.left[at] == at:
        return 0
    return 1 + max(height(forest, int(forest.left[at])), height(forest, int(forest.right[at])))


def walked(forest: Forest, row: np.ndarray) -> float:
    """One row, one tree, one node at a time."""
    total = 0.0
    for root in forest.roots.tolist():
        at = root
        while forest.left[at] != at:
            asked = row[forest.feature[at]]
            left = bool(forest.nan_left[at]) if np.isnan(asked) else asked <= forest.threshold[at]
            at = int(forest.left[at] if left else forest.right[at])
        total += float(forest.value[at])
    return total


@given(
    st.integers(0, 10_000), st.integers(1, 5), st.integers(0, 4), st.lists(st.tuples(*[VALUES] * COLUMNS), max_size=9)
)
def test_all_rows_at_once_equal_each_row_alone(seed, trees, depth, rows):
    """Also for missing and infinite values."""
    forest = grown(seed, trees, depth)
    block = np.array(rows, np.float64).reshape(-1, COLUMNS)
    assert forest.predict(block).tolist() == pytest.approx([walked(forest, row) for row in block], abs=1e-12)


@needs_kernels
@given(
    st.integers(0, 10_000), st.integers(1, 40), st.integers(0, 5),
    st.lists(st.tuples(*[SINGLES] * COLUMNS), max_size=9), st.integers(1, 9),
)  # fmt: skip
def test_the_kernel_equals_numpy(seed, trees, depth, rows, times):
    """For any rows, many of them alike, and thresholds that no single stands for."""
    forest = grown(seed, trees, depth)
    forest = replace(forest, threshold=forest.threshold + np.random.default_rng(seed).choice([0, 1e-12, -1e-12, 1e300]))
    block = np.repeat(np.array(rows, np.float32).reshape(-1, COLUMNS), times, axis=0)
    found = forest.predict(block)
    with switched(False):
        assert found.tolist() == pytest.approx(forest.predict(block).tolist(), abs=1e-12)


@needs_kernels
def test_the_kernel_equals_numpy_on_a_real_size():
    """More rows than are scored together, columns with few and with many edges, and columns that are all the same."""
    random = np.random.default_rng(5)
    forest = grown(5, 60, 5)
    forest = replace(
        forest, threshold=np.where(np.isfinite(forest.threshold), random.normal(size=len(forest.left)), np.inf)
    )
    block = random.normal(size=(500, COLUMNS)).astype(np.float32)
    block[:, 0], block[random.random(500) < 0.7, 1], block[random.random(500) < 0.3, 2] = 0.25, np.nan, -np.inf
    found = forest.predict(block)
    with switched(False):
        assert np.abs(found - forest.predict(block)).max() < 1e-12


@needs_kernels
def test_trees_with_more_leaves_than_a_word_has_bits_stay_with_numpy():
    """And are right all the same."""
    forest, block = grown(3, 2, 9), np.random.default_rng(3).normal(size=(20, COLUMNS)).astype(np.float32)
    assert forest._masks is None
    assert forest.predict(block).tolist() == pytest.approx([walked(forest, row) for row in block], abs=1e-12)


@given(st.integers(0, 10_000), st.tuples(*[VALUES] * COLUMNS))
def test_contributions_and_the_roots_sum_to_the_prediction(seed, row):
    """Nothing of a prediction is left unexplained."""
    forest = grown(seed, 3, 4)
    told = forest.contributions(np.array(row)).sum() + forest.value[forest.roots].sum()
    assert told == pytest.approx(forest.predict(np.array([row]))[0], abs=1e-12)


def test_arrays_come_back_as_they_went():
    forest = grown(1, 3, 3)
    again = Forest.from_arrays({**forest.arrays(), "offset": np.zeros(1)})
    assert all(np.array_equal(getattr(again, name), getattr(forest, name)) for name in NAMES)


@pytest.mark.parametrize(
    ("name", "place", "wrong"), [("left", 0, 10_000), ("right", 0, 0), ("feature", 0, -1)],
)  # fmt: skip
def test_a_damaged_forest_is_refused(name, place, wrong):
    """A child outside the forest, a way back up, a column that cannot be: none of them may be followed."""
    arrays = {key: array.copy() for key, array in grown(5, 2, 4).arrays().items()}
    assert arrays["left"][0] != 0, "the first root must have children for this test to mean anything"
    arrays[name][place] = wrong
    with pytest.raises(BundleError, match="node of a forest"):
        Forest.from_arrays(arrays)


@pytest.mark.parametrize("name", ["left", "roots"])
def test_a_node_with_two_parents_is_refused(name):
    """It would be walked through once for each way to it, of which there may be more than anybody can count."""
    arrays = {key: array.copy() for key, array in grown(5, 2, 4).arrays().items()}
    arrays[name][0] = arrays["right"][0] if name == "left" else arrays["roots"][1]
    with pytest.raises(BundleError, match="two parents"):
        Forest.from_arrays(arrays)


@needs_kernels
def test_a_tree_may_be_as_deep_as_it_has_leaves():
    """A chain of 32 leaves fills the word to its last bit; one more does not fit."""
    for leaves, fits in ((32, True), (33, False)):
        forest = chain(leaves)
        block = np.arange(-1, leaves + 1, dtype=np.float32)[:, None]
        assert (forest._masks is not None) is fits
        assert forest.predict(block).tolist() == [walked(forest, row) for row in block]


def chain(leaves: int) -> Forest:
    """One tree: each node has a leaf on its left and all the others on its right."""
    nodes = np.arange(2 * leaves - 1, dtype=np.int32)
    leaf = (nodes % 2 == 1) | (nodes == nodes[-1])
    at = np.where(leaf, nodes, nodes + 1), np.where(leaf, nodes, nodes + 2)
    return Forest(
        np.zeros(len(nodes), np.int32), np.where(leaf, np.inf, nodes // 2), at[0].astype(np.int32),
        at[1].astype(np.int32), np.ones(len(nodes), bool), nodes.astype(float), np.zeros(1, np.int32),
        np.array([leaves - 1], np.int32),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("value", np.zeros(1)),
        ("roots", np.array([-1], np.int32)),
        ("roots", np.zeros(2)),
        ("depth", np.zeros(1, np.int32)),
    ],
)
def test_arrays_that_do_not_fit_each_other_are_refused(name, wrong):
    """Too few values, a root that would wrap around to the last node, another type, fewer levels than there are."""
    with pytest.raises(BundleError):
        Forest.from_arrays({**grown(5, 2, 4).arrays(), name: wrong})


def test_a_threshold_that_is_no_number_is_refused():
    """Nothing is below it and nothing above: rows would all go left."""
    arrays = {key: array.copy() for key, array in grown(5, 2, 4).arrays().items()}
    arrays["threshold"][0] = np.nan
    with pytest.raises(BundleError, match="threshold"):
        Forest.from_arrays(arrays)


def test_rows_that_are_too_narrow_are_refused():
    """Else a column too far would read the next row's values."""
    forest = grown(5, 3, 4)
    assert forest.feature.max() > 0
    with pytest.raises(BundleError, match="more columns"):
        forest.predict(np.zeros((5, int(forest.feature.max()))))


def test_a_missing_array_is_named():
    arrays = grown(1, 1, 1).arrays()
    del arrays["value"]
    with pytest.raises(BundleError, match="value"):
        Forest.from_arrays(arrays)
