"""An expected delivery in words, by the dates of the customer's own calendar, in English and Japanese.

One day is named only where the carrier has confirmed it: an interval that lies within one day is said with the next.
"""

from __future__ import annotations

from datetime import date, timedelta

from features.errors import ConfigError
from features.moments import to_datetime, zone
from serving.delivery import Expected

MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
          "November", "December")  # fmt: skip
LANGUAGES = ("en", "ja")


def in_words(expected: Expected, now: int, zone_name: str, language: str = "en") -> str:
    """When it comes, as a phrase.

    Args:
        expected: what was predicted.
        now: microseconds; a confirmed day that is over by then is not said any more.
        zone_name: IANA name of the customer's time zone.
        language: `en` or `ja`.

    Raises:
        ConfigError: an unknown language or time zone.
    """
    if language not in LANGUAGES:
        raise ConfigError("no such language", got=language, hint=" or ".join(LANGUAGES))
    today, start, end = (_date(at, zone_name) for at in (now, expected.earliest, expected.latest))
    day = None if expected.day is None else _date(expected.day, zone_name)
    if day is not None and day >= today:
        return confirmed(day, today, language)
    return between(start, max(end, start + timedelta(days=1)), today, language)


def confirmed(day: date, today: date, language: str) -> str:
    """The one day that the carrier has named.

    >>> confirmed(date(2026, 12, 5), date(2026, 12, 1), "en")
    'on 5 December, as the carrier confirmed'
    >>> confirmed(date(2026, 12, 5), date(2026, 12, 1), "ja")
    '12月5日（配送会社の確認済み）'
    """
    years = day.year != today.year
    if language == "ja":
        return f"{_japanese(day, years)}（配送会社の確認済み）"
    return f"on {_english(day, years)}, as the carrier confirmed"


def between(start: date, end: date, today: date, language: str) -> str:
    """Two days and all between; years are said where they are not this one.

    >>> between(date(2026, 12, 3), date(2026, 12, 9), date(2026, 12, 1), "en")
    'between 3 and 9 December'
    >>> between(date(2026, 11, 28), date(2026, 12, 3), date(2026, 11, 20), "ja")
    '11月28日〜12月3日ごろ'
    >>> between(date(2026, 12, 30), date(2027, 1, 2), date(2026, 12, 1), "en")
    'between 30 December 2026 and 2 January 2027'
    """
    years = {start.year, end.year} != {today.year}
    month = (start.year, start.month) == (end.year, end.month)
    if language == "ja":
        return f"{_japanese(start, years)}〜{f'{end.day}日' if month else _japanese(end, years)}ごろ"
    return f"between {start.day if month else _english(start, years)} and {_english(end, years)}"


def _date(at: int, zone_name: str) -> date:
    return to_datetime(at).astimezone(zone(zone_name)).date()


def _english(day: date, years: bool) -> str:
    return f"{day.day} {MONTHS[day.month - 1]}" + (f" {day.year}" if years else "")


def _japanese(day: date, years: bool) -> str:
    return (f"{day.year}年" if years else "") + f"{day.month}月{day.day}日"
