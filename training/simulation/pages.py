"""What the home page shows and whether the visit ends in a purchase, visit by visit in order of time.

The logging policy draws two slots, hero then band, without replacement: every eligible action (null among them) has
a floor, the rest follows the shop's habits, which differ between phones and desks, known and unknown. So averages of
the log by action are biased, and the recorded propensities undo it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from features.moments import DAY
from training.simulation.catalogue import NEVER
from training.simulation.effects import (
    BAND,
    BASE_CLICK,
    HERO,
    PAGE_ACTIONS,
    Segment,
    click_probability,
    effect_table,
    purchase_probability,
)
from training.simulation.people import People, World
from training.simulation.rows import Array, Rows
from training.simulation.sessions import SOURCES, Mode, Reason, Sessions, is_kind
from training.simulation.situations import due_soon, segments
from training.simulation.world import CATEGORIES, SALE_CONVERSION, Kind

POLICY: Final = "uniform-with-floor-1"
FLOOR: Final = 0.02
"""Least probability of each eligible action."""
SLOTS: Final = (HERO, BAND)
CELLS: Final = 4
"""Contexts that the logging policy tells apart: anonymous + 2 x mobile."""
ERRORS: Final = 0.002
"""Share of pages on which the draw failed and nothing was shown."""
IMPOSSIBLE: Final = -9.0
"""Base probability of visits that cannot end in a purchase, whatever is shown."""
SOURCE_PULL: Final = {"direct": 1.1, "search": 1.25, "social": 0.6, "ads": 0.75, "referral": 1.0, "email": 1.1}
"""Factor on the probability that a visit on a mood ends in a purchase."""
_ALL: Final = (1 << len(PAGE_ACTIONS)) - 1


def _mask(*wanted: bool) -> int:
    return sum(1 << place for place, yes in enumerate(wanted) if yes)


SLOT_MASK: Final = {slot: _mask(*(slot in action.slots for action in PAGE_ACTIONS)) for slot in SLOTS}
_OPEN: Final = _mask(*(not action.known_only for action in PAGE_ACTIONS))
_LOCAL: Final = _mask(*(action.metro_only for action in PAGE_ACTIONS))
_CONDITIONS: Final = tuple(
    (1 << place, int(action.needs), int(action.without))
    for place, action in enumerate(PAGE_ACTIONS)
    if action.needs or action.without
)
_ANONYMOUS, _MOBILE = int(Segment.ANONYMOUS), int(Segment.MOBILE)


@dataclass
class Shown(Rows):
    """One row a visit: what was decided, clicked and bought."""

    situation: Array
    """`Segment` bits at the moment of decision."""
    eligible: Array
    """int64[visits, 2]: bit mask of the eligible actions of each slot (null always is)."""
    action: Array
    """int8[visits, 2]: row of the effect table; -1 is null."""
    failed: Array
    holdout: Array
    click_base: Array
    """float32[visits, 2]."""
    clicked: Array
    """bool[visits, 2]."""
    buy_base: Array
    """Probability of a purchase with an empty page; IMPOSSIBLE where there is none at all."""
    lift: Array
    """float32[visits, 2]: what each slot's action added."""
    bought: Array


@cache
def policy_table(slot: str) -> Array:
    """float64[CELLS, masks, actions + 1]: the logging policy's probabilities; column 0 is null, always eligible.

    Column 1 + a is action a. Columns are in sorted order of ids, null first: the order of the inverse CDF.
    """
    count = len(PAGE_ACTIONS)
    masks = np.arange(1 << count)
    eligible = np.concatenate([np.ones((len(masks), 1)), (masks[:, None] >> np.arange(count)) & 1], axis=1)
    habits = np.array([1.0, *(action.weight for action in PAGE_ACTIONS)])
    table = np.empty((CELLS, len(masks), count + 1))
    for cell in range(CELLS):
        liking = habits * (1.0 + 0.6 * ((np.arange(count + 1) * (cell + 2) + SLOTS.index(slot)) % 3))
        weights = eligible * liking
        spare = 1 - FLOOR * eligible.sum(axis=1, keepdims=True)
        table[cell] = eligible * FLOOR + spare * weights / weights.sum(axis=1, keepdims=True)
    table.flags.writeable = False
    return table


@cache
def _cumulative(slot: str) -> Array:
    table = policy_table(slot)
    cumulative = np.cumsum(table, axis=2)
    last = table.shape[2] - 1 - np.argmax(table[:, :, ::-1] > 0, axis=2)
    cumulative[np.arange(table.shape[2])[None, None, :] >= last[:, :, None]] = 2.0  # rounding never runs past the end
    return cumulative


def cell_of(situation: Array) -> Array:
    """The logging policy's context of a situation."""
    return ((situation & _ANONYMOUS) > 0) + 2 * ((situation & _MOBILE) > 0)


def eligible_mask(slot: str, situation: Array, metro: Array) -> Array:
    """int64[n]: which actions may stand in a slot (before the other slot's choice is taken out)."""
    mask = np.full(len(situation), SLOT_MASK[slot])
    mask &= np.where((situation & _ANONYMOUS) > 0, _OPEN, _ALL)
    mask &= np.where(metro, _ALL, _ALL & ~_LOCAL)
    for bit, needs, without in _CONDITIONS:
        barred = (situation & needs) != needs if needs else (situation & without) != 0
        mask &= ~np.where(barred, bit, 0)
    return mask


def show_pages(
    world: World, rng: np.random.Generator, people: People, visits: Sessions, state: State | None = None
) -> Shown:
    """Decide, click and buy through all visits.

    Args:
        world: what all blocks share.
        rng: the block's generator.
        people: of the block.
        visits: by person and time.
        state: what earlier visits left behind; it is carried on.
    """
    shown = _blank(world, rng, people, visits)
    draws = rng.random((len(visits), 5))
    state = State(len(people)) if state is None else state
    first = np.append(True, visits.person[1:] != visits.person[:-1]) if len(visits) else np.zeros(0, np.bool_)
    number = np.arange(len(visits))
    rank = number - np.maximum.accumulate(np.where(first, number, 0))
    by_rank = np.argsort(rank, kind="stable")
    ends = np.cumsum(np.bincount(rank))
    metro = world.metro[people.region]
    for begin, end in zip(np.append(0, ends[:-1]), ends, strict=True):
        _round(visits, shown, state, by_rank[begin:end], draws, metro)
    return shown


class State:
    """What earlier visits left behind, person by person."""

    def __init__(self, people: int) -> None:
        self.orders = np.zeros(people, np.int64)
        self.waits_until = np.zeros(people, np.int64)
        self.last_bought = np.full((people, len(CATEGORIES)), -NEVER // 2)

    def record(self, person: Array, category: Array, at: Array) -> None:
        """Take note of visits that ended in a purchase."""
        np.add.at(self.orders, person, 1)
        np.maximum.at(self.last_bought, (person, category), at)
        np.maximum.at(self.waits_until, person, (at + _LEAD[category]).astype(np.int64))


_LEAD: Final = (np.array([category.lead_days for category in CATEGORIES]) + 3.0) * DAY
_SATED_FOR: Final = 21 * DAY
_SATED: Final = 0.35
"""Factor on the probability to buy a variety category again within three weeks."""


def _round(visits: Sessions, shown: Shown, state: State, rows: Array, draws: Array, metro: Array) -> None:
    """One visit of every person who has that many."""
    person, category, at = visits.person[rows], visits.category[rows], visits.start[rows]
    situation = shown.situation[rows]
    situation |= np.where(state.orders[person] == 0, int(Segment.NEW), 0)
    situation |= np.where(state.waits_until[person] > at, int(Segment.WAITING), 0)
    shown.situation[rows] = situation
    active = visits.landing[rows] & ~shown.holdout[rows] & ~shown.failed[rows]
    taken = np.zeros(len(rows), np.int64)
    for place, slot in enumerate(SLOTS):
        mask = np.where(active, eligible_mask(slot, situation, metro[person]) & ~taken, 0)
        odds = _cumulative(slot)[cell_of(situation), mask]
        action = np.where(active, (odds <= draws[rows, place][:, None]).sum(axis=1) - 1, -1)
        taken = np.where(action >= 0, 1 << np.maximum(action, 0), 0)
        effect = effect_table("click")[action, situation]
        chance = click_probability(shown.click_base[rows, place], effect)
        shown.eligible[rows, place] = mask
        shown.action[rows, place] = action
        shown.clicked[rows, place] = (action >= 0) & (draws[rows, 2 + place] < chance)
        shown.lift[rows, place] = effect_table("purchase")[action, situation]
    recent = (at - state.last_bought[person, category] < _SATED_FOR) & is_kind(category, Kind.VARIETY)
    base = shown.buy_base[rows] * np.where(recent & (shown.buy_base[rows] > 0), _SATED, 1.0)
    shown.buy_base[rows] = base
    bought = draws[rows, 4] < purchase_probability(base, shown.lift[rows].sum(axis=1))
    shown.bought[rows] = bought
    state.record(person[bought], category[bought], at[bought])


def _blank(world: World, rng: np.random.Generator, people: People, visits: Sessions) -> Shown:
    n = len(visits)
    person = visits.person
    due = due_soon(visits, person, visits.start)
    situation = segments(world, people, person, visits.start, due, visits.device == 0)
    unknown = (visits.mode != Mode.KNOWN) | ~people.known[person]
    situation |= np.where(unknown, _ANONYMOUS, 0)
    cookie = np.minimum(visits.device, 1)
    base = np.array([BASE_CLICK[slot] for slot in SLOTS])
    return Shown(
        situation=situation,
        eligible=np.zeros((n, 2), np.int64),
        action=np.full((n, 2), -1, np.int8),
        failed=rng.random(n) < ERRORS,
        holdout=np.where(unknown, people.visitor_holdout[person, cookie], people.holdout[person]),
        click_base=(people.curiosity[person][:, None] * base).astype(np.float32),
        clicked=np.zeros((n, 2), np.bool_),
        buy_base=_buy_base(world, people, visits),
        lift=np.zeros((n, 2), np.float32),
        bought=np.zeros(n, np.bool_),
    )


def _buy_base(world: World, people: People, visits: Sessions) -> Array:
    """Probability of a purchase by the visit's reason, the person's resolve and the calendar."""
    person = visits.person
    known = people.known[person]
    sale = world.calendar.sale[world.calendar.day(visits.start)] >= 0
    mood = np.where(known, 0.10, 0.02) * people.resolve[person] * np.where(sale, SALE_CONVERSION, 1.0)
    mood = mood * np.where(visits.device == 1, 1.15, 0.95) * np.where(visits.gift, 1.6, 1.0)
    mood = mood * np.array([SOURCE_PULL[source] for source in SOURCES])[visits.source]
    base = np.where(visits.reason == Reason.NEED, 0.88, mood)
    base = np.where(visits.reason == Reason.PROJECT, np.where(visits.decides, 0.45, 0.01), base)
    base = np.where(visits.automatic, 0.96, base)
    # A customer who does not sign in cannot check out; on a mood they browse only what has no cycle.
    return np.where(known & (visits.mode == Mode.ANONYMOUS), IMPOSSIBLE, base)
