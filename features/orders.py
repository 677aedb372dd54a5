"""Order lines as of a moment: what was ordered, what was promised, and each step on the way to the customer.

An order line that nobody reported a state of is not here: a shop that sends no `orders` has purchases, not deliveries.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from features.moments import DAY

DELIVERED = "delivered"
READY = "ready_for_pickup"
LONGEST_WAIT = 365 * DAY
"""An order line without news for longer than this is not waited for any more: many shops never tell of the end."""
ENDED = frozenset({DELIVERED, "returned", "cancelled", "lost"})
"""Shipment states after which nothing is under way any more."""
FAILED = frozenset({"returned", "cancelled", "lost"})


class Step(msgspec.Struct, frozen=True, array_like=True):
    """One state of an order line, from when it was known.

    Args:
        at: microseconds, `valid_from` of the row.
        state: one of `features.kinds.SHIPMENT_STATES`, or "" where only words were added.
        text, image_url, tracking_url: what the shop tells of it.
        confirmed_for: the instant at which the carrier has said that it comes; None: nobody has said.
        place, hours: where and when it can be picked up.
        promised_at: what is promised from this step on; None: as before.
    """

    at: int
    state: str
    text: str | None = None
    image_url: str | None = None
    tracking_url: str | None = None
    confirmed_for: int | None = None
    place: str | None = None
    hours: str | None = None
    promised_at: int | None = None


class OrderLine(msgspec.Struct, frozen=True, array_like=True):
    """One line of an order with all its steps so far, oldest first; there is at least one.

    Args:
        order_id, line: its key.
        item_id: what was ordered.
        ordered_at: microseconds; the first step's moment where the shop did not say.
        quantity: how many.
        gift: for somebody else.
        subscription: the id of a standing order; None: ordered once.
    """

    order_id: str
    line: str
    item_id: str
    ordered_at: int
    steps: tuple[Step, ...]
    quantity: float = 1.0
    gift: bool = False
    subscription: str | None = None

    @property
    def state(self) -> str:
        """The last state that was told; "confirmed" before any."""
        for step in reversed(self.steps):
            if step.state:
                return step.state
        return "confirmed"

    @property
    def is_open(self) -> bool:
        """Whether something is still under way."""
        return self.state not in ENDED

    def is_awaited(self, now: int, longest: int = LONGEST_WAIT) -> bool:
        """Whether it is under way and there was news of it within `longest` microseconds."""
        return self.is_open and now - self.steps[-1].at <= longest

    @property
    def promised_at(self) -> int | None:
        """What was promised last."""
        return next((step.promised_at for step in reversed(self.steps) if step.promised_at is not None), None)

    @property
    def first_promised_at(self) -> int | None:
        """What was promised first: being late is measured by it."""
        return next((step.promised_at for step in self.steps if step.promised_at is not None), None)

    @property
    def delivered_at(self) -> int | None:
        """When it was delivered; None: not yet, or never."""
        return next((step.at for step in self.steps if step.state == DELIVERED), None)

    @property
    def confirmed_for(self) -> int | None:
        """The instant that the carrier named last; None also where a later one was promised since."""
        named: int | None = None
        for step in self.steps:
            named = named_after(step, named)
        return named

    def is_late(self, now: int) -> bool:
        """Whether it came, or is to come, after what was promised first; False where nothing was promised.

        What lies ready to be picked up has come. What is still to come is late when the day has passed, and as soon as
        a later one is told.
        """
        first = self.first_promised_at
        if first is None:
            return False
        came = next((step.at for step in self.steps if step.state in (READY, DELIVERED)), None)
        return (max(now, self.promised_at or now) if came is None else came) > first

    def is_overdue(self, now: int) -> bool:
        """Whether it was not delivered by what was promised first, wherever it is; False where nothing was promised."""
        promised, delivered = self.first_promised_at, self.delivered_at
        return promised is not None and (now if delivered is None else delivered) > promised

    def as_of(self, now: int) -> OrderLine | None:
        """The line as known at `now` (steps before it); None where it was not known yet."""
        if self.steps[-1].at < now:
            return self
        known = tuple(step for step in self.steps if step.at < now)
        if not known:
            return None
        return OrderLine(
            self.order_id, self.line, self.item_id, self.ordered_at, known, self.quantity, self.gift, self.subscription
        )


def named_after(step: Step, named: int | None) -> int | None:
    """What the carrier has named after a step: what it names, else as before, unless something later is promised."""
    if step.confirmed_for is not None:
        return step.confirmed_for
    return None if named is None or (step.promised_at is not None and step.promised_at > named) else named


def as_of(lines: Sequence[OrderLine], now: int) -> tuple[OrderLine, ...]:
    """Those of some lines that are known at `now`, in the order of ordering."""
    known = [line for each in lines if (line := each.as_of(now)) is not None]
    return tuple(sorted(known, key=lambda line: (line.ordered_at, line.order_id, line.line)))


def joined(one: Sequence[OrderLine], other: Sequence[OrderLine]) -> tuple[OrderLine, ...]:
    """Two reports of the same customer's lines: steps of one line are put together, equal ones once.

    The later report's words count for what has no history (quantity, gift, subscription).
    """
    found = {(line.order_id, line.line): line for line in one}
    for line in other:
        key = line.order_id, line.line
        before = found.get(key)
        steps = line.steps if before is None else _merged(before.steps, line.steps)
        ordered_at = line.ordered_at if before is None else min(before.ordered_at, line.ordered_at)
        found[key] = OrderLine(
            line.order_id, line.line, line.item_id, ordered_at, steps, line.quantity, line.gift, line.subscription
        )
    return tuple(found[key] for key in sorted(found))


def _merged(one: Sequence[Step], other: Sequence[Step]) -> tuple[Step, ...]:
    known = set(one)
    return tuple(sorted([*one, *(step for step in other if step not in known)], key=lambda step: step.at))
