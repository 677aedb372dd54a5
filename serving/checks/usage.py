"""What can never be shown, and what nothing uses."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from serving.checks.clashes import clash, dated, ended, unlikely
from serving.checks.finding import Finding, Look, listed, note, warn
from serving.settings.actions import Action, Caps
from serving.settings.check import conditions
from serving.settings.when import Hours, When
from serving.terms import named
from serving.texts import ANSWERS, fields_of

TAKE_OUT = "take it out of the file, or put it into a slot or channel"


def never_shown(look: Look) -> Iterator[Finding]:
    """Actions and modules of the shop that nobody can ever get."""
    for name, action in look.actions.items():
        where = f"[actions.{name}]"
        over = ended(look.today, dated(action.from_, action.until), action.when)
        if over is not None:
            if look.today >= over + timedelta(days=action.promise_days):  # till then it is kept for who has seen it
                yield warn(where, f"it ended on {over}", "take it out, or give it new days")
        elif (why := _never(look, name, action)) is not None:
            yield warn(where, f"it can never be shown: {why}", TAKE_OUT if why.startswith("it stands") else "change it")
    for name, module in look.modules.items():
        where = f"[modules.{name}]"
        if (over := ended(look.today, module.when)) is not None:
            yield warn(where, f"it ended on {over}", "take it out, or give it new days")
        elif name not in look.slots_of:
            yield warn(where, "it can never be shown: it stands in no slot and no arm", TAKE_OUT)
        elif (odd := clash(look.config, module.when)) is not None:
            yield warn(where, f"it can never be shown: {odd}", "change its when")


def unlikely_conditions(look: Look) -> Iterator[Finding]:
    """Conditions of segments and questions that can never hold, and those that hardly anybody fulfils."""
    for where, when in conditions(look.config):
        if (why := unlikely(when)) is not None:
            yield note(where, why)
        if where.startswith(("[segments.", "[questions.")) and (why := clash(look.config, when)) is not None:
            yield warn(where, f"it can never hold: {why}", "change its conditions")


def unused(look: Look) -> Iterator[Finding]:
    """Segments, questions and projects that nothing uses, and questions that nobody puts."""
    whens, fields = [when for _, when in conditions(look.config)], set(_fields(look))
    segments = {name for when in whens for name in (*when.segments, *when.not_segments)}
    said = {pair for when in whens if when.if_ for pair in named(when.if_)}
    segments |= {name for world, name in said if world == "segments"}
    projects = {name for when in whens for name in when.projects} | {
        name for world, name in said if world == "projects"
    }
    for name in sorted(look.config.segments.keys() - segments):
        yield warn(f"[segments.{name}]", "no condition names it", "name it in segments or not-segments, or take it out")
    projects |= {str(each.project) for each in look.config.sequences.values()}
    for name in sorted(look.config.projects.keys() - projects):
        if "project" not in fields:
            yield warn(
                f"[projects.{name}]", "no condition and no sequence names it, and no text says {project}",
                "name it in projects = [...] of what is for it, or begin a sequence with it",
            )  # fmt: skip
    put = {action.question for name, action in look.config.actions.items() if _stands(look, name)}
    used = {name for when in whens for name in when.answers} | {name for world, name in said if world == "answers"}
    used |= {each.removeprefix(ANSWERS) for each in fields}
    for name, question in look.config.questions.items():
        if name not in put:
            remedy = f'put it by an action: kind = "question", question = "{name}", in a slot'
            yield warn(f"[questions.{name}]", "no action that can be shown puts it", remedy)
        if name not in used and question.attribute is None:
            remedy = "use it in a when or a text; what is not used is not to be asked"
            yield warn(f"[questions.{name}]", "its answer changes nothing", remedy)


def _fields(look: Look) -> Iterator[str]:
    for action in look.config.actions.values():
        for text in action.texts:
            for template in (text.title, text.text, text.alt, text.image_url or "", text.url or ""):
                yield from fields_of(template)


def _stands(look: Look, name: str) -> bool:
    return name in look.slots_of or name in look.channels_of


def _never(look: Look, name: str, action: Action) -> str | None:
    if not _stands(look, name):
        return "it stands in no slot, arm or channel"
    if (why := _closed(action)) is not None:
        return why
    when = [dated(action.from_, action.until), action.when]
    if action.question is not None:
        when.append(look.config.questions[action.question].when)
    if (why := clash(look.config, *when)) is not None:
        return why
    odd = [clash(look.config, *when, text.when) for text in action.texts]
    if all(why is not None for why in odd):
        return f"none of its texts is for anybody ({odd[0]})"
    if name not in look.slots_of:
        return _unsent(look, look.channels_of[name], action.when)
    return None


def _closed(action: Action) -> str | None:
    if barred := zero(action.caps):
        return f"caps.{barred} = 0"
    if action.capacity == 0:
        return "capacity = 0"
    if action.budget is not None and action.budget < action.cost:
        return f"its budget of {action.budget:g} is less than the cost of {action.cost:g}"
    return None


def zero(caps: Caps) -> str | None:
    """The span of which nobody may get anything."""
    return next((span for span in ("day", "week", "month", "ever") if getattr(caps, span) == 0), None)


def _unsent(look: Look, channels: list[str], when: When) -> str | None:
    """Why an action that stands in no slot can be sent on none of its channels."""
    barred = [_barred(look, name, when) for name in channels]
    return f"on {listed(channels)}: {barred[0]}" if all(barred) else None


def _barred(look: Look, name: str, when: When) -> str | None:
    channel, quiet = look.config.channels[name], look.config.quiet
    if span := zero(channel.caps):
        return f"caps.{span} = 0"
    if when.hours is None or quiet.from_ == quiet.until or not channel.is_quiet(name):
        return None
    loud = When(hours=Hours(quiet.until, quiet.from_))
    return "its hours are quiet ones" if clash(look.config, When(hours=when.hours), loud) else None
