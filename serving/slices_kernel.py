"""A slice of a history in one kernel: a read from each column's file, and item rows moved to another vocabulary.

Each call from Python costs a request several microseconds that others have used meanwhile; here there is one.
"""

from __future__ import annotations

from typing import Any

from features.compiled import kernel, numba

WIDTHS = (8, 8, 8, 4, 4, 4, 1)
"""Bytes of a value of time, recorded, key, item, quantity, value and type: in this order all stay aligned."""
ITEM = sum(WIDTHS[:3])
"""Where the item rows begin, in bytes an event."""
_COLUMNS = len(WIDTHS)
# The C library's: (file, address, bytes, offset) -> bytes read.
_pread: Any = None if numba is None else numba.types.ExternalFunction(
    "pread", numba.types.int64(numba.types.int32, numba.types.int64, numba.types.int64, numba.types.int64)
)  # fmt: skip


@kernel("i8[1], i8[1], i8, i8, b1, i4[1], out i1[1]")
def read_slice(
    files: Any, places: Any, start: int, count: int, move: bool, translation: Any, block: Any
) -> bool:  # fmt: skip
    """Fill `block` with some events, one column after the other.

    Args:
        files: int64[7], descriptors in the order of `WIDTHS`.
        places: int64[7], where the values begin in each file.
        start, count: the first event and how many.
        move: whether to move the item rows by `translation` (`int32[old rows]`, -1 where there is none).
        block: int8[count x 37], filled.

    Returns:
        False where a file holds less than that.
    """
    done = 0
    for column in range(_COLUMNS):
        width = WIDTHS[column]
        size = count * width
        if _pread(files[column], block.ctypes.data + done, size, places[column] + start * width) != size:
            return False
        done += size
    if move:
        item = block[ITEM * count : (ITEM + 4) * count].view(numba.int32)
        for at in range(count):
            if item[at] >= 0:
                item[at] = translation[item[at]] if item[at] < len(translation) else -1
    return True
