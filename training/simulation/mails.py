"""E-mail campaigns: drawn uniformly among the arms, with visits they bring, visits they cost, and who leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from features.moments import DAY, HOUR, MINUTE
from training.simulation.catalogue import NEVER
from training.simulation.effects import ACTION_ROW, MAIL_ACTIONS, effect_table
from training.simulation.people import People, World
from training.simulation.rows import Array, Rows
from training.simulation.sessions import (
    Mode,
    Sessions,
    keep_apart,
    keyed,
    mail_visits,
    to_millisecond,
)
from training.simulation.situations import due_soon, segments

WINDOW: Final = 72 * HOUR
"""Attribution window of a mail."""
ARMS: Final = np.array([-1, *(ACTION_ROW[action.id] for action in MAIL_ACTIONS)])
"""Rows of the effect table; -1 sends nothing."""
FIRST_DAY: Final = 20
OPENS: Final = 0.3
BOUNCES: Final = 0.01


@dataclass
class Mails(Rows):
    """One row a customer and campaign, also where nothing was sent."""

    person: Array
    decided: Array
    action: Array
    """Row of the effect table, -1 for null."""
    holdout: Array
    situation: Array
    base_visit: Array
    """1 where the customer would have come (and been recognised) without a mail, else 0."""
    sent: Array
    """Instant, or NEVER."""
    bounced: Array
    opened: Array
    clicked: Array
    """The customer came through the mail; the instant is the visit's start."""
    left: Array
    """Instant of the unsubscription, or NEVER."""


def send_mails(
    world: World, rng: np.random.Generator, people: People, visits: Sessions,
    left: Array | None = None, since: int = 0, until: int = int(NEVER),
) -> tuple[Mails, Sessions]:  # fmt: skip
    """The campaigns of [since, until) in order of time: decisions, and the visits as they are after them.

    Args:
        world: what all blocks share.
        rng: the block's generator.
        people: of the block.
        visits: those that happen without a mail.
        left: int64[people], when each unsubscribed (NEVER: has not); by default nobody has.
        since, until: instants; by default the whole period.
    """
    calendar = world.calendar
    days = range(FIRST_DAY, calendar.days - 5, world.size.campaign_days)
    left = np.full(len(people), NEVER) if left is None else left.copy()
    campaigns, brought = [], []
    rows = 0
    for day in days:
        at = calendar.start + day * DAY
        if not since <= at < until:
            continue
        mails, visits, added = _campaign(world, rng, people, visits, left, at)
        left[mails.person] = np.minimum(left[mails.person], mails.left)
        added.mail = np.where(added.mail >= 0, added.mail + rows, -1).astype(np.int32)
        rows += len(mails)
        campaigns.append(mails)
        brought.append(added)
    if not campaigns:
        return _no_mails(), visits
    return Mails.concat(campaigns), keep_apart(Sessions.concat([visits, *brought]))


def _campaign(
    world: World, rng: np.random.Generator, people: People, visits: Sessions, left: Array, at: int
) -> tuple[Mails, Sessions, Sessions]:
    person = np.flatnonzero(people.known & people.mails & (people.joined < at) & (left == NEVER))
    n = len(person)
    morning = 9 - world.offset_hours[people.region[person]]  # nine o'clock where the customer lives
    decided = to_millisecond(at + ((morning + rng.random(n) * 2) * HOUR).astype(np.int64))
    holdout = people.holdout[person]
    action = np.where(holdout, -1, ARMS[rng.integers(0, len(ARMS), n)])
    mobile = people.mobile[person] > 0.5
    situation = segments(world, people, person, decided, due_soon(visits, person, decided), mobile)
    bounced = rng.random(n) < BOUNCES
    draws = rng.random((n, 5))
    arrived = (action >= 0) & ~bounced
    would, inside = _would_visit(visits, person, decided)
    lost = arrived & (draws[:, 0] < effect_table("lost_visit")[action, situation])
    gained = arrived & (draws[:, 1] < effect_table("visit")[action, situation]) & ~lost
    sent = np.where(action >= 0, decided + (draws[:, 2] * 20 * MINUTE).astype(np.int64) + MINUTE, NEVER)
    came = to_millisecond(sent + 10 * MINUTE + (draws[:, 3] ** 2 * (WINDOW - 3 * HOUR)).astype(np.int64))
    leaves = arrived & (draws[:, 4] < effect_table("unsubscribe")[action, situation])
    opened = arrived & (gained | leaves | (rng.random(n) < OPENS))
    mails = Mails(
        person=person,
        decided=decided,
        action=action,
        holdout=holdout,
        situation=situation,
        base_visit=would.astype(np.int8),
        sent=sent,
        bounced=np.where(bounced & (action >= 0), sent + MINUTE, NEVER),
        opened=np.where(opened, np.where(gained, came - MINUTE, sent + 30 * MINUTE), NEVER),
        clicked=np.where(gained, came, NEVER),
        left=np.where(leaves, sent + 35 * MINUTE, NEVER),
    )
    kept = visits.take(~lost[inside] | (inside < 0)) if n else visits
    rows = np.flatnonzero(gained)
    return mails, kept, mail_visits(people, rng, world, rows, person[rows], came[rows])


def _would_visit(visits: Sessions, person: Array, decided: Array) -> tuple[Array, Array]:
    """For each mail whether a recognised visit begins in its window; for each visit the mail it falls to, or -1."""
    mail_of = np.full(int(visits.person.max(initial=0)) + 1 + int(person.max(initial=0)), -1)
    mail_of[person] = np.arange(len(person))
    mail = mail_of[visits.person]
    begins = np.append(decided, NEVER)[mail]
    inside = (visits.start >= begins) & (visits.start < begins + WINDOW) & ~visits.automatic & (mail >= 0)
    seen = inside & (visits.mode != Mode.ANONYMOUS)
    would = np.zeros(len(person), np.bool_)
    would[mail[seen]] = True
    return would, np.where(inside, mail, -1)


def first_in_window(person: Array, at: Array, of: Array, since: Array, window: int) -> Array:
    """For each (of, since) the row of the person's first instant in [since, since + window), or -1.

    Args:
        person: int[n], of the instants.
        at: int64[n].
        of: int[m], whose instants are wanted.
        since: int64[m].
        window: microseconds.
    """
    order = np.lexsort((at, person))
    keys = keyed(person, at)[order]
    place = np.searchsorted(keys, keyed(of, since), side="left")
    found = np.append(keys, NEVER)[place]
    return np.where(found < keyed(of, since + window), np.append(order, -1)[place], -1)


def _no_mails() -> Mails:
    empty = np.zeros(0, np.int64)
    return Mails(**dict.fromkeys(Mails.__dataclass_fields__, empty))
