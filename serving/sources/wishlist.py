"""The wishlist: what is wished now, by how likely a wish of that age still becomes a purchase."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from features.compiled import available
from features.history import History
from features.kinds import EventType
from features.moments import DAY
from features.personal import open_wishes
from serving.bundle import Bundle
from serving.candidates import Floats, Opinion, Rows
from serving.query import Query
from serving.recipe import SourceSpec
from serving.sources import kernels

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is on the wishlist now.

    Args:
        items: int32[m], ascending.
        age: float64[m], days since the item was put there (last).
        removed: int64[m], how often it was taken off before.
        drop: float64[m], by how much the price fell since, as a share; 0 where it did not or is not known.
        scores: float32[m], of the source, where a kernel worked them out.
    """

    items: Rows
    age: Doubles
    removed: npt.NDArray[np.int64]
    drop: Doubles
    scores: Floats | None = None


class Wishlist:
    """The probability that a wish becomes a purchase in the next days.

    score = 1 - exp(-(H(age + h) - H(age)) x (1 + price_gain x drop) x again^removed), with H the cumulated hazard of
    conversion by age of the wish. What was removed or bought since is no wish.

    Price at the wish: the event's own, else the item's listed price of that moment, where the shop keeps versions.
    Where neither is known, or the price now is not, the price says nothing.
    """

    personal = True

    def __init__(self, spec: SourceSpec, bundle: Bundle) -> None:
        arrays = bundle.source_arrays(spec.name)
        self.name = spec.name
        self._edges = np.asarray(arrays["edges"], np.float64)
        self._hazard = np.asarray(arrays["hazard"], np.float64)
        self._starts = np.asarray(arrays["price_offsets"], np.int64)
        self._since = np.asarray(arrays["price_since"], np.int64)
        self._listed = np.asarray(arrays["price"], np.float32)
        self.prices = cast("Floats", bundle.arrays.get("item.price", bundle.shared.price))
        """float32[n_items]: prices now; whoever knows later ones sets them."""
        self._horizon = float(spec.params.get("horizon_days", 28.0))
        self._gain = float(spec.params.get("price_gain", 2.0))
        self._again = float(spec.params.get("again", 0.5))

    def opine(self, query: Query) -> Opinion:
        """What is wished now."""
        found = self.wishes(query)
        if not len(found.items):
            return Opinion.none()
        if found.scores is not None:
            return Opinion(found.items, found.scores)
        ahead = cumulated(found.age + self._horizon, self._edges, self._hazard)
        hazard = ahead - cumulated(found.age, self._edges, self._hazard)
        hazard *= (1 + self._gain * found.drop) * self._again**found.removed
        return Opinion(found.items, (-np.expm1(-hazard)).astype(np.float32))

    def wishes(self, query: Query) -> Wishes:
        """The open wishes, with their age, what became of earlier ones, and how the price moved; once a query."""
        return query.once(self, lambda: self._wishes(query))

    def _wishes(self, query: Query) -> Wishes:
        if available():
            return self._read(query.history, query.now)
        told = query.history.of_types(EventType.WISHLIST, EventType.WISHLIST_REMOVE)
        told = told.take(told.item >= 0)
        asked = np.unique(told.item)
        still, since = open_wishes(query.history, asked)
        items, since = asked[still], since[still]
        gone = np.sort(told.item[told.type == EventType.WISHLIST_REMOVE])
        removed = np.searchsorted(gone, items, "right") - np.searchsorted(gone, items, "left")
        then = self._price_then(told, items, since)
        with np.errstate(invalid="ignore", divide="ignore"):
            drop = np.where(then > 0, 1 - self.prices[items] / then, 0)
        return Wishes(items, (query.now - since) / DAY, removed, np.clip(np.nan_to_num(drop), 0, 1))

    def _read(self, history: History, now: int) -> Wishes:
        """The same with a kernel, and the score of each."""
        most = len(history)
        items, removed, scores = np.empty(most, np.int32), np.empty(most, np.int64), np.empty(most, np.float32)
        told = np.empty((2, most))
        count = kernels.wishes(
            history.time, history.item, history.type, history.quantity, history.value, now, self.prices, self._starts,
            self._since, self._listed, self._edges, self._hazard, self._horizon, self._gain, self._again, items,
            removed, told, scores,
        )  # fmt: skip
        return Wishes(items[:count], told[0, :count], removed[:count], told[1, :count], scores[:count])

    def causes(self, query: Query, items: Rows) -> Rows:
        """Each item speaks for itself: it is wished."""
        return items

    def _price_then(self, told: History, items: Rows, since: npt.NDArray[np.int64]) -> Doubles:
        """float64[len(items)]: the price when it was wished; NaN unknown."""
        price = np.full(len(items), np.nan)
        added = told.take(told.type == EventType.WISHLIST)
        for place, (item, moment) in enumerate(zip(items.tolist(), since.tolist(), strict=True)):
            at = np.flatnonzero((added.item == item) & (added.time == moment))[-1]
            own = float(added.value[at]) / max(float(added.quantity[at]), 1e-9)
            price[place] = own if np.isfinite(own) else self._listed_at(item, moment)
        return price

    def _listed_at(self, item: int, moment: int) -> float:
        start, end = int(self._starts[item]), int(self._starts[item + 1])
        before = int(np.searchsorted(self._since[start:end], moment, "right"))
        return float(self._listed[start + before - 1]) if before else float("nan")


def cumulated(age: Doubles, edges: Doubles, hazard: Doubles) -> Doubles:
    """float64[len(age)]: the hazard cumulated up to each age, days.

    Args:
        age: float64[m], days.
        edges: float64[b], where each bucket of ages begins, from 0; the last has no end.
        hazard: float64[b], conversions a wish a day in each.
    """
    ends = np.append(edges[1:], np.inf)
    spent = np.clip(age[:, None], edges, ends) - edges
    return spent @ hazard
