"""When an action may be sent on a channel: what speaks against it, and until when.

A ruling without an end is "never, as things stand"; one with an end is "wait". Rulings about the channel hold for all
its actions. Everything is reckoned from when the person gets it: the channel's lead time after the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import msgspec

from features.errors import DataError
from features.kinds import EventType
from features.moments import DAY, HOUR, MINUTE, day_start, local_time, parse_instant
from serving.asking import question_now
from serving.caps import FAILED, SENT, SESSION, SHOWN, Counts
from serving.due import due_items
from serving.eligibility import in_hours
from serving.links import BEGINNING
from serving.person import MARKETING, Consents
from serving.progress import TELLING, has_news, silent_until, told_until
from serving.promises import kept_until
from serving.query import Filter
from serving.saying import Fields, Said, say
from serving.sequences import Known, Planned, Send, steps_left
from serving.settings.actions import Action
from serving.settings.channels import ANYBODY, Channel
from serving.settings.sequences import Sequence, SequenceStep
from serving.settings.shop import QuietHours
from serving.settings.when import Hours, Words
from serving.situation import Situation
from serving.texts import fields_of
from serving.waiting import order_cards

HOLDOUT = "holdout"
HOLD = DAY
"""How long after its lead time a message may still be sent; until then it counts."""
_QUARTER = 15 * MINUTE
REMINDER = "reminder"
"""Name of the sequence of an action that speaks of what is due and stands in none of the shop's own."""


OPTED_OUT, CAPPED = "opted out", "capped"


class Ruling(msgspec.Struct, frozen=True):
    """Something that speaks against sending now.

    Args:
        reason: in words.
        until: when it is over; None: as things stand, never.
        kind: OPTED_OUT, HOLDOUT or CAPPED, for lists of whom not to reach; empty: anything else.
    """

    reason: str
    until: int | None = None
    kind: str = ""


def not_before(found: Iterable[Ruling]) -> int | None:
    """When all of some rulings are over; None where one has no end. There is one at least."""
    ends = [each.until for each in found]
    return None if None in ends else max(end for end in ends if end is not None)


# --- the channel ------------------------------------------------------------------------------------------------------


def unreachable(name: str, channel: Channel, user_id: str | None) -> Iterator[Ruling]:
    """Whom a channel cannot reach, before anything is read of him."""
    if user_id is None and channel.medium_of(name) not in ANYBODY:
        yield Ruling("nobody is known who could be written to")


def refused(channel: Channel, consents: Consents, said: bool | None) -> Iterator[Ruling]:
    """What the person has not agreed to.

    Args:
        channel: with its purpose.
        consents: as the shop was told.
        said: what the request says of the channel's purpose; None: nothing. A refusal that was told counts always.
    """
    if not (consents.to(channel.purpose) if said is None else said and not consents.refuses(channel.purpose)):
        yield Ruling(f"no consent to {channel.purpose}", kind=OPTED_OUT)


def silent(name: str, channel: Channel, now: Situation) -> Iterator[Ruling]:
    """What keeps a channel silent for a person who agreed: his own list of channels, an unsubscribe, the night."""
    medium, person = channel.medium_of(name), now.query.person
    if person.channels is not None and not {medium, name} & set(person.channels):
        yield Ruling(f"does not want {medium}", kind=OPTED_OUT)
    if channel.purpose == MARKETING and _unsubscribed(now):
        yield Ruling("unsubscribed", kind=OPTED_OUT)
    quiet = now.live.config.quiet
    if channel.is_quiet(name) and quiet.from_ != quiet.until:
        lead = lead_of(channel)
        until = quiet_until(quiet, now.zone, now.query.now + lead)
        if until is not None:
            yield Ruling("quiet hours", until - lead)


def _unsubscribed(now: Situation) -> bool:
    """Whether an unsubscribe is later than the consent, where it is known when that was given."""
    said = now.query.consents.told.get(MARKETING)
    since = _instant(said.get("at")) if isinstance(said, Mapping) else BEGINNING
    return bool((now.query.history.of_types(EventType.UNSUBSCRIBE).time > since).any())


def _instant(at: object) -> int:
    """When a consent was given: an instant, or its ISO text as it is kept; the beginning of time where nothing says."""
    if isinstance(at, str):
        try:
            return parse_instant(at)
        except DataError:
            return BEGINNING
    return at if isinstance(at, int) else BEGINNING


def lead_of(channel: Channel) -> int:
    """Microseconds from the answer to the person."""
    return int(channel.lead_hours * HOUR)


def quiet_until(quiet: QuietHours, zone: str, at: int) -> int | None:
    """The instant at which the quiet hours that hold at an instant end; None where none hold."""
    hours = Hours(from_=quiet.from_, until=quiet.until)
    end = leaves(hours, zone, at)
    return None if end == at else end


def leaves(hours: Hours, zone: str, at: int) -> int:
    """The first instant from `at` on at which the local clock shows no time of a span; `at` where it shows none now.

    On a day on which the clocks change it goes by quarters of an hour, at which alone they do.
    """
    ends = hours.until.hour * 60 + hours.until.minute
    while True:
        local = local_time(at, zone)
        minute = local.hour * 60 + local.minute
        if not in_hours(hours, minute):
            return at
        at -= at % MINUTE
        step = (ends - minute if ends > minute else 1_440 - minute) * MINUTE
        if local.day_end - local.day_start != DAY:
            step = min(step, _QUARTER - at % _QUARTER)
        at += step


def send_before(name: str, channel: Channel, action: Action | None, now: Situation, moment: int) -> int:
    """Until when what may be sent at a moment may still be: then its reservation lapses, it is quiet, or it is over."""
    lead, config = lead_of(channel), now.live.config
    ends = [moment + lead + HOLD]
    quiet = config.quiet
    if channel.is_quiet(name) and quiet.from_ != quiet.until:
        awake = Hours(from_=quiet.until, until=quiet.from_)
        ends.append(leaves(awake, now.zone, moment + lead) - lead)
    if action is not None and action.until is not None:
        ends.append(day_start(action.until, config.shop.time_zone) - lead)
    return min(ends)


# --- an action --------------------------------------------------------------------------------------------------------


class Looked(msgspec.Struct, frozen=True):
    """An action as it could be sent, and what speaks against it."""

    said: Said | None
    rulings: tuple[Ruling, ...]


def look(name: str, channel_name: str, channel: Channel, now: Situation, counts: Counts) -> Looked:
    """An action of a channel's list: whether it fits, whether it is its time, in this order.

    Args:
        name: of the action; one that the shop's file does not declare is the shop's own and has no words here.
        channel_name, channel: the way.
        now: of the request.
        counts: limits and past messages.
    """
    action = now.live.config.actions.get(name)
    steps = _steps(name, action, channel_name, channel, now, counts)
    if action is None:
        return Looked(None, (*_own(channel, now), *steps))
    told = say(action, now, Fields(now), kept_until(name, action, counts, now))
    if action.question is not None and counts.hold is None and not isinstance(told, str):
        chosen, why = question_now(now, [action.question], {})
        told = why if chosen is None else told
    if action.kind == "status" and counts.hold is not None and not isinstance(told, str):
        since = told_until(name, channel_name, counts)
        told = replace(told, orders=tuple(order_cards(now, since=since)))
        steps += _no_news(channel_name, now, counts, since)
    elif counts.hold is not None and action.kind in TELLING and action.when.awaiting:
        steps += _no_news(channel_name, now, counts, None)  # care for what is awaited fills a silence
    found = [*([_early(action, channel, now) or Ruling(told)] if isinstance(told, str) else [])]
    if action.sells and counts.hold is not None and not now.query.consents.to(MARKETING):
        found.append(Ruling(f"no consent to {MARKETING}", kind=OPTED_OUT))  # whatever the channel itself is for
    return Looked(None if isinstance(told, str) else told, (*found, *_placed(action, channel, now), *steps))


def _no_news(channel: str, now: Situation, counts: Counts, since: int | None) -> list[Ruling]:
    """A message about an order waits for a step that was not told, but not for ever; without `since` for silence."""
    end = silent_until(channel, now, counts)
    told = since is not None and has_news(now, since)
    return [] if told or now.query.now >= end else [Ruling("no news of the order", end)]


def _own(channel: Channel, now: Situation) -> Iterator[Ruling]:
    """An action that only the shop knows is taken as selling where the channel is for marketing."""
    if channel.purpose == MARKETING and now.returned_lately:
        yield Ruling("something was sent back: no selling")
    if channel.purpose == MARKETING and now.lost_lately:
        yield Ruling("something got lost on its way: no selling")
    if channel.purpose == MARKETING and now.late:
        yield Ruling("a delivery is late: no selling")


def _early(action: Action, channel: Channel, now: Situation) -> Ruling | None:
    """An action that begins later waits for its day."""
    if action.from_ is None:
        return None
    begins = day_start(action.from_, now.live.config.shop.time_zone) - lead_of(channel)
    return Ruling("not yet", begins) if now.query.now < begins else None


def _placed(action: Action, channel: Channel, now: Situation) -> Iterator[Ruling]:
    if action.sells and action.category is not None and now.codes_under([action.category]) & now.awaiting:
        yield Ruling("an order of this category is on its way")
    if action.until is not None:
        ends = day_start(action.until, now.live.config.shop.time_zone)
        if now.query.now < ends <= now.query.now + lead_of(channel):
            yield Ruling("over before it arrives")
    if reminds(action) and not now.due and _sold_out(now):
        yield Ruling("what is due is not in stock")


def reminds(action: Action) -> bool:
    """Whether an action's words speak of what is due."""
    words = (field for text in action.texts for field in fields_of(text.title) + fields_of(text.text))
    return any(field.startswith("due.") for field in words)


def _sold_out(now: Situation) -> bool:
    """Whether something is due that only the stock keeps away."""
    wanted = msgspec.structs.replace(now.query, filter=Filter(in_stock=False))
    return bool(due_items(now.live, wanted))


def _steps(
    name: str, action: Action | None, channel_name: str, channel: Channel, now: Situation, counts: Counts
) -> list[Ruling]:
    """Where an action is a step of sequences, one of them must be due; its words are about what is due then."""
    mine = sequences_of(name, action, channel_name, now.live.config.sequences)
    if not mine:
        return []
    running = now.live.stops.running(mine)
    if not running:
        return [Ruling("its sequence is stopped")]
    planned = [each for sequence in running.values() for each in left_of(sequence, channel, now, counts)
               if (each.step.action, each.step.channel) == (name, channel_name)]  # fmt: skip
    first = min(planned, key=lambda each: each.at, default=None)
    if first is None:
        return [Ruling("nothing is due" if [*mine] == [REMINDER] else "no step of its sequence is to come")]
    now.due = first.due or now.due
    return [] if first.at <= now.query.now else [Ruling("not due yet", first.at)]


def sequences_of(
    name: str, action: Action | None, channel: str, declared: Mapping[str, Sequence]
) -> dict[str, Sequence]:
    """The sequences that an action is a step of on a channel; what speaks of what is due is a reminder by itself."""
    found = {
        key: each for key, each in declared.items()
        if any((step.action, step.channel) == (name, channel) for step in each.steps)
    }  # fmt: skip
    if not found and action is not None and reminds(action):
        found[REMINDER] = Sequence("due", (SequenceStep(name, channel, within_days=366.0),))
    return found


def left_of(sequence: Sequence, channel: Channel, now: Situation, counts: Counts) -> tuple[Planned, ...]:
    """Steps of a sequence that are due or will be for the subject of a request."""
    known = Known(
        belongs=lambda paths, item: _belongs(now, paths, item), row_of=now.row_of, projects=now.projects,
        due=due_items(now.live, now.query) if sequence.trigger == "due" else (), lead=lead_of(channel),
    )  # fmt: skip
    return steps_left(sequence, now.history, now.lines, sends_of(counts, now.query.now), now.query.now, known)


def sends_of(counts: Counts, now: int) -> tuple[Send, ...]:
    """Messages and showings of the past; what may still be sent, or is on the screen, is not past."""
    past = (row for row in counts.tally.rows if row.state != FAILED and not row.waits(now))
    return tuple(
        Send(row.action_id, row.surface, row.at, heard=row.state == SENT) for row in past
        if row.state != SHOWN or now - row.at >= SESSION
    )  # fmt: skip


def _belongs(now: Situation, paths: Words, item: int) -> bool:
    return not paths or bool(now.codes_under(paths) & now.codes_of([item]))
