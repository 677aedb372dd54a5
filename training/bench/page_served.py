"""A slot study as the page that it would put into service: its policies by context, and its static page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import msgspec
import numpy as np

from serving.policies import allowed, net_values
from training.bench.page_static import SHOWN, Static
from training.bench.page_truth import Tables
from training.bench.page_world import Contexts
from training.bench.slot_world import WIDTH
from training.simulation.effects import PAGE_ACTIONS
from training.slots.judging import SlotFound, alike_once
from training.slots.shipping import slot_policy
from training.slots.study import SlotStudy
from training.uplift.log import Doubles, Mask

COLUMN = {action.id: at for at, action in enumerate(PAGE_ACTIONS, 1)}
"""Action -> its column of a policy."""


def picked(found: SlotStudy) -> Static:
    """The static page that the log says is best: one action a slot, by the gate's doubly robust values."""
    values = [slot.ruling.values for slot in found.slots]
    told = [[values[at][action.id].value if action.id in values[at] else -np.inf for action in PAGE_ACTIONS]
            for at in range(2)]  # fmt: skip
    pairs = [(hero, band) for hero, band in product(*SHOWN) if hero != band]
    hero, band = max(pairs, key=lambda pair: told[0][pair[0] - 1] + told[1][pair[1] - 1])
    return Static((hero,), (band,))


def served(found: SlotStudy, contexts: Contexts, static: Static) -> Tables:
    """What serving would draw with; a slot that the gate refused shows the static page's action."""
    fixed = static.tables(contexts)
    hero, band = (_slot(found, slot, contexts) for slot in found.slots)
    if found.slots[0].ruling.ships == "policy":
        fixed = replace(fixed, hero=hero(contexts.eligible(0)))
    if found.slots[1].ruling.ships == "policy":
        after = band(np.concatenate([contexts.eligible(1, taken) for taken in range(WIDTH)]))
        fixed = replace(fixed, band=after.reshape(WIDTH, len(contexts), WIDTH))
    return fixed


def without_exploring(found: SlotStudy) -> SlotStudy:
    """The same policies, each taking what it believes is best."""
    slots = [
        replace(slot, spec=msgspec.structs.replace(slot.spec, explore="greedy", floor=0.0)) for slot in found.slots
    ]
    return replace(found, slots=tuple(slots))


def _slot(found: SlotStudy, slot: SlotFound, contexts: Contexts) -> Callable[[Mask], Doubles]:
    """The probabilities of the policy that would be written to disk.

    It is given bool[m contexts, WIDTH], what is eligible, all contexts m times over.
    """
    sheet = (policy := slot_policy(found, slot, slot.place.slot)).sheet
    features, place = np.unique(contexts.features, axis=0, return_inverse=True)
    told = [policy.effects(row) for row in features]
    effects = {reward: np.concatenate([each[reward] for each in told])[place.ravel()] for reward in sheet.spec.worth}
    values = net_values(sheet.spec, effects)
    squares = [[worth * size.spread for size in sheet.sizes[reward]] for reward, worth in sheet.spec.worth.items()]
    spread = np.broadcast_to([0.0, *np.sqrt(np.square(squares).sum(axis=0))], values.shape)
    columns = [0, *(COLUMN[action] for action in sheet.spec.actions)]

    def chances(eligible: Mask) -> Doubles:
        found, times = np.zeros(eligible.shape), len(eligible) // len(contexts)
        may = allowed(sheet.spec, eligible[:, columns])
        found[:, columns] = alike_once(sheet.spec, np.tile(values, (times, 1)), may, np.tile(spread, (times, 1)))
        return found

    return chances
