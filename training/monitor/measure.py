"""One measured thing: its value and interval, what it is held against, and what to do where it is not well.

Many things are measured at once, so some would look changed by chance. All that carry a p-value are one family: they
count as changed where Benjamini & Hochberg's procedure (1995) rejects at `FALSE_ALARMS`. Where nothing changed at all,
that is the share of windows in which anything is called changed; else it is the expected share of wrong ones among
those that are called. What is changed and small is well: a verdict also needs a size that matters, by fixed limits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

import msgspec
import numpy as np
import numpy.typing as npt

FALSE_ALARMS = 0.05
NAN = float("nan")


class Verdict(Enum):
    """How well a thing is."""

    OK = "ok"
    WATCH = "watch"
    """Changed by so much that somebody should look."""
    ACT = "act"
    """Answers suffer, or cannot be trusted: do something."""
    UNKNOWN = "unknown"
    """Cannot be told, and `reason` says why."""


SEVERITY = (Verdict.ACT, Verdict.WATCH, Verdict.UNKNOWN, Verdict.OK)
"""Worst first."""


class Limits(msgspec.Struct, frozen=True):
    """Sizes from which on a change matters."""

    watch: float
    act: float


class Measure(msgspec.Struct, frozen=True):
    """One measured thing.

    Args:
        group: `data`, `answers` or `policies`.
        name: for programs and metrics, stable from window to window, such as `psi/device`.
        title: for people.
        value: NaN where undefined.
        low, high: its 95 % interval; NaN where it has none.
        reference: what it is held against; NaN without one.
        n: rows behind the value, counted also where it is undefined.
        unit: `share`, `hours`, `days`, `times`, or empty.
        p: the chance of so much where nothing changed; None: fixed limits alone, NaN: a test that could not be made.
        size: how far it is from well, in the unit of `limits`; NaN: not known.
        limits: from which sizes on it is watched or acted upon.
        band: of a PSI, what chance alone exceeds one time in twenty where nothing changed.
        found: what was found, in words.
        remedy: what to do about it.
        reason: why it is unknown.
        verdict: given by `judged`.
    """

    group: str
    name: str
    title: str
    value: float = NAN
    low: float = NAN
    high: float = NAN
    reference: float = NAN
    n: int = 0
    unit: str = ""
    p: float | None = None
    size: float = NAN
    limits: Limits = Limits(0.1, 0.25)
    band: float = NAN
    found: str = ""
    remedy: str = ""
    reason: str = ""
    verdict: Verdict = Verdict.UNKNOWN


def judged(measures: Sequence[Measure], share: float = FALSE_ALARMS) -> list[Measure]:
    """The measures with their verdicts.

    Args:
        measures: of one window.
        share: of false alarms.
    """
    p = np.array([np.nan if each.p is None else each.p for each in measures], np.float64)
    changed = rejected(p, share)
    return [
        msgspec.structs.replace(each, verdict=_verdict(each, changed=bool(flag)))
        for each, flag in zip(measures, changed, strict=True)
    ]


def rejected(p: npt.NDArray[np.float64], share: float) -> npt.NDArray[np.bool_]:
    """bool[n]: which hypotheses Benjamini & Hochberg's step-up procedure rejects; NaN is none.

    The largest k of the m sorted p-values with p_(k) <= k share / m, and all smaller ones.
    """
    tested = np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    below = np.flatnonzero(p[order] <= share * np.arange(1, len(order) + 1) / max(len(order), 1))
    found = np.zeros(len(p), bool)
    if len(below):
        found[order[: below[-1] + 1]] = True
    return found


def _verdict(each: Measure, *, changed: bool) -> Verdict:
    if np.isnan(each.size) or (each.p is not None and np.isnan(each.p)):
        return Verdict.UNKNOWN
    if each.p is not None and not changed:
        return Verdict.OK
    if each.size >= each.limits.act:
        return Verdict.ACT
    return Verdict.WATCH if each.size >= each.limits.watch else Verdict.OK


def by_severity(measures: Sequence[Measure]) -> list[Measure]:
    """Worst first; equals keep their order."""
    return sorted(measures, key=lambda each: SEVERITY.index(each.verdict))


def counts(measures: Sequence[Measure]) -> Mapping[str, int]:
    """How many measures have each verdict, worst first."""
    return {verdict.value: sum(each.verdict is verdict for each in measures) for verdict in SEVERITY}


def worst(measures: Sequence[Measure]) -> Verdict:
    """The worst verdict; unknown ones count only where nothing else is there."""
    there = {each.verdict for each in measures}
    return next((each for each in (Verdict.ACT, Verdict.WATCH, Verdict.OK) if each in there), Verdict.UNKNOWN)
