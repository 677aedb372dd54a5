"""`[selection]`: what the shop wants of its lists beside relevance."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

import msgspec

from serving.settings.when import ALWAYS, When
from serving.strict import Strict

Objective = Literal["relevance", "revenue", "margin"]


class Dated(Strict, frozen=True, kw_only=True):
    """A wish that holds on some days, for some.

    Args:
        from_: the first day, in the shop's time zone; default: since ever. Written `from`.
        until: the day at whose beginning it ends; default: never.
        when: for whom it holds; default: for all, also for the permanent holdout.
    """

    from_: date | None = msgspec.field(name="from", default=None)
    until: date | None = None
    when: When = ALWAYS


class Boost(Dated, frozen=True):
    """`[[selection.boosts]]`: items that the shop wants shown more (factor above 1) or less (below 1).

    Args:
        factor: what their value is multiplied by; several boosts of one item multiply; 0 buries, nothing shows them.
        category: items whose category path begins with this, or
        brand: items of this brand, or
        item_id: one item. Exactly one of the three.
    """

    factor: Annotated[float, msgspec.Meta(ge=0, le=1000)]
    category: str | None = None
    brand: str | None = None
    item_id: str | None = None

    @property
    def target(self) -> tuple[str, str]:
        """Which key names the items, and what it says."""
        return _target(self)

    @property
    def named(self) -> str:
        """What it is of, in words."""
        return _named(*self.target)


class Pin(Dated, frozen=True):
    """`[[selection.pins]]`: something that stands at a place, as long as it can be shown at all.

    Args:
        item_id: an item, or
        action: an action or a module. Exactly one of the two; it takes a slot, in place of what would.
        page, slot: where; for an item the module that takes the slot holds it. Without a page, an item stands in the
            lists of `/v1/recommendations`.
        position: of an item among the items, from 1.
    """

    item_id: str | None = None
    action: str | None = None
    page: str | None = None
    slot: str | None = None
    position: Annotated[int, msgspec.Meta(ge=1, le=200)] = 1

    @property
    def what(self) -> str:
        """The item or the action."""
        return str(self.item_id or self.action)

    @property
    def named(self) -> str:
        """What it is of, in words."""
        return _named("item-id" if self.item_id else "action", self.what)


class Quota(Dated, frozen=True):
    """`[[selection.quotas]]`: how many of the first items of a list are of one kind.

    Args:
        first: so many items from the top of the list; of a shorter list, all.
        at_least: so many of them, as far as the list has them further down.
        at_most: no more than so many.
        category: items whose category path begins with this, or
        brand: items of this brand, or
        item_ids: these items. Exactly one of the three.
        module: of which module's items; default: of the lists of `/v1/recommendations`.
    """

    first: Annotated[int, msgspec.Meta(ge=1, le=200)]
    at_least: Annotated[int, msgspec.Meta(ge=0, le=200)] = 0
    at_most: Annotated[int, msgspec.Meta(ge=0, le=200)] | None = None
    category: str | None = None
    brand: str | None = None
    item_ids: tuple[str, ...] = ()
    module: str | None = None

    @property
    def target(self) -> tuple[str, str | tuple[str, ...]]:
        """Which key names the items, and what it says."""
        return ("item-ids", self.item_ids) if self.item_ids else _target(self)

    @property
    def words(self) -> str:
        """Such as `first 5: at least 2 of brand "Acme"`."""
        bounds = [f"at least {self.at_least}"] if self.at_least else []
        bounds += [] if self.at_most is None else [f"at most {self.at_most}"]
        return f"first {self.first}: {' and '.join(bounds)} of {self.named}"

    @property
    def named(self) -> str:
        """What it is of, in words."""
        return _named(*self.target)


class SelectionSettings(Strict, frozen=True):
    """`[selection]`: what the shop wants of its lists beside relevance. In force with the next request.

    Args:
        objective: `revenue` and `margin` multiply the score of an item by its value to the power of `strength`: its
            price, or its price less its cost, tax taken out.
        strength: from 0 (not at all) to 1 (expected revenue or margin, where the score is a probability).
        boosts: items to show more or less.
        pins: what stands at a place.
        quotas: how many of the first items are of one kind.
    """

    objective: Objective = "relevance"
    strength: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    boosts: tuple[Boost, ...] = ()
    pins: tuple[Pin, ...] = ()
    quotas: tuple[Quota, ...] = ()


def _named(key: str, said: str | tuple[str, ...]) -> str:
    return f'{key} "{said}"' if isinstance(said, str) else f"{key} {', '.join(said)}"


def _target(rule: Boost | Quota) -> tuple[str, str]:
    named = (("category", rule.category), ("brand", rule.brand), ("item-id", getattr(rule, "item_id", None)))
    return next((key, text) for key, text in named if text is not None)
