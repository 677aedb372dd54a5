"""Slices of a history, read from its file instead of through a mapping of it.

A request needs a few kilobytes, anywhere in gigabytes. Mapped, each touch makes the kernel enter up to two megabytes
into the worker's page table, and soon the whole history counts as the worker's memory. Read, the same pages stay in the
kernel's cache, shared by all workers and given back when memory is short; the worker holds the slice.

An event is one record of the file, so that a subject's events lie side by side: one read gives all that is known of
them, and from a disk it is one place instead of seven.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from features.compiled import available
from features.errors import BundleError
from features.history import DTYPES, FIELDS, History
from features.ids import Array
from serving.slices_kernel import BLOCK, RECORD, WIDTHS, read_slice

Rows = npt.NDArray[np.int32]
EVENTS = "events"
"""Name of the array of records; what a program of format 2 wrote has an array a column instead."""
_LAID = ("time", "recorded", "key", "item", "quantity", "value", "type")
EVENT = np.dtype([*((name, DTYPES[name]) for name in _LAID), ("spare", np.int8, RECORD - sum(WIDTHS))])
"""A record."""
_OFFSETS = {name: RECORD + sum(WIDTHS[:at]) for at, name in enumerate(_LAID)}
"""Where each column begins in what the kernel fills, in bytes an event."""
_PLACES = tuple((np.dtype(DTYPES[name]), _OFFSETS[name]) for name in FIELDS)
_UNMOVED = np.empty(0, np.int32)


def records_of(events: History) -> Array:
    """EVENT[n]: events as they lie in the file."""
    records = np.zeros(len(events), EVENT)
    for name in FIELDS:
        records[name] = getattr(events, name)
    return records


def columns_in(arrays: Mapping[str, Array]) -> dict[str, Any]:
    """The columns of the events of a history, by their names; those of records are views of them."""
    source: Any = arrays.get(EVENTS, arrays)
    return {name: source[name] for name in FIELDS}


class Slices:
    """The events of a history as an open file; call it for a slice of them.

    Args:
        folder: of the history; its files may be removed while they are open, and may be overwritten in place.

    Raises:
        BundleError: the file is missing or no array of events.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        opened: list[int] = []
        weakref.finalize(self, _close, opened)
        self._file, kind, self._begin = _opened(folder, EVENTS, opened)
        if kind != EVENT:
            raise BundleError("no events are in it", where=str(folder), got=str(kind), hint="run kokyaku sync")

    def __call__(self, start: int, stop: int, translation: Rows | None = None) -> History:
        """The events with these numbers.

        Args:
            start, stop: the first one, and the one after the last.
            translation: int32[items of the history]: their rows in another vocabulary, which the events then have.

        Raises:
            BundleError: the file is shorter than the history's index says.
        """
        count = stop - start
        if count <= 0:
            return History.empty()
        place = self._begin + start * RECORD
        if available():
            block, moved = np.empty(count * BLOCK, np.int8), _UNMOVED if translation is None else translation
            last = read_slice(self._file, place, count, translation is not None, moved, block)
            if last < 0:
                raise _ends_early(self._folder)
            told: list[Any] = [np.ndarray((count,), kind, block, count * at) for kind, at in _PLACES]
            told.append(last)
            return History(*told)
        records = np.frombuffer(_bytes(self._file, count * RECORD, place, self._folder), EVENT)
        found = History(*(records[name].copy() for name in FIELDS))
        return found if translation is None else found.with_items(translation)


class ColumnSlices:
    """The same of a history that an earlier program wrote, with a file a column; the next sync replaces it.

    Args, Raises: as `Slices`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        opened: list[int] = []
        weakref.finalize(self, _close, opened)
        self._files = [_opened(folder, name, opened) for name in FIELDS]

    def __call__(self, start: int, stop: int, translation: Rows | None = None) -> History:
        """As `Slices` does."""
        count = stop - start
        if count <= 0:
            return History.empty()
        found = History(*(
            np.frombuffer(_bytes(file, count * kind.itemsize, begin + start * kind.itemsize, self._folder), kind)
            for file, kind, begin in self._files
        ))  # fmt: skip
        return found if translation is None else found.with_items(translation)


def _opened(folder: Path, name: str, opened: list[int]) -> tuple[int, np.dtype[np.generic], int]:
    """An array's file, of what type it is and where its data begin; the file is noted as open."""
    path = folder / f"{name}.npy"
    try:
        laid = np.lib.format.open_memmap(path, mode="r")
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise BundleError(
            "an array cannot be read", where=str(path), got=str(error), hint="run kokyaku sync"
        ) from None  # fmt: skip
    opened.append(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)  # what lies beside it is somebody else's
    return file, laid.dtype, laid.offset


def _bytes(file: int, size: int, place: int, folder: Path) -> bytes:
    try:
        raw = os.pread(file, size, place)
    except OSError as error:
        why = error.strerror
        raise BundleError("it cannot be read", where=str(folder), got=why, hint="look at the disk") from error
    if len(raw) != size:
        raise _ends_early(folder)
    return raw


def _ends_early(folder: Path) -> BundleError:
    return BundleError("a history ends too early", where=str(folder), hint="run kokyaku sync")


def _close(files: Sequence[int]) -> None:
    for file in files:
        with suppress(OSError):
            os.close(file)
