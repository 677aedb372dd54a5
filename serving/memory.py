"""How much memory a worker of a shop needs, computed from what is published; refused where it cannot fit.

Three kinds of memory are told apart. *Own*: the programs and each worker's copies; every further worker takes it again.
*Mapped*: arrays that nearly every request reads, shared by all workers of a machine. *Cached*: the events of histories,
read slice by slice (`serving.slices`); where there is no room they come from the disk, slower and as truly.
`kokyaku bench memory` measures what is computed here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import msgspec

from features.errors import BundleError, ConfigError
from features.history import FIELDS
from features.shop import Shop
from serving.artifact import MANIFEST, live_name, read_manifest
from serving.slices import EVENTS

VARIABLE = "KOKYAKU_MEMORY"
"""Names in the environment how much a service may take, such as `1500M`, where that is less than the machine has."""
PROGRAM = 190 << 20
"""Bytes of the keeper's and the worker's own programs, with compiled kernels; measured at 145 to 190 MB."""
AN_ITEM = 400
"""Bytes an item in each worker: live prices and stock, the history's numbers, what a request scores at once."""
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}


class Budget(msgspec.Struct, frozen=True):
    """What a shop takes, in bytes.

    Args:
        items, factors, customers: of the shop; visitors with a history count as customers.
        own: of each worker with its keeper.
        bundle: mapped arrays of what was learned.
        index: mapped arrays of who is known: ids, where their events begin, profiles.
        history: the events themselves, read and not mapped.
    """

    items: int
    factors: int
    customers: int
    own: int
    bundle: int
    index: int
    history: int

    @property
    def worker(self) -> int:
        """Of the first worker."""
        return self.own + self.bundle + self.index

    @property
    def needed(self) -> int:
        """What must be there: the worker, and a second bundle with its copies while one is swapped."""
        return self.worker + self.bundle + self.items * AN_ITEM


class Room(msgspec.Struct, frozen=True):
    """How much memory there is.

    Args:
        size: bytes.
        giver: who sets the bound, as a sentence's subject.
    """

    size: int
    giver: str


class Seen(msgspec.Struct, frozen=True):
    """What was found.

    Args:
        verdict: `fail`: a worker cannot live there; `warn`: events come from the disk.
        detail: needs and room, in one line.
        remedy: what to do; empty where all is well.
    """

    verdict: Literal["ok", "warn", "fail"]
    detail: str
    remedy: str = ""


def budget_of(shop: Shop) -> Budget:
    """Computed from the manifests of what serves; nothing is mapped.

    Raises:
        BundleError: nothing serves yet, or the bundle's manifest cannot be read.
    """
    bundle, history = _sizes(shop.bundles), None
    with suppress(BundleError):  # none is mapped then; the engine says what is wrong with it
        history = _sizes(shop.histories)
    if bundle is None:
        hint = f"train and promote one: kokyaku train --shop {shop.id}"
        raise BundleError("no bundle serves yet", where=str(shop.bundles), hint=hint)
    known = history or {}
    items = _entries(bundle, "items.rows", 4)
    factors = max((_entries(bundle, name, 4) for name in bundle if name.endswith("item_factors")), default=0)
    events = sum(size for name, size in known.items() if name in (EVENTS, *FIELDS))
    return Budget(
        items, factors // max(items, 1), _entries(known, "subjects.rows", 4),
        PROGRAM + items * AN_ITEM + _made_anew(bundle),
        sum(bundle.values()), sum(known.values()) - events, events,
    )  # fmt: skip


def room_of(
    environment: Mapping[str, str] = os.environ, *, proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")
) -> Room | None:
    """The narrowest bound: the operator's, the container's (control groups, version 2) or the machine's.

    Returns:
        None where none can be seen.

    Raises:
        ConfigError: the operator's is no size.
    """
    found = [*_operators(environment), *_containers(proc, groups), *_machines(proc)]
    return min(found, key=lambda each: each.size, default=None)


def look(shop: Shop, room: Room | None = None) -> Seen:
    """Hold what a worker of the shop needs against what there is.

    Args:
        shop: whose.
        room: default: as `room_of` finds it.

    Raises:
        BundleError: nothing serves yet.
    """
    budget, room = budget_of(shop), room or room_of()
    line = (
        f"{words(budget.worker)} for one worker ({words(budget.own)} its own, {words(budget.bundle)} bundle of "
        f"{budget.items:,} items x {budget.factors} factors, {words(budget.index)} index of {budget.customers:,} "
        f"customers), {words(budget.own)} for each further one; a swap takes {words(budget.needed - budget.worker)} "
        f"more for a moment, the events {words(budget.history)} of cache where there is room"
    )
    if room is None:
        return Seen("ok", f"{line}; how much there is cannot be seen here")
    line = f"{line}; {room.giver} allows {words(room.size)}"
    if budget.needed > room.size:
        less = "or publish fewer items, fewer factors or a history of fewer customers"
        return Seen("fail", line, f"allow {words(budget.needed)} or more, {less}")
    if late := max(budget.needed + budget.history - room.size, 0):
        hint = f"allow {words(budget.needed + budget.history)}, or live with slower requests"
        return Seen("warn", f"{line}: {words(late)} of the events come from the disk", hint)
    return Seen("ok", line)


def admit(shop: Shop, room: Room | None = None) -> str:
    """What `look` found, in one line.

    Raises:
        BundleError: nothing serves yet.
        ConfigError: it cannot fit.
    """
    found = look(shop, room)
    if found.verdict == "fail":
        raise ConfigError(f"the shop does not fit: {found.detail}", where="memory", hint=found.remedy)
    return found.detail


def words(size: int) -> str:
    """Bytes for people.

    >>> words(1_500_000_000)
    '1.50 GB'
    """
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _sizes(parent: Path) -> dict[str, int] | None:
    """Bytes of each array of the live artefact."""
    name = live_name(parent)
    if name is None:
        return None
    try:
        files: Mapping[str, Any] = read_manifest(parent / name)["files"]
        return {array: int(entry["bytes"]) for array, entry in files.items()}
    except (KeyError, TypeError):
        raise BundleError("the manifest is damaged", where=str(parent / name / MANIFEST)) from None


def _made_anew(bundle: Mapping[str, int]) -> int:
    """Bytes that each worker makes for itself of a bundle of before: an index of vectors, neighbours with weights."""
    found = 0
    for name, size in bundle.items():
        source, _, array = name.rpartition(".")
        if array in ("indices", "weights") or (array == "item_factors" and f"{source}.index.axes" not in bundle):
            found += size
    return found


def _entries(sizes: Mapping[str, int], name: str, width: int) -> int:
    return max(sizes.get(name, 0) - 128, 0) // width  # a file's head is 128 bytes


def _operators(environment: Mapping[str, str]) -> Iterator[Room]:
    given = environment.get(VARIABLE, "").strip()
    if not given:
        return
    found = _SIZE.fullmatch(given)
    if found is None or not float(found[1]):
        raise ConfigError("not a size of memory", where=VARIABLE, got=given, hint="such as 1500M or 2G")
    yield Room(int(float(found[1]) * (1 << _UNITS[found[2].lower()])), VARIABLE)


def _containers(proc: Path, groups: Path) -> Iterator[Room]:
    """Bounds of the process's own group and of all above it; within a container its own is the root."""
    own = next((line[3:] for line in _lines(proc / "self/cgroup") if line.startswith("0::")), "/")
    group = groups / own.lstrip("/")
    for folder in (group, *group.parents):
        for name in ("memory.max", "memory.high"):
            for line in _lines(folder / name):
                if line.isdigit():
                    yield Room(int(line), f"the container ({name})")
        if folder == groups:
            break


def _machines(proc: Path) -> Iterator[Room]:
    for line in _lines(proc / "meminfo"):
        if line.startswith("MemTotal:"):
            yield Room(int(line.split()[1]) << 10, "the machine")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
