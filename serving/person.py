"""What the shop was told of a person, as of now: answers, consents, orders. Behaviour is in the history.

Everything here is personal data: `serving.hydrate` reads it only with the consent to do so, and who has not
given it is `NOBODY` for the whole way of the request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from features.orders import OrderLine

PERSONALIZATION = "personalization"
"""The purpose without whose consent an answer is contextual only."""
MARKETING = "marketing"
TRAINING = "training"


class Person(msgspec.Struct, frozen=True):
    """A customer or visitor, as the shop was told.

    Args:
        name: how they want to be greeted.
        region, postal_prefix: where things are sent to.
        time_zone: theirs; None: the shop's.
        tier, points: of the loyalty programme.
        attributes: the shop's own columns.
        answers: question -> what they answered, also before signing in.
        asked: question -> instant at which it was answered or skipped.
        shown: question -> instant at which it was shown first.
        channels: on which they may be written to; None: nobody has said.
        orders: their order lines, in the order of ordering, each as known now.
        projects: what they are at, such as a room to furnish (`serving.projects`).
    """

    name: str | None = None
    region: str | None = None
    postal_prefix: str | None = None
    time_zone: str | None = None
    tier: str | None = None
    points: float | None = None
    attributes: Mapping[str, Any] = {}
    answers: Mapping[str, str] = {}
    asked: Mapping[str, int] = {}
    shown: Mapping[str, int] = {}
    channels: tuple[str, ...] | None = None
    orders: tuple[OrderLine, ...] = ()
    projects: tuple[Project, ...] = ()


class Project(msgspec.Struct, frozen=True):
    """Something that outlives one order, such as a basement for a teenager.

    Args:
        kind: as declared in `[projects.<kind>]`.
        note: in the words of whoever wrote it down.
        since: microseconds.
        until: when it ends; None: when the shop's rule says.
        source: `staff`, or `inferred` from what was looked at and bought.
    """

    kind: str
    since: int
    note: str = ""
    until: int | None = None
    source: str = "staff"


class Consents(msgspec.Struct, frozen=True):
    """What a person agreed to, by purpose; what nobody told is no, unless the shop declared a basis for it.

    Args:
        told: purpose -> `{granted, wording, source, at}`, or plain yes or no; what cannot be read is no.
        assumed: purposes that the shop relies on another basis for (`[consent]` of its file).
    """

    told: Mapping[str, Any] = {}
    assumed: frozenset[str] = frozenset()

    def to(self, purpose: str) -> bool:
        """Whether data may be used for a purpose: as told, else as assumed."""
        said = self.told.get(purpose)
        if said is None:
            return purpose in self.assumed
        return (said.get("granted") if isinstance(said, dict) else said) is True

    def refuses(self, purpose: str) -> bool:
        """Whether a person was told to have said no."""
        return isinstance(self.told.get(purpose), dict) and not self.to(purpose)


NOBODY = Person()
