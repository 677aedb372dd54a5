"""Who may get something now: the first condition that does not hold, in words."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, time

from features.moments import DAY, day_start
from features.orders import OrderLine
from serving.conditions import holds
from serving.settings.actions import Action
from serving.settings.when import ALWAYS, Hours, Received, When
from serving.situation import Situation
from serving.texts import plain


def why_not(when: When, now: Situation) -> str | None:
    """The first condition that does not hold; None where all do.

    Args:
        when: the conditions.
        now: what is true.
    """
    if when is ALWAYS:
        return None
    checks = (_dated, _placed, _timed, _told, _at_stage, _owned, _written)
    return next((why for check in checks if (why := check(when, now)) is not None), None)


def segments_of(now: Situation) -> frozenset[str]:
    """Names of the shop's segments that hold."""
    if now.segments is None:
        held = (name for name, when in now.live.config.segments.items() if why_not(when, now) is None)
        now.segments = frozenset(held)
    return now.segments


def why_no_action(action: Action, now: Situation) -> str | None:
    """Why an action may not be shown to a subject now; None where it may. Caps and words are looked at elsewhere."""
    if not _within(action.from_, action.until, now.live.config.shop.time_zone, now.query.now):
        return "not at this time"
    return why_silent(action, now) or why_not(action.when, now)


def why_silent(action: Action, now: Situation) -> str | None:
    """What keeps even a promised action from being shown now: no consent, or it would sell at the wrong time."""
    if action.purpose is not None and not now.query.consents.to(action.purpose):
        return f"no consent to {action.purpose}"
    if action.sells and now.returned_lately:
        return "something was sent back: no selling"
    if action.sells and now.lost_lately:
        return "something got lost on its way: no selling"
    return "a delivery is late: no selling" if action.sells and now.late else None


def _within(start: date | None, end: date | None, zone: str, now: int) -> bool:
    begun = start is None or now >= day_start(start, zone)
    return begun and (end is None or now < day_start(end, zone))


def _dated(when: When, now: Situation) -> str | None:
    if when.from_ is None and when.until is None:
        return None
    inside = _within(when.from_, when.until, now.live.config.shop.time_zone, now.query.now)
    return None if inside else "not at this time"


def _placed(when: When, now: Situation) -> str | None:
    context = now.query.context
    for allowed, found, what in (
        (when.regions, now.region, "region"),
        (when.sources, context.traffic_source, "source"),
        (when.campaigns, context.campaign, "campaign"),
        (when.devices, context.device, "device"),
    ):
        if allowed and found not in allowed:
            return f"{what} is {plain(found or 'unknown')}"
    return None


def _timed(when: When, now: Situation) -> str | None:
    if when.seasons and now.local.season not in when.seasons:
        return f"it is {now.local.season}"
    if when.months and now.local.month not in when.months:
        return f"it is month {now.local.month}"
    if when.weekdays and now.local.weekday not in when.weekdays:
        return f"it is weekday {now.local.weekday}"
    if when.unusual is not None and when.unusual != now.unusual:
        return "the moment is not unusual" if when.unusual else "the moment is unusual"
    if when.hours is not None and not in_hours(when.hours, now.minute):
        return f"it is {now.minute // 60:02}:{now.minute % 60:02} there"
    return None


def in_hours(hours: Hours, minute: int) -> bool:
    """Whether a minute of the local day lies in a span, which may pass midnight; an empty span holds none."""
    start, end = (_minute(each) for each in (hours.from_, hours.until))
    return start <= minute < end if start <= end else minute >= start or minute < end


def _minute(at: time) -> int:
    return at.hour * 60 + at.minute


def _told(when: When, now: Situation) -> str | None:
    if when.known is not None and when.known != (now.query.user_id is not None):
        return "customers only" if when.known else "visitors only"
    if when.tiers and now.tier not in when.tiers:
        return f"tier is {plain(now.tier or 'unknown')}"
    for question, values in when.answers.items():
        if now.answers.get(question) not in values:
            return f"the answer to {question} is {plain(now.answers.get(question, 'unknown'))}"
    for question in when.unanswered:
        if question in now.answers:
            return f"{question} is answered"
    return None


def _at_stage(when: When, now: Situation) -> str | None:
    if when.stages and now.stage.name not in when.stages:
        return f"stage is {now.stage.name}"
    if when.projects and not {project.kind for project in now.projects} & set(when.projects):
        return "no such project is going on"
    if when.segments and not segments_of(now) & set(when.segments):
        return f"not in {' or '.join(when.segments)}"
    for name in when.not_segments:
        if name in segments_of(now):
            return f"in {name}"
    if when.orders is not None and not when.orders[0] <= now.orders <= when.orders[1]:
        return f"{now.orders} orders so far"
    return None


def _owned(when: When, now: Situation) -> str | None:
    for paths, found, what in (
        (when.looking_at, "looking_at", "looks at"),
        (when.wished, "wished", "wishes"),
        (when.bought, "bought", "has bought"),
        (when.awaiting, "awaiting", "awaits"),
    ):
        if paths and not now.codes_under(paths) & getattr(now, found):
            return f"{what} nothing of {' or '.join(paths)}"
    if when.not_bought and now.codes_under(when.not_bought) & now.bought:
        return f"has bought something of {' or '.join(when.not_bought)}"
    if when.late is not None and when.late != now.late:
        return "nothing is late" if when.late else "a delivery is late"
    if when.received is not None and _received(when.received, now) is None:
        return "nothing of this kind was delivered so many days ago"
    return None


def _written(when: When, now: Situation) -> str | None:
    if when.if_ is None or holds(when.if_, now, segments_of):
        return None
    return f"it does not hold that {when.if_}"


def order_meant(whens: Iterable[When], now: Situation) -> OrderLine | None:
    """The order line that something is about: the latest that meets its conditions on orders.

    Args:
        whens: the conditions of an action and of its words.
        now: what is true.

    Returns:
        Where they name no order, or each of them another one, the latest that is on its way; None where none is.
    """
    wanted = list(whens)
    for when in wanted:
        if when.received is not None:
            return _received(when.received, now)
    return next((line for line in now.awaited if all(_meets(when, line, now) for when in wanted)), None) or next(
        iter(now.awaited), None
    )


def _meets(when: When, line: OrderLine, now: Situation) -> bool:
    """Whether an order line on its way is what conditions speak of."""
    if when.late and not line.is_late(now.query.now):
        return False
    return not when.awaiting or bool(now.codes_under(when.awaiting) & now.codes_of([now.row_of(line.item_id)]))


def _received(wanted: Received, now: Situation) -> OrderLine | None:
    """The latest order line that was delivered as wanted."""
    codes = now.codes_under(wanted.categories) if wanted.categories else None
    for line in reversed(now.lines):
        at = line.delivered_at
        if at is None or line.state != "delivered":
            continue
        days = (now.query.now - at) / DAY
        fits = wanted.after_days <= days < wanted.before_days
        timely = wanted.on_time is None or wanted.on_time != line.is_late(now.query.now)
        if fits and timely and (codes is None or now.codes_of([now.row_of(line.item_id)]) & codes):
            return line
    return None
