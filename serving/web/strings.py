"""Words, prices and dates of the storefront, by locale: `words_en` and `words_ja` hold the tables.

Texts that belong to the shop (greetings, titles of modules, reasons) come with the page, already in its language;
here stand only the storefront's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from features.moments import parse_instant, to_datetime, zone
from serving.web.words_en import EN
from serving.web.words_ja import JA

TEXTS: Final[Mapping[str, Mapping[str, str]]] = {"en": EN, "ja": JA}

_CURRENCIES: Final = {"JPY": ("¥", 0), "USD": ("$", 2), "EUR": ("€", 2), "GBP": ("£", 2), "CNY": ("CN¥", 2)}


class Words:
    """The table of one locale: `words("basket.count", n=2)`.

    Args:
        locale: such as `ja` or `ja-JP`; one we have no words for gets English.
    """

    __slots__ = ("_table", "locale")

    def __init__(self, locale: str) -> None:
        language = locale.replace("_", "-").split("-")[0].lower()
        self.locale = language if language in TEXTS else "en"
        self._table = TEXTS[self.locale]

    def __contains__(self, key: str) -> bool:
        return key in self._table

    def __call__(self, key: str, /, **values: object) -> str:
        """The text of a key with its placeholders filled; a KeyError is a mistake of ours."""
        text = self._table[key]
        return text.format_map(values) if values else text


_WORDS: Final = {locale: Words(locale) for locale in TEXTS}


def words_of(locale: str) -> Words:
    """The (shared) words of a locale."""
    return _WORDS.get(locale) or _WORDS[Words(locale).locale]


def format_price(price: float | None, currency: str) -> str:
    """A price as the shop writes it; empty where it is not known.

    >>> format_price(1980, "JPY"), format_price(12.3, "USD"), format_price(4, "CHF"), format_price(None, "USD")
    ('¥1,980', '$12.30', 'CHF 4.00', '')
    """
    if price is None or not math.isfinite(price):
        return ""
    sign, digits = _CURRENCIES.get(currency, (f"{currency} ", 2))
    return f"{'-' if price < 0 else ''}{sign}{abs(price):,.{digits}f}"


def format_moment(moment: str | None) -> str:
    """An ISO 8601 moment in UTC, to the minute, for the operator.

    >>> format_moment("2017-12-01T00:00:00Z")
    '2017-12-01 00:00 UTC'
    """
    if not moment:
        return ""
    return f"{moment[:10]} {moment[11:16]} UTC" if moment[10:11] == "T" else moment


MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip


def format_day(moment: str, zone_name: str, locale: str) -> str:
    """The day of an ISO 8601 moment on a shop's calendar.

    >>> format_day("2017-12-03T23:30:00Z", "Asia/Tokyo", "ja"), format_day("2017-12-03T23:30:00Z", "UTC", "en")
    ('2017年12月4日', '3 December 2017')
    """
    day = to_datetime(parse_instant(moment)).astimezone(zone(zone_name))
    if locale == "ja":
        return f"{day.year}年{day.month}月{day.day}日"
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def format_minute(moment: str, zone_name: str, locale: str) -> str:
    """As `format_day`, with the time of day.

    >>> format_minute("2017-12-03T23:30:00Z", "UTC", "en")
    '3 December 2017, 23:30'
    """
    clock = to_datetime(parse_instant(moment)).astimezone(zone(zone_name))
    return f"{format_day(moment, zone_name, locale)}{' ' if locale == 'ja' else ', '}{clock:%H:%M}"
