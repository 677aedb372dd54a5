"""Quotas and fixed places: the list that keeps its order as far as they let it.

Of all lists that no `at most` forbids and that meet each `at least` as far as it can be met (the first rule first), it
is the one that is first in the order of a dictionary, the items' places in the given list being the letters. So an item
moves only where a rule makes it, the best of its kind moves first, and it moves no further up than it has to.

Found place by place: the best item that may stand there and leaves room for what is still owed. Room is enough where,
for every bound N, what is owed to the rules that end by N fits into the free places up to N (Hall's condition for
intervals with one common start). That is exact where no item is under two rules; where some are, `at most` holds all
the same and `at least` may be missed, which is told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many of the first items are of one kind.

    Args:
        members: bool[m], the candidates of this kind, in the order of the list.
        first: so many items from the top.
        at_least, at_most: of them.
    """

    members: npt.NDArray[np.bool_]
    first: int
    at_least: int = 0
    at_most: int | None = None


@dataclass(frozen=True, slots=True)
class Arranged:
    """A list in its new order.

    Args:
        order: places of the candidates in the given list, at most as many as were asked for.
        short: for each rule how many items are missing from what it wants at least.
        refused: fixed candidates that a rule lets stand nowhere.
    """

    order: list[int]
    short: list[int]
    refused: list[int]


def arrange(count: int, rules: Sequence[Bounds], limit: int, fixed: Mapping[int, int] | None = None) -> Arranged:
    """Give places under rules.

    Args:
        count: candidates, the best first.
        rules: the earlier one counts more, where not all can be met.
        limit: places.
        fixed: candidate -> place, from 0, distinct; the earlier one counts more. Behind the end of the list it is the
            last place that nothing else is fixed to.
    """
    wanted = _within(dict(fixed or {}), min(limit, count))
    work = _Work(count, rules, min(limit, count))
    refused = [each for each, place in wanted.items() if not work.fix(each, place)]
    work.owe()
    order = work.walk()
    gone = [each for each in fixed or () if each not in wanted or (each not in order and each not in refused)]
    counts = [int(rule.members[order[: rule.first]].sum()) for rule in rules]
    return Arranged(order, [max(rule.at_least - n, 0) for rule, n in zip(rules, counts, strict=True)], refused + gone)


def _within(fixed: dict[int, int], limit: int) -> dict[int, int]:
    """Places behind the end become the last ones that are left; without any the candidate is left out."""
    behind = sorted((place, each) for each, place in fixed.items() if place >= limit)
    left = sorted(set(range(limit)) - set(fixed.values()))[-len(behind) :] if behind else []
    moved = {each: place for (_, each), place in zip(behind[: len(left)], left, strict=True)}
    return {each: moved.get(each, place) for each, place in fixed.items() if place < limit or each in moved}


@dataclass
class _Work:
    """The state of one arrangement."""

    count: int
    rules: Sequence[Bounds]
    limit: int
    fixed: dict[int, int] = field(default_factory=dict)
    """Place -> candidate."""

    def __post_init__(self) -> None:
        self.ends = [min(rule.first, self.limit) for rule in self.rules]
        self.tops = [self.count if rule.at_most is None else rule.at_most for rule in self.rules]
        self.used = [0] * len(self.rules)  # members that stand in the first places, or are fixed there
        self.owed = [0] * len(self.rules)

    def under(self, candidate: int) -> tuple[int, ...]:
        """The rules that count it."""
        return tuple(at for at, rule in enumerate(self.rules) if rule.members[candidate])

    def may(self, under: Sequence[int], place: int) -> bool:
        """Whether no `at most` forbids one more at a place."""
        return all(self.used[at] < self.tops[at] for at in under if place < self.ends[at])

    def note(self, under: Sequence[int], place: int, by: int = 1) -> None:
        """Count one that stands, or (-1) stands no more, at a place."""
        for at in under:
            if place < self.ends[at]:
                self.used[at] += by

    def fix(self, candidate: int, place: int) -> bool:
        """Keep a place for a candidate; False where a rule forbids it."""
        under = self.under(candidate)
        if not self.may(under, place):
            return False
        self.fixed[place] = candidate
        self.note(under, place)
        return True

    def room(self, place: int, end: int) -> int:
        """Free places from `place` up to `end`."""
        return end - place - sum(place <= each < end for each in self.fixed)

    def owe(self) -> None:
        """What each rule still wants, as far as there are items and places, the first rule first."""
        held = set(self.fixed.values())
        for at, rule in enumerate(self.rules):
            there = int(rule.members.sum()) - sum(bool(rule.members[each]) for each in held)
            self.owed[at] = max(min(rule.at_least - self.used[at], there, self.tops[at] - self.used[at]), 0)
            while self.owed[at] and not self.fits(0):
                self.owed[at] -= 1

    def fits(self, place: int, less: Sequence[int] = ()) -> bool:
        """Whether what is owed, less one to some rules, has room from a place on."""
        left = [owed - (at in less) if owed else 0 for at, owed in enumerate(self.owed)]
        ends = {self.ends[at] for at, owed in enumerate(left) if owed}
        return all(
            sum(owed for owed, each in zip(left, self.ends, strict=True) if each <= end) <= self.room(place, end)
            for end in ends
        )

    def walk(self) -> list[int]:
        """The list, from the top."""
        waiting: dict[tuple[int, ...], deque[int]] = {}
        held = set(self.fixed.values())
        for candidate in range(self.count):
            if candidate not in held:
                waiting.setdefault(self.under(candidate), deque()).append(candidate)
        order: list[int] = []
        for place in range(self.limit):
            if place in self.fixed:
                order.append(self.fixed[place])
                continue
            under = self.best(waiting, place)
            if under is None:
                return order + self.behind(place)
            self.note(under, place)
            self.owed = [max(owed - (at in under), 0) for at, owed in enumerate(self.owed)]
            order.append(waiting[under].popleft())
        return order

    def best(self, waiting: Mapping[tuple[int, ...], deque[int]], place: int) -> tuple[int, ...] | None:
        """Of which kind the next one is: the best that may stand here and leaves room, else what is owed most."""
        able = [under for under, line in waiting.items() if line and self.may(under, place)]
        roomy = [under for under in able if self.fits(place + 1, under)]
        pays = {under: sum(self.owed[at] > 0 for at in under) for under in able}
        return min(roomy or able, key=lambda under: (0 if roomy else -pays[under], waiting[under][0]), default=None)

    def behind(self, place: int) -> list[int]:
        """What is fixed further down, where the list has ended: it moves up as far as rules let it."""
        moved: list[int] = []
        for planned in sorted(each for each in self.fixed if each > place):
            under = self.under(self.fixed[planned])
            self.note(under, planned, -1)
            if self.may(under, place + len(moved)):
                self.note(under, place + len(moved))
                moved.append(self.fixed[planned])
        return moved
