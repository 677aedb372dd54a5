"""From an experiment's subjects to its answer: checks first, then the effect of each arm, its guards and its slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from training.experiments.cohort import Doubles, Entrants
from training.experiments.collected import GUARDS, Collected
from training.experiments.looks import Difference, confidence_at, difference, rates
from training.experiments.sound import SMALL, checks_of
from training.experiments.traits import Traits
from training.intervals import Interval
from training.uplift.verdict import Check

Mask = npt.NDArray[np.bool_]
Ruling = Literal["raises", "lowers", "open", "unknown"]
NAN: Final = float("nan")
FEW: Final = 10
"""Subjects of each group with any of an outcome, such as buyers, below which nothing is said of its mean."""


@dataclass(frozen=True, slots=True)
class Level:
    """How sure each single interval must be for all of them to hold together.

    Args:
        confidence: of one interval.
        times: by which a p-value is multiplied for the same reason.
    """

    confidence: float
    times: float


@dataclass(frozen=True, slots=True)
class Effect:
    """What an arm changes of an outcome a subject, against the control.

    Args:
        arm, outcome: of what.
        found: the difference with its interval, which is valid at this look.
        mean: of the control.
        relative: the difference as a share of the control's mean, NaN where that is not positive.
        p: always-valid p-value: the smallest error at which this look excludes no difference.
        undefined: subjects of the two groups whose outcome is not known; they are left out.
        needed: subjects that the smaller group needs before the interval of so skewed an outcome can be trusted.
    """

    arm: str
    outcome: str
    found: Difference
    mean: float
    relative: Interval
    p: float
    undefined: int = 0
    needed: float = 0.0

    @property
    def ruling(self) -> Ruling:
        """Whether the arm raises or lowers the outcome, or that is open; unknown with too few subjects."""
        interval = self.found.found
        if not np.isfinite(interval.low):
            return "unknown"
        return "raises" if interval.low > 0 else "lowers" if interval.high < 0 else "open"


@dataclass(frozen=True, slots=True)
class Slice:
    """An effect within a group.

    Args:
        column, level: which group.
        effect: of the first outcome.
        adjusted: p-value after Holm's correction for all groups that are shown.
    """

    column: str
    level: str
    effect: Effect
    adjusted: float


@dataclass(frozen=True, slots=True)
class Guard:
    """Whether an arm adds too much of what nobody wants.

    Args:
        effect: on it.
        limit: that may be added a subject.
        state: `kept` where the whole interval lies at or below the limit, `broken` where it lies above, else `open`.
        asked: whether somebody named the limit; unsubscriptions and complaints are looked at in any case, against 0.
    """

    effect: Effect
    limit: float
    state: Literal["kept", "broken", "open"]
    asked: bool


@dataclass(frozen=True, slots=True)
class Findings:
    """The answer.

    Args:
        checks: what had to hold before any effect is read.
        effects: of each arm on each outcome, the first outcome first; none where a check failed.
        slices: of the first outcome; none where a check failed.
        guards: of each arm.
        small: groups that are too small to be shown.
        confidence: of each interval of the first outcome at this look.
        look: which it is.
    """

    checks: tuple[Check, ...]
    effects: tuple[Effect, ...]
    slices: tuple[Slice, ...]
    guards: tuple[Guard, ...]
    small: int
    confidence: float
    look: int

    @property
    def failed(self) -> tuple[Check, ...]:
        """Checks that stop the verdict."""
        return tuple(check for check in self.checks if check.verdict == "failed")


def judge(
    entrants: Entrants, collected: Collected, traits: Traits, look: int, limits: Mapping[str, float],
    confidence: float = 0.95,
) -> Findings:  # fmt: skip
    """Check, then compare each arm with the control.

    The error that is allowed is shared out among looks (`looks.confidence_at`) and arms: all intervals of the first
    outcome, of all arms and all looks, hold together with the asked confidence. Those of each further outcome do too,
    by themselves. Where a check fails there is no effect to read, so none is computed.

    Args:
        entrants, collected, traits: of the same subjects.
        look: from 1.
        limits: outcome -> how much an arm may add a subject; unsubscriptions and complaints have 0 unless named.
        confidence: see above.
    """
    each = confidence_at(look, 1 - (1 - confidence) / max(len(entrants.arms) - 1, 1))
    level = Level(each, (1 - confidence) / (1 - each))
    checks = checks_of(entrants, traits, look)
    if any(check.verdict == "failed" for check in checks):
        return Findings(checks, (), (), (), 0, each, look)
    treated = range(1, len(entrants.arms))
    effects = tuple(
        compare(entrants, traits, arm, name, values, level)
        for name, values in collected.outcomes.items() for arm in treated
    )  # fmt: skip
    first = next(iter(collected.outcomes))
    slices, small = by_slice(entrants, traits, first, collected.outcomes[first], level)
    return Findings(checks, effects, tuple(slices), tuple(guarded(effects, limits)), small, each, look)


def compare(
    entrants: Entrants, traits: Traits, arm: int, outcome: str, values: Doubles, level: Level,
    where: Mask | None = None,
) -> Effect:  # fmt: skip
    """The effect of an arm on an outcome, in all subjects or in some.

    Args:
        entrants, traits: of all subjects.
        arm: place among the arms.
        outcome: its name.
        values: float64[n]; NaN where unknown.
        level: of the interval.
        where: bool[n], which subjects.
    """
    confidence = level.confidence
    both = (entrants.arm == 0) | (entrants.arm == arm)
    both &= np.ones(len(entrants), bool) if where is None else where
    rows = both & np.isfinite(values)
    y, treated = values[rows], entrants.arm[rows] == arm
    found = _difference(y, treated, traits.columns[rows] if traits.names else None, confidence)
    mean = float(y[~treated].mean()) if (~treated).any() else NAN
    return Effect(
        entrants.arms[arm], outcome, found, mean, relative(y, treated, found, confidence),
        float(np.minimum(found.p * level.times, 1.0)), int((both & ~rows).sum()), skewed(y),
    )  # fmt: skip


def _difference(y: Doubles, treated: Mask, before: Doubles | None, confidence: float) -> Difference:
    """The difference, by shares where events are rare; NaN with the counts where too little happened."""
    counts = int(treated.sum()), int((~treated).sum())
    if min(counts) < SMALL:
        return Difference(Interval(NAN, NAN, NAN, len(y), 0), *counts, 0.0)
    happened = [int(np.count_nonzero(y[side])) for side in (treated, ~treated)]
    if np.isin(y, (0.0, 1.0)).all():
        other = [count - each for count, each in zip(counts, happened, strict=True)]
        if min(*happened, *other) < SMALL:
            return rates(y, treated, confidence=confidence)
    elif min(happened) < FEW:
        return Difference(Interval(NAN, NAN, NAN, len(y), 0), *counts, 0.0)
    return difference(y, treated, before, confidence=confidence)


def relative(y: Doubles, treated: Mask, found: Difference, confidence: float) -> Interval:
    """The difference as a share of the control's mean m, with its interval by the delta method.

    var(gap / m) = (var(gap) + r^2 var(m) - 2 r cov(gap, m)) / m^2 for r = gap / m; m is a part of the gap, less what
    the past foretold of it: cov(gap, m) = -var(m) (1 - saved).
    """
    gap, n = found.found, found.found.n
    mean = float(y[~treated].mean()) if (~treated).any() else NAN
    if not mean > 0 or not np.isfinite(found.error):
        return Interval(NAN, NAN, NAN, n, 0)
    spread = float(y[~treated].var(ddof=1)) / int((~treated).sum())
    r = gap.value / mean
    variance = max(found.error**2 + (r * r + 2 * r * (1 - found.saved)) * spread, 0.0)
    reach = float(stats.t.ppf((1 + confidence) / 2, found.freedom) * np.sqrt(variance)) / mean
    return Interval(r, r - reach, r + reach, n, 0)


def skewed(y: Doubles) -> float:
    """Subjects a group needs for means as good as normal: 355 times the square of the skewness (Kohavi et al. 2014).

    0 for events that happen or not: where they are rare, their shares have intervals of their own.
    """
    if len(y) < 3 or y.std() == 0 or np.isin(y, (0.0, 1.0)).all():
        return 0.0
    return 355 * float(stats.skew(y)) ** 2


def by_slice(
    entrants: Entrants, traits: Traits, outcome: str, values: Doubles, level: Level
) -> tuple[list[Slice], int]:
    """Effects within groups, and how many groups are too small to be shown.

    Holm's correction (1979) is over all groups, columns and arms that are shown; it holds however they overlap.
    """
    shown: list[tuple[str, str, Effect]] = []
    small = 0
    for column, (codes, words) in traits.slices.items():
        for code, word in enumerate(words):
            inside = codes == code
            for arm in range(1, len(entrants.arms)):
                sizes = [int((inside & (entrants.arm == each)).sum()) for each in (0, arm)]
                if min(sizes) < SMALL:
                    small += 1
                    continue
                effect = compare(entrants, traits, arm, outcome, values, level, inside)
                shown.append((column, word, effect))
    corrected = holm([effect.p for _, _, effect in shown])
    return [Slice(*each, p) for each, p in zip(shown, corrected, strict=True)], small


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values: the i-th smallest times the number of those not yet passed.

    >>> [round(each, 3) for each in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(np.where(np.isnan(p), 1.0, p), kind="stable").tolist()
    adjusted, highest = [NAN] * len(p), 0.0
    for passed, at in enumerate(order):
        if np.isfinite(p[at]):
            highest = max(highest, min(1.0, (len(p) - passed) * p[at]))
            adjusted[at] = highest
    return adjusted


def guarded(effects: Sequence[Effect], limits: Mapping[str, float]) -> list[Guard]:
    """What became of each guard."""
    every = {**dict.fromkeys(GUARDS, 0.0), **limits}
    found = []
    for effect in effects:
        if effect.outcome in every:
            limit, interval = every[effect.outcome], effect.found.found
            state: Literal["kept", "broken", "open"] = (
                "broken" if interval.low > limit else "kept" if interval.high <= limit else "open"
            )
            found.append(Guard(effect, limit, state, effect.outcome in limits))
    return found
