"""The whole page: its slots' policies as one product, valued on pages as they were drawn."""

from __future__ import annotations

import numpy as np

from training.offpolicy.estimators import filled
from training.offpolicy.replay import Replay, Settings, replay
from training.slots.study import SlotStudy
from training.uplift.log import Doubles


def page_policy(found: SlotStudy) -> Doubles:
    """float64[n, k]: what the slots' policies do, each given the earlier slots as logged; elsewhere as the log did."""
    policy: Doubles = filled(found.log.propensity).copy()
    for slot in found.slots:
        columns = [0, *(arm + 1 for arm in slot.arms)]
        table = np.zeros((len(slot.chances), policy.shape[1]))
        for at, column in enumerate(columns):
            # What the log never saw was never eligible in it either.
            if column < policy.shape[1]:
                table[:, column] += slot.chances[:, at]
        policy[slot.rows] = table
    return policy


def page_value(found: SlotStudy, reward: str) -> Replay | None:
    """The page's value against what was logged, by the estimators of drawn slates; None where pages have one slot.

    Args:
        found: the study.
        reward: one of its rewards.
    """
    if len(found.places) < 2:
        return None
    policy = page_policy(found)
    answer = replay(found.log, lambda log: policy, reward, name="slots", settings=Settings(model=None))
    return answer if answer.pages else None
