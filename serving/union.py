"""How many candidates go on: the foremost of what all sources propose, whatever the number of sources.

A round over the sources' lists: the first of each, then the second of each, and so on, until there are enough; what a
source lists further down it does not propose. What comes after the sources (feature rows, trees, the log) costs in
proportion to the candidates, and what stands far down in every list is hardly ever shown. The rounds go over what the
filters left, so that a filter cannot empty a list.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from features.compiled import available, scratch
from serving import slate_kernel as kernels
from serving.business import Business
from serving.candidates import NO_SCORES, NOTHING, Candidates, Floats, Opinion, Rows
from serving.candidates_kernel import unite
from serving.filters import BOUGHT, apply_filters, asked, common_tables, told_out, without
from serving.query import Query
from serving.scoring import ranks_of
from serving.shelf import Shelf

MOST_SOURCES = 16
"""As many are united by a kernel; a recipe of more pays for it with time."""


def united(
    opinions: Mapping[str, Opinion], count: int, most: int, bought: Rows, shelf: Shelf, query: Query,
    business: Business | None = None,
) -> Candidates:  # fmt: skip
    """The best of several sources, without what the filters take out, and of those the foremost.

    Args:
        opinions: of each source.
        count, bought: as for `Candidates.of_best`.
        most: so many stay; 0: all.
        shelf, query, business: what is filtered by.
    """
    if not opinions:
        return Candidates.of_best(opinions, count)
    if not available() or len(opinions) > MOST_SOURCES:
        found = Candidates.of_best(opinions, count, bought)
        return shortened(apply_filters(shelf, query, found, business), most)
    filters = list(asked(shelf, query))
    if only_new := [reason for reason, _ in filters] == [BOUGHT]:
        filters = []  # the commonest of a page: the kernel sees to it
    found = _merged(opinions, count, 0 if filters else most, bought, only_new, shelf, query, business)
    return shortened(without(found, filters), most) if filters else found


def _merged(
    opinions: Mapping[str, Opinion], count: int, most: int, bought: Rows, only_new: bool, shelf: Shelf, query: Query,
    business: Business | None,
) -> Candidates:  # fmt: skip
    """`united` by the common filters alone, and by what is bought where only what is new is wanted, with a kernel."""
    sources, size, catalogue = len(opinions), count + len(bought), len(shelf.away)
    near, spare = [opinion.near(count, bought) for opinion in opinions.values()], MOST_SOURCES - sources
    room = min(most or size * sources, size * sources)
    items, told = np.empty(room, np.int32), np.empty((3, room, sources), np.float32)
    gone = np.empty(size * sources, np.int32)
    stay, *out = unite(
        (*[each.items for each in near], *_NO_ITEMS[:spare]), (*[each.scores for each in near], *_SILENT[:spare]),
        sources, count, most, bought, only_new, *common_tables(shelf, query, business),
        scratch("candidate", catalogue, np.int32), scratch("candidate_mark", catalogue // 64 + 1, np.uint64),
        scratch("bought_mark", catalogue // 64 + 1, np.uint64), items, told, gone,
    )  # fmt: skip
    items, (said, thought, ranks) = items[:stay], told[:, :stay]
    if sources > 1:  # what one alone proposes it thinks just that of
        for column, (opinion, found) in enumerate(zip(opinions.values(), near, strict=True)):
            if found is not opinion:
                opinion.tell(items, thought, column)
    return Candidates(items, tuple(opinions), said, thought, told_out(gone, out), ranks)


_NO_ITEMS, _SILENT = (NOTHING,) * MOST_SOURCES, (NO_SCORES,) * MOST_SOURCES


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
