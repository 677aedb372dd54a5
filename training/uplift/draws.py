"""Whether the actions were drawn as the log says: counts against probabilities, weights against one, people once.

Fabijan et al. (2019), "Diagnosing Sample Ratio Mismatch in Online Controlled Experiments", KDD, for the first of these.
All but the duplicates count only rows that are draws of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np
from scipy import stats

from features.moments import DAY, to_datetime
from training.uplift.log import DecisionLog, Doubles, Whole
from training.uplift.verdict import SIGNIFICANT, Check, Verdict, by_limit, by_p, untested

EXPECTED: Final = 5.0
"""Least expected count of an action in a group, for the chi-square to hold."""
CLIP: Final = 0.01
"""Propensities below this would weigh a row more than a hundredfold."""
CLIPPED: Final = (0.01, 0.05)
"""Shares of rows below CLIP: warned above, failed above."""
EFFECTIVE: Final = (500.0, 100.0)
"""Effective sample sizes of an action: warned below, and too few below."""
RARE: Final = 0.05
"""Share of decisions that took an action with too few: fails above. An action never taken fails too."""
DUPLICATED: Final = (0.0, 0.01)
"""Shares of rows that repeat a subject at the same moment and slot: warned above, failed above."""
_INSTEAD = "Judge by overlap, and by balance after weighting."
_DRAW = "Find out how arms were assigned, logged and filtered; do not reweight it away."


def drawn_rows(log: DecisionLog) -> DecisionLog:
    """The usable rows that are draws of their own (all usable ones of an observational log)."""
    if log.drawn is None or log.observational:
        return log.take(log.usable)
    return log.take(log.usable & log.drawn)


def sample_ratio(log: DecisionLog) -> Iterator[Check]:
    """How often each action was taken against how often it should have been: overall, by slot and by day (UTC).

    The statistic is (O - E)' V^- (O - E) with E = sum of p_i and V = sum of diag(p_i) - p_i p_i', which is Pearson's
    chi-square where probabilities are the same for all. Several groups: the smallest p times their number (Bonferroni).
    """
    rows = drawn_rows(log)
    rows = rows.take(rows.told)
    name = "sample-ratio"
    if log.observational or not len(rows):
        why = (
            "nobody drew the actions." if log.observational else "the log tells only the probability of what was taken."
        )
        yield untested(name, SIGNIFICANT, why, _INSTEAD if log.observational else "See the mean weight.")
        return
    p, _ = chi_square(rows)
    counts = ", ".join(f"{rows.actions[a] or 'nothing'} {int((rows.action == a).sum()):,}" for a in _largest(rows))
    yield by_p(name, p, f"Counts are as drawn: p = {p:.3g} ({counts}).", _DRAW)
    days = rows.decided_at // DAY
    for what, codes in (("slot", rows.slot.astype(np.int64)), ("day", days)):
        if len(np.unique(codes)) > 1:
            yield _by_group(f"{name}-by-{what}", rows, codes, what)


def _by_group(name: str, rows: DecisionLog, codes: Whole, what: str) -> Check:
    found: dict[int, float] = {}
    for code in np.unique(codes).tolist():
        p, expected = chi_square(rows.take(codes == code))
        if expected >= EXPECTED:
            found[code] = p
    if not found:
        return untested(name, SIGNIFICANT, f"no {what} has {EXPECTED:.0f} expected decisions of two actions.", "")
    worst = min(found, key=found.__getitem__)
    p = min(1.0, found[worst] * len(found))
    label = rows.slots[worst] if what == "slot" else f"{to_datetime(worst * DAY):%Y-%m-%d}"
    told = f"The worst of {len(found)} {what}s is {label}: p = {found[worst]:.3g}, {p:.3g} after counting them all."
    return by_p(name, p, told, _DRAW)


def chi_square(rows: DecisionLog) -> tuple[float, float]:
    """The p-value of the counts, and the least expected count. Actions too rare for the test count as one."""
    pools = _pools(rows.propensity.sum(axis=0))
    chance = rows.propensity @ pools
    expected = chance.sum(axis=0)
    gap = np.bincount(rows.action, minlength=len(pools)) @ pools - expected
    spread = np.diag(expected) - chance.T @ chance
    values, vectors = np.linalg.eigh(spread)
    kept = values > 1e-9 * max(values.max(initial=0.0), 1e-12)
    if not kept.any():
        return 1.0, 0.0
    statistic = float((((gap @ vectors[:, kept]) ** 2) / values[kept]).sum())
    return float(stats.chi2.sf(statistic, int(kept.sum()))), float(expected[expected > 0].min())


def _pools(expected: Doubles) -> Doubles:
    """float64[k, groups] of 0 and 1: each action by itself, those expected less than EXPECTED times together.

    Where even together they are too few, the rarest of the others joins them, until all are one.
    """
    order = np.argsort(expected, kind="stable")
    order = order[expected[order] > 0]
    rare = int(np.searchsorted(np.cumsum(expected[order]) >= EXPECTED, True)) + 1
    rare = min(max(rare, int((expected[order] < EXPECTED).sum())), len(order))
    pools = np.zeros((len(expected), len(order) - rare + 1))
    pools[order[:rare], 0] = 1
    pools[order[rare:], np.arange(1, pools.shape[1])] = 1
    return pools


def _largest(rows: DecisionLog, most: int = 6) -> list[int]:
    counts = np.bincount(rows.action, minlength=len(rows.actions))
    return [int(a) for a in np.argsort(-counts, kind="stable")[:most] if counts[a]]


def mean_weight(log: DecisionLog) -> Check:
    """Whether 1 / propensity of an action averages to one over the rows where it could have been taken.

    For each action z = sum(A / p - 1) / sqrt(V), two-sided, times the number of actions. V is sum(1 / p - 1), what it
    is when the log is right. Where the log tells only the probability of what was taken, V is estimated from the rows
    at hand, clustered by subject; it misses weights too rare to have been seen, so the check then warns at most.
    """
    name = "mean-weight"
    if log.observational:
        return untested(name, SIGNIFICANT, "nobody drew the actions.", _INSTEAD)
    rows = drawn_rows(log)
    z, means = {}, {}
    for action in range(len(rows.actions)):
        could = rows.eligible[:, action]
        if could.sum() < EXPECTED:
            continue
        some = rows.take(could)
        weight = np.where(some.action == action, 1 / some.taken, 0.0)
        spread = _spread(some, action, weight)
        z[action], means[action] = (float((weight - 1).sum()) / spread if spread > 0 else 0.0), float(weight.mean())
    if not z:
        return untested(name, SIGNIFICANT, "no action was eligible often enough.", "")
    worst = max(z, key=lambda action: abs(z[action]))
    p = min(1.0, 2 * float(stats.norm.sf(abs(z[worst]))) * len(z))
    told = f"The worst of {len(z)} actions is {rows.actions[worst] or 'nothing'}: mean weight {means[worst]:.3f}"
    check = by_p(
        name, p, f"{told}, p = {p:.3g}.", "The recorded probabilities are not those of the draw: mend the code."
    )
    if check.verdict == "failed" and not rows.told.all():
        remedy = (
            "Either the recorded probabilities are wrong, or tiny ones are too rare here: look at the log's source."
        )
        return replace(check, verdict="warned", remedy=remedy)
    return check


def _spread(rows: DecisionLog, action: int, weight: Doubles) -> float:
    """Standard deviation of the sum of weights less one."""
    chance = rows.propensity[:, action]
    if not np.isnan(chance).any():
        return float(np.sqrt((1 / chance - 1).sum()))
    sums = np.bincount(np.unique(rows.subject, return_inverse=True)[1], weight - 1)
    return float(np.sqrt((sums**2).sum()))


def effective_size(taken: Doubles) -> float:
    """(sum w)^2 / sum w^2 for w = 1 / propensity (Kish 1965)."""
    weight = 1 / taken
    return float(weight.sum() ** 2 / (weight**2).sum()) if len(weight) else 0.0


def positivity(log: DecisionLog) -> Iterator[Check]:
    """Whether every eligible action had a chance worth the name, and how many rows its weights leave."""
    rows = log.take(log.usable)
    if log.observational:
        return
    taken = rows.taken
    share = float((taken < CLIP).mean())
    least = float(np.nanmin(np.where(rows.propensity > 0, rows.propensity, np.nan)))
    told = f"{share:.2%} of the decisions had a probability below {CLIP:g}; the smallest recorded one is {least:.3g}."
    yield by_limit("positivity", share, CLIPPED, told, "Give every eligible action a floor when drawing.")
    sizes = {a: effective_size(taken[rows.action == a]) for a in np.flatnonzero(rows.eligible.any(axis=0)).tolist()}
    worst = min(sizes, key=sizes.__getitem__)
    size = sizes[worst]
    rare = float(np.isin(rows.action, [a for a, each in sizes.items() if each < EFFECTIVE[1]]).mean())
    verdict: Verdict = "failed" if size == 0 or rare > RARE else "warned" if size < EFFECTIVE[0] else "passed"
    told = f"The action with the fewest effective decisions is {rows.actions[worst] or 'nothing'}: {size:,.0f}"
    few = f"{rare:.1%} of the decisions took an action with less than {EFFECTIVE[1]:.0f}"
    remedy = "" if verdict == "passed" else "Collect more, or leave rare actions out with `log.only(...)`."
    counted = int((rows.action == worst).sum())
    yield Check("effective-sample-size", verdict, size, EFFECTIVE[1], f"{told} of {counted:,}; {few}.", remedy)


def duplicates(log: DecisionLog) -> Check:
    """Whether a subject was decided for twice in the same slot at the same moment.

    Contradictory ones fail at once: nobody knows what the subject got.
    """
    keys = np.stack([log.subject, log.slot.astype(np.int64), log.decided_at])
    _, where, counts = np.unique(keys, axis=1, return_inverse=True, return_counts=True)
    where = where.reshape(-1)
    extra = int((counts - 1).sum())
    pairs = np.unique(np.stack([where, log.action.astype(np.int64)]), axis=1)
    torn = int((np.bincount(pairs[0]) > 1).sum())
    share = extra / max(len(log), 1)
    again = np.unique(log.subject, return_counts=True)[1]
    told = (
        f"{extra:,} of {len(log):,} decisions repeat a subject at the same moment, {torn:,} of them with another "
        f"action; {int((again > 1).sum()):,} of {len(again):,} subjects have several decisions, "
        f"{int(again.max(initial=0))} at most."
    )
    figure = max(share, 1.0) if torn else share
    return by_limit(
        "duplicates", figure, DUPLICATED, told, "Keep one row a subject and decision; find the double export."
    )
