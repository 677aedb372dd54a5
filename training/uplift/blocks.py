"""Sleeping dogs: groups that an action is known to harm, and what is left to do where they are left alone.

Groups are those that serving can tell online: a loyalty tier, by its column, and a tenth of the net value that a policy
foretells for an action. A group is blocked where the upper bound of the action's effect on it, by doubly robust scores
before costs, is below zero. Small tiers may be surely harmed by the actions together and by none surely alone: then the
tier is left alone altogether, but for actions that surely help it. The error of 5 % is shared out: evenly among the
family of all tiers and one family an action of its tenths, and in each family among its pairs (Bonferroni), one-sided;
so the chance of blocking anything that does no harm, alone or on average, is at most 5 % a set of blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serving.effects import NET_VALUE
from serving.effects import Blocked as Rule
from serving.policies import NULL
from training.intervals import Interval
from training.uplift.log import DecisionLog, Doubles, Floats, Mask, Whole
from training.uplift.options import tier_values
from training.uplift.policies import Block, sleeping_dogs

ERROR = 0.05
"""Chance that a set of blocks holds one that does no harm, at most."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """A group that an action is known to harm.

    Args:
        rule: as serving reads it.
        who: the group: a tier, or a tenth by the foretold net value (1 is the lowest).
        tier: whether it is a tier.
        effect: of the action on what is wanted, before costs.
        decisions: of the group.
        together: whether the effect is the mean of all actions', because none is known of this one alone.
    """

    rule: Rule
    who: str
    tier: bool
    effect: Interval
    decisions: int
    together: bool = False

    @property
    def action(self) -> str:
        """Its name."""
        return self.rule.action


def blocks_by_tier(log: DecisionLog, column: str, scores: Doubles, rows: Mask) -> list[Blocked]:
    """Tiers that an action is known to harm.

    Args:
        log: n decisions.
        column: of the tiers; empty: none.
        scores: float64[n, k], doubly robust, before costs.
        rows: bool[n], those that may be asked.
    """
    tiers = tier_values(log, column)
    if not tiers:
        return []
    at = log.names.index(column)
    group: Whole = np.full(len(log), -1, np.int64)
    for number, value in enumerate(tiers.values()):
        group[rows & (log.features[:, at] == value)] = number
    names, found = list(tiers), []
    for block, together in _harmed(scores, group, log.subject, confidence=1 - _share(log, column)):
        name, many = names[block.group], int((group == block.group).sum())
        above = float(np.nextafter(np.float32(tiers[name]), np.float32(np.inf)))
        rule = Rule(str(log.actions[block.action]), column, tiers[name], above)
        found.append(Blocked(rule, name, True, block.effect, many, together))
    return found


def _harmed(scores: Doubles, group: Whole, subject: Whole, *, confidence: float) -> list[tuple[Block, bool]]:
    """Actions that harm a group, and whether only all together are known to: then those that surely help it are none.

    Args:
        scores, group, subject, confidence: as for `sleeping_dogs`.
    """
    several = scores.shape[1] > 2
    mean = scores[:, 1:].mean(axis=1, keepdims=True)
    asked = np.concatenate([scores, mean], axis=1) if several else scores
    found = sleeping_dogs(asked, group, subject, confidence=confidence)
    alone = [(block, False) for block in found if block.action < scores.shape[1]]
    known = {(block.action, block.group) for block, _ in alone}
    for all_of in (block for block in found if block.action == scores.shape[1]):
        rows = group == all_of.group
        helped = {
            block.action for block in sleeping_dogs(-scores[rows], group[rows], subject[rows], confidence=confidence)
        }
        alone += [
            (Block(action, all_of.group, all_of.effect), True)
            for action in range(1, scores.shape[1])
            if action not in helped and (action, all_of.group) not in known
        ]
    return alone


def blocks_by_value(log: DecisionLog, column: str, values: Doubles, scores: Doubles, rows: Mask) -> list[Blocked]:
    """Tenths by the net value that a policy foretells for an action, which that action is known to harm.

    Args:
        log, column, scores, rows: as for `blocks_by_tier`, whose error is shared.
        values: float64[n, k], net values, by models that did not learn from the row.
    """
    found = []
    for place in range(1, len(log.actions)):
        tenth = _tenth(np.where(rows, values[:, place], np.nan))
        cuts = _cuts(values[:, place], tenth)
        for block in sleeping_dogs(scores[:, [NULL, place]], tenth, log.subject, confidence=1 - _share(log, column)):
            rule = Rule(str(log.actions[place]), NET_VALUE, cuts[block.group], cuts[block.group + 1])
            many = int((tenth == block.group).sum())
            found.append(Blocked(rule, str(block.group + 1), False, block.effect, many))
    return found


def left_by(blocks: Sequence[Blocked], log: DecisionLog, block: Floats, values: Doubles, eligible: Mask) -> Mask:
    """bool[n, k]: what may still be done; null is never blocked, and what alone may be done stays.

    Args:
        blocks: of the policy that gave the values.
        log: whose actions and columns these are.
        block: float32[n, p], the columns of n decisions.
        values: float64[n, k], net values.
        eligible: bool[n, k].
    """
    left = eligible.copy()
    for rule in (each.rule for each in blocks):
        place = log.actions.index(rule.action)
        said = values[:, place] if rule.by == NET_VALUE else block[:, log.names.index(rule.by)]
        low, high = (-np.inf if rule.low is None else rule.low), (np.inf if rule.high is None else rule.high)
        left[(said >= low) & (said < high), place] = False
    return np.where(left.any(axis=1, keepdims=True), left, eligible)


def _tenth(value: Doubles) -> Whole:
    """int64[n]: which tenth by value, 0 the lowest; -1 where unknown. Equal values are in one, which may be larger."""
    known = np.isfinite(value)
    found: Whole = np.full(len(value), -1, np.int64)
    if known.any():
        edges = np.unique(np.quantile(value[known], np.arange(1, 10) / 10))
        found[known] = np.unique(np.searchsorted(edges, value[known], "right"), return_inverse=True)[1]
    return found


def _cuts(value: Doubles, tenth: Whole) -> list[float | None]:
    """Where tenths begin and end: halfway between two of them, so that a value between belongs to the nearer one."""
    inner = []
    for number in range(int(tenth.max())):
        below, above = float(value[tenth == number].max()), float(value[tenth == number + 1].min())
        inner.append(max((below + above) / 2, float(np.nextafter(below, np.inf))))
    return [None, *inner, None]


def _share(log: DecisionLog, column: str) -> float:
    """The error of one family: each action's tenths, and the tiers where there are some."""
    return ERROR / (len(log.actions) - 1 + bool(column))
