"""Pages of the simulated shop with known clicks: a policy draws them, learns from them, and its true value is a sum.

Pages come from `training.bench.bandit_world`. A policy tells pages apart by what the shop knows and by what is
eligible, so its probabilities are worked out once for each such context, and its value is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from training.bench.bandit_world import KNOWN, BanditWorld, bit_of, known_features, page_policy
from training.simulation.effects import BAND, HERO, PAGE_ACTIONS
from training.simulation.rows import pick
from training.uplift.log import DecisionLog, Doubles, Floats, Mask, Whole

CLICK = "click"
SLOTS = (HERO, BAND)
WIDTH = 1 + len(PAGE_ACTIONS)
Policy = Callable[[int, Mask], Doubles]
"""float64[contexts, WIDTH] of a slot (0, 1), given bool[contexts, WIDTH], what is eligible."""


@dataclass(frozen=True)
class Pages:
    """All pages of a population.

    Args:
        click: float64[2, n, WIDTH], true probability of a click on each action in each slot; 0 for nothing.
        hero, band: int64[n], bit masks of eligible actions before anything is drawn.
        context: int64[n], which of the contexts a page is of.
        features: float32[contexts, p], what the shop knows.
        situation, hero_mask, band_mask: int64[contexts].
    """

    click: Doubles
    hero: Whole
    band: Whole
    context: Whole
    features: Floats
    situation: Whole
    hero_mask: Whole
    band_mask: Whole

    @classmethod
    def of(cls, world: BanditWorld) -> Pages:
        """The pages of a world."""
        at = np.flatnonzero(~world.rows.mail)
        rows = world.rows
        click = np.stack([
            np.column_stack([
                world.chance_of(at, np.full(len(at), slot), np.full(len(at), action)) for action in range(WIDTH)
            ])
            for slot in range(2)
        ])  # fmt: skip
        click[:, :, 0] = 0.0
        seen = rows.situation[at] & int(sum(KNOWN))
        keys = np.stack([seen, rows.hero[at], rows.band[at]], axis=1)
        distinct, context = np.unique(keys, axis=0, return_inverse=True)
        situation, hero, band = distinct.T
        return cls(
            click, rows.hero[at], rows.band[at], context.ravel(), known_features(situation), situation, hero, band
        )

    def tables(self, policy: Policy) -> tuple[Doubles, Doubles]:
        """float64[contexts, WIDTH] of the hero, and float64[WIDTH, contexts, WIDTH] of the band after each hero."""
        hero = policy(0, could(self.hero_mask))
        after = [
            policy(1, could(self.band_mask & ~bit_of(np.full(len(self.band_mask), taken)))) for taken in range(WIDTH)
        ]
        return hero, np.stack(after)

    def value(self, tables: tuple[Doubles, Doubles]) -> float:
        """Expected clicks a page."""
        hero, after = tables
        first = hero[self.context]
        total = (first * self.click[0]).sum()
        for taken in range(WIDTH):
            total += first[:, taken] @ (after[taken][self.context] * self.click[1]).sum(axis=1)
        return float(total) / len(self.context)

    def best(self, click: Doubles) -> float:
        """Expected clicks a page of the best pair of actions by some probabilities, without replacement.

        Args:
            click: float64[2, n, WIDTH], by which the pair is chosen.
        """
        rows, top, found = (
            np.arange(len(self.context)),
            np.full(len(self.context), -np.inf),
            np.zeros(len(self.context)),
        )
        hero = could(self.hero)
        for taken in range(WIDTH):
            left = could(self.band & ~bit_of(np.full(len(self.band), taken)))
            band = np.where(left, click[1], -np.inf).argmax(axis=1)
            hoped = np.where(hero[:, taken], click[0, :, taken] + click[1, rows, band], -np.inf)
            better = hoped > top
            true = self.click[0, :, taken] + self.click[1, rows, band]
            top, found = np.where(better, hoped, top), np.where(better, true, found)
        return float(found.mean())

    @property
    def known(self) -> Doubles:
        """float64[2, n, WIDTH]: mean probabilities of a context, which is all that the features tell."""
        count = np.bincount(self.context)
        means = np.empty_like(self.click)
        for slot in range(2):
            for action in range(WIDTH):
                sums = np.bincount(self.context, self.click[slot, :, action])
                means[slot, :, action] = (sums / count)[self.context]
        return means

    def draw(self, tables: tuple[Doubles, Doubles], random: np.random.Generator, pages: int) -> DecisionLog:
        """Pages drawn with replacement, each of a subject of its own, decided by a policy."""
        at = random.integers(0, len(self.context), pages)
        context = self.context[at]
        hero_chance = tables[0][context]
        hero = pick(random, hero_chance)
        band_chance = tables[1][hero, context]
        band = pick(random, band_chance)
        action = np.concatenate([hero, band]).astype(np.int32)
        slot = np.repeat(np.arange(2, dtype=np.int32), pages)
        page = np.tile(np.arange(pages, dtype=np.int64), 2)
        clicked = random.random(2 * pages) < self.click[slot, at[page], action]
        return DecisionLog(
            subject=page, request=page, decided_at=page, slot=slot, position=slot, action=action,
            propensity=np.concatenate([hero_chance, band_chance]), features=self.features[context][page],
            rewards={CLICK: clicked.astype(np.float64)}, usable=np.ones(2 * pages, bool),
            holdout=np.zeros(2 * pages, bool), slots=SLOTS,
            actions=(None, *(action.id for action in PAGE_ACTIONS)),
            names=tuple(str(segment.name).lower() for segment in KNOWN), categorical=(False,) * len(KNOWN),
        )  # fmt: skip

    def logging(self) -> tuple[Doubles, Doubles]:
        """The tables of the shop's own drawing."""
        after = [
            page_policy(BAND, self.situation, self.band_mask & ~bit_of(np.full(len(self.band_mask), taken)))
            for taken in range(WIDTH)
        ]
        hero = page_policy(HERO, self.situation, self.hero_mask)
        return hero[:, :WIDTH], np.stack(after)[:, :, :WIDTH]


def could(mask: Whole) -> Mask:
    """bool[n, WIDTH]: nothing, and the actions of a bit mask."""
    found = (mask[:, None] >> np.arange(WIDTH - 1)) & 1
    return np.concatenate([np.ones((len(mask), 1), bool), found > 0], axis=1)


def joined(logs: list[DecisionLog]) -> DecisionLog:
    """Logs one after the other; their pages and subjects are different ones."""
    first, pages = logs[0], np.cumsum([0, *(int(log.request.max()) + 1 for log in logs[:-1])])
    number = np.concatenate([log.request + start for log, start in zip(logs, pages, strict=True)])
    reward = np.concatenate([log.rewards[CLICK] for log in logs])

    def end_to_end(name: str) -> Any:
        return np.concatenate([getattr(log, name) for log in logs])

    return replace(
        first, subject=number, request=number, decided_at=number, rewards={CLICK: reward},
        slot=end_to_end("slot"), position=end_to_end("position"), action=end_to_end("action"),
        propensity=end_to_end("propensity"), features=end_to_end("features"), usable=end_to_end("usable"),
        holdout=end_to_end("holdout"),
    )  # fmt: skip
