"""Vectors of items: the best inner products with one, and which past item is nearest."""

from __future__ import annotations

from typing import Any

import numpy as np

from features.compiled import helper, kernel, sums_in_any_order

NO_SCORE = np.float32(-1e30)
"""As of `serving.candidates_kernel`; all constants stand here: see `features.compiled`."""
STEPS = 1024
FEW = 300
"""As many numbers are sorted by counting as soon as by splitting them."""
SEEN = np.int32(-(2**31))
"""Lower than what stands for any score."""
LOW = np.uint64(0xFFFFFFFF)


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
def _coded_product(codes: Any, row: int, vector: Any) -> Any:
    """The same of a vector of whole numbers."""
    total = np.float32(0)
    for place in range(len(vector)):
        total += np.float32(codes[row, place]) * vector[place]
    return total


@helper
def _turned(bits: Any) -> Any:
    """The bits of a score as a whole number that rises with it; and back."""
    return np.int32(bits ^ (bits >> np.int32(31) & np.int32(0x7FFFFFFF)))


@helper
def _rising(score: Any, bits: Any) -> Any:
    """A whole number that rises with the score whose bits are given; both zeros are one."""
    return np.int32(0) if score == 0 else _turned(bits)


@helper
def _usable(score: Any) -> Any:
    return score > NO_SCORE and score < np.inf


@helper
def _key(score: Any, bits: Any, item: Any) -> Any:
    """A number by which the highest score comes first, ties by item."""
    return np.uint64(np.int64(0x7FFFFFFF) - _rising(score, bits)) << np.uint64(32) | np.uint64(item)


@helper
def _sort(keys: Any) -> None:
    """Ascending: of a few distinct numbers the place of each is how many are lower, which is told without a guess."""
    if len(keys) > FEW:
        keys.sort()
        return
    given = keys.copy()
    for key in given:
        place = 0
        for other in given:
            place += other < key
        keys[place] = key


@helper
def _highest(numbers: Any) -> int:
    """Where the highest is, the first of several."""
    most = numbers[0]
    for number in numbers:
        most = max(most, number)
    at = 0
    while numbers[at] != most:
        at += 1
    return at


@helper
def _look(
    centres: Any, starts: Any, items: Any, codes: Any, scales: Any, vector: Any, wanted: int, found: Any, scores: Any
) -> int:  # fmt: skip
    """Fill the items of the groups whose centres point where the vector does, until `wanted` were seen.

    Scores are their inner products, as exact as codes are. Returns how many items there are.
    """
    said, order, count = np.empty(len(centres), np.float32), np.empty(len(centres), np.int32), 0
    bits = said.view(np.int32)
    for group in range(len(centres)):
        said[group] = _product(centres, group, vector)
        order[group] = _rising(said[group], bits[group])
    for _ in range(len(centres)):
        if count >= wanted:
            break
        group = _highest(order)  # few groups are looked at: quicker than to sort them all
        if order[group] == SEEN:
            break
        order[group] = SEEN
        for row in range(starts[group], starts[group + 1]):
            found[count], scores[count] = items[row], _coded_product(codes, row, vector) * scales[row]
            count += 1
    return count


@helper
def _leave_usable(items: Any, scores: Any, count: int) -> Any:
    """Move what is usable to the front; returns how many there are, and the lowest and highest score."""
    usable, low, high = 0, np.float32(np.inf), np.float32(-np.inf)
    for at in range(count):
        score = scores[at]
        if _usable(score):
            items[usable], scores[usable] = items[at], score
            usable, low, high = usable + 1, min(low, score), max(high, score)
    return usable, low, high


@helper
def _leave_foremost(items: Any, scores: Any, count: int, wanted: int) -> int:
    """Move the items of the `wanted` highest usable scores, ties by item, to the front; returns how many there are.

    Scores are counted by steps of equal height, which tells the step at which enough are reached: only there it is
    looked at who is before whom.
    """
    count, low, high = _leave_usable(items, scores, count)
    if count <= wanted:
        return count
    steps, sizes, bits = np.empty(count, np.int32), np.zeros(STEPS, np.int32), scores.view(np.int32)
    scale = np.float32(STEPS - 1) / (high - low)  # which is finite: nothing usable is as low as the highest is high
    scale = scale if scale < np.inf else np.float32(0)  # all alike: one step
    for at in range(count):
        steps[at] = np.int32((scores[at] - low) * scale)
    for at in range(count):
        sizes[np.uint32(steps[at])] += 1
    cut, above = STEPS - 1, 0
    while above + sizes[cut] < wanted:
        above, cut = above + sizes[cut], cut - 1
    keys, front, level = np.empty(sizes[cut], np.uint64), 0, 0
    for at in range(count):
        if steps[at] > cut:
            items[front] = items[at]
            front += 1
        elif steps[at] == cut:
            keys[level] = _key(scores[at], bits[at], items[at])
            level += 1
    _sort(keys)
    for at in range(front, wanted):
        items[at] = np.int32(keys[at - front] & LOW)
    return wanted


@helper
def _order(items: Any, scores: Any, count: int, top: Any, values: Any) -> Any:
    """Fill `top` and `values` with the highest usable scores, best first, ties by item; returns how many there are."""
    keys, bits, told, usable = np.empty(count, np.uint64), scores.view(np.int32), values.view(np.int32), 0
    for at in range(count):
        if _usable(scores[at]):
            keys[usable] = _key(scores[at], bits[at], items[at])
            usable += 1
    _sort(keys[:usable])
    usable = min(usable, len(top))
    for at in range(usable):
        top[at] = np.int32(keys[at] & LOW)
        told[at] = _turned(np.int32(np.int64(0x7FFFFFFF) - np.int64(keys[at] >> np.uint64(32))))
    return usable


@kernel("f4[2], i8[1], i4[1], i1[2], f4[1], f4[2], f4[1], i8, i8, out i4[1], out f4[1], out i4[1], out f4[1]")
def search(
    centres: Any, starts: Any, items: Any, codes: Any, scales: Any, vectors: Any, vector: Any, wanted: int, near: int,
    found: Any, scores: Any, top: Any, values: Any,
) -> Any:  # fmt: skip
    """`Index.best`: look at `wanted` items by their codes, and at `near` of those by their vectors.

    Fills `top` and `values` with the highest inner products, best first, ties by item; returns how many there are.
    `found` and `scores` have room for all items, and hold anything.
    """
    count = _look(centres, starts, items, codes, scales, vector, wanted, found, scores)
    count = _leave_foremost(found, scores, count, near)
    for row in range(count):
        scores[row] = _product(vectors, found[row], vector)
    return _order(found, scores, count, top, values)


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
