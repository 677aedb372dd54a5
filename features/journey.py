"""The stage of a customer's journey: a pure function of events and order lines as known at a moment.

Seven stages. Whoever fits several is in the first of this order, and the reason for the order is the reason for the
page that it leads to:

1. **waiting**: an order line is under way. What is owed to somebody comes before anything that could be sold.
2. **purchase**: something lies in the basket, or an order is so fresh that nobody has reported it yet.
3. **consideration**: looks at several items of one kind, searches, or has wished for something lately, and has not
   bought since. What somebody does weighs more than what a rhythm foretells, so it comes before *repeat*.
4. **repeat**: bought at least twice, and the next purchase is due by the customer's own rhythm.
5. **lapsed**: bought before, and for long neither bought nor looked.
6. **use**: has bought, and is neither due nor lapsed.
7. **awareness**: everybody else, also who is not known at all.

What came back (`return`) or failed (returned, cancelled, lost) is no purchase. Orders that lie closer than
`StageRules.occasion` are one occasion, so that something forgotten and ordered an hour later is no rhythm, and an
order that is reported a little after its purchase does not count twice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from features.bought import Bought, Told, bought_of, has_type, known_of, told_of
from features.covariates import LOOKS
from features.history import History
from features.kinds import EventType
from features.moments import DAY, HOUR
from features.orders import ENDED, LONGEST_WAIT, OrderLine

Rows = npt.NDArray[np.int32]
Places = npt.NDArray[np.intp]

STAGES = ("awareness", "consideration", "purchase", "waiting", "use", "repeat", "lapsed")
PRIORITY = ("waiting", "purchase", "consideration", "repeat", "lapsed", "use", "awareness")
"""Whoever fits several stages is in the first of these."""
REASONS: Mapping[str, str] = {
    "open_lines": "order lines under way: {lines}, the oldest known for {days:.1f} days",
    "basket": "items in the basket: {items}, the oldest for {days:.1f} days",
    "unreported": "ordered {hours:.1f} hours ago and not reported yet",
    "searched": "searched within {window:.0f} days, first {days:.1f} days ago, and has not bought since",
    "wished": "wished for something {days:.1f} days ago and has not bought since",
    "one_kind": "looked at {items} items of one kind within {window:.0f} days and has not bought since",
    "due": "last order {days:.1f} days ago, usually every {gap:.1f} days",
    "silent": "last order {days:.1f} days ago, lapsed after {limit:.1f}, and no look for {looks:.0f} days",
    "received": "received {days:.1f} days ago",
    "bought": "last order {days:.1f} days ago",
    "seen": "events known: {events}, none that says more",
    "unknown": "nothing is known",
}
"""Key of a reason -> its words in English; other languages have the same keys."""

_SEARCH, _CART, _WISH = int(EventType.SEARCH), int(EventType.CART), int(EventType.WISHLIST)
_PURCHASE = int(EventType.PURCHASE)
_CODES = np.arange(128)
IS_LOOK = np.isin(_CODES, [int(EventType[name.upper()]) for name in LOOKS])
"""bool[128]: whether an event of that code is a look (`features.covariates.LOOKS`)."""
SEEN = frozenset({int(EventType.VIEW), int(EventType.CLICK), _CART})
"""Looks at an item."""
CART_ENDS = frozenset({int(EventType.CART_REMOVE), _PURCHASE})
WISH_ENDS = frozenset({int(EventType.WISHLIST_REMOVE), _PURCHASE})
_NO_KINDS = np.zeros(1, np.int64)
_IS_SEEN = np.isin(_CODES, list(SEEN))
_TELLING = np.isin(_CODES, [_SEARCH, _WISH, *SEEN])
_OF_BASKETS, _OF_WISHES = np.isin(_CODES, [_CART, *CART_ENDS]), np.isin(_CODES, [_WISH, *WISH_ENDS])


@dataclass(frozen=True, slots=True)
class StageRules:
    """Thresholds that a shop can set; spans in microseconds, all "at most" unless said otherwise.

    Args:
        basket: age of what lies in a basket.
        fresh: age of an order that nobody has reported yet.
        considering: age of looks, searches and wishes that make a consideration.
        items: so many items of one kind make one, at least.
        due_from, due_until: the next purchase is due within these multiples of the median gap.
        lapsed, lapsed_gaps: without a purchase for longer than both, the second in median gaps, is lapsed.
        look: who has looked within this span is not lapsed.
        occasion: orders closer than this to the one before are one occasion.
        longest_wait: an order line without news for longer than this is not waited for any more.
    """

    basket: int = 7 * DAY
    fresh: int = DAY
    considering: int = 14 * DAY
    items: int = 2
    due_from: float = 0.7
    due_until: float = 2.0
    lapsed: int = 180 * DAY
    lapsed_gaps: float = 3.0
    look: int = 30 * DAY
    occasion: int = 12 * HOUR
    longest_wait: int = LONGEST_WAIT

    def due(self, bought: Bought) -> tuple[int, int] | None:
        """First and last instant at which the next purchase is due; None: there is no rhythm."""
        if bought.last is None or bought.gap is None:
            return None
        return bought.last + math.ceil(self.due_from * bought.gap), bought.last + int(self.due_until * bought.gap)

    def limit(self, bought: Bought) -> int:
        """Microseconds after which somebody who does not come back has lapsed."""
        return max(self.lapsed, 0 if bought.gap is None else int(self.lapsed_gaps * bought.gap))


RULES = StageRules()


@dataclass(frozen=True, slots=True)
class Stage:
    """Where somebody stands, since when, and why.

    Args:
        name: one of `STAGES`.
        since: the first instant from which that, which speaks for the stage now, has spoken for it. A stage that comes
            first may have covered it in between.
        reason: key of `REASONS`.
        values: what the reason's words need.
    """

    name: str
    since: int
    reason: str
    values: Mapping[str, float] = field(default_factory=dict)

    @property
    def why(self) -> str:
        """The reason in English."""
        return REASONS[self.reason].format(**self.values)


def stage_of(
    history: History, orders: Sequence[OrderLine], now: int, rules: StageRules = RULES, category: Rows | None = None
) -> Stage:
    """The stage of one subject as known at `now`; the rules stand at the top of this module.

    Args:
        history: of the subject, oldest first; an event counts where `time < now and recorded <= now`.
        orders: the subject's order lines, whose steps count where they lie before `now`.
        now: microseconds.
        rules: the thresholds.
        category: int32[items], the kind of every item of the vocabulary, -1 unknown: such an item is of no kind.
            None: the shop has one kind of items.
    """
    lines = told_of(orders, now)
    if found := _waiting(lines, now, rules):
        return found
    known = known_of(history, now)
    bought = bought_of(known, lines, rules.occasion)
    return (
        _purchase(known, bought, now, rules)
        or _consideration(known, bought, now, rules, category)
        or (_awareness(known, now) if bought.last is None else _customer(known, bought, bought.last, now, rules))
    )


def _waiting(lines: Sequence[Told], now: int, rules: StageRules) -> Stage | None:
    first = [
        told.line.steps[0].at for told in lines if told.state not in ENDED and now - told.news <= rules.longest_wait
    ]
    if not first:
        return None
    return Stage("waiting", min(first) + 1, "open_lines", {"lines": len(first), "days": (now - min(first)) / DAY})


def _purchase(known: History, bought: Bought, now: int, rules: StageRules) -> Stage | None:
    basket = _lying(known, _CART, _OF_BASKETS, now - rules.basket)
    if basket:
        since = min(basket.values())
        return Stage("purchase", since + 1, "basket", {"items": len(basket), "days": (now - since) / DAY})
    if bought.unreported is None or now - bought.unreported > rules.fresh:
        return None
    return Stage("purchase", bought.unreported + 1, "unreported", {"hours": (now - bought.unreported) / HOUR})


def _lying(known: History, kind: int, matter: npt.NDArray[np.bool_], since: int) -> dict[int, int]:
    """Item -> when it was put there first, of what was put somewhere since and not taken out at or after it.

    Args:
        known: as of the moment.
        kind: type of putting it there.
        matter: bool[128], that type and those that take it out.
        since: microseconds.
    """
    begin = int(known.time.searchsorted(since))
    types = known.type[begin:]
    if not has_type(types, kind):
        return {}
    here = matter[types]
    times, items = known.time[begin:][here].tolist(), known.item[begin:][here].tolist()
    found: dict[int, int] = {}
    closed: dict[int, int] = {}
    for at, item, code in zip(times, items, types[here].tolist(), strict=True):
        if code != kind:
            closed[item] = at
            found.pop(item, None)
        elif closed.get(item) != at:
            found.setdefault(item, at)
    return found


def _consideration(known: History, bought: Bought, now: int, rules: StageRules, category: Rows | None) -> Stage | None:
    since = now - rules.considering
    if bought.last is not None:
        since = max(since, bought.last + 1)
    begin = int(known.time.searchsorted(since))
    types = known.type[begin:]
    telling = begin + np.flatnonzero(_TELLING[types])
    if not len(telling):
        return None
    found = _first_sign(known, telling, _lying(known, _WISH, _OF_WISHES, since), rules.items, category)
    if found is None:
        return None
    at, reason, items = found
    told = {"days": (now - at) / DAY, "window": rules.considering / DAY, "items": items}
    return Stage("consideration", at + 1, reason, told)


def _first_sign(
    known: History, telling: Places, wishes: Mapping[int, int], least: int, category: Rows | None
) -> tuple[int, str, int] | None:
    """When, by what, and by how many items somebody began to consider; None: nothing says so."""
    items, types = known.item[telling], known.type[telling]
    kinds = np.where(items < 0, -1, 0 if category is None else category[items]).astype(np.int64)
    looks = ((kinds << 32) | items)[_IS_SEEN[types] & (kinds >= 0)]
    looks.sort()
    alike = np.bincount(looks[np.append(looks[1:] != looks[:-1], True)] >> 32) if len(looks) else _NO_KINDS
    if not (wishes or has_type(types, _SEARCH) or alike.max() >= least):
        return None
    seen: dict[int, set[int]] = {}
    rows = zip(known.time[telling].tolist(), types.tolist(), items.tolist(), kinds.tolist(), strict=True)
    for at, code, item, kind in rows:
        if code == _SEARCH:
            return at, "searched", 0
        if code == _WISH:
            if wishes.get(item) == at:
                return at, "wished", 1
        elif kind >= 0:
            several = seen.setdefault(kind, set())
            several.add(item)
            if len(several) >= least:
                return at, "one_kind", int(alike[kind])
    return None


def _customer(known: History, bought: Bought, last: int, now: int, rules: StageRules) -> Stage:
    """Who has bought: due, lapsed, or using it."""
    days, due, limit = (now - last) / DAY, rules.due(bought), last + rules.limit(bought)
    if due and bought.gap is not None and due[0] <= now <= due[1]:
        return Stage("repeat", due[0], "due", {"days": days, "gap": bought.gap / DAY, "orders": bought.occasions})
    looks = known.time[IS_LOOK[known.type]] if now > limit else np.empty(0, np.int64)
    seen = int(looks[-1]) if len(looks) else None
    if now > limit and (seen is None or now - seen > rules.look):
        since = limit if seen is None else max(limit, seen + rules.look)
        told = {"days": days, "limit": (limit - last) / DAY, "looks": rules.look / DAY}
        return Stage("lapsed", since + 1, "silent", told)
    since = max(last, bought.received or last, due[1] if due and now > due[1] else last)
    if now > limit:  # back after a silence: from the first of the looks that follow each other since
        pauses = np.flatnonzero(np.diff(looks) > rules.look)
        back = int(looks[pauses[-1] + 1 if len(pauses) else 0])
        since = max(since, back) if back > limit else since
    if bought.received is not None and bought.received >= last:
        return Stage("use", since + 1, "received", {"days": (now - bought.received) / DAY})
    return Stage("use", since + 1, "bought", {"days": days})


def _awareness(known: History, now: int) -> Stage:
    if not len(known):
        return Stage("awareness", now, "unknown")
    return Stage("awareness", int(known.time[0]) + 1, "seen", {"events": len(known)})
