"""Every check of a log before anything is learned from it: one function each, one list of verdicts.

checks = run_checks(log, rewards=("visit",))
refuse_unless(checks, overridden=["positivity"])
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from features.errors import DataError
from training.uplift.balance import arm_classifier, balance, love, overlap
from training.uplift.contrasts import LEAST, contrasts_of
from training.uplift.draws import duplicates, mean_weight, positivity, sample_ratio
from training.uplift.leaks import Qini, leaks, permuted_qini, placebo
from training.uplift.log import BEFORE, DecisionLog
from training.uplift.verdict import Check, refuse_unless

__all__ = ["Check", "insist", "refuse_unless", "run_checks"]


def run_checks(
    log: DecisionLog, *, rewards: Sequence[str] | None = None, qini: Qini | None = None, seed: int = 0
) -> list[Check]:
    """All checks of a log, in the order in which a reader should worry.

    Args:
        log: from `read_log`.
        rewards: the outcomes that are to be learned; default: all that come after the decision.
        qini: the measure to try on permuted treatments, with the first reward; without one that check is left out.
        seed: of folds, samples and permutations.

    Raises:
        DataError: there is nothing to compare (`insist`).
    """
    after = [name for name in log.rewards if not name.startswith(BEFORE)] if rewards is None else list(rewards)
    insist(log, after)
    contrasts = judged = contrasts_of(log, seed)
    checks = [*sample_ratio(log), mean_weight(log), duplicates(log), *positivity(log)]
    if log.observational:
        overlaps, weighted = overlap(contrasts, seed)
        points = love(contrasts, weighted) if weighted else []
        judged = weighted
        checks += [*overlaps, balance(points, observational=True)]
    else:
        checks += [arm_classifier(contrasts, seed), balance(love(contrasts), observational=False)]
    checks += [leaks(log, contrasts, after), placebo(log, judged)]
    if qini is not None and after:
        checks.append(permuted_qini(contrasts, after[0], qini, seed=seed))
    return checks


def insist(log: DecisionLog, rewards: Sequence[str]) -> None:
    """What no override can help: a log in which nothing can be compared.

    Raises:
        DataError: no usable decisions, one action only, propensities outside (0, 1], features or rewards of another
            length, infinite ones, or a reward of which nothing is known.
    """
    if not log.usable.any():
        why = "; ".join(f"{count:,} {reason}" for reason, count in log.left_out.items())
        raise DataError("no usable decision", where="log", got=why or None, hint="only draws count, and their reuses")
    rows = log.take(log.usable)
    counts = np.bincount(rows.action, minlength=len(log.actions))
    if (counts > 0).sum() < 2:
        only = log.actions[int(counts.argmax())] or "nothing"
        raise DataError("one arm only: nothing can be compared", where="log", got=only, hint="a control is needed")
    if (counts >= LEAST).sum() < 2:
        told = {log.actions[a] or "nothing": int(counts[a]) for a in np.flatnonzero(counts).tolist()}
        raise DataError(f"fewer than two actions with {LEAST} decisions", where="log", got=told, hint="collect more")
    taken = rows.taken
    if not log.observational and not ((taken > 0) & (taken <= 1)).all():
        bad = float(taken[~((taken > 0) & (taken <= 1))][0])
        raise DataError("a propensity outside (0, 1]", where="log", got=bad, hint="mend the log, or say observational")
    if np.isinf(log.features).any():
        raise DataError("an infinite feature", where="log", got=log.names[int(np.isinf(log.features).any(0).argmax())])
    for name in rewards:
        values = rows.reward(name)
        if np.isnan(values).all() or np.isinf(values).any():
            raise DataError("a reward of which nothing is known, or an infinite one", where=f"reward {name}")
