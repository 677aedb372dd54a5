"""Win-back: whom should a mail go to, those whom it moves or those who are likely gone?

Churn models rank by the hazard of not coming back. Who will not come back anyway, and who comes back anyway, is not
moved by a mail; so both orders are given the same mail and the same number of mails, and what each brings is told from
an experiment that mailed at random (Ascarza 2018, "Retention futility").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from features.errors import ConfigError, DataError
from training.bench.rows import Row
from training.intervals import Interval
from training.meter import Tell
from training.session import silent
from training.uplift.checks import Check, insist, refuse_unless, run_checks
from training.uplift.crossfit import ALL, CrossFit, cross_fit
from training.uplift.estimate import mean_of
from training.uplift.log import NULL, Codes, DecisionLog, Doubles, Mask

UPLIFT, HAZARD, RANDOM = "uplift", "hazard", "random"
LEAST = 200
"""Customers of whom each targeting picks, at least."""


@dataclass(frozen=True)
class WinBackOptions:
    """How it is asked.

    Args:
        outcome: the reward that counts as coming back.
        budget: share of the customers who are mailed, in (0, 1).
        action: the mail; None: the one that is best for everybody.
        learner: of the uplift (`training.uplift.crossfit.ALL`).
        lapsed: column -> what it must at least be for a customer to be asked about.
        overridden: names of failed checks that are accepted.
        folds, seed, threads: of the estimates.
    """

    outcome: str
    budget: float = 0.3
    action: str | None = None
    learner: str = "DR"
    lapsed: Mapping[str, float] | None = None
    overridden: Sequence[str] = ()
    folds: int = 5
    seed: int = 0
    threads: int = 0


@dataclass(frozen=True)
class WinBack:
    """What two ways of choosing are worth, beside chance.

    Args:
        options: how it was asked.
        action: the mail.
        customers: decisions that were judged.
        mailed: of them, by each targeting.
        shared: share of the mailed whom both choose.
        values: `uplift`, `hazard` and `random` -> added outcomes a mail.
        gaps: (one, other) -> the paired difference, a mail.
        observational: whether nobody drew who was mailed.
        checks: before any fit.
        notes: what to know, as sentences.
    """

    options: WinBackOptions
    action: str
    customers: int
    mailed: int
    shared: float
    values: Mapping[str, Interval]
    gaps: Mapping[tuple[str, str], Interval]
    observational: bool
    checks: Sequence[Check]
    notes: Sequence[str]


def win_back(log: DecisionLog, options: WinBackOptions, tell: Tell = silent) -> WinBack:
    """Compare targeting by uplift with targeting by hazard, on a log in which a mail was drawn.

    Who is chosen is decided by models that did not see them; what it is worth by doubly robust scores, as paired
    differences with 95 % intervals clustered by subject.

    Args:
        log: from `read_log`, with the outcome.
        options: how it is asked.
        tell: hears the progress.

    Raises:
        ConfigError: a budget that is no share, an unknown mail, learner or column.
        DataError: nothing can be compared, too few customers, or a failed check that is not overridden.
    """
    log = asked(log, options)
    insist(log, [options.outcome])
    tell("checks", 0, 1)
    checks = run_checks(log, rewards=[options.outcome], seed=options.seed)
    tell("checks", 1, 1)
    refuse_unless(checks, options.overridden)
    fit = cross_fit(
        log, options.outcome, learners={options.learner: ALL[options.learner]}, folds=options.folds, seed=options.seed,
        threads=options.threads, tell=tell,
    )  # fmt: skip
    if options.learner not in fit.effects:
        raise DataError("the learner could not be fitted", where=options.learner, got="; ".join(fit.notes))
    return judged(fit, options, checks)


def asked(log: DecisionLog, options: WinBackOptions) -> DecisionLog:
    """The decisions about customers who are asked about.

    Raises:
        ConfigError, DataError: as `win_back`.
    """
    if not 0 < options.budget < 1:
        hint = "the share of customers who are mailed, e.g. 0.3"
        raise ConfigError("a budget lies between 0 and 1", where="--budget", got=options.budget, hint=hint)
    mails = [action for action in log.actions if action is not None]
    if options.action is not None and options.action not in mails:
        raise ConfigError("no such action", where="--action", got=options.action, hint=f"it has: {', '.join(mails)}")
    if options.learner not in ALL:
        hint = f"there are: {', '.join(ALL)}"
        raise ConfigError("no such learner", where="--learner", got=options.learner, hint=hint)
    rows = np.ones(len(log), np.bool_)
    for name, least in (options.lapsed or {}).items():
        numbers = [each for each, coded in zip(log.names, log.categorical, strict=True) if not coded]
        if name not in numbers:
            hint = f"columns of numbers: {', '.join(numbers) or 'none'}"
            raise ConfigError("no such column", where="--lapsed", got=name, hint=hint)
        rows &= log.features[:, log.names.index(name)] >= least
    if (many := int(rows.sum())) < LEAST:
        hint = f"it takes at least {LEAST}; ask about more"
        raise DataError("too few customers to be chosen from", where="--lapsed", got=many, hint=hint)
    return log if rows.all() else log.take(rows)


def judged(fit: CrossFit, options: WinBackOptions, checks: Sequence[Check] = ()) -> WinBack:
    """Choose by both orders on what was learned out of fold, and value the choices.

    Args:
        fit: effects of the learner, and outcomes without a mail.
        options: how it is asked.
        checks: for the report.

    Raises:
        DataError: fewer than LEAST customers could have got the mail.
    """
    arm, action = _mail(fit, options)
    effect, without, gain = fit.effects[options.learner][:, arm], fit.outcomes.out[:, NULL], fit.contrasts[:, arm]
    here = fit.rows & np.isfinite(gain) & np.isfinite(effect) & np.isfinite(without)
    if (many := int(here.sum())) < LEAST:
        raise DataError("too few customers could have got the mail", where=action, got=many)
    fold, subject, gain = fit.fold[here], fit.log.subject[here], gain[here]
    orders = {UPLIFT: effect[here], HAZARD: -without[here]}
    chosen: dict[str, Doubles] = {
        name: foremost(order, fold, options.budget, seed=options.seed).astype(np.float64)
        for name, order in orders.items()
    }
    mailed = int(chosen[UPLIFT].sum())
    if not mailed:
        raise DataError("the budget mails nobody", where="--budget", got=options.budget)
    chosen[RANDOM] = np.full(many, mailed / many)

    def worth(weight: Doubles) -> Interval:
        return mean_of(weight * gain * many / mailed, subject).interval

    pairs = ((UPLIFT, HAZARD), (UPLIFT, RANDOM), (HAZARD, RANDOM))
    return WinBack(
        options, action, many, mailed, float(chosen[UPLIFT] @ chosen[HAZARD]) / mailed,
        {name: worth(weight) for name, weight in chosen.items()},
        {(one, other): worth(chosen[one] - chosen[other]) for one, other in pairs},
        fit.log.observational, checks, (*_picked(fit, options, action), *fit.log.notes, *fit.notes),
    )  # fmt: skip


def _picked(fit: CrossFit, options: WinBackOptions, action: str) -> list[str]:
    """What it does to the figures that nobody named the mail."""
    mails = len(fit.log.actions) - 1
    if options.action is not None or mails < 2:
        return []
    return [
        f"{action} was picked as the best of {mails} mails by what values it too, which flatters what it brings in any "
        "order, and the gap between the orders hardly."
    ]


def _mail(fit: CrossFit, options: WinBackOptions) -> tuple[int, str]:
    """Column of the mail among the effects, and its name: the one that was asked for, or is best for everybody."""
    actions = fit.log.actions
    if options.action is not None:
        return actions.index(options.action) - 1, options.action
    gains = fit.contrasts[fit.rows]
    known = np.isfinite(gains)  # a mail that hardly anybody got has no effect that is known
    if not known.any():
        raise DataError("no mail has an effect that is known", where="--action", hint="read a larger log")
    means = np.where(known, gains, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    best = int(np.argmax(np.where(known.any(axis=0), means, -np.inf)))
    return best, str(actions[best + 1])


def foremost(score: Doubles, fold: Codes, share: float, *, seed: int = 0) -> Mask:
    """bool[n]: in each fold the share with the highest scores, equal ones by lot.

    Models of different folds have different averages, so scores are compared within folds only. However scores are
    distributed, as many are chosen.

    Args:
        score: float64[n].
        fold: int32[n].
        share: in (0, 1); rounded down in each fold.
        seed: of the lots.
    """
    lot = np.random.default_rng(seed).random(len(score))
    chosen = np.zeros(len(score), np.bool_)
    for number in np.unique(fold):
        here = np.flatnonzero(fold == number)
        order = here[np.lexsort((lot[here], -score[here]))]
        chosen[order[: int(share * len(here) + 1e-9)]] = True
    return chosen


def headline(found: WinBack) -> str:
    """Which targeting to take, in one sentence."""
    gap, outcome = found.gaps[UPLIFT, HAZARD], found.options.outcome
    if gap.low > 0:
        return f"Mail by uplift: the same mails bring more {outcome} than by the hazard of not coming back."
    if gap.high < 0:
        return f"Mail by hazard: here the same mails bring more {outcome} than by uplift."
    return f"Uplift is not shown to be better here: by either order the same mails add to {outcome} what may be alike."


def sentences(found: WinBack) -> list[str]:
    """What stands behind it, as sentences."""
    gap, outcome = found.gaps[UPLIFT, HAZARD], found.options.outcome
    told = [
        f"{found.mailed:,} of {found.customers:,} decisions are {found.action}; {found.shared:.0%} of these are chosen "
        "by both.",
        f"A thousand mails by uplift bring {thousand(gap)} {outcome} beside a thousand by hazard.",
    ]
    for one in (UPLIFT, HAZARD):
        against = found.gaps[one, RANDOM]
        verb = "bring more" if against.low > 0 else "bring less" if against.high < 0 else "are not shown to bring more"
        told.append(f"By {one} they {verb} than at random: {thousand(against)}.")
    if found.observational:
        told.append("Nobody drew at random who was mailed: take this as a hint for the next experiment, not as proof.")
    failed = [check.name for check in found.checks if check.verdict == "failed"]
    if gone := [name for name in failed if name in found.options.overridden]:
        told.append(f"It stands on checks that failed and were overridden by name: {', '.join(gone)}.")
    return [*told, *found.notes]


def thousand(found: Interval) -> str:
    """A figure a mail as one a thousand mails, with its interval.

    >>> thousand(Interval(0.0772, 0.0653, 0.0891, 9, 0))
    '+77.2 [+65.3, +89.1]'
    """
    if not np.isfinite(found.value):
        return "not defined"
    return f"{1000 * found.value:+,.1f} [{1000 * found.low:+,.1f}, {1000 * found.high:+,.1f}]"


def rows_of(found: WinBack, name: str) -> list[Row]:
    """Every figure, a mail, for programs."""
    values: dict[str, Interval] = dict(found.values)
    values |= {f"{one}-{other}": gap for (one, other), gap in found.gaps.items()}
    rows = [
        Row("win-back", name, found.options.outcome, subject, "added-a-mail", each.value, each.low, each.high)
        for subject, each in values.items()
    ]
    counts = {"customers": float(found.customers), "mailed": float(found.mailed), "shared": found.shared}
    return [*rows, *(Row("win-back", name, found.options.outcome, "both", what, each) for what, each in counts.items())]


def figures(rows: Sequence[Row]) -> dict[str, float]:
    """`subject/metric`, with `/low` and `/high` where there is an interval, for experiment tracking."""
    told = {f"{row.subject}/{row.metric}": row.value for row in rows}
    for row in rows:
        if row.low is not None and row.high is not None:
            told |= {f"{row.subject}/{row.metric}/low": row.low, f"{row.subject}/{row.metric}/high": row.high}
    return told
