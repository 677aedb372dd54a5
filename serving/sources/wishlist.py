"""The wishlist: what is wished now, by how likely a wish of that age still becomes a purchase."""

from __future__ import annotations

from typing import cast

import msgspec
import numpy as np
import numpy.typing as npt

from features.by_item import ByItem, bits
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
from serving.sources.contract import past_of

Doubles = npt.NDArray[np.float64]
_WISHED = bits((EventType.WISHLIST,))


class Wishes(msgspec.Struct, frozen=True):
    """What is on the wishlist now.

    Args:
        items: int32[m], ascending.
        told: float64[3, m], by row what the properties say.
        scores: float32[m], of the source.
    """

    items: Rows
    told: Doubles
    scores: Floats

    @property
    def age(self) -> Doubles:
        """float64[m]: days since the item was put there (last)."""
        return cast("Doubles", self.told[0])

    @property
    def removed(self) -> Doubles:
        """float64[m]: how often it was taken off before."""
        return cast("Doubles", self.told[1])

    @property
    def drop(self) -> Doubles:
        """float64[m]: by how much the price fell since, as a share; 0 where it did not or is not known."""
        return cast("Doubles", self.told[2])


_NO_WISHES = Wishes(np.empty(0, np.int32), np.empty((3, 0)), np.empty(0, np.float32))


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
        return Opinion(found.items, found.scores) if len(found.items) else Opinion.none()

    def wishes(self, query: Query) -> Wishes:
        """The open wishes, with their age, what became of earlier ones, and how the price moved; once a query."""
        return query.once(self, self._wishes, query)

    def _wishes(self, query: Query) -> Wishes:
        if available():
            return self._read(past_of(query), query.now)
        told = query.history.of_types(EventType.WISHLIST, EventType.WISHLIST_REMOVE)
        told = told.take(told.item >= 0)
        asked = np.unique(told.item)
        still, since = open_wishes(query.history, asked)
        items, since = asked[still], since[still]
        gone = np.sort(told.item[told.type == EventType.WISHLIST_REMOVE])
        removed = np.searchsorted(gone, items, "right") - np.searchsorted(gone, items, "left")
        then = self._price_then(told, items, since)
        with np.errstate(invalid="ignore", divide="ignore"):
            drop = np.clip(np.nan_to_num(np.where(then > 0, 1 - self.prices[items] / then, 0)), 0, 1)
        age = (query.now - since) / DAY
        return Wishes(items, np.stack([age, removed, drop]), self._scores(age, removed, drop))

    def _scores(self, age: Doubles, removed: npt.NDArray[np.int64], drop: Doubles) -> Floats:
        """float32[m], of wishes."""
        ahead = cumulated(age + self._horizon, self._edges, self._hazard)
        hazard = ahead - cumulated(age, self._edges, self._hazard)
        hazard *= (1 + self._gain * drop) * self._again**removed
        return cast("Floats", (-np.expm1(-hazard)).astype(np.float32))

    def _read(self, past: ByItem, now: int) -> Wishes:
        """The same with a kernel, and the score of each."""
        if not past.types & _WISHED:
            return _NO_WISHES
        return Wishes(*kernels.wishes(
            past.events, now, self.prices, self._starts, self._since, self._listed, self._edges, self._hazard,
            self._horizon, self._gain, self._again,
        ))  # fmt: skip

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
