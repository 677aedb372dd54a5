"""Candidates: the union of what the sources propose, with each source's score of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Proposals:
    """What one source proposes: distinct item rows and finite scores, best first."""

    items: Rows
    scores: Floats

    @staticmethod
    def none() -> Proposals:
        """The source has nothing to say."""
        return Proposals(np.empty(0, np.int32), np.empty(0, np.float32))


@dataclass(frozen=True, slots=True)
class Candidates:
    """The union of proposals.

    Args:
        items: int32[m], ascending and distinct.
        sources: names of the S sources.
        scores: float32[m, S]; NaN where a source did not propose the item.
        removed: (item row, reason) of what filters took out so far.
    """

    items: Rows
    sources: tuple[str, ...]
    scores: Floats
    removed: tuple[tuple[str, Rows], ...] = field(default=())

    def __len__(self) -> int:
        return len(self.items)

    @classmethod
    def union(cls, proposals: Sequence[tuple[str, Proposals]]) -> Candidates:
        """Merge the proposals of all sources."""
        names = tuple(name for name, _ in proposals)
        if not proposals:
            return cls(np.empty(0, np.int32), (), np.empty((0, 0), np.float32))
        items = np.unique(np.concatenate([found.items for _, found in proposals]))
        scores = np.full((len(items), len(names)), np.nan, np.float32)
        for column, (_, found) in enumerate(proposals):
            scores[np.searchsorted(items, found.items), column] = found.scores
        return cls(items, names, scores)

    def heard(self, names: tuple[str, ...]) -> Candidates:
        """Only what some of the sources propose."""
        columns = [self.sources.index(name) for name in names]
        scores = self.scores[:, columns]
        there = np.isfinite(scores).any(axis=1)
        return Candidates(self.items[there], names, scores[there], self.removed)

    def without(self, drop: npt.NDArray[np.bool_], reason: str) -> Candidates:
        """Split into what stays and what leaves, with its reason."""
        if not drop.any():
            return self
        gone = (reason, self.items[drop])
        return Candidates(self.items[~drop], self.sources, self.scores[~drop], (*self.removed, gone))


def best(scores: Floats, items: Rows, count: int) -> Proposals:
    """The `count` highest finite scores, best first, ties by item row.

    Non-finite scores and the sentinels that libraries use for "not eligible" never come through.
    """
    if count <= 0:
        return Proposals.none()
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
