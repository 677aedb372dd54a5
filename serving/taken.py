"""What the slots of a page have used up, so that nothing stands on it twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

Items = tuple[list[int], list[str]]
"""Rows of items in their order, and the source of each."""
NOTHING: Items = ([], [])


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
    left: dict[str, Items] = field(default_factory=dict)

    def add(self, name: str | None, rows: list[int], categories: Iterable[int], *, sells: bool) -> None:
        """A slot was filled.

        Args:
            name: of what took it.
            rows: its items.
            categories: their codes, where the page counts them.
            sells: whether it wants to sell.
        """
        self.left.clear()
        self.names.add(name or "")
        self.items.update(rows)
        self.categories.update(categories)
        self.selling += sells
