"""How figures are written in sentences."""

from __future__ import annotations

from features.moments import to_datetime


def number(value: float) -> str:
    """Thousands apart, decimals only where they say something.

    >>> number(1469307), number(2.5), number(3.0), number(0.125), number(1234.5)
    ('1,469,307', '2.5', '3', '0.125', '1,234')
    """
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def percent(part: float, whole: float) -> str:
    """A share, never rounded to nothing or to everything while it is neither.

    >>> percent(1, 3), percent(0, 5), percent(1, 100_000), percent(99_999, 100_000), percent(2, 2)
    ('33.3%', '0%', 'under 0.1%', 'over 99.9%', '100%')
    """
    value = 100 * share(part, whole)
    if 0 < value < 0.1:
        return "under 0.1%"
    if 99.9 < value < 100:
        return "over 99.9%"
    return f"{value:.1f}".removesuffix(".0") + "%"


def share(part: float, whole: float) -> float:
    """part / whole; nothing of nothing is nothing."""
    return part / whole if whole else 0.0


def day(instant: int) -> str:
    """The date of an instant, in UTC."""
    return to_datetime(instant).date().isoformat()


def count(n: float, one: str, many: str = "") -> str:
    """A number with its noun.

    >>> count(1, "event"), count(2, "event"), count(0, "delivery", "deliveries")
    ('1 event', '2 events', '0 deliveries')
    """
    return f"{number(n)} {one if n == 1 else many or one + 's'}"
