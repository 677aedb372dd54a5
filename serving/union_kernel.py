"""What `serving.union` does, without an array for every step."""

from __future__ import annotations

from typing import Any

import numpy as np

from features.compiled import kernel


@kernel("f4[2], i8, out f4[2]")
def rounds(scores: Any, most: int, out: Any) -> None:
    """Copy what the rounds come to; `out` is NaN before. A list goes from the highest score down, ties by row."""
    rows, sources = scores.shape
    lists, lengths = np.empty((sources, rows), np.int64), np.zeros(sources, np.int64)
    for row in range(rows):
        for source in range(sources):
            if not np.isnan(scores[row, source]):
                lists[source, lengths[source]] = row
                lengths[source] += 1
    for source in range(sources):
        some = lists[source, : lengths[source]].copy()
        lists[source, : lengths[source]] = some[np.argsort(-scores[:, source][some], kind="mergesort")]
    there, count = np.zeros(rows, np.bool_), 0
    for turn in range(rows):
        for source in range(sources):
            if turn < lengths[source]:
                row = lists[source, turn]
                if not there[row]:
                    if count == most:
                        return
                    there[row] = True
                    count += 1
                out[row, source] = scores[row, source]
