"""What must hold before an experiment's effects are read: arms in their shares, one arm a subject, alike before."""

from __future__ import annotations

import numpy as np
from scipy import stats

from training.experiments.cohort import LINKED, SEVERAL, Doubles, Entrants
from training.experiments.traits import Traits
from training.uplift.draws import EXPECTED
from training.uplift.verdict import SIGNIFICANT, Check, by_limit, by_p, untested

SMALL = 30
"""Subjects that each of two groups needs before they are compared by a column, or shown as a slice."""
USUAL = 0.9
"""Where more than this share has one value, having another is what is compared."""


def checks_of(entrants: Entrants, traits: Traits, look: int) -> tuple[Check, ...]:
    """All checks; one that failed stops the verdict.

    Args:
        entrants, traits: of the same subjects.
        look: from 1; p-values are multiplied by look (look + 1), as the error of intervals is divided by it, so that
            many looks raise no alarm by themselves.
    """
    return sample_ratio(entrants, look), *one_arm_each(entrants), alike(entrants, traits, look)


def sample_ratio(entrants: Entrants, look: int) -> Check:
    """Subjects in each arm against the declared shares (Pearson's chi-square; Fabijan et al. 2019).

    The p-value is multiplied by look (look + 1), as the intervals' error is divided by it: many looks raise no alarm.
    """
    name, remedy = (
        "sample-ratio",
        "Find out who is missing (redirects, robots, logging, links, changed shares) and mend that; no reweighting "
        "helps. Then begin anew under another name.",
    )
    counts = np.bincount(entrants.arm, minlength=len(entrants.arms))
    told = ", ".join(f"{arm} {many:,}" for arm, many in zip(entrants.arms, counts.tolist(), strict=True))
    if entrants.shares is None:
        return untested(name, SIGNIFICANT, f"nobody declared the shares ({told}).", "Give them with --share ARM=SHARE.")
    expected = entrants.shares * counts.sum()
    if expected.min() < EXPECTED:
        return untested(name, SIGNIFICANT, f"too few subjects for the test ({told}).", "")
    raw = float(stats.chisquare(counts, expected).pvalue)
    p = min(1.0, raw * look * (look + 1))
    shares = ", ".join(f"{share:.2%}" for share in entrants.shares.tolist())
    return by_p(name, p, f"{told}; declared {shares}: p = {raw:.3g}, {p:.3g} after counting looks.", remedy)


def one_arm_each(entrants: Entrants) -> list[Check]:
    """Whether subjects kept their arm: visitors who turn out to be one person may differ, one name must not."""
    whole = len(entrants) + sum(entrants.left_out.get(why, 0) for why in (LINKED, SEVERAL))
    linked, several = (entrants.left_out.get(why, 0) / max(whole, 1) for why in (LINKED, SEVERAL))
    return [
        by_limit(
            "one-arm-each", several, (0.0, 0.01), f"{several:.2%} of the subjects {SEVERAL}.",
            "Arms were drawn anew, or shares changed while it ran: give a changed experiment another name.",
        ),
        by_limit(
            "links", linked, (0.05, 1.0), f"{linked:.2%} of the subjects {LINKED}; they are left out.",
            "The answer is not about them; ask for decisions by customer as soon as one is known.",
        ),
    ]  # fmt: skip


def alike(entrants: Entrants, traits: Traits, look: int) -> Check:
    """Whether the arms were alike before: the clearest difference in a column, corrected for their number."""
    name = "alike-before"
    found: dict[str, float] = {}
    for at, column in enumerate(traits.names):
        values = traits.columns[:, at]
        known = np.isfinite(values)
        for arm in range(1, len(entrants.arms)):
            one, other = values[known & (entrants.arm == arm)], values[known & (entrants.arm == 0)]
            if min(len(one), len(other)) >= SMALL and np.ptp(values[known]) > 0:
                found[f"{column}, {entrants.arms[arm]}"] = apart(one, other)
    if not found:
        return untested(name, SIGNIFICANT, "nothing is known of the time before, or the groups are too small.", "")
    worst = min(found, key=found.__getitem__)
    p = min(1.0, found[worst] * len(found) * look * (look + 1))
    told = f"Of {len(found)} differences before entering the clearest is {worst}: p = {p:.3g} after counting them all."
    return by_p(name, p, told, "The groups differed before anything was done: mend the assignment and begin anew.")


def apart(one: Doubles, other: Doubles) -> float:
    """Two-sided p-value that two groups differ in a column by the draw alone; it holds for small and skewed groups.

    A test of means would not: a small group that holds none of a rare value has no variance, and a difference of a
    handful of subjects seems to be many standard errors. Where nearly all have one value, the number of the others is
    hypergeometric (Fisher's exact test, by twice the smaller tail), else ranks are compared (Mann & Whitney 1947).
    """
    values, counts = np.unique(np.concatenate([one, other]), return_counts=True)
    usual, whole = values[counts.argmax()], int(counts.sum())
    if len(values) > 2 and counts.max() <= USUAL * whole:
        return float(stats.mannwhitneyu(one, other, method="asymptotic").pvalue)
    others, mine = whole - int(counts.max()), int(np.count_nonzero(other != usual))
    law = stats.hypergeom(whole, others, len(other))
    return min(1.0, 2 * float(min(law.cdf(mine), law.sf(mine - 1))))
