"""What a rule of `kokyaku bench invariants` looks at, and where it counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from serving.settings.channels import Channel
from serving.wire import ActionRequest, PageRequest
from training.bench.invariant_facts import Facts
from training.bench.invariant_truth import Subject

RULES: Final = (
    "empty-slot", "duplicate-item", "duplicate-action", "cap", "capacity", "ineligible", "unfounded-veto", "consent",
    "holdout", "resting", "withdrawn", "propensity", "unlogged", "question", "one-answer", "selling-while-late",
    "quiet-hours",
)  # fmt: skip
SCREENS: Final = ("page", "web", "app")


class Looked(msgspec.Struct):
    """Of one rule: how often it could have been broken, how often it was, and the first time that it was."""

    number: int = 0
    broken: int = 0
    example: str = ""


class Table(msgspec.Struct):
    """All rules of some decisions."""

    decisions: int = 0
    answers: int = 0
    rules: dict[str, Looked] = msgspec.field(default_factory=lambda: {name: Looked() for name in RULES})

    def add(self, other: Table) -> None:
        """Put another part's counts to these."""
        self.decisions += other.decisions
        self.answers += other.answers
        for name, more in other.rules.items():
            mine = self.rules[name]
            mine.number += more.number
            mine.broken += more.broken
            mine.example = mine.example or more.example


@dataclass
class Shelves:
    """What the shop took away: items that are withdrawn, sold out or stopped, names and campaigns that are stopped."""

    gone: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    campaigns: set[str] = field(default_factory=set)


@dataclass
class Asked:
    """One page or one message, all that is needed to judge it.

    Args:
        request, answer: as they were; the answer of a channel as a page of one slot.
        raw: decision -> the JSON of its log row.
        rows: one a slot of the answer; {} where the log has none.
        who: the subject whom the request names.
        facts: what may be used of him; blank without consent.
        blank: the same moment with nothing of him.
        shelves: what was taken away.
        where: words that reproduce it.
        channel: of a message; None: a page.
        waiting: whether it is a message that was decided before and may still be sent: no new decision.
    """

    request: PageRequest | ActionRequest
    answer: dict[str, Any]
    raw: Mapping[str, bytes]
    rows: Sequence[dict[str, Any]]
    who: Subject
    facts: Facts
    blank: Facts
    shelves: Shelves
    where: str
    channel: Channel | None = None
    waiting: bool = False

    @property
    def surface(self) -> str:
        """Where showings are counted."""
        request = self.request
        return request.channel if isinstance(request, ActionRequest) else f"{request.surface}.{request.page}"

    @property
    def slots(self) -> list[dict[str, Any]]:
        """Of the answer."""
        found: list[dict[str, Any]] = self.answer["slots"]
        return found

    @property
    def message(self) -> bool:
        """Whether it is not looked at on a screen."""
        if isinstance(self.request, ActionRequest):
            return self.channel is not None and self.channel.medium_of(self.request.channel) not in SCREENS
        return self.request.surface not in SCREENS

    @property
    def personal(self) -> bool:
        """Whether the subject agreed to personal pages."""
        return agreed(self.who, self.request, "personalization")

    @property
    def named(self) -> bool:
        """Whether somebody is known to count for."""
        return self.personal and (self.request.user_id or self.request.visitor_id) is not None

    def pairs(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Each slot with its row."""
        return zip(self.slots, self.rows, strict=True)


def agreed(who: Subject, request: PageRequest | ActionRequest, purpose: str) -> bool:
    """Whether somebody agreed to a purpose: as told, else as the request says, which may always refuse."""
    said = (request.consents or {}).get(purpose)
    told = who.consents.now.get(purpose, said)
    return said is not False and told is True
