"""Rules that contradict one another: boosts, families, channels, purposes, quiet hours, experiments."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from itertools import combinations

from features.text import fold
from serving.checks.finding import Finding, Look, listed, note, warn
from serving.checks.usage import zero
from serving.experiments import changed
from serving.intake_people import PURPOSES
from serving.settings.actions import Caps
from serving.settings.check_selection import wishes
from serving.settings.pages import FLOOR, Slot
from serving.settings.selection import Boost
from serving.settings.sequences import SequenceStep
from serving.strict import nearest

DAY = 24 * 60
LEAST_MINUTES = 60
"""With less than this between quiet hours nothing can be sent in time."""


def boosts(look: Look) -> Iterator[Finding]:
    """Boosts, pins and quotas that are over, and boosts of one thing that cancel in the same days."""
    for where, wish in wishes(look.config):
        if wish.until is not None and wish.until <= look.today:
            yield note(where, f"it ended on {wish.until}", "take it out")
    numbered = list(enumerate(look.config.selection.boosts, start=1))
    for (one, first), (other, second) in combinations(numbered, 2):
        if _same(first, second) and _overlap(first, second) and (first.factor - 1) * (second.factor - 1) < 0:
            key, text = first.target
            yield warn(
                _boost(other),
                f'it takes back what number {one} does to {key} "{text}" in the same days: together x '
                f"{first.factor * second.factor:g}",
                "leave one of them, or give them days of their own",
            )  # fmt: skip


def _boost(number: int) -> str:
    return f"[[selection.boosts]] number {number}"


def _same(first: Boost, second: Boost) -> bool:
    (key, text), (other, words) = first.target, second.target
    return key == other and (fold(text) == fold(words) if key == "brand" else text == words)


def _overlap(first: Boost, second: Boost) -> bool:
    """For the same people, on some day; of different audiences nobody can say who is in both."""
    if first.when != second.when:
        return False
    start = max(first.from_ or date.min, second.from_ or date.min)
    return start < min(first.until or date.max, second.until or date.max)


def families(look: Look) -> Iterator[Finding]:
    """Slots and channels of one family that do not decide alike."""
    members: dict[str, list[tuple[str, Slot]]] = {}
    for where, slot in look.config.decided():
        if slot.policy is not None:
            members.setdefault(slot.family or slot.name, []).append((where, slot))
    for name, channel in look.config.channels.items():
        slot = Slot(name, channel.actions, channel.policy, channel.family, channel.epoch_days)
        members.setdefault(slot.family or name, []).append((f"[channels.{name}]", slot))
    for family, each in members.items():
        yield from _unlike(family, each)


def _unlike(family: str, members: list[tuple[str, Slot]]) -> Iterator[Finding]:
    (where, first), *others = members
    for there, slot in others:
        if there.startswith("[experiments.") and slot.name == first.name:
            continue  # that an arm is different is what it is for
        odd = []
        if slot.epoch_days != first.epoch_days:
            odd.append(f"epoch-days {first.epoch_days} and {slot.epoch_days}")
        if set(slot.modules) != set(first.modules):
            odd.append(f"lists that differ in {listed(sorted(set(slot.modules) ^ set(first.modules)))}")
        if odd:
            what = f"of family {family} as {where}, but with {' and '.join(odd)}: they do not give one answer"
            yield warn(there, what, "give them the same, or families of their own")


def channels(look: Look) -> Iterator[Finding]:
    """Channels that send nothing, or whose actions nobody declared."""
    for name, channel in look.config.channels.items():
        where = f"[channels.{name}]"
        if span := zero(channel.caps):
            yield warn(where, f"nothing is ever sent: caps.{span} = 0", "raise the cap, or take the channel out")
        if strange := [each for each in channel.actions if each not in look.config.actions]:
            yield note(
                where, f"{listed(strange)} {'is' if len(strange) == 1 else 'are'} not declared: no words, no caps",
                "declare it in [actions.<name>], or send your own words for it",
            )  # fmt: skip


def sequences(look: Look) -> Iterator[Finding]:
    """Steps of a sequence that the caps of their channel or action leave no time for, if nothing else is sent."""
    for name, sequence in look.config.sequences.items():
        sent: list[tuple[str, str, int]] = []
        for number, step in sorted(enumerate(sequence.steps, start=1), key=lambda each: each[1].delay_days):
            first, last = int(step.delay_days), int(step.delay_days + step.within_days)
            day = next((day for day in range(first, last + 1) if _room(look, step, sent, day)), None)
            if day is None:
                what = (
                    f"step {number} ({step.action} on {step.channel}) can never be sent: it is due after {first} days"
                )
                tail = f" and given up after {last}, and caps leave no room between what was sent before"
                remedy = f"raise the caps of {step.channel} or {step.action}, or put the steps further apart"
                yield warn(f"[sequences.{name}]", what + tail, remedy)
            else:
                sent.append((step.channel, step.action, day))


def _room(look: Look, step: SequenceStep, sent: list[tuple[str, str, int]], day: int) -> bool:
    """Whether caps and cool-down let a step be sent so many days after the trigger."""
    channel, action = look.config.channels[step.channel], look.config.actions[step.action]
    contacts = [at for where, _, at in sent if where == step.channel]
    mine = [at for _, what, at in sent if what == step.action]
    rested = all(day - at >= action.cool_down_days for at in mine)
    return rested and _below(channel.caps, contacts, day) and _below(action.caps, mine, day)


def _below(caps: Caps, days: list[int], day: int) -> bool:
    """Whether one more on a day stays within caps; each counts the day itself and those before it."""
    for span, length in (("day", 1), ("week", 7), ("month", 30), ("ever", 0)):
        most = getattr(caps, span)
        counted = sum(1 for at in days if not length or day - at < length)
        if most is not None and counted >= most:
            return False
    return True


def purposes(look: Look) -> Iterator[Finding]:
    """Purposes that nobody can have agreed to, and those that look like a misspelt one."""
    usual = (*PURPOSES, *look.config.consent.assumed)
    sent = {channel.purpose for channel in look.config.channels.values()}
    for name, action in look.config.actions.items():
        if action.purpose is not None and action.purpose not in usual and action.purpose not in sent:
            what = f'nobody can have agreed to "{action.purpose}": no channel has it and consent to it is refused'
            yield warn(f"[actions.{name}]", what, nearest(action.purpose, sorted({*usual, *sent})))
    for name, channel in look.config.channels.items():
        hint = nearest(channel.purpose, usual)
        if channel.purpose not in usual and hint.startswith("did you mean"):
            yield warn(f"[channels.{name}]", f'it asks for consent to "{channel.purpose}"', hint)


def quiet_hours(look: Look) -> Iterator[Finding]:
    """Quiet hours that leave no hour to send in."""
    quiet = look.config.quiet
    start, end = (each.hour * 60 + each.minute for each in (quiet.from_, quiet.until))
    loud = (start - end) % DAY
    kept = [name for name, each in look.config.channels.items() if each.is_quiet(name)]
    if 0 < loud < LEAST_MINUTES and kept:
        what = f"they leave {loud} minutes a day to send on {listed(kept)}"
        yield warn("[quiet]", what, "shorten them; the same from and until means that there are none")


def experiments(look: Look) -> Iterator[Finding]:
    """Arms that change a slot into what it is."""
    for name, experiment in look.config.experiments.items():
        slots = {slot.name: slot for slot in look.config.pages[experiment.page].slots}
        for arm, each in experiment.arms.items():
            idle = [slot for slot, change in each.slots.items() if _alike(slots[slot], changed(slots[slot], change))]
            if idle:
                yield warn(
                    f"[experiments.{name}.arms.{arm}]", f"it changes nothing of {listed(idle)}",
                    "name another policy or list, or leave the slot away",
                )  # fmt: skip


def _alike(one: Slot, other: Slot) -> bool:
    return one.policy == other.policy and _list(one) == _list(other)


def _list(slot: Slot) -> tuple[str, ...]:
    """A slot's list without the floor at its end, which is added where it is not written."""
    return slot.modules[:-1] if slot.modules[-1] == FLOOR and slot.policy is None else slot.modules
