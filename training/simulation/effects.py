"""What each action truly does to whom: the frozen answer that policies and estimators are tested against.

Effects are differences of probabilities against the null action, added up over the rules that hold in a situation.
A situation is a set of `Segment` bits: most can be known from the history or the context, HIDDEN cannot. Most
cells of the table are zero. Averages stay below those of the MineThatData e-mail experiment (visits .106 without a
mail, .183 and .151 with one; conversions .0057, .0125 and .0088). QUIET customers are the planted sleeping dogs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from functools import cache
from typing import Final

import numpy as np

from training.simulation.rows import Array


class Segment(IntFlag):
    """What is true of a person at a moment, as far as actions care."""

    PET = 1
    PROJECT = 2
    """Looking for a durable these days."""
    DUE = 4
    """A consumable runs out within a week."""
    BARGAIN = 8
    COLD = 16
    """Winter in a cold region."""
    MOBILE = 32
    NIGHT = 64
    """22:00 to 6:00 local time."""
    NEW = 128
    """No order in this shop so far."""
    WAITING = 256
    """An order is under way."""
    GOLD = 512
    QUIET = 1024
    """Wants to be left alone."""
    ANONYMOUS = 2048
    HIDDEN = 4096
    """A taste that no column of the dataset shows."""


BITS: Final = 13
NOTHING: Final = Segment(0)


@dataclass(frozen=True, slots=True)
class Action:
    """Something that can be shown or sent, and who may get it."""

    id: str
    kind: str
    slots: tuple[str, ...]
    weight: float
    """How much the shop's present (logging) policy likes it."""
    cost: float = 0.0
    known_only: bool = False
    needs: Segment = NOTHING
    without: Segment = NOTHING
    metro_only: bool = False
    refusal: str = ""
    """Why it is vetoed where it is not eligible."""


HERO, BAND, CAMPAIGN = "hero", "band", "campaign"
_S = Segment
PAGE_ACTIONS: Final = (
    Action("content-season", "content", (HERO,), 2.0),
    Action("early-access", "early_access", (HERO,), 1.0, known_only=True, refusal="customers only"),
    Action("event-open-house", "event", (BAND,), 1.0, metro_only=True, refusal="too far away"),
    Action("exclusive-atelier", "exclusive", (HERO,), 1.0, known_only=True, needs=_S.GOLD, refusal="not gold tier"),
    Action("guide-choosing", "guide", (BAND, HERO), 1.0),
    Action("invite-club", "invite", (BAND,), 1.5, known_only=True, without=_S.GOLD, refusal="not for this tier"),
    Action("offer-ten-percent", "offer", (HERO,), 1.5),
    Action("products-buy-again", "products", (BAND, HERO), 2.0, known_only=True, without=_S.NEW, refusal="new"),
    Action("products-popular", "products", (BAND, HERO), 2.5),
    Action("question-pet", "question", (BAND,), 0.8),
    Action("status-order", "status", (BAND,), 2.0, known_only=True, needs=_S.WAITING, refusal="no order under way"),
    Action("tip-pet-care", "tip", (BAND, HERO), 0.8),
    Action("video-workshop", "video", (HERO,), 1.0),
)  # fmt: skip
MAIL_ACTIONS: Final = (
    Action("mail-care-tips", "tip", (CAMPAIGN,), 1.0, 0.002),
    Action("mail-new-arrivals", "content", (CAMPAIGN,), 1.0, 0.002),
    Action("mail-offer", "offer", (CAMPAIGN,), 1.0, 0.002),
    Action("mail-replenish", "products", (CAMPAIGN,), 1.0, 0.002),
)
ACTIONS: Final = PAGE_ACTIONS + MAIL_ACTIONS
ACTION_ROW: Final = {action.id: row for row, action in enumerate(ACTIONS)}
"""Rows of the effect tables; the null action is the last one, row -1, and all its effects are zero."""

REWARDS: Final = ("click", "purchase", "visit", "lost_visit", "unsubscribe")
"""`visit` adds a visit within 72 hours, `lost_visit` drops the visits there would have been with that probability."""


@dataclass(frozen=True, slots=True)
class Rule:
    """An effect on one reward, wherever all of `when` and none of `unless` hold."""

    action: str
    reward: str
    effect: float
    when: Segment = NOTHING
    unless: Segment = NOTHING


_MAILS = tuple(action.id for action in MAIL_ACTIONS)
RULES: Final = (
    Rule("content-season", "click", 0.07, _S.COLD),
    Rule("content-season", "purchase", 0.006, _S.COLD),
    Rule("early-access", "click", 0.03, _S.GOLD),
    Rule("early-access", "purchase", 0.015, _S.GOLD),
    Rule("early-access", "click", -0.02, _S.NEW),
    Rule("early-access", "purchase", -0.008, _S.NEW),
    Rule("exclusive-atelier", "click", 0.05, _S.GOLD),
    Rule("exclusive-atelier", "click", 0.03, _S.GOLD | _S.HIDDEN),
    Rule("guide-choosing", "click", 0.09, _S.PROJECT),
    Rule("guide-choosing", "purchase", 0.02, _S.PROJECT),
    Rule("guide-choosing", "purchase", -0.010, _S.DUE, _S.PROJECT),
    Rule("invite-club", "click", 0.03, NOTHING, _S.NEW | _S.QUIET),
    Rule("invite-club", "click", -0.015, _S.QUIET),
    Rule("offer-ten-percent", "click", 0.06, _S.BARGAIN),
    Rule("offer-ten-percent", "purchase", 0.025, _S.BARGAIN),
    Rule("products-buy-again", "click", 0.08, _S.DUE),
    Rule("products-buy-again", "purchase", 0.02, _S.DUE),
    Rule("products-popular", "click", 0.025, _S.ANONYMOUS),
    Rule("products-popular", "purchase", 0.003, _S.ANONYMOUS),
    Rule("question-pet", "click", 0.06, _S.NIGHT | _S.MOBILE),
    Rule("question-pet", "click", -0.015, _S.GOLD),
    Rule("status-order", "click", 0.10, _S.WAITING),
    Rule("tip-pet-care", "click", 0.07, _S.PET),
    Rule("tip-pet-care", "purchase", 0.004, _S.PET),
    Rule("video-workshop", "click", 0.05, _S.NIGHT, _S.MOBILE),
    Rule("video-workshop", "click", -0.02, _S.MOBILE),
    Rule("mail-care-tips", "visit", 0.03, NOTHING, _S.QUIET),
    Rule("mail-care-tips", "visit", 0.08, _S.PET, _S.QUIET),
    Rule("mail-new-arrivals", "visit", 0.04, NOTHING, _S.QUIET),
    Rule("mail-new-arrivals", "visit", 0.04, _S.HIDDEN, _S.QUIET),
    Rule("mail-offer", "visit", 0.045, NOTHING, _S.QUIET),
    Rule("mail-offer", "visit", 0.08, _S.BARGAIN, _S.QUIET),
    Rule("mail-replenish", "visit", 0.02, NOTHING, _S.QUIET),
    Rule("mail-replenish", "visit", 0.12, _S.DUE, _S.QUIET),
    *(Rule(mail, "lost_visit", 0.25, _S.QUIET) for mail in _MAILS),
    *(Rule(mail, "unsubscribe", 0.002) for mail in _MAILS),
    *(Rule(mail, "unsubscribe", 0.025, _S.QUIET) for mail in _MAILS),
)

BASE_CLICK: Final = {HERO: 0.045, BAND: 0.030}
"""Probability of a click on whatever a slot shows, for a person of average interest."""
MISSING_CLICKS: Final = 0.02
"""Share of clicks that nobody records."""
MOST_LIKELY: Final = 0.97
"""No visit ends in a purchase more surely than this."""


@cache
def effect_table(reward: str) -> Array:
    """float64[len(ACTIONS) + 1, 2**BITS]: the effect of each action in each situation; the last row is null."""
    situations = np.arange(1 << BITS)
    table = np.zeros((len(ACTIONS) + 1, 1 << BITS))
    for rule in RULES:
        if rule.reward == reward:
            holds = ((situations & rule.when) == rule.when) & ((situations & rule.unless) == 0)
            table[ACTION_ROW[rule.action], holds] += rule.effect
    table.flags.writeable = False
    return table


def purchase_probability(base: Array, lift: Array) -> Array:
    """Probability that a visit ends in a purchase, given the lifts of what its page showed."""
    chance: Array = np.clip(base + lift, 0.0, MOST_LIKELY)
    return chance


def click_probability(base: Array, effect: Array) -> Array:
    """Probability that a click on a slot is made and recorded."""
    chance: Array = np.clip(base + effect, 0.0, 1.0) * (1 - MISSING_CLICKS)
    return chance


def visit_probability(base: Array, added: Array, lost: Array) -> Array:
    """Probability of a visit in the window of a mail, where `base` is the probability of one without it."""
    chance: Array = base * (1 - lost) + (1 - base) * added
    return chance
