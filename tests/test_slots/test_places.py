"""How much each place is looked at, and what one says of another: products, by hand, and a trap that position sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import least_squares

from tests.test_slots.toys import fitted, options, page_log
from training.slots.places import Place, combined, elsewhere, examination, places_of
from training.slots.sizes import Evidence
from training.slots.study import arms_of

NAN = np.nan


@given(st.lists(st.floats(0.1, 1), min_size=2, max_size=5), st.lists(st.floats(0.02, 0.5), min_size=2, max_size=6))
def test_a_product_is_found_exactly(theta, gamma) -> None:
    """Without noise the factors are those that made the table, relative to the place that is held."""
    table = np.outer(gamma, theta)
    looked = examination(table, np.full(table.shape, 0.01))
    np.testing.assert_allclose(looked.factor, np.array(theta) / theta[looked.held], rtol=1e-6)
    assert looked.misfit == 0
    other, _ = elsewhere(table, np.full(table.shape, 0.01), looked)
    np.testing.assert_allclose(other, table, rtol=1e-6)


def test_the_fit_and_its_errors_are_those_of_nonlinear_least_squares() -> None:
    """Second derivation: a general solver, and the inverse of its information matrix."""
    random = np.random.default_rng(1)
    error = random.uniform(0.005, 0.02, (6, 3))
    table = np.outer(random.uniform(0.1, 0.3, 6), [1, 0.6, 0.3]) + 0.2 * error * random.normal(size=(6, 3))
    looked = examination(table, error)
    free = [at for at in range(3) if at != looked.held]

    def left(parameters):
        theta = np.ones(3)
        theta[free] = parameters[:2]
        return ((table - np.outer(parameters[2:], theta)) / error).ravel()

    solved = least_squares(left, np.ones(8) * 0.5, xtol=1e-14, ftol=1e-14)
    assert looked.misfit == 0
    np.testing.assert_allclose(looked.factor[free], solved.x[:2], rtol=1e-5)
    # At the solution the information of Gauss and Newton is the one that the closed form inverts.
    covariance = np.linalg.inv(solved.jac.T @ solved.jac)
    np.testing.assert_allclose(looked.error[free], np.sqrt(np.diag(covariance))[:2], rtol=1e-4)


def test_what_one_place_says_of_another_by_hand() -> None:
    """Two places, theta 1 and .5 known from many actions; the misfit widens what is said."""
    table, error = np.array([[0.2, 0.1], [0.4, 0.2], [0.3, NAN]]), np.full((3, 2), 0.01)
    looked = examination(table, error)
    other, wide = elsewhere(table, error, looked)
    low = 1 - looked.held
    factor = looked.factor[low] / looked.factor[0] if low else looked.factor[1] / looked.factor[0]
    assert other[2, 1] == pytest.approx(0.3 * factor, rel=1e-6)
    expected = np.sqrt((factor * 0.01) ** 2 + (0.3 * looked.error[1]) ** 2 + looked.misfit**2)
    assert wide[2, 1] == pytest.approx(expected, rel=1e-6)
    assert np.isnan(other[2, 0]), "the other place never showed it"


def test_places_that_nothing_links_say_nothing() -> None:
    table = np.array([[0.2, NAN], [NAN, 0.1]])
    looked = examination(table, np.full((2, 2), 0.01))
    assert np.isnan(looked.factor).sum() == 1
    assert np.isnan(elsewhere(table, np.full((2, 2), 0.01), looked)[0]).all()


def test_a_table_that_is_no_product_has_a_misfit() -> None:
    """Effects that swap between the places differ from any product by about as much as they differ."""
    random = np.random.default_rng(0)
    table = 0.2 + 0.1 * random.normal(size=(40, 2))
    looked = examination(table, np.full(table.shape, 0.01))
    assert looked.misfit == pytest.approx(0.1, rel=0.3)


def test_estimates_are_weighed_by_precision() -> None:
    mean, error = combined(np.array([1.0, 1.0, NAN]), np.array([1.0, 1.0, NAN]), np.array([4.0, NAN, NAN]), np.array([2.0, NAN, NAN]))  # noqa: E501  # fmt: skip
    np.testing.assert_allclose(mean, [1.6, 1.0, NAN])
    np.testing.assert_allclose(error, [np.sqrt(0.8), 1.0, NAN])


def test_places_are_slots_at_positions_from_the_top() -> None:
    log = page_log(np.full((3, 2, 2), 0.1), [[0.5, 0.5]] * 3, pages=3, slots=("low", "top", "mid"), positions=[2, 0, 1])
    places, place = places_of(log)
    assert places == (Place(0, "top"), Place(1, "mid"), Place(2, "low"))
    assert place[:3].tolist() == [2, 0, 1]


def test_position_sets_a_trap_and_is_seen_through() -> None:
    """B is twice as good as A, but was only shown at the bottom, where a quarter looks; c and d were shown in both.

    By clicks A beats B. At the top B would beat A, and that is what is expected of it there.
    """
    good = np.array([0.0, 0.16, 0.32, 0.2, 0.4])  # nothing, a, b, c, d when looked at
    click = np.stack([[good, good], [good / 4, good / 4]])
    log = page_log(click, [[0.2, 0.3, 0, 0.25, 0.25], [0.2, 0, 0.3, 0.25, 0.25]], pages=6_000)
    shown = {name: log.reward("click")[log.action == at].mean() for at, name in ((1, "a"), (2, "b"))}
    assert shown["a"] > 1.5 * shown["b"], "the trap"
    places, place = places_of(log)
    modules = {"s0": ("a", "b", "c", "d"), "s1": ("a", "b", "c", "d")}
    arms = arms_of(log, places, place, options(modules=modules))
    told = Evidence(fitted(log), "T", places, place, arms).averages(np.ones(len(log), bool))
    assert told.looked.factor[1] / told.looked.factor[0] == pytest.approx(0.25, abs=0.05)
    top = told.mean[:, 0]
    assert top[1] > top[0], "b before a at the top"
    assert abs(told.other[1, 0] - 0.32) < 2.5 * told.other_error[1, 0]
