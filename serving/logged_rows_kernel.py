"""Feature rows in few bytes: of each column what changes from one row to the next.

Most of what is known of a list is alike in all its rows: what is of the subject, and what is not known of any item.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from features.compiled import kernel

ALIKE, CHANGES, WHOLE = 0, 1, 2
"""The first byte of a column: how it goes on. All constants stand here: see `features.compiled`."""
MOST = np.float32(65_535)


@kernel("f4[2], out u1[1]")
def pack(rows: Any, out: Any) -> int:
    """Fill `out` with the columns one after the other, and return how many bytes they take.

    Each is a byte that says which kind it is, and then

    - ALIKE: the value of all rows;
    - CHANGES: a bit a row, the lowest of each byte first, that says where there is another value than in the row
      before (the first row is one), and these values;
    - WHOLE: a whole number from 0 to 65,535 a row, in two bytes.

    Values are the bits of float32, all numbers with their lowest byte first.

    Args:
        rows: float32[m, n].
        out: uint8, with room for n columns of 5 + m / 8 + 4 m bytes.
    """
    count, width, at = rows.shape[0], rows.shape[1], 0
    if count == 0:
        return 0
    bits, changes, marks = rows.view(np.uint32), np.zeros(width, np.int32), (count + 7) // 8
    for row in range(1, count):
        for column in range(width):
            changes[column] += bits[row, column] != bits[row - 1, column]
    for column in range(width):
        told, kind = count if changes[column] else 1, CHANGES if changes[column] else ALIKE
        if kind == CHANGES and 4 + marks + 4 * changes[column] > 2 * count:
            kind = WHOLE
            for row in range(count):
                value, negative = rows[row, column], bits[row, column] >> 31  # which a zero may be, too
                if negative or not value <= MOST or np.float32(np.int32(value)) != value:
                    kind = CHANGES
                    break
        out[at] = kind
        at += 1
        if kind == WHOLE:
            for row in range(count):
                whole = np.int32(rows[row, column])
                out[at], out[at + 1] = whole & 255, whole >> 8
                at += 2
            continue
        seen = at
        if kind == CHANGES:
            out[at : at + marks] = 0
            at += marks
        for row in range(told):
            now = bits[row, column]
            if row == 0 or now != bits[row - 1, column]:
                if kind == CHANGES:
                    out[seen + (row >> 3)] |= np.uint8(1 << (row & 7))
                out[at], out[at + 1], out[at + 2], out[at + 3] = now & 255, now >> 8 & 255, now >> 16 & 255, now >> 24
                at += 4
    return at
