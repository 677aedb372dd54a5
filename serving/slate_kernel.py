"""What `serving.slate`, `serving.scoring` and `serving.union` do with candidates, without an array for every step."""

from __future__ import annotations

from typing import Any

import numpy as np

from features.compiled import helper, kernel

_FEW = 256
_PLACE = np.uint64(0xFFFFFFFF)
_LARGEST = np.finfo(np.float32).max


@helper
def _rank(scores: Any, places: Any, count: int, out: Any, column: int) -> None:
    """Fill in how many of some scores stand before each; ties by place. For few, counting is quicker than sorting."""
    if count > _FEW:
        order = np.argsort(-scores[:count], kind="mergesort")
        for rank in range(count):
            out[places[order[rank]], column] = rank
        return
    for at in range(count):
        before, own = np.int32(0), scores[at]
        for other in range(at):
            before = np.int32(before + (scores[other] >= own))
        for other in range(at + 1, count):
            before = np.int32(before + (scores[other] > own))
        out[places[at], column] = before


@helper
def _ranks_of(scores: Any, source: int, place: Any, own: Any, out: Any, column: int) -> int:
    """Fill the ranks of one source's scores, NaN where there is none; returns how many there are, at which places."""
    count = 0
    for row in range(len(scores)):
        out[row, column] = np.nan
        place[count], own[count] = row, scores[row, source]
        count += not np.isnan(scores[row, source])
    _rank(own, place, count, out, column)
    return count


@kernel("f4[2], f4[2], i8, out f4[2]")
def told(scores: Any, opinions: Any, column: int, out: Any) -> None:
    """Fill the columns from one on with the opinions, and behind them with the ranks of the scores."""
    rows, sources = scores.shape
    out[:, column : column + sources] = opinions
    place, own = np.empty(rows, np.int64), np.empty(rows, np.float32)
    for source in range(sources):
        _ranks_of(scores, source, place, own, out, column + sources + source)


@helper
def _rounds(ranks: Any, lengths: Any, lists: Any, most: int, there: Any) -> None:
    """Mark the rows that the rounds come to, and blank the ranks that they do not; lists hold rows by rank."""
    rows, sources = ranks.shape
    count, going = 0, True
    for turn in range(rows):
        for source in range(sources):
            if turn >= lengths[source]:
                continue
            row = lists[source, turn]
            if going and not there[row]:
                going = count < most
                there[row] = going
                count += going
            if not going:
                ranks[row, source] = np.nan


@kernel("i4[1], f4[2], f4[2], i8, out i4[1], out f4[2], out f4[2], out f4[2]")
def foremost(
    items: Any, scores: Any, opinions: Any, most: int, left: Any, left_scores: Any, left_opinions: Any, left_ranks: Any
) -> int:  # fmt: skip
    """`serving.union.shortened`: copy the rows that the rounds come to, with their ranks, and return how many."""
    rows, sources = scores.shape
    ranks, lengths = np.empty((rows, sources), np.float32), np.empty(sources, np.int64)
    lists = np.empty((sources, rows), np.int64)
    place, own = np.empty(rows, np.int64), np.empty(rows, np.float32)
    for source in range(sources):
        lengths[source] = _ranks_of(scores, source, place, own, ranks, source)
        for at in range(lengths[source]):
            lists[source, np.int64(ranks[place[at], source])] = place[at]
    there, count = np.zeros(rows, np.bool_), 0
    _rounds(ranks, lengths, lists, most, there)
    for row in range(rows):
        if not there[row]:
            continue
        left[count] = items[row]
        for source in range(sources):
            rank = ranks[row, source]
            left_ranks[count, source], left_opinions[count, source] = rank, opinions[row, source]
            left_scores[count, source] = scores[row, source] if rank == rank else np.nan
        count += 1
    return count


@kernel("f4[2], f4[1], out f4[1], out i8[1]")
def blended(said: Any, weights: Any, scores: Any, leading: Any) -> None:
    """`Blend.score`: fill the weighted sum of what sources say, each by its largest, and who says most."""
    rows, sources = said.shape
    share = np.zeros(sources, np.float32)
    for source in range(sources):
        largest = np.float32(0)
        for row in range(rows):
            largest = said[row, source] if said[row, source] > largest else largest
        share[source] = largest
    for row in range(rows):
        total, most, lead = np.float32(0), np.float32(-np.inf), 0
        for source in range(sources):
            part = said[row, source] / share[source] * weights[source] if share[source] > 0 else np.float32(0)
            part = np.float32(0) if np.isnan(part) else min(max(part, -_LARGEST), _LARGEST)
            total += part
            if part > most:
                most, lead = part, source
        scores[row], leading[row] = total, lead


@kernel("f4[1], out i8[1]")
def descending(scores: Any, places: Any) -> int:
    """`slate.descending`: fill the places of the finite scores, and return how many there are."""
    bits, keys, count = scores.view(np.int32), np.empty(len(scores), np.uint64), 0
    for place in range(len(scores)):
        if not np.isfinite(scores[place]):
            continue
        number = np.int32(0) if scores[place] == 0 else bits[place]  # both zeros are one
        rising = np.int64(number ^ (number >> np.int32(31) & np.int32(0x7FFFFFFF)))
        keys[count] = np.uint64(np.int64(0x7FFFFFFF) - rising) << np.uint64(32) | np.uint64(place)
        count += 1
    if count > _FEW:
        keys[:count].sort()  # quicker than to sort places by their scores
        for at in range(count):
            places[at] = np.int64(keys[at] & _PLACE)
        return count
    for at in range(count):
        before = 0
        for other in range(count):
            before += keys[other] < keys[at]
        places[before] = np.int64(keys[at] & _PLACE)
    return count


@kernel("f8[1], f8, f4[2], i8, out f4[1], out i8[1]")
def settled(raw: Any, offset: float, block: Any, sources: int, scores: Any, leading: Any) -> None:
    """Fill in what a forest's sums come to: probabilities, and the source of the best rank, from the last columns."""
    begin = block.shape[1] - sources
    for row in range(len(raw)):
        scores[row] = 1 / (1 + np.exp(-(raw[row] + offset)))
        lead, best = 0, np.float32(np.inf)
        for source in range(sources):
            if block[row, begin + source] < best:
                lead, best = source, block[row, begin + source]
        leading[row] = lead
