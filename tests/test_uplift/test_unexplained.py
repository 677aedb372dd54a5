"""The variance of what predictions leave out: unbiased, by pairs of people, and never believed to be below zero."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from training.uplift.unexplained import basis_of, not_negative, unexplained


def pairs(left, basis, subject) -> float:
    """Second derivation: the mean over pairs of people of the products of their leftovers, as alike as they are."""
    middle = basis - basis.mean(axis=0)
    alike = middle @ np.linalg.inv(middle.T @ middle / len(middle)) @ middle.T
    over = left - left.mean()
    different = subject[:, None] != subject[None, :]
    return float((np.outer(over, over) * alike * different).sum()) / len(left) ** 2


@given(st.integers(0, 10_000))
def test_it_is_a_mean_over_pairs_of_people(seed) -> None:
    random = np.random.default_rng(seed)
    basis, left, subject = random.normal(size=(60, 3)), random.normal(size=60), random.integers(0, 25, 60)
    assert unexplained(left, basis, subject).variance == pytest.approx(pairs(left, basis, subject), rel=1e-6, abs=1e-9)


def test_it_is_right_on_average_and_its_error_too() -> None:
    """Leftovers .3 x the first column, under noise ten times as large: the variance is .09 / 1 on average."""
    random = np.random.default_rng(0)
    found, nothing = [], []
    for _ in range(300):
        basis, noise = random.normal(size=(400, 4)), 3 * random.normal(size=400)
        found.append(unexplained(0.6 * basis[:, 0] + noise, basis, np.arange(400)).variance)
        nothing.append(unexplained(noise, basis, np.arange(400)))
    assert np.mean(found) == pytest.approx(0.36, abs=4 * np.std(found) / np.sqrt(300))
    assert np.mean([each.variance for each in nothing]) == pytest.approx(0, abs=0.02)
    assert np.std([each.variance for each in nothing]) == pytest.approx(np.mean([e.error for e in nothing]), rel=0.2)


def test_what_one_person_repeats_is_no_difference_between_people() -> None:
    """Each person's noise comes twenty times: taken for different people it looks like something."""
    random = np.random.default_rng(1)
    subject = np.repeat(np.arange(200), 20)
    basis, noise = random.normal(size=(200, 5))[subject], random.normal(size=200)[subject]
    known = unexplained(noise, basis, subject)
    assert abs(known.variance) < 3 * known.error
    assert unexplained(noise, basis, np.arange(4000)).variance > known.variance + 0.01


@given(st.floats(-3, 3), st.floats(0.1, 2))
def test_a_variance_is_the_mean_of_what_is_left_above_zero(estimate, error) -> None:
    top = (
        quad(lambda x: x * norm.pdf(x, estimate, error), 0, estimate + 12 * error)[0] if estimate > -3 * error else None
    )
    if top is not None:
        assert not_negative(estimate, error) == pytest.approx(top / norm.sf(0, estimate, error), rel=1e-5)
    assert not_negative(estimate, error) >= max(estimate, 0)


def test_nothing_to_go_by() -> None:
    assert unexplained(np.array([1.0]), np.ones((1, 1)), np.array([0])).spread == 0
    assert unexplained(np.ones(5), np.ones((5, 2)), np.arange(5)).spread == 0
    assert not_negative(-1.0, 0.0) == 0


def test_columns_as_ranks_words_and_gaps() -> None:
    block = np.array([[1, 0], [np.nan, 1], [100, 1], [1, np.nan]], np.float32)
    found = basis_of(block, (False, True))
    np.testing.assert_allclose(found[:, 0], [1 / 3, 0.5, 5 / 6, 1 / 3])
    np.testing.assert_allclose(found[:, 1], [0, 1, 0, 0])
    assert sorted(found[:, 2:].sum(axis=0).tolist()) == [1, 1, 2]
