"""From a ruling to the policy that serving runs: refitted trees, held-out sizes and blocks, or one action for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from features.covariates import KNOWN
from features.errors import ConfigError
from serving.effects import Blocked, Column, Size, SlotPolicy
from serving.effects import PolicySheet as Sheet
from serving.policies import PolicySpec
from serving.trees import Forest
from training.uplift.calibration import ArmCalibration
from training.uplift.crossfit import CrossFit
from training.uplift.estimate import mean_of
from training.uplift.study import Study


def ships(found: Study, name: str, about: str = "") -> SlotPolicy | None:
    """What a ruling lets through, under a name: the challenger as it was judged, one action for everybody, or nothing.

    Args:
        found: the study.
        name: of the policy.
        about: where it comes from, for people.
    """
    if withheld(found):
        return None
    if found.ruling.ships == "action":
        return _one_action(found, name, about)
    best = found.challenger
    spec = msgspec.structs.replace(best.spec, name=name)
    return policy_of(spec, found.fits, best.learner, blocks=[each.rule for each in best.blocks], about=about)


def withheld(found: Study) -> str:
    """Why there is no policy to be written, as a sentence; empty where there is one."""
    if found.ruling.ships == "nothing":
        return "Nothing is let through, so no policy is written."
    if found.log.observational:
        return "Nobody drew these actions, so no policy is written: try it with a draw first."
    if found.ruling.ships == "action":
        return ""
    if not found.challenger.servable:
        return f"{found.challenger.learner} is no sum of trees and cannot serve, so no policy is written."
    if unknown := [name for name in found.log.names if name not in KNOWN]:
        told = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        return f"No policy is written: it reads what serving does not know of a customer ({told})."
    return ""


def _one_action(found: Study, name: str, about: str) -> SlotPolicy:
    """One action for everybody who may have it: averages alone, no trees, nothing is read of a customer."""
    log, options, place = found.log, found.options, found.ruling.action
    action = str(log.actions[place])
    worth = {reward: each for reward, each in options.worth.items() if each}
    sizes = {}
    for reward in worth:
        effect = mean_of(found.fits[reward].contrasts[:, place - 1], log.subject)
        sizes[reward] = (Size(effect.value, error=None if np.isnan(effect.error) else effect.error),)
    costs = {action: options.costs[action]} if action in options.costs else {}
    spec = PolicySpec(name, (action,), worth, costs, floor=options.floor)
    return SlotPolicy(Sheet(spec, (), sizes, fallback=action, about=about), {})


def policy_of(
    spec: PolicySpec, fits: Mapping[str, CrossFit], learner: str, *,
    blocks: Sequence[Blocked] = (), fallback: str | None = None, about: str = "",
) -> SlotPolicy:  # fmt: skip
    """The policy that a learner's effects make, ready to be written (`serving.policy_files.write_policy`).

    Args:
        spec: its actions are those of the log, without null.
        fits: of each reward that is worth something, all of one log.
        learner: whose effects; one of sums of trees.
        blocks: groups that an action is not shown to.
        fallback: what is taken where the policy fails.
        about: where it comes from, for people.

    Raises:
        ConfigError: actions other than the log's, a reward without effects, or a learner that is not of trees.
        BundleError: as for `SlotPolicy`.
    """
    sizes: dict[str, tuple[Size, ...]] = {}
    forests: dict[tuple[str, str], Forest] = {}
    log = next(iter(fits.values())).log
    for reward in (reward for reward, worth in spec.worth.items() if worth):
        if reward not in fits:
            raise ConfigError("a reward whose effects were not learned", got=reward, hint=f"learned: {', '.join(fits)}")
        fit = fits[reward]
        model: Any = fit.models.get(learner)
        if not hasattr(model, "forests"):
            trees = [name for name, each in fit.models.items() if hasattr(each, "forests")]
            raise ConfigError("not a learner whose trees can be served", got=learner, hint=f"one of: {trees}")
        if fit.log.actions[1:] != spec.actions or fit.log.names != log.names or fit.log.words != log.words:
            what = "the policy's actions are not the log's, or its rewards are not of one log"
            raise ConfigError(what, got=spec.actions, hint=f"the log has: {fit.log.actions[1:]}")
        found = model.forests()
        sizes[reward] = tuple(map(_size, fit.calibration(learner), found))
        forests |= {
            (reward, action): forest
            for action, forest, size in zip(spec.actions, found, sizes[reward], strict=True)
            if forest is not None and size.kept
        }
    words = log.words or ((),) * len(log.names)
    columns = tuple(Column(name, each) for name, each in zip(log.names, words, strict=True))
    return SlotPolicy(Sheet(spec, columns, sizes, tuple(blocks), fallback, about), forests)


def _size(found: ArmCalibration, forest: Forest | None) -> Size:
    """The numbers that `ArmCalibration.apply` reads; the average alone where there are no trees."""
    average, error = found.average.value, found.average.error
    kept = found.kept if forest is not None else 0.0
    return Size(
        float(average) if np.isfinite(average) else None, float(found.centre) if kept else 0.0, float(kept),
        float(error) if np.isfinite(error) else None, float(found.slope.error) if kept else 0.0,
    )  # fmt: skip
