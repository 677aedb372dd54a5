"""From a query to ranked items: gather, filter, score, select, fill.

It is a pure function of a bundle, the shelf and the query. Offline evaluation replays it as it serves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from serving.bundle import Bundle
from serving.candidates import Candidates, Floats, Rows
from serving.filters import apply_filters
from serving.query import Query
from serving.shelf import Shelf
from serving.sources import Popularity, Source, build_sources

FILL_SPARE = 64
"""So many more popular items are looked at than are missing, because filters take some away."""


@dataclass(frozen=True, slots=True)
class Slate:
    """The ranked answer.

    Args:
        items: int32[k], best first.
        scores: float32[k], in the unit of the recipe's blend, descending (filled places: 0).
        sources: for each item the source that speaks most for it.
        considered: all candidates with the source scores, and what was removed.
        filled: how many places at the end were filled by the fallback.
    """

    items: Rows
    scores: Floats
    sources: tuple[str, ...]
    considered: Candidates
    filled: int = 0


class Ranker:
    """A bundle ready to rank."""

    def __init__(self, bundle: Bundle, shelf: Shelf | None = None) -> None:
        self.bundle = bundle
        self.shelf = shelf or Shelf(bundle)
        self.sources: Mapping[str, Source] = build_sources(bundle)

    def rank(
        self,
        query: Query,
        weights: Mapping[str, float] | None = None,
        *,
        personal: bool = True,
        filled: bool = True,
    ) -> Slate:
        """The whole way from a query to a slate of at most `query.num_results` items.

        Args:
            query: who, when and what.
            weights: source name -> weight; default: the recipe's for this task.
            personal: False leaves out every source that reads the subject's events (holdout, no consent).
            filled: whether what is missing is filled by the fallback source.
        """
        weights = self.weights_for(query) if weights is None else weights
        voices = {name: weight for name, weight in weights.items() if personal or not self.sources[name].personal}
        candidates = self.gather(query, voices)
        candidates = apply_filters(self.shelf, query, candidates)
        slate = order(candidates, voices, query.num_results)
        return self.fill(query, slate) if filled else slate

    def rank_each(self, query: Query, several: Sequence[Mapping[str, float]]) -> list[Slate]:
        """`rank` for several weightings at once: candidates are gathered and filtered once for all of them.

        Equal to `[rank(query, weights) for weights in several]`, only faster; tuning asks for dozens.
        """
        names = dict.fromkeys(name for weights in several for name in weights)
        candidates = apply_filters(self.shelf, query, self.gather(query, names))
        slates = (order(candidates.heard(tuple(w)), w, query.num_results) for w in several)
        return [self.fill(query, slate) for slate in slates]

    def weights_for(self, query: Query) -> Mapping[str, float]:
        """The recipe's weights: another set where what was bought before is excluded."""
        recipe = self.bundle.recipe
        only_new = "purchased" in query.filter.exclude
        return recipe.new_weights if only_new and recipe.new_weights else recipe.weights

    def gather(self, query: Query, names: Iterable[str]) -> Candidates:
        """The union of what the named sources propose."""
        count = self.bundle.recipe.candidates_per_source
        # Filters take some away: ask for enough that the answer can still be filled.
        count = max(count, 2 * query.num_results)
        if "purchased" in query.filter.exclude:
            count += len(query.history)
        return Candidates.union([(name, self.sources[name].propose(query, count)) for name in names])

    def fill(self, query: Query, slate: Slate) -> Slate:
        """Fill the places at the end that the sources left empty; never displace what they chose."""
        missing = query.num_results - len(slate.items)
        floor = self.bundle.recipe.fill
        if missing <= 0 or query.anchors:
            return slate
        asked = missing + len(slate.items) + FILL_SPARE
        while True:  # most often the first few will do; filters may take more away
            proposed = self.sources[floor].propose(query, asked)
            found = Candidates.union([(floor, proposed)])
            found = found.without(np.isin(found.items, slate.items), "already-there")
            found = apply_filters(self.shelf, query, found)
            if len(found) >= missing or len(proposed.items) < asked:
                break
            asked *= 8
        order = np.lexsort((found.items, -found.scores[:, 0]))[:missing]
        return replace(
            slate,
            items=np.concatenate([slate.items, found.items[order]]),
            scores=np.concatenate([slate.scores, np.zeros(len(order), np.float32)]),
            sources=(*slate.sources, *(floor for _ in order)),
            filled=len(order),
        )

    def regions(self) -> list[str]:
        """Regions with a popularity list of their own."""
        floor = self.sources[self.bundle.recipe.fill]
        return list(floor.regions) if isinstance(floor, Popularity) else []


def order(candidates: Candidates, weights: Mapping[str, float], count: int) -> Slate:
    """Score and select."""
    scores, leading = blend(candidates, weights)
    return select(candidates, scores, leading, count)


def blend(candidates: Candidates, weights: Mapping[str, float]) -> tuple[Floats, npt.NDArray[np.intp]]:
    """One score an item: the weighted sum of the sources' scores, each divided by its largest.

    Returns:
        float32[m] and intp[m], the column of the source that gives the most.
    """
    if not len(candidates):
        return np.empty(0, np.float32), np.empty(0, np.intp)
    scale = np.array([weights[name] for name in candidates.sources], np.float32)
    largest = np.fmax.reduce(candidates.scores, axis=0, initial=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        parts = np.where(largest > 0, candidates.scores / largest, 0) * scale
    parts = np.nan_to_num(parts, copy=False)
    return parts.sum(axis=1, dtype=np.float32), np.argmax(parts, axis=1)


def select(candidates: Candidates, scores: Floats, leading: npt.NDArray[np.intp], count: int) -> Slate:
    """The `count` best, ties by item row."""
    order = np.lexsort((candidates.items, -scores))[:count]
    names = tuple(candidates.sources[column] for column in leading[order])
    return Slate(candidates.items[order], scores[order], names, candidates)
