"""The ship gate: a learned policy serves only where it is shown to be better than the best single action.

Three things can come out of the same data: the policy, one action for everybody, or nothing. Which one is said by means
of doubly robust scores on folds that nothing was picked from, with 95 % intervals clustered by subject; those of guards
and tiers are exact where events are rare (`training.uplift.rare`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from serving.policies import NULL
from training.intervals import Interval
from training.uplift.estimate import mean_of
from training.uplift.rare import Logged, widened

Doubles = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Places = npt.NDArray[np.intp]
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


def best_single(net: Doubles, fold: Whole) -> Places:
    """intp[n]: for each decision the action that was best for everybody on the other folds.

    Args:
        net: float64[n, k], doubly robust scores of the net value; NaN where an action is not eligible: those get null.
        fold: int64[n].
    """
    given = always(net)
    picked = np.empty(len(net), np.intp)
    for number in np.unique(fold):
        picked[fold == number] = np.argmax(given[fold != number].mean(axis=0))
    return picked


def always(net: Doubles) -> Doubles:
    """float64[n, k]: the scores of giving everybody one action, and nothing to those who may not have it."""
    return np.asarray(np.where(np.isnan(net), net[:, [NULL]], net), np.float64)


def value_of(chances: Doubles, net: Doubles) -> Doubles:
    """float64[n]: the score of a policy that takes each action with a probability; impossible actions need none."""
    return np.asarray(np.where(chances > 0, chances * net, 0.0).sum(axis=1))


def rule(
    chances: Doubles, net: Doubles, fold: Whole, subject: Whole, actions: Sequence[str | None], *,
    guards: Sequence[Guard] = (), tiers: Mapping[str, npt.NDArray[np.bool_]] | None = None, confidence: float = 0.95,
    picked: Doubles | None = None, share: Doubles | None = None, logged: Logged | None = None,
) -> Ruling:  # fmt: skip
    """What may serve.

    Args:
        chances: float64[n, k], of the policy; for each fold learned on the others.
        net: float64[n, k], doubly robust scores of the net value; NaN where an action is not eligible.
        fold: int64[n], the folds of both.
        subject: int64[n], intervals cluster by it.
        actions: names; the first is null.
        guards: outcomes that must not be bought.
        tiers: loyalty tier -> bool[n]; a policy that is known to harm one is refused.
        confidence: of the intervals.
        picked: float64[n, k], where the policy is the best of several: for each fold the one that was best on the
            others; that has to be better as well, since the best was picked by what it is judged on.
        share: float64[k], to which share of those who may have it the budget allows each action. The policy has to beat
            the best one that is handed out so, and one for everybody needs to be allowed for everybody.
        logged: what was taken and what happened: intervals of guards and tiers are then at least as wide as rare events
            leave them.
    """
    given, policy, rows = always(net), value_of(chances, net), np.arange(len(net))
    nothing = given[:, NULL]
    share = np.ones(net.shape[1]) if share is None else share
    fair = np.where(share >= 1, given, nothing[:, None] + share * (given - nothing[:, None]))
    top = fair[rows, best_single(fair, fold)]
    mean = _Means(subject, confidence, logged)
    claims = [mean.better("the policy", "the best single action", policy - top)]
    if picked is not None and (picked != chances).any():
        claims += [mean.better(PICKED, "the best single action", value_of(picked, net) - top)]
    claims += mean.harmless(chances, policy - nothing, guards, tiers or {})
    ships: Ships = "policy" if all(claim.passed for claim in claims) else "nothing"
    whole = np.where(share >= 1, given, -np.inf)
    overall = int(np.argmax(whole.mean(axis=0)))
    if ships != "policy" and overall != NULL:
        alone = whole[rows, best_single(whole, fold)]
        more = [mean.better(f"{actions[overall]} for everybody", "nothing", alone - nothing)]
        may = np.where(np.isnan(net[:, overall]), NULL, overall)
        everybody = np.eye(net.shape[1])[may]
        more += mean.harmless(everybody, given[:, overall] - nothing, guards, tiers or {})
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
    return f"{found.value:+.5g} [{found.low:+.5g}, {found.high:+.5g}] a decision, {found.n:,} subjects"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
