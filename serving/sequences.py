"""Step sequences: which messages are due for a person, as a pure function of what happened and what was sent.

A step is due its delay after the trigger and never before, at most once a trigger, and never after an exit. Only what
was really sent is held against the person; what was decided and may still be sent is the same step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Sequence as Many
from dataclasses import dataclass

import numpy as np

from features.history import History
from features.kinds import EventType, event_code
from features.moments import DAY
from features.orders import OrderLine
from serving.due import Due
from serving.person import Project
from serving.settings.sequences import Sequence, SequenceStep
from serving.settings.when import Words

REACTIONS = (EventType.OPEN, EventType.CLICK, EventType.PURCHASE)
"""What shows that a message was not ignored."""
TOGETHER = 3 * DAY
"""What is due so soon after a reminder needs none of its own."""
Belongs = Callable[[Words, int], bool]
"""Whether an item (its row, -1: not known) stands under one of some category paths."""


@dataclass(frozen=True, slots=True)
class Send:
    """A message of the past.

    Args:
        action, channel: what, on which way.
        at: when it was sent; of one that nothing was heard of, when it was decided.
        heard: whether it was really sent. One that nothing was heard of is not sent again, and not held to be ignored.
    """

    action: str
    channel: str
    at: int
    heard: bool = True


@dataclass(frozen=True, slots=True)
class Began:
    """What set a sequence going.

    Args:
        at: the instant from which delays are measured.
        since: what happened after this belongs to it.
        sent_since: messages after this belong to it.
        due: the purchase that is due, of a `due` sequence.
    """

    at: int
    since: int
    sent_since: int
    due: Due | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """A step that is still to come: its place in the sequence, and from when until before when it may be sent.

    Of a `due` sequence with the purchase that it reminds of.
    """

    place: int
    step: SequenceStep
    at: int
    before: int
    due: Due | None = None


@dataclass(frozen=True)
class Known:
    """What a sequence looks at beside events, orders and messages.

    Args:
        belongs: tells items of a category.
        row_of: item id -> row, -1 where not known.
        projects: that were begun.
        due: next purchases.
        lead: microseconds from sending to reading, which a `due` sequence is early by.
    """

    belongs: Belongs = lambda paths, item: True
    row_of: Callable[[str], int] = lambda item_id: -1
    projects: tuple[Project, ...] = ()
    due: tuple[Due, ...] = ()
    lead: int = 0


def steps_due(
    sequence: Sequence, history: History, orders: Many[OrderLine], sends: Many[Send], now: int, known: Known = Known()
) -> tuple[Planned, ...]:
    """Steps that may be sent now, in the order of the sequence."""
    return tuple(each for each in steps_left(sequence, history, orders, sends, now, known) if each.at <= now)


def steps_left(
    sequence: Sequence, history: History, orders: Many[OrderLine], sends: Many[Send], now: int, known: Known = Known()
) -> tuple[Planned, ...]:
    """Steps that are due or will be, if nothing else happens; none before a trigger and after an exit.

    Args:
        sequence: of the shop's file.
        history: of the person; events at or after `now` are not looked at.
        orders: order lines as known now.
        sends: messages of the past, on all channels.
        now: microseconds.
        known: what else is known.
    """
    past = history.take(history.time < now)
    if sequence.exits.ignored and ignored(sequence, past, sends) >= sequence.exits.ignored:
        return ()
    found = [each for began in _began(sequence, past, orders, now, known)
             if not _ended(sequence, past, orders, began, known.belongs)
             for each in _left(sequence, sends, began, now)]  # fmt: skip
    return tuple(sorted(found, key=lambda each: (each.place, each.at)))


def _left(sequence: Sequence, sends: Many[Send], began: Began, now: int) -> Iterator[Planned]:
    for place, step in enumerate(sequence.steps):
        at = began.at + int(step.delay_days * DAY)
        before = at + int(step.within_days * DAY)
        # An action that stands in two steps is sent once for each: the second one needs a second message.
        earlier = sum((each.action, each.channel) == (step.action, step.channel) for each in sequence.steps[:place])
        sent = sum((send.action, send.channel) == (step.action, step.channel) and send.at > began.sent_since
                   for send in sends)  # fmt: skip
        if sent <= earlier and now < before:
            yield Planned(place, step, at, before, began.due)


def _began(sequence: Sequence, past: History, orders: Many[OrderLine], now: int, known: Known) -> Iterator[Began]:
    """The latest trigger; of what is due each purchase is one."""
    if sequence.trigger != "due":
        at = max((each for each in _triggers(sequence, past, orders, known) if each < now), default=None)
        if at is not None:
            yield Began(at, at, at)
        return
    bought = past.of_types(EventType.PURCHASE)
    for due in known.due:
        if known.belongs(sequence.categories, due.item):
            # To the second: a reminder of the same morning led to the purchase.
            last = int(np.max(bought.time[bought.item == due.item], initial=due.last_at))
            at = due.at - known.lead
            yield Began(at, last, max(last, at - TOGETHER), due)


def _triggers(sequence: Sequence, past: History, orders: Many[OrderLine], known: Known) -> Iterator[int]:
    """Instants at which it was set going."""
    kind, paths = sequence.trigger, sequence.categories
    if kind == "sign-up":
        yield from past.time[:1].tolist()
    elif kind == "project":
        yield from (each.since for each in known.projects if each.kind == sequence.project)
    elif kind == "delivered":
        for line in orders:
            if line.delivered_at is not None and known.belongs(paths, known.row_of(line.item_id)):
                yield line.delivered_at
    else:
        code = event_code(sequence.event) if sequence.event is not None else event_code(kind)
        found = past.of_types(code)
        wished = kind != "wishlist"
        for at, item in zip(found.time.tolist(), found.item.tolist(), strict=True):
            if known.belongs(paths, item) and (wished or not _closed(past, item, at)):
                yield at


def _closed(past: History, item: int, at: int) -> bool:
    """Whether a wish was taken back or came true."""
    later = past.take((past.time > at) & (past.item == item))
    return bool(len(later.of_types(EventType.WISHLIST_REMOVE, EventType.PURCHASE)))


def _ended(sequence: Sequence, past: History, orders: Many[OrderLine], began: Began, belongs: Belongs) -> bool:
    exits, later = sequence.exits, past.take(past.time > began.since)
    kinds = [EventType.RETURN] * exits.returns + [EventType.COMPLAINT] * exits.complaint
    kinds += [EventType.UNSUBSCRIBE] * exits.opt_out
    if kinds and len(later.of_types(*kinds)):
        return True
    if exits.returns and any(step.state == "returned" and step.at > began.since for line in orders
                             for step in line.steps):  # fmt: skip
        return True
    if exits.purchase and (sequence.trigger != "due" or exits.categories):
        bought = later.of_types(EventType.PURCHASE).item.tolist()
        return any(belongs(exits.categories, item) for item in bought)
    return False


def ignored(sequence: Sequence, past: History, sends: Many[Send]) -> int:
    """How many messages of a sequence were sent since the person last reacted to anything."""
    mine = {(step.action, step.channel) for step in sequence.steps}
    reaction = int(np.max(past.of_types(*REACTIONS).time, initial=-(2**62)))
    return sum(send.heard and (send.action, send.channel) in mine and send.at > reaction for send in sends)
