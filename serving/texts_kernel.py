"""The bytes of many texts beside each other, so that what is said of a list becomes text in one go."""

from __future__ import annotations

from typing import Any

from features.compiled import kernel

END = 10
"""The end of a line; in UTF-8 no other character has this byte. All constants stand here: see `features.compiled`."""


@kernel("u1[1], i8[1], i4[1], out u1[1]")
def collect(blob: Any, offsets: Any, rows: Any, lines: Any) -> int:
    """Fill `lines` with the texts of some rows, each with the end of a line behind it.

    Args:
        blob: uint8[bytes], offsets: int64[n + 1]: n texts in UTF-8, one after the other.
        rows: int32[m].
        lines: uint8[room].

    Returns:
        How many bytes they are; -1 where a row is none, the room does not do, or a text has lines of its own.
    """
    done = 0
    for at in range(len(rows)):
        row = rows[at]
        if row < 0 or row >= len(offsets) - 1 or done + offsets[row + 1] - offsets[row] >= len(lines):
            return -1
        for place in range(offsets[row], offsets[row + 1]):
            if blob[place] == END:
                return -1
            lines[done] = blob[place]
            done += 1
        lines[done] = END
        done += 1
    return done
