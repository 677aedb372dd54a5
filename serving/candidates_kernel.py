"""What `serving.candidates` and `serving.filters` do with a few hundred candidates, without an array for every step."""

from __future__ import annotations

from typing import Any

import numpy as np

from features.compiled import helper, kernel, trailing_zeros

NO_SCORE = np.float32(-1e30)
"""Scores at or below it stand for "not eligible" in some libraries."""
_BINS = 512
_BURIED, _BARRED, _ALL, _BUT_STOCK = 8, 32, 0xFF, 0xEF
"""Bits beside those of `Shelf.away`, by the places of their reasons in `filters.COMMON`; and which of all count."""


@helper
def _key(score: Any, item: Any) -> Any:
    """A number in whose order the highest score comes first, ties by item."""
    bits = np.float32(score + np.float32(0)).view(np.int32)  # both zeros are one
    rising = np.int64(bits ^ (bits >> np.int32(31) & np.int32(0x7FFFFFFF)))
    return np.uint64(np.int64(0x7FFFFFFF) - rising) << np.uint64(32) | np.uint64(np.uint32(item))


@helper
def _score_of(key: Any) -> Any:
    """The score in a `_key`."""
    rising = np.int32(np.int64(0x7FFFFFFF) - np.int64(key >> np.uint64(32)))
    return np.int32(rising ^ (rising >> np.int32(31) & np.int32(0x7FFFFFFF))).view(np.float32)


@helper
def _edge(scores: Any, begin: int, end: int, size: int, low: float, high: float, which: Any) -> int:
    """Fill the bin of each usable score between the lowest and the highest, and return that of the `size`-th best."""
    bins: Any = np.zeros(_BINS, np.int64)
    scale = _BINS / (high - low)
    for at in range(begin, end):
        if scores[at] > NO_SCORE and scores[at] < np.inf:
            place: Any = min(np.int64((float(scores[at]) - low) * scale), _BINS - 1)
            which[at - begin] = place
            bins[place] += 1
    above, edge = 0, _BINS
    while above < size:
        edge -= 1
        above += bins[edge]
    return edge


@helper
def _best(scores: Any, items: Any, begin: int, end: int, top: Any, values: Any, size: int) -> int:
    """`best` of a part of the scores: what lies in too low a bin is never sorted."""
    usable, low, high = 0, np.inf, -np.inf
    for at in range(begin, end):
        if scores[at] > NO_SCORE and scores[at] < np.inf:
            usable, low, high = usable + 1, min(low, float(scores[at])), max(high, float(scores[at]))
    which, edge = np.zeros(end - begin, np.int16), 0
    if size < usable and low < high:
        edge = _edge(scores, begin, end, size, low, high, which)
    keys, count = np.empty(usable, np.uint64), 0
    for at in range(begin, end):
        if which[at - begin] >= edge and scores[at] > NO_SCORE and scores[at] < np.inf:
            keys[count] = _key(scores[at], items[at])
            count += 1
    keys = keys[:count]
    keys.sort()
    for at in range(min(count, size)):
        top[at], values[at] = np.int32(keys[at] & np.uint64(0xFFFFFFFF)), _score_of(keys[at])
    return min(count, size)


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


@helper
def _is_barred(code: Any, barred: Any) -> Any:
    """Whether a category is one of some."""
    for at in range(len(barred)):  # noqa: SIM110 - a kernel has no generators
        if code == barred[at]:
            return True
    return False


@helper
def _grouped(gone: Any, why: Any, leave: int) -> Any:
    """Put what leaves in the order of its filters, and of its items."""
    keys = np.empty(leave, np.uint64)
    for at in range(leave):
        keys[at] = np.uint64(why[at]) << np.uint64(32) | np.uint64(gone[at])
    keys.sort()
    for at in range(leave):
        gone[at], why[at] = np.int32(keys[at] & np.uint64(0xFFFFFFFF)), np.int8(keys[at] >> np.uint64(32))


@helper
def _listed(
    items: Any, scores: Any, starts: Any, ranked: Any, count: int, bought: Any, top: Any, values: Any, lengths: Any
) -> Any:  # fmt: skip
    """Fill what each source proposes, best first, and how much that is."""
    size = count + len(bought)
    for source in range(len(lengths)):
        begin, end = starts[source], starts[source + 1]
        if ranked[source]:
            many = min(end - begin, size)
            top[source, :many], values[source, :many] = items[begin : begin + many], scores[begin : begin + many]
        else:
            many = _best(scores, items, begin, end, top[source], values[source], size)
        lengths[source] = _wanted(top[source], many, count, bought) if len(bought) else many


@helper
def _rounds(top: Any, lengths: Any, most: int, marks: Any, heard: Any) -> Any:
    """Mark the items that the rounds over the sources' lists come to, and fill how far each list is heard.

    They end where one item more than `most` would come in; 0: there is no end.
    """
    count, heard[:] = 0, lengths
    for turn in range(top.shape[1]):
        for source in range(len(lengths)):
            if turn >= lengths[source]:
                continue
            item = top[source, turn]
            bit = np.uint64(1) << np.uint64(item & 63)
            if marks[item >> 6] & bit:
                continue
            if most and count == most:
                for other in range(len(lengths)):
                    heard[other] = min(lengths[other], turn + (other < source))
                return
            marks[item >> 6] |= bit
            count += 1


@helper
def _noted(
    items: Any, scores: Any, starts: Any, ranked: Any, top: Any, values: Any, heard: Any, marks: Any, slot: Any,
    said: Any, ranks: Any, opinions: Any,
) -> Any:  # fmt: skip
    """Fill for the marked items what was heard of them, and what the sources that are not ranked think of them."""
    said[:, :], ranks[:, :], opinions[:, :] = np.nan, np.nan, np.nan
    for source in range(len(heard)):
        for at in range(heard[source]):
            row = slot[top[source, at]]
            said[row, source], ranks[row, source] = values[source, at], at
        for at in range(starts[source], starts[source] if ranked[source] else starts[source + 1]):
            item = items[at]
            if marks[item >> 6] >> np.uint64(item & 63) & np.uint64(1) and np.isfinite(scores[at]):
                opinions[slot[item], source] = scores[at]


@kernel(
    "i4[1], f4[1], i8[1], b1[1], i8, i8, i4[1], u1[1], b1[1], i4[1], i4[1], b1, out i4[1], out u8[1], out i4[1], "
    "out f4[2], out f4[2], out f4[2], out i4[1], out i1[1], out i8[1]"
)
def unite(
    items: Any, scores: Any, starts: Any, ranked: Any, count: int, most: int, bought: Any, away: Any, buried: Any,
    category: Any, barred: Any, only_stock: bool, slot: Any, marks: Any, merged: Any, said: Any, ranks: Any,
    opinions: Any, gone: Any, why: Any, counts: Any,
) -> Any:  # fmt: skip
    """Merge the best of several sources, without what a common filter takes out; source s has
    items[starts[s]:starts[s + 1]].

    Of a source that is `ranked` these are its best, best first; of another all that it has an opinion of, ascending.
    Each proposes `count` beside what is bought, and of what is left of that the rounds of `serving.union` take `most`.
    Fills `merged` with the items that stay, ascending, and by row and source: `said` and `ranks` with the score and
    the place of what it proposes, `opinions` with what one that is not ranked thinks; NaN where there is none. Fills
    `gone` and `why` with what leaves and the number of its filter, in the order of both, and `counts` with how many
    stay and leave. `slot` holds anything; `marks`, a bit an item, is 0 and left so.
    """
    sources, size, leave = len(starts) - 1, count + len(bought), 0
    minded = _ALL if only_stock else _BUT_STOCK
    top, values = np.empty((sources, size), np.int32), np.empty((sources, size), np.float32)
    lengths, heard = np.empty(sources, np.int64), np.empty(sources, np.int64)
    _listed(items, scores, starts, ranked, count, bought, top, values, lengths)
    for source in range(sources):
        stay = 0
        for at in range(lengths[source]):
            item = top[source, at]
            # As in `sift`: in a helper, which would be given four arrays an item, this took five times as long.
            out: Any = np.int64(away[item]) & minded
            if len(buried) and buried[item]:
                out |= _BURIED
            if out == 0 and len(barred) and _is_barred(category[item], barred):
                out = _BARRED
            if out == 0:
                top[source, stay], values[source, stay] = item, values[source, at]
                stay += 1
            elif not marks[item >> 6] >> np.uint64(item & 63) & np.uint64(1):
                marks[item >> 6] |= np.uint64(1) << np.uint64(item & 63)
                gone[leave], why[leave] = item, trailing_zeros(out)
                leave += 1
        lengths[source] = stay
    for at in range(leave):
        marks[gone[at] >> 6] = 0
    _grouped(gone, why, leave)
    _rounds(top, lengths, most, marks, heard)
    found = _united(marks, slot, merged)
    _noted(
        items, scores, starts, ranked, top, values, heard, marks, slot, said[:found], ranks[:found], opinions[:found]
    )
    for row in range(found):
        marks[merged[row] >> 6] = 0
    counts[0], counts[1] = found, leave


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


@kernel("i4[1], f4[2], f4[2], u1[1], b1[1], i4[1], i4[1], b1, out i4[1], out f4[2], out f4[2], out i4[1], out i1[1]")
def sift(
    items: Any, scores: Any, opinions: Any, away: Any, buried: Any, category: Any, barred: Any, only_stock: bool,
    left: Any, left_scores: Any, left_opinions: Any, gone: Any, why: Any,
) -> int:  # fmt: skip
    """Copy the rows that no common filter takes out, and return how many they are.

    Fills the items that leave, from the beginning of `gone`, and the number of the first filter that takes each out.
    """
    stay, leave, minded = 0, 0, _ALL if only_stock else _BUT_STOCK
    for row in range(len(items)):
        item = items[row]
        out: Any = np.int64(away[item]) & minded
        if len(buried) and buried[item]:
            out |= _BURIED
        if out == 0 and len(barred) and _is_barred(category[item], barred):
            out = _BARRED
        if out:
            gone[leave], why[leave] = item, trailing_zeros(out)
            leave += 1
            continue
        left[stay] = item
        for source in range(scores.shape[1]):
            left_scores[stay, source], left_opinions[stay, source] = scores[row, source], opinions[row, source]
        stay += 1
    return stay
