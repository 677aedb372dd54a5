"""`[sequences.<name>]`: steps that follow something that happened, and what ends them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from features.errors import ConfigError
from features.kinds import EVENT_TYPES
from serving.settings.shop import Days
from serving.settings.when import Words
from serving.strict import Strict, nearest

if TYPE_CHECKING:
    from serving.config import ShopConfig

Trigger = Literal["purchase", "delivered", "wishlist", "sign-up", "project", "event", "due"]
_NEEDS = {"event": "event", "project": "project"}
"""Trigger -> the key that it cannot do without."""


class SequenceStep(Strict, frozen=True, omit_defaults=True):
    """`[[sequences.<name>.steps]]`: one action on a channel, so many days after the trigger.

    Args:
        action: of `[actions]`; the channel names it too.
        channel: of `[channels]`.
        delay_days: from the trigger, not from the step before.
        within_days: what was not sent so many days after it was due is not sent any more.
    """

    action: str
    channel: str
    delay_days: Days = 0.0
    within_days: Days = 14.0


class Exits(Strict, frozen=True, omit_defaults=True):
    """What ends a sequence once it began.

    Args:
        purchase: a purchase. A `due` sequence ends by purchases of `categories` only: buying early moves it anyway.
        categories: only purchases of these count, as beginnings of category paths; empty: any.
        returns: something was sent back.
        complaint: a complaint.
        opt_out: an unsubscribe.
        ignored: so many messages of it without an open, a click or a purchase since; 0: any number.
    """

    purchase: bool = True
    categories: Words = ()
    returns: bool = True
    complaint: bool = True
    opt_out: bool = True
    ignored: Annotated[int, msgspec.Meta(ge=0, le=100)] = 2


class Sequence(Strict, frozen=True, omit_defaults=True):
    """`[sequences.<name>]`. Only the latest trigger counts: what happens again begins the sequence again.

    Args:
        trigger: `purchase`, `delivered` (from the delivery on; what never came begins nothing), `wishlist`, `sign-up`
            (the first that is known of somebody), `project`, `event` (of the type `event`), `due` (when something
            that is bought again and again runs out, minus the channel's lead time).
        steps: in their order.
        categories: only what happens to these items triggers it; empty: any.
        event: an event type.
        project: kind of a project that begins.
        exits: what ends it.
    """

    trigger: Trigger
    steps: Annotated[tuple[SequenceStep, ...], msgspec.Meta(min_length=1, max_length=20)]
    categories: Words = ()
    event: str | None = None
    project: str | None = None
    exits: Exits = Exits()


def check_sequences(config: ShopConfig, where: str) -> None:
    """Refuse sequences whose steps lead nowhere.

    Raises:
        ConfigError: with the nearest name.
    """
    for name, sequence in config.sequences.items():
        place = f"{where} [sequences.{name}]"
        for trigger, key in _NEEDS.items():
            if (sequence.trigger == trigger) != (getattr(sequence, key) is not None):
                hint = f'trigger = "{trigger}" names its {key}, and no other trigger does'
                raise ConfigError("a trigger without its name, or a name without a trigger", where=place, hint=hint)
        if sequence.event is not None and sequence.event not in EVENT_TYPES:
            hint = nearest(sequence.event, list(EVENT_TYPES))
            raise ConfigError("no such event type", where=place, got=sequence.event, hint=hint)
        if sequence.project is not None and sequence.project not in config.projects:
            hint = nearest(sequence.project, list(config.projects)) if config.projects else "declare it in [projects]"
            raise ConfigError("no such project", where=place, got=sequence.project, hint=hint)
        for step in sequence.steps:
            _check_step(config, step, place)


def _check_step(config: ShopConfig, step: SequenceStep, where: str) -> None:
    if step.channel not in config.channels:
        hint = nearest(step.channel, list(config.channels)) if config.channels else "declare it in [channels.<name>]"
        raise ConfigError("no such channel", where=where, got=step.channel, hint=hint)
    if step.action not in config.actions:
        raise ConfigError("no such action", where=where, got=step.action, hint=nearest(step.action, [*config.actions]))
    known = config.channels[step.channel].actions
    if step.action not in known:
        hint = f"add it to the actions of [channels.{step.channel}], or {nearest(step.action, list(known))}"
        raise ConfigError("its channel does not send this action", where=where, got=step.action, hint=hint)
