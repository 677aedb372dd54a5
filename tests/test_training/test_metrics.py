"""Metrics against arithmetic by hand and against slow loops."""

from __future__ import annotations

from itertools import combinations
from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import DataError
from training.metrics import (
    METRICS,
    category_coverage,
    coverage,
    hit_matrix,
    intra_list_diversity,
    novelty,
    scores,
)
from training.split import Truth


def truth_from(lists: list[list[int]]) -> Truth:
    """One customer a list of relevant items."""
    items = np.array([item for each in lists for item in sorted(each)], np.int32)
    indptr = np.concatenate([[0], np.cumsum([len(each) for each in lists])]).astype(np.int64)
    return Truth(np.arange(len(lists), dtype=np.int32), indptr, items, np.zeros(len(items), bool))


def ranked_from(lists: list[list[int]], k: int) -> np.ndarray:
    """Lists padded with -1."""
    out = np.full((len(lists), k), -1, np.int32)
    for row, each in enumerate(lists):
        out[row, : len(each)] = each[:k]
    return out


HAND = scores(ranked_from([[7, 3, 9, 1]], 4), truth_from([[3, 1, 5]]), [2, 4])


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("recall@2", 1 / 3),
        ("recall@4", 2 / 3),
        ("recall-capped@2", 1 / 2),
        ("recall-capped@4", 2 / 3),
        ("ndcg@2", (1 / log2(3)) / (1 / log2(2) + 1 / log2(3))),
        ("ndcg@4", (1 / log2(3) + 1 / log2(5)) / (1 / log2(2) + 1 / log2(3) + 1 / log2(4))),
        ("map@2", (1 / 2) / 2),
        ("map@4", (1 / 2 + 2 / 4) / 3),
        ("mrr@2", 1 / 2),
        ("hr@2", 1.0),
    ],
)
def test_by_hand(metric, expected):
    """List 7 3 9 1, relevant 1 3 5: hits at ranks 2 and 4."""
    assert HAND[metric].tolist() == pytest.approx([expected])


def test_the_perfect_list_scores_one_everywhere_but_recall():
    """Ten relevant items, a list of four: recall is 4/10, all others are 1."""
    found = scores(ranked_from([[0, 1, 2, 3]], 4), truth_from([list(range(10))]), [4])
    assert found["recall@4"].tolist() == [0.4]
    assert all(found[f"{name}@4"].tolist() == [1.0] for name in METRICS if name != "recall")


def test_without_relevant_items_everything_is_undefined():
    """NaN, not zero: the mean over customers must not sink."""
    found = scores(ranked_from([[1, 2], [1, 2]], 2), truth_from([[], [2]]), [2])
    assert all(np.isnan(values[0]) and not np.isnan(values[1]) for values in found.values())


def test_padding_is_never_a_hit():
    """A short list just has fewer chances."""
    found = scores(ranked_from([[], [5]], 3), truth_from([[0], [5]]), [3])
    assert found["hr@3"].tolist() == [0.0, 1.0]
    assert not hit_matrix(ranked_from([[]], 3), truth_from([[0]])).any()


def test_k_beyond_the_list_counts_what_is_there():
    """ndcg@10 of a list of 1: the ideal still has two places."""
    found = scores(ranked_from([[4]], 1), truth_from([[4, 5]]), [10])
    assert found["ndcg@10"].tolist() == pytest.approx([1 / (1 + 1 / log2(3))])
    assert found["recall@10"].tolist() == [0.5]


def test_lists_of_other_customers_are_refused():
    """Row i of both must be the same customer."""
    with pytest.raises(DataError, match="different customers"):
        hit_matrix(ranked_from([[1]], 1), truth_from([[1], [2]]))


def test_coverage_counts_distinct_items_among_the_first_k():
    """Items 1 2 and 1 3 of a catalogue of 10: three of ten; padding is no item."""
    ranked = ranked_from([[1, 2, 8], [1, 3]], 3)
    assert coverage(ranked, 10, 2) == 0.3
    assert coverage(ranked, 10, 3) == 0.4
    assert np.isnan(coverage(ranked, 0, 2))


def test_novelty_is_the_mean_self_information():
    """Half of 8 customers bought item 0 (1 bit), one of 8 item 1 (3 bits), nobody item 2 (half a buyer: 4 bits)."""
    buyers = np.array([4, 1, 0])
    found = novelty(ranked_from([[0, 1], [2], []], 2), buyers, 8, 2)
    assert found[:2].tolist() == [2.0, 4.0]
    assert np.isnan(found[2])


def test_diversity_and_category_coverage_by_hand():
    """Categories 0 0 1 and one unknown: of three known pairs two differ, and two of three categories are there."""
    categories = np.array([0, 0, 1, -1, 2], np.int32)
    ranked = ranked_from([[0, 1, 2, 3], [3, 0], [], [4, 2]], 4)
    assert intra_list_diversity(ranked, categories, 4).tolist() == pytest.approx(
        [2 / 3, np.nan, np.nan, 1.0], nan_ok=True
    )
    assert category_coverage(ranked, categories, 4).tolist() == pytest.approx(
        [2 / 3, 1 / 3, np.nan, 2 / 3], nan_ok=True
    )
    assert category_coverage(ranked, categories, 1)[:2].tolist() == pytest.approx([1.0, np.nan], nan_ok=True)


LISTS = st.lists(st.lists(st.integers(0, 9), unique=True, max_size=6), min_size=1, max_size=5)


@given(LISTS, st.lists(st.integers(-1, 3), min_size=10, max_size=10), st.integers(0, 8))
def test_diversity_equals_a_slow_loop_over_pairs(lists, codes, k):
    """Any lists, any categories, any cut."""
    ranked, categories = ranked_from(lists, 6), np.array(codes, np.int32)
    spread, covered = intra_list_diversity(ranked, categories, k), category_coverage(ranked, categories, k)
    for row, listed in enumerate(lists):
        known = [codes[item] for item in listed[:k] if codes[item] >= 0]
        pairs = [one != other for one, other in combinations(known, 2)]
        assert spread[row] == pytest.approx(sum(pairs) / len(pairs) if pairs else np.nan, nan_ok=True)
        most = min(k, len({code for code in codes if code >= 0}))
        assert covered[row] == pytest.approx(len(set(known)) / most if known else np.nan, nan_ok=True)


CASES = st.integers(1, 6).flatmap(
    lambda k: st.tuples(
        st.just(k),
        st.lists(
            st.tuples(
                st.lists(st.integers(0, 9), unique=True, max_size=k),
                st.lists(st.integers(0, 9), unique=True, max_size=8),
            ),
            min_size=1,
            max_size=8,
        ),
    )
)


def slow(listed: list[int], relevant: list[int], k: int) -> dict[str, float]:
    """Every metric by a loop over one list."""
    if not relevant:
        return dict.fromkeys(METRICS, float("nan"))
    hits, gain, precision, first = 0, 0.0, 0.0, 0.0
    for rank, item in enumerate(listed[:k], start=1):
        if item in relevant:
            hits += 1
            gain += 1 / log2(rank + 1)
            precision += hits / rank
            first = first or 1 / rank
    best = min(k, len(relevant))
    return {
        "recall": hits / len(relevant),
        "recall-capped": hits / best,
        "ndcg": gain / sum(1 / log2(rank + 1) for rank in range(1, best + 1)),
        "map": precision / best,
        "mrr": first,
        "hr": float(hits > 0),
    }


@given(CASES, st.integers(1, 8))
def test_every_metric_equals_a_slow_loop(case, cut):
    """Any lists, any truth, any cut, also beyond the lists."""
    width, pairs = case
    found = scores(ranked_from([p[0] for p in pairs], width), truth_from([p[1] for p in pairs]), [cut])
    for row, (listed, relevant) in enumerate(pairs):
        for name, expected in slow(listed, relevant, cut).items():
            assert found[f"{name}@{cut}"][row] == pytest.approx(expected, nan_ok=True)


@given(CASES)
def test_metrics_lie_between_zero_and_one_and_a_better_rank_never_hurts(case):
    """Moving a hit to the first place never lowers any metric."""
    width, pairs = case
    before = scores(ranked_from([p[0] for p in pairs], width), truth_from([p[1] for p in pairs]), [width])
    moved = [sorted(listed, key=lambda item: item not in relevant) for listed, relevant in pairs]
    after = scores(ranked_from(moved, width), truth_from([p[1] for p in pairs]), [width])
    for name, values in before.items():
        good = ~np.isnan(values)
        assert ((values[good] >= 0) & (values[good] <= 1 + 1e-12)).all()
        assert (after[name][good] >= values[good] - 1e-12).all()


@given(st.permutations(range(8)), CASES)
def test_metrics_do_not_depend_on_which_rows_items_have(permutation, case):
    """Renaming the items changes nothing."""
    width, pairs = case
    names = [*permutation, 8, 9]
    first = scores(ranked_from([p[0] for p in pairs], width), truth_from([p[1] for p in pairs]), [width])
    renamed = [([names[i] for i in listed], [names[i] for i in relevant]) for listed, relevant in pairs]
    second = scores(ranked_from([p[0] for p in renamed], width), truth_from([p[1] for p in renamed]), [width])
    for name, values in first.items():
        np.testing.assert_allclose(values, second[name])
