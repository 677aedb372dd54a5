"""A slice of a history in one kernel: read, dealt out into columns, its items moved to another vocabulary.

Each call from Python costs a request several microseconds that others have used meanwhile; here there is one.
"""

from __future__ import annotations

from typing import Any

from features.compiled import kernel, numba

WIDTHS = (8, 8, 8, 4, 4, 4, 1)
"""Bytes of a column's value in the block: time, recorded, key, item, quantity, value, type. So all stay aligned."""
RECORD = 40
"""Bytes of an event in the file: the same values in that order, then nothing that is read."""
BLOCK = RECORD + sum(WIDTHS)
"""Bytes an event of the block: what was read, then the columns."""
_WIDE, _NARROW = RECORD // 8, RECORD // 4
# The C library's: (file, address, bytes, offset) -> bytes read.
_pread: Any = None if numba is None else numba.types.ExternalFunction(
    "pread", numba.types.int64(numba.types.int32, numba.types.int64, numba.types.int64, numba.types.int64)
)  # fmt: skip


@kernel("i8, i8, i8, b1, i4[1], out i1[1]")
def read_slice(file: int, place: int, count: int, move: bool, translation: Any, block: Any) -> int:
    """Fill `block` with some events, one column after the other.

    Args:
        file: descriptor.
        place: where the first of them begins in it.
        count: how many, at least one.
        move: whether to move the item rows by `translation` (`int32[old rows]`, -1 where there is none).
        block: int8[count x BLOCK], filled.

    Returns:
        The latest instant at which one of them happened or was received; -1 where the file holds less than that.
    """
    size = count * RECORD
    if _pread(file, block.ctypes.data, size, place) != size:
        return -1
    wide, narrow = block[:size].view(numba.int64), block[:size].view(numba.int32)
    columns = block[size : size + 24 * count].view(numba.int64)
    halves = block[size + 24 * count : size + 36 * count].view(numba.int32)
    types = block[size + 36 * count :]
    last = 0
    for at in range(count):
        time, recorded = wide[_WIDE * at], wide[_WIDE * at + 1]
        columns[at], columns[count + at], columns[2 * count + at] = time, recorded, wide[_WIDE * at + 2]
        last = max(last, time, recorded)
        item = narrow[_NARROW * at + 6]
        if move and item >= 0:
            item = translation[item] if item < len(translation) else -1
        halves[at] = item
        halves[count + at], halves[2 * count + at] = narrow[_NARROW * at + 7], narrow[_NARROW * at + 8]
        types[at] = block[RECORD * at + 36]
    return last
