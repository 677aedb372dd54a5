"""What `serving.repurchase` does with a customer's events, without an array for every step."""

from __future__ import annotations

from typing import Any

import numpy as np

from features.compiled import helper, kernel

_CRUMB = 1e-6
"""As of `features.bought`: pieces that are none."""


@helper
def _take_back(item: Any, quantity: Any, bought: Any, back: Any, kept: Any) -> None:
    """A return takes its pieces off the latest purchases of the item before it."""
    left = quantity.astype(np.float64)
    for at in range(len(item)):
        rest = left[at] if back[at] and item[at] >= 0 else 0.0
        for before in range(at - 1, -1, -1):
            if rest <= 0:
                break
            if not bought[before] or not kept[before] or item[before] != item[at]:
                continue
            taken = min(rest, left[before])
            rest, left[before] = rest - taken, left[before] - taken
            if left[before] > _CRUMB:
                break
            kept[before] = False


@helper
def _latest(time: Any, item: Any, bought: Any, row: int, before: int) -> int:
    """The last purchase of an item before a moment; -1: none."""
    for at in range(len(time) - 1, -1, -1):
        if bought[at] and item[at] == row and time[at] < before:
            return at
    return -1


@helper
def _nearest(time: Any, item: Any, bought: Any, given: Any, row: int, moment: int, within: int) -> int:
    """The purchase of an item nearest to a moment that is not given away yet, the first of two; -1: none within."""
    found, least = -1, within
    for at in range(len(time)):
        if bought[at] and not given[at] and item[at] == row and abs(time[at] - moment) < least:
            found, least = at, abs(time[at] - moment)
    return found


@kernel("i8[1], i4[1], f4[1], i1[1], i1, i1, i4[1], i8[1], b1[1], i8, i8, i4[1], f8[1], i8, out i4[1]")
def resting(
    time: Any, item: Any, quantity: Any, kind: Any, purchase: int, back: int, rows: Any, ordered: Any, gifts: Any,
    within: int, occasion: int, category: Any, rest: Any, now: int, codes: Any,
) -> int:  # fmt: skip
    """`Windows._of_events`: fill in the categories that rest, each once; returns how many there are.

    `purchase` and `back` are the kinds of purchases and returns; `rows`, `ordered` and `gifts` tell of order lines that
    failed or were given away. `rest` is for how many microseconds, by category, NaN where that is not known. Unknown
    items are left out.
    """
    kept, given, count = np.ones(len(time), np.bool_), np.zeros(len(time), np.bool_), 0
    bought = kind == purchase
    _take_back(item, quantity, bought, kind == back, kept)
    for line in range(len(rows)):
        if rows[line] < 0:
            continue
        if gifts[line]:
            at = _nearest(time, item, bought, given, rows[line], ordered[line], within)
            if at >= 0:
                given[at] = True
        else:
            at = _latest(time, item, bought, rows[line], ordered[line] + occasion)
            if at >= 0:
                kept[at] = False
    seen = np.zeros(len(rest), np.bool_)
    for at in range(len(time)):
        code = category[item[at]] if bought[at] and kept[at] and not given[at] and item[at] >= 0 else -1
        if code >= 0 and now - time[at] < rest[code] and not seen[code]:
            seen[code], codes[count] = True, code
            count += 1
    return count
