"""The rows of `features.assemble` as one pass over the events: what `personal`, `rhythm` and `tastes` say in numpy.

Events are read one by one into a tally for each item that is asked about; tables that are as long as the catalogue, or
as there are groups, are kept between requests and left clean. Columns lie as in `FEATURE_NAMES`, block by block.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from features.compiled import helper, kernel

DAY = 86_400_000_000
VIEW, CART, WISHLIST, WISHLIST_REMOVE, PURCHASE, RETURN, CLICK = 1, 3, 5, 6, 7, 8, 11
"""Codes of `EventType`, which are never reused. All constants stand here: see `features.compiled`."""
DECAY_DAYS = 60.0
"""Half-life of `purchases_decayed`."""
FADE_DAYS = 45.0
"""A purchase this old counts half in `_share_decayed`."""
HALF_LIVES = (7.0, 30.0, 180.0)
"""Days; a purchase day this old counts half in `days_decayed_<n>`."""
BASKET_DECAY = 0.8
"""What a purchase in the basket before counts beside one in the last: the group decay of Hu et al. 2020 (TIFU-KNN)."""
GAP_PRIOR = 2.0
"""A customer's own mean gap counts like so many gaps of the item before the customer's own are many."""
RECENT = 4
"""Baskets that count as the last ones."""
_RHYTHM, _TASTE, _REST, _WIDTH = 12, 36, 48, 62
"""Where the blocks of columns begin, and how many columns there are."""
_GAP, _PRICE, _BUYERS_7D, _BUYERS_28D = 7, 8, 1, 2
"""Columns of `SharedTables.numbers`."""
# Sums of an item's events, and moments of theirs.
_BOUGHT, _FADED, _SEEN, _DAYS, _SPREAD, _BASKETS, _LATELY, _LAST, _PIECES, _BACK, _SPENT, _BY_AGE = range(12)
_FIRST_AT, _LAST_AT, _SEEN_AT, _WISHED_AT, _FIRST_DAY, _LAST_DAY, _FIRST_BASKET, _LAST_BASKET, _LAST_GAP = range(9)


@helper
def _customer(time: Any, item: Any, kind: Any, today: float, lately: Any, out: Any) -> int:
    """Fill what is the same for all items, `baskets` to `tenure_days`; returns the number of baskets.

    `lately` holds for each item the number of its last basket, from 1; it is left so for `_cleaned`.
    """
    baskets, day, first, pairs, distinct = 0, -1, 0, 0, 0
    of_last = np.zeros((2, RECENT))  # pairs of item and day in each of the last baskets, and those of them that are new
    for at in range(len(time)):
        if kind[at] != PURCHASE or item[at] < 0:
            continue
        if baskets == 0 or time[at] // DAY != day:
            day = time[at] // DAY
            first = day if baskets == 0 else first
            of_last[:, baskets % RECENT] = 0
            baskets += 1
        if lately[item[at]] == baskets:
            continue
        place = (baskets - 1) % RECENT
        of_last[0, place] += 1
        pairs += 1
        if lately[item[at]] == 0:
            of_last[1, place] += 1
            distinct += 1
        lately[item[at]] = baskets
    out[:] = np.nan
    out[0] = baskets
    out[5] = distinct
    if baskets:
        out[3], out[4] = pairs / baskets, of_last[0, (baskets - 1) % RECENT]
        out[6], out[7] = 1 - distinct / pairs, of_last[1].sum() / of_last[0].sum()
        out[8] = today - first
    if baskets > 1:
        gap = (day - first) / (baskets - 1)
        out[1], out[2] = gap, (today - day) / max(gap, 1.0)
    return baskets


@helper
def _purchase_day(row: int, day: int, basket: int, baskets: int, today: float, sums: Any, moments: Any) -> None:
    """Take in one day on which an item was bought."""
    if sums[row, _DAYS] == 0:
        moments[row, _FIRST_DAY], moments[row, _FIRST_BASKET] = day, basket
    else:
        gap = day - moments[row, _LAST_DAY]
        sums[row, _SPREAD] += float(gap) * float(gap)
        moments[row, _LAST_GAP] = gap
    moments[row, _LAST_DAY], moments[row, _LAST_BASKET] = day, basket
    back = baskets - 1 - basket
    sums[row, _DAYS] += 1
    sums[row, _BASKETS] += BASKET_DECAY**back
    sums[row, _LATELY] += back < RECENT
    sums[row, _LAST] += back == 0
    for place in range(3):
        sums[row, _BY_AGE + place] += np.exp2(-(today - day) / HALF_LIVES[place])


@helper
def _tallied(
    time: Any, item: Any, kind: Any, quantity: Any, value: Any, now: int, baskets: int, slot: Any, sums: Any,
    moments: Any,
) -> None:  # fmt: skip
    """Read all events into the tallies of the items that are asked about."""
    basket, day, today = -1, -1, now / DAY
    for at in range(len(time)):
        what, which = kind[at], item[at]
        if which < 0:
            continue
        if what == PURCHASE and (basket < 0 or time[at] // DAY != day):
            basket, day = basket + 1, time[at] // DAY
        row = slot[which]
        if row < 0:
            continue
        if what == PURCHASE:
            if sums[row, _BOUGHT] == 0:
                moments[row, _FIRST_AT] = time[at]
            moments[row, _LAST_AT], moments[row, _WISHED_AT] = time[at], -1
            sums[row, _BOUGHT] += 1
            sums[row, _FADED] += np.exp2(-(now - time[at]) / (DAY * DECAY_DAYS))
            sums[row, _PIECES] += quantity[at]
            sums[row, _SPENT] += 0.0 if np.isnan(value[at]) else value[at]
            if sums[row, _DAYS] == 0 or moments[row, _LAST_BASKET] != basket:
                _purchase_day(row, day, basket, baskets, today, sums, moments)
        elif what == RETURN:
            sums[row, _BACK] += quantity[at]
        elif what == WISHLIST:
            moments[row, _WISHED_AT] = time[at]
        elif what == WISHLIST_REMOVE:
            moments[row, _WISHED_AT] = -1
        elif what in (VIEW, CLICK, CART):
            sums[row, _SEEN] += 1
            moments[row, _SEEN_AT] = time[at]


@helper
def _own(sums: Any, moments: Any, now: int, out: Any) -> None:
    """Fill what one item's own events say, up to the wish."""
    bought = sums[_BOUGHT]
    out[0], out[1], out[4], out[6] = bought, sums[_FADED], sums[_SEEN], moments[_WISHED_AT] >= 0
    if bought:
        out[2] = (now - moments[_LAST_AT]) / DAY
    if bought > 1:
        out[3] = (moments[_LAST_AT] - moments[_FIRST_AT]) / (DAY * (bought - 1))
    if sums[_SEEN]:
        out[5] = (now - moments[_SEEN_AT]) / DAY
    if moments[_WISHED_AT] >= 0:
        out[7] = (now - moments[_WISHED_AT]) / DAY


@helper
def _rhythm(sums: Any, moments: Any, usual: float, baskets: int, today: float, out: Any) -> None:
    """Fill the rhythm of one item, up to what was spent."""
    days = sums[_DAYS]
    out[0], out[1:4], out[8] = days, sums[_BY_AGE : _BY_AGE + 3], 0
    out[9], out[10], out[11] = sums[_BASKETS], sums[_LATELY], sums[_LAST]
    if sums[_BOUGHT]:
        out[12], out[14] = sums[_PIECES] / sums[_BOUGHT], sums[_SPENT]
    if sums[_PIECES] > 0:
        out[13] = min(sums[_BACK] / max(sums[_PIECES], 1e-9), 1.0)
    if days == 0:
        return
    out[4] = today - moments[_FIRST_DAY]
    total = float(moments[_LAST_DAY] - moments[_FIRST_DAY])
    if days > 1:
        mean = total / (days - 1)
        out[5] = np.sqrt(max(sums[_SPREAD] / (days - 1) - mean * mean, 0.0))
        out[6] = moments[_LAST_GAP]
    prior = 0.0 if np.isnan(usual) else GAP_PRIOR
    shrunk = (total + (prior * usual if prior else 0.0)) / max(days - 1 + prior, 1e-9)
    if shrunk > 0:
        out[7] = (today - moments[_LAST_DAY]) / max(shrunk, 0.5)
    out[8] = days / max(baskets - moments[_FIRST_BASKET], 1)


@helper
def _grouped(
    time: Any, item: Any, kind: Any, only_bought: bool, code: Any, now: int, table: Any
) -> tuple[float, float]:  # fmt: skip
    """Count events, fading ones, and the last moment by the group of the item; returns the sums of the first two."""
    known, faded = 0.0, 0.0
    for at in range(len(time)):
        what = kind[at]
        of_kind = what == PURCHASE if only_bought else what in (VIEW, CLICK, CART, WISHLIST)
        if not of_kind or item[at] < 0:
            continue
        fades = np.exp2(-(now - time[at]) / (DAY * FADE_DAYS))
        known += 1
        faded += fades
        group = code[item[at]]
        if group >= 0:
            table[group, 0] += 1
            table[group, 1] += fades
            table[group, 2] = time[at]
    return known, faded


@helper
def _taste(
    time: Any, item: Any, kind: Any, only_bought: bool, items: Any, code: Any, now: int, table: Any, out: Any
) -> None:  # fmt: skip
    """Fill out float32[m, 4] with share, fading share, days since the last and number of a group; clean the table."""
    known, faded = _grouped(time, item, kind, only_bought, code, now, table)
    for row in range(len(items)):
        group = code[items[row]]
        hit = group >= 0 and table[group, 0] > 0
        out[row, 2], out[row, 3] = np.nan, 0
        if known == 0:
            out[row, 0], out[row, 1] = np.nan, np.nan
        elif hit:
            out[row, 0], out[row, 1] = table[group, 0] / known, table[group, 1] / max(faded, 1e-12)
            out[row, 2], out[row, 3] = (now - table[group, 2]) / DAY, table[group, 0]
        else:
            out[row, 0], out[row, 1] = 0, 0
    for at in range(len(item)):
        if item[at] >= 0 and code[item[at]] >= 0:
            table[code[item[at]], :] = 0


@helper
def _usual_price(quantity: Any, value: Any) -> float:
    """Mean price a unit that the customer pays; NaN without priced events."""
    money, pieces = 0.0, 0.0
    for at in range(len(value)):
        if quantity[at] > 0 and np.isfinite(value[at]):
            money += value[at]
            pieces += quantity[at]
    return money / pieces if pieces > 0 and money != 0 else np.nan


@helper
def _shared(numbers: Any, since: Any, gap: Any, usual_price: Any, age: float, out: Any) -> None:
    """Fill what one item's shared statistics say, alone and beside the customer's own; all in single precision."""
    one = np.float32(1)
    expected = numbers[_GAP] if np.isnan(gap) else gap
    out[0] = since / (one if expected < one else expected)
    out[1] = numbers[_PRICE] / usual_price
    out[2] = (np.float32(4) * numbers[_BUYERS_7D] + one) / (numbers[_BUYERS_28D] + one)
    out[3:-1] = numbers
    out[len(out) - 1] = age


@kernel(
    "i8[1], i4[1], i1[1], f4[1], f4[1], i4[1], f4[2], i4[1], i4[1], i4[1], i8, i8, out i4[1], out i4[1], out f8[2], "
    "out f4[2]"
)
def rows(
    time: Any, item: Any, kind: Any, quantity: Any, value: Any, items: Any, numbers: Any, category: Any,
    department: Any, brand: Any, now: int, as_of: int, slot: Any, lately: Any, table: Any, out: Any,
) -> None:  # fmt: skip
    """Fill the first columns of out float32[m, features or more] for int32[m] distinct items.

    Events are of one customer, oldest first. `slot` is -1 for all items, `lately` and `table` are 0; so they are left.
    """
    today, count = now / DAY, len(items)
    sums, moments = np.zeros((count, _BY_AGE + 3)), np.zeros((count, _LAST_GAP + 1), np.int64)
    moments[:, _WISHED_AT] = -1
    shopper = np.empty(9)
    baskets = _customer(time, item, kind, today, lately, shopper)
    for row in range(count):
        slot[items[row]] = row
    _tallied(time, item, kind, quantity, value, now, baskets, slot, sums, moments)
    for row in range(count):
        slot[items[row]] = -1
    bought = 0
    for at in range(len(item)):
        bought += kind[at] == PURCHASE
        if item[at] >= 0:
            lately[item[at]] = 0
    quiet = (now - time[len(time) - 1]) / DAY if len(time) else np.nan
    price, age = np.float32(_usual_price(quantity, value)), (now - as_of) / DAY
    tastes = np.empty((4, count, 4), np.float32)
    _taste(time, item, kind, True, items, category, now, table, tastes[0])
    _taste(time, item, kind, True, items, department, now, table, tastes[1])
    _taste(time, item, kind, True, items, brand, now, table, tastes[2])
    _taste(time, item, kind, False, items, category, now, table, tastes[3])
    for row in range(count):
        mine = out[row, :_WIDTH]
        mine[:] = np.nan
        _own(sums[row], moments[row], now, mine)
        mine[8], mine[9], mine[10], mine[11] = tastes[0, row, 0], tastes[0, row, 2], bought, quiet
        _rhythm(sums[row], moments[row], numbers[items[row], _GAP], baskets, today, mine[_RHYTHM:])
        mine[_TASTE - 9 : _TASTE] = shopper
        mine[_TASTE], mine[_TASTE + 1] = tastes[0, row, 1], tastes[0, row, 3]
        mine[_TASTE + 2 : _TASTE + 6], mine[_TASTE + 6 : _TASTE + 10] = tastes[1, row], tastes[2, row]
        mine[_TASTE + 10], mine[_TASTE + 11] = tastes[3, row, 0], tastes[3, row, 2]
        _shared(numbers[items[row]], mine[2], mine[3], price, age, mine[_REST:])


@kernel("i8[1], i4[1], i1[1], i4[1], out i8[1]")
def wishes(time: Any, item: Any, kind: Any, items: Any, since: Any) -> None:
    """Fill in since when each item is wished, -1 where it is not; for few events and few items."""
    since[:] = -1
    for at in range(len(item)):
        what = kind[at]
        if what in (WISHLIST, WISHLIST_REMOVE, PURCHASE) and item[at] >= 0:
            for row in range(len(items)):
                if items[row] == item[at]:
                    since[row] = time[at] if what == WISHLIST else -1
