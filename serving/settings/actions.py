"""`[actions.<name>]`: what is not a ranked list of products and can be shown or sent, with its words and its limits."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

import msgspec

from serving.settings.when import ALWAYS, When
from serving.strict import Strict

ActionKind = Literal[
    "content", "guide", "video", "tip", "offer", "exclusive", "early_access", "event", "status", "question", "invite",
]  # fmt: skip
"""As `features.schemas.ACTION_KINDS`; `products` are `[modules.<name>]`."""
SELLING: frozenset[str] = frozenset({"offer", "exclusive", "early_access", "products"})
"""Kinds that want to sell: silent while a return or a late delivery is open."""
Cap = Annotated[int, msgspec.Meta(ge=0, le=1_000)]
Money = Annotated[float, msgspec.Meta(ge=0, le=1e12)]


class Text(Strict, frozen=True, omit_defaults=True):
    """`[[actions.<name>.texts]]`: one variant of the words and the media; the first that fits is taken.

    A field stands in braces, such as `{name}`. What stands in square brackets is left out where a field in it is not
    known: `"Good evening[, {name}]!"`. A variant with an unknown field outside of brackets is passed over.

    Args:
        title, text: words; `text` may be empty.
        locale: the language that it is for; None: any.
        when: whom it is for.
        image_url, url: where the picture is and where it leads; `https://`, or a path of the shop's own site.
        alt: what the picture shows, for whom it cannot be seen.
    """

    title: str
    text: str = ""
    locale: str | None = None
    when: When = ALWAYS
    image_url: str | None = None
    alt: str = ""
    url: str | None = None


class Caps(Strict, frozen=True, omit_defaults=True):
    """How often one person gets something at most, on all channels together; None: no limit."""

    day: Cap | None = None
    week: Cap | None = None
    month: Cap | None = None
    ever: Cap | None = None


class Action(Strict, frozen=True, omit_defaults=True):
    """`[actions.<name>]`.

    Args:
        kind: what it is.
        texts: its variants.
        when: who may get it, and when.
        value, cost: what it brings when it works and what showing it costs, in the shop's currency.
        caps: how often one person gets it at most.
        cool_down_days: days between two times for one person.
        capacity: how many people may get it altogether; it is never exceeded.
        budget: what it may cost altogether.
        from_, until: days in the shop's time zone, the second one excluded. Written `from`.
        purpose: what must have been agreed to beside personalization, such as `marketing`; None: nothing.
        question: of a `question` action, the name of `[questions.<name>]`.
        category: the category that it is about, as the beginning of a path: care for it, a guide to it.
        promise_days: an offer once shown is kept for so many days, at its price.
    """

    kind: ActionKind
    texts: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1)]
    when: When = ALWAYS
    value: Money = 0.0
    cost: Money = 0.0
    caps: Caps = Caps()
    cool_down_days: Annotated[float, msgspec.Meta(ge=0, le=3_660)] = 0.0
    capacity: Annotated[int, msgspec.Meta(ge=0)] | None = None
    budget: Money | None = None
    from_: date | None = msgspec.field(name="from", default=None)
    until: date | None = None
    purpose: str | None = None
    question: str | None = None
    category: str | None = None
    promise_days: Annotated[float, msgspec.Meta(ge=0, le=366)] = 0.0

    @property
    def sells(self) -> bool:
        """Whether it wants to sell something."""
        return self.kind in SELLING

    @property
    def limited(self) -> bool:
        """Whether showing it must be counted."""
        counted = self.promise_days or self.cool_down_days or self.caps != Caps()
        return bool(counted) or self.capacity is not None or self.budget is not None
