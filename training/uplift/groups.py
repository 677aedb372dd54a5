"""Effects by group: what an action does to each loyalty tier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from serving.policies import NULL
from training.intervals import Interval
from training.uplift import metrics
from training.uplift.gate import value_of
from training.uplift.log import Doubles
from training.uplift.options import tiers_of
from training.uplift.rare import Logged, widened
from training.uplift.study import Study

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


def by_tier(found: Study) -> tuple[list[TierEffect], int]:
    """Effects of each tier of at least `LEAST` subjects, and how many smaller ones there are.

    Intervals are at least as wide as rare events leave them (`training.uplift.rare`).
    """
    shown, small = [], 0
    log, nothing = found.log, found.net[:, NULL]
    logged = Logged(log.action, next(iter(found.fits.values())).choice.chance, log.rewards, found.options.worth)
    single = np.eye(len(log.actions))
    for tier, who in tiers_of(log, found.options.tier).items():
        subjects = len(np.unique(log.subject[who]))
        if subjects < LEAST:
            small += 1
            continue

        def told(gain: Doubles, chances: Doubles, who: np.typing.NDArray[np.bool_] = who) -> Interval:
            plain = metrics.mean_of(gain[who], log.subject[who]).interval
            return widened(plain, logged, chances, log.subject, who=who, worth=logged.worth)

        effects = {
            str(action): told(found.net[:, place] - nothing, np.tile(single[place], (len(log), 1)))
            for place, action in enumerate(log.actions)
            if place != NULL
        }
        policy = told(value_of(found.chances, found.net) - nothing, found.chances)
        shown.append(TierEffect(tier, subjects, effects, policy))
    return shown, small
