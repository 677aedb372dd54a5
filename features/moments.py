"""Moments: instants in UTC, and the one place where they become somebody's local time.

An instant is an `int` (or int64 array) of microseconds since 1970-01-01T00:00Z. Windows are half-open,
`[start, end)`. Nothing in this package reads the clock: moments are arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt

from features.errors import ConfigError, DataError

Instants = npt.NDArray[np.int64]

MICROSECOND = 1
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SEASONS = ("winter", "spring", "summer", "autumn")


def to_instant(moment: datetime) -> int:
    """Microseconds since the epoch of an aware datetime.

    >>> to_instant(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    1000000
    """
    if moment.tzinfo is None:
        raise DataError("a time without a zone", got=moment.isoformat(), hint="write e.g. 2017-12-01T00:00Z")
    return (moment - _EPOCH) // timedelta(microseconds=1)


def to_datetime(instant: int) -> datetime:
    """The aware UTC datetime of an instant."""
    return _EPOCH + timedelta(microseconds=int(instant))


def parse_instant(text: str, *, where: str = "") -> int:
    """Read ISO 8601 with a zone; a bare date is midnight UTC.

    >>> parse_instant("1970-01-02")
    86400000000
    >>> parse_instant("1970-01-01T09:00:00+09:00")
    0
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        hint = "write ISO 8601 with a zone, e.g. 2017-12-01T00:00Z"
        raise DataError("not a time", where=where, got=text, hint=hint) from None
    if moment.tzinfo is None:
        if len(text.strip()) > len("2017-12-01"):
            raise DataError("a time without a zone", where=where, got=text, hint="add Z or an offset such as +09:00")
        moment = moment.replace(tzinfo=UTC)
    try:
        return to_instant(moment.astimezone(UTC))
    except OverflowError:
        raise DataError("a time outside the calendar", where=where, got=text) from None


def format_instant(instant: int) -> str:
    """ISO 8601 in UTC, to the microsecond only where there are any.

    >>> format_instant(86400000000)
    '1970-01-02T00:00:00Z'
    """
    return to_datetime(instant).isoformat().replace("+00:00", "Z")


@lru_cache(maxsize=512)
def zone(name: str) -> ZoneInfo:
    """The time zone of that IANA name.

    Raises:
        ConfigError: there is no such zone.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError("unknown time zone", got=name, hint="use an IANA name such as Asia/Tokyo") from None


def is_zone(name: str) -> bool:
    """Whether there is a time zone of that name."""
    try:
        zone(name)
    except ConfigError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class LocalTime:
    """A moment as the subject's wall clock and calendar show it."""

    hour: int
    weekday: int
    """0 is Monday."""
    month: int
    season: str
    day_start: int
    """The instant at which the local day began."""
    day_end: int
    """The instant at which the next local day begins (23 to 25 hours later)."""
    minute: int
    """Of the hour."""
    day: int
    """The local calendar day, counted from 0001-01-01 (`date.toordinal`)."""


def local_time(instant: int, zone_name: str, *, southern: bool = False) -> LocalTime:
    """Hour, weekday, season and day boundaries of an instant in a zone.

    The only function that turns instants into local time, with `local_columns` for many of them; quiet hours, contexts
    and day boundaries all come through here, so that clock changes are right (or wrong) in one place.
    """
    return _local_second(int(instant) // SECOND, zone_name, southern)


@lru_cache(maxsize=512)
def _local_second(second: int, zone_name: str, southern: bool) -> LocalTime:
    """`local_time` of a second, remembered: all requests of it want the same one or two zones."""
    tz = zone(zone_name)
    local = to_datetime(second * SECOND).astimezone(tz)
    midnight = datetime(local.year, local.month, local.day, tzinfo=tz)
    next_day = midnight + timedelta(days=1)  # wall-clock arithmetic: the next local midnight, DST or not
    return LocalTime(
        hour=local.hour,
        weekday=local.weekday(),
        month=local.month,
        season=season_of(local.month, southern=southern),
        day_start=to_instant(midnight),
        day_end=to_instant(next_day),
        minute=local.minute,
        day=local.toordinal(),
    )


def local_columns(instants: Instants, zone_name: str) -> tuple[Instants, Instants, Instants]:
    """Hour, weekday and month of many instants in a zone, as `local_time` has them.

    Args:
        instants: int64[n], microseconds.
        zone_name: IANA name.

    Returns:
        int64[n] each: hour from 0, weekday from Monday (0), month from 1.
    """
    quarter = 15 * MINUTE  # clocks change, and zones differ, by whole quarters of an hour
    days, day = np.unique(instants // DAY, return_inverse=True)
    begin, end = _offsets(days * DAY, zone_name), _offsets((days + 1) * DAY, zone_name)
    offset = begin[day]
    changing = np.flatnonzero((begin != end)[day])
    starts, where = np.unique(instants[changing] // quarter * quarter, return_inverse=True)
    offset[changing] = _offsets(starts, zone_name)[where]
    local = instants + offset
    month = local.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64) % 12 + 1
    return local // HOUR % 24, (local // DAY + 3) % 7, month


def _offsets(instants: Instants, zone_name: str) -> Instants:
    """int64[n]: what a zone's clock is ahead of UTC, microseconds."""
    tz = zone(zone_name)
    ahead = [to_datetime(each).astimezone(tz).utcoffset() for each in instants.tolist()]
    return np.array([(each or timedelta()) // timedelta(microseconds=1) for each in ahead], np.int64)


def day_start(day: date, zone_name: str) -> int:
    """The instant at which a calendar day begins in a zone.

    >>> day_start(date(1970, 1, 2), "Asia/Tokyo") == 15 * HOUR
    True
    """
    return to_instant(datetime.combine(day, time(), tzinfo=zone(zone_name)))


def season_of(month: int, *, southern: bool = False) -> str:
    """Meteorological season of a month (December begins the northern winter).

    >>> season_of(12), season_of(12, southern=True)
    ('winter', 'summer')
    """
    return SEASONS[(month % 12 // 3 + (2 if southern else 0)) % 4]


CALENDAR = parse_instant("1900-01-01"), parse_instant("2200-01-01")
"""What a shop tells lies between these instants; further off, wall clocks and days to come cannot be reckoned."""
