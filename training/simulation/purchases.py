"""What is bought: in each visit that ends in a purchase, the habit, the wish, or what was seen and liked best."""

from __future__ import annotations

from typing import Final

import numpy as np

from features.kinds import EventType
from features.moments import SECOND
from training.simulation.choice import best_per_group, come_across, liking
from training.simulation.effects import ACTION_ROW
from training.simulation.pages import Shown
from training.simulation.people import Pairs, People, World, pick_focus
from training.simulation.rows import Array, spread
from training.simulation.sessions import Reason, Sessions, keyed
from training.simulation.visits import VIEW_EVERY, Events, Views, Wishes, events
from training.simulation.world import CATEGORIES, GOES_WITH

WISH_BOUGHT: Final = 0.7
"""Probability that a purchase in the category of an open wish is the wished item."""
EXTRAS: Final = 0.28
"""Mean number of further lines in a basket."""


def buy_items(
    world: World, rng: np.random.Generator, people: People, pairs: Pairs,
    visits: Sessions, shown: Shown, views: Views, wishes: Wishes,
) -> Events:  # fmt: skip
    """The order lines of all visits that end in a purchase: what was seen and liked best, or the habit, or the wish."""
    bought = np.flatnonzero(shown.bought)
    order = np.full(len(visits), -1, np.int64)
    order[bought] = np.arange(len(bought))
    at = _checkout(rng, visits, views, bought)
    main = _favoured(world, rng, people, visits, views, bought, at)
    main = _wished(world, rng, visits, wishes, bought, at, main)
    habit = visits.reason[bought] == Reason.NEED
    pair = visits.pair[bought]
    if len(pairs):
        favourite, loyal = pairs.favourite[pair], pairs.loyal[pair]
        again = habit & (visits.automatic[bought] | (rng.random(len(bought)) < loyal))
        again &= world.catalogue.items.sellable(favourite, at)
        main = np.where(again, favourite, main)
    extra_of, place = spread(np.where(visits.automatic[bought], 0, rng.poisson(EXTRAS, len(bought))))
    extra = _extras(world, rng, people, visits, bought[extra_of], at[extra_of])
    rows = np.concatenate([np.arange(len(bought)), extra_of])
    lines = _priced(world, visits, shown, bought[rows], np.concatenate([main, extra]), at[rows])
    lines.order = rows.astype(np.int32)
    lines.line = np.concatenate([np.ones(len(bought)), place + 2]).astype(np.int16)
    lines.quantity[: len(bought)] = visits.quantity[bought]
    lines.discount = world.locale.amount(lines.price * lines.quantity * lines.discount)
    _, kept = np.unique(lines.order * np.int64(1 << 32) + lines.item, return_index=True)
    return lines.take(np.sort(kept))


def _checkout(rng: np.random.Generator, visits: Sessions, views: Views, bought: Array) -> Array:
    """The moment of each order: a while after the last view."""
    seen = np.bincount(views.session, minlength=len(visits))[bought]
    wait = 100 + (rng.random(len(bought)) * 80).astype(np.int64)
    return visits.start[bought] + seen * VIEW_EVERY + wait * SECOND


def _favoured(
    world: World, rng: np.random.Generator, people: People, visits: Sessions, views: Views, bought: Array, at: Array
) -> Array:
    items = world.catalogue.items
    relevant = views.category == visits.category[views.session]
    rows = np.flatnonzero(relevant & np.isin(views.session, bought))
    score = liking(items, people, views.person[rows], views.item[rows], views.at[rows])
    score = score + rng.gumbel(0.0, 0.4, len(rows))
    best = best_per_group(views.session[rows], score, len(visits))[bought]
    person, category = visits.person[bought], visits.category[bought]
    fresh = come_across(world, rng, people, person, person, category, at)
    staple = world.catalogue.staple(category, np.zeros(len(bought), np.int64))
    fresh = np.where(items.sellable(fresh, at), fresh, staple)
    found = (best >= 0) & (len(rows) > 0)
    seen = views.item[rows][np.maximum(best, 0)] if len(rows) else fresh
    return np.where(found & items.sellable(seen, at), seen, fresh)


def _wished(
    world: World, rng: np.random.Generator, visits: Sessions, wishes: Wishes, bought: Array, at: Array, main: Array
) -> Array:
    """Where a wish of the category is open, it is often what is bought; each wish once."""
    if not len(wishes) or not len(bought):
        return main
    items, count = world.catalogue.items, len(CATEGORIES)
    drawer = wishes.person.astype(np.int64) * count + items.category[wishes.item]
    order = np.lexsort((wishes.at, drawer))
    keys = keyed(drawer[order], wishes.at[order])
    wanted = visits.person[bought].astype(np.int64) * count + visits.category[bought]
    place = np.searchsorted(keys, keyed(wanted, at), side="left") - 1
    wish = order[np.maximum(place, 0)]
    open_ = (place >= 0) & (drawer[wish] == wanted) & (wishes.removed[wish] > at)
    open_ &= items.sellable(wishes.item[wish], at) & (rng.random(len(bought)) < WISH_BOUGHT)
    first = np.zeros(len(bought), np.bool_)
    first[np.unique(np.where(open_, wish, -1 - np.arange(len(bought))), return_index=True)[1]] = True
    return np.where(open_ & first, wishes.item[wish], main)


def _extras(
    world: World, rng: np.random.Generator, people: People, visits: Sessions, session: Array, at: Array
) -> Array:
    """What goes into the basket besides: often what goes with it."""
    person = visits.person[session]
    companion = GOES_WITH[visits.category[session]]
    other = pick_focus(world, rng, people, person, world.calendar.day(at))
    category = np.where((companion >= 0) & (rng.random(len(session)) < 0.6), companion, other)
    item = come_across(world, rng, people, person, person, category, at)
    staple = world.catalogue.staple(category, np.zeros(len(session), np.int64))
    return np.where(world.catalogue.items.sellable(item, at), item, staple)


def _priced(world: World, visits: Sessions, shown: Shown, session: Array, item: Array, at: Array) -> Events:
    """Order lines with the price and the discounts of the moment."""
    items, calendar = world.catalogue.items, world.calendar
    price = items.price_at(item, at)
    offer = ACTION_ROW["offer-ten-percent"]
    coupon = (shown.action[session, 0] == offer) & shown.clicked[session, 0]
    share = items.on_sale(item, calendar.sale[calendar.day(at)]) + 0.10 * coupon
    return events(
        len(item),
        at=at,
        person=visits.person[session],
        session=session,
        type=EventType.PURCHASE,
        item=item,
        quantity=1.0,
        price=price,
        discount=share,  # of the price, until the quantity is known
        coupon=np.where(coupon, 0, -1),
        channel=np.where(visits.automatic[session], 2, 0),
    )
