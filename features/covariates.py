"""What is known of a subject when a slot is decided: the one definition, for the log, for training and for serving.

A decision logs these columns by name, a policy reads them by name, and training learns from what was logged. Where a
log carries none, training counts the past from events with the same meaning (`training.uplift.covariates`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from features.history import History
from features.kinds import EventType
from features.moments import DAY, local_time

Value = str | float | bool | None
Floats = npt.NDArray[np.float32]
Instants = npt.NDArray[np.int64]
VISIT = ("device", "traffic_source", "hour", "weekday", "month", "region", "known")
"""What a request tells: words as they came, local hour, weekday from Monday (0), month from 1, a customer or not."""
SPANS = (28, 91, 364)
"""Days back over which orders, lines, what was paid and looks are summed."""
_SUMS = ("orders", "lines", "paid", "looks")
PAST = ("days_since_order", "days_known", *(f"{what}_{days}d" for what in _SUMS for days in SPANS))
"""What the subject had done. An order is all that was bought at one instant; paid is purchases after discounts, in the
shop's currency, where the price is known; looks are views, searches, clicks and carts."""
LOOKS = ("view", "search", "click", "cart")
KNOWN = (*VISIT, *PAST)
"""All columns that serving can fill."""
_PURCHASE = int(EventType.PURCHASE)
_SINCE = np.array(SPANS) * DAY
_LOOKS = np.isin(np.arange(128), [int(EventType[name.upper()]) for name in LOOKS])
"""bool[128]: whether an event of that code is a look."""


def visit_values(
    now: int, time_zone: str, *, device: str | None, traffic_source: str | None, region: str | None, known: bool
) -> dict[str, Value]:
    """The columns of VISIT, by name and in order.

    Args:
        now: the moment of the decision, microseconds.
        time_zone: where hour, weekday and month are read off.
        device, traffic_source, region: the request's words, None where it did not tell.
        known: whether the subject is a customer and not a visitor.
    """
    local = local_time(now, time_zone)
    told = (device, traffic_source, local.hour, local.weekday, local.month, region, known)
    return dict(zip(VISIT, told, strict=True))


def past_values(history: History, now: int) -> dict[str, Value]:
    """The columns of PAST, by name and in order; None where nothing had happened.

    An event counts from when it was known, which may be after it happened; a span of d days is what became known in
    `[now - d days, now)`.

    Args:
        history: the subject's events.
        now: the moment of the decision, microseconds.
    """
    since = np.maximum(history.time, history.recorded)
    known = since < now
    bought = known & (history.type == _PURCHASE)
    placed = _orders(history.time[bought], since[bought])
    values: dict[str, Value] = {
        "days_since_order": (now - int(history.time[bought].max())) / DAY if len(placed) else None,
        "days_known": (now - int(history.time[known].min())) / DAY if known.any() else None,
    }
    priced = bought & ~np.isnan(history.value)
    sums = bought, np.where(priced, history.value, 0), known & _LOOKS[history.type]
    lines, paid, looks = (np.array(sums, np.float64) @ (since[:, None] >= now - _SINCE)).tolist()
    orders = (placed[:, None] >= now - _SINCE).sum(axis=0, dtype=np.float64).tolist()
    return values | dict(zip(PAST[2:], [*orders, *lines, *paid, *looks], strict=True))


def _orders(time: Instants, since: Instants) -> Instants:
    """int64[orders]: when each order was known first, from its lines; all lines of one instant are one order."""
    if len(time) < 2 or (time[1:] > time[:-1]).all():
        return since
    order = np.argsort(time, kind="stable")
    starts = np.flatnonzero(np.diff(time[order], prepend=time.min() - 1))
    return np.asarray(np.minimum.reduceat(since[order], starts), np.int64)


def numbers(values: Iterable[Value], words: Sequence[Mapping[str, int]]) -> Floats:
    """float32[1, p]: values as a model reads them.

    Truth is 1 and 0; a word is its place among the words that the model was learned with, in sorted order; what is
    missing, and a word that the model never saw, is NaN.

    Args:
        values: one a column.
        words: of each column word -> code; empty where it holds numbers: there every word is unseen.
    """
    told = zip(values, words, strict=True)
    return np.array([[_number(value, codes) for value, codes in told]], np.float32)


def _number(value: Value, codes: Mapping[str, int]) -> float:
    if value is None or (isinstance(value, str) and not codes):
        return np.nan
    if not codes:
        return float(value)
    return codes.get(str(value).lower() if isinstance(value, bool) else str(value), np.nan)
