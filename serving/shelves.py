"""The catalogue as somebody walks through it: departments, what stands in a category, and a search by title.

Nothing here is decided for anybody: the order is by how many customers bought an item, lately first of all.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from features.text import fold
from serving.bundle import Bundle
from serving.candidates import Rows
from serving.live import Live

STEP = " > "
"""Between the steps of a category path."""


def departments(live: Live, path: str) -> list[tuple[str, int]]:
    """Category paths one level below a path with the number of items in each, the fullest first.

    Args:
        live: the shop.
        path: such as `Furniture`; empty: the top.
    """
    start = f"{path}{STEP}" if path else ""
    counts: dict[str, int] = {}
    codes, items = np.unique(live.bundle.shared.category[_sold(live)], return_counts=True)
    for code, count in zip(codes.tolist(), items.tolist(), strict=True):
        name = live.bundle.categories[code] if code >= 0 else ""
        if name.startswith(start) and name != path and name:
            below = start + name.removeprefix(start).split(STEP)[0]
            counts[below] = counts.get(below, 0) + count
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))


def listing(live: Live, path: str, n: int) -> Rows:
    """int32: at most `n` items of a category and of those below it, those most bought first."""
    bundle = live.bundle
    codes = [code for code, name in enumerate(bundle.categories) if name == path or name.startswith(f"{path}{STEP}")]
    return _best(live, np.flatnonzero(np.isin(bundle.shared.category, codes)).astype(np.int32), n)


@dataclass
class Titles:
    """Titles of a bundle as they are searched, folded once a bundle."""

    bundle_id: str = ""
    folded: list[str] = field(default_factory=list)

    def search(self, live: Live, query: str, n: int) -> Rows:
        """int32: at most `n` items whose title holds all words of a query, those most bought first.

        What the shop renamed since the bundle was trained is found by its new name too.
        """
        words = fold(query).split()
        if not words:
            return np.empty(0, np.int32)
        if self.bundle_id != live.bundle.id:
            self.folded, self.bundle_id = _folded(live.bundle), live.bundle.id
        texts = live.ranker.shelf.texts
        found = list(range(len(self.folded)))
        for word in words:
            found = [row for row in found if word in self.folded[row]]
        found += [
            row for row, said in list(texts.items())
            if said.get("title") and all(word in fold(str(said["title"])) for word in words)
        ]  # fmt: skip
        return _best(live, np.unique(np.array(found, np.int32)), n)


def _folded(bundle: Bundle) -> list[str]:
    return [fold(bundle.text("title", row)) for row in range(len(bundle.items))]


def _sold(live: Live) -> NDArray[np.bool_]:
    """bool[n_items]: what can be bought now, however rarely it is: a catalogue recommends nothing."""
    shelf = live.ranker.shelf
    return shelf.in_stock & ~shelf.withdrawn


def _best(live: Live, rows: Rows, n: int) -> Rows:
    kept = rows[_sold(live)[rows]]
    shared = live.bundle.shared
    order = np.lexsort((kept, -shared.buyers[kept], -np.nan_to_num(shared.buyers_28d[kept])))
    return kept[order[:n]]
