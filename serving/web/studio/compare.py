"""Two looks at one subject and moment, side by side: which slots differ, and which items moved."""

from __future__ import annotations

from dataclasses import dataclass

from serving.web.studio.why import SlotWhy

Place = tuple[str, int]
"""Slot, and place in it from 1."""


@dataclass(frozen=True)
class Moved:
    """An item that stands elsewhere, or on one side only.

    Args:
        before, after: where it stands; None: nowhere on that page.
    """

    item_id: str
    title: str
    before: Place | None
    after: Place | None


@dataclass(frozen=True)
class Pair:
    """One slot on both sides; None where a side has no such slot."""

    name: str
    left: SlotWhy | None
    right: SlotWhy | None

    @property
    def other_action(self) -> bool:
        """Whether something else takes the slot."""
        return (self.left and self.left.action) != (self.right and self.right.action)

    @property
    def other_items(self) -> bool:
        """Whether it holds other items, or the same in another order."""
        return _ids(self.left) != _ids(self.right)

    @property
    def other_words(self) -> bool:
        """Whether heading or text differ."""
        return _words(self.left) != _words(self.right)

    @property
    def differs(self) -> bool:
        """Whether a customer could see a difference."""
        return self.other_action or self.other_items or self.other_words


@dataclass(frozen=True)
class Comparison:
    """Two pages.

    Args:
        pairs: every slot of either, in the order of the left page, then those of the right one only.
        moved: items that stand elsewhere.
    """

    pairs: tuple[Pair, ...]
    moved: tuple[Moved, ...]

    @property
    def differing(self) -> int:
        """How many slots differ."""
        return sum(pair.differs for pair in self.pairs)


def compared(left: tuple[SlotWhy, ...], right: tuple[SlotWhy, ...]) -> Comparison:
    """What is different on the right."""
    by_name = {slot.name: slot for slot in left}, {slot.name: slot for slot in right}
    names = list(dict.fromkeys([*by_name[0], *by_name[1]]))
    pairs = tuple(Pair(name, by_name[0].get(name), by_name[1].get(name)) for name in names)
    before, after = _places(left), _places(right)
    titles = {shown.card.item_id: shown.card.title for slot in (*left, *right) for shown in slot.items}
    moved = tuple(
        Moved(item, titles[item], before.get(item), after.get(item))
        for item in dict.fromkeys([*before, *after])
        if before.get(item) != after.get(item)
    )
    return Comparison(pairs, moved)


def _places(slots: tuple[SlotWhy, ...]) -> dict[str, Place]:
    return {shown.card.item_id: (slot.name, at) for slot in slots for at, shown in enumerate(slot.items, start=1)}


def _ids(slot: SlotWhy | None) -> list[str]:
    return [] if slot is None else [shown.card.item_id for shown in slot.items]


def _words(slot: SlotWhy | None) -> tuple[str, str] | None:
    return None if slot is None else (slot.title, slot.text)
