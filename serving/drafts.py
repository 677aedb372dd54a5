"""A draft of `shop.toml`: read as the file would be, with the line of what is wrong.

The file's own errors name the table and the key; an editor wants the line.
"""

from __future__ import annotations

import re

from features.errors import ConfigError
from serving.config import ShopConfig, read_config

DRAFT = "draft"
MAX_DRAFT = 256 * 1024
"""Characters of a draft at most."""
_AT_LINE = re.compile(r"\(at line (\d+), column \d+\)")
_HEADER = re.compile(r"^\s*\[\[?\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_NAMED = re.compile(r"\[([^\[\]]+)\]|\[\[([^\[\]]+)\]\]")
_PATH = re.compile(r"at `\$\.?([^`]*)`")
_UNKNOWN = re.compile(r"unknown field `([^`]*)`")
_QUOTED = re.compile(r"'([^']*)'")
_NUMBER = re.compile(r"number (\d+)")


def read_draft(text: str) -> ShopConfig:
    """A draft as settings.

    Raises:
        ConfigError: as `serving.config.read_config`; `where` begins with `line N` where the line can be told.
    """
    if len(text) > MAX_DRAFT:
        raise ConfigError("the draft is too long", where=DRAFT, got=len(text), hint=f"at most {MAX_DRAFT} characters")
    try:
        return read_config(text, DRAFT)
    except ConfigError as error:
        line = line_of(text, error)
        if line is None:
            raise
        place = error.where.removeprefix(DRAFT).strip()
        where = f"line {line} {place}".strip()
        raise ConfigError(error.what, where=where, got=error.got and _Told(error.got), hint=error.hint) from None


def line_of(text: str, error: ConfigError) -> int | None:
    """The line, from 1, that an error is about; None where it cannot be told.

    TOML that is none says it itself. Else it is the line of the unknown key or of the value that was got, inside of
    the table that the error names; else that table's own line.
    """
    told = _AT_LINE.search(error.what)
    if told:
        return int(told.group(1))
    lines = text.splitlines()
    table = _table(lines, error)
    first, last = table or (0, len(lines))
    unknown = _UNKNOWN.search(error.what)
    if unknown:
        return _key(lines, unknown.group(1), first, last) or _key(lines, unknown.group(1), 0, len(lines))
    value = _value(error)
    found = _text(lines, value, first, last) if value else None
    if found is None:
        path = _PATH.search(error.what)
        names = re.findall(r"[A-Za-z][A-Za-z0-9_-]*", path.group(1)) if path else []
        found = _key(lines, names[-1], first, last) if names else None
    return found or (first + 1 if table else None)


def _value(error: ConfigError) -> str:
    """What stands in the draft and should not, as far as the error says it."""
    if error.got is not None:
        return error.got.strip("'\"")
    told = _QUOTED.search(error.what)
    return told.group(1) if told else ""


def _text(lines: list[str], value: str, first: int, last: int) -> int | None:
    """The line, from 1, that holds a value: in quotes if anywhere so."""
    for written in (f'"{value}"', f"'{value}'", value):
        for at in range(first, last):
            if written in lines[at]:
                return at + 1
    return None


def _table(lines: list[str], error: ConfigError) -> tuple[int, int] | None:
    """The lines [first, last) of the table that an error names; None where it names none that is there."""
    named = _NAMED.search(error.where)
    name = (named.group(1) or named.group(2)) if named else _beginning(error.what)
    headers = [(at, found.group(1).replace('"', "")) for at, line in enumerate(lines) if (found := _HEADER.match(line))]
    wanted = [at for at, header in headers if name and (header == name or header.startswith(f"{name}."))]
    if not wanted:
        return None
    which = _NUMBER.search(error.where)
    first = wanted[min(int(which.group(1)), len(wanted)) - 1] if which else wanted[0]
    last = next((at for at, header in headers if at > first and not header.startswith(name)), len(lines))
    return first, last


def _beginning(what: str) -> str:
    """The table at the beginning of a path such as `$.shop.holdout`: its first name."""
    path = _PATH.search(what)
    return re.split(r"[.\[]", path.group(1), maxsplit=1)[0] if path else ""


def _key(lines: list[str], key: str, first: int, last: int) -> int | None:
    """The line, from 1, on which a key is written: as a key, or as (a part of) a table's name."""
    written = re.compile(rf"(?:^|[\s{{,.\[\"'])({re.escape(key)})[\"']?\s*(?:=|\]|\.)")
    return next((at + 1 for at in range(first, last) if written.search(lines[at])), None)


class _Told:
    """What was got, as the first error wrote it: it is not quoted twice."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text
