"""What `serving.candidates` and `serving.filters` do with a few hundred candidates, without an array for every step."""

from __future__ import annotations

from typing import Any

import numpy as np

from features.compiled import helper, kernel, trailing_zeros

NO_SCORE = np.float32(-1e30)
"""Scores at or below it stand for "not eligible" in some libraries."""
_BURIED, _BARRED, _BOUGHT, _ALL, _BUT_STOCK = 8, 32, 64, 0xFF, 0xEF
"""Bits beside those of `Shelf.away`, by the places of their reasons in `filters.REASONS`; and which of all count."""
_REASONS = 7
_NONE = np.int32(-(2**31))
"""Lower than what stands for any score."""
_MANY = 8
"""Of so many times as many items as are asked about each is looked up; of fewer all are gone through."""
_FEW = 300
"""As many numbers are sorted by counting as soon as by splitting them."""
_LOW = np.uint64(0xFFFFFFFF)


@helper
def _turned(bits: Any) -> Any:
    """The bits of a score as a whole number that rises with it; and back."""
    return np.int32(bits ^ (bits >> np.int32(31) & np.int32(0x7FFFFFFF)))


@helper
def _rising(scores: Any, numbers: Any) -> int:
    """Fill a whole number that rises with each score, both zeros one; returns how many of the scores are usable."""
    bits, usable = scores.view(np.int32), np.int32(0)
    for at in range(len(scores)):
        score = scores[at]
        right = score > NO_SCORE and score < np.inf
        numbers[at] = (np.int32(0) if score == 0 else _turned(bits[at])) if right else _NONE
        usable = np.int32(usable + np.int32(right))
    return int(usable)


@helper
def _cut(numbers: Any, count: int, wanted: int) -> Any:
    """The number that `wanted` of some reach, or more where some are equal; there are more than `wanted`.

    Halving what lies between the lowest and the highest takes many looks at all of them, but each is quick: nothing
    depends on what was found before, so the machine compares eight at once.
    """
    low, high = numbers[0], numbers[0]
    for at in range(count):
        low, high = min(low, numbers[at]), max(high, numbers[at])
    least, most = np.int64(low), np.int64(high)
    while least < most:
        middle, reach = np.int32((least + most + 1) >> 1), np.int32(0)
        for at in range(count):
            reach = np.int32(reach + np.int32(numbers[at] >= middle))
        if reach == wanted:
            return middle
        if reach > wanted:
            least = np.int64(middle)
        else:
            most = np.int64(middle) - 1
    return np.int32(least)


@helper
def _sort(keys: Any) -> None:
    """Ascending; of a few distinct numbers the place of each is how many are lower, which is told without a guess."""
    for at in range(1, len(keys)):
        if keys[at] < keys[at - 1]:
            break
    else:
        return  # what training put in order
    if len(keys) > _FEW:
        keys.sort()
        return
    given = keys.copy()
    for at in range(len(given)):
        key, place = given[at], 0
        for other in range(len(given)):
            place += given[other] < key
        keys[place] = key


@helper
def _is_marked(marks: Any, item: Any) -> Any:
    """Whether a bit is set."""
    place = np.uint32(item)
    return marks[place >> np.uint32(6)] >> np.uint64(place & np.uint32(63)) & np.uint64(1)


@helper
def _mark(marks: Any, items: Any) -> None:
    """Set a bit for each of some items, among which may be some that are not known."""
    for item in items:
        if 0 <= item >> 6 < len(marks):
            marks[item >> 6] |= np.uint64(1) << np.uint64(item & 63)


@helper
def _unmark(marks: Any, items: Any) -> None:
    """Clear them, and whatever shares a word with them."""
    for item in items:
        if 0 <= item >> 6 < len(marks):
            marks[item >> 6] = 0


@helper
def _key(number: Any, item: Any) -> Any:
    """What ascends from the best on, ties by item."""
    return np.uint64(np.int64(0x7FFFFFFF) - np.int64(number)) << np.uint64(32) | np.uint64(np.uint32(item))


@helper
def _set_apart(items: Any, marked: Any, numbers: Any, apart: Any) -> int:
    """Fill the keys of what is marked and usable, which counts no more; returns how many they are."""
    many = 0
    for at in range(len(items)):
        if _is_marked(marked, items[at]) and numbers[at] != _NONE:
            apart[many], numbers[at] = _key(numbers[at], items[at]), _NONE
            many += 1
    return many


@helper
def _best(items: Any, scores: Any, marked: Any, count: int, top: Any, values: Any) -> int:
    """Fill in the `count` highest usable scores, best first, ties by item, and what is marked before the last of them.

    Returns how many there are. `marked`, a bit an item, is empty where nothing is.
    """
    size = len(items)
    numbers, keys, many, apart = np.empty(size, np.int32), np.empty(size + 1, np.uint64), 0, np.empty(0, np.uint64)
    usable, beside = _rising(scores, numbers), 0
    if len(marked):
        apart = np.empty(size, np.uint64)
        beside = _set_apart(items, marked, numbers, apart)
    least = _cut(numbers, size, count) if usable - beside > count else np.int32(_NONE + 1)
    for at in range(size):  # what does not reach it is written over by the next
        keys[many] = _key(numbers[at], items[at])
        many += numbers[at] >= least
    _sort(keys[:many])
    many = others = min(many, count)
    for at in range(beside):
        if others < count or (others and apart[at] < keys[others - 1]):
            keys[many] = apart[at]
            many += 1
    if many > others:
        _sort(keys[:many])
    told = values.view(np.int32)
    for at in range(many):
        top[at] = np.int32(keys[at] & _LOW)
        told[at] = _turned(np.int32(np.int64(0x7FFFFFFF) - np.int64(keys[at] >> np.uint64(32))))
    return many


@kernel("f4[1], i4[1], out i4[1], out f4[1]")
def best(scores: Any, items: Any, top: Any, values: Any) -> Any:
    """Fill `top` and `values` with the highest usable scores, best first, ties by item; returns how many there are."""
    return _best(items, scores, np.empty(0, np.uint64), len(top), top, values)


@helper
def _united(blocks: Any, marks: Any, slot: Any, merged: Any) -> int:
    """Fill the marked items, ascending, and the place of each among them; returns how many there are.

    A bit of `blocks` stands for a word of marks that is not 0: most are, and are not looked at.
    """
    count = 0
    for block in range(len(blocks)):  # from the lowest bit on: quicker than to sort the items
        words = blocks[block]
        while words:
            word = 64 * block + np.int64(trailing_zeros(words))
            words &= words - np.uint64(1)
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
def _grouped(gone: Any, why: Any, leave: int, counts: Any) -> None:
    """Put what leaves in the order of its filters, and of its items, and count it by filter."""
    keys = np.empty(leave, np.uint64)
    for at in range(leave):
        keys[at] = np.uint64(why[at]) << np.uint64(32) | np.uint64(gone[at])
        counts[why[at]] += 1
    _sort(keys)
    for at in range(leave):
        gone[at] = np.int32(keys[at] & _LOW)


@helper
def _rounds(top: Any, lengths: Any, most: int, blocks: Any, marks: Any, heard: Any) -> Any:
    """Mark the items that the rounds over the sources' lists come to, and fill how far each list is heard.

    They end where one item more than `most` would come in; 0: there is no end.
    """
    count, heard[:] = 0, lengths
    for turn in range(top.shape[1]):
        for source in range(len(lengths)):
            if turn >= lengths[source]:
                continue
            item = np.uint32(top[source, turn])
            word, bit = item >> np.uint32(6), np.uint64(1) << np.uint64(item & np.uint32(63))
            if marks[word] & bit:
                continue
            if most and count == most:
                for other in range(len(lengths)):
                    heard[other] = min(lengths[other], turn + (other < source))
                return
            marks[word] |= bit
            blocks[word >> np.uint32(6)] |= np.uint64(1) << np.uint64(word & np.uint32(63))
            count += 1


@helper
def _noted(top: Any, values: Any, heard: Any, slot: Any, said: Any, ranks: Any) -> None:
    """Fill for the items that stay what was heard of them, and in which place."""
    said[:, :], ranks[:, :] = np.nan, np.nan
    for source in range(len(heard)):
        for at in range(heard[source]):
            row = slot[top[source, at]]
            said[row, source], ranks[row, source] = values[source, at], at


@helper
def _thought(items: Any, scores: Any, marks: Any, slot: Any, column: int, opinions: Any) -> None:
    """Fill a column with what a source has said of the marked items."""
    for at in range(len(items)):
        if _is_marked(marks, items[at]) and np.isfinite(scores[at]):
            opinions[slot[items[at]], column] = scores[at]


@helper
def _ascends(items: Any) -> Any:
    """Whether each of some items stands behind all before it."""
    wrong = np.int32(0)
    for at in range(len(items) - 1):
        wrong = np.int32(wrong + np.int32(items[at] >= items[at + 1]))
    return wrong == 0


@helper
def _looked_up(items: Any, scores: Any, merged: Any, column: int, opinions: Any) -> None:
    """The same for few items of a source that knows thousands, in the order of their rows."""
    begin = np.uint64(0)
    for row in range(len(merged)):
        many = np.uint64(len(items)) - begin
        while many > 1:
            half = many >> np.uint64(1)
            begin += half if items[begin + half] <= merged[row] else np.uint64(0)
            many -= half
        if items[begin] == merged[row] and np.isfinite(scores[begin]):
            opinions[row, column] = scores[begin]


@kernel(
    "16 i4[1], 16 f4[1], i8, i8, i8, i4[1], b1, u1[1], b1[1], i4[1], i4[1], b1, out i4[1], out u8[1], out u8[1], "
    "out i4[1], out f4[3], out i4[1]"
)
def unite(
    items: Any, scores: Any, sources: int, count: int, most: int, bought: Any, only_new: bool, away: Any, buried: Any,
    category: Any, barred: Any, only_stock: bool, slot: Any, marks: Any, marked: Any, merged: Any, told: Any, gone: Any,
) -> Any:  # fmt: skip
    """Merge the best of several sources, without what a common filter takes out.

    Of each source these are the items and scores among which its best are, in any order. Each proposes `count` beside
    what is bought, which leaves as well where `only_new` is said, and of what is left of that the rounds of
    `serving.union` take `most`. Fills `merged` with the items that stay, ascending, and by row and source: `told[0]`
    with the score of what it proposes, `told[1]` with what it said of the item whether it proposes it or not, `told[2]`
    with the place of what it proposes; NaN where there is none. Fills `gone` with what leaves, in the order of the
    filters and of the items. `slot` holds anything; `marks` and `marked`, a bit an item, are 0 and left so.

    Returns how many stay, and how many each of the filters took out.
    """
    size, leave, minded = count + len(bought), 0, _ALL if only_stock else _BUT_STOCK
    blocks = np.zeros(len(marks) // 64 + 1, np.uint64)
    top, values = np.empty((sources, size), np.int32), np.empty((sources, size), np.float32)
    lengths, heard, counts = np.empty(sources, np.int64), np.empty(sources, np.int64), np.zeros(_REASONS, np.int64)
    why, own = np.empty(sources * size, np.int8), marked if len(bought) else marked[:0]
    _mark(marked, bought)
    for source in range(sources):
        many, stay = _best(items[source], scores[source], own, count, top[source], values[source]), 0
        for at in range(many):
            item = top[source, at]
            # As in `sift`: in a helper, which would be given four arrays an item, this took five times as long.
            out: Any = np.int64(away[item]) & minded
            if len(buried) and buried[item]:
                out |= _BURIED
            if out == 0 and len(barred) and _is_barred(category[item], barred):
                out = _BARRED
            if out == 0 and only_new and _is_marked(marked, item):
                out = _BOUGHT
            if out == 0:
                top[source, stay], values[source, stay] = item, values[source, at]
                stay += 1
            elif not _is_marked(marks, item):
                marks[item >> 6] |= np.uint64(1) << np.uint64(item & 63)
                gone[leave], why[leave] = item, trailing_zeros(out)
                leave += 1
        lengths[source] = stay
    _unmark(marked, bought)
    _unmark(marks, gone[:leave])
    _grouped(gone, why, leave, counts)
    _rounds(top, lengths, most, blocks, marks, heard)
    found = _united(blocks, marks, slot, merged)
    _noted(top, values, heard, slot, told[0, :found], told[2, :found])
    told[1, :found] = np.nan
    for source in range(sources):
        if len(items[source]) > _MANY * found and _ascends(items[source]):
            _looked_up(items[source], scores[source], merged[:found], source, told[1])
        else:
            _thought(items[source], scores[source], marks, slot, source, told[1])
    _unmark(marks, merged[:found])
    return found, counts[0], counts[1], counts[2], counts[3], counts[4], counts[5], counts[6]


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


@kernel("f4[1], i4[1], i8, out f4[2]")
def read_off(said: Any, wanted: Any, column: int, out: Any) -> None:
    """Fill a column with what stands for each item; NaN where nothing can, beyond the last of them."""
    for row in range(len(wanted)):
        out[row, column] = said[wanted[row]] if 0 <= wanted[row] < len(said) else np.float32(np.nan)


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
