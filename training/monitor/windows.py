"""Which windows are looked at, and what each is held against.

Windows lie on the shop's own calendar, whole days or whole weeks from Monday, so that a window comes again wherever it
is asked for and can be told. Its reference is the time before the moment as of which a bundle was trained: eight weeks
of what that bundle learned from. Of the bundles that knew nothing of the window it is the one that serves, else the
latest; where there is none, the eight weeks before the window, as if one had been trained right before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum

from features.errors import ConfigError
from features.moments import DAY, day_start, format_instant, local_time

REFERENCE_DAYS = 56
"""Eight whole weeks: each weekday comes eight times."""
MOST = 520
"""Windows at once, at most."""


class Length(Enum):
    """Of a window, in days."""

    DAY = 1
    WEEK = 7


@dataclass(frozen=True, slots=True)
class Trained:
    """A bundle of the shop.

    Args:
        name: its id.
        as_of: the instant up to which it has seen events.
        live: whether it serves.
    """

    name: str
    as_of: int
    live: bool = False


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time and what it is held against; all ends are instants, half-open.

    Args:
        first, last: its calendar days; `last` no more belongs to it.
        start, end: the same as instants; what was recorded after the end is not known.
        since, until: of the reference.
        bundle: whose training the reference is; None where it is simply the time before the window.
        serving: the bundle that served at its end, as far as it is still there.
    """

    first: date
    last: date
    start: int
    end: int
    since: int
    until: int
    bundle: Trained | None = None
    serving: Trained | None = None

    @property
    def name(self) -> str:
        """For people: its first and last day, e.g. `2026-10-05 to 2026-10-11`."""
        through = self.last - timedelta(days=1)
        return str(self.first) if through == self.first else f"{self.first} to {through}"

    @property
    def key(self) -> str:
        """What makes it the same window again."""
        return f"{format_instant(self.start)}/{format_instant(self.end)}"

    @property
    def step(self) -> int:
        """Days from 1970 to its end, by which windows are in order."""
        return (self.last - date(1970, 1, 1)).days

    @property
    def weekdays(self) -> list[int]:
        """ISO weekdays that it has: a reference of other weekdays would differ by the rhythm of the week alone."""
        days = ((self.first + timedelta(days=at)).isoweekday() for at in range((self.last - self.first).days))
        return sorted(set(days))


@dataclass(frozen=True, slots=True)
class Asked:
    """Which windows.

    Args:
        until: instant; windows end at the start of its day at the latest.
        length: of each.
        since: instant; all windows that begin at it or later. None: the last one alone.
    """

    until: int
    length: Length = Length.WEEK
    since: int | None = None


def windows_of(asked: Asked, time_zone: str, bundles: Sequence[Trained] = ()) -> list[Window]:
    """The windows, oldest first.

    Args:
        asked: which.
        time_zone: of the shop.
        bundles: that can serve.

    Raises:
        ConfigError: no whole window lies between `since` and `until`, or too many do.
    """
    days = asked.length.value
    last = _begun(local_date(asked.until, time_zone), days)
    count = 1 if asked.since is None else _count(asked.since, last, days, time_zone)
    ends = [last - timedelta(days=days * back) for back in reversed(range(count))]
    return [_window(end - timedelta(days=days), end, time_zone, bundles) for end in ends]


def _count(since: int, last: date, days: int, time_zone: str) -> int:
    """How many whole windows end at `last` and begin at `since` or later.

    Raises:
        ConfigError: none, or too many.
    """
    first = local_date(since, time_zone)
    if day_start(first, time_zone) < since:
        first += timedelta(days=1)
    count = (last - first).days // days
    if count < 1:
        hint = f"the last one begins on {last - timedelta(days=days)}; give an earlier --since or a later --until"
        raise ConfigError("no whole window lies in this time", where="--since", got=format_instant(since), hint=hint)
    if count > MOST:
        raise ConfigError("too many windows", where="--since", got=count, hint=f"at most {MOST} at once")
    return count


def _begun(day: date, days: int) -> date:
    """The start of the calendar's window in which a day lies."""
    return day if days == 1 else day - timedelta(days=day.weekday())


def _window(first: date, last: date, time_zone: str, bundles: Sequence[Trained]) -> Window:
    start, end = day_start(first, time_zone), day_start(last, time_zone)
    bundle = serving_then(bundles, start)
    until = first if bundle is None else local_date(bundle.as_of, time_zone)
    since = until - timedelta(days=REFERENCE_DAYS)
    return Window(first, last, start, end, day_start(since, time_zone), day_start(until, time_zone), bundle,
                  serving_then(bundles, end))  # fmt: skip


def serving_then(bundles: Sequence[Trained], moment: int) -> Trained | None:
    """Of the bundles that know nothing of what came after a moment, the one that serves, else the latest."""
    able = [each for each in bundles if each.as_of <= moment]
    return max(able, key=lambda each: (each.live, each.as_of, each.name), default=None)


def local_date(instant: int, time_zone: str) -> date:
    """The calendar day of an instant where the shop is."""
    return date.fromordinal(local_time(instant, time_zone).day)


def days_between(earlier: int, later: int) -> float:
    """Days from one instant to another."""
    return (later - earlier) / DAY
