"""Conditions written as text: `price < 50 and category.startsWith("Furniture") and not (brand in ["A", "B"])`.

The language is the Common Expression Language (github.com/google/cel-spec), checked and evaluated by its C++
implementation: typed before anything is evaluated, without loops, assignments or any way to a Python object. It is
narrowed here to comparisons, arithmetic, lists and three tests of text, so that the cost of an expression is
proportional to its length. Three things are added: `and`, `or` and `not` may be written as words, all numbers are of
one type (`price == 50` and `price == 50.0` are the same), and `$name` stands for a value that is handed in beside the
text.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Literal, NamedTuple

import cel_expr_python.cel as cel

from serving.strict import nearest

Type = Literal["number", "text", "truth", "texts", "numbers", "nothing", "map"]
"""What a name stands for. `nothing` is an empty list, `map` is text by text."""
Value = str | float | bool | tuple[str | float, ...]
MAX_TEXT = 1_000
MAX_TOKENS = 200
MAX_DEPTH = 16
METHODS = ("startsWith", "endsWith", "contains")
_WORDS = {"and": "&&", "or": "||", "not": "!"}
_CONSTANTS = frozenset({"true", "false", "in"})
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    |(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
    |(?P<value>\$[A-Za-z][A-Za-z0-9_]*)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<sign>&&|\|\||==|!=|<=|>=|[-+*/<>!?:()\[\],.])""",
    re.VERBOSE,
)
_TOLD = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_OVERLOAD = re.compile(r"found no matching overload for '([^']*)' applied to '(.*)'")
_KINDS = {"double": "a number", "string": "a text", "bool": "a truth value", "int": "a number"}


class ExpressionError(Exception):
    """An expression that cannot be used.

    Args:
        what: what is wrong, as a sentence without a full stop.
        at: place of the character, from 0; None where it is about the whole.
        hint: what to do.
    """

    def __init__(self, what: str, at: int | None = None, hint: str = "") -> None:
        super().__init__(what)
        self.what, self.at, self.hint = what, at, hint

    @property
    def place(self) -> str:
        """What is wrong and where, characters counted from 1."""
        return self.what if self.at is None else f"{self.what} at character {self.at + 1}"


class Token(NamedTuple):
    """A word of an expression: its kind, its characters, and where they begin."""

    kind: str
    text: str
    at: int


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that was understood.

    Args:
        text: as it was written.
        names: the names that it reads, in order.
        tokens: its words.
    """

    text: str
    names: tuple[str, ...]
    tokens: tuple[Token, ...]
    _compiled: Any

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether it is true.

        Args:
            values: what its names stand for; those of `$name` under `_name`.

        Raises:
            ExpressionError: a value is missing or of another type.
        """
        found = self._compiled.eval(data=values).value()
        if found is True or found is False:
            return bool(found)
        raise ExpressionError(f"it has no answer: {found}")


def compiled(text: str, terms: Mapping[str, Type], values: Mapping[str, Value] | None = None) -> Expression:
    """An expression, ready to be asked; the same text is understood once.

    Args:
        text: as written.
        terms: the names that it may use, and what they are.
        values: what `$name` may stand for.

    Raises:
        ExpressionError: it is too long or too deep, it is no expression, or does not answer yes or no; a name is
            unknown (with the nearest); a text is compared with a number.
    """
    types = tuple((name, type_of(name, value)) for name, value in sorted((values or {}).items()))
    return _compiled(text, tuple(terms.items()), types)


def type_of(name: str, value: Value) -> Type:
    """What a value is.

    Raises:
        ExpressionError: a list of texts and numbers.
    """
    if isinstance(value, bool):
        return "truth"
    if not isinstance(value, tuple):
        return "text" if isinstance(value, str) else "number"
    kinds = {isinstance(each, str) for each in value}
    if len(kinds) > 1:
        raise ExpressionError(f"${name} is a list of texts and numbers", hint="a list is of one kind")
    return "nothing" if not kinds else "texts" if kinds == {True} else "numbers"


def bound(values: Mapping[str, Value]) -> dict[str, Any]:
    """Values as an expression reads them."""
    return {f"_{name}": list(value) if isinstance(value, tuple) else value for name, value in values.items()}


@lru_cache(maxsize=512)
def _compiled(text: str, terms: tuple[tuple[str, Type], ...], values: tuple[tuple[str, Type], ...]) -> Expression:
    known = dict(terms)
    tokens = _tokens(text)
    _check(tokens, known, dict(values))
    said, starts = _translated(text, tokens)
    try:
        found = _environment(terms, values).compile(said)
    except RuntimeError as error:
        raise _explained(str(error), said, [*starts, (len(said), len(text))]) from None
    if found.return_type().name() != "BOOL":
        raise ExpressionError("it does not answer yes or no", hint="compare something, as in price < 50")
    names = dict.fromkeys(token.text for token in _reads(tokens))
    return Expression(text, tuple(names), tokens, found)


@lru_cache(maxsize=64)
def _environment(terms: tuple[tuple[str, Type], ...], values: tuple[tuple[str, Type], ...]) -> Any:
    named = (*terms, *((f"_{name}", kind) for name, kind in values))
    return cel.NewEnv(variables={name: _types()[kind] for name, kind in named})


@cache
def _types() -> dict[Type, Any]:
    kind = cel.Type
    return {
        "number": kind.DOUBLE, "text": kind.STRING, "truth": kind.BOOL, "texts": kind.List(kind.STRING),
        "numbers": kind.List(kind.DOUBLE), "nothing": kind.List(kind.DYN), "map": kind.Map(kind.STRING, kind.STRING),
    }  # fmt: skip


def _tokens(text: str) -> tuple[Token, ...]:
    if len(text) > MAX_TEXT:
        raise ExpressionError(f"it has {len(text):,} characters", hint=f"at most {MAX_TEXT:,}; hand lists in as values")
    found: list[Token] = []
    at = depth = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ExpressionError(f"{text[at]!r} is not understood", at)
        kind = str(match.lastgroup)
        if kind != "space":
            found.append(Token(kind, match.group(), at))
            depth += (match.group() in ("(", "[")) - (match.group() in (")", "]"))
            if depth > MAX_DEPTH:
                raise ExpressionError("it is too deep", at, f"at most {MAX_DEPTH} brackets inside each other")
        at = match.end()
    if len(found) > MAX_TOKENS:
        raise ExpressionError(f"it has {len(found)} words", hint=f"at most {MAX_TOKENS}; hand lists in as values")
    return tuple(found)


def _check(tokens: Sequence[Token], terms: Mapping[str, Type], values: Mapping[str, Type]) -> None:
    """Refuse what is not of the narrowed language."""
    for before, token, after in _neighbours(tokens):
        if token.kind == "text" and (before.kind == "text" or (before.kind == "name" and not _is_word(before))):
            raise ExpressionError("a text that nothing leads to", token.at, "put ==, in or a comma before it")
        if token.kind == "value" and token.text[1:] not in values:
            hint = nearest(token.text[1:], list(values)) if values else "hand it in beside the text, as filter.values"
            raise ExpressionError(f"no value {token.text}", token.at, hint)
        if token.kind == "name" and not _is_word(token):
            _check_name(before, token, after, terms)


def _check_name(before: Token, token: Token, after: Token, terms: Mapping[str, Type]) -> None:
    if after.text == "(":
        if before.text != "." or token.text not in METHODS:
            hint = nearest(token.text, METHODS)
            raise ExpressionError(f"no such test: {token.text}", token.at, f'{hint} Write brand.startsWith("A")')
    elif before.text != "." and token.text not in terms:
        raise ExpressionError(f"no such name: {token.text}", token.at, nearest(token.text, list(terms)))


def _translated(text: str, tokens: Iterable[Token]) -> tuple[str, list[tuple[int, int]]]:
    """The text as the library reads it, and (place there, place in the text) of every word."""
    parts: list[str] = []
    starts: list[tuple[int, int]] = []
    done = length = 0
    for token in tokens:
        gap = text[done : token.at]
        starts.append((length + len(gap), token.at))
        parts += [gap, _said(token)]
        length += len(gap) + len(parts[-1])
        done = token.at + len(token.text)
    return "".join(parts), starts


def _said(token: Token) -> str:
    if token.kind == "number":
        return token.text if set(token.text) & set(".eE") else f"{token.text}.0"
    if token.kind == "value":
        return f"_{token.text[1:]}"
    return _WORDS.get(token.text, token.text) if token.kind == "name" else token.text


def _reads(tokens: Sequence[Token]) -> Iterator[Token]:
    for before, token, _ in _neighbours(tokens):
        if token.kind == "name" and before.text != "." and not _is_word(token):
            yield token


def _neighbours(tokens: Sequence[Token]) -> Iterator[tuple[Token, Token, Token]]:
    edge = Token("", "", 0)
    yield from zip([edge, *tokens], tokens, [*tokens[1:], edge], strict=False)


def _is_word(token: Token) -> bool:
    return token.text in _WORDS or token.text in _CONSTANTS


def _explained(told: str, said: str, starts: Sequence[tuple[int, int]]) -> ExpressionError:
    """What the library found wrong, in the words and places of the one who wrote it."""
    found = _TOLD.search(told)
    if found is None:
        return ExpressionError("it is too deep" if "recursion" in told else "it is not understood")
    line, column, what = int(found[1]), int(found[2]), found[3]
    at = sum(len(each) + 1 for each in said.split("\n")[: line - 1]) + column - 1
    place = max(bisect_right(starts, (at, len(said))) - 1, 0)
    if at >= len(said):
        return ExpressionError("it ends too early", starts[-1][1], "something is missing at its end")
    overload = _OVERLOAD.match(what)
    if overload is None:
        return ExpressionError("it is not understood", starts[place][1])
    sign = {"!_": "not", "-_": "-", "@in": "in"}.get(overload[1], overload[1].strip("_"))
    kinds = re.sub("|".join(_KINDS), lambda match: _KINDS[match.group()], overload[2])
    hint = "write not (...)" if sign == "not" else ""
    return ExpressionError(f"{sign} does not go with {kinds}", starts[place][1], hint)
