"""Collaborative sources: latent factors and item-item weights, with the subject folded in at request time."""

from __future__ import annotations

from functools import cached_property
from typing import cast

import numpy as np
import numpy.typing as npt

from features.compiled import available, scratch
from serving.bundle import Bundle
from serving.candidates import NOTHING, Floats, Opinion, Proposals, Rows
from serving.query import Query
from serving.recipe import SourceSpec
from serving.sources import kernels, vector_kernels
from serving.sources.contract import Preferences, no_causes
from serving.sources.edges import edges_of
from serving.sources.folding import Fold
from serving.sources.index import Index
from serving.sources.indexing import index_of

COMPACT_BELOW = 0.8
"""Share of listed items below which a copy of their factors alone is worth its memory."""


class Factors:
    """Latent factors with the subject folded in, as `serving.sources.folding` says."""

    personal = True

    def __init__(self, spec: SourceSpec, bundle: Bundle) -> None:
        arrays = bundle.source_arrays(spec.name)
        self.name = spec.name
        self._factors = np.ascontiguousarray(arrays["item_factors"], np.float32)
        gram = arrays["gram"].astype(np.float32) + float(spec.params.get("regularization", 0.01)) * np.eye(
            self._factors.shape[1], dtype=np.float32
        )
        self._fold = Fold(self._factors, gram, float(spec.params.get("alpha", 1.0)))
        self._preferences = Preferences(spec, bundle.recipe.past)
        # What is not in the catalogue is never shown: where that is most of the items, only the others are scored.
        listed = bundle.catalogue
        # A bundle of before has no index that can be used: all of its vectors are one group.
        self.index = Index.of(arrays, self._factors) or index_of(self._factors, listed, grouped=False)
        sparse = self.index is None and len(listed) > 0 and listed.mean() < COMPACT_BELOW
        self._rows = np.flatnonzero(listed).astype(np.int32) if sparse else np.arange(len(listed), dtype=np.int32)
        self._scored = np.ascontiguousarray(self._factors[self._rows]) if sparse else self._factors

    def fold_in(self, query: Query) -> Floats | None:
        """float32[k]: the subject's vector, or None without a positive preference."""
        items, weights = self._preferences.of(query)
        return self._fold.of(items, weights) if len(items) else None

    def opine(self, query: Query) -> Opinion:
        """How far each item's vector points where the subject's does."""
        vector = self.fold_in(query)
        if vector is None:
            return Opinion.none()
        return Pointing(self._rows, self._scored, self._factors, self.index, vector)

    def causes(self, query: Query, items: Rows) -> Rows:
        """The past item whose vector is nearest by cosine."""
        past, _ = self._preferences.of(query)
        if not len(past) or not len(items):
            return no_causes(items)
        if available():
            found = np.empty(len(items), np.int32)
            vector_kernels.nearest(past, self._factors, items, found)
            return found
        mine = self._factors[past]
        mine = mine / (np.linalg.norm(mine, axis=1, keepdims=True) + 1e-12)
        likeness = np.where(past[:, None] == items, -np.inf, mine @ self._factors[items].T)
        return np.where(np.isfinite(likeness.max(axis=0)), past[np.argmax(likeness, axis=0)], -1).astype(np.int32)


class Pointing(Opinion):
    """How far the vectors of items point where the subject's does. What nobody asks for is not worked out.

    Args:
        items: int32[n]: what it has an opinion of, ascending.
        vectors: float32[n, k], theirs.
        factors: float32[n_items, k], of all items.
        index: finds the best; None: all are asked.
        vector: float32[k], the subject's.
    """

    def __init__(self, items: Rows, vectors: Floats, factors: Floats, index: Index | None, vector: Floats) -> None:
        self.items, self.ranked = items, None
        self._vectors, self._factors, self._index, self._vector = vectors, factors, index, vector

    @cached_property
    def scores(self) -> Floats:  # type: ignore[override]
        """float32[n]: of all items."""
        return cast("Floats", self._vectors @ self._vector)

    def near(self, count: int, beside: Rows = NOTHING) -> Proposals:
        """Its best: what nobody proposes is not worked out."""
        if self._index is None:
            return super().best(count + len(beside))
        return self._index.near(self._vector, count, beside)

    def best(self, count: int) -> Proposals:
        """The `count` highest, best first."""
        return super().best(count) if self._index is None else self._index.best(self._vector, count)

    def tell(self, items: Rows, out: Floats, column: int) -> None:
        """As the contract says, only for the items asked about."""
        if available():
            vector_kernels.products(self._factors, items, self._vector, column, out)
        else:
            super().tell(items, out, column)


class Neighbours:
    """Item-item weights: score(j) = sum over the subject's items i of confidence(i) * S[i, j]."""

    personal = True

    def __init__(self, spec: SourceSpec, bundle: Bundle) -> None:
        arrays = bundle.source_arrays(spec.name)
        self.name = spec.name
        self._indptr = np.asarray(arrays["indptr"], np.int64)
        self._pairs = edges_of(arrays)
        self._bits = self._pairs.view(np.float32)
        self._indices, self._weights = self._pairs[:, 0], self._bits[:, 1]
        self._preferences = Preferences(spec, bundle.recipe.past)
        self._binary = bool(spec.params.get("binary", False))

    def opine(self, query: Query) -> Opinion:
        """Neighbours of the past, or of the anchors where the query names some."""
        items, weights = self._anchors(query)
        if available():
            return self._summed(items, weights)
        at, place = self._edges(items)
        if not len(at):
            return Opinion.none()
        # A dense sum over all items is faster than sorting tens of thousands of neighbour entries.
        neighbours = self._indices[at]
        scores = np.bincount(neighbours, weights=self._weights[at] * weights[place]).astype(np.float32)
        found = np.flatnonzero(scores).astype(np.int32)
        return Opinion(found, scores[found])

    def _summed(self, items: Rows, weights: Floats) -> Opinion:
        """The same with a kernel, over tables of this thread."""
        size = kernels.stretch(len(self._indptr) - 1)
        sums, marks = scratch("neighbour_sum", size, np.float64), scratch("stretch_mark", size // 64, np.uint64)
        return Opinion(*kernels.neighbours(items, weights, self._indptr, self._pairs, self._bits, sums, marks))

    def causes(self, query: Query, items: Rows) -> Rows:
        """The past item (or anchor) that gives the most weight to each item."""
        past, weights = self._anchors(query)
        if available():
            found = np.empty(len(items), np.int32)
            kernels.given_most(past, weights, self._indptr, self._pairs, self._bits, items, found)
            return found
        at, place = self._edges(past)
        if not len(at) or not len(items):
            return no_causes(items)
        slot_of = np.full(len(self._indptr) - 1, -1, np.int32)
        slot_of[items] = np.arange(len(items), dtype=np.int32)
        slot = slot_of[self._indices[at]]
        mine = np.flatnonzero(slot >= 0)
        given = np.zeros((len(items), len(past)), np.float32)
        given[slot[mine], place[mine]] = self._weights[at[mine]] * weights[place[mine]]
        return np.where(given.max(axis=1) > 0, past[np.argmax(given, axis=1)], -1).astype(np.int32)

    def _anchors(self, query: Query) -> tuple[Rows, Floats]:
        """The weighted items that the question starts from."""
        if query.anchors:
            return np.array(query.anchors, np.int32), np.ones(len(query.anchors), np.float32)
        return self._past(query)

    def _past(self, query: Query) -> tuple[Rows, Floats]:
        """The subject's items and the weight of each."""
        items, weights = self._preferences.of(query)
        return items, np.ones_like(weights) if self._binary else weights

    def _edges(self, items: Rows) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.intp]]:
        """Positions of all neighbour entries of the items, and for each the item's place among them."""
        starts = self._indptr[items]
        lengths = self._indptr[items + 1] - starts
        before = np.cumsum(lengths) - lengths
        place = np.repeat(np.arange(len(items)), lengths)
        return np.arange(len(place), dtype=np.int64) + (starts - before)[place], place
