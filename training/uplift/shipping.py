"""From cross-fitted effects to the policy that serving runs: trees of the refitted models, held-out sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from features.errors import ConfigError
from serving.effects import Blocked, Column, Size, SlotPolicy
from serving.effects import PolicySheet as Sheet
from serving.policies import PolicySpec
from serving.trees import Forest
from training.uplift.calibration import ArmCalibration
from training.uplift.crossfit import CrossFit


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
        sizes[reward] = tuple(map(size_of, fit.calibration(learner), found, fit.left(learner)))
        forests |= {
            (reward, action): forest
            for action, forest, size in zip(spec.actions, found, sizes[reward], strict=True)
            if forest is not None and size.kept
        }
    words = log.words or ((),) * len(log.names)
    columns = tuple(Column(name, each) for name, each in zip(log.names, words, strict=True))
    return SlotPolicy(Sheet(spec, columns, sizes, tuple(blocks), fallback, about), forests)


def size_of(found: ArmCalibration, forest: Forest | None, left: float) -> Size:
    """The numbers that `ArmCalibration.apply` reads; the average alone where there are no trees."""
    average, error = found.average.value, found.average.error
    kept = found.kept if forest is not None else 0.0
    return Size(
        float(average) if np.isfinite(average) else None, float(found.centre) if kept else 0.0, float(kept),
        float(error) if np.isfinite(error) else None, left,
    )  # fmt: skip
