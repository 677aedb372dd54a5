"""The shop's clock: the machine's, or one set back to where a historical dataset ends.

A demo on purchases of 2017 would otherwise see every event as years old. The offset is kept beside the shop, so
that the clock goes on and never back when the service starts again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import orjson

from features.errors import ConfigError
from features.files import write_atomically
from features.moments import HOUR, SECOND
from features.shop import Shop

BRIDGED = HOUR
"""Of a machine's clock that is set back by more than this, somebody wants the other time."""


@dataclass(slots=True)
class Clock:
    """Instants of a shop, which do not go back when the machine's clock is set right.

    What happens later has a later moment, or a sign-out would stand before its sign-in. After a step back time goes
    on at half its pace until the machine's clock is there.

    Args:
        offset: microseconds that the shop's time differs from the machine's.
    """

    offset: int = 0
    _last: tuple[int, int] = field(default=(0, 0), init=False, repr=False, compare=False)
    """The latest instant that was told, and the nanosecond of the steady clock at which it was."""

    def now(self) -> int:
        """Microseconds since 1970 in the shop's time."""
        now, tick = time.time_ns() // 1000 + self.offset, time.monotonic_ns()
        last, since = self._last
        if last < now + BRIDGED:
            now = max(now, last + (tick - since) // 2_000)
        self._last = now, tick
        return now

    def not_before(self, instant: int | None) -> Clock:
        """The same clock, which goes on from an instant of an earlier run."""
        self._last = instant or 0, time.monotonic_ns()
        return self


_MACHINE = Clock()


def machine_time() -> float:
    """Seconds since 1970 by the machine's clock, as `Clock` tells them: what is over stays so when that is set back."""
    return _MACHINE.now() / SECOND


def shop_clock(shop: Shop) -> Clock:
    """The clock of a shop; the machine's where none was set.

    Raises:
        ConfigError: what was set cannot be read any more.
    """
    try:
        return Clock(int(orjson.loads(shop.clock.read_bytes())["offset_microseconds"]))
    except FileNotFoundError:
        return Clock()
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        hint = "put it back from a copy, or delete it: the shop goes by the machine's clock then, a demo sets it anew"
        raise ConfigError("the shop's clock is damaged", where=str(shop.clock), got=str(error), hint=hint) from None


def let_pass(shop: Shop, time_passed: int) -> Clock:
    """Let time pass in a shop that has a clock of its own: a demo lives weeks in minutes, and nothing is undone.

    Args:
        shop: whose clock goes on, for everybody.
        time_passed: microseconds, at least 0: a clock that goes back would put what happened into the future.

    Returns:
        The clock in force.

    Raises:
        ConfigError: the shop goes by the machine's clock, or time would go back.
    """
    if not shop.clock.exists():
        raise ConfigError("this shop goes by the machine's clock", where=str(shop.clock))
    if time_passed < 0:
        raise ConfigError("time does not go back", got=time_passed)
    offset = shop_clock(shop).offset + time_passed
    write_atomically(shop.clock, orjson.dumps({"offset_microseconds": offset}))
    return Clock(offset)


def set_clock(shop: Shop, now: int) -> Clock:
    """Let it be `now` in the shop; the time that passed since an earlier setting is kept.

    Returns:
        The clock in force.
    """
    if not shop.clock.exists():
        offset = now - time.time_ns() // 1000
        write_atomically(shop.clock, orjson.dumps({"offset_microseconds": offset}))
    return shop_clock(shop)
