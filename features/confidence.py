"""How much one event says about a preference: by type, quantity and age.

The same function weighs a customer's events when a model is fitted and when the customer is folded in at request
time; two copies would be training/serving skew.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from features.by_item import ByItem, by_item
from features.compiled import available, helper, kernel
from features.history import History
from features.kinds import EventType
from features.moments import DAY

Floats = npt.NDArray[np.float32]
_DAY = 86_400_000_000
ITEM, TIME, TYPE, QUANTITY = 0, 1, 2, 3
"""Columns, as of `features.by_item`; what kernels ask for stands in their file: see `features.compiled`."""

EVENT_WEIGHTS: Mapping[str, float] = {
    "purchase": 1.0,
    "return": -1.0,
    "cart": 0.4,
    "wishlist": 0.5,
    "wishlist_remove": -0.5,
    "click": 0.1,
    "view": 0.1,
    "review": 0.3,
    "rating": 0.3,
}


class ConfidenceParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Weight of an event by its type, and how fast it ages.

    Args:
        weights: event type -> weight; types that are not named weigh nothing. Negative weights lower a preference.
        half_life_days: an event this old counts half.
        quantity: how much the number of pieces adds; 0 (the default) counts a line once, however many were bought.
        damped: whether the sum of an item's events is flattened to log2(1 + sum): the tenth purchase says less than
            the second.
    """

    weights: dict[str, float] = msgspec.field(default_factory=lambda: dict(EVENT_WEIGHTS))
    half_life_days: float = 120.0
    quantity: float = 0.0
    damped: bool = True

    def by_code(self) -> Floats:
        """float32[128]: the weight of each `EventType` code; nobody changes it."""
        return _by_code(tuple(sorted(self.weights.items())))


@lru_cache
def _by_code(weights: tuple[tuple[str, float], ...]) -> Floats:
    table = np.zeros(128, np.float32)
    for name, weight in weights:
        table[EventType[name.upper()]] = weight
    return table


def confidence(history: History, now: int, params: ConfidenceParams) -> Floats:
    """float32[events]: weight(type) x (1 + quantity x log2(pieces)) x 2^(-age / half-life), 0 where there is no item.

    Args:
        history: events of one subject or of many.
        now: the moment that ages are relative to.
        params: weights by type, the half-life, and what the quantity adds.
    """
    age = (now - history.time) / (DAY * params.half_life_days)
    amount = 1 + params.quantity * np.log2(np.maximum(history.quantity, 1).astype(np.float64))
    weight = params.by_code()[history.type] * amount * np.exp2(-np.maximum(age, 0))
    return np.where(history.item >= 0, weight, 0).astype(np.float32)


def preferences(
    history: History, now: int, params: ConfidenceParams, by_code: Floats | None = None, past: ByItem | None = None,
    most: int = 0,
) -> tuple[npt.NDArray[np.int32], Floats]:  # fmt: skip
    """One subject's distinct items and the summed confidence of each, positive ones only, items ascending.

    Args:
        history, now, params: as for `confidence`.
        by_code, past: `params.by_code()` and `by_item(history)`, from who has them at hand.
        most: so many items, those of the highest confidence, ties by item; 0: all. What is long past says least.
    """
    by_code = params.by_code() if by_code is None else by_code
    if available() and history.item.dtype == np.int32:  # a fit numbers pairs of customer and item, in 64 bits
        events = (by_item(history) if past is None else past).events
        items, weights = np.empty(len(events), np.int32), np.empty(len(events), np.float32)
        count = _preferred(
            events, now, by_code, params.half_life_days, params.quantity, params.damped, most, items, weights
        )  # fmt: skip
        return items[:count], weights[:count]
    weights = confidence(history, now, params)
    items, where = np.unique(history.item, return_inverse=True)
    summed = np.bincount(where, weights=weights, minlength=len(items)).astype(np.float32)
    keep = (items >= 0) & (summed > 0)
    items, summed = items[keep], summed[keep]
    if params.damped:
        # In double precision, as the kernel: what is fitted and what is folded in are the same to the last bit.
        summed = np.log2(1 + summed.astype(np.float64)).astype(np.float32)
    if most and len(items) > most:
        foremost = np.sort(np.argsort(-summed, kind="stable")[:most])
        return items[foremost], summed[foremost]
    return items, summed


@helper
def _foremost(items: Any, weights: Any, count: int, most: int) -> Any:
    """Leave the `most` highest weights, ties by item; returns how many there are."""
    if most == 0 or count <= most:
        return count
    edge = np.partition(weights[:count], count - most)[count - most]
    level, kept = most, 0
    for at in range(count):
        level -= weights[at] > edge
    for at in range(count):
        tie = weights[at] == edge and level > 0
        if weights[at] > edge or tie:
            items[kept], weights[kept] = items[at], weights[at]
            kept, level = kept + 1, level - tie
    return kept


@kernel("f8[2], i8, f4[1], f8, f8, b1, i8, out i4[1], out f4[1]")
def _preferred(
    events: Any, now: int, by_code: Any, half_life: float, more: float, damped: bool, most: int, items: Any, out: Any
) -> Any:  # fmt: skip
    """`preferences` of events in the order of `by_item`: fills `items` and `out`, and returns how many there are."""
    count, at = 0, 0
    while at < len(events):
        which, total = events[at, ITEM], 0.0
        while at < len(events) and events[at, ITEM] == which:
            age = max((now - events[at, TIME]) / (_DAY * half_life), 0.0)
            amount = 1 + more * np.log2(max(events[at, QUANTITY], 1.0))
            total += float(np.float32(by_code[np.int64(events[at, TYPE])] * amount * np.exp2(-age)))
            at += 1
        summed = np.float32(total)
        if summed > 0:
            items[count], out[count] = which, np.log2(1 + float(summed)) if damped else summed
            count += 1
    return _foremost(items, out, count, most)
