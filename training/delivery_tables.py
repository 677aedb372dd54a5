"""Distributions of the days to delivery by state, clock and group, from spells of which some still go on.

At each clock stand the spells that were still going on then (a landmark; van Houwelingen 2007), so that the time that
has passed counts. Lines that are not delivered yet are censored: each group's distribution is that of Kaplan & Meier
(1958), whose last line counts as delivered when it was last seen (Efron 1967). A group is drawn to its parent by mixing
both distributions:

    F = (n F_own + k F_parent) / (n + k),   n deliveries of its own,   k `prior`

so that an item with few deliveries speaks as its category does, that as its lead-time class, and that as all items.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from features.moments import DAY
from serving.delivery import LEVELS, PROMISE, STATE_BEGAN, STATES
from training.delivery_lines import Doubles, Groups, Mask, Spells, Whole

ATOMS: Final = 50
"""A distribution is kept as so many equally likely values."""
ATOM_LEVELS: Final = (np.arange(ATOMS) + 0.5) / ATOMS
LEAST_STATE: Final = 20
"""Deliveries that must have gone through a state for anything to be said of it."""
BEYOND: Final = 0.2
"""With a smaller share of a distribution beyond a clock, what remained at the clock before is held."""
_SINCE: Final = (0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.25, 2.5, 2.75, 3, 3.5, 4, 5, 6, 7, 8, 10, 12, 14, 17, 21,
                 28, 35, 42, 49, 56, 63, 77)  # fmt: skip
_TO_PROMISE: Final = (-56, -49, -42, -35, -28, -21, -17, -14, -12, -10, -8, -7, -6, -5, -4.5, -4, -3.5, -3, -2.5, -2,
                      -1.5, -1, -0.5, 0, 0.5, 1, 2, 4, 7, 14, 21)  # fmt: skip
CLOCKS: Final = np.array([_SINCE, _TO_PROMISE], np.float64)
"""Days since a state began, and since what was promised; float64[2, clocks]."""


class Prior(NamedTuple):
    """How many deliveries of what is wider count beside a group's own."""

    of_all: float
    """Of the clock before, beside those of all items at a clock."""
    of_class: float
    of_category: float
    of_item: float


def tables_of(spells: Spells, groups: Groups, priors: Sequence[Prior]) -> npt.NDArray[np.float32]:
    """float32[2 anchors, 5 states, groups, clocks, ATOMS]: days from the anchor to delivery; NaN where too few went by.

    Args:
        spells: as known at a moment.
        groups: of the same lines.
        priors: what wider groups count like, by state.
    """
    shape = (len(CLOCKS), len(STATES), len(groups.level), CLOCKS.shape[1], ATOMS)
    tables = np.full(shape, np.nan, np.float32)
    for state in range(len(STATES)):
        for anchor, since in ((STATE_BEGAN, spells.began), (PROMISE, spells.promised)):
            here = spells.state == state
            if anchor == PROMISE:
                here &= spells.has_promise
            if len(np.unique(spells.line[here & spells.known])) >= LEAST_STATE:
                tables[anchor, state] = _table(spells, here, since, groups, CLOCKS[anchor], priors[state])
    return tables


def _table(
    spells: Spells, here: Mask, since: Whole, groups: Groups, clocks: Doubles, prior: Prior
) -> Doubles:  # fmt: skip
    """float64[groups, clocks, ATOMS] of one state and anchor."""
    days = (spells.delivered - since) / DAY
    # deliveries stand before lines that were last seen at the same time: these were at risk
    order = np.flatnonzero(here)
    order = order[np.lexsort((~spells.known[order], days[order]))]
    days, known = days[order], spells.known[order]
    start, end = (spells.start[order] - since[order]) / DAY, (spells.end[order] - since[order]) / DAY
    of_line = groups.of_line[spells.line[order]]
    table = np.empty((len(groups.level), len(clocks), ATOMS))
    root, _ = distributions(days, known, of_line[:, 0], 1)
    wider, at = root[0], -np.inf
    for place, clock in enumerate(clocks):
        still = (start <= clock) & (clock < end)
        wider = beyond(wider, at, clock)
        table[:, place] = _drawn(days[still], known[still], of_line[still], groups, wider, prior)
        wider, at = table[0, place], clock
    # where nothing is told, nothing comes earlier than it was said before
    return np.asarray(np.maximum.accumulate(table, axis=1))


def _drawn(
    days: Doubles, known: Mask, of_line: Whole, groups: Groups, wider: Doubles, prior: Prior
) -> Doubles:  # fmt: skip
    """float64[groups, ATOMS] at one clock, widest level first, each drawn to its parent."""
    found = np.empty((len(groups.level), ATOMS))
    for level in range(len(LEVELS)):
        mine = np.flatnonzero(groups.level == level)
        parents = wider[None] if level == 0 else found[groups.parent[mine]]
        found[mine] = parents
        there = np.flatnonzero(of_line[:, level] >= 0)
        if not len(there) or not len(mine):
            continue
        own, count = distributions(days[there], known[there], of_line[there, level] - mine[0], len(mine))
        some = np.flatnonzero(count)
        share = count[some] / (count[some] + prior[level])
        found[mine[some]] = mixed(own[some], parents[some], share)
    return found


def distributions(days: Doubles, known: Mask, group: Whole, groups: int) -> tuple[Doubles, Whole]:
    """The distribution of each group (Kaplan & Meier), as equally likely values.

    Args:
        days: float64[n], rising, deliveries first among equals: to the delivery, or until the line was last seen.
        known: bool[n], whether it was delivered.
        group: int64[n].
        groups: how many there are.

    Returns:
        float64[groups, ATOMS] (NaN for groups without a delivery), and how many deliveries each has.
    """
    count = np.bincount(group[known], minlength=groups)
    found = np.full((groups, ATOMS), np.nan)
    order = np.argsort(group, kind="stable")
    days, known, group = days[order], known[order], group[order]
    first = np.searchsorted(group, np.arange(groups))
    size = np.bincount(group, minlength=groups)
    at_risk = size[group] - (np.arange(len(group)) - first[group])
    last = at_risk == 1
    step = np.where(known & ~last, np.log1p(-1 / np.maximum(at_risk, 2)), 0.0)
    total = np.cumsum(step)
    survival = np.exp(total - (total - step)[np.minimum(first, len(total) - 1)][group])
    below = np.where(last, 1.0, 1 - survival)
    some = np.flatnonzero(count)
    places = np.searchsorted(group + below, (some[:, None] + ATOM_LEVELS - 1e-9).ravel())
    found[some] = days[places].reshape(len(some), ATOMS)
    return found, count


def mixed(own: Doubles, parent: Doubles, share: Doubles) -> Doubles:
    """Mixtures of two distributions a row, as equally likely values.

    Args:
        own, parent: float64[g, ATOMS], rising in each row.
        share: float64[g], the weight of the first.
    """
    values = np.concatenate([own, parent], axis=1)
    weights = np.repeat(np.stack([share, 1 - share], axis=1) / ATOMS, ATOMS, axis=1)
    order = np.argsort(values, axis=1, kind="stable")
    values, weights = (np.take_along_axis(each, order, axis=1) for each in (values, weights))
    middles = np.cumsum(weights, axis=1) - weights / 2
    rows, width = 2.0 * np.arange(len(own))[:, None], 2 * ATOMS
    places = np.searchsorted((rows + middles).ravel(), (rows + ATOM_LEVELS).ravel()).reshape(-1, ATOMS)
    first = np.arange(len(own))[:, None] * width
    after = np.clip(places - first, 1, width - 1)
    low, high = (np.take_along_axis(middles, at, axis=1) for at in (after - 1, after))
    part = np.clip((ATOM_LEVELS - low) / np.maximum(high - low, 1e-12), 0.0, 1.0)
    below, above = (np.take_along_axis(values, at, axis=1) for at in (after - 1, after))
    return np.asarray(below + part * (above - below))


def beyond(values: Doubles, before: float, clock: float) -> Doubles:
    """float64[ATOMS]: a distribution given that it is after a clock; where little of it is, what remained is held."""
    later = values[values > clock]
    if len(later) >= max(BEYOND * ATOMS, 1):
        return np.asarray(np.interp(ATOM_LEVELS, (np.arange(len(later)) + 0.5) / len(later), later))
    if not np.isfinite(before):
        before = float(values[0])
    return values + (clock - before)


def at_levels(tables: npt.NDArray[np.float32], levels: Doubles) -> npt.NDArray[np.float32]:
    """float32[2, 5, groups, clocks, columns]: the quantiles at some levels of each state.

    Args:
        tables: of `tables_of`.
        levels: float64[5, columns].
    """
    found = np.empty((*tables.shape[:-1], levels.shape[1]), np.float32)
    for (state, column), level in np.ndenumerate(levels):
        place = float(np.clip(level * ATOMS - 0.5, 0, ATOMS - 1))
        before = int(min(place, ATOMS - 2))
        two = tables[:, state, ..., before : before + 2]
        found[:, state, ..., column] = two[..., 0] + np.float32(place - before) * (two[..., 1] - two[..., 0])
    return found
