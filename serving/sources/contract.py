"""What every candidate source can do."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
import numpy as np

from features.by_item import ByItem, by_item
from features.confidence import ConfidenceParams, preferences
from serving.candidates import Floats, Opinion, Rows
from serving.query import Query
from serving.recipe import SourceSpec


class Source(Protocol):
    """What every candidate source can do."""

    name: str
    personal: bool
    """Whether it reads the subject's own events."""

    def opine(self, query: Query) -> Opinion:
        """Items and their scores for the query."""
        ...

    def causes(self, query: Query, items: Rows) -> Rows:
        """For each item, the item of the subject's past that speaks most for it; -1 where there is none."""
        ...


def confidence_of(spec: SourceSpec) -> ConfidenceParams:
    """The confidence parameters that a source was fitted with: its `confidence` parameter."""
    given: dict[str, Any] = spec.params.get("confidence", {})
    return ConfidenceParams(**given)


class Preferences:
    """The subject's items and the confidence of each, read once a query for all sources that weigh events alike.

    Args:
        spec: of the source.
        most: so many items, those of the highest confidence; 0: all (`serving.recipe.Breadth`).
    """

    def __init__(self, spec: SourceSpec, most: int = 0) -> None:
        self.params, self._most = confidence_of(spec), most
        self._key, self._by_code = msgspec.json.encode((self.params, most), order="sorted"), self.params.by_code()

    def of(self, query: Query) -> tuple[Rows, Floats]:
        """int32[m] ascending, float32[m] above 0; as `features.confidence.preferences`."""
        return query.once(self._key, self._read, query)

    def _read(self, query: Query) -> tuple[Rows, Floats]:
        return preferences(query.history, query.now, self.params, self._by_code, past_of(query), self._most)


def past_of(query: Query) -> ByItem:
    """The subject's events in the order of their items, sorted once a query for all sources."""
    return query.once(by_item, by_item, query.history)


def no_causes(items: Rows) -> Rows:
    """int32[len(items)], all -1: nothing of the subject's past speaks for them."""
    return np.full(len(items), -1, np.int32)
