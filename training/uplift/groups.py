"""Effects by group: what an action does to each loyalty tier, and who must be left alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from serving.policies import NULL
from training.intervals import Interval
from training.uplift import metrics
from training.uplift.gate import value_of
from training.uplift.log import Whole
from training.uplift.policies import sleeping_dogs
from training.uplift.shown import costs_of, pairs, proposal_of, shown_learner
from training.uplift.study import Study, tiers_of

LEAST = 30
"""Subjects below which a tier is counted and not shown: a figure of a few people is a figure of theirs."""


@dataclass(frozen=True, slots=True)
class TierEffect:
    """What is known of a tier.

    Args:
        tier: its name.
        subjects: that it has.
        effects: action -> its effect on the net value against nothing, a decision.
        policy: what the policy before the gate gains against nothing.
    """

    tier: str
    subjects: int
    effects: Mapping[str, Interval]
    policy: Interval


@dataclass(frozen=True, slots=True)
class Blocked:
    """A group that an action is known to harm.

    Args:
        action: its name.
        who: the group: a tier, or a tenth by the predicted effect (1 is the lowest).
        tier: whether it is a tier.
        effect: of the action on what is wanted, before costs.
        decisions: of the group.
    """

    action: str
    who: str
    tier: bool
    effect: Interval
    decisions: int


def by_tier(found: Study) -> tuple[list[TierEffect], int]:
    """Effects of each tier of at least `LEAST` subjects, and how many smaller ones there are."""
    shown, small = [], 0
    nothing = found.net[:, NULL]
    gained = value_of(found.chances, found.net) - nothing
    for tier, who in tiers_of(found.log, found.options.tier).items():
        subject = found.log.subject[who]
        subjects = len(np.unique(subject))
        if subjects < LEAST:
            small += 1
            continue
        effects = {
            str(action): metrics.mean_of((found.net[:, place] - nothing)[who], subject).interval
            for place, action in enumerate(found.log.actions)
            if place != NULL
        }
        shown.append(TierEffect(tier, subjects, effects, metrics.mean_of(gained[who], subject).interval))
    return shown, small


def blocked(found: Study) -> list[Blocked]:
    """Tiers, and tenths by predicted effect, that an action is known to harm; the error is shared among all of them.

    Scores are doubly robust and out of fold, and so are the predictions that make the tenths, so that no group was made
    with the outcomes that judge it.
    """
    scores = found.net + costs_of(found)
    tiers = tiers_of(found.log, found.options.tier)
    actions = sorted({action for _, action in pairs(found)})
    confidence = 1 - 0.05 / (len(actions) + bool(tiers))
    blocks: list[Blocked] = []
    if tiers:
        group: Whole = np.full(len(found.log), -1, np.int64)
        for number, who in enumerate(tiers.values()):
            group[who] = number
        for block in sleeping_dogs(scores, group, found.log.subject, confidence=confidence):
            name = list(tiers)[block.group]
            many = int((group == block.group).sum())
            blocks.append(Blocked(str(found.log.actions[block.action]), name, True, block.effect, many))
    values = proposal_of(found, shown_learner(found)).values
    for action in actions:
        tenth = _tenth(values[:, action])
        alone = scores[:, [NULL, action]]
        for block in sleeping_dogs(alone, tenth, found.log.subject, confidence=confidence):
            many = int((tenth == block.group).sum())
            blocks.append(Blocked(str(found.log.actions[action]), str(block.group + 1), False, block.effect, many))
    return blocks


def _tenth(value: np.typing.NDArray[np.float64]) -> Whole:
    """int64[n]: which tenth by value, 0 the lowest; -1 where unknown. Equal values are one tenth."""
    known = np.isfinite(value)
    edges = np.unique(np.quantile(value[known], np.arange(1, 10) / 10)) if known.any() else np.zeros(0)
    found: Whole = np.where(known, np.searchsorted(edges, value, side="left"), -1).astype(np.int64)
    return found
