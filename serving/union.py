"""How many candidates go on: the foremost of what all sources propose, whatever the number of sources.

A round over the sources' lists: the first of each, then the second of each, and so on, until there are enough; what a
source lists further down it does not propose. What comes after the sources (feature rows, trees, the log) costs in
proportion to the candidates, and what stands far down in every list is hardly ever shown. The rounds go over what the
filters left, so that a filter cannot empty a list.
"""

from __future__ import annotations

import numpy as np

from features.compiled import available
from serving import slate_kernel as kernels
from serving.candidates import Candidates, Floats
from serving.scoring import ranks_of


def shortened(candidates: Candidates, most: int) -> Candidates:
    """The foremost of some candidates, at most so many; all of them where `most` is 0."""
    if not most or len(candidates) <= most:
        return candidates
    if available():
        return _copied(candidates, most)
    scores = foremost(candidates.scores, most)
    places = np.flatnonzero(np.isfinite(scores).any(axis=1))
    return Candidates(
        candidates.items.take(places), candidates.sources, scores.take(places, axis=0),
        candidates.opinions.take(places, axis=0), candidates.removed,
    )  # fmt: skip


def _copied(found: Candidates, most: int) -> Candidates:
    """The same with a kernel, which tells the ranks as well."""
    items, scores = np.empty(most, np.int32), np.empty((most, len(found.sources)), np.float32)
    opinions, ranks = np.empty_like(scores), np.empty_like(scores)
    count = kernels.foremost(
        found.items, np.ascontiguousarray(found.scores), np.ascontiguousarray(found.opinions), most, items, scores,
        opinions, ranks,
    )  # fmt: skip
    return Candidates(items[:count], found.sources, scores[:count], opinions[:count], found.removed, ranks[:count])


def foremost(scores: Floats, most: int) -> Floats:
    """What the sources still propose once the rounds have come to an end.

    Args:
        scores: float32[m, S] by ascending items; NaN where a source does not propose the item.
        most: items. The rounds end where one more would come in, which may be in the middle of a round: the sources
            have their turns in the order of the columns.

    Returns:
        float32[m, S], NaN also where the rounds did not come to.
    """
    turns = ranks_of(scores) * scores.shape[1] + np.arange(scores.shape[1])
    first = np.sort(np.fmin.reduce(turns, axis=1, initial=np.inf))
    end = first[most] if most < len(first) else np.inf
    return np.where(turns < end, scores, np.float32(np.nan))
