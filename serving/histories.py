"""The history artefact: what each subject did up to a sequence number of the store, mapped by every worker.

Each event is a record (`serving.slices`), so that those of a subject lie together. Beside them and `Histories.arrays()`
it holds the links between its subjects, so that erasure finds a customer's visitors without the dataset, and the
customers' profiles (`serving.profiles`). Erasure overwrites a subject's slice and profile in place, in the mapped files
themselves: workers see it at once. From then on `erased.json` names the arrays whose checksums no longer hold; the next
sync writes a new artefact.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from features.errors import BundleError
from features.files import write_atomically
from features.history import FIELDS, Histories, customer_subject
from features.ids import Array, Vocabulary
from features.moments import to_datetime
from serving.artifact import LIVE, Artifact, live_name, publish_live, read_manifest, verify_files, write_artifact
from serving.profiles import ARRAYS, People, Profile, bounds_in, people_arrays, people_in, spooled
from serving.slices import EVENTS, ColumnSlices, Slices, columns_in, records_of
from serving.tombstones import Erased

KIND = "history"
FORMAT = 4
"""1 had no profiles, 2 an array a column, 3 profiles in one part. A program of that time must not erase in a history
that has others."""
ERASED = "erased.json"
IMPORTED = "imported"
"""In the manifest and beside the live history's name: the last import of the dataset that did not come from a store."""
_RENEW = "run kokyaku sync"
LINK_ARRAYS = ("links.customer", "links.visitor")
_BLANKS: dict[str, Any] = {"type": 0, "item": -1, "value": np.nan}
"""What an erased event reads as: no known type, no item, no value; all else is zero."""
_PROFILES = ARRAYS[1]
_SUBJECT_ARRAYS = ("subjects.blob", "subjects.hashes")
_SPARSE = frozenset({EVENTS, *FIELDS, _PROFILES})
"""A request reads one subject's part of them."""


def write_history(
    parent: Path,
    histories: Histories,
    links: Collection[tuple[str, str]],
    manifest: dict[str, Any],
    profiles: Iterable[tuple[str, Profile]] = (),
) -> str:
    """Write a history; nobody reads it until it is published.

    Args:
        parent: the shop's folder of histories.
        histories: all subjects.
        links: pairs of subjects, a customer and one of his visitors; pairs without a slice of both are left out.
        manifest: `store_id, store_seq, as_of, dataset`, and how far the profiles reach (`profiles.REACH`).
        profiles: what is known of subjects beside events, ascending; who has no event becomes a subject without
            events.

    Returns:
        Its name.
    """
    stamp = to_datetime(manifest["as_of"]).strftime("%Y%m%dT%H%M%S")
    name = _free_name(parent, f"{stamp}-{manifest['store_seq']}")
    parent.mkdir(parents=True, exist_ok=True)
    told = spooled(profiles, parent)
    histories = histories.with_subjects(told.subjects)
    people = people_arrays(histories.subjects, told)
    columns = histories.arrays()
    index = {name: columns[name] for name in columns.keys() - set(FIELDS)}
    events = {EVENTS: records_of(histories.events)}
    arrays = {**index, **events, **_link_arrays(histories.subjects, links), **people}
    write_artifact(parent / name, arrays, {"kind": KIND, "format": FORMAT, **manifest}, sparse=_SPARSE)
    return name


def open_history(folder: Path, *, verify: bool = True) -> tuple[Histories, dict[str, Any]]:
    """Map a history, of which slices are read; its checksums are compared except where erasure changed the files.

    Args:
        folder: of it.
        verify: compare events and profiles too, which are gigabytes. The index is compared in any case: by a wrong one
            somebody would get another's past, and a refusal of consent would not be found.

    Raises:
        BundleError: missing, damaged, or of a newer program.
    """
    verify_history(folder, index_only=not verify)
    artifact = _opened(folder)
    arrays = artifact.arrays
    read = Slices(folder) if EVENTS in arrays else ColumnSlices(folder)
    try:
        histories = replace(Histories.from_arrays({**arrays, **columns_in(arrays)}), read=read)
    except KeyError as error:
        raise BundleError("an array is missing", where=str(folder), got=error.args[0], hint=_RENEW) from None
    hashes = histories.subjects.hashes.view(np.uint64)
    if (hashes[1:] < hashes[:-1]).any():  # in a file that erasure changed
        raise BundleError("the index is damaged", where=str(folder), hint=_RENEW)
    return histories, dict(artifact.manifest)


def _opened(folder: Path) -> Artifact:
    return Artifact.open(folder, kind=KIND, format=FORMAT, verify=False, sparse=_SPARSE)


def open_people(folder: Path, store_id: str) -> People | None:
    """Map the profiles of a history; None where it was written before there were any.

    Raises:
        BundleError: as `open_history`.
    """
    artifact = _opened(folder)
    if not all(name in artifact.arrays for name in ARRAYS):
        return None
    subjects = Vocabulary.from_arrays(artifact.arrays, "subjects")
    return people_in(subjects, artifact.arrays, artifact.manifest, store_id)


def verify_history(folder: Path, *, index_only: bool = False) -> None:
    """Compare the files with their checksums, except those that erasure changed.

    Args:
        folder: of the history.
        index_only: not those that hold events and profiles.

    Raises:
        BundleError: a file is missing or differs.
    """
    changed = changed_files(folder)
    left_out = changed | _SPARSE if index_only else changed
    try:
        verify_files(folder, read_manifest(folder), changed=left_out, hint=_RENEW)
    except BundleError:
        if changed_files(folder) == changed:
            raise
        verify_history(folder, index_only=index_only)  # somebody was erased meanwhile


def publish_history(parent: Path, name: str, *, imported: str | None = None) -> list[str]:
    """Let a history serve and remove those that neither serve nor served just before.

    Args:
        parent, name: of the history.
        imported: the last import by file that it may know (see `imported_by`).

    Returns:
        Names of the two that are left, the live one first.
    """
    try:
        before = live_name(parent)
    except BundleError:
        before = None  # what said so is damaged: from here on it is not
    publish_live(parent, name, **({} if imported is None else {IMPORTED: imported}))
    keep = [name, *([before] if before is not None and before != name and (parent / before).exists() else [])]
    for folder in parent.iterdir():
        if folder.is_dir() and folder.name not in keep:
            shutil.rmtree(folder, ignore_errors=True)
    return keep


def imported_by(parent: Path) -> str | None:
    """The last import by file that the live history may know; known also where that history is damaged.

    One before it of the same import lacks nothing that the store does not hold.

    Returns:
        None where nobody noted it.
    """
    try:
        found = orjson.loads((parent / LIVE).read_bytes())[IMPORTED]
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) else None


def folders(parent: Path) -> list[Path]:
    """All complete histories that lie here."""
    if not parent.exists():
        return []
    return sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))


def visitors_of(folder: Path, customer_id: str) -> list[str]:
    """Visitors that a history knows to be this customer and of whom it holds events of their own."""
    arrays = _opened(folder).arrays
    subjects = Vocabulary.from_arrays(arrays, "subjects")
    row = subjects.find(customer_subject(customer_id))
    if row is None or LINK_ARRAYS[0] not in arrays:
        return []
    start, end = np.searchsorted(arrays[LINK_ARRAYS[0]], [row, row + 1])
    return [subjects[int(visitor)].removeprefix("v:") for visitor in arrays[LINK_ARRAYS[1]][start:end]]


def erased_subjects(folder: Path, erased: Erased) -> list[str]:
    """The subjects of a history that are under a tombstone; reads every id."""
    arrays = _opened(folder).arrays
    return [subject for subject in Vocabulary.from_arrays(arrays, "subjects") if erased.subject(subject)]


class Overwritten(NamedTuple):
    """What erasure found of some subjects in a history."""

    events: int = 0
    profiles: int = 0


def overwrite(folder: Path, subjects: Collection[str]) -> Overwritten:
    """Overwrite what a history holds of these subjects, in place and down to the disk.

    Events become events of no type and no item; then the profile's bytes become zeros: a word on consents goes after
    what it guards. The id goes last, once all that is on the disk: until then it is found, so whoever erases again,
    after whatever crash, overwrites everything. A request in between finds a subject of whom nothing is known.

    Returns:
        How many events and profiles were overwritten.
    """
    mapped = _opened(folder).arrays
    known = Vocabulary.from_arrays(mapped, "subjects")
    rows = [row for subject in subjects if (row := known.find(subject)) is not None]
    if not rows:
        return Overwritten()
    names = {EVENTS, *FIELDS, *_SUBJECT_ARRAYS, _PROFILES} & mapped.keys()
    write_atomically(folder / ERASED, orjson.dumps({"changed": sorted(names | changed_files(folder))}))
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r+", allow_pickle=False) for name in names}
    events = _blank_parts(columns_in(arrays), mapped["offsets"], rows, _BLANKS)
    told = {_PROFILES: arrays[_PROFILES]} if _PROFILES in arrays else {}
    profiles = _blank_parts(told, bounds_in(mapped[ARRAYS[0]], len(known)), rows, {}) if told else []
    _flush(folder, arrays, names.difference(_SUBJECT_ARRAYS))
    for row in rows:
        _blank_id(known, row, arrays)
    _flush(folder, arrays, _SUBJECT_ARRAYS)
    return Overwritten(sum(events), sum(map(bool, profiles)))


def _blank_parts(
    columns: Mapping[str, Any], bounds: Array, rows: Sequence[int], blanks: Mapping[str, Any]
) -> list[int]:
    """Overwrite those parts of columns that are these rows', types first; how long each of them was."""
    parts = [slice(int(bounds[row]), int(bounds[row + 1])) for row in rows]
    for name in sorted(columns, key=lambda name: name != "type"):
        for part in parts:
            columns[name][part] = blanks.get(name, 0)
    return [part.stop - part.start for part in parts]


def _blank_id(known: Vocabulary, row: int, arrays: dict[str, Any]) -> None:
    at = int(np.flatnonzero(known.rows == row)[0])
    arrays["subjects.blob"][known.offsets[row] : known.offsets[row + 1]] = 0
    hashes = arrays["subjects.hashes"]
    neighbour = at - 1 if at else at + 1
    hashes[at] = hashes[neighbour] if neighbour < len(hashes) else 0


def _link_arrays(subjects: Vocabulary, links: Collection[tuple[str, str]]) -> dict[str, Array]:
    pairs: npt.NDArray[np.int32] = np.array(
        [subjects.rows_of(customer for customer, _ in links), subjects.rows_of(visitor for _, visitor in links)],
        np.int32,
    ).reshape(2, -1)
    pairs = pairs[:, (pairs >= 0).all(axis=0)]
    pairs = pairs[:, np.lexsort((pairs[1], pairs[0]))]
    return dict(zip(LINK_ARRAYS, pairs, strict=True))


def changed_files(folder: Path) -> set[str]:
    """The files of a history that erasure changed in place.

    Raises:
        BundleError: what says so is damaged or cannot be read.
    """
    try:
        return set(orjson.loads((folder / ERASED).read_bytes())["changed"])
    except FileNotFoundError:
        return set()
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        what = "it does not name what erasure changed"
        raise BundleError(what, where=str(folder / ERASED), got=str(error), hint=_RENEW) from None


def _free_name(parent: Path, stem: str) -> str:
    names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
    return next(name for name in names if not (parent / name).exists())


def _flush(folder: Path, arrays: Mapping[str, Any], names: Collection[str]) -> None:
    for name in names:
        arrays[name].flush()
        fd = os.open(folder / f"{name}.npy", os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
