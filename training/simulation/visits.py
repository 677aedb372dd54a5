"""What people look at and wish for inside their visits, and the form of all events of a block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from features.moments import SECOND
from training.simulation.catalogue import NEVER
from training.simulation.choice import come_across
from training.simulation.people import Pairs, People, World
from training.simulation.rows import Array, Rows, spread
from training.simulation.sessions import Mode, Reason, Sessions
from training.simulation.world import CATEGORIES, DURABLES, VARIETY

VIEW_EVERY: Final = 35 * SECOND
MOST_VIEWS: Final = 40
CART: Final = 0.07
WISH: Final = 0.08
WISH_KEPT: Final = 0.75
"""Share of wishes that are never taken back."""


@dataclass
class Events(Rows):
    """One row an event of this block; `writer` turns it into the columns of the dataset."""

    at: Array
    person: Array
    session: Array
    """Row of the visit, or -1."""
    type: Array
    item: Array
    quantity: Array
    price: Array
    discount: Array
    coupon: Array
    order: Array
    """Number of the order in this block, or -1."""
    line: Array
    decision: Array
    """Number of the decision in this block, or -1."""
    note: Array
    """Row in the notes (search words, answers, stars ...), or -1."""
    channel: Array
    """Row in `CHANNELS`."""
    known: Array
    """Carries the customer's id."""


CHANNELS: Final = ("web", "email", "subscription", "store_service")


def events(n: int, **given: Array | int | float | bool) -> Events:
    """Events with defaults for what is not given."""
    plain = {
        "at": (0, np.int64), "person": (0, np.int32), "session": (-1, np.int32), "type": (0, np.int8),
        "item": (-1, np.int32), "quantity": (np.nan, np.float32), "price": (np.nan, np.float64),
        "discount": (np.nan, np.float64), "coupon": (-1, np.int8), "order": (-1, np.int32), "line": (-1, np.int16),
        "decision": (-1, np.int32), "note": (-1, np.int16), "channel": (0, np.int8), "known": (True, np.bool_),
    }  # fmt: skip
    return Events(
        **{
            name: np.broadcast_to(np.asarray(given.get(name, default)), n).astype(dtype)
            for name, (default, dtype) in plain.items()
        }
    )


@dataclass
class Views(Rows):
    """One row a product page that was looked at."""

    session: Array
    person: Array
    at: Array
    category: Array
    item: Array


@dataclass
class Wishes(Rows):
    """One row an item that was put on a wish list."""

    person: Array
    item: Array
    at: Array
    removed: Array
    """Instant at which it is taken back unless it was bought before, or NEVER."""
    removed_in: Array
    """Row of the visit in which that happens."""
    session: Array


def view_items(world: World, rng: np.random.Generator, people: People, pairs: Pairs, visits: Sessions) -> Views:
    """All product pages of all visits."""
    mean = np.array([2.4, 0.4, 2.8, 1.8])[visits.reason]
    count = np.where(visits.automatic, 0, 1 + rng.poisson(np.where(people.known[visits.person], mean, mean / 2)))
    session, place = spread(np.minimum(count, MOST_VIEWS))
    person = visits.person[session]
    at = visits.start[session] + 10 * SECOND + place * VIEW_EVERY
    at = at + (rng.random(len(session)) * 20).astype(np.int64) * SECOND
    category = visits.category[session].astype(np.int64)
    drifts = rng.random(len(session)) > np.array([0.78, 0.9, 0.88, 0.8])[visits.reason[session]]
    looks = np.array([c.weight for c in CATEGORIES])
    category = np.where(drifts, rng.choice(len(CATEGORIES), len(session), p=looks / looks.sum()), category)
    taste_of = np.where(visits.gift[session], rng.integers(0, len(people), len(session)), person)
    item = come_across(world, rng, people, person, taste_of, category, at)
    habit = (visits.reason[session] == Reason.NEED) & (place == 0) & (rng.random(len(session)) < 0.8)
    item = np.where(habit, pairs.favourite[visits.pair[session]] if len(pairs) else item, item)
    category = world.catalogue.items.category[item].astype(np.int64)
    return Views(session=session, person=person, at=at, category=category, item=item)


def make_wishes(rng: np.random.Generator, visits: Sessions, views: Views) -> Wishes:
    """Views of signed-in customers that end on the wish list; an item is wished once."""
    eager = np.where(visits.reason[views.session] == Reason.PROJECT, 2.0, 1.0)
    eager *= np.isin(views.category, VARIETY) | np.isin(views.category, DURABLES)
    chosen = (visits.mode[views.session] == Mode.KNOWN) & (rng.random(len(views)) < WISH * eager)
    rows = np.flatnonzero(chosen)
    _, first = np.unique(views.person[rows] * np.int64(1 << 32) + views.item[rows], return_index=True)
    rows = rows[np.sort(first)]
    session, person = views.session[rows], views.person[rows]
    following = np.minimum(session + 1, len(visits) - 1)
    later = (following > session) & (visits.person[following] == person) & (visits.mode[following] == Mode.KNOWN)
    later &= ~visits.automatic[following] & (rng.random(len(rows)) > WISH_KEPT)
    removed = np.where(later, visits.start[following] + 5 * SECOND, NEVER)
    return Wishes(
        person=person,
        item=views.item[rows],
        at=views.at[rows] + 9 * SECOND,
        removed=removed,
        removed_in=following,
        session=session,
    )
