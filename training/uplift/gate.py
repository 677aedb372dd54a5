"""The ship gate: a learned policy serves only where it is shown to be better than the best single action.

Three things can come out of the same data: the policy, one action for everybody, or nothing. Which one is said by means
of doubly robust scores on folds that nothing was picked from, with 95 % intervals clustered by subject.
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

Doubles = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Places = npt.NDArray[np.intp]
Ships = Literal["policy", "action", "nothing"]


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
    """
    given, policy = always(net), value_of(chances, net)
    rows = np.arange(len(net))
    top = given[rows, best_single(net, fold)]
    overall = int(np.argmax(given.mean(axis=0)))
    mean = _Means(subject, confidence)
    claims = [mean.better("the policy", "the best single action", policy - top)]
    claims += [mean.guarded(guard, value_of(chances, guard.scores) - guard.scores[:, NULL]) for guard in guards]
    claims += [mean.unharmed(tier, (policy - given[:, NULL])[who], who) for tier, who in (tiers or {}).items()]
    ships: Ships = "policy" if all(claim.passed for claim in claims) else "nothing"
    if ships != "policy" and overall != NULL:
        name = f"{actions[overall]} for everybody"
        more = [mean.better(name, "nothing", top - given[:, NULL])]
        single = given[:, overall] - given[:, NULL]
        more += [mean.guarded(guard, always(guard.scores)[:, overall] - guard.scores[:, NULL]) for guard in guards]
        more += [mean.unharmed(tier, single[who], who) for tier, who in (tiers or {}).items()]
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

    def of(self, values: Doubles, who: npt.NDArray[np.bool_] | None = None) -> Interval:
        subject = self.subject if who is None else self.subject[who]
        return mean_of(values, subject, confidence=self.confidence).interval

    def better(self, one: str, other: str, difference: Doubles) -> Claim:
        found = self.of(difference)
        passed = bool(found.low > 0)
        verb = "is better than" if passed else "is not shown to be better than"
        return Claim(f"{one} - {other}", found, 0.0, passed, f"{_upper(one)} {verb} {other}: {_told(found)}.")

    def guarded(self, guard: Guard, extra: Doubles) -> Claim:
        found = self.of(extra)
        passed = bool(found.high <= guard.limit)
        verb = "stays within" if passed else "may exceed"
        sentence = f"What it adds to {guard.reward} {verb} the limit of {guard.limit:g} a decision: {_told(found)}."
        return Claim(f"extra {guard.reward}", found, guard.limit, passed, sentence)

    def unharmed(self, tier: str, gain: Doubles, who: npt.NDArray[np.bool_]) -> Claim:
        found = self.of(gain, who)
        passed = not bool(found.high < 0)
        verb = "is not known to harm" if passed else "harms"
        return Claim(f"tier {tier}", found, 0.0, passed, f"It {verb} the tier {tier}: {_told(found)}.")


def _told(found: Interval) -> str:
    if not found.n:
        return "there is nobody to judge it on"
    return f"{found.value:+.5g} [{found.low:+.5g}, {found.high:+.5g}] a decision, {found.n:,} subjects"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
