"""Words with safe placeholders: a field that is not known leaves a natural sentence, never a gap or a `None`.

`"Good evening[, {name}]!"` says "Good evening, Ann!" or "Good evening!". A field outside of square brackets that is not
known makes the text say nothing at all, so that the next variant is taken. `[[` and `]]` are brackets to be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from features.errors import ConfigError
from serving.strict import nearest

FIELDS: dict[str, str] = {
    "name": "Ann",
    "shop": "Our shop",
    "region": "north",
    "season": "winter",
    "tier": "gold",
    "points": "120",
    "item": "Oak table",
    "order.item": "Blue sofa",
    "order.expected": "between 3 and 9 December",
    "order.promised": "9 December",
    "order.state": "in production",
    "order.place": "Main Street 1",
    "order.hours": "9:00 to 18:00",
    "wish.item": "Green lamp",
    "wish.price": "19.00",
    "due.item": "Dog food",
    "due.days": "3",
    "project": "a room for a teenager",
}
"""The fields that texts may use, each with an example; `answers.<question>` comes beside them."""
ANSWERS = "answers."
_TOKEN = re.compile(r"\[\[|\]\]|\[|\]|\{[^{}]*\}")


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a text.

    Args:
        parts: words, and fields as `(name,)`.
        optional: whether it is left out where a field of it is not known.
    """

    parts: tuple[str | tuple[str], ...]
    optional: bool

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of its fields."""
        return tuple(part[0] for part in self.parts if isinstance(part, tuple))

    def said(self, told: Mapping[str, str]) -> str | None:
        """Its words; None where a field is not known."""
        out = [told.get(part[0]) if isinstance(part, tuple) else part for part in self.parts]
        return None if not all(out) else "".join(part for part in out if part)


@lru_cache(maxsize=4096)
def pieces(template: str) -> tuple[Piece, ...]:
    """A template, taken apart.

    Raises:
        ConfigError: brackets that do not match or stand in one another.
    """
    found: list[Piece] = []
    parts: list[str | tuple[str]] = []
    inside, at = False, 0
    for token in _TOKEN.finditer(template):
        if token.start() > at:
            parts.append(template[at : token.start()])
        word, at = token.group(), token.end()
        if word in ("[[", "]]"):
            parts.append(word[0])
        elif word in ("[", "]"):
            if inside == (word == "["):
                raise ConfigError("square brackets that do not match", got=template, hint="write [[ for a bracket")
            found, parts, inside = [*found, Piece(tuple(parts), inside)], [], word == "["
        else:
            parts.append((word[1:-1].strip(),))
    if inside:
        raise ConfigError("a square bracket that is not closed", got=template, hint="write [[ for a bracket")
    rest = template[at:]
    return tuple(piece for piece in (*found, Piece((*parts, rest) if rest else tuple(parts), False)) if piece.parts)


def rendered(template: str, told: Mapping[str, str]) -> str | None:
    """What a template says; None where a field outside of brackets is not known.

    Args:
        template: with fields in braces.
        told: field -> what is known; empty words count as not known.
    """
    out = []
    for piece in pieces(template):
        said = piece.said(told)
        if said is None and not piece.optional:
            return None
        out.append(said or "")
    return "".join(out)


def fields_of(template: str) -> tuple[str, ...]:
    """Names of all fields of a template."""
    return tuple(name for piece in pieces(template) for name in piece.fields)


def check_template(template: str, where: str, questions: Iterable[str]) -> None:
    """Refuse a template that cannot be rendered.

    Args:
        template, where: what to look at, and where it stands.
        questions: whose answers may be fields.

    Raises:
        ConfigError: brackets that do not match, or a field that there is not (with the nearest).
    """
    known = [*FIELDS, *(ANSWERS + name for name in questions)]
    try:
        names = fields_of(template)
    except ConfigError as error:
        raise ConfigError(error.what, where=where, got=error.got, hint=error.hint) from None
    for name in names:
        if name not in known:
            raise ConfigError("no such field", where=where, got=f"{{{name}}}", hint=nearest(name, known))


def plain(value: object, limit: int = 200) -> str:
    """A value as one line of text: no control characters, not too long. What is shown is escaped where it is shown."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(value))
    return " ".join(text.split())[:limit]
