"""What the slots of a page have used up, so that nothing stands on it twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from serving.candidates import Rows


@dataclass
class Taken:
    """What the slots above have used up.

    Args:
        items, names: that stand on the page.
        categories: code -> items of it.
        selling: things that want to sell.
        left: what was found of modules since the last slot was filled, by name: a slot asks more than once.
    """

    items: set[int] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    categories: Counter[int] = field(default_factory=Counter)
    selling: int = 0
    left: dict[str, tuple[Rows, tuple[str, ...]]] = field(default_factory=dict)

    def add(self, name: str | None, rows: Rows, category: Rows, *, sells: bool) -> None:
        """A slot was filled."""
        self.left.clear()
        self.names.add(name or "")
        self.items.update(rows.tolist())
        self.categories.update(category[rows].tolist())
        self.selling += sells
