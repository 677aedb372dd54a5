"""When something may be shown or sent: conditions of a subject, a moment and a place, all of which must hold."""

from __future__ import annotations

from datetime import date, time
from typing import Annotated, Literal

import msgspec

from serving.strict import Strict

StageName = Literal["awareness", "consideration", "purchase", "waiting", "use", "repeat", "lapsed"]
SeasonName = Literal["winter", "spring", "summer", "autumn"]
Words = tuple[str, ...]


class Hours(Strict, frozen=True):
    """A span of local time; it may pass midnight."""

    from_: time = msgspec.field(name="from")
    until: time


class Received(Strict, frozen=True):
    """Something that was delivered so many days ago.

    Args:
        categories: beginnings of category paths; empty: anything.
        after_days, before_days: days since the delivery, `after_days <= days < before_days`.
        on_time: whether it came by the day that was promised first; None: either way.
    """

    categories: Words = ()
    after_days: float = 0.0
    before_days: float = 36_500.0
    on_time: bool | None = None


class When(Strict, frozen=True, omit_defaults=True):
    """`when = {...}`: what is not named does not matter; of the values of one key any one will do.

    Args:
        stages: of the journey.
        regions, sources, campaigns, devices: of the request.
        seasons, months, weekdays, hours: of the subject's local time; weekdays from Monday 0.
        from_, until: days in the shop's time zone, the second one excluded. Written `from`.
        known: whether a customer is known, or only a visitor.
        segments: names of `[segments.<name>]`; `not_segments` may not hold.
        tiers: of the loyalty programme.
        answers: question -> answers.
        unanswered: questions that no answer is known of.
        projects: kinds of a project that is going on.
        looking_at: beginnings of the category path of the page, or of what was looked at in this session.
        wished, bought, awaiting: beginnings of category paths of open wishes, of what was bought, and of what is on
            its way.
        not_bought: none of these was.
        received: something was delivered so many days ago.
        late: whether something that is on its way is late.
        orders: least and most number of orders so far.
        unusual: whether the hour and the device are unusual for what is looked at.
        if_: a condition in words, such as `tier == "gold" and orders > 2`. Written `if`.
    """

    stages: tuple[StageName, ...] = ()
    regions: Words = ()
    sources: Words = ()
    campaigns: Words = ()
    devices: Words = ()
    seasons: tuple[SeasonName, ...] = ()
    months: tuple[Annotated[int, msgspec.Meta(ge=1, le=12)], ...] = ()
    weekdays: tuple[Annotated[int, msgspec.Meta(ge=0, le=6)], ...] = ()
    hours: Hours | None = None
    from_: date | None = msgspec.field(name="from", default=None)
    until: date | None = None
    known: bool | None = None
    segments: Words = ()
    not_segments: Words = ()
    tiers: Words = ()
    answers: dict[str, Words] = msgspec.field(default_factory=dict)
    unanswered: Words = ()
    projects: Words = ()
    looking_at: Words = ()
    wished: Words = ()
    bought: Words = ()
    not_bought: Words = ()
    awaiting: Words = ()
    received: Received | None = None
    late: bool | None = None
    orders: tuple[int, int] | None = None
    unusual: bool | None = None
    if_: str | None = msgspec.field(name="if", default=None)


ALWAYS = When()
