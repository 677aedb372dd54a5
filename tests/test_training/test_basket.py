"""Co-purchase: pairs beyond chance, and only those."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import DataError
from features.kinds import EventType
from serving.query import Query
from serving.recipe import Recipe, SourceSpec
from serving.sources import Neighbours
from tests.test_training.test_fitting import NOW, histories_of
from training.basket import CoPurchaseParams, basket_matrix, conditional_bound, fit_co_purchase, lift_bound, llr
from training.fitting import Cut, fit_bundle
from training.methods import resolved


def shop(baskets: list[tuple[int, ...]], items: int = 6):
    """One customer a basket, all on one day."""
    return histories_of([(f"c:{n:04}", 90, item) for n, basket in enumerate(baskets) for item in basket], items)


PAIRS = [(0, 1)] * 20 + [(2, 3)] * 20 + [(4, 0), (4, 1), (4, 2), (4, 3)] * 5 + [(4,)] * 20


def edges(arrays) -> dict[tuple[int, int], float]:
    """(from, to) -> weight."""
    rows = np.repeat(np.arange(len(arrays["indptr"]) - 1), np.diff(arrays["indptr"]))
    return dict(zip(zip(rows.tolist(), arrays["indices"].tolist(), strict=True), arrays["weights"], strict=True))


def test_only_pairs_beyond_chance_are_neighbours() -> None:
    """0-1 and 2-3 go together; 4 is in as many baskets with each as chance gives, or fewer."""
    found = edges(fit_co_purchase(shop(PAIRS), CoPurchaseParams()).arrays)
    assert set(found) == {(0, 1), (1, 0), (2, 3), (3, 2)}
    assert found[0, 1] == pytest.approx(lift_bound(*np.array([[20.0], [25.0], [25.0]]), 80.0, 1.96)[0])


def test_directed_weights_answer_what_completes_the_basket() -> None:
    """Whoever buys 1 always buys 0, not the other way round."""
    baskets = [(0, 1)] * 10 + [(0,)] * 10 + [(2,)] * 40
    found = edges(fit_co_purchase(shop(baskets), CoPurchaseParams(directed=True)).arrays)
    assert found[1, 0] > found[0, 1] > 0


def test_a_basket_is_a_subjects_day_and_holds_an_item_once() -> None:
    """Views and repeated lines add nothing; another day is another basket; a huge basket is left out."""
    lines = [("c:1", 90.1, 0), ("c:1", 90.2, 0), ("c:1", 90.9, 1), ("c:1", 91.0, 2), ("c:2", 90.1, 2)]
    lines += [("c:2", 90.1, 3, EventType.VIEW), *(("c:3", 90, item) for item in range(4))]
    matrix, left_out = basket_matrix(histories_of(lines, 4), 3)
    assert matrix.toarray().tolist() == [[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0]]
    assert left_out == 1


@given(st.integers(1, 50), st.integers(0, 50), st.integers(0, 50), st.integers(1, 200))
def test_bounds_lie_below_their_estimates_and_independence_has_no_evidence(a: int, b: int, c: int, d: int) -> None:
    """G2 >= 0, 0 for a table of independent items; the bound of the lift below it, of the share in [0, share]."""
    both, first, second, total = np.array([float(a)]), np.array([a + b + 0.0]), np.array([a + c + 0.0]), a + b + c + d
    assert llr(both, first, second, total)[0] >= -1e-9
    assert lift_bound(both, first, second, total, 1.96)[0] <= np.log(a * total / ((a + b) * (a + c)))
    assert -1e-12 <= conditional_bound(both, first, 1.96)[0] <= a / (a + b)
    side = np.array([float(a * d)])
    assert llr(side, side + a * d, side + a * d, 4.0 * a * d)[0] == pytest.approx(0, abs=1e-6)


def test_rows_keep_the_heaviest_and_are_valid() -> None:
    """Sorted, finite, positive, no item its own neighbour, at most so many a row, the same in every run."""
    rng = np.random.default_rng(0)
    baskets = [tuple(3 * int(group) + np.flatnonzero(rng.random(3) < 0.8)) for group in rng.integers(0, 4, 400)]
    params = CoPurchaseParams(neighbours=1)
    whole, cut, again = (
        fit_co_purchase(shop(baskets, 12), each).arrays for each in (CoPurchaseParams(), params, params)
    )
    assert np.diff(cut["indptr"]).max() == 1
    for (row, _), weight in edges(cut).items():
        assert weight == max(value for (source, _), value in edges(whole).items() if source == row)
    assert all(row != column and np.isfinite(weight) and weight > 0 for (row, column), weight in edges(whole).items())
    assert all(np.array_equal(cut[key], again[key]) for key in cut)


def test_it_serves_through_neighbours() -> None:
    """Fitted as of the moment: purchases of later are not known."""
    spec = resolved(SourceSpec("co-purchase", "neighbours", "co-purchase"))
    cut = Cut(shop(PAIRS), NOW, min_customers=1)
    bundle = fit_bundle(cut, Recipe("toy", (spec, SourceSpec("popularity", "popularity")), {"co-purchase": 1.0}))
    query = Query(NOW, cut.known.at(0), anchors=(2,))
    assert Neighbours(spec, bundle).opine(query).best(5).items.tolist() == [3]
    with pytest.raises(DataError, match="no pair"):
        Cut(shop(PAIRS), 1).fit(spec)
