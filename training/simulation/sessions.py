"""When people come, why, and how: visits for a need, for a project, on a mood; the clock and the device."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np

from features.moments import DAY, HOUR
from training.simulation.people import Pairs, People, World, pick_focus
from training.simulation.rows import Array, Rows, spread
from training.simulation.world import CATEGORIES, GIFT_BY_MONTH, KIND, Kind

MILLISECOND: Final = 1000
APART: Final = 2 * HOUR
"""Visits of a person begin at least this far apart; also the attribution window of a page."""
BOUGHT_HERE: Final = 0.93
"""Probability that a need is met in this shop; the rest is bought elsewhere."""


class Reason(IntEnum):
    """Why somebody comes."""

    MOOD = 0
    NEED = 1
    """A consumable has run out."""
    PROJECT = 2
    MAIL = 3


class Mode(IntEnum):
    """Whether the shop knows who it is."""

    KNOWN = 0
    SIGNS_IN = 1
    """Anonymous at first, signed in before the end."""
    ANONYMOUS = 2


DEVICES: Final = ("mobile", "desktop", "tablet")
SOURCES: Final = ("direct", "search", "social", "ads", "referral", "email")
REFERRERS: Final = (
    "",
    "https://search.example/",
    "https://social.example/",
    "https://ads.example/",
    "https://magazine.example/",
    "",
)
_SOURCES_KNOWN: Final = np.cumsum([0.48, 0.24, 0.09, 0.07, 0.06, 0.06])
_SOURCES_NEW: Final = np.cumsum([0.12, 0.40, 0.20, 0.22, 0.06, 0.0])
_HOURS_PHONE: Final = np.array(
    [2, 1, 0.6, 0.5, 0.5, 0.8, 2, 4.5, 4.5, 3, 3, 3.2, 5, 4, 3, 3, 3.4, 4, 4.6, 5.5, 7, 8, 7, 4.5]
)
_HOURS_DESK: Final = np.array(
    [0.6, 0.3, 0.2, 0.2, 0.2, 0.3, 0.8, 2, 4, 6, 6.5, 6, 5, 5.5, 6, 6, 5.5, 4.5, 4, 4.5, 5.5, 5.5, 4, 1.8]
)
_HOURS_EVEN: Final = np.ones(24)


@dataclass
class Sessions(Rows):
    """One row a visit (or the automatic order of a subscription)."""

    person: Array
    start: Array
    reason: Array
    category: Array
    """What the visit is about."""
    pair: Array
    """Row of the used-up consumable, or -1."""
    mail: Array
    """Row of the mail that brought it, or -1."""
    decides: Array
    """A project's last visit."""
    automatic: Array
    quantity: Array
    gift: Array
    device: Array
    source: Array
    mode: Array
    landing: Array
    """Begins on the home page."""


def _visits(n: int, **given: Array | int | bool) -> Sessions:
    """Sessions with defaults for what is not given."""
    plain = {
        "person": (0, np.int32), "start": (0, np.int64), "reason": (0, np.int8), "category": (0, np.int16),
        "pair": (-1, np.int32), "mail": (-1, np.int32), "decides": (False, np.bool_), "automatic": (False, np.bool_),
        "quantity": (1, np.int8), "gift": (False, np.bool_), "device": (0, np.int8), "source": (0, np.int8),
        "mode": (0, np.int8), "landing": (False, np.bool_),
    }  # fmt: skip
    columns: dict[str, Array] = {
        name: np.broadcast_to(np.asarray(given.get(name, default)), n).astype(dtype)
        for name, (default, dtype) in plain.items()
    }
    return Sessions(**columns)


def base_sessions(world: World, rng: np.random.Generator, people: People, pairs: Pairs) -> Sessions:
    """All visits that happen without any mail, by person and time, at least two hours apart."""
    visits = Sessions.concat(
        [
            mood_visits(world, rng, people),
            _needs(world, rng, people, pairs),
            project_visits(world, rng, people),
            registrations(world, rng, people),
        ]
    )
    return settled(world, rng, people, visits, world.calendar.start, world.calendar.end - 2 * APART)


def settled(world: World, rng: np.random.Generator, people: People, visits: Sessions, start: int, end: int) -> Sessions:
    """Visits that begin in [start, end) with device, source and mode, at least two hours apart."""
    visits = visits.take((visits.start >= start) & (visits.start < end))
    visits.start = to_millisecond(visits.start)
    _set_context(world, rng, people, visits)
    return keep_apart(visits)


def mood_visits(world: World, rng: np.random.Generator, people: People) -> Sessions:
    """Visits without a need: a Poisson process that follows the traffic of the days."""
    months = world.calendar.days / 30
    mean = np.where(people.known, world.size.visits * people.pace * months, 0.35 * people.pace)
    person, _ = spread(rng.poisson(mean) + ~people.known)
    traffic = np.cumsum(world.calendar.traffic)
    day = np.searchsorted(traffic, rng.random(len(person)) * traffic[-1], side="right")
    category = pick_focus(world, rng, people, person, day)
    present = rng.random(len(person)) < GIFT_BY_MONTH[world.calendar.month[day]]
    giftable = np.array([c.gift for c in CATEGORIES])
    presents = rng.choice(len(CATEGORIES), len(person), p=giftable / giftable.sum())
    category = np.where(present, presents, category)
    start = world.calendar.start + day * DAY
    return _clocked(
        world, rng, people, _visits(len(person), person=person, start=start, category=category, gift=present)
    )


def _needs(world: World, rng: np.random.Generator, people: People, pairs: Pairs) -> Sessions:
    """The chain of each pair: the next need comes a cycle after the last purchase, whatever its noise."""
    most = int(world.calendar.days / (pairs.cycle.min() if len(pairs) else 1.0) * 1.4) + 3
    size, gaps = supplies(rng, pairs.cycle, most)
    begin = np.maximum(people.joined[pairs.person], world.calendar.start)
    due = begin[:, None] + DAY * (rng.random(len(pairs)) * pairs.cycle)[:, None]
    due = due + DAY * (np.cumsum(gaps, axis=1) - gaps)
    kept = (due < world.calendar.end) & (rng.random(due.shape) < BOUGHT_HERE)
    row, column = np.nonzero(kept)
    return need_visits(world, rng, people, pairs, row, due[row, column], size[row, column])


def supplies(rng: np.random.Generator, cycle: Array, most: int) -> tuple[Array, Array]:
    """int[pairs, most] packs bought at each need, and float[pairs, most] days that they last."""
    size = np.where(rng.random((len(cycle), most)) < 0.07, 2, 1)
    return size, cycle[:, None] * np.exp(0.13 * rng.standard_normal((len(cycle), most))) * size


def need_visits(
    world: World, rng: np.random.Generator, people: People, pairs: Pairs, row: Array, due: Array, quantity: Array
) -> Sessions:
    """The visits for needs: the pair of each (`row`), the instant it runs out on and the packs that are bought."""
    day = (due - world.calendar.start) // DAY
    visits = _visits(
        len(row),
        person=pairs.person[row],
        start=world.calendar.start + day.astype(np.int64) * DAY,
        reason=Reason.NEED,
        category=pairs.category[row],
        pair=row,
        quantity=quantity,
        automatic=pairs.subscribed[row],
    )
    visits = _clocked(world, rng, people, visits)
    return visits.take(visits.start >= people.joined[visits.person])


def project_visits(world: World, rng: np.random.Generator, people: People) -> Sessions:
    """Some visits between a project's begin and end; the last is when it is decided."""
    searching = np.flatnonzero(people.project >= 0)
    begin, end = people.project_from[searching], people.project_to[searching]
    row, place = spread(rng.poisson(np.clip((end - begin) / DAY / 8, 1.0, 4.0)) + 1)
    at = np.where(place == 0, end[row], begin[row] + (rng.random(len(row)) * (end - begin)[row]).astype(np.int64))
    person = searching[row]
    visits = _visits(
        len(row), person=person, start=at - at % DAY, reason=Reason.PROJECT, category=people.project[person]
    )
    visits = _clocked(world, rng, people, visits)
    visits.start = np.clip(visits.start, begin[row], end[row])
    visits = in_order(visits.take(~people.known[person] | (visits.start >= people.joined[person])))
    visits.decides = np.append(visits.person[1:] != visits.person[:-1], True) if len(visits) else visits.decides
    return visits


def registrations(world: World, rng: np.random.Generator, people: People) -> Sessions:
    """The visit on which a late customer registers."""
    late = np.flatnonzero(people.known & (people.joined > world.calendar.start))
    day = world.calendar.day(people.joined[late])
    category = pick_focus(world, rng, people, late, day)
    return _visits(len(late), person=late, start=people.joined[late], category=category, mode=Mode.SIGNS_IN)


def _clocked(world: World, rng: np.random.Generator, people: People, visits: Sessions) -> Sessions:
    """Give visits that only have a day their device and a local hour that goes with it."""
    visits.device = _devices(rng, people, visits.person)
    urgent = np.array([category.urgent for category in CATEGORIES])[visits.category]
    hour = np.where(
        visits.device == 0,
        rng.choice(24, len(visits), p=_HOURS_PHONE / _HOURS_PHONE.sum()),
        rng.choice(24, len(visits), p=_HOURS_DESK / _HOURS_DESK.sum()),
    )
    hour = np.where(urgent, rng.choice(24, len(visits), p=_HOURS_EVEN / 24), hour)
    offset = world.offset_hours[people.region[visits.person]]
    visits.start = visits.start + ((hour - offset + rng.random(len(visits))) * HOUR).astype(np.int64)
    return visits


def _devices(rng: np.random.Generator, people: People, person: Array) -> Array:
    phone = rng.random(len(person)) < people.mobile[person]
    return np.where(phone, 0, np.where(rng.random(len(person)) < 0.12, 2, 1)).astype(np.int8)


def _set_context(world: World, rng: np.random.Generator, people: People, visits: Sessions) -> None:
    """Device where not set, traffic source, whether signed in, and where the visit begins."""
    n = len(visits)
    unset = visits.mode == Mode.SIGNS_IN
    visits.device = np.where(unset, _devices(rng, people, visits.person), visits.device)
    before = visits.start < people.joined[visits.person]
    draw = rng.random(n)
    source = np.where(before, np.searchsorted(_SOURCES_NEW, draw), np.searchsorted(_SOURCES_KNOWN, draw))
    visits.source = np.minimum(source, len(SOURCES) - 1).astype(np.int8)
    lot = rng.random(n)
    mode = np.where(lot < 0.80, Mode.KNOWN, np.where(lot < 0.87, Mode.SIGNS_IN, Mode.ANONYMOUS))
    mode = np.where(visits.reason == Reason.NEED, np.minimum(mode, Mode.SIGNS_IN), mode)  # they come to buy
    mode = np.where(visits.decides, np.minimum(mode, Mode.SIGNS_IN), mode)
    mode = np.where(visits.mode == Mode.SIGNS_IN, Mode.SIGNS_IN, np.where(before, Mode.ANONYMOUS, mode))
    visits.mode = np.where(visits.automatic, Mode.KNOWN, mode).astype(np.int8)
    visits.landing = (rng.random(n) < world.size.landing) & ~visits.automatic


def in_order(visits: Sessions) -> Sessions:
    """By person, then time."""
    return visits.take(np.lexsort((visits.mail, visits.start, visits.person)))


def keep_apart(visits: Sessions) -> Sessions:
    """In order, and without visits that begin within two hours of another; one that a mail brought stays."""
    visits = in_order(visits)
    while True:
        close = (visits.person[1:] == visits.person[:-1]) & (visits.start[1:] - visits.start[:-1] < APART)
        if not close.any():
            return visits
        mailed = visits.mail[1:] >= 0
        gone = np.zeros(len(visits), np.bool_)
        gone[1:] |= close & ~mailed
        gone[:-1] |= close & mailed
        visits = visits.take(~gone)


def mail_visits(
    people: People, rng: np.random.Generator, world: World, mail: Array, person: Array, at: Array
) -> Sessions:
    """The visits that mails bring."""
    category = pick_focus(world, rng, people, person, world.calendar.day(at))
    return _visits(
        len(person),
        person=person,
        start=to_millisecond(at),
        reason=Reason.MAIL,
        category=category,
        mail=mail,
        device=_devices(rng, people, person),
        source=SOURCES.index("email"),
    )


def keyed(person: Array, at: Array) -> Array:
    """Person and time as one sortable number; exact, because all times are whole milliseconds."""
    key: Array = person.astype(np.int64) * (1 << 42) + at // MILLISECOND
    return key


def to_millisecond(at: Array) -> Array:
    """Instants cut to the millisecond."""
    cut: Array = at - at % MILLISECOND
    return cut


def is_kind(category: Array, kind: Kind) -> Array:
    """Whether categories are of a kind."""
    same: Array = KIND[category] == kind
    return same
