"""How many candidates go on: the foremost of what all sources propose, whatever the number of sources.

A round over the sources' lists: the first of each, then the second of each, and so on, until there are enough. What
comes after the sources (look-ups, feature rows, trees, the log) costs in proportion to the candidates; what stands far
down in every list is hardly ever shown. Taken of what the filters left, so that no filter can empty a list.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from features.compiled import available, kernel
from serving.candidates import Candidates, Rows

Places = npt.NDArray[np.intp]


def foremost(lists: Sequence[Rows], left: Rows, most: int) -> Places:
    """Which candidates go on: those that stand highest in any list.

    Args:
        lists: of each source int32[k], distinct items, best first.
        left: int32[m], ascending and distinct: what the filters left. Others hold no place in a list.
        most: how many go on; the last round ends in the middle, in the order of the sources.

    Returns:
        int64[min(m, most)], ascending places in `left`. What stands in no list goes on only where all do.
    """
    if len(left) <= most or most <= 0:
        return np.arange(min(len(left), max(most, 0)))
    if available():
        starts = np.array([0, *accumulate(map(len, lists))])
        listed = np.concatenate(lists) if lists else left[:0]
        chosen = np.zeros(len(left), np.bool_)
        take(listed, starts, left, most, chosen)
        return np.flatnonzero(chosen)
    turn = np.full(len(left), np.iinfo(np.int64).max)
    for source, items in enumerate(lists):
        places = np.minimum(np.searchsorted(left, items), len(left) - 1)
        places = places[left[places] == items]
        turn[places] = np.minimum(turn[places], np.arange(len(places)) * len(lists) + source)
    first = np.argsort(turn, kind="stable")[:most]
    return np.sort(first[turn[first] < np.iinfo(np.int64).max])


def shortened(candidates: Candidates, most: int) -> Candidates:
    """The foremost of some candidates, by the lists that their scores say; all of them where `most` is 0."""
    if not most or len(candidates) <= most:
        return candidates
    lists = [candidates.items[descending] for descending in _descending(candidates)]
    places = foremost(lists, candidates.items, most)
    return Candidates(
        candidates.items[places], candidates.sources, candidates.scores[places], candidates.opinions[places],
        candidates.removed,
    )  # fmt: skip


def _descending(candidates: Candidates) -> list[Places]:
    """Of each source, places of what it proposes, best first and ties by item."""
    found = []
    for scores in candidates.scores.T:
        proposed = np.flatnonzero(np.isfinite(scores))
        found.append(proposed[np.argsort(-scores[proposed], kind="stable")])
    return found


@kernel("i4[1], i8[1], i4[1], i8, out b1[1]")
def take(listed: Any, starts: Any, left: Any, most: int, chosen: Any) -> None:
    """Mark the foremost of what is left; source s has listed[starts[s]:starts[s + 1]]. `chosen` is false before."""
    sources = len(starts) - 1
    at, count, going = starts[:-1].copy(), 0, True
    while going:
        going = False
        for source in range(sources):
            while at[source] < starts[source + 1]:
                item = listed[at[source]]
                at[source] += 1
                place = np.searchsorted(left, item)
                if place == len(left) or left[place] != item:
                    continue
                going = True
                if not chosen[place]:
                    chosen[place] = True
                    count += 1
                    if count == most:
                        return
                break
