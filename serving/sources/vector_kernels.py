"""Vectors of items: the best inner products with one, and which past item is nearest."""

from __future__ import annotations

from typing import Any

import numpy as np

from features.compiled import add_up, ask_ahead, helper, kernel, reaching, sums_in_any_order, trailing_zeros

NO_SCORE = np.float32(-1e30)
"""As of `serving.candidates_kernel`; all constants stand here: see `features.compiled`."""
SEEN = np.int32(-(2**31))
"""Lower than what stands for any score."""
LANES, LANES_CODE = 32, "c9e2bb20d2f2"
"""As of `features.lanes`, and a digest of its file. What numba kept of kernels is true as long as this file is: whoever
changes that one has to change this one, and a test says so."""
_LINE = 16
"""So many numbers of single precision the memory fetches at once."""
MARK = 8
"""After so many pairs of places it is asked whether any item of a block can still be among the best (`index.marks`)."""
PAIR = 2 * LANES
"""Bytes of a pair of places of a block."""
STRETCH = 16
"""So many blocks of a group are read side by side."""
_SPARE = 8
"""One in so many more may be asked for its whole vector: a threshold that is nearly right is found in half the time."""
_MORE = 25
"""At so many more than are wanted that may be among the best it is asked what each has to reach, and at so many more
again (a quarter, where many are equal): as long as that is low, groups are read that need not be."""
_STEPS, _SUM, _CODE = 32_767, 2**31 - 1, 127
"""The largest number of the vector, of a sum, and of a code."""
_LOWEST = float(SEEN)
LARGEST = 1e15
"""Longer vectors are not looked for: what their products are would be no number, or one that says `NO_SCORE`."""
_HALF = 0.5001
"""Half a step, and a little for what is rounded off."""
_ROUNDED = 1e-5
"""As a share of both lengths: by how much sums of single precision can be off."""


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


@helper
def _turned(score: Any, bits: Any) -> Any:
    """A whole number that rises with the score whose bits are given; both zeros are one."""
    return np.int32(0) if score == 0 else np.int32(bits ^ (bits >> np.int32(31) & np.int32(0x7FFFFFFF)))


@helper
def _cut(numbers: Any, wanted: int, spare: int) -> Any:
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
def _asked(turned: Any, spread: Any, steps: Any, tails: Any, sizes: Any) -> Any:
    """Fill whole numbers that stand for a vector, and what bounds its products; returns what one step is of it.

    `tails` are the lengths of what is left of it behind each mark, `sizes` what half a step of codes is multiplied by
    up to the next one.
    """
    most = 1e-300
    for place in range(len(turned)):
        most = max(most, abs(turned[place] * spread[place]))
    step = most / min(_STEPS, _SUM // (_CODE * len(turned)))  # sums have to stay within 32 bits
    tails[:], sizes[:], steps[len(turned) :] = 0, 0, 0
    for place in range(len(turned)):
        scaled = turned[place] * spread[place]
        steps[place] = np.int16(np.rint(scaled / step))
        for at in range(len(tails)):
            if place >= 2 * MARK * at:
                tails[at] += turned[place] ** 2
            if at + 1 == len(tails) or place < 2 * MARK * (at + 1):
                sizes[at] += _HALF * (abs(scaled) + _CODE * step)  # its own step is half one off, times a code
    for at in range(len(tails)):
        tails[at] = np.sqrt(tails[at]) * (1 + _ROUNDED)
    return step


@helper
def _reaching(
    codes: Any, rest: Any, most_of: Any, steps: Any, step: float, tails: Any, sizes: Any, low: float, begin: int,
    many: int, alive: Any, sums: Any,
) -> int:  # fmt: skip
    """Fill which of `many` blocks from one on have an item that can reach what is asked, and the sums of all of them.

    Mark by mark, of all of them: what comes next of one is fetched while it is the others' turn. Returns how many.
    """
    left, pairs, blocks, scale = 0, len(steps) // 2, len(rest), len(tails)
    for at in range(many):
        alive[left], block = at, begin + at  # the first blocks are those of all groups, one each
        left += rest[block, 0] * tails[0] >= low and (block >= len(most_of) or most_of[block] >= low)
        for lane in range(LANES):
            sums[at, lane] = 0
    for mark in range(len(tails)):
        first, stay = MARK * mark, 0
        last = first + MARK if mark + 1 < len(tails) else pairs
        after = last + MARK if mark + 2 < len(tails) else pairs
        for place in range(left):
            at = alive[place]
            block = begin + at
            stands = PAIR * (blocks * first + block * (last - first))
            most = add_up(codes, stands, last - first, steps, first, sums, at)
            more = rest[block, mark + 1] * tails[mark + 1] if mark + 1 < len(tails) else 0.0
            off = rest[block, scale] * sizes[mark] + _ROUNDED * rest[block, 0] * tails[0]
            alive[stay] = at
            stay += most * rest[block, scale] * step + off + more >= low
        for place in range(stay):
            block = begin + alive[place]
            for line in range(after - last):
                ask_ahead(codes, PAIR * (blocks * last + block * (after - last) + line))
        left = stay
    return left


@helper
def _is_marked(marks: Any, item: Any) -> Any:
    """Whether the bit of an item is set."""
    place = np.uint32(item)
    return marks[place >> np.uint32(6)] >> np.uint64(place & np.uint32(63)) & np.uint64(1)


@helper
def _take(
    items: Any, scale: float, off: float, low: float, block: int, sums: Any, at: int, marks: Any, said: Any, bits: Any,
    found: Any, count: int,
) -> int:  # fmt: skip
    """Fill the items of a block that can reach what is asked behind the `count` that are there; returns their number.

    Args:
        scale: what one step of a sum is.
        off: by how much a product may be off.
        sums, at: of all blocks, and which row is this one's.
        marks: of what counts for nothing: it is taken, and raises nothing; empty where there is none.
        said, bits: two numbers of single precision, and the same as whole ones.
        found: as of `search`.
    """
    left = reaching(sums, at, np.int32(max((low - off) / scale, _LOWEST)))  # cut off: one too many at most
    while left:
        lane = np.int64(trailing_zeros(left))
        left &= left - np.uint32(1)
        item, product = items[LANES * block + lane], sums[at, lane] * scale
        if item >= 0:
            said[0], said[1] = product - off, product + off
            counts = len(marks) == 0 or not _is_marked(marks, item)
            found[0, count], found[1, count] = item, _turned(said[0], bits[0]) if counts else SEEN
            found[2, count] = _turned(said[1], bits[1])
            count += 1
    return count


@helper
def _look(
    axes: Any, reach: Any, starts: Any, items: Any, codes: Any, rest: Any, vector: Any, wanted: int, marks: Any,
    found: Any,
) -> int:  # fmt: skip
    """Fill the items that can be among the `wanted` best, and what their products are at least and at most.

    No item of a group says more than its centre and its reach from that can. The group of which that is most comes
    first, then the longest of each, then the other groups: so what is to be reached is high from the start, and it
    ends where no later group can reach it. In a group blocks descend by length, and it ends there likewise.
    """
    places, groups, stops = len(vector), len(starts) - 1, rest.shape[1] - 1
    turned, order, said = np.empty(places), np.empty(groups, np.int32), np.empty(2, np.float32)
    bits, low, count, full = said.view(np.int32), -np.inf, 0, wanted + _MORE
    steps, sums = np.empty(places + places % 2, np.int16), np.empty((STRETCH, LANES), np.int32)
    tails, sizes, alive = np.empty(stops), np.empty(stops), np.empty(STRETCH + 1, np.int64)
    for place in range(places):
        turned[place] = _product(axes, place, vector)
    step = _asked(turned, axes[places], steps, tails, sizes)
    most_of = np.empty(groups)
    for group in range(groups):
        most_of[group] = _product(axes, places + 1 + group, vector) + tails[0] * reach[group]
        said[0] = most_of[group]
        order[group] = _turned(said[0], bits[0])
    group = _highest(order)
    order[group], begin, end = SEEN, starts[group], starts[group + 1]
    for turn in range(groups + 1):
        while begin < end and rest[begin, 0] * tails[0] >= low:
            many = min(STRETCH, end - begin)
            left = _reaching(codes, rest, most_of, steps, step, tails, sizes, low, begin, many, alive, sums)
            for at in alive[:left]:
                block = begin + at
                off, scale = rest[block, stops] * sizes[-1] + _ROUNDED * rest[block, 0] * tails[0], rest[block, stops]
                count = _take(items, scale * step, off, low, block, sums, at, marks, said, bits, found, count)
            if count >= full:
                low, count = _raised(found, count, wanted)
                full = count + max(_MORE, count // 4)
            begin += many
        begin, end = 0, starts[0]
        if turn:
            group = _highest(order)
            if most_of[group] < low:
                break
            order[group], begin, end = SEEN, starts[group], starts[group + 1]
    return _raised(found, count, wanted)[1] if count > wanted else count


@helper
def _raised(found: Any, count: int, wanted: int) -> Any:
    """What `wanted` of some reach at least, and how many stay that can reach that: the others are left out."""
    low, least, stay = np.empty(1, np.float32), _cut(found[1, :count], wanted, wanted // _SPARE), 0
    if least == SEEN:  # too few of them count
        return -np.inf, count
    low.view(np.int32)[0] = least ^ (least >> np.int32(31) & np.int32(0x7FFFFFFF))  # what stands for that number
    for at in range(count):
        high = found[2, at]
        found[0, stay], found[1, stay], found[2, stay] = found[0, at], found[1, at], high
        stay += high >= least
    return np.float64(low[0]), stay


@kernel("f4[2], f4[1], i8[1], i4[1], i1[1], f4[2], f4[2], f4[1], i8, i4[1], out u8[1], out i4[2]")
def search(
    axes: Any, reach: Any, starts: Any, items: Any, codes: Any, rest: Any, vectors: Any, vector: Any, wanted: int,
    beside: Any, marks: Any, found: Any,
) -> Any:  # fmt: skip
    """`Index.near`: the items that can be among the `wanted` best, in any order, and their inner products.

    What is looked for has a length below `LARGEST`. `beside` are items that count for nothing. `marks`, a bit an item,
    is 0 and left so. `found` holds anything, and has room for three numbers of each item: which it is, and what stands
    for the least and the most that its product can be.
    """
    own = marks if len(beside) else marks[:0]
    for item in beside:
        if 0 <= item >> 6 < len(own):
            own[item >> 6] |= np.uint64(1) << np.uint64(item & 63)
    count = _look(axes, reach, starts, items, codes, rest, vector, wanted, own, found)
    for item in beside:
        if 0 <= item >> 6 < len(own):
            own[item >> 6] = 0
    top, values = found[0, :count].copy(), np.empty(count, np.float32)
    for at in range(count):
        for place in range(0, vectors.shape[1], _LINE):
            ask_ahead(vectors[top[at]], place)
    for at in range(count):
        values[at] = _product(vectors, top[at], vector)
    return top, values


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
