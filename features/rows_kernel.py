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
_LOOKS, _CATEGORY, _DEPARTMENT, _BRAND = (46, 36, 47, 37), (8, 36, 9, 37), (38, 39, 40, 41), (42, 43, 44, 45)
"""Columns of share, fading share, days since and number, by kind of taste."""
_GAP, _PRICE, _BUYERS_7D, _BUYERS_28D = 7, 8, 1, 2
"""Columns of the numbers."""
_NUMBERS, _CODES = 10, (10, 10, 11, 12)
"""Of a `SharedTables.records`: how many numbers it begins with, and where the code of each kind of taste stands."""
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
    moments: Any, touched: Any,
) -> None:  # fmt: skip
    """Read all events into the tallies of the items that are asked about, and mark those that have any."""
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
        touched[row] = True
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
def _own(sums: Any, moments: Any, row: int, now: int, out: Any) -> None:
    """Fill what one item's own events say, up to the wish."""
    bought = sums[row, _BOUGHT]
    out[row, 0], out[row, 1], out[row, 4] = bought, sums[row, _FADED], sums[row, _SEEN]
    out[row, 6] = moments[row, _WISHED_AT] >= 0
    if bought:
        out[row, 2] = (now - moments[row, _LAST_AT]) / DAY
    if bought > 1:
        out[row, 3] = (moments[row, _LAST_AT] - moments[row, _FIRST_AT]) / (DAY * (bought - 1))
    if sums[row, _SEEN]:
        out[row, 5] = (now - moments[row, _SEEN_AT]) / DAY
    if moments[row, _WISHED_AT] >= 0:
        out[row, 7] = (now - moments[row, _WISHED_AT]) / DAY


@helper
def _rhythm(sums: Any, moments: Any, row: int, usual: float, baskets: int, today: float, out: Any) -> None:
    """Fill the rhythm of one item, up to what was spent."""
    days = sums[row, _DAYS]
    out[row, _RHYTHM], out[row, _RHYTHM + 8] = days, 0
    for place in range(3):
        out[row, _RHYTHM + 1 + place] = sums[row, _BY_AGE + place]
        out[row, _RHYTHM + 9 + place] = sums[row, _BASKETS + place]
    if sums[row, _BOUGHT]:
        out[row, _RHYTHM + 12] = sums[row, _PIECES] / sums[row, _BOUGHT]
        out[row, _RHYTHM + 14] = sums[row, _SPENT]
    if sums[row, _PIECES] > 0:
        out[row, _RHYTHM + 13] = min(sums[row, _BACK] / max(sums[row, _PIECES], 1e-9), 1.0)
    if days == 0:
        return
    out[row, _RHYTHM + 4] = today - moments[row, _FIRST_DAY]
    total = float(moments[row, _LAST_DAY] - moments[row, _FIRST_DAY])
    if days > 1:
        mean = total / (days - 1)
        out[row, _RHYTHM + 5] = np.sqrt(max(sums[row, _SPREAD] / (days - 1) - mean * mean, 0.0))
        out[row, _RHYTHM + 6] = moments[row, _LAST_GAP]
    prior = 0.0 if np.isnan(usual) else GAP_PRIOR
    shrunk = (total + (prior * usual if prior else 0.0)) / max(days - 1 + prior, 1e-9)
    if shrunk > 0:
        out[row, _RHYTHM + 7] = (today - moments[row, _LAST_DAY]) / max(shrunk, 0.5)
    out[row, _RHYTHM + 8] = days / max(baskets - moments[row, _FIRST_BASKET], 1)


@helper
def _grouped(
    time: Any, item: Any, kind: Any, only_bought: bool, fades: Any, codes: Any, place: int, table: Any
) -> tuple[float, float]:  # fmt: skip
    """Count events, fading ones, and the last moment by the group of the item; returns the sums of the first two."""
    known, faded = 0.0, 0.0
    for at in range(len(time)):
        what = kind[at]
        of_kind = what == PURCHASE if only_bought else what in (VIEW, CLICK, CART, WISHLIST)
        if not of_kind or item[at] < 0:
            continue
        known += 1
        faded += fades[at]
        group = codes[item[at], place]
        if group >= 0:
            table[group, 0] += 1
            table[group, 1] += fades[at]
            table[group, 2] = time[at]
    return known, faded


@helper
def _taste(
    time: Any, item: Any, kind: Any, only_bought: bool, fades: Any, items: Any, codes: Any, place: int, now: int,
    table: Any, out: Any, to: Any,
) -> None:  # fmt: skip
    """Fill share, fading share, days since the last and number of a group into four columns; clean the table."""
    known, faded = _grouped(time, item, kind, only_bought, fades, codes, place, table)
    nothing = np.float32(np.nan if known == 0 else 0)
    for row in range(len(items)):
        group = codes[items[row], place]
        if known and group >= 0 and table[group, 0] > 0:
            out[row, to[0]], out[row, to[1]] = table[group, 0] / known, table[group, 1] / max(faded, 1e-12)
            out[row, to[2]], out[row, to[3]] = (now - table[group, 2]) / DAY, table[group, 0]
        else:
            out[row, to[0]], out[row, to[1]], out[row, to[2]], out[row, to[3]] = nothing, nothing, np.nan, 0
    for at in range(len(item)):
        if item[at] >= 0 and codes[item[at], place] >= 0:
            group = codes[item[at], place]
            table[group, 0], table[group, 1], table[group, 2] = 0, 0, 0


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
def _shared(numbers: Any, item: int, row: int, usual_price: Any, age: float, out: Any) -> None:
    """Fill what one item's shared statistics say, alone and beside the customer's own; all in single precision."""
    one, since, gap = np.float32(1), out[row, 2], out[row, 3]
    expected = numbers[item, _GAP] if np.isnan(gap) else gap
    out[row, _REST] = since / (one if expected < one else expected)
    out[row, _REST + 1] = numbers[item, _PRICE] / usual_price
    out[row, _REST + 2] = (np.float32(4) * numbers[item, _BUYERS_7D] + one) / (numbers[item, _BUYERS_28D] + one)
    for place in range(_NUMBERS):
        out[row, _REST + 3 + place] = numbers[item, place]
    out[row, _WIDTH - 1] = age


@helper
def _untouched(shopper: Any, bought: int, quiet: float, out: Any) -> None:
    """Fill what is the same for all items of which there is no event, up to the tastes."""
    out[:] = np.nan
    for column in (0, 1, 4, 6, _RHYTHM, _RHYTHM + 1, _RHYTHM + 2, _RHYTHM + 3, _RHYTHM + 8, _RHYTHM + 9, _RHYTHM + 10,
                   _RHYTHM + 11):  # fmt: skip
        out[column] = 0
    out[10], out[11] = bought, quiet
    for place in range(9):
        out[_TASTE - 9 + place] = shopper[place]


@kernel("i8[1], i4[1], i1[1], f4[1], f4[1], i4[1], f4[2], i4[2], i8, i8, out i4[1], out i4[1], out f8[2], out f4[2]")
def rows(
    time: Any, item: Any, kind: Any, quantity: Any, value: Any, items: Any, numbers: Any, codes: Any, now: int,
    as_of: int, slot: Any, lately: Any, table: Any, out: Any,
) -> None:  # fmt: skip
    """Fill the first columns of out float32[m, features or more] for int32[m] distinct items.

    Events are of one customer, oldest first; `numbers` and `codes` are the same records of all items. `slot` is -1 for
    all items, `lately` and `table` are 0; so they are left.
    """
    today, count = now / DAY, len(items)
    sums, moments = np.zeros((count, _BY_AGE + 3)), np.zeros((count, _LAST_GAP + 1), np.int64)
    moments[:, _WISHED_AT] = -1
    shopper, touched = np.empty(9), np.zeros(count, np.bool_)
    baskets = _customer(time, item, kind, today, lately, shopper)
    for row in range(count):
        slot[items[row]] = row
    _tallied(time, item, kind, quantity, value, now, baskets, slot, sums, moments, touched)
    for row in range(count):
        slot[items[row]] = -1
    bought = 0
    for at in range(len(item)):
        bought += kind[at] == PURCHASE
        if item[at] >= 0:
            lately[item[at]] = 0
    quiet = (now - time[len(time) - 1]) / DAY if len(time) else np.nan
    price, age = np.float32(_usual_price(quantity, value)), (now - as_of) / DAY
    usual = np.empty(_TASTE, np.float32)
    _untouched(shopper, bought, quiet, usual)
    for row in range(count):
        for column in range(_TASTE):
            out[row, column] = usual[column]
        if touched[row]:
            _own(sums, moments, row, now, out)
            _rhythm(sums, moments, row, numbers[items[row], _GAP], baskets, today, out)
        _shared(numbers, items[row], row, price, age, out)
    fades = np.empty(len(time))
    for at in range(len(time)):
        fades[at] = np.exp2(-(now - time[at]) / (DAY * FADE_DAYS))
    # Of looks, which come first, only share and days since stay: the other two columns are the purchases'.
    _taste(time, item, kind, False, fades, items, codes, _CODES[0], now, table, out, _LOOKS)
    _taste(time, item, kind, True, fades, items, codes, _CODES[1], now, table, out, _CATEGORY)
    _taste(time, item, kind, True, fades, items, codes, _CODES[2], now, table, out, _DEPARTMENT)
    _taste(time, item, kind, True, fades, items, codes, _CODES[3], now, table, out, _BRAND)


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
