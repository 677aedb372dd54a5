"""Slices of a history, read from its files instead of through a mapping of them.

A request needs a few hundred bytes of each column, anywhere in gigabytes. Mapped, each touch makes the kernel enter up
to two megabytes into the worker's page table, and soon the whole history counts as the worker's memory. Read, the same
pages stay in the kernel's cache, shared by all workers and given back when memory is short; the worker holds the slice.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from features.compiled import available
from features.errors import BundleError
from features.history import DTYPES, FIELDS, History
from serving.slices_kernel import WIDTHS, read_slice

Rows = npt.NDArray[np.int32]
_LAID = ("time", "recorded", "key", "item", "quantity", "value", "type")
"""The columns in the order of `slices_kernel.WIDTHS`."""
_OFFSETS = {name: sum(WIDTHS[:at]) for at, name in enumerate(_LAID)}
"""Where each begins in what the kernel fills, in bytes an event."""
_PLACES = tuple((np.dtype(DTYPES[name]), _OFFSETS[name]) for name in FIELDS)
_UNMOVED = np.empty(0, np.int32)


class Slices:
    """The columns of a history's events as open files; call it for a slice of them.

    Args:
        folder: of the history; its files may be removed while they are open, and may be overwritten in place.

    Raises:
        BundleError: a file is missing or no array.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: list[tuple[int, np.dtype[np.generic], int]] = []
        opened: list[int] = []
        weakref.finalize(self, _close, opened)
        for name in FIELDS:
            path = folder / f"{name}.npy"
            try:
                laid = np.lib.format.open_memmap(path, mode="r")  # for its type and where its data begin
                opened.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            except (OSError, ValueError) as error:
                hint = "run kokyaku sync"
                raise BundleError("an array cannot be read", where=str(path), got=str(error), hint=hint) from None
            os.posix_fadvise(opened[-1], 0, 0, os.POSIX_FADV_RANDOM)  # what lies beside it is somebody else's
            self._files.append((opened[-1], laid.dtype, laid.offset))
        by_name = dict(zip(FIELDS, self._files, strict=True))
        self._as_laid = all(by_name[name][1] == np.dtype(DTYPES[name]) for name in _LAID)
        self._descriptors = np.array([by_name[name][0] for name in _LAID], np.int64)
        self._begins = np.array([by_name[name][2] for name in _LAID], np.int64)

    def __call__(self, start: int, stop: int, translation: Rows | None = None) -> History:
        """The events with these numbers.

        Args:
            start, stop: the first one, and the one after the last.
            translation: int32[items of the history]: their rows in another vocabulary, which the events then have.

        Raises:
            BundleError: the files are shorter than the history's index says.
        """
        count = stop - start
        if count <= 0:
            return History.empty()
        if available() and self._as_laid:
            block = np.empty(count * sum(WIDTHS), np.int8)
            moved = _UNMOVED if translation is None else translation
            if read_slice(self._descriptors, self._begins, start, count, translation is not None, moved, block):
                return History(*(np.ndarray((count,), kind, block, count * at) for kind, at in _PLACES))
        found = self._read(start, count)
        return found if translation is None else found.with_items(translation)

    def _read(self, start: int, count: int) -> History:
        columns = []
        for file, dtype, offset in self._files:
            raw = os.pread(file, count * dtype.itemsize, offset + start * dtype.itemsize)
            if len(raw) != count * dtype.itemsize:
                raise BundleError("a history ends too early", where=str(self._folder), hint="run kokyaku sync")
            columns.append(np.frombuffer(raw, dtype))
        return History(*columns)


def _close(files: Sequence[int]) -> None:
    for file in files:
        with suppress(OSError):
            os.close(file)
