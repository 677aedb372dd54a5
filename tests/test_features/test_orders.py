"""Order lines: what is late, what is waited for."""

from __future__ import annotations

import pytest

from features.moments import DAY
from features.orders import OrderLine, Step

PROMISE = 10 * DAY


def line(*steps: tuple[float, str], promises: dict[float, float] | None = None) -> OrderLine:
    """Steps as (day, state), promises as day of telling -> day."""
    told = {0.0: 10.0} if promises is None else promises
    made = tuple(
        Step(int(day * DAY), state, promised_at=None if day not in told else int(told[day] * DAY))
        for day, state in steps
    )
    return OrderLine("o", "1", "a0", 0, made)


@pytest.mark.parametrize(
    ("steps", "promises", "day", "late"),
    [
        ([(0, "confirmed")], None, 9, False),
        ([(0, "confirmed")], None, 11, True),
        ([(0, "confirmed")], {}, 11, False),
        ([(0, "confirmed"), (9, "delivered")], None, 11, False),
        ([(0, "confirmed"), (11, "delivered")], None, 12, True),
        # It lies at the counter since before the promise: only the customer has not come.
        ([(0, "confirmed"), (9, "ready_for_pickup")], None, 13, False),
        ([(0, "confirmed"), (9, "ready_for_pickup"), (14, "delivered")], None, 15, False),
        ([(0, "confirmed"), (11, "ready_for_pickup")], None, 11.5, True),
        # The shop says beforehand that it will be later.
        ([(0, "confirmed"), (4, "in_production")], {0.0: 10.0, 4.0: 15.0}, 5, True),
        ([(0, "confirmed"), (4, "in_production")], {0.0: 10.0, 4.0: 9.0}, 5, False),
        ([(0, "confirmed"), (4, "in_production"), (8, "delivered")], {0.0: 10.0, 4.0: 15.0}, 9, False),
    ],
)
def test_what_is_late(steps, promises, day, late) -> None:
    assert line(*steps, promises=promises).is_late(int(day * DAY)) is late


def test_nobody_waits_for_ever() -> None:
    """Where a shop never tells of the delivery, a year without news is the end."""
    sent = line((0, "confirmed"), (3, "shipped"))
    assert sent.is_awaited(3 * DAY + 365 * DAY)
    assert not sent.is_awaited(3 * DAY + 365 * DAY + 1)
    assert not line((0, "confirmed"), (3, "lost")).is_awaited(4 * DAY)


def test_a_later_promise_takes_back_what_the_carrier_named() -> None:
    named = Step(2 * DAY, "shipped", confirmed_for=5 * DAY)
    first = Step(0, "confirmed", promised_at=9 * DAY)
    later, again = Step(3 * DAY, "", promised_at=12 * DAY), Step(4 * DAY, "", confirmed_for=11 * DAY)
    made = [OrderLine("o", "1", "a0", 0, (first, named, later, again)[:count]) for count in range(1, 5)]
    assert [each.confirmed_for for each in made] == [None, 5 * DAY, None, 11 * DAY]
