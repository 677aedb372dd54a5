"""What a slot serves: a policy of its own, in which slot and position are fixed, so that actions stand in one place."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from serving.effects import Column, Size, SlotPolicy
from serving.effects import PolicySheet as Sheet
from serving.trees import Forest
from training.slots.judging import SlotFound
from training.slots.places import Place
from training.slots.sizes import Sized
from training.slots.study import POSITION, SLOT, SlotStudy
from training.uplift.export import Given, specialised
from training.uplift.log import DecisionLog, Doubles, Floats

_BASE = Size(0.0, 0.0, 0.0, 0.0)
"""Of the action that all are held against: no effect, and that is certain."""


def slot_policy(found: SlotStudy, slot: SlotFound, name: str, *, about: str = "") -> SlotPolicy:
    """The policy of a slot, ready to be written (`serving.policy_files.write_policy`).

    Args:
        found: the study.
        slot: one of its slots.
        name: of the policy.
        about: where it comes from, for people.

    Raises:
        BundleError: as for `SlotPolicy`.
    """
    at = found.places.index(slot.place)
    sizes: dict[str, tuple[Size, ...]] = {}
    forests: dict[tuple[str, str], Forest] = {}
    for reward, of in ((reward, found.sized[reward]) for reward, worth in slot.spec.worth.items() if worth):
        sizes[reward] = tuple(_BASE if arm < 0 else of.sizes[at][arm] for arm in slot.arms)
        model: Any = of.evidence.fit.models[of.evidence.learner]
        trees = model.forests()
        for action, arm, size in zip(slot.spec.actions, slot.arms, sizes[reward], strict=True):
            if size.kept:
                forests[reward, action] = fixed(trees[arm], found.log, slot.place)
    names = [name for name in found.log.names if name not in (SLOT, POSITION)]
    words = found.log.words or ((),) * len(found.log.names)
    columns = tuple(Column(each, words[at]) for at, each in enumerate(names))
    spec = msgspec.structs.replace(slot.spec, name=name)
    return SlotPolicy(Sheet(spec, columns, sizes, about=about), forests)


def fixed(forest: Forest, log: DecisionLog, place: Place) -> Forest:
    """The trees with slot and position put in; their questions are gone, and so are the last columns."""
    values = {SLOT: float(log.slots.index(place.slot)), POSITION: float(place.position)}
    given = {log.names.index(name): value for name, value in values.items() if name in log.names}
    return specialised(forest, Given(given, {}), range(len(forest.roots))) if given else forest


def effects_in(of: Sized, place: Place, block: Floats) -> Doubles:
    """float64[m, actions]: effects of the refitted models in a place, brought to size as serving does.

    Args:
        of: the effects of one reward.
        place: where.
        block: float32[m, p], the features without the columns of the place.
    """
    log, at = of.evidence.fit.log, of.evidence.places.index(place)
    values = {SLOT: float(log.slots.index(place.slot)), POSITION: float(place.position)}
    extra = [np.full(len(block), values[name], np.float32) for name in log.names if name in values]
    raw = of.evidence.fit.models[of.evidence.learner].predict(np.column_stack([block, *extra]).astype(np.float32))
    found = np.full((len(block), len(of.sizes[at])), np.nan)
    for arm, size in enumerate(of.sizes[at]):
        if size.average is not None:
            found[:, arm] = size.average
        if size.kept:
            found[:, arm] += size.kept * (raw[:, arm] - size.centre)
    return found
