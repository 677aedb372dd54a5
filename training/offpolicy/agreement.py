"""Whether a rebuilt page is the page that was logged: its probabilities, and the items inside its modules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from features.moments import format_instant
from training.offpolicy.pages import Request, Shown
from training.offpolicy.rebuilding import Answer, Answers
from training.offpolicy.refusal import Limits, Reason
from training.uplift.log import DecisionLog, Doubles

REPRODUCED = 0.95
"""Least share of the checked decisions that the pipeline of then must give again."""
ALIKE = 1e-9
"""Probabilities may differ by the rounding of a sum."""
TOLD = 3
"""How many differences are named."""


@dataclass(frozen=True, slots=True)
class Check:
    """How far the rebuilt pipeline of then agrees with the log.

    Attributes:
        checked: decisions that it was asked about.
        reproduced: those of which it gives the logged probabilities and items.
        differences: the first that it does not: what, where, logged, replayed.
    """

    checked: int
    reproduced: int
    differences: tuple[str, ...]

    @property
    def share(self) -> float:
        """NaN where nothing was checked."""
        return self.reproduced / self.checked if self.checked else np.nan


def checked(asked: Sequence[Request], answers: Sequence[Answers]) -> Check:
    """Compare the pipeline of then with what it logged, where it decided at that moment and did not fail."""
    count, differences = 0, []
    for request, each in zip(asked, answers, strict=True):
        for place, slot in enumerate(request.slots):
            if slot.drawn:
                count += 1
                said = "other slots" if each is None else _difference(slot, each[place])
                differences += [f"{said} (slot {slot.slot}, {format_instant(request.at)})"] if said else []
    return Check(count, count - len(differences), tuple(differences[:TOLD]))


def _difference(slot: Shown, answer: Answer) -> str:
    if answer.holdout:
        return "holdout: logged no, replayed yes"
    replayed = dict(answer.chances)
    if slot.chances.keys() != replayed.keys():
        return f"eligible: logged {_named(slot.chances)}, replayed {_named(replayed)}"
    for action, chance in slot.chances.items():
        if chance is None or abs(chance - replayed[action]) > ALIKE:
            return f"probability of {action or 'nothing'}: logged {chance}, replayed {replayed[action]}"
    if slot.items != answer.items:
        return f"items of {slot.action or 'nothing'}: logged {_some(slot.items)}, replayed {_some(answer.items)}"
    return ""


def _named(actions: Iterable[str | None]) -> str:
    return "[" + ", ".join(action or "nothing" for action in actions) + "]"


def _some(items: Sequence[str]) -> str:
    return "[" + ", ".join(items[:4]) + (", ...]" if len(items) > 4 else "]")


def other_items(
    log: DecisionLog, policy: Doubles, told: Mapping[int, Answer], shown: Mapping[int, Shown]
) -> tuple[float, str]:
    """The share of what a pipeline would show that has other items than were shown, and the first such module.

    Estimated from the modules that were shown, by their weights: of the others the log has no items.

    Args:
        log: with keys.
        policy: float64[n, k], the pipeline's probabilities.
        told: its answers, by decision.
        shown: what was logged, by decision; at least what is usable.
    """
    rows = np.flatnonzero(log.usable & np.isfinite(log.taken))
    weight = policy[rows, log.action[rows]] / log.taken[rows]
    assert log.keys is not None  # else there were no answers
    keys = log.keys[rows].tolist()
    differs = np.array([shown[key].items != told[key].items for key in keys], bool)
    first = ""
    for place in np.flatnonzero(differs & (weight > 0))[:1].tolist():
        slot = shown[keys[place]]
        first = f"{slot.action} in slot {slot.slot} showed {_some(slot.items)}, now {_some(told[slot.key].items)}"
    total = float(weight.sum())
    return (float(weight @ differs) / total if total > 0 else 0.0), first


def not_reproduced(check: Check) -> list[Reason]:
    """Why a pipeline cannot be trusted to be rebuilt; nothing where it can."""
    if check.share >= REPRODUCED:
        return []
    text = (
        f"The pipeline that decided, rebuilt, gives {check.share:.1%} of {check.checked:,} decisions again; at least"
        f" {REPRODUCED:.0%} are needed. First differences: {'; '.join(check.differences)}."
    )
    return [Reason("not-reproduced", check.share, REPRODUCED, text)]


def not_randomised(share: float, first: str, limits: Limits) -> list[Reason]:
    """Why nothing is said of a pipeline that shows other items, and what would be needed; nothing below the limit."""
    if share <= limits.unsupported:
        return []
    text = (
        f"{share:.1%} of what it would show are other items under the same module ({first}). The order of items inside"
        " a module is not drawn, so the log cannot say what other items are worth. Needed: customers who are given one"
        " or the other pipeline at random (an experiment whose arms are the two), or the two lists as two modules of a"
        " slot that a policy draws."
    )
    return [Reason("items-not-randomised", share, limits.unsupported, text)]
