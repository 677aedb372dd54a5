"""What sources add up for one request: neighbours of the past, purchases and their rhythm, wishes."""

from __future__ import annotations

from typing import Any

import numpy as np

from features.compiled import ask_ahead, helper, kernel, trailing_zeros

DAY = 86_400_000_000
LINE = 8
"""Neighbours, with their weights, that the memory hands over at once."""
AHEAD = 64
"""Neighbours of each item that are asked for before it is their turn."""
STRETCH, STRETCHES = 11, 64
"""Neighbours are added up by stretches of two to the power of so many items, or by so many stretches where those are
longer: each is a look at every list."""
WISHLIST, WISHLIST_REMOVE, PURCHASE, RETURN = 5, 6, 7, 8
"""Codes of `EventType`."""
ITEM, TIME, TYPE, QUANTITY, VALUE = 0, 1, 2, 3, 4
"""Columns, as of `features.by_item`. All constants stand here: see `features.compiled`."""


def stretch(items: int) -> int:
    """How many items of a catalogue are added up at once: a power of two."""
    return 1 << max(STRETCH, ((items - 1) // STRETCHES).bit_length())


@helper
def _asked_ahead(edges: Any, begin: int, end: int) -> None:
    """Ask for some neighbours that come later."""
    for edge in range(begin, end, LINE):
        ask_ahead(edges, edge)


@helper
def _begun(items: Any, indptr: Any, edges: Any, heads: Any, tails: Any) -> int:
    """Fill where the neighbours of each item begin and end, and return how many they are; the first are asked for."""
    for at in range(len(items)):
        ask_ahead(indptr, items[at])
    many = 0
    for at in range(len(items)):
        begin, end = indptr[items[at]], indptr[items[at] + 1]
        heads[at], tails[at] = begin, end
        many += end - begin
        _asked_ahead(edges, begin, min(begin + AHEAD, end))
    return many


@helper
def _added_up(given: Any, heads: Any, tails: Any, end: int, edges: Any, bits: Any, sums: Any, marks: Any) -> None:
    """Add what the neighbours before the end of a stretch are given, and move the heads behind them."""
    within = np.uint32(len(sums) - 1)
    for at in range(len(heads)):
        edge, tail, mine = heads[at], tails[at], given[at]
        while edge < tail and edges[edge, 0] < end:
            other = np.uint32(edges[edge, 0]) & within
            sums[other] += bits[edge, 1] * mine
            marks[other >> np.uint32(6)] |= np.uint64(1) << np.uint64(other & np.uint32(63))
            edge += np.uint64(1)
        _asked_ahead(edges, np.int64(heads[at]) + AHEAD, np.int64(min(edge + np.uint64(AHEAD), tail)))
        heads[at] = edge


@kernel("i4[1], f4[1], i8[1], i4[2], f4[2], out f8[1], out u8[1]")
def neighbours(items: Any, given: Any, indptr: Any, edges: Any, bits: Any, sums: Any, marks: Any) -> Any:
    """Add up what the neighbours of some items are given; returns the neighbours, ascending, and the sum of each.

    Those of an item ascend, so all lists are read side by side, a stretch of items after the other: a sum for each item
    of the catalogue would take hundreds of KB, of which each request touches lines all over, and drive all else out
    of the caches. Places are unsigned: a signed one is asked at each read whether it counts from the end.

    `edges` and `bits` are the same (`serving.sources.edges`). `sums`, one for each item of a stretch, as many as
    `stretch` says, and `marks`, a bit for each, are 0 and are left so.
    """
    heads, tails, wide = np.empty(len(items), np.uint64), np.empty(len(items), np.uint64), len(sums)
    many, stretches = _begun(items, indptr, edges, heads, tails), (len(indptr) - 2 + wide) // wide
    most, count = min(many, stretches * wide), np.uint64(0)
    found, scores = np.empty(most, np.int32), np.empty(most, np.float32)
    for begin in range(0, stretches * wide if many else 0, wide):
        _added_up(given, heads, tails, begin + wide, edges, bits, sums, marks)
        for word in range(wide >> 6):
            left = marks[word]
            marks[word] = 0
            while left:
                other = np.uint32(64 * word + np.int64(trailing_zeros(left)))
                left &= left - np.uint64(1)
                score = np.float32(sums[other])
                sums[other] = 0
                if score != 0:
                    found[count], scores[count] = begin + other, score
                    count += np.uint64(1)
    return found[:count], scores[:count]


@helper
def _kept(bought: float, back: float) -> float:
    """1 - returned pieces / bought pieces, from 0 to 1."""
    return min(max(1 - back / max(bought, 1e-9), 0.0), 1.0)


@kernel("f8[2], i8, f8, f8, f8, f4[1]")
def frequency(
    events: Any, now: int, half_life: float, floor: float, popular_weight: float, popular: Any
) -> Any:  # fmt: skip
    """`PersonalFrequency`: the items that were bought or brought back, ascending, and the score of each."""
    found, scores = np.empty(len(events), np.int32), np.empty(len(events), np.float32)
    count, at = 0, 0
    while at < len(events):
        which, weight, pieces, back, lines = events[at, ITEM], 0.0, 0.0, 0.0, 0
        while at < len(events) and events[at, ITEM] == which:
            if events[at, TYPE] == PURCHASE:
                weight += floor + np.exp2(-(now - events[at, TIME]) / half_life)
                pieces += events[at, QUANTITY]
                lines += 1
            elif events[at, TYPE] == RETURN:
                back += events[at, QUANTITY]
                lines += 1
            at += 1
        if lines == 0:
            continue
        score = weight * _kept(pieces, back)
        if score > 0 and len(popular):
            score += popular_weight * popular[np.int64(which)]
        found[count], scores[count] = which, score if score > 0 else -np.inf
        count += 1
    return found[:count], scores[:count]


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


@kernel("f8[2], i8, f4[2], f8, f8, f8")
def cycles(events: Any, now: int, rhythm: Any, within: float, belief: float, horizon: float) -> Any:
    """`Cycles`: the items, by row since, median, spread, repeat and own intervals, and the scores.

    `rhythm` has of each item the mean of its log-days, their spread, and how many buy it again.
    """
    found, scores = np.empty(len(events), np.int32), np.empty(len(events), np.float32)
    told, count, at, k = np.empty((5, len(events))), 0, 0, within / max(1 - within, 1e-6)
    while at < len(events):
        which, days, last, logs, pieces, back = np.int64(events[at, ITEM]), 0, -1, 0.0, 0.0, 0.0
        while at < len(events) and events[at, ITEM] == which:
            if events[at, TYPE] == RETURN:
                back += events[at, QUANTITY]
            elif events[at, TYPE] == PURCHASE:
                day: Any = np.int64(events[at, TIME]) // DAY
                if days == 0 or day != last:
                    logs += _log(float(day - last)) if days else 0.0
                    days, last = days + 1, day
                pieces += events[at, QUANTITY]
            at += 1
        if days == 0:
            continue
        intervals = days - 1
        share = within + (1 - within) * k / (intervals + k)
        since, median = now / DAY - last, np.exp((logs + k * rhythm[which, 0]) / (intervals + k))
        spread = max(rhythm[which, 1] * np.sqrt(share), 0.05)
        repeat = (belief * rhythm[which, 2] + intervals) / (belief + intervals)
        found[count], told[4, count] = which, intervals
        told[0, count], told[1, count], told[2, count], told[3, count] = since, median, spread, repeat
        scores[count] = _again(since, median, spread, repeat, _kept(pieces, back), horizon)
        count += 1
    return found[:count], told[:, :count], scores[:count]


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


@kernel("f8[2], i8, f4[1], i8[1], i8[1], f4[1], f8[1], f8[1], f8, f8, f8")
def wishes(
    events: Any, now: int, prices: Any, starts: Any, since: Any, listed: Any, edges: Any, hazard: Any, horizon: float,
    gain: float, again: float,
) -> Any:  # fmt: skip
    """`Wishes`: the items, by row age, how often each was taken off and drop, and the scores."""
    found, scores = np.empty(len(events), np.int32), np.empty(len(events), np.float32)
    told, count, at = np.empty((3, len(events))), 0, 0
    while at < len(events):
        which, wish, gone = np.int64(events[at, ITEM]), -1, 0
        while at < len(events) and events[at, ITEM] == which:
            what = events[at, TYPE]
            if what == WISHLIST:
                wish = at
            elif what in (WISHLIST_REMOVE, PURCHASE):
                wish = -1
            gone += what == WISHLIST_REMOVE
            at += 1
        if wish < 0:
            continue
        moment, then = events[wish, TIME], events[wish, VALUE] / max(events[wish, QUANTITY], 1e-9)
        if not np.isfinite(then):
            then = _listed_price(which, np.int64(moment), starts, since, listed)
        age, drop = (now - moment) / DAY, _fallen(then, prices[which])
        ahead = _cumulated(age + horizon, edges, hazard) - _cumulated(age, edges, hazard)
        found[count], told[0, count], told[1, count], told[2, count] = which, age, gone, drop
        scores[count] = -np.expm1(-ahead * (1 + gain * drop) * again**gone)
        count += 1
    return found[:count], told[:, :count], scores[:count]


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
def _last(edges: Any, begin: int, end: int, item: int) -> Any:
    """The last place of an item among some that ascend; another one's, or `begin` where it is not among them."""
    low, many = np.uint64(begin), np.uint64(end - begin)
    while many > 1:
        half = many >> np.uint64(1)
        low += half if edges[low + half, 0] <= item else np.uint64(0)
        many -= half
    return np.int64(low)


@kernel("i4[1], f4[1], i8[1], i4[2], f4[2], i4[1], out i4[1]")
def given_most(past: Any, given: Any, indptr: Any, edges: Any, bits: Any, items: Any, causes: Any) -> None:
    """Fill in for each item the past one that gives it the most weight, -1 where none does.

    Neighbours of an item ascend, and few items are asked about: each is looked up, and most neighbours are not read.
    """
    most = np.zeros(len(items), np.float32)
    causes[:] = -1
    for at in range(len(past)):
        begin, end = indptr[past[at]], indptr[past[at] + 1]
        for row in range(len(items)):
            place = _last(edges, begin, end, items[row])
            while begin <= place < end and edges[place, 0] == items[row]:  # which may stand there twice
                if bits[place, 1] * given[at] > most[row]:
                    most[row], causes[row] = bits[place, 1] * given[at], past[at]
                place -= 1
