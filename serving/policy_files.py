"""Policies on disk: `policies/<name>/`, an artefact beside the bundles, since no policy knows an item.

A policy is never changed in place: a new one has a new name, and `shop.toml` says which one decides a slot. So the name
in a decision's row tells exactly what decided it.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from features.covariates import KNOWN
from features.errors import BundleError, ConfigError
from features.ids import Array
from serving.artifact import MANIFEST, Artifact, write_artifact
from serving.config import ShopConfig
from serving.effects import PolicySheet, SlotPolicy
from serving.strict import nearest
from serving.trees import Forest

KIND = "policy"
FORMAT = 1


def write_policy(parent: Path, policy: SlotPolicy) -> Path:
    """Write a policy as a whole, under its own name; no slot uses it until `shop.toml` says so.

    Args:
        parent: the shop's `policies` folder.
        policy: with trees where a slope is kept.

    Returns:
        Its folder.

    Raises:
        BundleError: there is one of that name.
    """
    arrays: dict[str, Array] = {}
    listed = sorted(policy.forests)
    for number, key in enumerate(listed):
        arrays |= {f"forest.{number}.{name}": array for name, array in policy.forests[key].arrays().items()}
    folder = parent / policy.sheet.spec.name
    sheet = msgspec.to_builtins(policy.sheet)
    write_artifact(folder, arrays, {"kind": KIND, "format": FORMAT, "policy": sheet, "forests": listed})
    return folder


def open_policy(folder: Path) -> SlotPolicy:
    """Map a policy; every file is compared with its checksum first.

    Raises:
        BundleError: it is missing, damaged, of another kind, or newer than this program; it goes by another name than
            its folder; or it reads what serving does not know of a subject.
    """
    artifact = Artifact.open(folder, kind=KIND, format=FORMAT)
    try:
        sheet = msgspec.convert(artifact.manifest.get("policy"), PolicySheet)
        keys = msgspec.convert(artifact.manifest.get("forests"), list[tuple[str, str]])
    except msgspec.ValidationError as error:
        raise BundleError("not a policy", where=str(folder), got=str(error), hint="write it again") from None
    if sheet.spec.name != folder.name:
        raise BundleError("a policy of another name than its folder", where=str(folder), got=sheet.spec.name)
    unknown = [column.name for column in sheet.columns if column.name not in KNOWN]
    if unknown:
        hint = f"serving knows: {', '.join(KNOWN)}"
        raise BundleError("a policy that reads what serving does not know", where=str(folder), got=unknown, hint=hint)
    forests = {key: _forest(artifact, number) for number, key in enumerate(keys)}
    return SlotPolicy(sheet, forests)


def policy_names(parent: Path) -> list[str]:
    """The policies of a shop, sorted; drafts of interrupted writes are none."""
    return sorted(path.parent.name for path in parent.glob(f"*/{MANIFEST}") if not path.parent.name.startswith("."))


def open_policies(parent: Path, config: ShopConfig) -> dict[str, SlotPolicy]:
    """The policies that the slots and channels of a shop name, or arms of its experiments.

    Args:
        parent: the shop's `policies` folder.
        config: its `shop.toml`.

    Raises:
        ConfigError: a slot or channel names a policy that there is not (with the nearest), that is broken, or that
            knows none of its modules or actions; or a channel names one that always sends.
    """
    opened: dict[str, SlotPolicy] = {}
    for place, name, able in config.learned():
        where = f"shop.toml {place}"
        if name not in opened:
            opened[name] = _named(parent, name, where)
        if not opened[name].places.keys() & set(able):
            known = ", ".join(opened[name].places)
            what = "the policy knows none of the slot's modules"
            raise ConfigError(what, where=where, got=name, hint=f"it knows: {known}")
    for channel, each in config.channels.items():
        if each.policy is not None and not opened[each.policy].sheet.spec.nothing:
            what, hint = "a policy that never takes nothing", "it is one of a slot that is never left empty"
            raise ConfigError(what, where=f"shop.toml [channels.{channel}]", got=each.policy, hint=hint)
    return opened


def _named(parent: Path, name: str, where: str) -> SlotPolicy:
    valid = policy_names(parent)
    if name not in valid:
        hint = nearest(name, valid) if valid else "the shop has no policies yet"
        raise ConfigError("no such policy", where=where, got=name, hint=hint)
    try:
        return open_policy(parent / name)
    except BundleError as error:
        raise ConfigError(f"the policy cannot be used: {error.line()}", where=where) from None


def _forest(artifact: Artifact, number: int) -> Forest:
    prefix = f"forest.{number}."
    arrays = artifact.arrays
    return Forest.from_arrays({name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)})
