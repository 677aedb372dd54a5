"""The ship gate: a learned policy serves only where it is shown to be better than the best single action.

Three things can come out of the same data: the policy, one action for everybody, or nothing. Which one is said by means
of doubly robust scores, with 95 % intervals clustered by subject; those of guards and tiers are exact where events are
rare (`training.uplift.rare`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from serving.policies import NULL
from training.intervals import Interval
from training.uplift.estimate import mean_of
from training.uplift.rare import Logged, widened

Doubles = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Ships = Literal["policy", "action", "nothing"]
SEVERAL = 30
"""Subjects that one way of deciding treats otherwise than another, at least, before one is called better."""
ROUNDING = 1e-12
"""Below it a difference of scores is none."""
PICKED = "the pick of the best learner"
"""What `Claim.what` calls the choice among learners, made on other folds."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that had to hold, with what was found.

    Args:
        what: e.g. `policy - best single action`.
        found: the difference with its interval.
        limit: what its lower end must exceed, or for a guard its upper end must not.
        passed: whether it does.
        sentence: for a person.
    """

    what: str
    found: Interval
    limit: float
    passed: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Ruling:
    """What may serve, and why.

    Args:
        ships: the policy, one action for everybody, or nothing.
        action: place of that action; the null one's where nothing ships.
        claims: in the order in which they were asked.
        values: name -> value a decision of the policy, of each single action and of nothing.
    """

    ships: Ships
    action: int
    claims: tuple[Claim, ...]
    values: Mapping[str, Interval]


@dataclass(frozen=True, slots=True)
class Guard:
    """An outcome that must not be bought: unsubscribes, complaints.

    Args:
        reward: its name.
        scores: float64[n, k], doubly robust scores of it.
        limit: what the policy may add to it a decision, at most, beyond doing nothing.
    """

    reward: str
    scores: Doubles
    limit: float


def always(net: Doubles) -> Doubles:
    """float64[n, k]: the scores of giving everybody one action, and nothing to those who may not have it."""
    return np.asarray(np.where(np.isnan(net), net[:, [NULL]], net), np.float64)


def value_of(chances: Doubles, net: Doubles) -> Doubles:
    """float64[n]: the score of a policy that takes each action with a probability; impossible actions need none."""
    return np.asarray(np.where(chances > 0, chances * net, 0.0).sum(axis=1))


def picked_elsewhere(pool: Sequence[Doubles], net: Doubles, fold: Whole) -> Doubles:
    """float64[n, k]: in each fold what the policy does that was best on the others.

    Its value is that of picking the best; the best one's own figure is flattered by having been picked.

    Args:
        pool: float64[n, k] each, chances of policies.
        net: float64[n, k], doubly robust scores.
        fold: int64[n].
    """
    values = np.column_stack([value_of(each, net) for each in pool])
    chances = np.empty_like(pool[0])
    for number in np.unique(fold):
        here = fold == number
        chances[here] = pool[int(np.argmax(values[~here].mean(axis=0)))][here]
    return chances


def rule(
    chances: Doubles, net: Doubles, fold: Whole, subject: Whole, actions: Sequence[str | None], *,
    guards: Sequence[Guard] = (), tiers: Mapping[str, npt.NDArray[np.bool_]] | None = None, confidence: float = 0.95,
    pool: Sequence[Doubles] = (), share: Doubles | None = None, logged: Logged | None = None,
) -> Ruling:  # fmt: skip
    """What may serve.

    A policy has to beat every single action, which is as strict as one comparison with the truly best one: no pick
    flatters it. One action for everybody is picked by what judges it, so its error is shared among all that it could
    have been (Bonferroni).

    Args:
        chances: float64[n, k], of the policy; for each fold learned on the others.
        net: float64[n, k], doubly robust scores of the net value; NaN where an action is not eligible.
        fold: int64[n], the folds of both.
        subject: int64[n], intervals cluster by it.
        actions: names; the first is null.
        guards: outcomes that must not be bought.
        tiers: loyalty tier -> bool[n]; a policy that is known to harm one is refused.
        confidence: of the intervals.
        pool: float64[n, k] each: where the policy is the best of several, all of them; what is best of them on other
            folds has to beat every single action as well.
        share: float64[k], to which share of those who may have it the budget allows each action. The policy has to beat
            those that are handed out so at random, and one for everybody needs to be allowed for everybody.
        logged: what was taken and what happened: intervals of guards and tiers are then at least as wide as rare events
            leave them.
    """
    given, policy, mean = always(net), value_of(chances, net), _Means(subject, confidence, logged)
    nothing = given[:, NULL]
    share = np.ones(net.shape[1]) if share is None else share
    fair = np.where(share >= 1, given, nothing[:, None] + share * (given - nothing[:, None]))
    claims = [mean.best("the policy", policy, fair)]
    picked = picked_elsewhere(pool, net, fold) if pool else chances
    if (picked != chances).any():
        claims += [mean.best(PICKED, value_of(picked, net), fair)]
    claims += mean.harmless(chances, policy - nothing, guards, tiers or {})
    ships: Ships = "policy" if all(claim.passed for claim in claims) else "nothing"
    overall = int(np.argmax(np.where(share >= 1, given.mean(axis=0), -np.inf)))
    if ships != "policy" and overall != NULL:
        single = given[:, overall] - nothing
        more = [mean.among(int((share[1:] >= 1).sum())).better(f"{actions[overall]} for everybody", "nothing", single)]
        everybody = np.eye(net.shape[1])[np.where(np.isnan(net[:, overall]), NULL, overall)]
        more += mean.harmless(everybody, single, guards, tiers or {})
        ships, claims = ("action" if all(claim.passed for claim in more) else "nothing"), [*claims, *more]
    values = {"policy": mean.of(policy)} | {
        str(action or "nothing"): mean.of(given[:, place]) for place, action in enumerate(actions)
    }
    return Ruling(ships, overall if ships == "action" else NULL, tuple(claims), values)


@dataclass(frozen=True, slots=True)
class _Means:
    """Means over subjects as claims."""

    subject: Whole
    confidence: float
    logged: Logged | None = None

    def of(self, values: Doubles, who: npt.NDArray[np.bool_] | None = None) -> Interval:
        subject = self.subject if who is None else self.subject[who]
        return mean_of(values, subject, confidence=self.confidence).interval

    def among(self, several: int) -> _Means:
        """The same where one of several was picked by what judges it: the error is shared among them."""
        return replace(self, confidence=1 - (1 - self.confidence) / several)

    def best(self, one: str, value: Doubles, single: Doubles) -> Claim:
        """Better than each single action: the claim about the one that this is shown least of."""
        claims = [self.better(one, "the best single action", value - each) for each in single.T]
        return min(claims, key=lambda claim: (claim.passed, np.nan_to_num(claim.found.low, nan=-np.inf)))

    def better(self, one: str, other: str, difference: Doubles) -> Claim:
        found = self.of(difference)
        passed, told = bool(found.low > 0), _told(found)
        several = len(np.unique(self.subject[np.abs(difference) > ROUNDING]))
        if passed and several < SEVERAL:  # an interval by a normal law says nothing of so few
            passed, told = False, f"{told}; they differ for {several} subjects only"
        verb = "is better than" if passed else "is not shown to be better than"
        return Claim(f"{one} - {other}", found, 0.0, passed, f"{_upper(one)} {verb} {other}: {told}.")

    def harmless(
        self, chances: Doubles, gain: Doubles, guards: Sequence[Guard], tiers: Mapping[str, npt.NDArray[np.bool_]]
    ) -> list[Claim]:
        """Guards and tiers, of a policy and its gain against nothing."""
        asked = [self._guarded(guard, chances) for guard in guards]
        return asked + [self._unharmed(tier, chances, gain[who], who) for tier, who in tiers.items()]

    def _guarded(self, guard: Guard, chances: Doubles) -> Claim:
        extra = value_of(chances, guard.scores) - guard.scores[:, NULL]
        found = self._known(self.of(extra), chances, np.ones(len(extra), bool), {guard.reward: 1.0})
        passed = bool(found.high <= guard.limit)
        verb = "stays within" if passed else "may exceed"
        sentence = f"What it adds to {guard.reward} {verb} the limit of {guard.limit:g} a decision: {_told(found)}."
        return Claim(f"extra {guard.reward}", found, guard.limit, passed, sentence)

    def _unharmed(self, tier: str, chances: Doubles, gain: Doubles, who: npt.NDArray[np.bool_]) -> Claim:
        found = self._known(self.of(gain, who), chances, who, {} if self.logged is None else self.logged.worth)
        passed = not bool(found.high < 0)
        verb = "is not known to harm" if passed else "harms"
        return Claim(f"tier {tier}", found, 0.0, passed, f"It {verb} the tier {tier}: {_told(found)}.")

    def _known(
        self, found: Interval, chances: Doubles, who: npt.NDArray[np.bool_], worth: Mapping[str, float]
    ) -> Interval:
        if self.logged is None:
            return found
        return widened(found, self.logged, chances, self.subject, who=who, worth=worth, confidence=self.confidence)


def _told(found: Interval) -> str:
    if not found.n:
        return "there is nobody to judge it on"
    return f"{found.value:+.5g} [{found.low:+.5g}, {found.high:+.5g}] a decision, {found.n:,} decisions"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
