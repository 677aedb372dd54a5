"""Caps, cool-downs, capacity and budgets: how often one person gets something, and how much of it there is at all.

What was shown is counted per person over all channels and pages. On a screen one showing is one action on one page in
one session: drawing the page again is no second one. A message counts as soon as it is decided (a reservation) and for
good once it was really sent; a reservation that nothing was heard of lapses. Days are the person's own, from midnight
to midnight. The same function looks before the draw and inside the transaction that counts (`serving.store_shown`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import msgspec

from features.moments import DAY, MINUTE, day_start, format_instant, local_time
from serving.decide import Decision
from serving.settings.actions import Action, Caps

SHOWN, RESERVED, SENT, LAPSED, FAILED = "shown", "reserved", "sent", "lapsed", "failed"
"""States: seen on a screen; decided and not heard of yet; really sent; never heard of; could not be sent."""
COUNTED = frozenset({SHOWN, RESERVED, SENT})
SESSION = 30 * MINUTE
"""Without a session's id, what is shown again so soon is the same showing."""
NOTHING_LEFT, SPENT = "nothing left", "budget spent"
UNCOUNTABLE = "nobody is known whom it could be counted for"
UNCOUNTED = "it could not be counted"
_WINDOWS = (("day", 1), ("week", 7), ("month", 30), ("ever", 0))
"""Name of a cap and its days, the one of today included; 0: for ever."""
_CENT = 1e-6


class Shown(msgspec.Struct, frozen=True):
    """Something that was shown or sent to a person, or is about to be.

    Args:
        action_id: what.
        surface: the page or the channel.
        decision_id: of the decision.
        at: microseconds; of the showing, of the sending where it is known, else of the decision.
        state: one of the states above.
        until: of a reservation: until when it counts.
        session: in which it was shown.
        decided_at: of the decision.
    """

    action_id: str
    surface: str
    decision_id: str
    at: int
    state: str
    until: int | None
    session: str | None
    decided_at: int

    def counts(self, now: int) -> bool:
        """Whether it stands against a limit."""
        return self.state in COUNTED and (self.until is None or self.until > now)

    def waits(self, now: int) -> bool:
        """Whether it is decided and may still be sent."""
        return self.state == RESERVED and self.until is not None and self.until > now


class Used(msgspec.Struct, frozen=True):
    """What of an action was given out: people, money, and how many reservations of them time has passed."""

    people: int = 0
    cost: float = 0.0
    lapsing: int = 0


class Tally(msgspec.Struct, frozen=True):
    """What stands against the limits of a request: the person's showings, and what was given out of each action."""

    rows: Sequence[Shown] = ()
    used: Mapping[str, Used] = {}

    def as_of(self, now: int) -> Tally:
        """Without what was decided later, for a look back. What was given out of an action is not known by days."""
        return Tally([row for row in self.rows if row.decided_at <= now], self.used)


class Limits(msgspec.Struct, frozen=True):
    """The limits of an action, or of a channel, for one person.

    Args:
        zone: the person's; days end by it.
        caps: how often.
        cool_down_days: days between two times.
        capacity: how many people altogether.
        budget: what it may cost altogether; `cost` is what one time costs.
        channel: the channel whose contacts count, whatever they say; None: the action's own limits.
    """

    zone: str
    caps: Caps = Caps()
    cool_down_days: float = 0.0
    capacity: int | None = None
    budget: float | None = None
    cost: float = 0.0
    channel: str | None = None

    @property
    def personal(self) -> bool:
        """Whether it matters who gets it."""
        return bool(self.cool_down_days) or self.caps != Caps()

    @property
    def finite(self) -> bool:
        """Whether there is only so much of it."""
        return self.capacity is not None or self.budget is not None


class Reached(msgspec.Struct, frozen=True):
    """A limit that is reached: in words, and the instant at which it is free again; None: not to be foreseen."""

    reason: str
    until: int | None = None

    @property
    def words(self) -> str:
        """The reason, and until when it holds."""
        return self.reason if self.until is None else f"{self.reason}, until {format_instant(self.until)}"


class Showing(msgspec.Struct, frozen=True):
    """Something that is to be counted with the answer.

    Args:
        decision_id, action_id, surface, session: of the decision.
        until: of a message: until when the reservation counts; None: it is seen at once.
        limits: of the action and of the channel.
    """

    decision_id: str
    action_id: str
    surface: str
    session: str | None
    until: int | None
    limits: tuple[Limits, ...]

    @property
    def cost(self) -> float:
        """What it costs, in the shop's currency."""
        return max((limits.cost for limits in self.limits), default=0.0)


def reached(limits: Limits, action: str, tally: Tally, now: int) -> Reached | None:
    """The limit that holds longest; None where there is room.

    Args:
        limits, action: of what shall be shown.
        tally: what stands against it.
        now: microseconds.
    """
    counted = [row for row in tally.rows if row.counts(now)]
    mine = [row for row in counted if row.action_id == action]
    found = [] if not limits.finite else list(_given_out(limits, bool(mine), tally.used.get(action, Used())))
    if limits.personal:
        times = sorted(row.at for row in (mine if limits.channel is None else counted)
                       if limits.channel in (None, row.surface))  # fmt: skip
        found += _too_often(limits, times, now)
    return max(found, key=lambda each: float("inf") if each.until is None else each.until, default=None)


def _given_out(limits: Limits, has_it: bool, used: Used) -> Iterable[Reached]:
    # Reservations that lapse are taken back by the transaction; until then they are not held against anybody.
    if limits.capacity is not None and not has_it and used.people - used.lapsing >= limits.capacity:
        yield Reached(NOTHING_LEFT)
    if limits.budget is not None and not used.lapsing and used.cost + limits.cost > limits.budget + _CENT:
        yield Reached(SPENT)


def _too_often(limits: Limits, times: Sequence[int], now: int) -> Iterable[Reached]:
    for name, days in _WINDOWS:
        most: int | None = getattr(limits.caps, name)
        if most is None:
            continue
        since = _midnight(now, 1 - days, limits.zone) if days else None
        within = [at for at in times if since is None or at >= since]
        if len(within) >= most:
            where = "" if limits.channel is None else f" on {limits.channel}"
            words = f"cap: {most} ever{where}" if not days else f"cap: {most} a {name}{where}"
            # Room comes back when the first of the last `most` leaves the window.
            free = _midnight(within[-most], days, limits.zone) if days and most else None
            yield Reached(words, free)
    if limits.cool_down_days and times:
        free = times[-1] + int(limits.cool_down_days * DAY)
        if free > now:
            yield Reached("cool-down", free)


def _midnight(at: int, days: int, zone: str) -> int:
    """The beginning of the local day so many days after that of an instant, whatever the clocks do meanwhile."""
    return day_start(date.fromordinal(local_time(at, zone).day + days), zone)


def limits_of(action: Action, zone: str, channel_cost: float = 0.0) -> Limits:
    """An action's limits for a person of that time zone."""
    cost = action.cost + channel_cost
    return Limits(zone, action.caps, action.cool_down_days, action.capacity, action.budget, cost)


def same_showing(row: Shown, new: Showing, now: int) -> bool:
    """Whether something is no new showing: seen on this page in this session, or a message that still waits."""
    if row.action_id != new.action_id or row.surface != new.surface:
        return False
    if new.until is not None:
        return row.waits(now)
    soon = now - row.at < SESSION
    return row.state == SHOWN and (soon or (new.session is not None and row.session == new.session))


@dataclass
class Counts:
    """The limits of one request, looked at before anything is decided and again where the store knows better.

    Args:
        limits: action -> its limits, those of the channel included; what is not here is not counted.
        tally: what stands against them.
        surface, session, now: of the request.
        known: whether somebody is known for whom showings can be counted.
        hold: of a message: microseconds for which its reservation counts; None: it is seen at once.
        closed: nothing can be counted now, so nothing limited is shown.
    """

    limits: Mapping[str, tuple[Limits, ...]]
    tally: Tally
    surface: str
    session: str | None
    now: int
    known: bool
    hold: int | None = None
    closed: bool = False
    _found: dict[str, Reached | None] = field(default_factory=dict)

    def why_not(self, action: str) -> Reached | None:
        """The limit that keeps an action from being shown now; None where there is none."""
        if action not in self._found:
            self._found[action] = self._look(action)
        return self._found[action]

    def _look(self, action: str) -> Reached | None:
        limits = self.limits.get(action)
        if limits is None:
            return None
        if self.closed:
            return Reached(UNCOUNTED)
        if not self.known and any(each.personal for each in limits):
            return Reached(UNCOUNTABLE)
        if self.before(action) is not None:
            return None
        return longest(reached(each, action, self.tally, self.now) for each in limits)

    def promise(self, action: str) -> None:
        """Of what was promised it does not matter how often it was shown; how much of it there is still does."""
        limits = self.limits.get(action, ())
        free = tuple(
            each if each.channel is not None else msgspec.structs.replace(each, caps=Caps(), cool_down_days=0.0)
            for each in limits
        )
        self.limits = {**self.limits, action: free}
        self._found.pop(action, None)

    def before(self, action: str) -> Shown | None:
        """The showing that this one would only repeat."""
        new = self._showing("", action)
        return next((row for row in reversed(self.tally.rows) if same_showing(row, new, self.now)), None)

    @property
    def barred(self) -> frozenset[str]:
        """Actions that a limit keeps away."""
        return frozenset(action for action in self.limits if self.why_not(action) is not None)

    def showings(self, decisions: Iterable[Decision]) -> tuple[Showing, ...]:
        """What is to be counted of an answer's decisions."""
        taken = [(each.decision_id, each.action_id) for each in decisions if each.action_id is not None]
        return tuple(self._showing(decision_id, action) for decision_id, action in taken
                     if action in self.limits and self.before(action) is None)  # fmt: skip

    def again(self, tally: Tally | None, *, closed: bool = False) -> None:
        """Go on from what the store knows now; what is closed since it could not say stays closed until it says it."""
        self.closed = closed or (self.closed and tally is None)
        self.tally = self.tally if tally is None else tally
        self._found.clear()

    def _showing(self, decision_id: str, action: str) -> Showing:
        until = None if self.hold is None else self.now + self.hold
        return Showing(decision_id, action, self.surface, self.session, until, self.limits[action])


def longest(found: Iterable[Reached | None]) -> Reached | None:
    """Of several limits the one that holds longest."""
    held = [each for each in found if each is not None]
    return max(held, key=lambda each: float("inf") if each.until is None else each.until, default=None)
