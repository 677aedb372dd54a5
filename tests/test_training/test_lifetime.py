"""BG/NBD and Gamma-Gamma against their definitions by numeric integration, and against simulated customers."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import beta as beta_law
from scipy.stats import gamma as gamma_law

from features.errors import DataError
from training.value.lifetime import BgNbd, GammaGamma, Visits, fit_bg_nbd, fit_gamma_gamma

MODEL = BgNbd(r=1.7, alpha=6.0, a=1.6, b=2.4)
CUSTOMERS = [(0, 0.0, 10.0), (1, 4.0, 10.0), (2, 9.5, 10.0), (5, 8.0, 30.0)]
"""(repeats, recency, age)"""


def visits_of(x: float, recency: float, age: float) -> Visits:
    return Visits(*(np.array([float(each)]) for each in (x, recency, age)))


def over_population(weight: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> float:
    """The mean of a function of rate and chance of leaving over the two mixing laws, by Gauss-Legendre quadrature.

    Squares as new variables take the roots at the ends out of the two densities.
    """
    nodes, weights = np.polynomial.legendre.leggauss(400)
    nodes, weights = (nodes + 1) / 2, weights / 2
    rate, of_rate = 9 * nodes**2, 18 * nodes * weights
    p, of_p = np.sin(np.pi / 2 * nodes) ** 2, np.pi / 2 * np.sin(np.pi * nodes) * weights
    mixed = np.outer(
        of_rate * gamma_law.pdf(rate, MODEL.r, scale=1 / MODEL.alpha), of_p * beta_law.pdf(p, MODEL.a, MODEL.b)
    )
    return float((mixed * weight(rate[:, None], p[None])).sum())


def alive_then(x: float, age: float) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Density of x purchases and being alive: all gaps, no purchase since the last, stayed x times."""
    return lambda rate, p: rate**x * np.exp(-rate * age) * (1 - p) ** x


def gone_then(x: float, recency: float) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Density of x purchases and leaving after the last one; nobody leaves before the first repeat."""
    return lambda rate, p: (x > 0) * p * (1 - p) ** (x - 1) * rate**x * np.exp(-rate * recency)


@pytest.mark.parametrize(("x", "recency", "age"), CUSTOMERS)
def test_likelihood_chance_and_orders_are_the_integrals_that_define_them(x, recency, age):
    alive, gone = over_population(alive_then(x, age)), over_population(gone_then(x, recency))
    visits, time = visits_of(x, recency, age), 12.0
    assert math.exp(MODEL.log_likelihood(visits)[0]) == pytest.approx(alive + gone, rel=1e-5)
    assert MODEL.alive(visits)[0] == pytest.approx(alive / (alive + gone), rel=1e-5)
    # While alive purchases come at `rate` and each ends the life with chance p: (1 - exp(-rate p t)) / p on average.
    then = alive_then(x, age)
    orders = over_population(lambda rate, p: then(rate, p) * -np.expm1(-rate * p * time) / p)
    assert MODEL.orders(visits, time)[0] == pytest.approx(orders / (alive + gone), rel=1e-5)
    buys = over_population(lambda rate, p: then(rate, p) * -np.expm1(-rate * time))
    assert MODEL.buys(visits, time)[0] == pytest.approx(buys / (alive + gone), rel=1e-5)


def test_customers_who_bought_hundreds_of_times_have_finite_expectations():
    """The paper's own form of the expectation overflows here."""
    model = BgNbd(r=0.8, alpha=2.0, a=0.05, b=3.0)
    visits = Visits(np.array([20.0, 400.0, 2000.0]), np.array([360.0] * 3), np.array([361.0] * 3))
    orders = model.orders(visits, 91.0)
    expected = visits.repeats / 361 * 91
    assert np.all(np.abs(orders / expected - 1) < 0.1)


def test_a_of_one_is_the_limit_of_its_neighbours():
    visits = visits_of(3, 20, 30)
    sides = [BgNbd(0.8, 9.0, a, 2.0).orders(visits, 20.0)[0] for a in (0.999, 1.0, 1.001)]
    assert sides[1] == pytest.approx((sides[0] + sides[2]) / 2, rel=1e-4)


def simulated(n: int, model: BgNbd, seed: int) -> tuple[Visits, np.ndarray]:
    """Customers of the model observed up to time 60, and their orders in the 30 after it."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        rate, leaves, now = rng.gamma(model.r, 1 / model.alpha), rng.beta(model.a, model.b), 0.0
        age, times = rng.uniform(20, 60), []
        while True:
            now += rng.exponential(1 / rate)
            if now > age + 30:
                break
            times.append(now)
            if rng.random() < leaves:
                break
        seen = [each for each in times if each <= age]
        rows.append((len(seen), seen[-1] if seen else 0.0, age, len(times) - len(seen)))
    x, recency, age, later = np.array(rows).T
    return Visits(x, recency, age), later


def test_parameters_come_back_from_simulated_customers():
    truth = BgNbd(r=0.9, alpha=6.0, a=0.8, b=2.5)
    visits, later = simulated(6000, truth, 1)
    found = fit_bg_nbd(visits)
    assert found.log_likelihood(visits).mean() >= truth.log_likelihood(visits).mean()
    assert found.r == pytest.approx(truth.r, rel=0.15)
    assert found.alpha == pytest.approx(truth.alpha, rel=0.2)
    assert found.a / (found.a + found.b) == pytest.approx(truth.a / (truth.a + truth.b), rel=0.15)
    assert found.orders(visits, 30.0).mean() == pytest.approx(later.mean(), rel=0.05)
    assert found.buys(visits, 30.0).mean() == pytest.approx((later > 0).mean(), rel=0.05)


def test_the_unit_of_time_changes_nothing():
    visits, _ = simulated(500, BgNbd(0.9, 6.0, 0.8, 2.5), 2)
    weeks = Visits(visits.repeats, visits.recency / 7, visits.age / 7)
    one, other = fit_bg_nbd(visits), fit_bg_nbd(weeks)
    np.testing.assert_allclose(one.orders(visits, 28.0), other.orders(weeks, 4.0), rtol=1e-4)


@pytest.mark.parametrize(("orders", "mean"), [(1.0, 3.0), (4.0, 12.0)])
def test_gamma_gamma_is_the_integral_that_defines_it(orders, mean):
    """The mean of n orders of Gamma(p, nu) is Gamma(p n, nu n); nu is Gamma(q, gamma); an order brings p / nu."""
    model = GammaGamma(p=2.5, q=3.2, gamma=8.0)
    nu = gamma_law(model.q, scale=1 / model.gamma)

    def density(rate: float) -> float:
        return float(gamma_law.pdf(mean, model.p * orders, scale=1 / (rate * orders)) * nu.pdf(rate))

    total, _ = quad(density, 0, 20, epsabs=1e-13)
    worth, _ = quad(lambda rate: density(rate) * model.p / rate, 0, 20, epsabs=1e-13)
    given = np.array([orders]), np.array([mean])
    assert math.exp(model.log_likelihood(*given)[0]) == pytest.approx(total, rel=1e-6)
    assert model.order_value(*given)[0] == pytest.approx(worth / total, rel=1e-6)


def test_gamma_gamma_parameters_come_back():
    truth = GammaGamma(p=4.0, q=3.5, gamma=30.0)
    rng = np.random.default_rng(4)
    orders = rng.integers(1, 12, 5000).astype(float)
    nu = rng.gamma(truth.q, 1 / truth.gamma, 5000)
    mean = rng.gamma(truth.p * orders, 1 / (nu * orders))
    found = fit_gamma_gamma(orders, mean)
    assert found.p == pytest.approx(truth.p, rel=0.15)
    assert found.q == pytest.approx(truth.q, rel=0.15)
    assert found.gamma == pytest.approx(truth.gamma, rel=0.25)
    everybody = truth.p * truth.gamma / (truth.q - 1)
    assert found.order_value(np.zeros(1), np.zeros(1))[0] == pytest.approx(everybody, rel=0.05)


def test_too_few_are_refused():
    with pytest.raises(DataError, match="bought on two days or more"):
        fit_bg_nbd(Visits(np.r_[np.ones(49), np.zeros(500)], np.ones(549), np.full(549, 2.0)))
    with pytest.raises(DataError, match="orders above zero"):
        fit_gamma_gamma(np.ones(60), np.r_[np.ones(49), np.full(11, -1.0)])
