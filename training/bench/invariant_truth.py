"""The true state behind `kokyaku bench invariants`: what the driver did to whom, and what was shown since."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Event(NamedTuple):
    """One event: microseconds, type, item or "" for none, and whether it was bought for somebody else."""

    at: int
    type: str
    item: str = ""
    gift: bool = False


@dataclass
class Line:
    """An order line with its steps (microseconds, state), oldest first."""

    order_id: str
    line: str
    item: str
    ordered_at: int
    promised_at: int | None
    gift: bool
    steps: list[tuple[int, str]] = field(default_factory=list)

    @property
    def state(self) -> str:
        """The last one."""
        return self.steps[-1][1]

    @property
    def delivered_at(self) -> int | None:
        """When it came first; None: not yet."""
        return next((at for at, state in self.steps if state == "delivered"), None)

    def late(self, now: int) -> bool:
        """Whether it came, or has not come, after what was promised."""
        came = self.delivered_at
        return self.promised_at is not None and (now if came is None else came) > self.promised_at


@dataclass
class Showing:
    """Something that was shown or sent: what, where, when, in which session, by which decision.

    Args:
        until: of a message: until when it counts, as long as nothing was heard of it; None: it counts for good.
        failed: whether it could not be sent.
    """

    action: str
    surface: str
    at: int
    session: str | None
    until: int | None
    decision: str
    failed: bool = False

    def counts(self, now: int) -> bool:
        """Whether it stands against a limit."""
        return not self.failed and (self.until is None or self.until > now)


@dataclass
class Told:
    """One map of what was told: a customer's own words count before what he told as a guest."""

    own: dict[str, object] = field(default_factory=dict)
    guest: dict[str, object] = field(default_factory=dict)

    @property
    def now(self) -> dict[str, object]:
        """What counts."""
        return {**self.guest, **self.own}


@dataclass
class Subject:
    """A customer or a visitor, as the driver knows him.

    Args:
        id: of the customer or visitor.
        known: whether it is a customer.
        name: how a customer is called, a word that stands nowhere else.
        draws: (family, place, epoch) -> what was drawn: the action and its decision.
    """

    id: str
    known: bool
    name: str = ""
    region: str | None = None
    zone: str | None = None
    tier: str | None = None
    project: tuple[int, int | None] | None = None
    """Since and until when staff noted the room for a teenager."""
    events: list[Event] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    consents: Told = field(default_factory=Told)
    answers: Told = field(default_factory=Told)
    asked: Told = field(default_factory=Told)
    shown: Told = field(default_factory=Told)
    showings: list[Showing] = field(default_factory=list)
    draws: dict[tuple[str, int, int], tuple[str | None, str]] = field(default_factory=dict)

    def signs_in(self, customer: Subject) -> None:
        """What a visitor did and told becomes the customer's; the visitor keeps refusals only."""
        customer.events = sorted([*customer.events, *self.events])
        customer.showings = sorted([*customer.showings, *self.showings], key=lambda each: each.at)
        for key, draw in self.draws.items():
            customer.draws.setdefault(key, draw)
        refused = {purpose: False for purpose, yes in self.consents.now.items() if yes is False}
        for purpose, yes in self.consents.own.items():
            if yes:
                customer.consents.guest.setdefault(purpose, yes)
            else:
                customer.consents.own[purpose] = False
        for mine, theirs in ((self.answers, customer.answers), (self.asked, customer.asked),
                             (self.shown, customer.shown)):  # fmt: skip
            for name, value in mine.own.items():
                theirs.guest.setdefault(name, value)
        self.events, self.showings, self.draws = [], [], {}
        self.consents = Told(guest=dict(refused))
        self.answers, self.asked, self.shown = Told(), Told(), Told()
