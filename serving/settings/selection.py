"""`[selection]`: what the shop wants of its lists beside relevance."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

import msgspec

from serving.strict import Strict

Objective = Literal["relevance", "revenue", "margin"]


class Boost(Strict, frozen=True):
    """`[[selection.boosts]]`: items that the shop wants shown more (factor above 1) or less (below 1).

    Args:
        factor: what their value is multiplied by; several boosts of one item multiply.
        category: items whose category path begins with this, or
        brand: items of this brand, or
        item_id: one item. Exactly one of the three.
        from_: the first day, in the shop's time zone; default: since ever. Written `from`.
        until: the day at whose beginning it ends; default: never.
    """

    factor: Annotated[float, msgspec.Meta(gt=0, le=1000)]
    category: str | None = None
    brand: str | None = None
    item_id: str | None = None
    from_: date | None = msgspec.field(name="from", default=None)
    until: date | None = None

    @property
    def target(self) -> tuple[str, str]:
        """Which key names the items, and what it says."""
        named = (("category", self.category), ("brand", self.brand), ("item-id", self.item_id))
        return next((key, text) for key, text in named if text is not None)


class SelectionSettings(Strict, frozen=True):
    """`[selection]`: what the shop wants of its lists beside relevance. In force with the next request.

    Args:
        objective: `revenue` and `margin` multiply the score of an item by its value to the power of `strength`: its
            price, or its price less its cost, tax taken out.
        strength: from 0 (not at all) to 1 (expected revenue or margin, where the score is a probability).
        boosts: items to show more or less.
    """

    objective: Objective = "relevance"
    strength: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    boosts: tuple[Boost, ...] = ()
