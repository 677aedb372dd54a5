"""`[channels.<name>]`: ways on which one action at a time is sent or shown, and what each allows."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec

from serving.settings.actions import Caps, Money
from serving.strict import Strict

Medium = Literal[
    "web", "app", "email", "push", "sms", "line", "direct-mail", "parcel-insert", "ads", "call-centre",
]  # fmt: skip
MEDIA: tuple[str, ...] = get_args(Medium)
SCREENS: frozenset[str] = frozenset({"web", "app"})
"""Media on which somebody looks at the shop; all others carry messages, which are sent and may be ignored."""
ANYBODY: frozenset[str] = SCREENS | {"push", "ads"}
"""Media that reach a device, so a visitor too."""
QUIET: frozenset[str] = frozenset({"email", "push", "sms", "line", "app", "call-centre"})
"""Media that reach a person at the moment of sending: quiet hours hold for them."""


class Channel(Strict, frozen=True, omit_defaults=True):
    """`[channels.<name>]`.

    Args:
        actions: what may be sent: names of `[actions]`, or ids of the shop's own; nothing is always possible.
        policy: name of the learned policy that decides; None: the first of the list that may be sent.
        family: slots and channels of one family give one answer; default: the channel's name.
        epoch_days: local days after which a subject is decided anew.
        purpose: what the subject must have agreed to.
        medium: what kind of way it is; None: the channel's name where that is one, else `email`.
        cost: of one contact, in the shop's currency.
        lead_hours: from the answer to the person.
        caps: how many contacts one person gets on this channel at most.
        quiet: whether quiet hours hold; None: as usual for the medium.
    """

    actions: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=49)]
    policy: str | None = None
    family: str | None = None
    epoch_days: Annotated[int, msgspec.Meta(ge=1, le=366)] = 1
    purpose: str = "marketing"
    medium: Medium | None = None
    cost: Money = 0.0
    lead_hours: Annotated[float, msgspec.Meta(ge=0, le=2_160)] = 0.0
    caps: Caps = Caps()
    quiet: bool | None = None

    def medium_of(self, name: str) -> str:
        """What kind of way it is, by its own word or by its name."""
        return self.medium or (name if name in MEDIA else "email")

    def is_quiet(self, name: str) -> bool:
        """Whether quiet hours hold."""
        return self.medium_of(name) in QUIET if self.quiet is None else self.quiet
