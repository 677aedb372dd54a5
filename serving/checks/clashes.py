"""Conditions that can never hold together: nothing is shown under them, and no error says so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date

from features.moments import season_of
from serving.config import ShopConfig
from serving.eligibility import in_hours
from serving.settings.when import When

_SETS = ("stages", "regions", "sources", "campaigns", "devices", "seasons", "months", "weekdays", "tiers")
_FLAGS = ("known", "late", "unusual")
ORDERED = {"waiting": 1, "use": 1, "lapsed": 1, "repeat": 2}
"""Stage -> orders that somebody in it has made at least (`features.journey`)."""
DAY_MINUTES = 24 * 60


def clash(config: ShopConfig, *whens: When) -> str | None:
    """Why some conditions can never hold together; None where they can.

    A condition that names one segment brings that segment's conditions.

    Args:
        config: the shop's file.
        whens: all of which would have to hold.
    """
    named = [config.segments[each.segments[0]] for each in whens if len(each.segments) == 1]
    whens = (*whens, *named)
    checks = (_alone, _sets, _flags, _answers, _numbers, _owned)
    found = (why for check in checks for why in check(whens))
    return next(found, None) or _season(config, whens)


def dated(from_: date | None, until: date | None) -> When:
    """The days of an action as a condition."""
    return When(from_=from_, until=until)


def ended(today: date, *whens: When) -> date | None:
    """The day at whose beginning the first of some conditions ended for good; None where none has."""
    over = [each.until for each in whens if each.until is not None and each.until <= today]
    return min(over, default=None)


def unlikely(when: When) -> str | None:
    """What a condition asks for that hardly anybody can fulfil; None where there is nothing of the kind."""
    if when.known is False and when.orders is not None and when.orders[0] > 0:
        return "visitors with orders are only guests whose orders name the visitor"
    return None


def _alone(whens: Sequence[When]) -> Iterator[str]:
    for when in whens:
        if when.hours is not None and when.hours.from_ == when.hours.until:
            yield "its hours begin and end at once, so they hold no minute"
        if when.orders is not None and when.orders[0] > when.orders[1]:
            yield f"orders from {when.orders[0]} to {when.orders[1]} are none"
        if when.received is not None and when.received.after_days >= when.received.before_days:
            yield "nothing is received after more days than before"
        yield from (f"no answer to {name} is named" for name, values in when.answers.items() if not values)
        if when.segments and set(when.segments) <= set(when.not_segments):
            yield f"it wants {', '.join(when.segments)} and not {', '.join(when.segments)}"


def _sets(whens: Sequence[When]) -> Iterator[str]:
    for name in _SETS:
        wanted = [set(getattr(when, name)) for when in whens if getattr(when, name)]
        if wanted and not set.intersection(*wanted):
            yield f"{name} that have nothing in common: {' and '.join(_told(each) for each in wanted)}"


def _flags(whens: Sequence[When]) -> Iterator[str]:
    for name in _FLAGS:
        if {True, False} <= {getattr(when, name) for when in whens}:
            yield f"{name} is wanted and not wanted"
    if any(when.known is False for when in whens) and any(when.tiers for when in whens):
        yield "visitors (known = false) have no tier"


def _answers(whens: Sequence[When]) -> Iterator[str]:
    asked = {name for when in whens for name in when.answers}
    for name in sorted(asked):
        if any(name in when.unanswered for when in whens):
            yield f"{name} is to be answered and unanswered"
        wanted = [set(when.answers[name]) for when in whens if name in when.answers]
        if not set.intersection(*wanted):
            yield f"answers to {name} that have nothing in common"


def _numbers(whens: Sequence[When]) -> Iterator[str]:
    orders = [when.orders for when in whens if when.orders is not None]
    least, most = max((low for low, _ in orders), default=0), min((high for _, high in orders), default=1 << 30)
    if orders and least > most:
        yield f"at least {least} and at most {most} orders"
    stages = [set(when.stages) for when in whens if when.stages]
    left = set.intersection(*stages) if stages else set()
    if left and all(ORDERED.get(stage, 0) > most for stage in left):
        yield f"at stage {_told(left)} somebody has ordered, and at most {most} orders are wanted"
    start = max((when.from_ for when in whens if when.from_), default=None)
    end = min((when.until for when in whens if when.until), default=None)
    if start and end and start >= end:
        yield f"days that begin on {start} and end before {end}"
    spans = [when.hours for when in whens if when.hours is not None]
    if spans and not any(all(in_hours(span, minute) for span in spans) for minute in range(DAY_MINUTES)):
        yield "hours that have no minute in common"


def _owned(whens: Sequence[When]) -> Iterator[str]:
    barred = tuple(path for when in whens for path in when.not_bought)
    for when in whens:
        if barred and when.bought and all(path.startswith(barred) for path in when.bought):
            yield f"{', '.join(when.bought)} is to be bought and not bought"


def _season(config: ShopConfig, whens: Sequence[When]) -> str | None:
    seasons = [set(when.seasons) for when in whens if when.seasons]
    months = [set(when.months) for when in whens if when.months]
    if not seasons or not months:
        return None
    southern = config.shop.southern
    fits = {month for month in set.intersection(*months) if season_of(month, southern=southern) in seasons[0]}
    return None if fits else f"in month {_told(months[0])} it is never {_told(seasons[0])}"


def _told(values: Iterable[object]) -> str:
    return " or ".join(map(str, sorted(values, key=str)))
