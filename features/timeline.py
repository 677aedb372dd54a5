"""A journey over time: the exact moments at which somebody's stage changes, for reports.

`features.journey.stage_of` asks "which stage now?". Here every rule is written as the intervals of time in which it
holds, as known then, and one sweep over their ends gives the stage of each moment. So the two are derived differently
from the same words, and tests hold them against each other.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from features.bought import Bought, Instants, bought_of, known_of, told_of
from features.history import History
from features.journey import (
    CART_ENDS,
    IS_LOOK,
    RULES,
    SEEN,
    WISH_ENDS,
    Rows,
    StageRules,
)
from features.kinds import EventType
from features.orders import ENDED, OrderLine

_CART, _SEARCH, _WISH = int(EventType.CART), int(EventType.SEARCH), int(EventType.WISHLIST)
_ORDERS = (int(EventType.PURCHASE), int(EventType.RETURN))
_FAR = 2**62
"""An instant beyond all others."""
LOOKED = "looked"
"""A sign that keeps somebody from being lapsed."""

Sign = str | tuple[int, int]
"""What holds in an interval: a stage, `LOOKED`, or a look at (kind, item)."""
Held = tuple[int, int, Sign]
"""From, until (exclusive), and what holds."""


@dataclass(frozen=True, slots=True)
class Past:
    """A history with the instant from which each event is known, and the kind of each event's item."""

    events: History
    visible: Instants
    kind: Rows

    @classmethod
    def of(cls, history: History, category: Rows | None) -> Past:
        """Of one subject."""
        item = history.item
        kind = np.where(item < 0, -1, 0 if category is None else category[item]).astype(np.int32)
        return cls(history, np.maximum(history.time + 1, history.recorded), kind)


def stages_over(
    history: History, orders: Sequence[OrderLine], start: int, end: int, rules: StageRules = RULES,
    category: Rows | None = None,
) -> list[tuple[int, str]]:  # fmt: skip
    """The stages of one subject in `[start, end)`: each with the instant from which it holds, as known then.

    The first is the one at `start`, each later one differs from the one before it. It is what `stage_of` says at every
    microsecond in between.

    Args:
        history: of the subject, oldest first, also what is known only later.
        orders: its order lines with all their steps.
        start, end: microseconds.
        rules: the thresholds.
        category: int32[items], as `stage_of` takes it.
    """
    if start >= end:
        return []
    past = Past.of(history, category)
    held: list[Held] = [*_waiting(orders, rules), *_lying(past, _CART, CART_ENDS, rules.basket, "purchase")]
    held += _looked(past, rules)
    wishes = list(_lying(past, _WISH, WISH_ENDS, rules.considering, "consideration"))
    for a, b, bought in _knowledge(history, orders, past.visible, start, end, rules):
        held += _clipped(_purchases(bought, rules), a, b)
        held += _clipped(_signs(past, wishes, bought.last, a, b, rules), a, b)
    return _swept(held, start, end, rules.items)


def _knowledge(
    history: History, orders: Sequence[OrderLine], visible: Instants, start: int, end: int, rules: StageRules
) -> Iterator[tuple[int, int, Bought]]:
    """Intervals in which the same is known of purchases, returns and order lines."""
    moments = visible[np.isin(history.type, _ORDERS)]
    steps = np.array([step.at + 1 for line in orders for step in line.steps], np.int64)
    found = np.unique(np.concatenate([moments, steps, np.array([start], np.int64)]))
    for a, b in itertools.pairwise([*found[(found >= start) & (found < end)].tolist(), end]):
        yield a, b, bought_of(known_of(history, a), told_of(orders, a), rules.occasion)


def _waiting(orders: Sequence[OrderLine], rules: StageRules) -> Iterator[Held]:
    for line in orders:
        state = "confirmed"
        for place, step in enumerate(line.steps):
            state = step.state or state
            if state not in ENDED:
                later = line.steps[place + 1].at + 1 if place + 1 < len(line.steps) else _FAR
                yield step.at + 1, min(later, step.at + rules.longest_wait + 1), "waiting"


def _lying(past: Past, kind: int, ends: frozenset[int], age: int, sign: str) -> Iterator[Held]:
    """What was put somewhere, until it is too old or known to be taken out."""
    events = past.events
    closing = np.flatnonzero(np.isin(events.type, list(ends)))
    for place in np.flatnonzero(events.type == kind).tolist():
        at = int(events.time[place])
        out = closing[(events.item[closing] == events.item[place]) & (events.time[closing] >= at)]
        until = min(at + age + 1, int(past.visible[out].min(initial=_FAR)))
        yield int(past.visible[place]), until, sign


def _looked(past: Past, rules: StageRules) -> Iterator[Held]:
    looks = IS_LOOK[past.events.type]
    for seen, at in zip(past.visible[looks].tolist(), past.events.time[looks].tolist(), strict=True):
        yield seen, at + rules.look + 1, LOOKED


def _purchases(bought: Bought, rules: StageRules) -> Iterator[Held]:
    """What follows from purchases alone."""
    if bought.last is None:
        return
    yield -_FAR, _FAR, "use"
    yield bought.last + rules.limit(bought) + 1, _FAR, "lapsed"
    if bought.unreported is not None:
        yield bought.unreported, bought.unreported + rules.fresh + 1, "purchase"
    if (due := rules.due(bought)) is not None:
        yield due[0], due[1] + 1, "repeat"


def _signs(
    past: Past, wishes: Sequence[Held], last: int | None, a: int, b: int, rules: StageRules
) -> Iterator[Held]:  # fmt: skip
    """Looks, searches and wishes after the last purchase that can matter within [a, b)."""
    events = past.events
    begin = int(events.time.searchsorted(a - rules.considering))
    if last is not None:
        begin = max(begin, int(events.time.searchsorted(last + 1)))
    for place in range(begin, int(events.time.searchsorted(b))):
        code = int(events.type[place])
        span = int(past.visible[place]), int(events.time[place]) + rules.considering + 1
        if code == _SEARCH:
            yield *span, "consideration"
        elif code in SEEN and past.kind[place] >= 0:
            yield *span, (int(past.kind[place]), int(events.item[place]))
    after = begin
    wished = np.flatnonzero(events.type == _WISH)
    for place, wish in zip(wished.tolist(), wishes, strict=True):
        if place >= after:
            yield wish


def _clipped(held: Iterable[Held], a: int, b: int) -> Iterator[Held]:
    for start, until, sign in held:
        if max(start, a) < min(until, b):
            yield max(start, a), min(until, b), sign


def _swept(held: Sequence[Held], start: int, end: int, least: int) -> list[tuple[int, str]]:
    """The stage of each moment, from what holds when."""
    turns: dict[int, list[tuple[Sign, int]]] = {start: []}
    for a, b, sign in _clipped(held, start, end):
        turns.setdefault(a, []).append((sign, 1))
        turns.setdefault(b, []).append((sign, -1))
    turns.pop(end, None)
    holding: Counter[Sign] = Counter()
    items: Counter[int] = Counter()
    found: list[tuple[int, str]] = []
    for moment in sorted(turns):
        for sign, change in turns[moment]:
            before = holding[sign] > 0
            holding[sign] += change
            if isinstance(sign, tuple):
                items[sign[0]] += (holding[sign] > 0) - before
        name = _stage(holding, items, least)
        if not found or found[-1][1] != name:
            found.append((moment, name))
    return found


def _stage(holding: Counter[Sign], items: Counter[int], least: int) -> str:
    for name in ("waiting", "purchase", "consideration", "repeat"):
        if holding[name]:
            return name
        if name == "consideration" and any(many >= least for many in items.values()):
            return name
    if holding["lapsed"] and not holding[LOOKED]:
        return "lapsed"
    return "use" if holding["use"] else "awareness"
