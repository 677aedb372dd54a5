"""Plain sources: what sells now, and what the subject bought before. They need counting, not a model."""

from __future__ import annotations

from functools import cached_property
from typing import cast

import numpy as np
import numpy.typing as npt

from features.by_item import ByItem, bits
from features.compiled import available
from features.history import History
from features.ids import Vocabulary
from features.kinds import EventType
from features.moments import DAY
from features.pace import breathe
from serving.bundle import Bundle
from serving.candidates import Floats, Opinion, Proposals, Rows
from serving.candidates_kernel import read_off
from serving.query import Query
from serving.recipe import SourceSpec
from serving.sources import kernels
from serving.sources.contract import no_causes, past_of

Doubles = npt.NDArray[np.float64]
WIDE = 4
"""A list that one in so many items stands in is kept by item as well: it takes less room so, or not much more."""
_LINES = bits((EventType.PURCHASE, EventType.RETURN))


def kept_share(lines: History, items: Rows) -> Doubles:
    """float64[len(items)]: 1 - returned pieces / bought pieces of each item, from 0 to 1.

    Args:
        lines: purchases and returns of one subject.
        items: int32[m], ascending and distinct.
    """
    lines = lines.take(np.isin(lines.item, items))
    where, bought = np.searchsorted(items, lines.item), lines.type == EventType.PURCHASE
    pieces = np.bincount(where, weights=np.where(bought, lines.quantity, 0), minlength=len(items))
    back = np.bincount(where, weights=np.where(bought, 0, lines.quantity), minlength=len(items))
    return cast("Doubles", np.clip(1 - back / np.maximum(pieces, 1e-9), 0, 1))


class RankedLists:
    """Lists of items that training ordered, best first, as opinions.

    Args:
        items: int32[lists, length], -1 beyond the end of each.
        scores: float32[lists, length].
    """

    def __init__(self, items: Rows, scores: Floats) -> None:
        self._items, self._scores = np.ascontiguousarray(items, np.int32), np.ascontiguousarray(scores, np.float32)
        self._opinions: dict[int, Opinion] = {}

    def opinion(self, row: int) -> Opinion:
        """One of the lists."""
        if row not in self._opinions:
            listed = self._items[row]
            self._opinions[row] = _by_item(listed[: np.count_nonzero(listed >= 0)], self._scores[row])
        return self._opinions[row]


def _by_item(items: Rows, scores: Floats) -> Opinion:
    """Of a list that is best first. It may be as long as the catalogue: its items are put in their places, not sorted.

    Args:
        items: int32[m], distinct.
        scores: float32[m or more].
    """
    scores, span = scores[: len(items)], int(items.max(initial=-1)) + 1
    if len(items) * WIDE >= span:
        return Listed(span, Proposals(items, scores))
    place = np.full(span, -1, np.int32)
    place[items] = np.arange(len(items), dtype=np.int32)
    breathe()
    known = np.flatnonzero(place >= 0).astype(np.int32)
    breathe()
    rising = place[known]
    breathe()
    return Opinion(known, scores[rising], Proposals(items, scores))


class Listed(Opinion):
    """A list of most items: what it says of one stands at the item's row, and is not searched for.

    Args:
        span: no item of it has this row or a later one.
        ranked: the list.
    """

    def __init__(self, span: int, ranked: Proposals) -> None:
        self.ranked = ranked
        self._said = np.full(span, np.nan, np.float32)
        self._said[ranked.items] = np.where(np.isfinite(ranked.scores), ranked.scores, np.float32(np.nan))
        breathe()

    @cached_property
    def items(self) -> Rows:  # type: ignore[override]
        """int32[m], ascending."""
        return np.sort(cast("Proposals", self.ranked).items)

    @cached_property
    def scores(self) -> Floats:  # type: ignore[override]
        """float32[m]."""
        return self._said[self.items]

    def tell(self, items: Rows, out: Floats, column: int) -> None:
        """As the contract says."""
        if available():
            read_off(self._said, items, column, out)
        else:
            super().tell(items, out, column)


class Popularity:
    """What sells now, per region with the whole shop as back-off: the floor that cannot fail."""

    personal = False

    def __init__(self, spec: SourceSpec, bundle: Bundle) -> None:
        arrays = bundle.source_arrays(spec.name)
        self.name = spec.name
        self._lists = RankedLists(cast("Rows", arrays["items"]), cast("Floats", arrays["scores"]))
        self.regions = Vocabulary.from_arrays(arrays, "regions")

    def opine(self, query: Query) -> Opinion:
        """The region's sales, or everywhere's where the region is unknown (or too small to have a list)."""
        region = query.context.region
        row = self.regions.find(region) if region else None
        return self._lists.opinion(len(self.regions) if row is None else row)

    def causes(self, query: Query, items: Rows) -> Rows:
        """Popularity needs no past."""
        return no_causes(items)


class PersonalFrequency:
    """Buy again: how often, and how lately, the subject bought each item.

    score = (sum over purchases of 2^(-age / half_life_days)) x (1 - returned pieces / bought pieces)
            + popular_weight x popularity. The last orders what was bought equally often, which a whole basket is.
    """

    personal = True

    def __init__(self, spec: SourceSpec, bundle: Bundle) -> None:
        self.name = spec.name
        self._half_life = DAY * float(spec.params.get("half_life_days", 120.0))
        self._floor = float(spec.params.get("count_weight", 0.0))
        self._popular_weight = float(spec.params.get("popular_weight", 0.0))
        self._popular = np.asarray(bundle.source_arrays(spec.name).get("popular", ()), np.float32)

    def opine(self, query: Query) -> Opinion:
        """Items bought before, by how often and how lately."""
        if available():
            return self._counted(past_of(query), query.now)
        past = query.history.of_types(EventType.PURCHASE, EventType.RETURN)
        past = past.take(past.item >= 0)
        if not len(past):
            return Opinion.none()
        bought = past.type == EventType.PURCHASE
        items, where = np.unique(past.item, return_inverse=True)
        weight = np.where(bought, self._floor + np.exp2(-(query.now - past.time) / self._half_life), 0)
        scores = np.bincount(where, weights=weight) * kept_share(past, items)
        if len(self._popular):
            scores += np.where(scores > 0, self._popular_weight * self._popular[items], 0)
        return Opinion(items, np.where(scores > 0, scores, -np.inf).astype(np.float32))

    def _counted(self, past: ByItem, now: int) -> Opinion:
        """The same with a kernel."""
        if not past.types & _LINES:
            return Opinion.none()
        return Opinion(*kernels.frequency(
            past.events, now, self._half_life, self._floor, self._popular_weight, self._popular
        ))  # fmt: skip

    def causes(self, query: Query, items: Rows) -> Rows:
        """Each item speaks for itself: it was bought."""
        return items
