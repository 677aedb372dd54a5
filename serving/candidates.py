"""Candidates: the union of what the sources propose, with each source's score of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from features.compiled import available
from serving import candidates_kernel as kernels

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
NOTHING: Rows = np.empty(0, np.int32)
NO_SCORES: Floats = np.empty(0, np.float32)


class Proposals(msgspec.Struct, frozen=True, eq=False):
    """What one source proposes: distinct item rows and finite scores, best first."""

    items: Rows
    scores: Floats

    @staticmethod
    def none() -> Proposals:
        """The source has nothing to say."""
        return _NO_PROPOSALS


_NO_PROPOSALS = Proposals(NOTHING, NO_SCORES)


@dataclass(eq=False)
class Opinion:
    """What one source thinks of items, for one query.

    Args:
        items: int32[n], ascending and distinct: what it has an opinion of.
        scores: float32[n]; higher is better.
        ranked: all of it that it would propose, ties by item, where the source knows the order beforehand.
    """

    items: Rows
    scores: Floats
    ranked: Proposals | None = None

    @staticmethod
    def none() -> Opinion:
        """The source has nothing to say."""
        return _SILENCE

    def near(self, count: int, beside: Rows = NOTHING) -> Opinion | Proposals:
        """Items and scores among which the `count` highest are, in any order: all that is known, or what is quicker.

        Args:
            count: of the best.
            beside: items that do not count as such; those before the last of the best are among them as well.
        """
        return self if self.ranked is None else self.best(count + len(beside))

    def best(self, count: int) -> Proposals:
        """The `count` highest, best first."""
        if self.ranked is not None:
            return Proposals(self.ranked.items[:count], self.ranked.scores[:count])
        return best(self.scores, self.items, count)

    def of(self, items: Rows) -> Floats:
        """float32[len(items)]: the score of each; NaN where there is no opinion, or none that is finite."""
        if not len(self.items):
            return np.full(len(items), np.nan, np.float32)
        at = np.minimum(np.searchsorted(self.items, items), len(self.items) - 1)
        found = self.scores[at]
        return np.where((self.items[at] == items) & np.isfinite(found), found, np.nan).astype(np.float32, copy=False)

    def tell(self, items: Rows, out: Floats, column: int) -> None:
        """Fill a column of float32[len(items), columns] with what `of` says of some ascending items."""
        if available():
            kernels.look_up(self.items, self.scores, items, column, out)
        else:
            out[:, column] = self.of(items)


_SILENCE = Opinion(NOTHING, NO_SCORES)


class Candidates(msgspec.Struct, frozen=True, eq=False):
    """The union of proposals.

    Args:
        items: int32[m], ascending and distinct.
        sources: names of the S sources.
        scores: float32[m, S]; NaN where a source did not propose the item.
        opinions: float32[m, S]; what each source thinks of the item, whether it proposed it or not.
        removed: (item row, reason) of what filters took out so far.
        ranks: float32[m, S], the place of each in what each source proposes, from 0, NaN where it does not; None where
            nobody has looked yet.
    """

    items: Rows
    sources: tuple[str, ...]
    scores: Floats
    opinions: Floats
    removed: tuple[tuple[str, Rows], ...] = ()
    ranks: Floats | None = None

    def __len__(self) -> int:
        return len(self.items)

    @classmethod
    def of_best(cls, opinions: Mapping[str, Opinion], count: int, bought: Rows = NOTHING) -> Candidates:
        """The union of the best of several sources.

        Args:
            opinions: of each source.
            count: so many each proposes, beside those that are bought already and will be removed with that reason.
            bought: int32[b], ascending and distinct.
        """
        names = tuple(opinions)
        if not names:
            nothing = np.empty((0, 0), np.float32)
            return cls(NOTHING, (), nothing, nothing)
        if len(names) == 1:
            found = _proposed(opinions[names[0]], count, bought)
            rising = np.argsort(found.items)
            scores = found.scores[rising, None]
            return cls(found.items[rising], names, scores, scores)  # what it proposes it thinks just that of
        proposed = [_proposed(opinion, count, bought) for opinion in opinions.values()]
        items = np.unique(np.concatenate([found.items for found in proposed]))
        scores = np.full((len(items), len(names)), np.nan, np.float32)
        told = np.empty_like(scores)
        for column, (found, opinion) in enumerate(zip(proposed, opinions.values(), strict=True)):
            scores[np.searchsorted(items, found.items), column] = found.scores
            opinion.tell(items, told, column)
        return cls(items, names, scores, told)

    def heard(self, names: tuple[str, ...]) -> Candidates:
        """Only what some of the sources propose."""
        found = self.columns(names)
        there = np.isfinite(found.scores).any(axis=1)
        return Candidates(self.items[there], names, found.scores[there], found.opinions[there], self.removed)

    def columns(self, names: tuple[str, ...]) -> Candidates:
        """All items, with what some of the sources say of them."""
        if names == self.sources:
            return self
        places = [self.sources.index(name) for name in names]
        scores, opinions = (each.take(places, axis=1) for each in (self.scores, self.opinions))
        ranks = None if self.ranks is None else self.ranks.take(places, axis=1)
        return Candidates(self.items, names, scores, opinions, self.removed, ranks)

    def without(self, drop: npt.NDArray[np.bool_], reason: str) -> Candidates:
        """Split into what stays and what leaves, with its reason."""
        if not drop.any():
            return self
        gone, stay = (reason, self.items[drop]), np.flatnonzero(~drop)
        return Candidates(
            self.items.take(stay), self.sources, self.scores.take(stay, axis=0), self.opinions.take(stay, axis=0),
            (*self.removed, gone),
        )  # fmt: skip


def among(items: Rows, known: Rows) -> npt.NDArray[np.bool_]:
    """bool[len(items)]: which of some items stand in a list that is ascending."""
    if not len(known):
        return np.zeros(len(items), bool)
    found: npt.NDArray[np.bool_] = known[np.minimum(known.searchsorted(items), len(known) - 1)] == items
    return found


def _proposed(opinion: Opinion, count: int, bought: Rows) -> Proposals:
    """The best `count` that are not bought, and what is bought before the last of them."""
    if not len(bought):
        return opinion.best(count)
    proposed = opinion.best(count + len(bought))
    others = ~among(proposed.items, bought)
    wanted = np.cumsum(others) - others < count  # so many stand before it
    return Proposals(proposed.items[wanted], proposed.scores[wanted])


def best(scores: Floats, items: Rows, count: int) -> Proposals:
    """The `count` highest finite scores, best first, ties by item row.

    Non-finite scores and the sentinels that libraries use for "not eligible" never come through.
    """
    if count <= 0:
        return Proposals.none()
    if available():
        size = min(count, len(items))
        top, values = np.empty(size, np.int32), np.empty(size, np.float32)
        found = kernels.best(scores, items, top, values)
        return Proposals(top[:found], values[:found])
    usable = np.flatnonzero(np.isfinite(scores) & (scores > -1e30))
    if len(usable) > count:
        threshold = np.partition(scores[usable], len(usable) - count)[len(usable) - count]
        above = usable[scores[usable] > threshold]
        level = usable[scores[usable] == threshold]
        # Ties at the cut go to the lowest rows, so that the answer does not depend on the partition.
        level = level[np.argsort(items[level], kind="stable")][: count - len(above)]
        usable = np.concatenate([above, level])
    order = usable[np.lexsort((items[usable], -scores[usable]))]
    return Proposals(items[order].astype(np.int32, copy=False), scores[order].astype(np.float32, copy=False))
