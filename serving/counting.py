"""The limits of a request: what of a page or a channel is counted, and what stands against it."""

from __future__ import annotations

from collections.abc import Mapping

from features.errors import Unavailable
from serving.caps import Counts, Limits, Tally, limits_of
from serving.engine import Engine
from serving.held import holder_of
from serving.query import Query
from serving.settings.channels import SCREENS, Channel
from serving.settings.pages import Page
from serving.situation import Situation
from serving.timing import HOLD, lead_of, sequences_of


def counts_of(engine: Engine, now: Situation, layout: Page) -> Counts | None:
    """The limits of what a page names; None, and nothing is read, where nothing of it is limited."""
    declared = now.live.config.actions
    limited = {name: declared[name] for slot in layout.slots for name in slot.modules
               if name in declared and declared[name].limited}  # fmt: skip
    if not limited:
        return None
    query = now.query
    limits = {name: (limits_of(action, now.zone),) for name, action in limited.items()}
    return counted(engine, query, limits)


def counted(engine: Engine, query: Query, limits: Mapping[str, tuple[Limits, ...]], hold: int | None = None) -> Counts:
    """Limits beside what stands against them; while that cannot be read, nothing limited is shown.

    Args:
        engine, query: of the request.
        limits: action -> its limits, its own first.
        hold: of a message: microseconds for which its reservation counts.
    """
    subject = holder_of(query.user_id, query.visitor_id)
    finite = [name for name, (own, *_) in limits.items() if own.finite]
    try:
        tally, closed = engine.store.tally_of(subject, finite, query.now), False
    except Unavailable:
        tally, closed = Tally(), True
    tally = tally.as_of(query.now) if engine.preview else tally
    return Counts(limits, tally, query.surface, query.session_id, query.now, subject is not None, hold, closed)


def counts_on(engine: Engine, name: str, channel: Channel, now: Situation) -> Counts:
    """The limits of a channel's actions: every message counts; on a screen what is limited or a step of a sequence."""
    config = now.live.config
    message = channel.medium_of(name) not in SCREENS
    contact = Limits(now.zone, channel.caps, channel=name)
    limits: dict[str, tuple[Limits, ...]] = {}
    for action in channel.actions:
        declared = config.actions.get(action)
        looked_at = message or contact.personal
        if declared is not None and not looked_at:
            looked_at = declared.limited or bool(sequences_of(action, declared, name, config.sequences))
        if looked_at:
            own = (
                Limits(now.zone, cost=channel.cost) if declared is None else limits_of(declared, now.zone, channel.cost)
            )
            limits[action] = (own, contact) if contact.personal else (own,)
    return counted(engine, now.query, limits, lead_of(channel) + HOLD if message else None)
