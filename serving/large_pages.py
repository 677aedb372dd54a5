"""Large pages of memory for what requests read all over.

A processor finds where a page lies in memory by a table of its own that knows a few thousand pages. Of arrays of a
hundred MB in pages of 4 KB most looks miss it, and wait for that before they wait for the memory. Linux keeps a file
in pages of 2 MB where it is read so into a file system that can (ext4 since 6.16, XFS since 5.18); what was just
written lies in small ones, and so it stays. Everywhere else nothing of this changes anything.
"""

from __future__ import annotations

import mmap
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from features.ids import Array

LARGE = 2 << 20
"""Bytes of a large page, as of the processors of today; a smaller file has none."""
_HUGE: int | None = getattr(mmap, "MADV_HUGEPAGE", None)
_READ_IN = 22
"""Linux's `MADV_POPULATE_READ`: read it now, with an error where that fails; an access would end the process."""


def wanted(array: Array) -> None:
    """Ask for large pages for a mapped array, where they are not in memory yet.

    Args:
        array: as `numpy.memmap` gave it.
    """
    mapped: Any = array.base if isinstance(array, np.memmap) else None
    if _HUGE is not None and isinstance(mapped, mmap.mmap) and len(mapped) >= LARGE:
        with suppress(OSError):
            mapped.madvise(_HUGE)


def read_again(path: Path) -> None:
    """Have a file that was written and is on the disk in memory in large pages, whoever maps it next.

    What somebody maps already stays as it is.
    """
    if _HUGE is None or path.stat().st_size < LARGE:
        return
    with suppress(OSError), path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            mapped.madvise(_HUGE)
            mapped.madvise(_READ_IN)
