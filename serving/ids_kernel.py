"""The bytes of many ids or words beside each other, so that a list's become text in one go."""

from __future__ import annotations

from typing import Any

from features.compiled import kernel


@kernel("i1[1], i8[1], i4[1], out i1[1], out i8[1]")
def collect(blob: Any, offsets: Any, rows: Any, text: Any, ends: Any) -> int:
    """Fill `text` with the words of some rows, one after the other, and `ends` with where each ends.

    Args:
        blob: int8[bytes], offsets: int64[n + 1]: of a `features.ids.Vocabulary`, or of a column of texts.
        rows: int32[m].
        text: int8[room].
        ends: int64[m].

    Returns:
        How many bytes belong to no character of ASCII; -1 where a row is unknown or the room does not do.
    """
    done, foreign = 0, 0
    for at in range(len(rows)):
        row = rows[at]
        if row < 0 or row >= len(offsets) - 1 or done + offsets[row + 1] - offsets[row] > len(text):
            return -1
        for place in range(offsets[row], offsets[row + 1]):
            foreign += blob[place] < 0
            text[done] = blob[place]
            done += 1
        ends[at] = done
    return foreign
