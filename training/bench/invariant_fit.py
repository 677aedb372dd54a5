"""Whom a condition of `shop.toml` is for, derived a second time: from the file's words and the driver's true state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from zoneinfo import ZoneInfo

from serving.config import ShopConfig
from serving.settings.actions import Action
from serving.settings.when import Received, When
from training.bench.invariant_facts import DAY, Facts, under
from training.bench.invariant_house import path_of

SELLING = ("offer", "exclusive", "early_access")
WORDS: Mapping[str, Callable[[Facts], bool]] = {
    'orders >= 1 and tier != "gold"': lambda facts: facts.orders >= 1 and (facts.who.tier or "") != "gold",
}
"""Conditions in words of the bench's file, in Python."""


def fits(when: When, facts: Facts, config: ShopConfig) -> bool:
    """Whether all that a condition names is true.

    Raises:
        NotImplementedError: a condition in words that nobody derived a second time.
    """
    if when.if_ is not None and when.if_ not in WORDS:
        raise NotImplementedError(f"a condition in words: {when.if_}")
    written = when.if_ is None or WORDS[when.if_](facts)
    return written and _moment(when, facts) and _told(when, facts, config) and _things(when, facts)


def action_fits(action: Action, facts: Facts, config: ShopConfig) -> bool:
    """Whether an action's days, its condition and, of a question, the question's own condition hold."""
    if not _dated(action.from_, action.until, facts) or not fits(action.when, facts, config):
        return False
    if action.kind == "status":
        return bool(facts.open_lines)
    if action.question is None:
        return True
    question = config.questions[action.question]
    start = facts.session_start  # a question on the screen stays there while the session runs
    on_screen = int(str(facts.who.shown.now.get(action.question, start - 1))) >= start
    return fits(question.when, facts, config) and (question.unusual is None or facts.unusual or on_screen)


def promised(name: str, action: Action, facts: Facts) -> bool:
    """Whether an offer was shown so lately that it is kept: for its days, or until something is bought."""
    span = int(action.promise_days * DAY)
    begun = None
    for at in sorted(each.at for each in facts.who.showings if each.action == name and not each.failed):
        if begun is None or at >= begun + span:
            begun = at
    if not span or begun is None or facts.now >= begun + span:
        return False
    bought = [each.at for each in facts.who.events if each.type == "purchase"]
    return not any(at > begun for at in (*bought, *(line.ordered_at for line in facts.who.lines)))


def _dated(begins: date | None, ends: date | None, facts: Facts) -> bool:
    zone = ZoneInfo(facts.shop_zone)

    def start(day: date) -> float:
        return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1e6

    return (begins is None or facts.now >= start(begins)) and (ends is None or facts.now < start(ends))


def _moment(when: When, facts: Facts) -> bool:
    local, context = facts.local, facts.context
    named = (
        (when.regions, facts.region), (when.sources, context.traffic_source), (when.campaigns, context.campaign),
        (when.devices, context.device), (when.seasons, facts.season), (when.months, local.month),
        (when.weekdays, local.weekday()),
    )  # fmt: skip
    if any(allowed and found not in allowed for allowed, found in named):
        return False
    if when.hours is not None:
        minute, begin, end = local.time().replace(second=0, microsecond=0), when.hours.from_, when.hours.until
        inside = begin <= minute < end if begin <= end else not end <= minute < begin
        if not inside:
            return False
    return when.unusual in (None, facts.unusual) and _dated(when.from_, when.until, facts)


def _told(when: When, facts: Facts, config: ShopConfig) -> bool:
    answers: Mapping[str, object] = facts.who.answers.now
    if when.known is not None and when.known != facts.who.known:
        return False
    if when.tiers and facts.who.tier not in when.tiers:
        return False
    if any(answers.get(question) not in values for question, values in when.answers.items()):
        return False
    if any(question in answers for question in when.unanswered):
        return False
    if when.stages and facts.stage not in when.stages:
        return False
    if when.projects and not facts.project:
        return False
    inside = [name for name in (*when.segments, *when.not_segments) if fits(config.segments[name], facts, config)]
    if when.segments and not set(inside) & set(when.segments):
        return False
    return not set(inside) & set(when.not_segments)


def _things(when: When, facts: Facts) -> bool:
    if when.orders is not None and not when.orders[0] <= facts.orders <= when.orders[1]:
        return False
    awaiting = {path_of(line.item) for line in facts.open_lines}
    for paths, found in ((when.wished, facts.wished), (when.bought, facts.bought), (when.awaiting, awaiting)):
        if paths and not any(under(paths, path) for path in found):
            return False
    # The page's own category may be a beginning itself: then all that begins with it is looked at.
    if when.looking_at and not any(
        under(when.looking_at, path) or any(each.startswith(path) for each in when.looking_at)
        for path in facts.looking_at
    ):
        return False
    if when.not_bought and any(under(when.not_bought, path) for path in facts.bought):
        return False
    if when.late is not None and when.late != facts.late:
        return False
    return when.received is None or _received(when.received, facts)


def _received(wanted: Received, facts: Facts) -> bool:
    for line in facts.who.lines:
        came = line.delivered_at
        if came is None or line.state != "delivered":
            continue
        timely = wanted.on_time is None or wanted.on_time != line.late(facts.now)
        ours = not wanted.categories or under(wanted.categories, path_of(line.item))
        if timely and ours and wanted.after_days <= (facts.now - came) / DAY < wanted.before_days:
            return True
    return False
