"""What `serving.candidates` and `serving.scoring` do with a few hundred candidates, without an array for every step."""

from __future__ import annotations

from typing import Any

import numpy as np

from features.compiled import helper, kernel, trailing_zeros

NO_SCORE = np.float32(-1e30)
"""Scores at or below it stand for "not eligible" in some libraries."""


@helper
def _worse(score: Any, item: Any, other: Any, beside: Any) -> Any:
    """Whether one of two proposals stands behind the other; ties by item."""
    return score < other or (score == other and item > beside)


@helper
def _sink(scores: Any, items: Any, count: int) -> None:
    """Let the root of a heap, whose root is the worst, come to its place."""
    at, score, item = 0, scores[0], items[0]
    while True:
        below = 2 * at + 1
        if below >= count:
            break
        if below + 1 < count and _worse(scores[below + 1], items[below + 1], scores[below], items[below]):
            below += 1
        if not _worse(scores[below], items[below], score, item):
            break
        scores[at], items[at] = scores[below], items[below]
        at = below
    scores[at], items[at] = score, item


@helper
def _rise(scores: Any, items: Any, at: int) -> None:
    """Let the last of a heap come to its place."""
    score, item = scores[at], items[at]
    while at:
        above = (at - 1) >> 1
        if not _worse(score, item, scores[above], items[above]):
            break
        scores[at], items[at] = scores[above], items[above]
        at = above
    scores[at], items[at] = score, item


@kernel("f4[1], i4[1], out i4[1], out f4[1]")
def best(scores: Any, items: Any, top: Any, values: Any) -> int:
    """Fill `top` and `values` with the highest usable scores, best first, ties by item; returns how many there are."""
    size, count = len(top), 0
    for at in range(len(scores)):
        score = scores[at]
        if not (score > NO_SCORE and score < np.inf):
            continue
        if count < size:
            top[count], values[count] = items[at], score
            _rise(values, top, count)
            count += 1
        elif size and _worse(values[0], top[0], score, items[at]):
            top[0], values[0] = items[at], score
            _sink(values, top, count)
    for last in range(count - 1, 0, -1):  # the worst of those that are left goes to the end
        top[0], top[last] = top[last], top[0]
        values[0], values[last] = values[last], values[0]
        _sink(values, top, last)
    return count


@kernel("i4[1], f4[1], i8[1], out i4[1], out u8[1], out i4[1], out f4[2]")
def union(items: Any, scores: Any, starts: Any, slot: Any, marks: Any, merged: Any, out: Any) -> int:
    """Merge the proposals of several sources; source s has items[starts[s]:starts[s + 1]].

    Fills `merged` with the distinct items, ascending, and `out` with the score of each by each source, NaN where it
    proposes it not; returns how many items there are. `slot` holds anything; `marks`, a bit an item, is 0 and left so.
    """
    for item in items:
        marks[item >> 6] |= np.uint64(1) << np.uint64(item & 63)
    count = 0
    for word in range(len(marks)):  # from the lowest bit on: quicker than to sort them
        left = marks[word]
        while left:
            item = 64 * word + np.int64(trailing_zeros(left))
            left &= left - np.uint64(1)
            slot[item], merged[count] = count, item
            for source in range(out.shape[1]):
                out[count, source] = np.nan
            count += 1
        marks[word] = 0
    for source in range(len(starts) - 1):
        for at in range(starts[source], starts[source + 1]):
            out[slot[items[at]], source] = scores[at]
    return count


@kernel("i4[1], f4[1], i4[1], i8, out f4[2]")
def look_up(known: Any, scores: Any, wanted: Any, column: int, out: Any) -> None:
    """Fill a column with the score of each item, NaN where there is none; both lists of items are ascending."""
    at = 0
    step = max(len(known) // max(len(wanted), 1), 1)
    for row in range(len(wanted)):
        while at + step < len(known) and known[at + step] <= wanted[row]:
            at += step
        while at < len(known) and known[at] < wanted[row]:
            at += 1
        hit = at < len(known) and known[at] == wanted[row] and np.isfinite(scores[at])
        out[row, column] = scores[at] if hit else np.nan


@kernel("f4[2], f4[2], i8, out f4[2]")
def told(scores: Any, opinions: Any, column: int, out: Any) -> None:
    """Fill the columns from one on with the opinions, and behind them with the ranks of the scores."""
    rows, sources = scores.shape
    out[:, column : column + sources] = opinions
    place = np.empty(rows, np.int64)
    for source in range(sources):
        count = 0
        for row in range(rows):
            out[row, column + sources + source] = np.nan
            if not np.isnan(scores[row, source]):
                place[count] = row
                count += 1
        some = place[:count]
        order = np.argsort(-scores[:, source][some], kind="mergesort")
        for rank in range(count):
            out[some[order[rank]], column + sources + source] = rank


@kernel("i4[1], b1[1], b1[1], b1[1], b1[1], i4[1], i4[1], b1, out i1[1]")
def reasons(
    items: Any, catalogue: Any, withdrawn: Any, stopped: Any, in_stock: Any, category: Any, barred: Any,
    only_stock: bool, out: Any,
) -> int:  # fmt: skip
    """Fill in for each item the first of the common filters that takes it out, from 1; returns how many are out."""
    gone = 0
    for row in range(len(items)):
        item, why = items[row], 0
        if not catalogue[item]:
            why = 1
        elif withdrawn[item]:
            why = 2
        elif stopped[item]:
            why = 3
        elif only_stock and not in_stock[item]:
            why = 4
        else:
            for code in barred:
                if category[item] == code:
                    why = 5
        out[row] = why
        gone += why > 0
    return gone


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


@kernel("i1[1], i4[1], f4[2], f4[2], out i4[1], out f4[2], out f4[2]")
def stay(why: Any, items: Any, scores: Any, opinions: Any, left: Any, left_scores: Any, left_opinions: Any) -> None:
    """Copy the rows whose reason to go is 0."""
    count = 0
    for row in range(len(why)):
        if why[row] == 0:
            left[count] = items[row]
            for source in range(scores.shape[1]):
                left_scores[count, source], left_opinions[count, source] = scores[row, source], opinions[row, source]
            count += 1
