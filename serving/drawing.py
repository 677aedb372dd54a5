"""The draws of one page: a learned policy takes slots, one after the other, each module at most once.

The point of a draw is a hash of shop, subject, slot family, place and epoch. What was drawn first in an epoch holds on
every channel until the epoch ends or it cannot be shown any more (`serving.held`); a reuse is no draw. What takes its
place then is drawn at a point of its own. The probabilities that are logged are those that the draw was made with,
after eligibility, minima and blocks.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from itertools import accumulate
from typing import Any

import msgspec
import numpy as np

from features.covariates import PAST, VISIT, Value, past_values, visit_values
from features.moments import day_start, local_time
from features.shop import Shop
from features.text import unit_hash
from serving.decide import unit_of
from serving.effects import Scored, SlotPolicy
from serving.held import Held, Key
from serving.policies import NULL, PolicySpec, probabilities
from serving.query import Query
from serving.settings.pages import Slot

log = logging.getLogger("kokyaku")
FAILED = "the policy failed"
UNKEPT = "a draw could not be kept"
UNKNOWN = "unknown to the policy"
BLOCKED = "known to do this group no good"


class Choice(msgspec.Struct, frozen=True):
    """What takes a slot.

    Args:
        action: a module, or None for nothing.
        eligible: (action, probability), null first where it may be taken, then in sorted order; sums to 1.
        propensity: the probability of `action` among them.
        policy: what decided, for the log.
        drawn: whether it was drawn at a hashed point.
        fallback: why the policy did not decide; such a row is not used for estimates.
        features: what the policy read, for the log; None where nothing was read.
        reused_from: the decision whose draw holds; None: this is none of an earlier one.
    """

    action: str | None
    eligible: list[tuple[str | None, float]]
    propensity: float
    policy: str
    drawn: bool = True
    fallback: str | None = None
    features: dict[str, Any] | None = None
    reused_from: str | None = None


class Fresh(msgspec.Struct, frozen=True):
    """A draw of this request: what for, in which slot, and the decision whose place it takes, if any."""

    key: Key
    slot: Slot
    instead_of: str | None


@dataclass
class Draws:
    """The policies of a page for one request; what is read of the subject is read once.

    Args:
        shop: whose secret salts the points.
        policies: by name.
        time_zone: of the shop, for the visit's hour and for the day at which an epoch ends.
        query: who asks.
        request_id: stands for the subject where nobody is known.
        held: what was drawn for the subject before.
        closed: nothing is drawn any more, since it could not be remembered; what holds is shown.
        fresh: what was drawn since `again`, in order.
        rounds: how often a limit was reached between a draw and its keeping.
    """

    shop: Shop
    policies: Mapping[str, SlotPolicy]
    time_zone: str
    query: Query
    request_id: str
    held: dict[Key, Held] = field(default_factory=dict)
    closed: bool = False
    fresh: list[Fresh] = field(default_factory=list)
    rounds: int = 0
    _told: dict[str, Value] = field(default_factory=dict)
    _scored: dict[str, Scored] = field(default_factory=dict)
    _block: dict[str, Any] | None = None

    def choose(self, slot: Slot, place: int, vetoed: list[tuple[str, str]]) -> Choice:
        """The module, or nothing, that takes a slot with a policy: what holds, else what is drawn now.

        Args:
            slot: with its policy.
            place: how many slots of the same family stand above it.
            vetoed: what may not take the slot; what the policy rules out is added, with its reason.
        """
        epoch = self._day // slot.epoch_days
        key = (slot.family or slot.name, place, epoch)
        held, policy = self.held.get(key), self.policies[str(slot.policy)]
        if held is not None and _can_be_shown(held, slot, vetoed, policy):
            return _reuse(held)
        if self.closed:
            return _instead(policy, slot, vetoed, UNKEPT)
        instead_of = None if held is None else held.decision_id
        try:
            choice = self._drawn(policy, slot, self._point(key, instead_of), vetoed)
        except Exception:  # a page is worth more than its policy: the row says so and no estimate uses it
            log.exception("policy %s failed", slot.policy)
            return _instead(policy, slot, vetoed, FAILED)
        if held is not None and held.action_id is None and choice.action is None:
            return _reuse(held)  # what could take the place of nothing is blocked
        self.fresh.append(Fresh(key, slot, instead_of))
        return choice

    def again(self, found: Mapping[Key, Held] | None = None, *, closed: bool = False, anew: bool = False) -> None:
        """Forget what was drawn; the next choices know what was found to hold meanwhile.

        With `anew` what was drawn cannot be shown: what takes its place is drawn at a point of its own.
        """
        self.held |= found or {}
        self.closed = self.closed or closed
        self.rounds += anew
        self.fresh.clear()

    def hopeless(self, slot: Slot, barred: Container[str]) -> bool:
        """Whether all that might take a slot, but for some names, is known to do this subject no good."""
        policy = self.policies[str(slot.policy)]
        left = [at for at in policy.able(slot.modules) if at != NULL and policy.ids[at] not in barred]
        return bool(left and policy.sheet.blocks) and bool(self._score(policy).blocked[left].all())

    def helps(self, slot: Slot, action: str) -> bool | None:
        """Whether a slot's policy expects an action to be worth more than nothing; None where it cannot tell."""
        policy = self.policies[str(slot.policy)]
        place = policy.places.get(action)
        if place is None:
            return None
        scored = self._score(policy)
        value = float(scored.values[0, place])
        return None if value != value else value > 0 and not scored.blocked[place]

    def _drawn(self, policy: SlotPolicy, slot: Slot, point: float, vetoed: list[tuple[str, str]]) -> Choice:
        scored = self._score(policy)
        barred = {name for name, _ in vetoed}
        places = [at for at in policy.able(slot.modules) if policy.ids[at] not in barred]
        vetoed += [(name, UNKNOWN) for name in policy.strange(slot.modules) if name not in barred]
        if policy.sheet.blocks:
            vetoed += [(str(policy.ids[at]), BLOCKED) for at in places if scored.blocked[at]]
            places = [at for at in places if not scored.blocked[at]]
        if not policy.sheet.spec.nothing and len(places) > 1:
            places.remove(NULL)  # as `serving.policies.allowed`
        chances = chances_among(policy.sheet.spec, scored, places)
        at = at_point(chances, point)
        listed = [(policy.ids[place], chance) for place, chance in zip(places, chances, strict=True)]
        return Choice(policy.ids[places[at]], listed, chances[at], policy.sheet.spec.name, features=self._block)

    def _score(self, policy: SlotPolicy) -> Scored:
        name = policy.sheet.spec.name
        if name not in self._scored:
            self._tell(policy.reads)
            self._scored[name] = policy.score(self._told)
        return self._scored[name]

    def _tell(self, reads: Iterable[str]) -> None:
        """Read what a policy wants to know; the visit always, since the next policy may want to learn from it."""
        query = self.query
        if not self._told:
            context = query.context
            self._told |= visit_values(
                query.now, self.time_zone, device=context.device, traffic_source=context.traffic_source,
                region=context.region, known=query.user_id is not None,
            )  # fmt: skip
        if PAST[0] not in self._told and not set(VISIT).issuperset(reads):
            self._told |= past_values(query.history, query.now)
        self._block = {"names": list(self._told), "rows": [list(self._told.values())]}

    @cached_property
    def _subject(self) -> tuple[str, str]:
        """Who the draws are for: the customer where known, else the visitor, else this request alone."""
        return unit_of(self.query) or ("request", self.request_id)

    def epoch_end(self, slot: Slot) -> int:
        """The instant at which what is drawn for a slot now ends, by the shop's calendar."""
        following = self._day // slot.epoch_days + 1
        return day_start(date.fromordinal(following * slot.epoch_days), self.time_zone)

    @property
    def nobody(self) -> bool:
        """Whether neither a customer nor a visitor is known: then no later request can be the same subject's."""
        return self._subject[0] == "request"

    @cached_property
    def _day(self) -> int:
        return local_time(self.query.now, self.time_zone).day

    def _point(self, key: Key, instead_of: str | None) -> float:
        """Where in [0, 1) the draw is made.

        That another draw cannot be shown any more says where its point was: at the same one, the probabilities of what
        takes its place would be others than those that are logged.
        """
        family, place, epoch = key
        salt = self.shop.secret.hex()
        again = (*(() if instead_of is None else (instead_of,)), *(("round", str(self.rounds)) if self.rounds else ()))
        return unit_hash("draw", self.shop.id, salt, *self._subject, family, str(place), str(epoch), *again)


def chances_among(spec: PolicySpec, scored: Scored, places: Sequence[int]) -> list[float]:
    """The probability of each of some places, in order; null is among them unless something must be shown.

    They are those of `serving.policies.probabilities` to the last bit. For the commonest policy, greedy with a floor,
    they come without arrays, which cost more than the sums for one row: a page draws slot by slot.
    """
    if spec.explore == "greedy" and not spec.cautious:
        left = frozenset(places)
        best = next(at for at in scored.ranking if at in left)
        floor = min(spec.floor, 1 / len(places))
        top = 1 - floor * len(places) + floor
        return [top if at == best else floor for at in places]
    eligible = np.zeros(scored.values.shape, bool)
    eligible[0, places] = True
    told: list[float] = probabilities(spec, scored.values, eligible, scored.spread)[0, places].tolist()
    return told


def at_point(chances: Sequence[float], u: float) -> int:
    """The place where a point of [0, 1) falls, as `serving.policies.drawn`, for one row and without arrays."""
    found = bisect_right(list(accumulate(chances)), u)
    while found >= len(chances) or not chances[found]:
        found -= 1  # rounding left the last sum below u: the last possible action is meant
    return found


def _can_be_shown(held: Held, slot: Slot, vetoed: Sequence[tuple[str, str]], policy: SlotPolicy) -> bool:
    action, barred = held.action_id, {name for name, _ in vetoed}
    if action is None:  # a slot that is never empty shows nothing only while it has nothing to show
        return policy.sheet.spec.nothing or all(policy.ids[at] in barred for at in policy.able(slot.modules)[1:])
    return action in slot.modules and action not in barred


def _reuse(held: Held) -> Choice:
    return Choice(
        held.action_id, held.eligible, held.action_propensity, held.policy, drawn=False,
        features=held.features, reused_from=held.decision_id,
    )  # fmt: skip


def _instead(policy: SlotPolicy, slot: Slot, vetoed: Sequence[tuple[str, str]], why: str) -> Choice:
    barred = {name for name, _ in vetoed}
    left = [name for name in slot.modules if name not in barred]
    usual = policy.sheet.fallback
    action = usual if usual in left else next(iter(left), None)
    return Choice(action, [(action, 1.0)], 1.0, policy.sheet.spec.name, drawn=False, fallback=why)
