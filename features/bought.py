"""What somebody has bought, as known at a moment, without what came back or failed; and what their order lines say.

A history has purchases, order lines have states. Both may tell of the same order, or only one of them does.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from features.history import History
from features.kinds import EventType
from features.orders import DELIVERED, FAILED, OrderLine

Instants = npt.NDArray[np.int64]
Places = npt.NDArray[np.intp]
_PURCHASE, _RETURN = int(EventType.PURCHASE), int(EventType.RETURN)
_CRUMB = 1e-6
"""Pieces that are none."""


class Told(NamedTuple):
    """An order line as known at a moment: its state, and when its last news came."""

    line: OrderLine
    state: str
    news: int


@dataclass(frozen=True, slots=True)
class Bought:
    """What somebody's purchases come to, without those that came back or failed.

    Args:
        last: instant of the last order; None: never bought.
        gap: median microseconds between two occasions; None: fewer than two.
        occasions: how many.
        unreported: instant of the last purchase if no order line tells of it.
        received: when something was delivered last.
    """

    last: int | None = None
    gap: float | None = None
    occasions: int = 0
    unreported: int | None = None
    received: int | None = None


def told_of(orders: Sequence[OrderLine], now: int) -> list[Told]:
    """The lines that are known, each with its state at that moment."""
    found = []
    for line in orders:
        steps = line.steps
        if steps[-1].at >= now:
            steps = tuple(step for step in steps if step.at < now)
            if not steps:
                continue
        state = steps[-1].state or next((step.state for step in reversed(steps) if step.state), "confirmed")
        found.append(Told(line, state, steps[-1].at))
    return found


def known_of(history: History, now: int) -> History:
    """`History.as_of`, without copying where nothing was recorded late."""
    if history.known_by is not None and history.known_by < now:
        return history
    n = int(history.time.searchsorted(now))
    if n and int(history.recorded[:n].max()) > now:
        return history.as_of(now)
    return history if n == len(history) else history.take(slice(n))


def bought_of(known: History, lines: Sequence[Told], occasion: int) -> Bought:
    """The purchases of a history, joined with those that only order lines tell of.

    A return takes its pieces off the latest purchases of the item before it. An order is none when all that was bought
    at its instant was reported and failed.

    Args:
        known: as of the moment.
        lines: as of the moment.
        occasion: orders closer than this to the one before are one occasion.
    """
    places = np.flatnonzero(known.type == _PURCHASE)
    at = all_at = known.time[places]
    if has_type(known.type, _RETURN):
        at = at[not_returned(known, places)]
    reported, received = None, None
    also: list[int] = []
    if lines:
        reported = max(told.line.ordered_at for told in lines)
        at, also = _without_failed(at, all_at, lines, occasion)
        received = max((told.news for told in lines if told.state == DELIVERED), default=None)
    last_event = int(at[-1]) if len(at) else None
    if also:
        at = np.sort(np.concatenate([at, np.array(also, np.int64)]))
    if not len(at):
        return Bought()
    fresh = last_event if reported is None or (last_event or 0) - occasion > reported else None
    ends = at[np.append(at[1:] - at[:-1] >= occasion, True)]
    gaps = np.sort(ends[1:] - ends[:-1])
    middle = len(gaps) // 2
    gap = (int(gaps[middle]) + int(gaps[-middle - 1])) / 2 if len(gaps) else None
    return Bought(int(at[-1]), gap, len(ends), fresh, received)


def has_type(types: npt.NDArray[np.int8], code: int) -> bool:
    """Whether an event of that type is there; bytes are searched ten times faster than compared."""
    return types.tobytes().find(code) >= 0


def not_returned(known: History, places: Places) -> npt.NDArray[np.bool_]:
    """Which purchases have not come back.

    Args:
        known: as of the moment.
        places: where its purchases stand.
    """
    backs = np.flatnonzero(known.type == _RETURN)
    returned = set(known.item[backs].tolist()) - {-1}
    left: dict[int, list[list[float]]] = {item: [] for item in returned}
    kept = np.ones(len(places), bool)
    both = np.concatenate([places, backs])
    order = np.argsort(both, kind="stable")
    rows = both[order]
    told = zip(order.tolist(), known.item[rows].tolist(), known.quantity[rows].tolist(), strict=True)
    for place, item, pieces in told:
        if item not in returned:
            continue
        if place < len(places):
            left[item].append([place, pieces])
            continue
        rest = pieces
        while rest > 0 and left[item]:
            mine = left[item][-1]
            taken = min(rest, mine[1])
            rest, mine[1] = rest - taken, mine[1] - taken
            if mine[1] > _CRUMB:
                break
            kept[int(left[item].pop()[0])] = False
    return kept


def _without_failed(at: Instants, bought: Instants, lines: Sequence[Told], occasion: int) -> tuple[Instants, list[int]]:
    """Purchases whose order did not fail as a whole, and the instants of orders that only lines tell of.

    Args:
        at: instants of purchases that have not come back.
        bought: instants of all purchases.
        lines: as of the moment; each belongs to the purchase at its instant, else to the nearest within an occasion.
        occasion: microseconds.
    """
    instants = bought.tolist()  # few lines: quicker one by one than as columns
    failed: Counter[int] = Counter()
    standing, alone = set(), []
    for told in lines:
        ordered, here = _nearest(instants, told.line.ordered_at, occasion)
        if told.state in FAILED:
            failed[ordered] += 1
        elif here:
            standing.add(ordered)
        else:
            alone.append(ordered)
    gone = [one for one in failed if one not in standing and failed[one] >= instants.count(one)]
    return (at[~np.isin(at, gone)] if gone else at), alone


def _nearest(instants: Sequence[int], ordered: int, occasion: int) -> tuple[int, bool]:
    """The purchase that a line belongs to, and whether there is one; else the line's own instant."""
    place = bisect_left(instants, ordered)
    if place < len(instants) and instants[place] == ordered:
        return ordered, True
    near = min(instants[max(place - 1, 0) : place + 1], key=lambda one: abs(one - ordered), default=None)
    return (ordered, False) if near is None or abs(near - ordered) >= occasion else (near, True)
