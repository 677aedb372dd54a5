"""What pages of the simulated shop truly bring: exact sums over pairs of actions, and oracles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from training.bench.bandit_world import bit_of, page_policy
from training.bench.page_world import CLICK, PURCHASE, Contexts, Visits
from training.bench.slot_world import WIDTH, could
from training.simulation.effects import (
    ACTIONS,
    BAND,
    HERO,
    PAGE_ACTIONS,
    Segment,
    click_probability,
    effect_table,
    purchase_probability,
)
from training.simulation.rows import pick
from training.uplift.log import Doubles, Mask, Whole

LOST_CLICKS, LOST_PURCHASES, UNSUBSCRIBE, LOST_VISIT = "lost-clicks", "lost-purchases", "unsubscribe", "lost_visit"
HARMS: Final = (LOST_CLICKS, LOST_PURCHASES, UNSUBSCRIBE, LOST_VISIT)
"""What actions do where they do harm, a page: their effects below zero, and two that only mails have."""
OUTCOMES: Final = (CLICK, PURCHASE, *HARMS)
_CHUNK: Final = 4_000
"""Pages whose pairs are held in memory at once."""


@dataclass(frozen=True)
class Tables:
    """A policy of a page, by context.

    Args:
        hero: float64[contexts, WIDTH].
        band: float64[WIDTH, contexts, WIDTH], after each action of the hero.
    """

    hero: Doubles
    band: Doubles

    def pairs(self, context: Whole) -> Doubles:
        """float64[n, WIDTH, WIDTH]: probabilities of pairs."""
        found: Doubles = self.hero[context][:, :, None] * self.band[:, context].transpose(1, 0, 2)
        return found


Choose = Callable[[Visits, Whole], Doubles]
"""float64[n, WIDTH, WIDTH], probabilities of pairs, given pages and their contexts."""


@dataclass(frozen=True)
class Truth:
    """What actions do.

    Args:
        effects: outcome -> float64[WIDTH, 2**BITS], what each action (first: nothing) adds in each situation.
    """

    effects: Mapping[str, Doubles]

    @classmethod
    def frozen(cls) -> Truth:
        """That of the simulated shop."""
        rows = [len(ACTIONS), *range(len(PAGE_ACTIONS))]  # of the effect tables, where null is the last
        return cls({name: effect_table(name)[rows] for name in (CLICK, PURCHASE, UNSUBSCRIBE, LOST_VISIT)})

    @classmethod
    def nothing(cls) -> Truth:
        """That of a shop in which no action does more than another: whatever is shown has the same clicks."""
        return cls({name: np.zeros_like(table) for name, table in cls.frozen().effects.items()})

    def slots(self, visits: Visits, outcome: str, *, hidden: float | None = None) -> Doubles:
        """float64[2, n, WIDTH]: what each action in each slot does; of purchases, what it adds to their probability.

        Args:
            visits: pages.
            outcome: one of OUTCOMES.
            hidden: None: what is true; a share: what somebody would say who does not know the hidden taste, but how
                many have it.
        """
        table = self.effects[{LOST_CLICKS: CLICK, LOST_PURCHASES: PURCHASE}.get(outcome, outcome)]
        effect, taste = table[:, visits.situation].T, int(Segment.HIDDEN)
        if hidden is not None:
            without, having = (table[:, at].T for at in (visits.situation & ~taste, visits.situation | taste))
            effect = (1 - hidden) * without + hidden * having
        if outcome == CLICK:
            clicks = [click_probability(base[:, None], effect) for base in visits.click_base.T]
            return np.stack(clicks) * (np.arange(WIDTH) > 0)
        if outcome in (LOST_CLICKS, LOST_PURCHASES):
            effect = np.maximum(-effect, 0.0)
        if outcome in (PURCHASE, LOST_PURCHASES):
            effect = np.where(visits.buy_base[:, None] >= 0, effect, 0.0)
        found: Doubles = np.broadcast_to(effect, (2, *effect.shape))
        return found

    def pairs(self, visits: Visits, outcome: str, *, hidden: float | None = None) -> Doubles:
        """float64[n, WIDTH, WIDTH]: what each pair of hero and band brings: expected clicks, or a probability."""
        hero, band = self.slots(visits, outcome, hidden=hidden)
        both: Doubles = hero[:, :, None] + band[:, None, :]
        return purchase_probability(visits.buy_base[:, None, None], both) if outcome == PURCHASE else both

    def valued(self, visits: Visits, context: Whole, choose: Choose) -> Doubles:
        """float64[n, outcomes]: what each page brings in expectation, of each of OUTCOMES."""
        return self.compared(visits, context, {"": choose})[""]

    def compared(self, visits: Visits, context: Whole, ways: Mapping[str, Choose]) -> dict[str, Doubles]:
        """`valued` of several ways of filling the same pages."""
        found = {name: np.empty((len(visits), len(OUTCOMES))) for name in ways}
        for part in _chunks(len(visits)):
            some = visits.take(part)
            each = [self.pairs(some, outcome) for outcome in OUTCOMES]
            for name, choose in ways.items():
                chance = choose(some, context[part])
                found[name][part] = np.stack([np.einsum("nhb,nhb->n", chance, of) for of in each], axis=1)
        return found

    def oracle(self, worth: Mapping[str, float], hidden: float | None = None) -> Choose:
        """The best pair for each page by the truth, without replacement.

        Args:
            worth: outcome -> what one is worth.
            hidden: as for `slots`: a share for the oracle that does not know the hidden taste.
        """

        def choose(visits: Visits, context: Whole) -> Doubles:
            each = [value * self.pairs(visits, name, hidden=hidden) for name, value in worth.items()]
            total = np.where(possible(visits), np.sum(each, axis=0), -np.inf).reshape(len(visits), -1)
            best: Doubles = np.eye(WIDTH * WIDTH)[total.argmax(axis=1)].reshape(-1, WIDTH, WIDTH)
            return best

        return choose

    def happens(
        self, visits: Visits, context: Whole, choose: Choose, random: np.random.Generator
    ) -> tuple[Whole, Mask, Mask]:  # fmt: skip
        """A draw of actions and of what people did: int64[n, 2], clicks bool[n, 2], purchases bool[n]."""
        action, click = np.empty((len(visits), 2), np.int64), np.empty((len(visits), 2), np.bool_)
        bought = np.empty(len(visits), np.bool_)
        for part in _chunks(len(visits)):
            some = visits.take(part)
            rows, pair = np.arange(len(some)), pick(random, choose(some, context[part]).reshape(len(some), -1))
            hero, band = np.divmod(pair, WIDTH)
            chance = self.slots(some, CLICK)
            both = np.stack([chance[0, rows, hero], chance[1, rows, band]], axis=1)
            action[part] = np.stack([hero, band], axis=1)
            click[part] = random.random(both.shape) < both
            bought[part] = random.random(len(some)) < self.pairs(some, PURCHASE)[rows, hero, band]
        return action, click, bought

    def redrawn(self, visits: Visits, random: np.random.Generator) -> Visits:
        """The pages drawn once more by the shop's own policy, with what came of them by this truth."""
        contexts = Contexts.among(visits)
        action, clicked, bought = self.happens(visits, contexts.of, by_tables(logging(contexts)), random)
        return replace(visits, action=action, clicked=clicked, bought=bought)


def logging(contexts: Contexts) -> Tables:
    """The shop's own policy."""
    left = [contexts.band & ~bit_of(np.full(len(contexts), taken)) for taken in range(WIDTH)]
    bands = np.stack([page_policy(BAND, contexts.situation, each) for each in left])
    return Tables(page_policy(HERO, contexts.situation, contexts.hero)[:, :WIDTH], bands[:, :, :WIDTH])


def by_tables(tables: Tables) -> Choose:
    """A policy that tells pages apart by context alone."""
    return lambda visits, context: tables.pairs(context)


def possible(visits: Visits) -> Mask:
    """bool[n, WIDTH, WIDTH]: pairs that can be shown; no action twice."""
    twice = np.eye(WIDTH, dtype=bool)
    twice[0, 0] = False
    found: Mask = could(visits.hero)[:, :, None] & could(visits.band)[:, None, :] & ~twice
    return found


def _chunks(n: int) -> Iterator[slice]:
    return (slice(start, start + _CHUNK) for start in range(0, n, _CHUNK))
