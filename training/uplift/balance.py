"""Whether those who got an action were like those who did not, in everything that was known before.

Standardised mean differences and their limit of 0.1: Austin (2009), Statistics in Medicine 28. Overlap: Crump, Hotz,
Imbens and Mitnik (2009), Biometrika 96, whose rule of thumb keeps probabilities in [0.1, 0.9].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats

from training.uplift.contrasts import FOLDS, Contrast, area, estimated, ranked, reweighted
from training.uplift.draws import CLIP, effective_size
from training.uplift.log import Doubles, Mask
from training.uplift.verdict import DOUBTFUL, SIGNIFICANT, Check, Verdict, by_limit, untested

APART: Final = 0.52
"""An area under the curve that is surely above this is no accident of many rows."""
DIFFERENT: Final = 0.1
"""A standardised mean difference beyond this is imbalance, whatever the number of rows."""
OVERLAP: Final = 0.1
"""Estimated probabilities outside [OVERLAP, 1 - OVERLAP] belong to people with hardly a counterpart."""
NO_COUNTERPART: Final = (0.05, 0.25)
"""Shares of rows outside: warned above, failed above."""
LEVELS: Final = 20
"""Values of a categorical column that are looked at, the most frequent first."""
_NOTHING = "no features are recorded with these decisions."
_ADD = "Record features with decisions, or read the log with history=True."


@dataclass(frozen=True, slots=True)
class Balance:
    """One point of a love plot.

    Args:
        column: the covariate, `name=value` for a value of a categorical one, `name missing` for being unknown.
        action: whose group it is, against what.
        before: standardised mean difference of raw means.
        after: of weighted means.
        error: standard error of `after` if there were no difference.
    """

    column: str
    action: str
    before: float
    after: float
    error: float


def arm_classifier(contrasts: Sequence[Contrast], seed: int = 0) -> Check:
    """Whether a model tells from the features who got an action, given the probabilities it was drawn with.

    Cross-fitted; the interval of the worst action's AUC is at 95 % over all actions together (Bonferroni). It warns
    where the interval is above 0.5 and fails where it is above APART.
    """
    name = "arm-classifier"
    usable = [each for each in contrasts if each.log.features.shape[1]]
    if not usable:
        return untested(name, APART, _NOTHING if contrasts else "no action has enough rows.", _ADD)
    z = float(stats.norm.isf(0.025 / len(usable)))
    found = {}
    for each in usable:
        auc, error = area(ranked(each, seed), each.treated, each.weight, each.log.subject)
        found[each.name] = (auc - z * error, auc, auc + z * error)
    worst = max(found, key=lambda action: found[action][0])
    low, auc, high = found[worst]
    verdict: Verdict = "failed" if low > APART else "warned" if low > 0.5 else "passed"
    columns = usable[0].log.features.shape[1]
    told = f"From {columns} features a model tells {worst} with AUC {auc:.3f} [{low:.3f}, {high:.3f}]"
    remedy = (
        "" if verdict == "passed" else "A feature knows the draw: look for leaks, or for a draw that was not random."
    )
    return Check(name, verdict, auc, APART, f"{told} (the worst of {len(found)}; 0.5 is chance).", remedy)


def love(contrasts: Sequence[Contrast], weighted: Sequence[Contrast] | None = None) -> list[Balance]:
    """Standardised mean differences of every covariate and action.

    Args:
        contrasts: whose groups.
        weighted: the same with the weights to judge; default: their own.
    """
    found = []
    for raw, used in zip(contrasts, weighted or contrasts, strict=True):
        sizes = [effective_size(1 / used.weight[side]) for side in (used.treated, ~used.treated)]
        error = float(np.sqrt(sum(1 / max(size, 1.0) for size in sizes)))
        even = np.ones(len(raw.log))
        for column, values in _columns(raw):
            before, after = (_difference(values, raw.treated, weight) for weight in (even, used.weight))
            found.append(Balance(column, f"{raw.name} against {raw.other}", before, after, error))
    return found


def _columns(contrast: Contrast) -> Iterator[tuple[str, Doubles]]:
    """Numbers as they are, categories value by value, and being unknown."""
    log = contrast.log
    for place, name in enumerate(log.names):
        values = log.features[:, place].astype(np.float64)
        unknown = np.isnan(values)
        if unknown.any():
            yield f"{name} missing", unknown.astype(np.float64)
        if unknown.all():
            continue
        if not log.categorical[place]:
            yield name, values
            continue
        levels, counts = np.unique(values[~unknown], return_counts=True)
        words = log.words[place] if place < len(log.words) and log.words[place] else None
        for level in levels[np.argsort(-counts, kind="stable")][:LEVELS].tolist():
            yield f"{name}={words[int(level)] if words else int(level)}", (values == level).astype(np.float64)


def _difference(values: Doubles, treated: Mask, weight: Doubles) -> float:
    """Difference of weighted means over the root of the mean of the groups' raw variances; 0 where nothing varies."""
    known = ~np.isnan(values)
    sides = [known & treated, known & ~treated]
    if not all(side.any() for side in sides):
        return 0.0
    means = [float(np.average(values[side], weights=weight[side])) for side in sides]
    spread = float(np.sqrt(np.mean([values[side].var() for side in sides])))
    gap = means[0] - means[1]
    if spread == 0:
        return 0.0 if gap == 0 else float(np.copysign(np.inf, gap))
    return gap / spread


def balance(points: Sequence[Balance], *, observational: bool) -> Check:
    """The largest weighted difference: beyond DIFFERENT, and beyond what chance gives among so many.

    An observational log gets no allowance for chance: nothing promises that the difference is one.
    """
    name = "balance"
    if not points:
        return untested(name, DIFFERENT, _NOTHING, _ADD)
    worst = max(points, key=lambda point: abs(point.after))
    limits = [0.0 if observational else float(stats.norm.isf(p / 2 / len(points))) for p in (DOUBTFUL, SIGNIFICANT)]
    warn, fail = (max(DIFFERENT, z * worst.error) for z in limits)
    told = f"Of {len(points)} differences the largest is {worst.column}, {worst.action}: {worst.after:+.3f}"
    told += " standard deviations"
    if observational:
        before = max(points, key=lambda point: abs(point.before))
        told += f" after weighting (before it {before.column} had {before.before:+.3f})"
        warn = DIFFERENT / 2
    remedy = "Compare only people who could have got either, or name what else decided who got it."
    return by_limit(name, abs(worst.after), (warn, fail), f"{told}.", remedy)


def overlap(contrasts: Sequence[Contrast], seed: int = 0) -> tuple[list[Check], list[Contrast]]:
    """Of an observational log: how well the features tell who got an action, and who has no counterpart.

    Returns:
        Checks (the worst action), and the contrasts weighted by the estimated probabilities.
    """
    rows = [each for each in contrasts if each.log.features.shape[1]]
    if not rows:
        return [
            untested("overlap", NO_COUNTERPART[1], _NOTHING if contrasts else "no action has enough rows.", _ADD)
        ], []
    chances = [estimated(each, seed) for each in rows]
    outside = [float(((p < OVERLAP) | (p > 1 - OVERLAP)).mean()) for p in chances]
    worst = int(np.argmax(outside))
    each, chance = rows[worst], chances[worst]
    auc, error = area(chance, each.treated, each.weight, each.log.subject)
    weighted = [reweighted(one, p, CLIP) for one, p in zip(rows, chances, strict=True)]
    sizes = [
        (effective_size(1 / weighted[worst].weight[side]), int(side.sum())) for side in (each.treated, ~each.treated)
    ]  # fmt: skip
    told = (
        f"Nobody drew {each.name}; a model ({FOLDS}-fold) tells who got it with AUC {auc:.3f} "
        f"[{auc - 1.96 * error:.3f}, {auc + 1.96 * error:.3f}], and {outside[worst]:.1%} of {len(each.log):,} "
        f"have estimated probabilities outside [{OVERLAP:g}, {1 - OVERLAP:g}]. Weighting leaves {sizes[0][0]:,.0f} of "
        f"{sizes[0][1]:,} who got it and {sizes[1][0]:,.0f} of {sizes[1][1]:,} who did not."
    )
    remedy = "Keep to people with a fair chance of both, tell effects as observational, and randomise the next one."
    return [by_limit("overlap", outside[worst], NO_COUNTERPART, told, remedy)], weighted
