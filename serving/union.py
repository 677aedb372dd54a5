"""How many candidates go on: the foremost of what all sources propose, whatever the number of sources.

A round over the sources' lists: the first of each, then the second of each, and so on, until there are enough. What
comes after the sources (feature rows, trees, the log) costs in proportion to the candidates; what stands far down in
every list is hardly ever shown. Taken of what the filters left, so that a filter cannot empty a list.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from features.compiled import available, kernel
from serving.candidates import Candidates, Floats
from serving.scoring import ranks_of

Places = npt.NDArray[np.intp]


def shortened(candidates: Candidates, most: int) -> Candidates:
    """The foremost of some candidates; all of them where `most` is 0."""
    if not most or len(candidates) <= most:
        return candidates
    places = foremost(candidates.scores, most)
    return Candidates(
        candidates.items.take(places), candidates.sources, candidates.scores.take(places, axis=0),
        candidates.opinions.take(places, axis=0), candidates.removed,
    )  # fmt: skip


def foremost(scores: Floats, most: int) -> Places:
    """Which candidates go on: those that stand highest in any source's list.

    Args:
        scores: float32[m, S] by ascending items; NaN where a source does not propose the item.
        most: how many go on; the last round ends in the middle, in the order of the sources.

    Returns:
        int64[at most `most`], ascending places. What no source proposes stays behind.
    """
    if available():
        chosen = np.zeros(len(scores), np.bool_)
        rounds(np.ascontiguousarray(scores), most, chosen)
        return np.flatnonzero(chosen)
    turns = ranks_of(scores) * scores.shape[1] + np.arange(scores.shape[1])
    first = np.fmin.reduce(turns, axis=1, initial=np.inf)
    order = np.argsort(first, kind="stable")[:most]
    return np.sort(order[np.isfinite(first[order])])


@kernel("f4[2], i8, out b1[1]")
def rounds(scores: Any, most: int, chosen: Any) -> None:
    """Mark the foremost; `chosen` is false before. Within a list the highest score comes first, ties by row."""
    rows, sources = scores.shape
    lists, lengths = np.empty((sources, rows), np.int64), np.zeros(sources, np.int64)
    for source in range(sources):
        count = 0
        for row in range(rows):
            if not np.isnan(scores[row, source]):
                lists[source, count] = row
                count += 1
        some = lists[source, :count].copy()
        lists[source, :count] = some[np.argsort(-scores[:, source][some], kind="mergesort")]
        lengths[source] = count
    count = 0
    for turn in range(rows):
        for source in range(sources):
            if turn < lengths[source] and count < most and not chosen[lists[source, turn]]:
                chosen[lists[source, turn]] = True
                count += 1
        if count == most:
            return
