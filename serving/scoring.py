"""Scorers: how candidates become one order. A blend of the sources' scores, or a ranker of trees over feature rows.

A scorer never drops a candidate and never reorders: selection is the ranker's. Both are pure functions of the query,
the bundle and the candidates, so training scores exactly what serves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from features.assemble import FEATURE_NAMES, assemble
from features.compiled import available
from features.errors import BundleError
from serving.bundle import Bundle
from serving.candidates import Candidates, Floats, Rows
from serving.query import Query
from serving.recipe import RankerSpec
from serving.slate_kernel import blended, settled, told
from serving.trees import Forest

Columns = npt.NDArray[np.intp]
Weights = Mapping[str, float]
Order = Weights | RankerSpec
"""Who orders the candidates: weights of a blend, or a ranker whose trees the bundle holds."""
Contribution = tuple[str, float | None, float]
"""A column, its value (None where missing) and what it added to the log-odds."""
Task = str
"""`all`, or `new` where what was bought before is excluded."""
TASKS = ("all", "new")


class Scorer(Protocol):
    """One score for each candidate."""

    voices: tuple[str, ...]
    """Sources whose proposals it orders."""

    def score(self, query: Query, candidates: Candidates) -> tuple[Floats, Columns]:
        """float32[m] and, for each candidate, the column of the source that speaks most for it."""
        ...


class Blend:
    """The weighted sum of the sources' scores, each divided by its largest."""

    def __init__(self, weights: Weights) -> None:
        self._weights, self.voices = weights, tuple(weights)

    def score(self, query: Query, candidates: Candidates) -> tuple[Floats, Columns]:
        """As the contract says; a source without a score for an item adds nothing."""
        if not len(candidates):
            return np.empty(0, np.float32), np.empty(0, np.intp)
        scale = np.array([self._weights[name] for name in candidates.sources], np.float32)
        if available():
            scores, leading = np.empty(len(candidates), np.float32), np.empty(len(candidates), np.intp)
            blended(candidates.scores, scale, scores, leading)
            return scores, leading
        largest = np.fmax.reduce(candidates.scores, axis=0, initial=0)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            parts = np.where(largest > 0, candidates.scores / largest, 0) * scale
        parts = np.nan_to_num(parts, copy=False)
        return parts.sum(axis=1, dtype=np.float32), np.argmax(parts, axis=1)


@dataclass(frozen=True)
class InSession:
    """A voice with what the running session says beside it.

    Args:
        voice: weights of a blend, or a ranker.
        source: the name of the session's source.
        weight: what the source counts.
    """

    voice: Order
    source: str
    weight: float


class Beside:
    """Another scorer's order, with one more source beside it that its blend or its trees do not know.

    score(j) = base(j) + weight x max(base) x said(j) / max(said)

    where max is over the candidates, and a source without a score for an item adds nothing. Where the base says nothing
    of any candidate its maximum counts as 1. The sum keeps the base's scale; a probability it is no more.
    """

    def __init__(self, base: Scorer, source: str, weight: float) -> None:
        self.base, self._source, self._weight = base, source, weight
        self.voices = tuple(dict.fromkeys((*base.voices, source)))

    def score(self, query: Query, candidates: Candidates) -> tuple[Floats, Columns]:
        """As the contract says."""
        return self.beside(candidates, *self.base.score(query, candidates.columns(self.base.voices)))

    def beside(self, candidates: Candidates, own: Floats, leading: Columns) -> tuple[Floats, Columns]:
        """`score`, from what the base said of the same candidates."""
        if not len(candidates):
            return own, leading
        column = candidates.sources.index(self._source)
        said = np.nan_to_num(candidates.scores[:, column], nan=0.0)
        largest, scale = float(said.max()), float(own.max())
        if largest <= 0:
            return own, leading
        # Divided first: a weight over the smallest of numbers has no place in single precision.
        more = np.float32(self._weight * (scale if scale > 0 else 1.0)) * (said / np.float32(largest))
        return own + more, np.where(more > own, column, leading)


class Trees:
    """A forest over the feature rows of the candidates: the probability that the item is bought in the next window.

    score = 1 / (1 + exp(-(forest(row) + offset))); the offset takes back that training left out negatives. A
    forest fitted for order alone (lambdarank) gives an order in (0, 1) and no probability.
    """

    def __init__(self, bundle: Bundle, spec: RankerSpec, task: Task) -> None:
        arrays = bundle.ranker_arrays(spec.name, task)
        if not arrays:
            raise BundleError("the ranker's trees are missing", where=bundle.id, got=f"{spec.name} {task}")
        self.voices = spec.voices
        self._bundle, self._forest = bundle, Forest.from_arrays(arrays)
        self._offset = float(arrays["offset"][0])

    def prepare(self) -> None:
        """Work out the tables of the forest now, and not in the first request."""
        self._forest.predict(np.zeros((1, len(ranking_names(self.voices))), np.float32))

    def score(self, query: Query, candidates: Candidates) -> tuple[Floats, Columns]:
        """As the contract says; the source that speaks most is the one in whose list the item stands highest."""
        if not len(candidates):
            return np.empty(0, np.float32), np.empty(0, np.intp)
        return self.score_rows(self.read(query, candidates))

    def read(self, query: Query, candidates: Candidates) -> Floats:
        """What is read of the candidates, as `ranking_block` says."""
        return ranking_block(self._bundle, query, candidates)

    def score_rows(self, block: Floats) -> tuple[Floats, Columns]:
        """`score` of candidates whose rows are there already: rankers that hear the same sources share them."""
        if available():
            scores = np.empty(len(block), np.float32)
            leading = np.empty(len(block), np.intp)
            settled(self._forest.predict(block), self._offset, block, len(self.voices), scores, leading)
            return scores, leading
        raw = self._forest.predict(block) + self._offset
        ranks = block[:, -len(self.voices) :]
        return (1 / (1 + np.exp(-raw))).astype(np.float32), np.argmin(np.nan_to_num(ranks, nan=np.inf), axis=1)

    def contributions(
        self, query: Query, candidates: Candidates, shown: Rows, most: int = 3
    ) -> dict[int, list[Contribution]]:
        """For each candidate that is shown, the columns that moved its log-odds most, largest first.

        All candidates are needed: a rank is a place among them.
        """
        names, moved = ranking_names(self.voices), {}
        places = np.flatnonzero(np.isin(candidates.items, shown))
        block = ranking_block(self._bundle, query, candidates)
        for place in places.tolist():
            item, row = int(candidates.items[place]), block[place]
            parts = self._forest.contributions(row)
            top = np.argsort(-np.abs(parts), kind="stable")[:most]
            moved[item] = [(names[at], _finite(row[at]), round(float(parts[at]), 4)) for at in top]
        return moved


def _finite(value: np.float32) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def ranking_names(voices: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the columns of `ranking_block`."""
    return (*FEATURE_NAMES, *(f"{name}_score" for name in voices), *(f"{name}_rank" for name in voices))


def ranking_block(bundle: Bundle, query: Query, candidates: Candidates) -> Floats:
    """What a ranker reads of each candidate: its feature row, what each source says of it, and its rank there.

    Returns:
        float32[m, features + 2 x sources]; NaN where a source did not propose the item.
    """
    width, sources = len(FEATURE_NAMES), len(candidates.sources)
    block = np.empty((len(candidates), width + 2 * sources), np.float32)
    assemble(query.history, candidates.items, bundle.shared, bundle.as_of, query.now, block)
    if candidates.ranks is not None:
        block[:, width:-sources], block[:, -sources:] = candidates.opinions, candidates.ranks
    elif available():
        told(candidates.scores, candidates.opinions, width, block)
    else:
        block[:, width:-sources], block[:, -sources:] = candidates.opinions, ranks_of(candidates.scores)
    return block


def ranks_of(scores: Floats) -> Floats:
    """float32[m, S]: 0 for the highest score of each column, ties by row; NaN stays NaN."""
    # NaN sorts behind all numbers, so negating keeps the proposed ones in front.
    order = np.argsort(-scores, axis=0, kind="stable")
    ranks = np.empty_like(scores)
    np.put_along_axis(ranks, order, np.arange(len(scores), dtype=np.float32)[:, None], axis=0)
    return np.where(np.isnan(scores), np.float32(np.nan), ranks)
