"""Who comes to the shop: customers and visitors who never sign in, with their hidden tastes and needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from features.moments import DAY
from training.simulation.catalogue import NEVER, Catalogue, make_catalogue
from training.simulation.locale import Locale
from training.simulation.rows import Array, Rows, generator, mix, pick
from training.simulation.world import (
    CATEGORIES,
    CLUSTERS,
    DURABLES,
    PET_OF,
    STYLES,
    VARIETY,
    Calendar,
    Size,
    season_factor,
)

VISITORS_PER_CUSTOMER: Final = 0.5
STRANGER: Final = 1 << 40
"""Numbers of people who never become customers begin here."""
HOLDOUT_SHARE: Final = 0.02
LATE_SHARE: Final = 0.3
"""Customers who register during the period."""
PROJECTS_FROM_US: Final = 0.45
"""Share of needs for a durable that are looked for in this shop."""
TIERS: Final = ("bronze", "silver", "gold")


@dataclass
class People(Rows):
    """One row a person. Everything but the last lines is hidden from the dataset, or shows there only in part."""

    number: Array
    """The person's number in the whole shop; from STRANGER on for those who never sign in."""
    known: Array
    """A customer (perhaps later in the period)."""
    cluster: Array
    style_odds: Array
    """float32[people, STYLES]: cumulative taste for styles."""
    affinity: Array
    """float32[people, categories]: how much they look at each category on a mood."""
    pace: Array
    """Factor on how often they visit."""
    thrift: Array
    """0 to 1: how much a high price puts them off."""
    resolve: Array
    """Factor on how often a visit becomes a purchase."""
    curiosity: Array
    """Factor on how often they click."""
    mobile: Array
    """Probability that a visit is made on the phone."""
    pet: Array
    project: Array
    """Row of the durable they come to need, or -1."""
    project_from: Array
    project_to: Array
    quiet: Array
    hidden: Array
    region: Array
    joined: Array
    tier: Array
    mails: Array
    """Consents to e-mail."""
    personal: Array
    """Consents to personalisation."""
    holdout: Array
    visitor: Array
    """uint64[people, 2]: the cookie on the phone and the one on the desk."""
    visitor_holdout: Array
    age: Array
    household: Array
    deal_alerts: Array
    """Subscribed to deals: most of the thrifty, few others."""
    contact: Array
    """Says `rarely` when asked how often to be written to: most of the quiet, few others."""


class World:
    """Everything that all blocks share: calendar, catalogue, tastes of the clusters."""

    def __init__(self, size: Size, seed: int, locale: Locale, calendar: Calendar) -> None:
        self.size, self.seed, self.locale, self.calendar = size, seed, locale, calendar
        self.catalogue: Catalogue = make_catalogue(seed, size.items, calendar, locale)
        rng = generator(seed, 0, 1)
        self.cluster_share = rng.dirichlet(np.full(CLUSTERS, 8.0))
        self.cluster_style = 1.6 * rng.standard_normal((CLUSTERS, STYLES))
        self.cluster_affinity = 1.1 * rng.standard_normal((CLUSTERS, len(CATEGORIES)))
        self.cluster_hidden = rng.permutation(CLUSTERS) < CLUSTERS // 3

    @cached_property
    def climate(self) -> Array:
        """float[regions]: 1 is cold."""
        return np.array([region.climate for region in self.locale.regions])

    @cached_property
    def season(self) -> Array:
        """float[regions, 12, categories]."""
        return season_factor(self.climate)

    @cached_property
    def offset_hours(self) -> Array:
        """float[regions]: local time minus UTC."""
        return np.array([region.offset_hours for region in self.locale.regions])

    @cached_property
    def metro(self) -> Array:
        """bool[regions]."""
        return np.array([region.metro for region in self.locale.regions])


def make_people(world: World, rng: np.random.Generator, block: int) -> People:
    """The customers of a block, then its visitors who never sign in."""
    first = block * world.size.block
    customers = min(world.size.block, world.size.customers - first)
    strangers = round(customers * VISITORS_PER_CUSTOMER)
    number = np.concatenate([first + np.arange(customers), STRANGER + first + np.arange(strangers)])
    n = len(number)
    known = np.arange(n) < customers
    cluster = rng.choice(CLUSTERS, n, p=world.cluster_share)
    style = np.exp(world.cluster_style[cluster] + 0.5 * rng.standard_normal((n, STYLES)))
    looks = np.array([category.weight for category in CATEGORIES])
    affinity = looks * np.exp(world.cluster_affinity[cluster] + 0.5 * rng.standard_normal((n, len(CATEGORIES))))
    thrift = rng.beta(1.5, 2.0, n)
    quiet = rng.random(n) < 0.08
    project, begins, ends = draw_projects(world, rng, n)
    return People(
        number=number,
        known=known,
        cluster=cluster.astype(np.int8),
        style_odds=np.cumsum(style / style.sum(axis=1, keepdims=True), axis=1).astype(np.float32),
        affinity=affinity.astype(np.float32),
        pace=np.exp(0.8 * rng.standard_normal(n) - 0.32),
        thrift=thrift,
        resolve=np.exp(0.4 * rng.standard_normal(n) - 0.08),
        curiosity=rng.uniform(0.7, 1.3, n),
        mobile=_phones(rng, known),
        pet=rng.choice(3, n, p=[0.71, 0.15, 0.14]).astype(np.int8),
        project=project,
        project_from=begins,
        project_to=ends,
        quiet=quiet,
        hidden=world.cluster_hidden[cluster],
        region=rng.choice(len(world.locale.regions), n, p=world.locale.weights).astype(np.int16),
        joined=_joined(world.calendar, rng, known),
        tier=rng.choice(3, n, p=[0.6, 0.28, 0.12]).astype(np.int8),
        mails=rng.random(n) < 0.7,
        personal=rng.random(n) < 0.88,
        holdout=_lot(number, 1) < HOLDOUT_SHARE,
        **_visitors(rng, number, known),
        age=rng.choice(6, n, p=[0.12, 0.2, 0.22, 0.2, 0.15, 0.11]).astype(np.int8),
        household=rng.choice(4, n, p=[0.3, 0.3, 0.2, 0.2]).astype(np.int8),
        deal_alerts=rng.random(n) < np.where(thrift > BARGAIN_FROM, 0.8, 0.08),
        contact=rng.random(n) < np.where(quiet, 0.85, 0.03),
    )


BARGAIN_FROM: Final = 0.65
"""Thrift above which a person hunts for bargains."""


def _phones(rng: np.random.Generator, known: Array) -> Array:
    """Customers use both devices, strangers one: what is known of them hangs on one cookie."""
    both = rng.beta(3.0, 1.6, len(known))
    return np.where(known, both, rng.random(len(known)) < both)


def _lot(number: Array, salt: int) -> Array:
    return (mix(mix(number) + np.uint64(salt)) >> np.uint64(11)).astype(np.float64) / float(1 << 53)


def _joined(calendar: Calendar, rng: np.random.Generator, known: Array) -> Array:
    n = len(known)
    inside = calendar.start + (rng.uniform(0.05, 0.9, n) * calendar.days * DAY).astype(np.int64)
    late = rng.random(n) < LATE_SHARE
    return np.where(known, np.where(late, inside, calendar.start), NEVER)


def _visitors(rng: np.random.Generator, number: Array, known: Array) -> dict[str, Array]:
    """Cookies: scrambled, so that they tell nothing; a few couples share the one on the desk."""
    cookies = mix(number[:, None].astype(np.uint64) * np.uint64(2) + np.arange(2, dtype=np.uint64))
    shared = known & (rng.random(len(number)) < 0.03)
    shared[0] = False
    cookies[shared, 1] = cookies[np.flatnonzero(shared) - 1, 1]
    return {"visitor": cookies, "visitor_holdout": _lot(cookies, 2) < HOLDOUT_SHARE}


def draw_projects(world: World, rng: np.random.Generator, n: int) -> tuple[Array, Array, Array]:
    """At most one durable a person: which, and from when to when they look around."""
    cycles = np.array([CATEGORIES[row].cycle_days or np.inf for row in DURABLES])
    rates = PROJECTS_FROM_US / cycles
    calendar = world.calendar
    needs = rng.random(n) < 1 - np.exp(-rates.sum() * calendar.days)
    which = DURABLES[rng.choice(len(DURABLES), n, p=rates / rates.sum())]
    urgent = np.array([category.urgent for category in CATEGORIES])[which]
    length = np.where(urgent, rng.uniform(0.5, 3.0, n), rng.uniform(5.0, 45.0, n))
    begins = calendar.start + (rng.random(n) * calendar.days * DAY).astype(np.int64)
    project = np.where(needs, which, -1).astype(np.int16)
    return project, np.where(needs, begins, NEVER), np.where(needs, begins + (length * DAY).astype(np.int64), NEVER)


@dataclass
class Pairs(Rows):
    """Who uses up what: one row for each person and consumable."""

    person: Array
    category: Array
    cycle: Array
    """Days between two purchases of this household."""
    favourite: Array
    loyal: Array
    """Probability that the favourite is bought again."""
    subscribed: Array


def make_pairs(world: World, rng: np.random.Generator, people: People) -> Pairs:
    """The consumables of each customer, with a favourite item of their taste each."""
    owners, rows = [], []
    for row, category in enumerate(CATEGORIES):
        wants = rng.random(len(people)) < category.users * world.size.users
        if category.key in PET_OF:
            wants &= people.pet == PET_OF[category.key]
        owners.append(np.flatnonzero(wants & people.known))
        rows.append(np.full(len(owners[-1]), row, np.int16))
    person, category_row = np.concatenate(owners), np.concatenate(rows)
    style = pick_style(rng, people, person)
    cycles = np.array([category.cycle_days or np.nan for category in CATEGORIES])
    favourite = world.catalogue.draw(rng, category_row, style)
    later = world.catalogue.items.launched[favourite] > world.calendar.start
    favourite = np.where(later, world.catalogue.staple(category_row, style), favourite)
    return Pairs(
        person=person.astype(np.int32),
        category=category_row,
        cycle=cycles[category_row] * np.exp(0.12 * rng.standard_normal(len(person))),
        favourite=favourite,
        loyal=rng.uniform(0.55, 0.95, len(person)),
        subscribed=rng.random(len(person)) < 0.07,
    )


def pick_style(rng: np.random.Generator, people: People, person: Array) -> Array:
    """A style for each of these people, in proportion to their taste."""
    odds = people.style_odds[person]
    style: Array = (odds <= rng.random(len(person), np.float32)[:, None]).sum(axis=1)
    return np.minimum(style, STYLES - 1)


def pick_focus(world: World, rng: np.random.Generator, people: People, person: Array, day: Array) -> Array:
    """The variety category that each visit is about: taste x season of that region."""
    month = world.calendar.month[day]
    weights = people.affinity[:, VARIETY][person] * world.season[:, :, VARIETY][people.region[person], month]
    return VARIETY[pick(rng, weights)].astype(np.int16)
