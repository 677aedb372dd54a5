"""Learning a contextual prior (`serving.prior`): which dimensions tell something of an outcome, and how strongly.

Everything is learned by looking forward: each of the latest windows of the past is forecast from cells counted before
it, and a dimension's strength is the one that gives these windows the highest likelihood (empirical Bayes by held-out
likelihood). A dimension that does not raise it clearly, by more than twice its standard error over people, is dropped.
Then all of the past is counted. Nothing after the past is looked at.

Decisions with known propensities count with 1 / propensity (Horvitz & Thompson 1952), self-normalised within a cell
(Hajek 1971), and a cell's effective size is that of its weights, (sum w)^2 / sum w^2 (Kish 1965).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from math import prod
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from features.errors import DataError
from serving.prior import DIMENSIONS, Cells, Codes, ContextPrior, Doubles, packed
from training.prior_rows import Seen, joined

Share = Annotated[float, Meta(gt=0, lt=1)]
STRENGTHS = (3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0)
"""Tried for each dimension: rows of the cell above that stand beside a cell's own."""
LEAST_HELD_OUT = 100
"""Later rows to choose strengths on; with fewer no dimension can be told from chance."""
EDGE = 1e-6
"""Chances are taken to lie so far inside 0 and 1: nothing is impossible for having been seen seldom."""


class PriorParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a contextual prior is learned."""

    order: tuple[str, ...] = DIMENSIONS
    """Dimensions, widest first: a cell backs off to the one without its last dimension."""
    windows: Annotated[int, Meta(ge=1)] = 3
    """Latest windows that strengths are chosen on, each from what is before it."""
    held_out: Share = 0.25
    """Share of the rows in each window."""
    least_people: Annotated[int, Meta(ge=1)] = 20
    """Contexts of fewer people have no cell of their own: what one household does is nobody else's business."""


@dataclass(frozen=True, slots=True)
class Gain:
    """What a dimension adds, on the later part of the past.

    Args:
        name: of the dimension; `arm` for telling the arms apart.
        strength: the best one.
        mean: log likelihood a row (weighted) beyond the cell above.
        error: its standard error over people; NaN, as the mean, where there were too few rows to look, or one value.
        kept: whether the prior has it.
    """

    name: str
    strength: float
    mean: float
    error: float
    kept: bool


@dataclass(frozen=True, slots=True)
class PriorFitted:
    """A prior, and what its dimensions were worth.

    Args:
        prior: counted on all rows.
        gains: in the order of backing off.
    """

    prior: ContextPrior
    gains: tuple[Gain, ...]


def fit_prior(seen: Seen, params: PriorParams | None = None) -> PriorFitted:
    """Learn strengths looking forward, then count everything.

    Args:
        seen: rows in any order; those of a dimension that `params.order` does not name are left alone.
        params: order, held-out share, least people.

    Raises:
        DataError: nothing was seen, an outcome is not between 0 and 1, or a weight is not above 0.
    """
    params = params or PriorParams()
    seen = seen.about([name for name in params.order if name in seen.names])
    _check(seen)
    gains = choose(seen, params)
    kept = {gain.name: gain.strength for gain in gains if gain.kept and gain.name != ARM}
    return PriorFitted(counted(seen.about(list(kept)), gains[0].strength, kept, params), gains)


@dataclass(frozen=True, slots=True)
class ActionsFitted:
    """What visitors do whatever is shown, and what each action adds to that.

    Args:
        base: one arm; the chance of the outcome by context, every action alike.
        beyond: what each action adds by context; an action's chance is the sum of both.
    """

    base: PriorFitted
    beyond: PriorFitted


def fit_actions(seen: Seen, params: PriorParams | None = None) -> ActionsFitted:
    """The prior of actions, in two steps, so that a context in which people click anyway speaks for no action.

    Raises:
        DataError: as `fit_prior`.
    """
    alike = replace(seen, arm=np.zeros(len(seen), np.int64), arms=(ANY,))
    base = fit_prior(alike, params)
    expected = _rows(base.prior, alike.about(base.prior.names))
    return ActionsFitted(base, fit_prior(replace(seen, offset=expected), params))


ANY = "(any)"
"""The arm of all actions alike."""
ARM = "arm"
_UNTRIED = 100.0
"""Strength between arms where there are too few rows to choose one."""


def choose(seen: Seen, params: PriorParams) -> tuple[Gain, ...]:
    """What arms and dimensions add in the latest windows, one after the other; those that stay stand above the next."""
    pairs = _windows(seen, params)
    if not pairs:
        return (Gain(ARM, _UNTRIED, np.nan, np.nan, True), *(_untold(name) for name in seen.names))
    held = joined([after for _, after in pairs])
    p = np.concatenate([np.full(len(after), _mean(before)) for before, after in pairs])
    # Arms are what the prior is about, so they are told apart however little it helps.
    arm, p = _best(ARM, {s: _apart(pairs, s, params) for s in STRENGTHS}, p, held)
    found, strengths = [replace(arm, kept=True)], dict[str, float]()
    for name, words in zip(seen.names, seen.words, strict=True):
        if len(words) < 2:  # what is always the same tells nothing, but its cell would count all rows twice
            found.append(_untold(name))
            continue
        gain, chance = _best(name, _tried(pairs, arm.strength, strengths, name, params), p, held)
        found.append(gain)
        if gain.kept:
            strengths[name], p = gain.strength, chance
    return tuple(found)


def counted(seen: Seen, between: float, strengths: Mapping[str, float], params: PriorParams) -> ContextPrior:
    """The prior with given strengths.

    Args:
        seen: only of the dimensions that have one.
        between: strength of what all arms have in common, beside an arm's own rows.
        strengths: of each dimension.
        params: least people of a context.
    """
    k, mean, size = len(seen.arms), *_means(seen, seen.arm, len(seen.arms))
    average = np.where(size > 0, (size * np.nan_to_num(mean) + between * _mean(seen)) / (size + between), np.nan)
    cells: dict[tuple[int, ...], Cells] = {}
    for count in range(1, len(seen.names) + 1):
        for places in combinations(range(len(seen.names)), count):
            cells[places] = _cells(seen, places, k, params.least_people)
    return ContextPrior(
        seen.arms, seen.names, seen.words, average, np.array([strengths[name] for name in seen.names]), cells
    )


def log_likelihood(chance: Doubles, outcome: Doubles) -> Doubles:
    """float64[n]: log likelihood of outcomes from 0 to 1."""
    p = np.clip(chance, EDGE, 1 - EDGE)
    found: Doubles = outcome * np.log(p) + (1 - outcome) * np.log1p(-p)
    return found


def _windows(seen: Seen, params: PriorParams) -> list[tuple[Seen, Seen]]:
    """Of each of the latest windows what was before it, and itself; those with too few rows are left out.

    Rows of one moment stay together.
    """
    shares = [1 - params.held_out * number for number in range(params.windows, -1, -1)]
    edges = np.quantile(seen.time, [min(max(share, 0.0), 1.0) for share in shares], method="higher")
    edges[-1] = seen.time.max() + 1
    pairs = []
    for start, end in pairwise(edges):
        before, after = seen.take(seen.time < start), seen.take((seen.time >= start) & (seen.time < end))
        if min(len(before), len(after)) >= LEAST_HELD_OUT:
            pairs.append((before, after))
    return pairs


def _apart(pairs: Sequence[tuple[Seen, Seen]], between: float, params: PriorParams) -> Doubles:
    """float64[n]: the chance of each row of the windows by its arm alone, from what was before it."""
    each = [counted(before.about([]), between, {}, params).average[after.arm] for before, after in pairs]
    return np.concatenate(each)


def _tried(
    pairs: Sequence[tuple[Seen, Seen]], between: float, strengths: Mapping[str, float], name: str, params: PriorParams
) -> dict[float, Doubles]:
    """Strength of one more dimension -> float64[n], the chance of each row of the windows from what was before it."""
    names, known = [*strengths, name], [*strengths.values()]
    made = [
        (counted(before.about(names), between, {**strengths, name: 0.0}, params), after.about(names))
        for before, after in pairs
    ]
    return {
        s: np.concatenate([_rows(replace(prior, strengths=np.array([*known, s])), after) for prior, after in made])
        for s in STRENGTHS
    }


def _best(name: str, tried: Mapping[float, Doubles], p: Doubles, held: Seen) -> tuple[Gain, Doubles]:
    """The strength of highest likelihood on later rows, whether it is clearly better than before, and its chances."""

    def likelihood(chance: Doubles) -> Doubles:
        return log_likelihood(chance if held.offset is None else chance + held.offset, held.outcome)

    likely = {s: likelihood(np.where(np.isnan(each), p, each)) for s, each in tried.items()}
    best = max(likely, key=lambda s: float(held.weight @ likely[s]))
    gain = likely[best] - likelihood(p)
    total = float(held.weight.sum())
    mean = float(held.weight @ gain) / total
    _, person = np.unique(held.person, return_inverse=True)
    error = float(np.sqrt((np.bincount(person, held.weight * (gain - mean)) ** 2).sum())) / total
    chance = np.where(np.isnan(tried[best]), p, tried[best])
    return Gain(name, best, mean, error, mean > 2 * error), chance


def _untold(name: str) -> Gain:
    return Gain(name, STRENGTHS[-1], np.nan, np.nan, False)


def _rows(prior: ContextPrior, held: Seen) -> Doubles:
    """float64[n]: the chance of each row's own arm."""
    distinct, where = np.unique(held.codes, axis=0, return_inverse=True)
    found: Doubles = prior.scores(distinct)[where.ravel(), held.arm]
    return found


def _cells(seen: Seen, places: tuple[int, ...], arms: int, least: int) -> Cells:
    sizes = [max(len(seen.words[at]), 1) for at in places]
    context = packed(seen.codes[:, places], sizes)
    people = np.unique(np.stack([context, seen.person], axis=1)[context >= 0], axis=0)[:, 0]
    large, count = np.unique(people, return_counts=True)
    rows = np.flatnonzero(np.isin(context, large[count >= least]))
    some = seen.take(rows)
    codes, cell = np.unique(some.arm * prod(sizes) + context[rows], return_inverse=True)
    mean, size = _means(some, cell, len(codes))
    return Cells(codes.astype(np.int64), mean, size)


def _means(seen: Seen, group: Codes, count: int) -> tuple[Doubles, Doubles]:
    """Of each group its weighted mean (NaN where nothing was seen) and its effective size."""
    weight = np.bincount(group, seen.weight, minlength=count)
    square = np.bincount(group, seen.weight**2, minlength=count)
    total = np.bincount(group, seen.weight * seen.beyond, minlength=count)
    there = weight > 0
    mean = np.divide(total, weight, out=np.full(count, np.nan), where=there)
    return mean, np.divide(weight**2, square, out=np.zeros(count), where=there)


def _mean(seen: Seen) -> float:
    return float(seen.weight @ seen.beyond / seen.weight.sum())


def _check(seen: Seen) -> None:
    if not len(seen):
        raise DataError("nothing was seen", hint="a prior needs at least one row")
    if not ((seen.outcome >= 0) & (seen.outcome <= 1)).all():
        raise DataError("an outcome is not between 0 and 1", hint="a prior is of chances: money has none")
    if not ((seen.weight > 0) & np.isfinite(seen.weight)).all():
        raise DataError("a weight is not above 0", hint="weights are 1 / propensity")
