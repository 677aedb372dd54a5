"""Each learner's effects made a policy, judged as it would serve: sized, priced and blocked on other folds.

For each fold the calibration and the blocks come from the other folds. The price of the budget is one number from all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from serving.policies import PolicySpec, net_values, probabilities
from training.uplift import metrics
from training.uplift.blocks import Blocked, blocks_by_tier, blocks_by_value, left_by
from training.uplift.calibration import applied, calibrations_of
from training.uplift.crossfit import CrossFit
from training.uplift.estimate import Estimate
from training.uplift.gate import value_of
from training.uplift.log import DecisionLog, Doubles, Floats, Mask
from training.uplift.options import StudyOptions, costs_in, eligible_in
from training.uplift.policies import budget_price


@dataclass(frozen=True)
class Proposal:
    """A learner's effects made a policy.

    Args:
        learner: whose effects.
        spec: the policy, with the price of its budget.
        values: float64[n, k], net value of every action, out of fold.
        chances: float64[n, k], what it would have done, each fold by what was learned on the others.
        value: of doing so, a decision, by doubly robust scores.
        unblocked: float64[n, k], what it would have done without blocks.
        blocks: groups that an action harms, by all that is known: those that would serve.
        servable: whether its effects are sums of trees, which serving can score.
    """

    learner: str
    spec: PolicySpec
    values: Doubles
    chances: Doubles
    value: Estimate
    unblocked: Doubles
    blocks: tuple[Blocked, ...] = ()
    servable: bool = True


def net_scores(fits: Mapping[str, CrossFit], options: StudyOptions, log: DecisionLog) -> Doubles:
    """float64[n, k]: doubly robust scores of what each action brings, after its cost; NaN where not eligible."""
    gross = sum(worth * fits[reward].scores for reward, worth in options.worth.items())
    return np.asarray(gross - costs_in(log, options), np.float64)


def proposed(fits: Mapping[str, CrossFit], options: StudyOptions, log: DecisionLog, net: Doubles) -> list[Proposal]:
    """A policy of every learner that could be fitted on all rewards, best first.

    Args:
        fits: of every reward that is worth something, on the same decisions.
        options: what is wanted.
        log: those decisions.
        net: float64[n, k], `net_scores`.
    """
    first = next(iter(fits.values()))
    names = [name for name in first.effects if all(name in fits[reward].effects for reward in options.worth)]
    scores, everybody = net + costs_in(log, options), np.ones(len(log), bool)
    folds = [first.fold == number for number in np.unique(first.fold)]
    tiers = [blocks_by_tier(log, options.tier, scores, rows) for rows in (*(~here for here in folds), everybody)]
    world = _World(fits, options, log, net, scores, folds, tiers)
    return sorted((_proposal(world, name) for name in names), key=lambda each: -each.value.value)


def pool_of(proposals: Sequence[Proposal]) -> list[Proposal]:
    """Those that the gate may be asked about: what can serve, or all where nothing can."""
    return [each for each in proposals if each.servable] or list(proposals)


def chances_on(block: Floats, eligible: Mask, proposal: Proposal, fits: Mapping[str, CrossFit]) -> Doubles:
    """float64[n, k]: what the policy that serves would do: models refitted on everything, sizes, price and blocks.

    Args:
        block: float32[n, p], the columns of the log.
        eligible: bool[n, k]; each row has an eligible action.
        proposal: whose.
        fits: of all its rewards.
    """
    values, log = values_on(block, proposal, fits), next(iter(fits.values())).log
    left = left_by(proposal.blocks, log, block, values, eligible)
    return probabilities(proposal.spec, values, left, spread_on(block, proposal, fits))


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


def spread_on(block: Floats, proposal: Proposal, fits: Mapping[str, CrossFit]) -> Doubles | None:
    """float64[n, k]: standard errors of `values_on`; None where nobody asks."""
    if not proposal.spec.cautious:
        return None
    raw = {reward: fits[reward].models[proposal.learner].predict(block) for reward in proposal.spec.worth}
    return _spread(proposal.spec.worth, fits, proposal.learner, raw)


@dataclass(frozen=True)
class _World:
    """What all proposals are made of.

    Args:
        fits, options, log, net: as for `proposed`.
        scores: float64[n, k], before costs.
        folds: bool[n] each.
        tiers: blocks by tier of what is not in each fold; the last of everything.
    """

    fits: Mapping[str, CrossFit]
    options: StudyOptions
    log: DecisionLog
    net: Doubles
    scores: Doubles
    folds: Sequence[Mask]
    tiers: Sequence[Sequence[Blocked]]

    def values(self, spec: PolicySpec, learner: str, rows: Mask) -> Doubles:
        """float64[n, k]: net values of everybody, brought to size by the scores of some rows."""
        effects = {}
        for reward in spec.worth:
            raw, contrasts = self.fits[reward].effects[learner], self.fits[reward].contrasts
            effects[reward] = applied(calibrations_of(raw[rows], contrasts[rows], self.log.subject[rows]), raw)
        return net_values(spec, effects)

    def blocks(self, values: Doubles, rows: Mask, tiers: Sequence[Blocked]) -> list[Blocked]:
        """Blocks by tier, and those by value that some rows decide."""
        return [*tiers, *blocks_by_value(self.log, self.options.tier, values, self.scores, rows)]


def _proposal(world: _World, learner: str) -> Proposal:
    """The learner's effects, calibrated and blocked on other folds, as a policy that keeps the budget."""
    log, options, fits = world.log, world.options, world.fits
    spec = PolicySpec(
        f"uplift-{learner}", tuple(map(str, log.actions[1:])), options.worth, options.costs, floor=options.floor,
        cautious=options.cautious,
    )  # fmt: skip
    eligible, costs, everybody = eligible_in(log), costs_in(log, options), np.ones(len(log), bool)
    sized = [world.values(spec, learner, ~here) for here in world.folds]
    values = _own(sized, world.folds)
    if options.budget is not None:
        gross = np.nan_to_num(values + costs, nan=-np.inf)
        spec = msgspec.structs.replace(spec, price=budget_price(gross, costs, eligible, options.budget))
    sized, values = [each - spec.price * costs for each in sized], values - spec.price * costs
    left = _own([
        left_by(world.blocks(each, ~here, tiers), log, log.features, values, eligible)
        for each, here, tiers in zip(sized, world.folds, world.tiers, strict=False)
    ], world.folds)  # fmt: skip
    raw = {reward: fits[reward].effects[learner] for reward in options.worth}
    spread = _spread(options.worth, fits, learner, raw) if options.cautious else None
    chances = probabilities(spec, values, left, spread)
    return Proposal(
        learner, spec, values, chances, metrics.mean_of(value_of(chances, world.net), log.subject),
        probabilities(spec, values, eligible, spread), tuple(world.blocks(values, everybody, world.tiers[-1])),
        all(hasattr(fits[reward].models[learner], "forests") for reward, worth in options.worth.items() if worth),
    )  # fmt: skip


def _own(of_folds: Sequence[Any], folds: Sequence[Mask]) -> Any:
    """The rows of each fold, from the table that was made without it."""
    own = np.empty_like(of_folds[0])
    for each, here in zip(of_folds, folds, strict=True):
        own[here] = each[here]
    return own


def _spread(
    worth: Mapping[str, float], fits: Mapping[str, CrossFit], learner: str, raw: Mapping[str, Doubles]
) -> Doubles:
    """float64[n, k]: standard errors of the net values, from the calibration of each arm; as serving has them.

    Args:
        worth: of each reward.
        fits: of each.
        learner: whose effects.
        raw: reward -> float64[n, k-1], its effects before calibration.
    """
    square = np.zeros(next(iter(raw.values())).shape)
    for reward, each in worth.items():
        found = fits[reward].calibration(learner)
        error = np.array([arm.average.error for arm in found])
        # Where no slope is kept the effect is the average, and so is its error.
        slope = np.array([arm.slope.error if arm.kept else 0.0 for arm in found])
        away = np.nan_to_num(raw[reward] - [arm.centre for arm in found])
        square = square + each**2 * (error**2 + (slope * away) ** 2)
    return np.concatenate([np.zeros((len(square), 1)), np.sqrt(square)], axis=1)
