"""Vectors of items: the best inner products with one, and which past item is nearest."""

from __future__ import annotations

from typing import Any

import numpy as np

from features.compiled import add_up, ask_ahead, helper, kernel, sums_in_any_order

NO_SCORE = np.float32(-1e30)
"""As of `serving.candidates_kernel`; all constants stand here: see `features.compiled`."""
SEEN = np.int32(-(2**31))
"""Lower than what stands for any score."""
LAST = 2**31 - 1
LANES, LANES_CODE = 32, "3cee0df78b2b"
"""As of `features.lanes`, and a digest of its file. What numba kept of kernels is true as long as this file is: whoever
changes that one has to change this one, and a test says so."""
_LINE = 16
"""So many numbers of single precision the memory fetches at once."""
_STRETCH = 256
"""So many vectors are looked at before it is asked which of them, and how far to go."""
_FIRST = 300
"""At so many of those that may be among the best it is asked for the first time what each has to reach."""
_STEPS, _TINY = 32_767, float(np.finfo(np.float32).tiny) * 32_767
_SLACK = np.float32(0.5001)
"""Half, and a little for what single precision rounds off."""


@sums_in_any_order
def _product(vectors: Any, row: int, vector: Any) -> Any:
    """Inner product; of a place in an array, for a slice costs more than the sum."""
    total = np.float32(0)
    for place in range(len(vector)):
        total += vectors[row, place] * vector[place]
    return total


@kernel("f4[2], i4[1], f4[1], i8, out f4[2]")
def products(vectors: Any, items: Any, vector: Any, column: int, out: Any) -> None:
    """Fill a column with the inner products of some vectors with one."""
    for row in range(len(items)):
        out[row, column] = _product(vectors, items[row], vector)


@sums_in_any_order
def _say(codes: Any, scales: Any, begin: int, end: int, vector: Any, scores: Any) -> None:
    """Fill the inner products of the vectors of a group with one, as exact as codes are."""
    first, places = np.uint64(begin), np.uint64(len(vector))  # nothing below 0: no place is counted from the end
    for row in range(np.uint64(end - begin)):
        total = np.float32(0)
        for place in range(places):
            total += np.float32(codes[first + row, place]) * vector[place]
        scores[row] = total * scales[first + row]


@helper
def _turned(score: Any, bits: Any) -> Any:
    """A whole number that rises with the score whose bits are given; both zeros are one."""
    return np.int32(0) if score == 0 else np.int32(bits ^ (bits >> np.int32(31) & np.int32(0x7FFFFFFF)))


@helper
def _rising(scores: Any, numbers: Any) -> None:
    """Fill a whole number that rises with each score; `SEEN` where that is of no use."""
    bits = scores.view(np.int32)
    for at in range(len(scores)):
        right = scores[at] > NO_SCORE and scores[at] < np.inf
        numbers[at] = _turned(scores[at], bits[at]) if right else SEEN


@helper
def _cut(numbers: Any, wanted: int, spare: int = 0) -> Any:
    """A number that at least `wanted` of some reach, and no more than `spare` others, unless they are equal."""
    low, high = numbers[0], numbers[0]
    for at in range(len(numbers)):
        low, high = min(low, numbers[at]), max(high, numbers[at])
    least, most = np.int64(low), np.int64(high)
    while least < most:
        middle, reach = np.int32((least + most + 1) >> 1), np.int32(0)
        for at in range(len(numbers)):
            reach = np.int32(reach + np.int32(numbers[at] >= middle))
        if reach < wanted:
            most = np.int64(middle) - 1
        else:
            least = np.int64(middle)
            if reach <= wanted + spare:
                break
    return np.int32(least)


@helper
def _highest(numbers: Any) -> int:
    """Where the highest is, the first of several."""
    most = numbers[0]
    for at in range(len(numbers)):
        most = max(most, numbers[at])
    at = 0
    while numbers[at] != most:
        at += 1
    return at


@helper
def _look(
    centres: Any, starts: Any, items: Any, codes: Any, scales: Any, vector: Any, looks: int, found: Any, scores: Any,
    numbers: Any,
) -> int:  # fmt: skip
    """Fill the items of the groups whose centres point where the vector does, until `looks` were looked at.

    Numbers stand for their inner products, as exact as codes are. Returns how many items there are.
    """
    said, order, count = np.empty(len(centres), np.float32), np.empty(len(centres), np.int32), 0
    bits = said.view(np.int32)
    for group in range(len(centres)):
        said[group] = _product(centres, group, vector)
        order[group] = _turned(said[group], bits[group])
    for _ in range(len(centres)):
        if count >= looks:
            break
        group = _highest(order)  # few groups are looked at: quicker than to sort them all
        if order[group] == SEEN:
            break
        order[group] = SEEN
        begin, end = starts[group], starts[group + 1]
        _say(codes, scales, begin, end, vector, scores[count:])
        found[count : count + end - begin] = items[begin:end]
        count += end - begin
    _rising(scores[:count], numbers[:count])
    return count


@helper
def _steps(vector: Any, steps: Any) -> Any:
    """Fill whole numbers that stand for a vector, 0 behind it; returns what each of them is of it.

    That is no number where the vector has places that are none.
    """
    most, wrong = np.float32(_TINY), np.float32(0)
    for place in range(len(vector)):
        most = max(most, abs(vector[place]))
        wrong += vector[place] * np.float32(0)
    step = most / np.float32(min(_STEPS, LAST // (127 * max(len(vector), 1))))  # sums have to stay within 32 bits
    steps[len(vector) :] = 0
    for place in range(len(vector)):
        steps[place] = np.int16(np.rint(vector[place] / step))
    return step + wrong


@helper
def _sums(codes: Any, begin: int, many: int, steps: Any, sums: Any) -> None:
    """Fill the inner products of some rows, from the first of a block on, with one."""
    for at in range(0, many, LANES):
        add_up(codes, (begin + at) // LANES, steps, sums, at)


@helper
def _look_down(
    items: Any, codes: Any, scales: Any, lengths: Any, vector: Any, wanted: int, found: Any, numbers: Any
) -> int:  # fmt: skip
    """Fill the items of the only group that can be among its `wanted` best, and what stands for their products.

    Returns how many there are.

    After the first few hundred hardly any gets that far, so a stretch is compared as a whole and most are left at that.
    Where they descend by length, no product is larger than that of both lengths (a hundredth is added for what codes
    are off): it ends where no later one can be among the best.
    """
    scores, sums = np.empty(_STRETCH, np.float32), np.empty(_STRETCH, np.int32)
    begin, count, full, least, low = 0, 0, max(2 * wanted, _FIRST), np.int32(SEEN + 1), np.float32(-np.inf)
    reach, size, steps = np.empty(1, np.float32), 0.0, np.empty(2 * codes.shape[1], np.int16)
    bits, said, step = reach.view(np.int32), scores.view(np.int32), _steps(vector, steps)
    for place in range(len(vector)):  # of single precision the square of a short one would be 0
        size += np.float64(vector[place]) * np.float64(vector[place])
    size = 1.01 * np.sqrt(size)
    while begin < len(items):
        if len(lengths):
            reach[0] = np.float32(size * lengths[begin])
            if _turned(reach[0], bits[0]) < least:
                break
        many, some = min(_STRETCH, len(items) - begin), np.int32(0)
        _sums(codes, begin, many, steps, sums)
        for at in range(many):
            scores[at] = np.float32(sums[at]) * scales[begin + at] * step
            some = np.int32(some + np.int32(scores[at] >= low))
        if some:
            for at in range(many):
                if scores[at] >= low and NO_SCORE < scores[at] < np.inf:
                    found[count], numbers[count] = items[begin + at], _turned(scores[at], said[at])
                    count += 1
            if count >= full:
                least = _cut(numbers[:count], wanted)
                bits[0] = least ^ (least >> np.int32(31) & np.int32(0x7FFFFFFF))
                low = reach[0]  # the score that it stands for
                count = _kept(found, numbers, count, least)
                full = max(2 * count, _FIRST)
        begin += many
    return count


@helper
def _kept(items: Any, numbers: Any, count: int, least: Any) -> int:
    """Leave out what does not reach it; returns how many stay."""
    stay = 0
    for at in range(count):
        items[stay], numbers[stay] = items[at], numbers[at]
        stay += numbers[at] >= least
    return stay


@helper
def _foremost(items: Any, numbers: Any, wanted: int, top: Any) -> int:
    """Fill the items of the `wanted` highest numbers that are of use, ties by item; returns how many there are."""
    many, places, stay = 0, np.empty(len(items) + 1, np.int32), 0
    least = np.int32(SEEN + 1)
    if len(items) > wanted:
        least = max(least, _cut(numbers, wanted))
    for at in range(len(items)):  # what does not reach it is written over by the next
        places[many] = at
        many += numbers[at] >= least
    last = _last(items, numbers, places[:many], least, wanted)
    for at in range(many):
        item = items[places[at]]
        if numbers[places[at]] > least or item <= last:
            top[stay] = item
            stay += 1
    return stay


@helper
def _last(items: Any, numbers: Any, places: Any, least: Any, wanted: int) -> int:
    """Up to which item those stay that just reach it, if no more than `wanted` stay."""
    if len(places) <= wanted:
        return LAST
    level, many = np.empty(len(places) + 1, np.int32), 0
    for at in range(len(places)):
        level[many] = items[places[at]]
        many += numbers[places[at]] == least
    level[:many].sort()
    stay = many - (len(places) - wanted)
    return int(level[stay - 1]) if stay else -1


@kernel("f4[2], i8[1], i4[1], i1[2], f4[1], f4[2], f4[1], i8, out i4[1], out f4[1], out i4[1], out i4[1], out f4[1]")
def search(
    centres: Any, starts: Any, items: Any, codes: Any, scales: Any, vectors: Any, vector: Any, looks: int, found: Any,
    scores: Any, numbers: Any, top: Any, values: Any,
) -> Any:  # fmt: skip
    """`Index.near` of groups: look at `looks` items by their codes, and at the best of those by their vectors.

    Fills `top` with as many items as there is room for, in any order, and `values` with their inner products; returns
    how many there are. `found`, `scores` and `numbers` have room for all items, and hold anything.
    """
    count = _look(centres, starts, items, codes, scales, vector, looks, found, scores, numbers)
    return _asked(found[:count], numbers[:count], vectors, vector, top, values)


@kernel("i4[1], i1[4], f4[1], f4[1], f4[2], f4[1], out i4[1], out i4[1], out i4[1], out f4[1]")
def search_down(
    items: Any, codes: Any, scales: Any, lengths: Any, vectors: Any, vector: Any, found: Any, numbers: Any, top: Any,
    values: Any,
) -> Any:  # fmt: skip
    """`Index.near` of a single group, whose codes stand side by side (`features.lanes`): all of it is looked at.

    With `lengths`, by which the items descend, it is as many as can be among the best. The vector becomes whole numbers
    of 16 bits: where one of its places is ten thousand times the others, what those say is lost. The rest is as of
    `search`.
    """
    count = _look_down(items, codes, scales, lengths, vector, len(top), found, numbers)
    return _asked(found[:count], numbers[:count], vectors, vector, top, values)


@helper
def _asked(found: Any, numbers: Any, vectors: Any, vector: Any, top: Any, values: Any) -> Any:
    """Fill the best of what was found, as many as there is room for, and their products; returns how many they are."""
    count = _foremost(found, numbers, len(top), top)
    for row in range(count):
        for place in range(0, vectors.shape[1], _LINE):
            ask_ahead(vectors[top[row]], place)
    for row in range(count):
        values[row] = _product(vectors, top[row], vector)
    return count


@sums_in_any_order
def _bounds(codes: Any, scales: Any, sizes: Any, vector: Any, low: Any, high: Any) -> None:
    """Fill what each inner product is at least, and at most."""
    steps, lengths, begin = np.empty(2 * codes.shape[1], np.int16), np.float32(0), 0
    step, sums = _steps(vector, steps), np.empty(_STRETCH, np.int32)
    for place in range(len(steps)):
        lengths += abs(np.float32(steps[place]))
    while begin < len(scales):
        many = min(_STRETCH, len(scales) - begin)
        _sums(codes, begin, many, steps, sums)
        for at in range(many):
            said = np.float32(sums[at]) * scales[begin + at] * step
            off = _SLACK * step * (sizes[begin + at] + scales[begin + at] * lengths)
            low[begin + at], high[begin + at] = said - off, said + off
        begin += many


@kernel("i4[1], f4[2], i1[4], f4[1], f4[1], f4[1], i8, i8, out i4[1], out f4[1]")
def scan(
    items: Any, vectors: Any, codes: Any, scales: Any, sizes: Any, vector: Any, wanted: int, spare: int, top: Any,
    values: Any,
) -> int:  # fmt: skip
    """`Scan.near`: fill the items that could be among the `wanted` best, and their inner products; returns how many.

    A vector is its code times its scale, but for half a scale in each place, and the one that is asked about becomes
    whole numbers likewise. By how much their product can differ follows from that: `sizes` are sums of absolute values.
    Codes stand side by side (`features.lanes`).
    `top` has room for one more than there are items.
    """
    count, stay = len(items), 0
    low, high = np.empty(count, np.float32), np.empty(count, np.float32)
    numbers, bits = np.empty(count, np.int32), low.view(np.int32)
    _bounds(codes, scales, sizes, vector, low, high)
    for row in range(count):
        numbers[row] = _turned(low[row], bits[row])
    least, bits = np.int32(SEEN) if count <= wanted else _cut(numbers, wanted, spare), high.view(np.int32)
    for row in range(count):
        numbers[row] = _turned(high[row], bits[row])
    for row in range(np.uint64(count)):  # what does not reach it is written over by the next
        top[stay] = row
        stay += numbers[row] >= least
    for at in range(stay):
        row = top[at]
        top[at], values[at] = items[row], _product(vectors, row, vector)
    return stay


@kernel("i4[1], f4[2], i4[1], out i4[1]")
def nearest(past: Any, vectors: Any, items: Any, causes: Any) -> None:
    """Fill in for each item the past one, but itself, whose vector points most where its own does; else -1."""
    size = np.empty(len(past), np.float32)
    for at in range(len(past)):
        size[at] = np.sqrt(_product(vectors, past[at], vectors[past[at]])) + np.float32(1e-12)
    for row in range(len(items)):
        most, causes[row] = np.float32(-np.inf), -1
        mine = vectors[items[row]]
        for at in range(len(past)):
            if past[at] != items[row]:
                said = _product(vectors, past[at], mine) / size[at]
                if said > most:
                    most, causes[row] = said, past[at]
