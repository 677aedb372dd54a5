"""The names that conditions written as text may use: of items, and of the situation of a request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import takewhile

from serving.expressions import Expression, ExpressionError, Token, Type, compiled
from serving.strict import nearest

ITEM: Mapping[str, Type] = {
    "itemId": "text",
    "title": "text",
    "category": "text",
    "department": "text",
    "brand": "text",
    "price": "number",
    "inStock": "truth",
    "leadDays": "number",
    "ageDays": "number",
    "buyers": "number",
    "buyers7Days": "number",
    "buyers28Days": "number",
    "buyers91Days": "number",
    "sales28Days": "number",
    "wished": "truth",
    "bought": "truth",
    "viewed": "truth",
}
"""Of an item: `category` is its whole path (`Home > Kitchen`), `department` the first step of it. A number that is not
known is none: no comparison with it holds. What is of the subject is false without consent to personalization."""

SITUATION: Mapping[str, Type] = {
    "stage": "text",
    "region": "text",
    "season": "text",
    "month": "number",
    "hour": "number",
    "weekday": "number",
    "device": "text",
    "source": "text",
    "campaign": "text",
    "locale": "text",
    "known": "truth",
    "tier": "text",
    "orders": "number",
    "wishes": "number",
    "awaiting": "truth",
    "late": "truth",
    "returnedLately": "truth",
    "unusual": "truth",
    "segments": "texts",
    "projects": "texts",
    "answers": "map",
}
"""Of a request: what `[... when]` has names for. A text that is not known is empty."""
_NAME = "name"
_CHOSEN = ("stage", "season")
_BESIDE = {"in": ("segments", "projects"), "==": _CHOSEN, "!=": _CHOSEN}
"""What may stand on the right of a text: its values are known when the file is read."""


def situation_condition(text: str) -> Expression:
    """`when.if` as an expression.

    Raises:
        ExpressionError: as `serving.expressions.compiled`.
    """
    return compiled(text, SITUATION)


def check_situation(text: str, worlds: Mapping[str, tuple[str, ...]]) -> Expression:
    """A condition of the shop's file, whose names all lead somewhere.

    Args:
        text: of the condition.
        worlds: `answers`, `segments`, `projects`, `stage` and `season`: what each may be compared with.

    Raises:
        ExpressionError: as `compiled`, or a question, a segment, a project, a stage or a season that does not exist.
    """
    found = situation_condition(text)
    for world, name, at in _named(found):
        if name not in worlds[world]:
            hint = nearest(name, worlds[world]) if worlds[world] else f"the shop has no {world}"
            raise ExpressionError(f'no "{name}" among {world}', at, hint)
    return found


def named(text: str) -> set[tuple[str, str]]:
    """(`answers`, `segments` ..., name) of what a condition of the shop's file names."""
    return {(world, name) for world, name, _ in _named(situation_condition(text))}


def _named(found: Expression) -> Iterator[tuple[str, str, int]]:
    """(what of, name, place) of every name that the words of a condition use as such.

    Raises:
        ExpressionError: answers are read in another way than by a question's name.
    """
    end = Token("", "", 0)
    words = [*found.tokens, end, end, end]
    for place, word in enumerate(found.tokens):
        one, two, three = words[place + 1 : place + 4]
        if word == (_NAME, "answers", word.at):
            quoted = one.text == "[" and two.kind == "text" and three.text == "]"
            if not quoted and not (one.text == "." and two.kind == _NAME):
                raise ExpressionError("answers are read by question", word.at, 'write answers.pet or answers["pet"]')
            yield "answers", two.text[1:-1] if quoted else two.text, two.at
        elif word.kind == "text" and two.text in _BESIDE.get(one.text, ()):
            yield two.text, word.text[1:-1], word.at
        elif word.text in _CHOSEN and one.text in ("==", "!=", "in"):
            texts = takewhile(lambda each: each.text in "[," or each.kind == "text", words[place + 2 :])
            yield from ((word.text, each.text[1:-1], each.at) for each in texts if each.kind == "text")
