"""Which windows are looked at, and what each is held against.

A window ends at the start of a day where the shop is, so that the same window comes again on the same day and can be
told. Its reference is the time before the moment as of which the serving bundle was trained: eight weeks of what it
learned from. A window that lies before that moment has the eight weeks before itself as its reference, as if a bundle
had been trained right before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from features.errors import ConfigError
from features.moments import DAY, day_start, format_instant, local_time, to_datetime, zone

REFERENCE_DAYS = 56
"""Eight whole weeks: each weekday comes eight times."""
MOST = 520
"""Windows at once, at most."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time and what it is held against; all ends are instants, half-open.

    Args:
        start, end: of the window; what was recorded after the end is not known.
        since, until: of the reference.
        bundle: whose training the reference is, empty where it is simply the time before the window.
        as_of: of that bundle, 0 without one.
    """

    start: int
    end: int
    since: int
    until: int
    bundle: str = ""
    as_of: int = 0

    @property
    def name(self) -> str:
        """For runs, e.g. `2026-10-05 to 2026-10-12`, in days of UTC."""
        return f"{to_datetime(self.start):%Y-%m-%d} to {to_datetime(self.end):%Y-%m-%d}"

    @property
    def key(self) -> str:
        """What makes it the same window again."""
        return f"{format_instant(self.start)}/{format_instant(self.end)}"

    @property
    def step(self) -> int:
        """Days of its end since 1970, by which the tracking UI orders windows."""
        return self.end // DAY

    @property
    def days(self) -> float:
        """Its length."""
        return (self.end - self.start) / DAY


@dataclass(frozen=True, slots=True)
class Asked:
    """Which windows.

    Args:
        until: instant; the last window ends at the start of its day.
        days: of each window.
        since: windows from there on; None: as many as `backfill` says.
        backfill: the last so many.
    """

    until: int
    days: int = 7
    since: int | None = None
    backfill: int = 1


def windows_of(asked: Asked, time_zone: str, bundle: tuple[str, int] | None) -> list[Window]:
    """The windows, oldest first.

    Args:
        asked: which.
        time_zone: of the shop.
        bundle: id and moment of the one that serves.

    Raises:
        ConfigError: no window fits between `since` and `until`, or there are too many.
    """
    last = local_date(asked.until, time_zone)
    count = asked.backfill if asked.since is None else _fitting(asked, last, time_zone)
    if count > MOST:
        raise ConfigError("too many windows", where="--since", got=count, hint=f"at most {MOST} at once")
    return [_window(last - timedelta(days=asked.days * back), asked.days, time_zone, bundle)
            for back in reversed(range(count))]  # fmt: skip


def _fitting(asked: Asked, last: date, time_zone: str) -> int:
    first = local_date(int(asked.since or 0), time_zone)
    count = (last - first).days // asked.days
    if count < 1:
        raise ConfigError(
            f"no window of {asked.days} days fits", where="--since", got=str(first),
            hint=f"the last one ends on {last}; give an earlier --since or a shorter --window-days",
        )  # fmt: skip
    return count


def _window(last: date, days: int, time_zone: str, bundle: tuple[str, int] | None) -> Window:
    start, end = (day_start(each, time_zone) for each in (last - timedelta(days=days), last))
    name, as_of = bundle if bundle is not None and bundle[1] <= start else ("", 0)
    until = local_date(as_of, time_zone) if name else last - timedelta(days=days)
    since = day_start(until - timedelta(days=REFERENCE_DAYS), time_zone)
    return Window(start, end, since, day_start(until, time_zone), name, as_of)


def local_date(instant: int, time_zone: str) -> date:
    """The calendar day of an instant where the shop is."""
    return date.fromordinal(local_time(instant, time_zone).day)


def weekdays(window: Window, time_zone: str) -> Sequence[int]:
    """ISO weekdays that the window has: a reference of other weekdays would differ by the rhythm of the week alone."""
    return sorted({day.isoweekday() for day in _days(window, time_zone)})


def _days(window: Window, time_zone: str) -> Iterator[date]:
    zone(time_zone)
    day, last = local_date(window.start, time_zone), local_date(window.end, time_zone)
    while day < last:
        yield day
        day += timedelta(days=1)
