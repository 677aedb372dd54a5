"""The bytes of many ids beside each other, so that a list's ids become text in one go."""

from __future__ import annotations

from typing import Any

from features.compiled import kernel


@kernel("i1[1], i8[1], i4[1], out i1[1], out i8[1]")
def collect(blob: Any, offsets: Any, rows: Any, text: Any, ends: Any) -> bool:
    """Fill `text` with the ids of some rows, one after the other, and `ends` with where each ends.

    Args:
        blob: int8[bytes], offsets: int64[n + 1]: of a `features.ids.Vocabulary`.
        rows: int32[m].
        text: int8[room].
        ends: int64[m].

    Returns:
        False where a row is unknown, the room does not do, or a character is none of ASCII, so that bytes are not
        characters.
    """
    done = 0
    for at in range(len(rows)):
        row = rows[at]
        if row < 0 or row >= len(offsets) - 1 or done + offsets[row + 1] - offsets[row] > len(text):
            return False
        for place in range(offsets[row], offsets[row + 1]):
            if blob[place] < 0:
                return False
            text[done] = blob[place]
            done += 1
        ends[at] = done
    return True
