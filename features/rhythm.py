"""The rhythm of a customer's purchases: how often, how regularly and how lately an item was bought; how due it is.

A *basket* is all that one customer bought on one day (UTC). Everything is a pure function of the customer's own
purchases and returns and of the items' usual gaps, by sorting and counting alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.history import History
from features.kinds import EventType
from features.moments import DAY
from features.personal import slots
from features.rows_kernel import BASKET_DECAY, GAP_PRIOR, HALF_LIVES, RECENT

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int32]
Places = npt.NDArray[np.intp]

RHYTHM_NAMES: tuple[str, ...] = (
    "days_bought",
    *(f"days_decayed_{half_life:g}" for half_life in HALF_LIVES),
    "days_since_first",
    "gap_spread",
    "last_gap_days",
    "due_shrunk",
    "basket_share",
    "basket_decayed",
    "recent_baskets",
    "in_last_basket",
    "pieces_mean",
    "returned_share",
    "spent",
    "baskets",
    "basket_gap_days",
    "basket_overdue",
    "basket_items",
    "last_basket_items",
    "distinct_items",
    "repeat_share_own",
    "recent_new_share",
    "tenure_days",
)


@dataclass(frozen=True, slots=True)
class Purchases:
    """One customer's purchases, a row for each distinct (item, day), by item and then by day.

    Args:
        item: int32[d].
        day: int64[d], days since 1970 (UTC).
        basket: int64[d], number of the basket from 0, oldest first.
        new: bool[d], whether it is the item's first day.
        baskets: how many baskets there are.
        days: int64[baskets], the day of each.
    """

    item: Rows
    day: npt.NDArray[np.int64]
    basket: npt.NDArray[np.int64]
    new: npt.NDArray[np.bool_]
    baskets: int
    days: npt.NDArray[np.int64]

    @classmethod
    def of(cls, bought: History) -> Purchases:
        """From the purchase events of one subject (those of unknown items are left out)."""
        known = bought.take(bought.item >= 0)
        day = known.time // DAY
        days, basket = np.unique(day, return_inverse=True)
        pairs = np.unique(known.item.astype(np.int64) * max(len(days), 1) + basket)
        item, number = np.divmod(pairs, max(len(days), 1))
        new = np.ones(len(item), bool)
        new[1:] = item[1:] != item[:-1]
        return cls(item.astype(np.int32), days[number] if len(days) else number, number, new, len(days), days)


def rhythm_features(history: History, items: Rows, item_gap: Floats, now: int, *, out: Floats) -> Floats:
    """What the rhythm of one customer's purchases says about some items.

    Args:
        history: events as of `now`, oldest first.
        items: int32[m], distinct item rows.
        item_gap: float32[m], usual days between two purchases of each by the same customer; NaN where unknown.
        now: the moment that ages are relative to.
        out: float32[m, len(RHYTHM_NAMES)], filled and returned; NaN where a value is not known.
    """
    bought = history.of_types(EventType.PURCHASE)
    past = Purchases.of(bought)
    today = now / DAY
    columns = [
        *_item_columns(past, items, item_gap, today),
        *_line_columns(bought, history.of_types(EventType.RETURN), items),
    ]
    for index, column in enumerate(columns):
        out[:, index] = column
    out[:, len(columns) :] = _customer_columns(past, today)
    return out


def _item_columns(past: Purchases, items: Rows, item_gap: Floats, today: float) -> list[npt.NDArray[np.generic]]:
    # The days of one item lie side by side, so each item of the answer is a slice [start, end) of them.
    start, end = np.searchsorted(past.item, items, "left"), np.searchsorted(past.item, items, "right")
    count = end - start
    has = count > 0
    back, group = past.baskets - 1 - past.basket, np.cumsum(past.new) - 1

    def summed(values: npt.NDArray[np.floating]) -> Doubles:
        """Of each item's days; added up item by item, so that what is long ago is not lost beside what is not."""
        return _at(np.bincount(group, weights=values), _at(group, start, has).astype(np.intp), has)

    age = today - past.day
    last = _at(past.day, end - 1, has)
    first = _at(past.day, start, has)
    gaps = np.diff(past.day, prepend=0).astype(np.float64)
    gaps[past.new] = 0
    several = count > 1
    total = last - first
    mean = np.where(several, total / np.maximum(count - 1, 1), np.nan)
    square = summed(gaps * gaps) / np.maximum(count - 1, 1)
    spread = np.where(several, np.sqrt(np.maximum(square - mean * mean, 0)), np.nan)
    last_gap = np.where(several, _at(gaps, end - 1, has), np.nan)
    prior = np.where(np.isnan(item_gap), 0, GAP_PRIOR)
    gaps_seen = np.maximum(count - 1, 0)
    shrunk = (np.where(several, total, 0) + prior * np.nan_to_num(item_gap)) / np.maximum(gaps_seen + prior, 1e-9)
    since = today - last
    due = np.where(has & (shrunk > 0), since / np.maximum(shrunk, 0.5), np.nan)
    first_basket = _at(past.basket, start, has)
    return [
        count,
        *(summed(np.exp2(-age / half_life)) for half_life in HALF_LIVES),
        np.where(has, today - first, np.nan),
        spread,
        last_gap,
        due,
        np.where(has, count / np.maximum(past.baskets - first_basket, 1), 0),
        summed(BASKET_DECAY**back),
        summed((back < RECENT).astype(np.float64)),
        summed((back == 0).astype(np.float64)),
    ]


def _line_columns(bought: History, returned: History, items: Rows) -> list[npt.NDArray[np.generic]]:
    """Pieces a line, share of pieces that came back, money spent."""
    order = np.argsort(items, kind="stable")
    lines, pieces, spent = _line_sums(bought, items, order)
    _, back, _ = _line_sums(returned, items, order)
    some = np.where(lines > 0, pieces / np.maximum(lines, 1), np.nan)
    share = np.where(pieces > 0, np.minimum(back / np.maximum(pieces, 1e-9), 1), np.nan)
    return [some, share, np.where(lines > 0, spent, np.nan)]


def _line_sums(events: History, items: Rows, order: Places) -> tuple[Doubles, Doubles, Doubles]:
    m = len(items)
    place, mine = slots(events, items, order)
    return (
        np.bincount(place, minlength=m).astype(np.float64),
        np.bincount(place, weights=mine.quantity, minlength=m).astype(np.float64, copy=False),
        np.bincount(place, weights=np.nan_to_num(mine.value), minlength=m).astype(np.float64, copy=False),
    )


def _customer_columns(past: Purchases, today: float) -> list[float]:
    """The same for all items: how the customer shops."""
    if not past.baskets:
        return [0.0, np.nan, np.nan, np.nan, np.nan, 0.0, np.nan, np.nan, np.nan]
    size = np.bincount(past.basket, minlength=past.baskets)
    tenure = float(past.days[-1] - past.days[0])
    gap = tenure / (past.baskets - 1) if past.baskets > 1 else np.nan
    since = today - float(past.days[-1])
    recent = past.basket >= past.baskets - RECENT
    return [
        float(past.baskets),
        gap,
        since / max(gap, 1.0) if past.baskets > 1 else np.nan,
        float(size.mean()),
        float(size[-1]),
        float(past.new.sum()),
        float(1 - past.new.mean()),
        float(past.new[recent].mean()),
        today - float(past.days[0]),
    ]


def _at(values: npt.NDArray[np.generic], place: Places, there: npt.NDArray[np.bool_]) -> Doubles:
    """The value at a place, 0 where there is none."""
    if not len(values):
        return np.zeros(len(place))
    return np.where(there, values[np.where(there, place, 0)], 0).astype(np.float64)
