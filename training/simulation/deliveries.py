"""What becomes of orders: production, shipping, delivery on time or late, losses, returns, reviews, complaints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from features.kinds import SHIPMENT_STATES, EventType
from features.moments import DAY, HOUR
from training.simulation.catalogue import NEVER
from training.simulation.people import World
from training.simulation.rows import Array, Rows
from training.simulation.sessions import to_millisecond
from training.simulation.visits import Events, events
from training.simulation.world import CATEGORIES

CARRIER_DAYS: Final = 4.0
"""What the shop promises beyond the lead time."""
MADE_TO_ORDER_DAYS: Final = 14.0
LATE: Final = 0.08
LOST: Final = 0.004
CANCELLED: Final = 0.012
REVIEWED: Final = 0.07
STEPS: Final = (0.15, 0.45, 0.80)
"""When, in the production time, each step is told."""
STATE: Final = {name: row for row, name in enumerate(SHIPMENT_STATES)}
NOTE_STARS: Final = 0
"""Notes 0 to 4 are one to five stars."""
NOTE_LATE, NOTE_CANCELLED, NOTE_UNFIT = 5, 6, 7


@dataclass
class OrderStates(Rows):
    """One row a state of an order line."""

    line: Array
    """Row of the order line's purchase event."""
    at: Array
    state: Array
    step: Array
    """Which production step, or -1."""
    promised: Array
    refunded: Array


@dataclass
class Fates(Rows):
    """One row an order line: instants, or NEVER."""

    promised: Array
    shipped: Array
    delivered: Array
    cancelled: Array
    lost: Array
    returned: Array
    """When the customer sends it back (or a cancelled line is written off)."""


def decide_fates(world: World, rng: np.random.Generator, lines: Events) -> Fates:
    """When each line ships, arrives, gets lost or comes back."""
    n = len(lines)
    category = world.catalogue.items.category[lines.item]
    lead = np.array([c.lead_days for c in CATEGORIES])[category]
    make = np.maximum(lead * np.exp(0.08 * rng.standard_normal(n) - 0.05), rng.uniform(0.1, 0.9, n))
    late = rng.random(n) < LATE
    carry = rng.uniform(0.8, 2.6, n) + np.where(late, CARRIER_DAYS + rng.exponential(4.0, n), 0.0)
    fate = rng.random(n)
    cancelled, lost = fate < CANCELLED, (fate >= CANCELLED) & (fate < CANCELLED + LOST)
    shipped = _later(lines.at, make)
    promised = _later(lines.at, lead + CARRIER_DAYS)
    delivered = _later(shipped, carry)
    sent_back = rng.random(n) < np.array([c.returns for c in CATEGORIES])[category] * np.where(late, 1.5, 1.0)
    arrives = ~cancelled & ~lost
    gone = _later(lines.at, make * rng.uniform(0.1, 0.6, n))
    returned = np.where(arrives & sent_back, _later(delivered, rng.uniform(2, 14, n)), NEVER)
    return Fates(
        promised=promised,
        shipped=np.where(cancelled, NEVER, shipped),
        delivered=np.where(arrives, delivered, NEVER),
        cancelled=np.where(cancelled, gone, NEVER),
        lost=np.where(lost, np.maximum(promised, shipped) + 10 * DAY, NEVER),
        returned=np.where(cancelled, gone, returned),
    )


def _later(at: Array, days: Array) -> Array:
    return to_millisecond(at + (days * DAY).astype(np.int64))


def order_states(world: World, rng: np.random.Generator, lines: Events, fates: Fates) -> OrderStates:
    """Every state that has come about before the end of the period."""
    n = len(lines)
    rows = np.arange(n)
    lead = np.array([c.lead_days for c in CATEGORIES])[world.catalogue.items.category[lines.item]]
    made = lead >= MADE_TO_ORDER_DAYS
    detour = rng.random(n)
    parts = [_state(rows, lines.at, "confirmed")]
    for step, share in enumerate(STEPS):
        at = _later(lines.at, np.where(made, lead * share, 0.0))
        before = made & (at < np.minimum(np.minimum(fates.shipped, fates.cancelled), NEVER))
        parts.append(_state(rows, np.where(before, at, NEVER), "in_production", step))
    failed = (detour < 0.06) & (fates.delivered < NEVER)
    pickup = (detour >= 0.06) & (detour < 0.11) & (fates.delivered < NEVER)
    first_try = (fates.shipped // 2 + fates.delivered // 2) // 1000 * 1000
    parts += [
        _state(rows, fates.shipped, "shipped"),
        _state(rows, np.where(failed, first_try, NEVER), "attempted"),
        _state(rows, np.where(pickup, first_try, NEVER), "ready_for_pickup"),
        _state(rows, fates.delivered, "delivered"),
        _state(rows, fates.cancelled, "cancelled"),
        _state(rows, fates.lost, "lost"),
        _state(rows, np.where(fates.cancelled < NEVER, NEVER, fates.returned + 3 * DAY), "returned"),
    ]
    states = OrderStates.concat(parts)
    states.promised = fates.promised[states.line]
    states = states.take(states.at < world.calendar.end)
    return states.take(np.lexsort((states.state, states.at, states.line)))


def _state(rows: Array, at: Array, name: str, step: int = -1) -> OrderStates:
    n = len(rows)
    back = name in ("cancelled", "lost", "returned")
    return OrderStates(
        line=rows,
        at=at,
        state=np.full(n, STATE[name], np.int8),
        step=np.full(n, step, np.int8),
        promised=np.zeros(n, np.int64),
        refunded=np.full(n, back),
    )


def after_events(world: World, rng: np.random.Generator, lines: Events, fates: Fates) -> Events:
    """Returns (cancelled lines among them), reviews, calls for help and complaints."""
    n = len(lines)
    late = (fates.delivered > fates.promised) & (fates.delivered < NEVER)
    reason = np.where(fates.cancelled < NEVER, NOTE_CANCELLED, NOTE_UNFIT)
    back = _about(lines, fates.returned, EventType.RETURN, reason)
    back.price, back.quantity, back.discount = lines.price, lines.quantity, lines.discount
    reviewed = (rng.random(n) < REVIEWED) & (fates.delivered < NEVER)
    stars = np.clip(np.round(4.1 - 1.4 * late + 0.9 * rng.standard_normal(n)), 1, 5)
    told = np.where(reviewed, _later(np.minimum(fates.delivered, NEVER // 2), rng.uniform(3, 20, n)), NEVER)
    review = _about(lines, told, EventType.REVIEW, stars - 1 + NOTE_STARS)
    calls = late & (rng.random(n) < 0.2)
    call = _about(
        lines, np.where(calls, _later(fates.promised, rng.uniform(0.2, 1.0, n)), NEVER), EventType.SUPPORT, NOTE_LATE
    )
    angry = (fates.lost < NEVER) & (rng.random(n) < 0.4)
    complaint = _about(lines, np.where(angry, fates.lost + 5 * HOUR, NEVER), EventType.COMPLAINT, NOTE_LATE)
    both = Events.concat([back, review, call, complaint])
    return both.take(both.at < world.calendar.end)


def _about(lines: Events, at: Array, kind: EventType, note: Array | int) -> Events:
    channel = 3 if kind in (EventType.SUPPORT, EventType.COMPLAINT) else 0
    return events(
        len(lines), at=at, person=lines.person, type=kind, item=lines.item, order=lines.order, line=lines.line,
        note=note, channel=channel,
    )  # fmt: skip
