"""`kokyaku power`: how long an experiment has to run, how many customers it takes, and what the holdout costs.

Everything comes from the shop's own past: what its customers brought in stretches of one to many weeks, how much that
varies, and how much of it the stretch before foretells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from features.errors import ConfigError, DataError
from features.history import Histories
from features.moments import DAY
from training.experiments.looks import confidence_at
from training.split import customers

Doubles = npt.NDArray[np.float64]
WEEKS = (1, 2, 4, 8, 13, 26)
"""Lengths that are tried, as far as the past holds each twice: once to measure, once before it to foretell."""
WEEK = 7 * DAY


@dataclass(frozen=True, slots=True)
class Stretch:
    """What customers brought in so many weeks.

    Args:
        weeks: its length.
        customers: known before it began.
        mean: that one brought in it.
        deviation: between customers.
        foretold: share of the variance that the same number of weeks before foretells.
    """

    weeks: int
    customers: int
    mean: float
    deviation: float
    foretold: float


@dataclass(frozen=True, slots=True)
class Line:
    """What an experiment of that length can see.

    Args:
        stretch: what it was computed from.
        detectable: the smallest true difference a customer that is found with the asked power.
        relative: the same as a share of the mean; NaN where the mean is not positive.
        needed: customers in all that the asked effect needs at this length; NaN where it is zero.
        cost: what holding out that share costs in that time if the effect is the asked one, in the unit of the money.
    """

    stretch: Stretch
    detectable: float
    relative: float
    needed: float
    cost: float


def stretches(histories: Histories, money: Doubles, end: int, weeks: Sequence[int] = WEEKS) -> list[Stretch]:
    """The last stretch of each length before an instant.

    Args:
        histories: all events, oldest first for each subject.
        money: float64[events], what each brought.
        end: the instant.
        weeks: the lengths; those that the past does not hold twice are left out.

    Raises:
        DataError: it holds none twice, or no customer was known.
    """
    rows, time = histories.subject_rows(), histories.events.time
    first = int(time.min(initial=end))
    held = [length for length in weeks if end - 2 * length * WEEK >= first]
    if not held:
        raise DataError("the past is too short for an experiment's arithmetic", hint="it needs two weeks of events")
    mine, count = customers(histories.subjects), len(histories.subjects)

    def brought(since: int, until: int) -> Doubles:
        inside = (time >= since) & (time < until)
        return np.asarray(np.bincount(rows[inside], money[inside], minlength=count))

    found = []
    for length in held:
        start = end - length * WEEK
        known = mine & (np.bincount(rows[time < start], minlength=count) > 0)
        if known.sum() < 2:
            continue
        after, before = brought(start, end)[known], brought(start - length * WEEK, start)[known]
        deviation, other = float(after.std(ddof=1)), float(before.std(ddof=1))
        alike = float(np.corrcoef(after, before)[0, 1]) if deviation > 0 and other > 0 else 0.0
        found.append(Stretch(length, int(known.sum()), float(after.mean()), deviation, alike**2))
    if not found:
        raise DataError("no customer was known before any stretch", hint="import purchases with a customer_id")
    return found


def line_of(stretch: Stretch, *, holdout: float, effect: float, power: float = 0.8, confidence: float = 0.95) -> Line:
    """What an experiment of that length can see, at its last weekly look (Lehr's formula, unequal groups).

    detectable = (z(1 - error / 2) + z(power)) x deviation x sqrt(1 - foretold) x sqrt(1 / treated + 1 / held)

    Args:
        stretch: how much customers vary.
        holdout: share of the customers who are held out.
        effect: the asked difference, as a share of the mean.
        power: with which the difference is found.
        confidence: of all weekly intervals together (`training.experiments.looks`).

    Raises:
        ConfigError: a share that is none, or no effect.
    """
    for name, share in {"--holdout": holdout, "--power": power}.items():
        if not 0 < share < 1:
            raise ConfigError("must lie between 0 and 1", where=name, got=share)
    if not (np.isfinite(effect) and effect):
        raise ConfigError("a gain other than 0", where="--effect", got=effect, hint="e.g. 0.05 for 5 %")
    quantile = norm.ppf((1 + confidence_at(stretch.weeks, confidence)) / 2) + norm.ppf(power)
    reach = float(quantile) * stretch.deviation * np.sqrt((1 - stretch.foretold) / (holdout * (1 - holdout)))
    detectable = float(reach / np.sqrt(stretch.customers))
    asked = abs(effect * stretch.mean)
    return Line(
        stretch, detectable, detectable / stretch.mean if stretch.mean > 0 else float("nan"),
        float(np.ceil((reach / asked) ** 2)) if asked > 0 else float("nan"),
        holdout * stretch.customers * max(effect * stretch.mean, 0.0),
    )  # fmt: skip


def enough(lines: Sequence[Line], effect: float) -> Line | None:
    """The shortest experiment that finds the asked effect with the customers there are; None where none does."""
    fitting = [line for line in lines if line.relative <= abs(effect)]
    return min(fitting, key=lambda line: line.stretch.weeks, default=None)
