"""What `serving.candidates` and `serving.filters` do with a few hundred candidates, without an array for every step."""

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


@helper
def _best(scores: Any, items: Any, begin: int, end: int, top: Any, values: Any, size: int) -> int:
    """`best` of a part of the scores."""
    count = 0
    for at in range(begin, end):
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


@kernel("f4[1], i4[1], out i4[1], out f4[1]")
def best(scores: Any, items: Any, top: Any, values: Any) -> Any:
    """Fill `top` and `values` with the highest usable scores, best first, ties by item; returns how many there are."""
    return _best(scores, items, 0, len(scores), top, values, len(top))


@helper
def _wanted(top: Any, many: int, count: int, bought: Any) -> int:
    """How many of the best are proposed: up to `count` beside those that are bought already, which are ascending."""
    others = 0
    for at in range(many):
        place = np.searchsorted(bought, top[at])
        others += not (place < len(bought) and bought[place] == top[at])
        if others > count:
            return at
    return many


@helper
def _united(marks: Any, slot: Any, merged: Any) -> int:
    """Fill the marked items, ascending, and the place of each among them; returns how many there are."""
    count = 0
    for word in range(len(marks)):  # from the lowest bit on: quicker than to sort them
        left = marks[word]
        while left:
            item = 64 * word + np.int64(trailing_zeros(left))
            left &= left - np.uint64(1)
            slot[item], merged[count] = count, item
            count += 1
    return count


@kernel("i4[1], f4[1], i8[1], b1[1], i8, i4[1], out i4[1], out u8[1], out i4[1], out f4[2], out f4[2]")
def gather(
    items: Any, scores: Any, starts: Any, ranked: Any, count: int, bought: Any, slot: Any, marks: Any, merged: Any,
    said: Any, opinions: Any,
) -> Any:  # fmt: skip
    """Merge the best of several sources; source s has items[starts[s]:starts[s + 1]].

    Of a source that is `ranked` these are its best, best first; of another all that it has an opinion of, ascending.
    Each proposes `count` beside what is bought. Fills `merged` with the distinct items, ascending, `said` with the
    score of each by each source, NaN where it does not propose it, and `opinions` with what those that are not ranked
    think of it; returns how many items there are. `slot` holds anything; `marks`, a bit an item, is 0 and left so.
    """
    sources, size = len(starts) - 1, count + len(bought)
    top, values = np.empty((sources, size), np.int32), np.empty((sources, size), np.float32)
    many = np.empty(sources, np.int64)
    for source in range(sources):
        begin, end = starts[source], starts[source + 1]
        if ranked[source]:
            many[source] = min(end - begin, size)
            for at in range(many[source]):
                top[source, at], values[source, at] = items[begin + at], scores[begin + at]
        else:
            many[source] = _best(scores, items, begin, end, top[source], values[source], size)
        if len(bought):
            many[source] = _wanted(top[source], many[source], count, bought)
        for at in range(many[source]):
            item = top[source, at]
            marks[item >> 6] |= np.uint64(1) << np.uint64(item & 63)
    found = _united(marks, slot, merged)
    said[:found, :], opinions[:found, :] = np.nan, np.nan
    for source in range(sources):
        for at in range(many[source]):
            said[slot[top[source, at]], source] = values[source, at]
        if not ranked[source]:
            for at in range(starts[source], starts[source + 1]):
                item = items[at]
                if marks[item >> 6] >> np.uint64(item & 63) & np.uint64(1) and np.isfinite(scores[at]):
                    opinions[slot[item], source] = scores[at]
    for row in range(found):
        marks[merged[row] >> 6] = 0
    return found


@kernel("i4[1], f4[1], i4[1], i8, out f4[2]")
def look_up(known: Any, scores: Any, wanted: Any, column: int, out: Any) -> None:
    """Fill a column with the score of each item, NaN where there is none; both lists of items are ascending."""
    at, many = 0, len(known)
    if many == 0:
        out[:, column] = np.nan
        return
    gaps = known[many - 1] - known[0] + 1 - many
    for row in range(len(wanted)):
        # Items are distinct numbers: as far behind the first as an item's number is, less the gaps, it must lie.
        most = wanted[row] - known[0]
        low, high = max(at, most - gaps), min(many - 1, most)
        while low < high:
            middle = (low + high + 1) >> 1
            if known[middle] <= wanted[row]:
                low = middle
            else:
                high = middle - 1
        at = min(low, many - 1)
        hit = known[at] == wanted[row] and np.isfinite(scores[at])
        out[row, column] = scores[at] if hit else np.nan


@kernel(
    "i4[1], f4[2], f4[2], b1[1], b1[1], b1[1], b1[1], i4[1], i4[1], b1, out i4[1], out f4[2], out f4[2], out i4[1], "
    "out i1[1]"
)
def sift(
    items: Any, scores: Any, opinions: Any, catalogue: Any, withdrawn: Any, stopped: Any, in_stock: Any, category: Any,
    barred: Any, only_stock: bool, left: Any, left_scores: Any, left_opinions: Any, gone: Any, why: Any,
) -> int:  # fmt: skip
    """Copy the rows that no common filter takes out, and return how many they are.

    Fills the items that leave, from the beginning of `gone`, and the number of the first filter that takes each out.
    """
    stay, leave = 0, 0
    for row in range(len(items)):
        item, first = items[row], -1
        if not catalogue[item]:
            first = 0
        elif withdrawn[item]:
            first = 1
        elif stopped[item]:
            first = 2
        elif only_stock and not in_stock[item]:
            first = 3
        else:
            for code in barred:
                if category[item] == code:
                    first = 4
        if first >= 0:
            gone[leave], why[leave] = item, first
            leave += 1
            continue
        left[stay] = item
        for source in range(scores.shape[1]):
            left_scores[stay, source], left_opinions[stay, source] = scores[row, source], opinions[row, source]
        stay += 1
    return stay
