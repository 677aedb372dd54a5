"""All events of a block: what visits, orders, mails and bots leave in the log."""

from __future__ import annotations

from typing import Final

import numpy as np

from features.kinds import EventType
from features.moments import DAY, SECOND
from training.simulation.catalogue import NEVER
from training.simulation.effects import ACTION_ROW
from training.simulation.mails import Mails
from training.simulation.pages import Shown
from training.simulation.people import People, World
from training.simulation.rows import Array, spread
from training.simulation.sessions import Mode, Reason, Sessions, to_millisecond
from training.simulation.visits import CART, VIEW_EVERY, Events, Views, Wishes, events

NOTE_PET: Final = 8
"""Notes 8, 9, 10: the answers none, dog, cat."""
NOTE_QUERY: Final = 11
"""Notes from here on: a search for each category."""
SEARCHES: Final = np.array([0.25, 0.35, 0.5, 0.15])
"""Probability of a search by reason of the visit."""
ANSWERS: Final = 0.6
"""Share of clicked questions that are answered."""
SIGN_OUT: Final = 0.08


def visit_events(
    world: World, rng: np.random.Generator, people: People, visits: Sessions, shown: Shown, views: Views
) -> Events:
    """Views, searches, carts that are left, sign-ins and sign-outs. Call `mark_known` on the whole afterwards."""
    seen = events(
        len(views), at=views.at, person=views.person, session=views.session, type=EventType.VIEW, item=views.item
    )
    searching = np.flatnonzero((rng.random(len(visits)) < SEARCHES[visits.reason]) & ~visits.automatic)
    searches = _during(visits, searching, visits.start[searching] + 4 * SECOND, EventType.SEARCH)
    searches.note = (NOTE_QUERY + visits.category[searching]).astype(np.int16)
    left = np.flatnonzero((rng.random(len(views)) < CART) & ~shown.bought[views.session])
    carts = events(
        len(left), at=views.at[left] + 12 * SECOND, person=views.person[left], session=views.session[left],
        type=EventType.CART, item=views.item[left], quantity=1.0,
        price=world.catalogue.items.price_at(views.item[left], views.at[left]),
    )  # fmt: skip
    regrets = carts.take(rng.random(len(left)) < 0.3)
    regrets.at, regrets.type = regrets.at + 15 * SECOND, np.full(len(regrets), EventType.CART_REMOVE, np.int8)
    regrets.price = np.full(len(regrets), np.nan)
    signing = np.flatnonzero((visits.mode == Mode.SIGNS_IN) & people.known[visits.person])
    ins = _during(visits, signing, sign_in_at(visits, views)[signing], EventType.SIGN_IN)
    leaving = np.flatnonzero((visits.mode != Mode.ANONYMOUS) & ~visits.automatic & (rng.random(len(visits)) < SIGN_OUT))
    outs = _during(visits, leaving, visits.start[leaving] + 3000 * SECOND, EventType.SIGN_OUT)
    return Events.concat([seen, searches, carts, regrets, ins, outs])


def sign_in_at(visits: Sessions, views: Views) -> Array:
    """When a visit that begins anonymously signs in: after the last view, before the checkout."""
    seen = np.bincount(views.session, minlength=len(visits))
    return visits.start + seen * VIEW_EVERY + 45 * SECOND


def mark_known(visits: Sessions, views: Views, people: People, log: Events) -> None:
    """Set which events carry a customer id: from the start, from the sign-in on, or not at all."""
    inside = log.session >= 0
    mode = visits.mode[log.session]
    signed = (mode == Mode.KNOWN) | ((mode == Mode.SIGNS_IN) & (log.at >= sign_in_at(visits, views)[log.session]))
    log.known = people.known[log.person] & (~inside | signed)


def basket_events(rng: np.random.Generator, visits: Sessions, views: Views, lines: Events) -> Events:
    """The order lines themselves and the carts they were in; habits are often bought at a click."""
    quick = (visits.reason[lines.session] == Reason.NEED) & (rng.random(len(lines)) < 0.5)
    carted = lines.take(~quick & ~visits.automatic[lines.session])
    carted.at = sign_in_at(visits, views)[carted.session] + 10 * SECOND + carted.line.astype(np.int64) * 2 * SECOND
    carted.type = np.full(len(carted), EventType.CART, np.int8)
    carted.discount, carted.coupon = np.full(len(carted), np.nan), np.full(len(carted), -1, np.int8)
    carted.order, carted.line = np.full(len(carted), -1, np.int32), np.full(len(carted), -1, np.int16)
    lines = lines.take(np.arange(len(lines)))
    lines.session = np.where(visits.automatic[lines.session], -1, lines.session)
    return Events.concat([lines, carted])


def wish_events(wishes: Wishes, lines: Events) -> Events:
    """Wishes, and those taken back; a wish that was bought is closed and is not taken back any more."""
    added = events(
        len(wishes),
        at=wishes.at,
        person=wishes.person,
        session=wishes.session,
        type=EventType.WISHLIST,
        item=wishes.item,
    )
    removed = wishes.take(wishes.removed < NEVER)
    bought = lines.person * np.int64(1 << 32) + lines.item
    closed = np.zeros(len(removed), np.bool_)
    if len(lines):
        order = np.lexsort((lines.at, bought))
        key = removed.person * np.int64(1 << 32) + removed.item
        place = np.minimum(np.searchsorted(bought[order], key), len(order) - 1)
        closed = (bought[order][place] == key) & (lines.at[order][place] < removed.removed)
    removed = removed.take(~closed)
    gone = events(
        len(removed), at=removed.removed, person=removed.person, session=removed.removed_in,
        type=EventType.WISHLIST_REMOVE, item=removed.item,
    )  # fmt: skip
    return Events.concat([added, gone])


def page_clicks(rng: np.random.Generator, people: People, visits: Sessions, shown: Shown, decision: Array) -> Events:
    """Clicks on slots, and answers to the question.

    Args:
        rng: the block's generator.
        people: of the block.
        visits: of the block.
        shown: what their pages showed.
        decision: int64[visits, 2], the number of each slot's decision.
    """
    row, slot = np.nonzero(shown.clicked)
    at = visits.start[row] + (2 + 2 * slot) * SECOND
    clicks = _during(visits, row, at, EventType.CLICK)
    clicks.decision = decision[row, slot].astype(np.int32)
    asked = shown.action[row, slot] == ACTION_ROW["question-pet"]
    answered = asked & (rng.random(len(row)) < ANSWERS)
    answers = clicks.take(answered)
    answers.at = answers.at + 4 * SECOND
    answers.type = np.full(len(answers), EventType.ANSWER, np.int8)
    answers.note = (NOTE_PET + people.pet[answers.person]).astype(np.int16)
    return Events.concat([clicks, answers])


def mail_events(mails: Mails, first_decision: int) -> Events:
    """Mails sent, bounced, opened and clicked, and customers who unsubscribe."""
    number = first_decision + np.arange(len(mails))
    parts = []
    for at, kind in (
        (mails.sent, EventType.SENT),
        (mails.bounced, EventType.BOUNCE),
        (mails.opened, EventType.OPEN),
        (mails.clicked, EventType.CLICK),
        (mails.left, EventType.UNSUBSCRIBE),
    ):
        happened = at < NEVER
        parts.append(
            events(
                int(happened.sum()),
                at=to_millisecond(at[happened]),
                person=mails.person[happened],
                type=kind,
                decision=number[happened],
                channel=1,
            )
        )
    return Events.concat(parts)


def bot_events(world: World, rng: np.random.Generator, bots: int, first_person: int) -> Events:
    """Robots: hundreds of views within minutes, by all categories alike, several times."""
    size = world.size
    bot, place = spread(rng.poisson(size.bot_views, bots))
    run = place // 100
    day = rng.integers(1, world.calendar.days - 1, (bots, int(run.max(initial=0)) + 1))
    at = world.calendar.start + day[bot, run] * DAY + run * 7200 * SECOND + (place % 100) * 300_000
    item = rng.integers(0, size.items, len(bot))
    seen = world.catalogue.items.launched[item] <= at
    log = events(
        len(bot), at=to_millisecond(at), person=first_person + bot, type=EventType.VIEW, item=item, known=False
    )
    return log.take(seen & (at < world.calendar.end))


def _during(visits: Sessions, rows: Array, at: Array, kind: EventType) -> Events:
    return events(len(rows), at=at, person=visits.person[rows], session=rows, type=kind)
