"""What sources add up for one request: neighbours of the past, purchases and their rhythm, wishes."""

from __future__ import annotations

from typing import Any

import numpy as np

from features.compiled import helper, kernel, trailing_zeros

DAY = 86_400_000_000
WISHLIST, WISHLIST_REMOVE, PURCHASE, RETURN = 5, 6, 7, 8
"""Codes of `EventType`. All constants stand here: see `features.compiled`."""


@kernel("i4[1], f4[1], i8[1], i4[1], f4[1], out f8[1], out u8[1], out i4[1], out f4[1]")
def neighbours(
    items: Any, given: Any, indptr: Any, indices: Any, weights: Any, sums: Any, marks: Any, found: Any, scores: Any
) -> int:  # fmt: skip
    """Add up what the neighbours of some items are given; fills the items, ascending, and returns how many there are.

    `sums` and `marks`, a bit an item, are 0 and are left so.
    """
    for at in range(len(items)):
        for edge in range(indptr[items[at]], indptr[items[at] + 1]):
            other = indices[edge]
            sums[other] += weights[edge] * given[at]
            marks[other >> 6] |= np.uint64(1) << np.uint64(other & 63)
    count = 0
    for word in range(len(marks)):
        left = marks[word]
        while left:
            other = 64 * word + np.int64(trailing_zeros(left))
            left &= left - np.uint64(1)
            score = np.float32(sums[other])
            sums[other] = 0
            if score != 0:
                found[count], scores[count] = other, score
                count += 1
        marks[word] = 0
    return count


@helper
def _kept(bought: float, back: float) -> float:
    """1 - returned pieces / bought pieces, from 0 to 1."""
    return min(max(1 - back / max(bought, 1e-9), 0.0), 1.0)


@kernel("i8[1], i4[1], i1[1], f4[1], i8, f8, f8, f8, f4[1], out i4[1], out f4[1]")
def frequency(
    time: Any, item: Any, kind: Any, quantity: Any, now: int, half_life: float, floor: float, popular_weight: float,
    popular: Any, found: Any, scores: Any,
) -> int:  # fmt: skip
    """`PersonalFrequency`: fills the items that were bought or brought back, ascending, and returns how many."""
    order, count, at = np.argsort(item, kind="mergesort"), 0, 0
    while at < len(order):
        which, weight, pieces, back, lines = item[order[at]], 0.0, 0.0, 0.0, 0
        while at < len(order) and item[order[at]] == which:
            event = order[at]
            if kind[event] == PURCHASE:
                weight += floor + np.exp2(-(now - time[event]) / half_life)
                pieces += quantity[event]
            back += quantity[event] if kind[event] == RETURN else 0.0
            lines += kind[event] == PURCHASE or kind[event] == RETURN
            at += 1
        if which < 0 or lines == 0:
            continue
        score = weight * _kept(pieces, back)
        if score > 0 and len(popular):
            score += popular_weight * popular[which]
        found[count], scores[count] = which, score if score > 0 else -np.inf
        count += 1
    return count


@helper
def _log(days: float) -> Any:
    return np.log(max(days, 1.0))


@helper
def _elapsed(days: float, median: float, spread: float) -> Any:
    """The share of intervals that are over by then, as `replenishment.elapsed`."""
    z = (np.log(max(days, 0.5)) - np.log(median)) / spread
    return 1 / (1 + np.exp(min(max(-np.pi / np.sqrt(3.0) * z, -700.0), 700.0)))


@helper
def _again(since: float, median: float, spread: float, repeat: float, kept: float, horizon: float) -> Any:
    """`Replenishment.opine`: the probability of a purchase within the horizon; -inf where there is none."""
    before, after = _elapsed(since, median, spread), _elapsed(since + horizon, median, spread)
    score = repeat * (after - before) / max(1 - repeat * before, 1e-9) * kept
    return score if score > 0 else -np.inf


@kernel("i8[1], i4[1], i1[1], f4[1], i8, f4[1], f4[1], f4[1], f8, f8, f8, out i4[1], out i8[1], out f8[2], out f4[1]")
def cycles(
    time: Any, item: Any, kind: Any, quantity: Any, now: int, log_days: Any, spreads: Any, repeats: Any, within: float,
    belief: float, horizon: float, found: Any, own: Any, out: Any, scores: Any,
) -> int:  # fmt: skip
    """`Cycles`: fills items, own intervals, by row of `out` since, median, spread and repeat, and the scores."""
    order, count, at = np.argsort(item, kind="mergesort"), 0, 0
    k = within / max(1 - within, 1e-6)
    while at < len(order):
        which, days, last, logs, pieces, back = item[order[at]], 0, -1, 0.0, 0.0, 0.0
        while at < len(order) and item[order[at]] == which:
            event = order[at]
            if kind[event] == RETURN:
                back += quantity[event]
            elif kind[event] == PURCHASE:
                day = time[event] // DAY
                if days == 0 or day != last:
                    logs += _log(float(day - last)) if days else 0.0
                    days, last = days + 1, day
                pieces += quantity[event]
            at += 1
        if which < 0 or days == 0:
            continue
        intervals = days - 1
        share = within + (1 - within) * k / (intervals + k)
        since, median = now / DAY - last, np.exp((logs + k * log_days[which]) / (intervals + k))
        spread = max(spreads[which] * np.sqrt(share), 0.05)
        repeat = (belief * repeats[which] + intervals) / (belief + intervals)
        found[count], own[count] = which, intervals
        out[0, count], out[1, count], out[2, count], out[3, count] = since, median, spread, repeat
        scores[count] = _again(since, median, spread, repeat, _kept(pieces, back), horizon)
        count += 1
    return count


@helper
def _cumulated(age: float, edges: Any, hazard: Any) -> float:
    """The hazard cumulated up to an age, as `wishlist.cumulated`."""
    total = 0.0
    for at in range(len(edges)):
        end = edges[at + 1] if at + 1 < len(edges) else np.inf
        total += (min(max(age, edges[at]), end) - edges[at]) * hazard[at]
    return total


@helper
def _listed_price(item: int, moment: int, starts: Any, since: Any, listed: Any) -> float:
    """The price that the shop listed at a moment; NaN where none is known."""
    found = np.nan
    for version in range(starts[item], starts[item + 1]):
        if since[version] <= moment:
            found = listed[version]
    return found


@helper
def _fallen(then: float, price: float) -> float:
    """By how much a price fell, as a share from 0 to 1."""
    drop = 1 - price / then if then > 0 else 0.0
    return min(max(drop, 0.0), 1.0) if np.isfinite(drop) else 0.0


@kernel(
    "i8[1], i4[1], i1[1], f4[1], f4[1], i8, f4[1], i8[1], i8[1], f4[1], f8[1], f8[1], f8, f8, f8, out i4[1], "
    "out i8[1], out f8[2], out f4[1]"
)
def wishes(
    time: Any, item: Any, kind: Any, quantity: Any, value: Any, now: int, prices: Any, starts: Any, since: Any,
    listed: Any, edges: Any, hazard: Any, horizon: float, gain: float, again: float, found: Any, removed: Any,
    told: Any, scores: Any,
) -> int:  # fmt: skip
    """`Wishlist`: fills items, how often each was taken off, age and drop by row of `told`, and the scores."""
    count, at = 0, 0
    if not (kind == WISHLIST).any():
        return 0
    order = np.argsort(item, kind="mergesort")
    while at < len(order):
        which, wish, gone = item[order[at]], -1, 0
        while at < len(order) and item[order[at]] == which:
            what = kind[order[at]]
            if what == WISHLIST:
                wish = order[at]
            elif what in (WISHLIST_REMOVE, PURCHASE):
                wish = -1
            gone += what == WISHLIST_REMOVE
            at += 1
        if which < 0 or wish < 0:
            continue
        then = value[wish] / max(float(quantity[wish]), 1e-9)
        if not np.isfinite(then):
            then = _listed_price(which, time[wish], starts, since, listed)
        age, drop = (now - time[wish]) / DAY, _fallen(then, prices[which])
        ahead = _cumulated(age + horizon, edges, hazard) - _cumulated(age, edges, hazard)
        found[count], removed[count], told[0, count], told[1, count] = which, gone, age, drop
        scores[count] = -np.expm1(-ahead * (1 + gain * drop) * again**gone)
        count += 1
    return count


@kernel("i8[1], i4[1], i1[1], b1[1], i8, out u8[1], out i4[1], out i8[1]")
def last_steps(
    time: Any, item: Any, kind: Any, follows: Any, last: int, marks: Any, items: Any, steps: Any
) -> int:  # fmt: skip
    """`Sequence`: fills the items of the last steps, ascending, and how many steps ago each came; returns their number.

    From the latest event on: where an item is met first it came last. `marks`, a bit an item, are 0 and left so.
    """
    keys, count, step, moment = np.empty(len(time), np.int64), 0, -1, np.int64(0)
    for at in range(len(time) - 1, -1, -1):
        which = item[at]
        if which < 0 or not follows[kind[at]] or marks[which >> 6] >> np.uint64(which & 63) & np.uint64(1):
            continue
        if step < 0 or time[at] != moment:
            step, moment = step + 1, time[at]
        if step == last:
            break
        marks[which >> 6] |= np.uint64(1) << np.uint64(which & 63)
        keys[count] = np.int64(which) << 32 | step
        count += 1
    keys = keys[:count]
    keys.sort()
    for at in range(count):
        items[at], steps[at] = keys[at] >> 32, keys[at] & 0xFFFFFFFF
        marks[items[at] >> 6] = 0
    return count


@helper
def _last(indices: Any, begin: int, end: int, item: int) -> Any:
    """The last place of an item among some that ascend; another one's, or `begin` where it is not among them."""
    low, many = np.uint64(begin), np.uint64(end - begin)
    while many > 1:
        half = many >> np.uint64(1)
        low += half if indices[low + half] <= item else np.uint64(0)
        many -= half
    return np.int64(low)


@kernel("i4[1], f4[1], i8[1], i4[1], f4[1], i4[1], out i4[1]")
def given_most(past: Any, given: Any, indptr: Any, indices: Any, weights: Any, items: Any, causes: Any) -> None:
    """Fill in for each item the past one that gives it the most weight, -1 where none does.

    Neighbours of an item ascend, and few items are asked about: each is looked up, and most neighbours are not read.
    """
    most = np.zeros(len(items), np.float32)
    causes[:] = -1
    for at in range(len(past)):
        begin, end = indptr[past[at]], indptr[past[at] + 1]
        for row in range(len(items)):
            place = _last(indices, begin, end, items[row])
            while begin <= place < end and indices[place] == items[row]:  # which may stand there twice
                if weights[place] * given[at] > most[row]:
                    most[row], causes[row] = weights[place] * given[at], past[at]
                place -= 1
