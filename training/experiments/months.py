"""Calendar months where the shop is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from features.errors import ConfigError
from features.moments import day_start


@dataclass(frozen=True, slots=True)
class Month:
    """A calendar month where the shop is.

    Args:
        name: e.g. `2026-10`.
        start, end: microseconds, [start, end).
    """

    name: str
    start: int
    end: int


def month_of(text: str, zone_name: str) -> Month:
    """The month of that name in a time zone.

    Args:
        text: year and month.
        zone_name: IANA name.

    Raises:
        ConfigError: it is no month.

    >>> from features.moments import format_instant
    >>> month = month_of("1970-01", "Asia/Tokyo")
    >>> format_instant(month.start), format_instant(month.end)
    ('1969-12-31T15:00:00Z', '1970-01-31T15:00:00Z')
    """
    try:
        first = date.fromisoformat(f"{text.strip()}-01")
        following = date(first.year + first.month // 12, first.month % 12 + 1, 1)
    except ValueError:
        raise ConfigError("not a month", where="--month", got=text, hint="write e.g. 2026-10") from None
    return Month(f"{first:%Y-%m}", day_start(first, zone_name), day_start(following, zone_name))
