"""Pages whose clicks are known."""

from __future__ import annotations

import numpy as np

from training.slots.judging import SlotOptions
from training.slots.study import placed
from training.uplift.crossfit import cross_fit
from training.uplift.learners import LEARNERS
from training.uplift.log import DecisionLog
from training.uplift.options import StudyOptions

QUICK = StudyOptions({"click": 1.0}, folds=3, threads=1)


def page_log(click, chance, *, pages=2_000, seed=0, actions=None, slots=None, positions=None) -> DecisionLog:
    """Pages with a decision in every slot, each of a person with one feature, `hour`, 0 or 1.

    Args:
        click: float[slots, 2, k], probability of a click by slot, feature and action; the first is nothing.
        chance: float[slots, k], probabilities of actions.
        positions: of the slots; default: in order.
    """
    random = np.random.default_rng(seed)
    click, chance = np.asarray(click, float), np.asarray(chance, float)
    count, k = chance.shape
    page = np.repeat(np.arange(pages), count)
    slot = np.tile(np.arange(count, dtype=np.int32), pages)
    hour = random.integers(0, 2, pages)[page]
    action = (random.random(len(page))[:, None] >= np.cumsum(chance[slot], axis=1)[:, :-1]).sum(axis=1)
    reward = random.random(len(page)) < click[slot, hour, action]
    names = actions or tuple("abcdefgh"[: k - 1])
    return DecisionLog(
        subject=page, request=page, decided_at=page, slot=slot,
        position=slot if positions is None else np.asarray(positions, np.int32)[slot], action=action.astype(np.int32),
        propensity=chance[slot], features=hour[:, None].astype(np.float32), rewards={"click": reward.astype(float)},
        usable=np.ones(len(page), bool), holdout=np.zeros(len(page), bool),
        slots=slots or tuple(f"s{at}" for at in range(count)), actions=(None, *names), names=("hour",),
        categorical=(False,),
    )  # fmt: skip


def options(**settings) -> SlotOptions:
    """Quick ones; without exploration unless told."""
    return SlotOptions(**{"study": QUICK, "explore": "greedy", **settings})


def fitted(log: DecisionLog, learner: str = "T"):
    """Cross-fitted effects on clicks."""
    return cross_fit(placed(log), "click", learners={learner: LEARNERS[learner]}, folds=3, threads=1)
