"""BG/NBD and Gamma-Gamma: how often a customer will buy again and what an order brings, in closed form.

BG/NBD (Fader, Hardie & Lee 2005, "Counting Your Customers" the Easy Way, Marketing Science 24(2)): while alive a
customer buys at a rate drawn from Gamma(r, alpha), and after each purchase leaves for good with a probability drawn
from Beta(a, b). Gamma-Gamma (Fader & Hardie 2013, The Gamma-Gamma Model of Monetary Value): the mean order of a
customer varies around a mean of the customer's own, which does not depend on how often they buy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import betaln, gammaln, hyp2f1

from features.errors import DataError

Floats = npt.NDArray[np.float64]
LEAST_CUSTOMERS = 50
"""Four parameters of fewer customers who came back would be noise."""
MOST_CUSTOMERS = 50_000
"""More add nothing to four parameters; as many are drawn, seeded."""
_BOUND = 9.0
"""Logarithms of parameters stay within this; at the bounds the mixing distribution is a point."""


@dataclass(frozen=True, slots=True)
class Visits:
    """How often and how lately customers bought; all float64[n], times in one unit.

    Args:
        repeats: purchases after the first one.
        recency: time from the first to the last purchase; 0 without repeats.
        age: time from the first purchase to now, at least `recency`.
    """

    repeats: Floats
    recency: Floats
    age: Floats

    def take(self, which: npt.NDArray[np.intp]) -> Visits:
        """Some of the customers."""
        return Visits(self.repeats[which], self.recency[which], self.age[which])


@dataclass(frozen=True, slots=True)
class BgNbd:
    """Parameters of the BG/NBD model; `alpha` is in the unit of time of the visits."""

    r: float
    alpha: float
    a: float
    b: float

    def log_likelihood(self, visits: Visits) -> Floats:
        """float64[n]: of each customer's purchases (equation 6 of the paper)."""
        r, alpha, a, b, x = self.r, self.alpha, self.a, self.b, visits.repeats
        common = gammaln(r + x) - gammaln(r) + r * np.log(alpha) - betaln(a, b)
        alive = betaln(a, b + x) - (r + x) * np.log(alpha + visits.age)
        gone = betaln(a + 1, b + np.maximum(x, 1) - 1) - (r + x) * np.log(alpha + visits.recency)
        found: Floats = common + np.where(x > 0, np.logaddexp(alive, gone), alive)
        return found

    def alive(self, visits: Visits) -> Floats:
        """float64[n]: probability that the customer has not left."""
        x = visits.repeats
        odds = np.log(self.a / (self.b + np.maximum(x, 1) - 1))
        odds = odds + (self.r + x) * np.log((self.alpha + visits.age) / (self.alpha + visits.recency))
        found: Floats = np.where(x > 0, 1 / (1 + np.exp(np.minimum(odds, 700))), 1.0)
        return found

    def buys(self, visits: Visits, time: float) -> Floats:
        """float64[n]: probability of at least one purchase within a time.

        Who is alive has a rate of Gamma(r + x, alpha + T), and leaves only after a purchase.
        """
        known = self.alpha + visits.age
        found: Floats = self.alive(visits) * -np.expm1((self.r + visits.repeats) * np.log(known / (known + time)))
        return found

    def orders(self, visits: Visits, time: float) -> Floats:
        """float64[n]: expected purchases within a time (equation 10 of the paper).

        Euler's transformation of the hypergeometric function keeps it near 1 for customers who bought very often:
        (1 - z)^(r + x) F(r + x, b + x; c; z) = (1 - z)^(a - 1) F(a + b - 1 - r, a - 1; c; z), c = a + b + x - 1.
        """
        a = self.a if abs(self.a - 1) > 1e-5 else 1 + 1e-5  # the limit at 1 is 0 / 0
        third = a + self.b + visits.repeats - 1
        z = time / (self.alpha + visits.age + time)
        left = (1 - z) ** (a - 1) * hyp2f1(a + self.b - 1 - self.r, a - 1, third, z)
        found: Floats = third / (a - 1) * (1 - left) * self.alive(visits)
        return found


@dataclass(frozen=True, slots=True)
class GammaGamma:
    """Parameters of the Gamma-Gamma model; `gamma` is in the unit of money. q is above 1, else there is no mean."""

    p: float
    q: float
    gamma: float

    def log_likelihood(self, orders: Floats, mean: Floats) -> Floats:
        """float64[n]: of each customer's mean order (equation 1a of the note)."""
        p, q, gamma = self.p, self.q, self.gamma
        shape = p * orders
        found: Floats = (
            gammaln(shape + q) - gammaln(shape) - gammaln(q) + q * np.log(gamma) + (shape - 1) * np.log(mean)
            + shape * np.log(orders) - (shape + q) * np.log(gamma + orders * mean)
        )  # fmt: skip
        return found

    def order_value(self, orders: Floats, mean: Floats) -> Floats:
        """float64[n]: what an order of each customer is expected to bring (equation 5 of the note).

        Args:
            orders: how many are known; with 0 it is the mean of all customers.
            mean: what they brought on average.
        """
        found: Floats = self.p * (self.gamma + orders * mean) / (self.p * orders + self.q - 1)
        return found


def fit_bg_nbd(visits: Visits, *, seed: int = 0) -> BgNbd:
    """Maximum likelihood.

    Raises:
        DataError: fewer than `LEAST_CUSTOMERS` bought twice or more.
    """
    _insist(int((visits.repeats > 0).sum()), "bought on two days or more")
    visits = visits.take(_drawn(len(visits.repeats), seed))
    unit = float(visits.age.mean())
    scaled = Visits(visits.repeats, visits.recency / unit, visits.age / unit)
    best = _maximum(lambda logs: BgNbd(*np.exp(logs)).log_likelihood(scaled), [(0, 0, 0, 0), (-1, -2, -1, 1)])
    r, alpha, a, b = np.exp(best).tolist()
    return BgNbd(r, alpha * unit, a, b)


def fit_gamma_gamma(orders: Floats, mean: Floats, *, seed: int = 0) -> GammaGamma:
    """Maximum likelihood over customers whose mean order is above zero.

    Raises:
        DataError: fewer than `LEAST_CUSTOMERS` of them.
    """
    good = np.flatnonzero((orders > 0) & (mean > 0))
    _insist(len(good), "have orders above zero")
    good = good[_drawn(len(good), seed)]
    unit = float(mean[good].mean())
    number, scaled = orders[good], mean[good] / unit

    def made(logs: Floats) -> GammaGamma:
        p, above, gamma = np.exp(logs).tolist()
        return GammaGamma(p, 1 + above, gamma)

    best = made(_maximum(lambda logs: made(logs).log_likelihood(number, scaled), [(1, 1, 1), (0, 0, 0)]))
    return GammaGamma(best.p, best.q, best.gamma * unit)


def _maximum(log_likelihood: Callable[[Floats], Floats], starts: list[tuple[int, ...]]) -> Floats:
    """The best logarithms of the parameters, from several starts."""
    found = [
        minimize(
            lambda logs: -float(log_likelihood(logs).mean()), np.array(start, np.float64), method="L-BFGS-B",
            bounds=[(-_BOUND, _BOUND)] * len(start),
        )
        for start in starts
    ]  # fmt: skip
    best: Floats = min(found, key=lambda each: float(each.fun)).x
    return best


def _drawn(n: int, seed: int) -> npt.NDArray[np.intp]:
    if n <= MOST_CUSTOMERS:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, MOST_CUSTOMERS, replace=False))


def _insist(n: int, who: str) -> None:
    if n < LEAST_CUSTOMERS:
        what = f"{n} customers {who}, and the model needs {LEAST_CUSTOMERS}"
        raise DataError(what, where="BG/NBD", hint="a longer past")
