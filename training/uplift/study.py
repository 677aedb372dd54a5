"""From a log of decisions to a verdict on who should get which action: checks, effects, policies, the gate.

`study` is the whole flow; its steps are the functions below it, in their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from features.errors import DataError
from training.meter import Tell
from training.session import silent
from training.uplift.boosting import Shape
from training.uplift.checks import Check, refuse_unless, run_checks
from training.uplift.crossfit import ALL, CrossFit, cross_fit
from training.uplift.estimate import Estimate, mean_of
from training.uplift.gate import Guard, Ruling, rule, value_of
from training.uplift.log import DecisionLog, Doubles
from training.uplift.measured import Measured, measure
from training.uplift.options import StudyOptions, affordable, check_options, tiers_of
from training.uplift.proposals import Proposal, net_scores, pool_of, proposed
from training.uplift.rare import Logged


@dataclass(frozen=True)
class Study:
    """All that was found.

    Args:
        log: the decisions that were learned from: those of `CrossFit.rows`.
        options: what was wanted.
        checks: before any fit.
        fits: reward -> cross-fitted effects.
        measured: of every learner, action and reward.
        net: float64[n, k], doubly robust scores of the net value.
        proposals: a policy of every learner, best first.
        chances: float64[n, k], of the challenger, its blocks in it.
        ruling: the gate's, on the challenger.
        notes: what a person should know, as sentences.
    """

    log: DecisionLog
    options: StudyOptions
    checks: Sequence[Check]
    fits: Mapping[str, CrossFit]
    measured: Sequence[Measured]
    net: Doubles
    proposals: Sequence[Proposal]
    chances: Doubles
    ruling: Ruling
    notes: Sequence[str]

    @property
    def challenger(self) -> Proposal:
        """The best proposal that can serve: what the gate judged, and what is refitted where the gate lets it."""
        return pool_of(self.proposals)[0]

    @property
    def by_blocks(self) -> Estimate:
        """What blocks change in the challenger's value a decision, on the same decisions."""
        gained = value_of(self.chances, self.net) - value_of(self.challenger.unblocked, self.net)
        return mean_of(gained, self.log.subject)


def study(log: DecisionLog, options: StudyOptions, tell: Tell = silent) -> Study:
    """Check, learn, propose, and ask the gate.

    Args:
        log: from `training.uplift.reading.read_log`.
        options: what is wanted of the actions.
        tell: hears the progress of each step.

    Raises:
        DataError: nothing can be compared, a check failed that is not overridden, or too little to learn from.
        ConfigError: a worth or guard of a reward that the log lacks, a cost of an action that it lacks.
    """
    check_options(log, options)
    checks = checked(log, options, tell)
    fits = learned(log, options, tell)
    log, fits = shared_rows(log, fits)
    measured = [each for reward in options.worth for each in measure(fits[reward], options)]
    net, proposals, chances, ruling = decided(log, fits, options)
    notes = [*log.notes, *(note for fit in fits.values() for note in fit.notes), *unserved(proposals)]
    return Study(
        log, options, checks, fits, measured, net, proposals, chances, ruling, list(dict.fromkeys(notes))
    )  # fmt: skip


def decided(
    log: DecisionLog, fits: Mapping[str, CrossFit], options: StudyOptions
) -> tuple[Doubles, list[Proposal], Doubles, Ruling]:
    """Net scores, a policy of every learner, the challenger's chances and the gate's ruling on it.

    The challenger is the best proposal that can serve. The gate judges it as itself, and whether picking it holds.

    Args:
        log: decisions.
        fits: of every reward that is worth something or guarded, on these decisions.
        options: what is wanted.
    """
    net = net_scores(fits, options, log)
    proposals = proposed(fits, options, log, net)
    pool = [each.chances for each in pool_of(proposals)]
    return net, proposals, pool[0], ruled(fits, options, log, net, pool)


def checked(log: DecisionLog, options: StudyOptions, tell: Tell) -> list[Check]:
    """The checks; a failed one that is not overridden ends the study."""
    tell("checks", 0, 1)
    checks = run_checks(log, rewards=[*options.worth, *options.guards], seed=options.seed)
    tell("checks", 1, 1)
    refuse_unless(checks, options.overridden)
    return checks


def learned(log: DecisionLog, options: StudyOptions, tell: Tell) -> dict[str, CrossFit]:
    """Cross-fitted effects on every reward that is worth something or guarded."""
    rewards = dict.fromkeys((*options.worth, *options.guards))
    chosen = {name: fit for name, fit in ALL.items() if not options.learners or name in options.learners}
    shape = Shape(outcome_monotone=options.outcome_monotone, effect_monotone=options.effect_monotone)
    fit = partial(
        cross_fit, log, learners=chosen, folds=options.folds, seed=options.seed, shape=shape, threads=options.threads,
        tell=tell,
    )  # fmt: skip
    return {reward: fit(reward) for reward in rewards}


def shared_rows(log: DecisionLog, fits: Mapping[str, CrossFit]) -> tuple[DecisionLog, dict[str, CrossFit]]:
    """The decisions that can be judged on every reward.

    Raises:
        DataError: there are none.
    """
    rows = np.logical_and.reduce([fit.rows for fit in fits.values()])
    if not rows.any():
        raise DataError("no decision has all rewards", got=", ".join(fits), hint="ask for fewer rewards")
    return log.take(rows), {name: fit.take(rows) for name, fit in fits.items()}


def ruled(
    fits: Mapping[str, CrossFit], options: StudyOptions, log: DecisionLog, net: Doubles, pool: Sequence[Doubles]
) -> Ruling:
    """The gate on the first of a pool of policies, with guards, tiers and what the budget allows."""
    guards = [Guard(reward, fits[reward].scores, limit) for reward, limit in options.guards.items()]
    first = next(iter(fits.values()))
    return rule(
        pool[0], net, first.fold.astype(np.int64), log.subject, log.actions, guards=guards,
        tiers=tiers_of(log, options.tier), pool=pool, share=affordable(log, options),
        logged=Logged(log.action, first.choice.chance, log.rewards, options.worth),
    )  # fmt: skip


def unserved(proposals: Sequence[Proposal]) -> list[str]:
    """Said where a learner that cannot serve made the best policy."""
    named = [each for each in proposals if each.learner != "constant"]  # its policy is one action for everybody
    best, challenger = (named or proposals)[0], pool_of(proposals)[0]
    if not challenger.servable:
        return [f"{best.learner} is no sum of trees and cannot serve; no learner was tried that can."]
    if best is challenger or best.value.value <= challenger.value.value:
        return []
    return [
        f"{best.learner}'s policy is worth most ({best.value.value:.4g} a decision) and cannot serve, as it is no sum "
        f"of trees; the best that can, {challenger.learner}'s ({challenger.value.value:.4g}), was judged in its place."
    ]
