"""A world of decisions with known effects: people, situations and effects of the simulated shop, drawn again and again.

The people of a simulated shop with all their page slots and mails are the population. A draw takes people from it with
replacement, whole; draws actions by the shop's logging policy, hero then band without replacement, mails uniformly; and
rewards by the true probabilities of `training.simulation.effects`: a click on a slot, a visit after a mail. So the
value of any policy is known exactly, decisions of one person are alike as in the shop, and what the reward model may
see leaves out a hidden taste and everybody's own interest.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from features.errors import ConfigError
from training.simulation.block import Block, blocks_of, make_block
from training.simulation.effects import (
    ACTIONS,
    BAND,
    BITS,
    CAMPAIGN,
    HERO,
    MAIL_ACTIONS,
    PAGE_ACTIONS,
    Segment,
    click_probability,
    effect_table,
    visit_probability,
)  # fmt: skip
from training.simulation.locale import locale_of
from training.simulation.mails import BOUNCES
from training.simulation.pages import cell_of, eligible_mask, policy_table
from training.simulation.people import World
from training.simulation.rows import Array, pick, spread
from training.simulation.world import DEFAULT_START, SIZES, Calendar
from training.uplift.log import DecisionLog, Doubles, Whole

SLOTS: Final = (HERO, BAND, CAMPAIGN)
REWARD: Final = "response"
"""A click on the slot, or a visit in the window of the mail."""
KNOWN: Final = tuple(segment for segment in Segment if segment is not Segment.HIDDEN)
"""What the features tell."""
GREEDY: Final = 0.8
"""How often the target policy takes the action that it believes in; else it takes any eligible one."""
_WIDTH: Final = 1 + len(ACTIONS)
_PAGE: Final = 1 + len(PAGE_ACTIONS)


@dataclass(frozen=True)
class Situations:
    """One row a page or a mail of the population, in order of person.

    Args:
        person: int64[n], from 0.
        situation: int64[n], `Segment` bits.
        mail: bool[n], else it is a page of two slots.
        hero, band: int64[n], bit masks of the page actions that are eligible before anything is drawn; 0 for mails.
        base: float64[n, 2], probability of a click on each slot without any effect; of mails, in the first column,
            whether there would be a visit without one.
    """

    person: Whole
    situation: Whole
    mail: Array
    hero: Whole
    band: Whole
    base: Doubles


@dataclass(frozen=True)
class BanditWorld:
    """The population and the policies on it.

    Args:
        rows: the pages and mails.
        starts: int64[people + 1], where each person's rows begin.
    """

    rows: Situations
    starts: Whole

    @property
    def people(self) -> int:
        """How many there are in the population."""
        return len(self.starts) - 1

    def draw(self, random: np.random.Generator, people: int) -> tuple[DecisionLog, Doubles]:
        """A log of so many people drawn with replacement, and the target policy on it.

        A person who is drawn twice is two subjects.
        """
        drawn = random.integers(0, self.people, people)
        subject, offset = spread(self.starts[drawn + 1] - self.starts[drawn])
        at = self.starts[drawn][subject] + offset
        return self._logged(random, at, subject.astype(np.int64))

    def _logged(self, random: np.random.Generator, at: Whole, subject: Whole) -> tuple[DecisionLog, Doubles]:
        rows, page = self.rows, ~self.rows.mail[at]
        pages, mails = at[page], at[~page]
        hero_chance = page_policy(HERO, rows.situation[pages], rows.hero[pages])
        hero = pick(random, hero_chance)
        left = rows.band[pages] & ~bit_of(hero)
        band_chance = page_policy(BAND, rows.situation[pages], left)
        band, arm = pick(random, band_chance), pick(random, mail_policy(len(mails)))
        where = np.concatenate([pages, pages, mails])
        slot = np.repeat(np.arange(3, dtype=np.int32), [len(pages), len(pages), len(mails)])
        action = np.concatenate([hero, band, arm]).astype(np.int32)
        chance = np.concatenate([hero_chance, band_chance, mail_policy(len(mails))])
        number = np.concatenate([np.flatnonzero(page), np.flatnonzero(page), np.flatnonzero(~page)])
        response = random.random(len(where)) < self.chance_of(where, slot, action)
        log = DecisionLog(
            subject=subject[number], request=number, decided_at=number.astype(np.int64), slot=slot,
            position=(slot == 1).astype(np.int32), action=action, propensity=chance,
            features=known_features(rows.situation[where]), rewards={REWARD: response.astype(np.float64)},
            usable=np.ones(len(where), np.bool_), holdout=np.zeros(len(where), np.bool_), slots=SLOTS,
            actions=(None, *(each.id for each in ACTIONS)),
            names=tuple(str(segment.name).lower() for segment in KNOWN), categorical=(False,) * len(KNOWN),
        )  # fmt: skip
        return log, target_policy(rows.situation[where], slot, chance > 0)

    def chance_of(self, at: Whole, slot: Array, action: Array) -> Doubles:
        """float64[n]: the true probability of a response to an action in a slot."""
        situation, base = self.rows.situation[at], self.rows.base[at, np.where(slot == 1, 1, 0)]
        row = np.asarray(action, np.int64) - 1  # of the effect tables, where null is the last
        clicks = np.where(row >= 0, click_probability(base, effect_table("click")[row, situation]), 0.0)
        arrives = 1 - BOUNCES
        added, lost = (arrives * effect_table(name)[row, situation] for name in ("visit", "lost_visit"))
        found: Doubles = np.where(slot == 2, visit_probability(base, added, lost), clicks)
        return found

    def truth(self) -> float:
        """The target policy's exact value, a decision, on the population; band slots follow the log's hero."""
        rows = self.rows
        pages, mails = np.flatnonzero(~rows.mail), np.flatnonzero(rows.mail)
        chance = page_policy(HERO, rows.situation[pages], rows.hero[pages])
        total = self._expected(pages, 0, chance > 0).sum()
        for hero in range(_PAGE):
            left = rows.band[pages] & ~bit_of(np.full(len(pages), hero))
            eligible = page_policy(BAND, rows.situation[pages], left) > 0
            total += chance[:, hero] @ self._expected(pages, 1, eligible)
        total += self._expected(mails, 2, mail_policy(len(mails)) > 0).sum()
        return float(total) / (2 * len(pages) + len(mails))

    def _expected(self, at: Whole, slot: int, eligible: Array) -> Doubles:
        """float64[n]: the mean response under the target policy."""
        slots = np.full(len(at), slot)
        policy = target_policy(self.rows.situation[at], slots, eligible)
        each = [policy[:, action] * self.chance_of(at, slots, np.full(len(at), action)) for action in range(_WIDTH)]
        found: Doubles = np.sum(each, axis=0)
        return found


def world_of(size: str, seed: int) -> BanditWorld:
    """The population of a simulated shop: its pages and mails outside of holdouts and failures.

    Raises:
        ConfigError: an unknown size.
    """
    if size not in SIZES:
        raise ConfigError("unknown size", where="--size", got=size, hint=f"use one of {', '.join(SIZES)}")
    world = World(SIZES[size], seed, locale_of("en"), Calendar(DEFAULT_START, SIZES[size].days))
    parts = [_rows_of(world, make_block(world, number)) for number in range(blocks_of(world))]
    offsets = np.cumsum([0, *(int(part[0].max(initial=-1)) + 1 for part in parts)])
    columns = [np.concatenate(column) for column in zip(*(part[1:] for part in parts), strict=True)]
    person = np.concatenate([part[0] + offset for part, offset in zip(parts, offsets[:-1], strict=True)])
    order = np.argsort(person, kind="stable")
    _, dense = np.unique(person[order], return_inverse=True)
    rows = Situations(dense.astype(np.int64), *(column[order] for column in columns))
    return BanditWorld(rows, np.searchsorted(dense, np.arange(int(dense.max()) + 2)).astype(np.int64))


def _rows_of(world: World, block: Block) -> tuple[Array, ...]:
    """The columns of `Situations` of one block."""
    shown, mails = block.shown, block.mails.take(~block.mails.holdout)
    pages = block.landings[~(shown.holdout | shown.failed)[block.landings]]
    visits, shown = block.visits.take(pages), shown.take(pages)
    metro, n = world.metro[block.people.region[visits.person]], len(mails)
    hero, band = (eligible_mask(slot, shown.situation, metro) for slot in (HERO, BAND))
    nothing = np.zeros(n, np.int64)
    return (
        np.concatenate([visits.person, mails.person]).astype(np.int64),
        np.concatenate([shown.situation, mails.situation]).astype(np.int64),
        np.repeat([False, True], [len(pages), n]),
        np.concatenate([hero, nothing]), np.concatenate([band, nothing]),
        np.concatenate([shown.click_base, np.stack([mails.base_visit, nothing], axis=1)]).astype(np.float64),
    )  # fmt: skip


def bit_of(action: Array) -> Array:
    """The bit of a column of a page policy; null has none."""
    bit: Array = np.where(action > 0, 1 << np.maximum(action - 1, 0), 0)
    return bit


def page_policy(slot: str, situation: Array, mask: Array) -> Doubles:
    """float64[n, k]: the shop's logging policy."""
    found = np.zeros((len(mask), _WIDTH))
    found[:, :_PAGE] = policy_table(slot)[cell_of(situation), mask]
    return found


def mail_policy(n: int) -> Doubles:
    """float64[n, k]: null and the mails with the same probability."""
    found = np.zeros((n, _WIDTH))
    found[:, [0, *range(_PAGE, _WIDTH)]] = 1 / (1 + len(MAIL_ACTIONS))
    return found


def known_features(situation: Array) -> Array:
    """float32[n, p]: the bits of a situation that the shop knows, as 0 and 1."""
    bits = np.array([int(segment) for segment in KNOWN])
    found: Array = ((situation[:, None] & bits) > 0).astype(np.float32)
    return found


def target_policy(situation: Array, slot: Array, eligible: Array) -> Doubles:
    """float64[n, k]: mostly the eligible action of largest known effect, else any eligible one."""
    score = _scores()[np.where(slot == 2, 1, 0), situation]
    best = np.where(eligible, score, -np.inf).argmax(axis=1)
    policy = (1 - GREEDY) * eligible / eligible.sum(axis=1, keepdims=True)
    policy[np.arange(len(best)), best] += GREEDY
    found: Doubles = policy
    return found


@cache
def _scores() -> Doubles:
    """float64[2, situations, k]: the known effect of each action on clicks (null last of all), and on visits."""
    known = np.arange(1 << BITS) & ~int(Segment.HIDDEN)
    clicks, added, lost = (effect_table(name)[:-1, known].T for name in ("click", "visit", "lost_visit"))
    table = np.zeros((2, 1 << BITS, _WIDTH))
    table[0, :, 0] = -1.0
    table[0, :, 1:], table[1, :, 1:] = clicks, added - lost
    table.flags.writeable = False
    return table
