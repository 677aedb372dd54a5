"""The pins of one page and the quotas of its modules, as its slots are filled one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec
import numpy as np

from serving.business import Business, Wish
from serving.candidates import Rows
from serving.modules import Filled
from serving.placing import PIN, item_of, place, told_pin
from serving.quotas import Bounds
from serving.settings.pages import Page, Slot
from serving.settings.selection import Pin
from serving.situation import Situation
from serving.taken import Items, Taken

NO_ITEMS = "its slot does not hold items"


@dataclass
class Laid:
    """What is laid over the slots of one page.

    Args:
        now: who, when, where.
        business: whose wishes.
        items, actions: slot -> its pins.
        order: names of the slots, from the top.
    """

    now: Situation
    business: Business
    items: Mapping[str, list[Wish]]
    actions: Mapping[str, list[Wish]]
    order: tuple[str, ...]
    _told: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """What came of each rule when its slot was filled last."""

    @classmethod
    def over(cls, now: Situation, page: str, layout: Page) -> Laid | None:
        """What is laid over a page now; None where nothing is, which costs a page nothing."""
        business = now.live.ranker.business
        if business is None:
            return None
        pins = business.pins(now.query, page)
        if not pins and not business.counts_modules:
            return None
        order = tuple(slot.name for slot in layout.slots)
        items: dict[str, list[Wish]] = {name: [] for name in order}
        actions: dict[str, list[Wish]] = {name: [] for name in order}
        for pin in pins:
            said = cast("Pin", pin.said)
            (actions if said.action else items).get(str(said.slot), []).append(pin)
        return cls(now, business, items, actions, order)

    def names(self) -> list[str]:
        """The actions and modules that are pinned."""
        return [what_of(pin) for pins in self.actions.values() for pin in pins]

    def named(self, layout: Page) -> Page:
        """The page with what is pinned to its slots beside what they name: all that may be shown."""
        pinned = {name: tuple(what_of(pin) for pin in pins) for name, pins in self.actions.items()}
        slots = tuple(
            msgspec.structs.replace(slot, modules=(*slot.modules, *pinned[slot.name])) for slot in layout.slots
        )
        return msgspec.structs.replace(layout, slots=slots)

    def pinned(self, slot: Slot) -> list[Wish]:
        """The actions pinned to a slot, as the file has them."""
        return self.actions[slot.name]

    def note(self, pin: Wish, why: str | None) -> None:
        """Remember what came of the pin of an action."""
        self._told[f"pin {id(pin)}"] = told_pin(pin, why)

    def kept_names(self, slot: Slot) -> set[str]:
        """What is pinned further down, and stands nowhere else."""
        return {what_of(pin) for name in self._below(slot) for pin in self.actions[name]}

    def kept_items(self, slot: Slot) -> set[int]:
        """Items that are pinned further down, and stand nowhere else."""
        rows = (item_of(pin) for name in self._below(slot) for pin in self.items[name])
        return {row for row in rows if row is not None}

    def shown(
        self, name: str, content: Filled, taken: Taken, slot: Slot, per_category: int | None
    ) -> Items:  # fmt: skip
        """The items of a module in a slot, and the source of each.

        Args:
            name, content: the module and what it could show.
            taken: what stands above.
            slot: where.
            per_category: items of one category that the page shows at most.
        """
        every, away = content.slate.items.tolist(), taken.items | self.kept_items(slot)
        rows = np.array([row for row in every if row not in away], np.int32)
        pins, quotas = self.items[slot.name], self.business.quotas(content.query, name)
        ranker = self.now.live.ranker
        found = place(
            rows, pins, quotas, content.module.size, lambda row: ranker.why_gone(content.query, row), taken.items,
            lambda every: self._varied(every, taken, per_category, content.module.size),
        )  # fmt: skip
        self._told |= {f"pin {id(pin)}": told for pin, told in zip(pins, found.pins, strict=True)}
        self._told |= {
            f"quota {slot.name} {id(quota)}": {"slot": slot.name, "module": name, **told}
            for quota, told in zip(quotas, found.quotas, strict=True)
        }
        laid = np.concatenate([rows, np.array(found.added, np.int32)])[list(found.order)].tolist()
        return laid, [PIN if row in found.pinned else content.listed[row] for row in laid]

    def _varied(self, rows: Rows, taken: Taken, per_category: int | None, size: int) -> list[Bounds]:
        """What the page's limit of a category leaves to this slot, for the categories that could pass it."""
        if per_category is None:
            return []
        codes = self.now.live.bundle.shared.category[rows]
        found, counts = np.unique(codes[codes >= 0], return_counts=True)
        left = {code: max(per_category - taken.categories[code], 0) for code in found.tolist()}
        passing = [code for code, count in zip(found.tolist(), counts.tolist(), strict=True) if count > left[code]]
        return [Bounds(codes == code, size, at_most=left[code]) for code in passing]

    def told(self) -> dict[str, list[Mapping[str, Any]]]:
        """What came of every rule, for explanations."""
        every = [pin for name in self.order for pin in (*self.items[name], *self.actions[name])]
        pins = [self._told.get(f"pin {id(pin)}") or told_pin(pin, NO_ITEMS) for pin in every]
        return {"pins": pins, "quotas": [told for key, told in self._told.items() if key.startswith("quota ")]}

    def _below(self, slot: Slot) -> tuple[str, ...]:
        return self.order[self.order.index(slot.name) + 1 :]


def what_of(pin: Wish) -> str:
    """The item, the action or the module that is pinned."""
    return cast("Pin", pin.said).what
