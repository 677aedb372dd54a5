"""Places on a page, how much each is looked at, and what one place says of an action in another.

A slot lower down is seen less, so the same action does less there. Where an action was drawn in several places, the
average effects m with standard errors s tell how much less (the examination hypothesis, Richardson, Dominowska & Ragno
2007; learned from randomised positions as in Joachims, Swaminathan & Schnabel 2017):

    m[a, p] = theta[p] gamma[a] + noise of variance s[a, p]^2 + misfit^2

theta is 1 in the place that is known best. What does not fit the product (an action that suits one place) is `misfit`,
and widens whatever one place says of another. Nothing is said of places that no action links.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.uplift.log import Codes, DecisionLog, Doubles, Mask

ROUNDS = 200
"""Of the alternating fit, at most."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something can be shown: actions are compared with each other in one place only.

    Args:
        position: 0-based, from the top.
        slot: its name.
    """

    position: int
    slot: str


def places_of(log: DecisionLog) -> tuple[tuple[Place, ...], Codes]:
    """The places of a log from the top down, and int32[n], which of them each decision is of."""
    both = np.stack([log.position, log.slot], axis=1)
    found, code = np.unique(both, axis=0, return_inverse=True)
    places = [Place(int(position), log.slots[slot]) for position, slot in found]
    order = sorted(range(len(places)), key=places.__getitem__)
    rank = np.empty(len(places), np.int32)
    rank[order] = np.arange(len(places), dtype=np.int32)
    return tuple(places[at] for at in order), rank[code.ravel()]


@dataclass(frozen=True, slots=True)
class Examination:
    """How much each place is looked at, relative to the one that is known best.

    Args:
        factor: float64[places], theta; NaN where no action links the place to the others.
        error: float64[places], its standard error; 0 for the place that the others are held against.
        misfit: standard deviation of what the product does not explain.
        held: the place that the others are held against.
    """

    factor: Doubles
    error: Doubles
    misfit: float
    held: int


def examination(mean: Doubles, error: Doubles) -> Examination:
    """Fit the product by weighted least squares, actions and places in turn.

    Args:
        mean: float64[actions, places], average effects; NaN where not known.
        error: float64[actions, places], standard errors.
    """
    known = _known(mean, error)
    weight = np.where(known, 1 / np.where(known, error, 1.0) ** 2, 0.0)
    value = np.where(known, mean, 0.0)
    held = int(weight.sum(axis=0).argmax())
    linked, used = _linked(known, held)
    factor, spread = np.full(mean.shape[1], np.nan), np.full(mean.shape[1], np.nan)
    factor[held], spread[held] = 1.0, 0.0
    if linked.sum() < 2:
        return Examination(factor, spread, 0.0, held)
    rows = np.flatnonzero(used & (known[:, linked].sum(axis=1) > 1))
    columns = np.flatnonzero(linked)
    at = int(np.flatnonzero(columns == held)[0])
    part, mass = value[np.ix_(rows, columns)], weight[np.ix_(rows, columns)]
    theta, gamma = _product(part, mass, at)
    misfit = _misfit(part - gamma[:, None] * theta, mass)
    mass = np.where(mass > 0, 1 / (1 / np.where(mass > 0, mass, 1.0) + misfit**2), 0.0)
    theta, gamma = _product(part, mass, at)
    factor[columns], spread[columns] = theta, _errors(theta, gamma, mass, at)
    return Examination(factor, spread, misfit, held)


def elsewhere(mean: Doubles, error: Doubles, looked: Examination) -> tuple[Doubles, Doubles]:
    """What the other places say of each action in each place, with its standard error; NaN where they say nothing.

    gamma without the place itself is the weighted mean of m / theta over the others; theta gamma is what is expected
    here, its variance theta^2 var(gamma) + gamma^2 var(theta) + misfit^2.

    Args:
        mean, error: float64[actions, places], as for `examination`.
        looked: fitted on them.
    """
    theta = np.nan_to_num(looked.factor)
    known = _known(mean, error) & np.isfinite(looked.factor)
    weight = np.where(known, theta / (np.where(known, error, 1.0) ** 2 + looked.misfit**2), 0.0)
    top, low = weight * np.where(known, mean, 0.0), weight * theta
    top, low = (each.sum(axis=1, keepdims=True) - each for each in (top, low))
    said = (low > 1e-12 * max(float(low.max(initial=0.0)), 1.0)) & np.isfinite(looked.factor)
    gamma = np.where(said, top / np.where(said, low, 1.0), np.nan)
    variance = theta**2 / np.where(said, low, np.nan) + (gamma * looked.error) ** 2 + looked.misfit**2
    return gamma * looked.factor, np.sqrt(variance)


def combined(mean: Doubles, error: Doubles, other: Doubles, other_error: Doubles) -> tuple[Doubles, Doubles]:
    """Two independent estimates weighed by their precision; one alone where the other is not known."""
    own, strange = (
        np.where(_known(*each), 1 / np.where(_known(*each), each[1], 1.0) ** 2, 0.0)
        for each in ((mean, error), (other, other_error))
    )
    whole = own + strange
    none = whole <= 0
    found = own * np.where(own > 0, mean, 0.0) + strange * np.where(strange > 0, other, 0.0)
    whole = np.where(none, np.nan, whole)
    return found / whole, 1 / np.sqrt(whole)


def _known(mean: Doubles, error: Doubles) -> Mask:
    known: Mask = np.isfinite(mean) & np.isfinite(error) & (error > 0)
    return known


def _linked(known: Mask, held: int) -> tuple[Mask, Mask]:
    """bool[places] and bool[actions] that a chain of shared actions links to a place."""
    places = np.zeros(known.shape[1], np.bool_)
    places[held] = True
    while True:
        actions = np.asarray(known[:, places].any(axis=1), np.bool_)
        grown = np.asarray(places | known[actions].any(axis=0), np.bool_)
        if (grown == places).all():
            return places, actions
        places = grown


def _product(value: Doubles, weight: Doubles, held: int) -> tuple[Doubles, Doubles]:
    """theta and gamma by turns, each a weighted least-squares fit given the other."""
    theta = np.ones(value.shape[1])
    gamma = np.zeros(len(value))
    for _ in range(ROUNDS):
        gamma = _ratio((weight * value * theta).sum(axis=1), (weight * theta**2).sum(axis=1))
        new = _ratio((weight * value * gamma[:, None]).sum(axis=0), (weight * gamma[:, None] ** 2).sum(axis=0))
        new = new / new[held] if new[held] else np.ones_like(new)
        new = np.maximum(new, 0.0)  # nobody looks less than not at all
        done = np.abs(new - theta).max() < 1e-10
        theta = new
        if done:
            break
    return theta, gamma


def _ratio(top: Doubles, low: Doubles) -> Doubles:
    found: Doubles = np.where(low > 0, top / np.where(low > 0, low, 1.0), 0.0)
    return found


def _misfit(left: Doubles, weight: Doubles) -> float:
    """By moments: the weighted squares beyond their expectation, over what a unit of variance would add to them."""
    cells = int((weight > 0).sum())
    freedom = cells - left.shape[0] - left.shape[1] + 1
    if freedom < 1:
        return 0.0
    over = float((weight * left**2).sum()) - freedom
    return float(np.sqrt(max(over, 0.0) * cells / (freedom * float(weight.sum()))))


def _errors(theta: Doubles, gamma: Doubles, weight: Doubles, held: int) -> Doubles:
    """float64[places]: standard errors of theta, gamma being estimated too (the Schur complement of its block)."""
    own = np.diag((weight * gamma[:, None] ** 2).sum(axis=0))
    cross = weight * gamma[:, None] * theta
    inner = np.maximum((weight * theta**2).sum(axis=1), 1e-300)
    free = np.arange(len(theta)) != held
    information = (own - cross.T @ (cross / inner[:, None]))[np.ix_(free, free)]
    found = np.zeros(len(theta))
    found[free] = np.sqrt(np.maximum(np.diag(np.linalg.pinv(information)), 0.0))
    return found
