"""`[modules.<name>]` and `[pages.<name>]`: rows of products, and the places that they and actions may take."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from serving.settings.when import ALWAYS, When
from serving.strict import Strict

ModuleKind = Literal[
    "buy-again", "wishlist", "for-you", "popular", "related-to-last-view", "session", "goes-with-order", "viewed",
]  # fmt: skip
FLOOR = "popular"
"""The module that cannot fail: it ends the list of every slot that no policy decides and that may not be empty."""
PAGES = ("home", "landing", "category", "product", "basket", "wishlist", "my-page", "after-purchase", "order-status")
"""Pages that the storefront knows; a shop may add its own."""


class Module(Strict, frozen=True, omit_defaults=True):
    """`[modules.<name>]`: a row of products that a slot can hold.

    Args:
        kind: where its items come from.
        title: heading by locale; `{item}` becomes the item that it is related to.
        size: items shown at most.
        minimum: with fewer the module is not shown at all.
        when: who may get it.
        categories: only items whose category path begins with one of these; empty: any.
        again: heading by locale where it stands on a page once more, with other items; empty: it stands there once.
        within_days: only items that arrive within so many days; what is not known does not.
        where: only items that this condition holds for, as `filter.where` of a request.
    """

    kind: ModuleKind
    title: dict[str, str]
    size: Annotated[int, msgspec.Meta(ge=1, le=50)] = 8
    minimum: Annotated[int, msgspec.Meta(ge=1, le=50)] = 3
    when: When = ALWAYS
    categories: tuple[str, ...] = ()
    again: dict[str, str] = msgspec.field(default_factory=dict)
    within_days: Annotated[float, msgspec.Meta(ge=0, le=366)] | None = None
    where: str | None = None


class Slot(Strict, frozen=True, omit_defaults=True):
    """A place on a page: the first of the list that can be shown takes it, or the one that a policy draws.

    Args:
        name: of the slot.
        modules: what may take it, modules and actions.
        policy: name of a learned policy (`policies/<name>/`) that decides it; None: the first that can be shown.
        family: slots of one family draw alike, on every channel; default: the name.
        epoch_days: local days after which a subject's draw is made anew.
        may_be_empty: whether it stays empty when nothing of the list can be shown; else what is popular takes it.
    """

    name: str
    modules: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    policy: str | None = None
    family: str | None = None
    epoch_days: Annotated[int, msgspec.Meta(ge=1, le=366)] = 1
    may_be_empty: bool = False


class Page(Strict, frozen=True, omit_defaults=True):
    """`[pages.<name>]`: slots from top to bottom.

    Args:
        slots: the places.
        per_category: how many items of one category the whole page shows at most; None: no limit.
    """

    slots: Annotated[tuple[Slot, ...], msgspec.Meta(min_length=1)]
    per_category: Annotated[int, msgspec.Meta(ge=1, le=100)] | None = None
