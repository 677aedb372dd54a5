"""The home page of simulated shops, a year of it: what each shop logged, and what any page would truly have brought.

Every seed is a shop of its own, made by the frozen simulation. Its pages were drawn by its own logging policy, and
what was clicked and bought is in them; so a log is what such a shop would have collected. A policy tells pages apart by
what the shop knows and by what is eligible, so its probabilities are worked out once for each such context. What a page
changes in later visits (who buys is no new customer any more) is left out: later pages are those that the shop logged.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np

from features.errors import ConfigError
from features.text import unit_hash
from training.bench.bandit_world import KNOWN, bit_of, known_features, page_policy
from training.bench.slot_world import SLOTS, WIDTH, could
from training.simulation.block import Block, blocks_of, make_block
from training.simulation.effects import BAND, HERO, PAGE_ACTIONS, Segment
from training.simulation.locale import locale_of
from training.simulation.pages import eligible_mask
from training.simulation.people import World
from training.simulation.world import DEFAULT_START, SIZES, Calendar
from training.uplift.log import DecisionLog, Doubles, Floats, Mask, Whole

CLICK, PURCHASE = "click", "purchase"
REWARDS: Final = (CLICK, PURCHASE)
HOLDOUT: Final = 0.02
"""Share of subjects that never get a page of their own: serving's default."""


@dataclass(frozen=True)
class Visits:
    """Pages, one a row, in order of time.

    Args:
        person: int64[n], who it truly was: intervals cluster by it.
        at: int64[n], microseconds.
        situation: int64[n], `Segment` bits.
        hero, band: int64[n], bit masks of eligible actions before anything is drawn.
        click_base: float64[n, 2], probability of a click on whatever a slot shows.
        buy_base: float64[n], probability of a purchase with an empty page; below 0 where there is none at all.
        action: int64[n, 2], what the shop drew: columns of a policy, 0 for nothing.
        clicked: bool[n, 2].
        bought: bool[n].
        holdout: bool[n], whether the subject is in the permanent holdout.
    """

    person: Whole
    at: Whole
    situation: Whole
    hero: Whole
    band: Whole
    click_base: Doubles
    buy_base: Doubles
    action: Whole
    clicked: Mask
    bought: Mask
    holdout: Mask

    def __len__(self) -> int:
        return len(self.person)

    def take(self, rows: Any) -> Visits:
        """Some of the pages, by mask or by place."""
        return Visits(*(getattr(self, each.name)[rows] for each in fields(self)))


def visits_of(size: str, seed: int) -> Visits:
    """All pages of one simulated shop that were drawn: its own holdout and failed draws are left out.

    Raises:
        ConfigError: an unknown size.
    """
    if size not in SIZES:
        raise ConfigError("unknown size", where="--size", got=size, hint=f"use one of {', '.join(SIZES)}")
    world = World(SIZES[size], seed, locale_of("en"), Calendar(DEFAULT_START, SIZES[size].days))
    parts, people = [], 0
    for number in range(blocks_of(world)):
        block = make_block(world, number)
        parts.append(_pages_of(world, block, people, f"simulated-{size}-{seed}"))
        people += len(block.people)
    found = Visits(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(Visits)))
    return found.take(np.argsort(found.at, kind="stable"))


def _pages_of(world: World, block: Block, before: int, shop: str) -> Visits:
    rows = block.landings[~(block.shown.holdout | block.shown.failed)[block.landings]]
    visits, shown = block.visits.take(rows), block.shown.take(rows)
    metro = world.metro[block.people.region[visits.person]]
    person = visits.person.astype(np.int64) + before
    cookie = 2 * person + np.minimum(visits.device, 1)
    anonymous = (shown.situation & int(Segment.ANONYMOUS)) > 0
    return Visits(
        person=person, at=visits.start.astype(np.int64), situation=shown.situation.astype(np.int64),
        hero=eligible_mask(HERO, shown.situation, metro), band=eligible_mask(BAND, shown.situation, metro),
        click_base=shown.click_base.astype(np.float64), buy_base=shown.buy_base.astype(np.float64),
        action=1 + shown.action.astype(np.int64), clicked=shown.clicked, bought=shown.bought,
        holdout=held_out(shop, anonymous, np.where(anonymous, cookie, person)),
    )  # fmt: skip


def held_out(shop: str, anonymous: Mask, number: Whole, *, secret: str = "") -> Mask:
    """bool[n]: who is in the permanent holdout, by serving's rule (`serving.decide.in_holdout`).

    Args:
        shop: its id.
        anonymous: bool[n], whether only the visitor is known.
        number: int64[n], of the customer, or of the visitor.
        secret: of the shop, as hexadecimal text.
    """
    code, place = np.unique(2 * number + anonymous, return_inverse=True)
    units = [("visitor", f"v{each // 2}") if each % 2 else ("customer", f"c{each // 2}") for each in code.tolist()]
    return np.array([unit_hash("holdout", shop, secret, *unit) < HOLDOUT for unit in units])[place.ravel()]


def log_of(visits: Visits) -> DecisionLog:
    """What the shop logged: two decisions a page, slot after slot; those of the holdout are not usable.

    The reward `click` is of the slot itself, `purchase` of the visit: it stands in the rows of both slots.
    """
    n, page = len(visits), np.tile(np.arange(len(visits), dtype=np.int64), 2)
    slot = np.repeat(np.arange(2, dtype=np.int32), n)
    left = visits.band & ~bit_of(visits.action[:, 0])
    chances = [page_policy(HERO, visits.situation, visits.hero), page_policy(BAND, visits.situation, left)]
    return DecisionLog(
        subject=visits.person[page], request=page, decided_at=visits.at[page], slot=slot, position=slot.copy(),
        action=visits.action.T.ravel().astype(np.int32), propensity=np.concatenate(chances)[:, :WIDTH],
        features=known_features(visits.situation)[page],
        rewards={
            CLICK: visits.clicked.T.ravel().astype(np.float64), PURCHASE: visits.bought[page].astype(np.float64)
        },
        usable=~visits.holdout[page], holdout=visits.holdout[page], slots=SLOTS,
        actions=(None, *(action.id for action in PAGE_ACTIONS)),
        names=tuple(str(segment.name).lower() for segment in KNOWN), categorical=(False,) * len(KNOWN),
    )  # fmt: skip


@dataclass(frozen=True)
class Contexts:
    """Pages that a policy cannot tell apart.

    Args:
        of: int64[n], of each page which of the contexts it is of.
        situation, hero, band: int64[contexts], what is known, and masks of eligible actions.
    """

    of: Whole
    situation: Whole
    hero: Whole
    band: Whole

    @classmethod
    def among(cls, visits: Visits) -> Contexts:
        """The contexts of some pages."""
        return cls.shared(visits)[0]

    @classmethod
    def shared(cls, *several: Visits) -> list[Contexts]:
        """The contexts of several sets of pages, numbered alike: a policy is worked out once for all of them."""
        masks = [(visits.situation & int(sum(KNOWN)), visits.hero, visits.band) for visits in several]
        keys = np.concatenate([np.stack(each, axis=1) for each in masks])
        distinct, place = np.unique(keys, axis=0, return_inverse=True)
        parts = np.split(place.ravel().astype(np.int64), np.cumsum([len(visits) for visits in several])[:-1])
        return [cls(part, *distinct.T) for part in parts]

    def take(self, rows: Any) -> Contexts:
        """The same contexts, of some of the pages."""
        return replace(self, of=self.of[rows])

    def __len__(self) -> int:
        return len(self.situation)

    @property
    def features(self) -> Floats:
        """float32[contexts, p]: what the shop knows."""
        return known_features(self.situation)

    def eligible(self, slot: int, taken: int = 0) -> Mask:
        """bool[contexts, WIDTH]: what a slot can show, after the hero took an action."""
        mask = self.band & ~bit_of(np.full(len(self), taken)) if slot else self.hero
        return could(mask)
