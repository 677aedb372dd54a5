"""From a log of decisions to a verdict on who should get which action: checks, effects, policies, the gate.

`study` is the whole flow; its steps are the functions below it, in their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import msgspec
import numpy as np

from features.errors import ConfigError, DataError
from serving.policies import NULL, PolicySpec, net_values, probabilities
from training.meter import Tell
from training.session import silent
from training.uplift import metrics
from training.uplift.calibration import applied, out_of_fold
from training.uplift.checks import Check, refuse_unless, run_checks
from training.uplift.crossfit import ALL, CrossFit, cross_fit
from training.uplift.estimate import Estimate
from training.uplift.gate import Guard, Ruling, rule, value_of
from training.uplift.log import DecisionLog, Doubles, Floats, Mask
from training.uplift.policies import budget_price

TREATED_SHARE = 0.3
"""Share of heads at which a gain beyond random is told."""


@dataclass(frozen=True)
class StudyOptions:
    """What is wanted of the actions.

    Args:
        worth: reward -> what one unit of it is worth; at least one.
        costs: action -> what taking it once costs.
        budget: mean cost a decision that may be spent; None: no limit.
        guards: reward -> what the policy may add to it a decision, at most.
        tier: name of a categorical column of loyalty tiers; empty: none.
        overridden: names of failed checks that are accepted; they stand in the report.
        floor: exploration that the shipped policy keeps.
        cautious: act only where the lower bound of the net value is above 0.
        learners: names of those to try (`training.uplift.crossfit.ALL`); empty: all.
        folds, seed, permutations, threads: of the estimates.
    """

    worth: Mapping[str, float]
    costs: Mapping[str, float] = field(default_factory=dict)
    budget: float | None = None
    guards: Mapping[str, float] = field(default_factory=dict)
    tier: str = ""
    overridden: Sequence[str] = ()
    floor: float = 0.0
    cautious: bool = False
    learners: Sequence[str] = ()
    folds: int = 5
    seed: int = 0
    permutations: int = 200
    threads: int = 0


@dataclass(frozen=True)
class Measured:
    """What a learner's effects of one action on one reward are worth.

    Args:
        learner, action, reward: of what.
        qini, autoc, gain: per treated, on doubly robust scores, of the best `TREATED_SHARE` beyond random.
        slope: of calibration.
        placebo: percentile of the Qini among permuted treatments; NaN where it was not asked for.
    """

    learner: str
    action: str
    reward: str
    qini: Estimate
    autoc: Estimate
    gain: Estimate
    slope: Estimate
    placebo: float


@dataclass(frozen=True)
class Proposal:
    """A learner's effects made a policy.

    Args:
        learner: whose effects.
        spec: the policy, with the price of its budget.
        values: float64[n, k], net value of every action, out of fold.
        chances: float64[n, k], what it would have done, each fold by what was learned on the others.
        value: of doing so, a decision, by doubly robust scores.
    """

    learner: str
    spec: PolicySpec
    values: Doubles
    chances: Doubles
    value: Estimate


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
        chances: float64[n, k], of the challenger: for each fold the policy that was best on the others.
        ruling: the gate's.
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
        """The proposal that is best on everything: what is refitted where the gate lets it."""
        return self.proposals[0]


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
    notes = list(dict.fromkeys(note for fit in fits.values() for note in fit.notes))
    return Study(log, options, checks, fits, measured, net, proposals, chances, ruling, [*log.notes, *notes])


def decided(
    log: DecisionLog, fits: Mapping[str, CrossFit], options: StudyOptions
) -> tuple[Doubles, list[Proposal], Doubles, Ruling]:
    """Net scores, a policy of every learner, the challenger and the gate's ruling, from fits on the same decisions."""
    net = net_scores(fits, options, log)
    proposals = proposed(fits, options, log, net)
    chances = challenger(proposals, net, next(iter(fits.values())).fold)
    return net, proposals, chances, ruled(fits, options, log, net, chances)


def check_options(log: DecisionLog, options: StudyOptions) -> None:
    """Names that the log does not have.

    Raises:
        ConfigError, DataError: with what there is.
    """
    if not any(options.worth.values()):
        raise ConfigError("nothing is worth anything", where="worth", hint="name a reward and what one unit is worth")
    for reward in (*options.worth, *options.guards):
        log.reward(reward)
    known = [action for action in log.actions if action is not None]
    for action in options.costs:
        if action not in known:
            raise ConfigError("no such action", where="costs", got=action, hint=f"the log has: {', '.join(known)}")
    for name in options.learners:
        if name not in ALL:
            raise ConfigError("no such learner", where="learners", got=name, hint=f"there are: {', '.join(ALL)}")
    if options.tier and options.tier not in log.names:
        raise ConfigError("no such column", where="tier", got=options.tier, hint=f"it has: {', '.join(log.names)}")


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
    fit = partial(
        cross_fit, log, learners=chosen, folds=options.folds, seed=options.seed, threads=options.threads, tell=tell
    )
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


def measure(fit: CrossFit, options: StudyOptions) -> list[Measured]:
    """What each learner's effects of each action are worth, before anything is done with them."""
    found = []
    for arm, action in enumerate(fit.log.actions[1:]):
        trial = fit.trial(action)
        effect = fit.contrasts[:, arm]
        for learner, effects in fit.effects.items():
            # Models of different folds have different averages: rows are ranked within their fold.
            score = metrics.ranks_in_folds(effects[:, arm], fit.fold)
            here = score[trial.places]
            dealt = metrics.placebo(here, trial, permutations=options.permutations, seed=options.seed)
            slope = fit.calibration(learner)[arm].slope
            found.append(Measured(
                learner, str(action), fit.reward, metrics.qini(here, trial),
                metrics.autoc(score, effect, fit.log.subject),
                metrics.gain_at(score, effect, fit.log.subject, TREATED_SHARE, over_random=True), slope,
                dealt.percentile,
            ))  # fmt: skip
    return found


def net_scores(fits: Mapping[str, CrossFit], options: StudyOptions, log: DecisionLog) -> Doubles:
    """float64[n, k]: doubly robust scores of what each action brings, after its cost; NaN where not eligible."""
    gross = sum(worth * fits[reward].scores for reward, worth in options.worth.items())
    return np.asarray(gross - _costs(log, options), np.float64)


def proposed(
    fits: Mapping[str, CrossFit], options: StudyOptions, log: DecisionLog, net: Doubles
) -> list[Proposal]:  # fmt: skip
    """A policy of every learner that could be fitted on all rewards, best first."""
    first = next(iter(fits.values()))
    names = [name for name in first.effects if all(name in fits[reward].effects for reward in options.worth)]
    made = [_proposal(name, fits, options, log, net) for name in names]
    return sorted(made, key=lambda each: -each.value.value)


def challenger(proposals: Sequence[Proposal], net: Doubles, fold: np.typing.NDArray[np.integer]) -> Doubles:
    """float64[n, k]: in each fold what the policy does that was best on the others."""
    values = np.column_stack([value_of(each.chances, net) for each in proposals])
    chances = np.empty_like(proposals[0].chances)
    for number in np.unique(fold):
        here = fold == number
        chances[here] = proposals[int(np.argmax(values[~here].mean(axis=0)))].chances[here]
    return chances


def ruled(
    fits: Mapping[str, CrossFit], options: StudyOptions, log: DecisionLog, net: Doubles, chances: Doubles
) -> Ruling:
    """The gate, with guards and tiers."""
    guards = [Guard(reward, fits[reward].scores, limit) for reward, limit in options.guards.items()]
    fold = next(iter(fits.values())).fold.astype(np.int64)
    return rule(chances, net, fold, log.subject, log.actions, guards=guards, tiers=tiers_of(log, options.tier))


def tiers_of(log: DecisionLog, column: str) -> dict[str, Mask]:
    """Tier -> bool[n]; none where no column is named."""
    if not column:
        return {}
    at = log.names.index(column)
    values = log.features[:, at]
    words = log.words[at] if log.words else ()
    return {
        words[int(value)] if int(value) < len(words) else f"{value:g}": values == value
        for value in np.unique(values[np.isfinite(values)])
    }


def _proposal(
    learner: str, fits: Mapping[str, CrossFit], options: StudyOptions, log: DecisionLog, net: Doubles
) -> Proposal:
    """The learner's effects, calibrated on other folds, as a policy that keeps the budget."""
    effects = {
        reward: out_of_fold(fits[reward].effects[learner], fits[reward].contrasts, log.subject, fits[reward].fold)
        for reward in options.worth
    }
    spec = PolicySpec(
        f"uplift-{learner}", tuple(map(str, log.actions[1:])), options.worth, options.costs, floor=options.floor,
        cautious=options.cautious,
    )  # fmt: skip
    eligible = log.eligible.copy()
    eligible[:, NULL] |= ~eligible.any(axis=1)
    if options.budget is not None:
        gross = net_values(spec, effects) + _costs(log, options)
        price = budget_price(np.nan_to_num(gross, nan=-np.inf), _costs(log, options), eligible, options.budget)
        spec = msgspec.structs.replace(spec, price=price)
    values = net_values(spec, effects)
    chances = probabilities(spec, values, eligible, _spread(fits, options, learner, log))
    return Proposal(learner, spec, values, chances, metrics.mean_of(value_of(chances, net), log.subject))


def _spread(fits: Mapping[str, CrossFit], options: StudyOptions, learner: str, log: DecisionLog) -> Doubles | None:
    """float64[n, k]: spreads of the net values, those that serving has; None where nobody asks."""
    if not options.cautious:
        return None
    square = np.zeros((len(log), len(log.actions) - 1))
    for reward, worth in options.worth.items():
        fit = fits[reward]
        for arm, (each, left) in enumerate(zip(fit.calibration(learner), fit.left(learner), strict=True)):
            square[:, arm] += worth**2 * (each.average.error**2 + left**2)
    return np.concatenate([np.zeros((len(log), 1)), np.sqrt(square)], axis=1)


def _costs(log: DecisionLog, options: StudyOptions) -> Doubles:
    """float64[k]: the cost of each action; null costs nothing."""
    return np.array([0.0 if action is None else options.costs.get(action, 0.0) for action in log.actions])


def values_on(block: Floats, proposal: Proposal, fits: Mapping[str, CrossFit]) -> Doubles:
    """float64[n, k]: net values by the models refitted on everything, calibrated as serving does.

    Args:
        block: float32[n, p], the columns of the log.
        proposal: whose.
        fits: of all its rewards.
    """
    spec, effects = proposal.spec, {}
    for reward in spec.worth:
        raw = fits[reward].models[proposal.learner].predict(block)
        effects[reward] = applied(fits[reward].calibration(proposal.learner), raw)
    return net_values(spec, effects)
