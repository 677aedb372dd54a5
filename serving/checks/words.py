"""Words: every text as it reads with all fields known, with none, and with each of them missing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from serving.checks.clashes import clash, dated, ended
from serving.checks.finding import Finding, Look, listed, note, warn
from serving.checks.slots import SURE
from serving.saying import SEASONS
from serving.settings.actions import Action, Text
from serving.settings.when import ALWAYS, When
from serving.texts import ANSWERS, FIELDS, fields_of, pieces, rendered

ALL, NOTHING = "all known", "nothing known"
PASSED_OVER = "(passed over)"
_ODD = (
    (re.compile(r"\bNone\b|\bnan\b|[{}]"), "says {found!r}"),
    (re.compile(r"  +"), "has two spaces in a row"),
    (re.compile(r"\s[,.;:!?、。，．！？]"), "has a space before punctuation"),
    (re.compile(r"^\s|\s$"), "begins or ends with a space"),
    (re.compile(r"^[,.;:!?、。，]"), "begins with punctuation"),
    (re.compile(r"([,;:、])\1|[,;:、][.!?。！？]"), "has two punctuation marks in a row"),
)  # fmt: skip


@dataclass(frozen=True)
class Rendering:
    """A text as somebody reads it.

    Args:
        where: the action and the number of the variant.
        locale: of the variant; None: any.
        key: `title`, `text` or `alt`.
        case: what is known, in words.
        words: None where the variant is passed over.
    """

    where: str
    locale: str | None
    key: str
    case: str
    words: str | None


def renderings(look: Look) -> Iterator[Rendering]:
    """Every text of the shop's actions, with all fields known, with none, and with each of them missing."""
    for name, action in look.actions.items():
        for at, text in enumerate(action.texts, start=1):
            yield from _of(f"[actions.{name}] text {at}", text, examples(look, text.locale))


def examples(look: Look, locale: str | None) -> dict[str, str]:
    """A word for each field: those of the shop where it has them, in the language of the text."""
    said = {ANSWERS + name: next(iter(each.values), "Ann") for name, each in look.config.questions.items()}
    season = SEASONS["winter"] if locale == "ja" else FIELDS["season"]
    return {**FIELDS, **said, "shop": look.config.shop.name, "season": season}


def _of(where: str, text: Text, known: Mapping[str, str]) -> Iterator[Rendering]:
    told = {name: known[name] for name in SURE}
    for key, template in (("title", text.title), ("text", text.text), ("alt", text.alt)):
        if not template:
            continue
        fields = [name for name in dict.fromkeys(fields_of(template)) if name not in SURE]
        yield Rendering(where, text.locale, key, ALL, rendered(template, known))
        if fields:
            yield Rendering(where, text.locale, key, NOTHING, rendered(template, told))
        for missing in fields if len(fields) > 1 else ():
            less = {name: word for name, word in known.items() if name != missing}
            yield Rendering(where, text.locale, key, f"no {missing}", rendered(template, less))


def odd_words(look: Look) -> Iterator[Finding]:
    """Renderings that no person would have written."""
    whole: dict[tuple[str, str], str] = {}
    for each in renderings(look):
        if each.case == ALL:
            whole[each.where, each.key] = each.words or ""
        for what in _oddities(each, whole[each.where, each.key]):
            yield warn(each.where, f'its {each.key} {what} with {each.case}: "{each.words}"', "move it into brackets")


def _oddities(each: Rendering, whole: str) -> Iterator[str]:
    if each.words is None:
        return
    if not each.words.strip() and each.key == "title":
        yield "is empty"
        return
    for pattern, what in _ODD:
        if (found := pattern.search(each.words)) is not None:
            yield what.format(found=found.group())
    if whole[:1].isupper() and each.words[:1].islower():
        yield "begins with a small letter"


def unsaid(look: Look) -> Iterator[Finding]:
    """Variants that nobody ever reads, and actions that say nothing to a stranger."""
    for name, action in look.actions.items():
        for at in range(len(action.texts)):
            why = _never(look, action, at)
            if why is not None:
                yield warn(
                    f"[actions.{name}] text {at + 1}", f"it can never be said: {why}", "change it or take it out"
                )
        missing = min(
            (needs(text) - SURE - implied(action.when) - implied(text.when) for text in action.texts), key=len
        )
        if action.when.known is not True and missing:
            yield note(
                f"[actions.{name}]", f"it cannot be said to a stranger: its words need {listed(sorted(missing))}",
                "fine if only those get it of whom that is known; else add a variant without it",
            )  # fmt: skip


def needs(text: Text) -> frozenset[str]:
    """The fields without which a variant is passed over."""
    templates = (text.title, text.text, text.image_url or "", text.url or "")
    parts = (piece for template in templates for piece in pieces(template) if not piece.optional)
    return frozenset(name for piece in parts for name in piece.fields)


def implied(when: When) -> frozenset[str]:
    """The fields that are known of everybody who fulfils a condition."""
    told = {ANSWERS + name for name in when.answers}
    for holds, field in (
        (when.awaiting or when.late or set(when.stages) == {"waiting"}, "order.item"),
        (when.wished, "wish.item"), (when.projects, "project"), (when.regions, "region"), (when.tiers, "tier"),
        (when.looking_at, "item"),
    ):  # fmt: skip
        told |= {field} if holds else set()
    return frozenset(told)


def _never(look: Look, action: Action, at: int) -> str | None:
    """Why a variant is never said; None where it may be."""
    text = action.texts[at]
    for number, earlier in enumerate(action.texts[:at], start=1):
        alike = earlier.when in (ALWAYS, text.when)
        if earlier.locale == text.locale and alike and needs(earlier) <= needs(text) | SURE:
            return f"text {number} of its language is always said before it"
    if (over := ended(look.today, text.when)) is not None:
        return f"it ended on {over}"
    for field in needs(text):
        unanswered = (*text.when.unanswered, *action.when.unanswered)
        if field.startswith(ANSWERS) and field.removeprefix(ANSWERS) in unanswered:
            return f"it says {field}, which is to be unanswered"
    if clash(look.config, action.when, dated(action.from_, action.until)) is not None:
        return None  # then the action itself is the finding
    return clash(look.config, action.when, dated(action.from_, action.until), text.when)


def languages(look: Look) -> Iterator[Finding]:
    """Words that are missing in a language that other words of the shop have."""
    spoken = {locale for _, locales in _locales(look) for locale in locales} | {look.config.shop.locale}
    for where, locales in _locales(look):
        if missing := spoken - locales:
            other = f"; in {listed(sorted(missing))} the first words are read" if locales else ""
            yield warn(where, f"no words in {listed(sorted(missing))}{other}", "write them: other words have them")


def _locales(look: Look) -> Iterator[tuple[str, set[str]]]:
    """Everything that is read, with its languages; what has words of any language is left out."""
    for name, action in look.actions.items():
        said = {text.locale for text in action.texts}
        if None not in said:
            yield f"[actions.{name}]", {each for each in said if each}
    for name, module in look.modules.items():
        yield f"[modules.{name}] title", set(module.title)
        if module.again:
            yield f"[modules.{name}] again", set(module.again)
    for name, question in look.config.questions.items():
        yield f"[questions.{name}] text", set(question.text)
        yield f"[questions.{name}] why", set(question.why)
        yield from ((f"[questions.{name}] option {each.value}", set(each.label)) for each in question.options)
    for name, project in look.config.projects.items():
        yield f"[projects.{name}]", set(project.label)
