"""What each event brought in money: margin where costs are known, else revenue, and which of the two it is.

A purchase brings what was paid for it, after discounts and without the tax that its price includes; as margin, less
what the pieces cost. A return takes the same away again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from features import columns as c
from features.dataset import Dataset, versions_as_of
from features.errors import DataError
from features.history import Histories
from features.kinds import EventType
from features.moments import SECOND, format_instant
from training.split import customers

Floats = npt.NDArray[np.float64]
Instants = npt.NDArray[np.int64]
Unit = Literal["margin", "revenue"]

COSTED = 0.95
"""With the cost of a smaller share of the revenue known, a margin would be mostly a guess: revenue is told instead."""
_SECONDS = 1 << 34
"""More seconds than any instant has, so that item and instant fit into one sortable number."""


@dataclass(frozen=True, slots=True)
class Money:
    """What the events of histories brought.

    Args:
        unit: `margin` or `revenue`.
        amount: float64[events], in the shop's currency; negative for returns, 0 for events that move no money and for
            purchases and returns without a price (`notes` counts those).
        why: why it is this unit, as a sentence.
        notes: what was left out or estimated, as sentences.
    """

    unit: Unit
    amount: Floats
    why: str
    notes: tuple[str, ...] = ()


def money_of(dataset: Dataset, histories: Histories, as_of: int) -> Money:
    """What each event brought, by what was known at a moment.

    The cost of a line is the item's at the time of the line; where that begins later, the first one known.

    Args:
        dataset: its items hold `unit_cost`, `tax_included` and `tax_rate`.
        histories: of the same dataset, as of the same moment.
        as_of: microseconds.

    Raises:
        DataError: no purchase of a customer has a price.
    """
    events = histories.events
    sign = np.where(events.type == EventType.PURCHASE, 1.0, 0.0) - (events.type == EventType.RETURN)
    mine = customers(histories.subjects)[histories.subject_rows()] & (sign != 0)
    paid = events.value / (1 + _tax_rates(dataset, histories, as_of)[events.item])
    priced = mine & np.isfinite(paid)
    bought = priced & (sign > 0)
    if not bought.any():
        hint = "import unit_price, or the amount of each line"
        raise DataError("no customer's purchase has a price, so nobody's value is known", hint=hint)
    notes = _note(int((mine & ~priced).sum()), "purchases and returns have no price and are left out")
    cost = _costs(dataset, histories, as_of) * events.quantity
    known = bought & np.isfinite(cost)
    share = float(paid[known].sum() / max(paid[bought].sum(), 1e-12))
    why = f"The cost is known for {share:.1%} of the revenue; margin needs {COSTED:.0%}."
    if share < COSTED:
        return Money("revenue", np.where(priced, sign * paid, 0.0), why, notes)
    rate = float(1 - cost[known].sum() / max(paid[known].sum(), 1e-12))
    margin = np.where(np.isfinite(cost), paid - cost, paid * rate)
    guessed = f"lines without a cost count {rate:.1%} of their price, which is the margin of the others"
    notes += _note(int((priced & ~np.isfinite(cost)).sum()), guessed)
    return Money("margin", np.where(priced, sign * margin, 0.0), why, notes)


def _note(lines: int, words: str) -> tuple[str, ...]:
    return (f"{lines:,} {words}.",) if lines else ()


def _tax_rates(dataset: Dataset, histories: Histories, as_of: int) -> Floats:
    """float64[n_items + 1]: the tax inside each item's price; 0 where none is, or none is known (last: no item)."""
    with dataset.connect() as duck:
        rows = duck.sql(f"""
            SELECT {c.ITEM_ID} AS item, tax_rate AS rate FROM ({versions_as_of("items", as_of)})
            WHERE tax_included AND tax_rate > 0""").to_arrow_table()
    rates = np.zeros(len(histories.items) + 1)
    place = histories.items.rows_of(rows["item"].to_pylist())
    rates[place[place >= 0]] = rows["rate"].to_numpy()[place >= 0]
    return rates


def _costs(dataset: Dataset, histories: Histories, as_of: int) -> Floats:
    """float64[events]: what a piece of the event's item cost at the time; NaN where unknown."""
    with dataset.connect() as duck:
        rows = duck.sql(f"""
            SELECT {c.ITEM_ID} AS item, epoch_us({c.VALID_FROM}) AS since, unit_cost AS cost FROM items
            WHERE unit_cost IS NOT NULL AND {c.VALID_FROM} <= TIMESTAMPTZ '{format_instant(as_of)}'
            ORDER BY {c.VALID_FROM}, {c.SOURCE}""").to_arrow_table()
    events = histories.events
    item = histories.items.rows_of(rows["item"].to_pylist()).astype(np.int64)
    if not len(item):
        return np.full(len(events), np.nan)
    keys = _key(item, rows["since"].to_numpy())
    order = np.argsort(keys, kind="stable")
    keys, item, cost = keys[order], item[order], rows["cost"].to_numpy()[order]
    at = np.searchsorted(keys, _key(events.item.astype(np.int64), events.time), "right")
    before, after = np.maximum(at - 1, 0), np.minimum(at, len(keys) - 1)
    wanted = np.where(events.item >= 0, events.item, -2)  # -1 is an item that the vocabulary lacks
    later = np.where(item[after] == wanted, cost[after], np.nan)
    found: Floats = np.where(item[before] == wanted, cost[before], later)
    return found


def _key(item: Instants, time: Instants) -> Instants:
    return item * _SECONDS + np.maximum(time // SECOND, 0)
