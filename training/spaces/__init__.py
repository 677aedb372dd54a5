"""Search spaces: what `kokyaku tune` may try of each parameter. One TOML file a method lies beside this module.

    factors = {low = 16, high = 256, log = true}
    confidence.half_life_days = {low = 7.0, high = 365.0, log = true}
    confidence.damped = {choices = [true, false]}

Where both ends are written as whole numbers only whole numbers are tried. What a file does not name keeps its default.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from features.errors import ConfigError
from serving.strict import nearest
from training.params import Named, named, overlaid

FOLDER = Path(__file__).parent
Number = int | float


class Dimension(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one parameter may be: a range with both ends inside, or one of some values.

    Args:
        low, high: ends of the range.
        log: whether doubling counts alike everywhere in the range.
        choices: the values, where it is no range.
    """

    low: Number | None = None
    high: Number | None = None
    log: bool = False
    choices: tuple[bool | Number | str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are tried."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def extremes(self) -> tuple[Any, ...]:
        """Values that must be allowed so that all of them are."""
        return self.choices or (self.low, self.high)

    def holds(self, value: Any) -> bool:
        """Whether a value may be tried."""
        if self.choices:
            return any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in self.choices)
        assert self.low is not None
        assert self.high is not None
        return bool(self.low <= value <= self.high)

    def holding(self, value: Any) -> Dimension:
        """Widened so that it holds a value."""
        if self.holds(value):
            return self
        if self.choices:
            return msgspec.structs.replace(self, choices=(*self.choices, value))
        assert self.low is not None
        assert self.high is not None
        return msgspec.structs.replace(self, low=min(self.low, value), high=max(self.high, value))

    def at(self, share: float) -> Any:
        """The value at a share of the range, 0 to 1: a share drawn evenly makes every choice as likely as any other.

        A whole number has the numbers that round to it, so the ends are not drawn half as often as the others.

        >>> Dimension(low=1, high=100, log=True).at(0.5), Dimension(choices=(True, False)).at(0.9)
        (7, False)
        """
        if self.choices:
            return self.choices[min(int(share * len(self.choices)), len(self.choices) - 1)]
        assert self.low is not None
        assert self.high is not None
        low, high = (self.low - 0.5, self.high + 0.5) if self.whole else (self.low, self.high)
        value = low * (high / low) ** share if self.log else low + (high - low) * share
        return min(max(round(value) if self.whole else float(value), self.low), self.high)

    def __str__(self) -> str:
        if self.choices:
            return f"one of {', '.join(str(each).lower() for each in self.choices)}"
        return f"{self.low:g} to {self.high:g}{' (log)' if self.log else ''}"


Space = Mapping[str, Dimension]
"""Dotted name of a parameter -> what it may be."""


def read_space(name: str, path: Path | None = None) -> tuple[dict[str, Dimension], str]:
    """A search space as it is written, and where it stands; whether it suits the parameters is for `checked`.

    Args:
        name: of the method (or `ranker`), for the file that comes with the program.
        path: of another file.

    Raises:
        ConfigError: there is no such file, it is not TOML, or what a parameter may be does not make sense.
    """
    file = path or FOLDER / f"{name}.toml"
    if not file.is_file():
        shipped = ", ".join(sorted(each.stem for each in FOLDER.glob("*.toml")))
        hint = "name an existing file" if path else f"there are spaces of {shipped}; others come by --space"
        raise ConfigError("no search space there", where=str(file), hint=hint)
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"not valid TOML: {error}", where=str(file)) from None
    space = {key: _dimension(given, f"{file} {key}") for key, given in _entries(data).items()}
    if not space:
        raise ConfigError("the search space is empty", where=str(file), hint="name at least one parameter")
    return space, str(file)


def checked(space: Space, defaults: Mapping[str, Any], convert: Callable[[dict[str, Any]], Any], where: str) -> None:
    """Every parameter is there, and it can be each of its extremes.

    Args:
        space: what to check.
        defaults: all parameters, nested.
        convert: reads nested parameters as the method does, and raises `msgspec.ValidationError`.
        where: the space stands.

    Raises:
        ConfigError: an unknown parameter (with the nearest known one), or a value that it cannot have.
    """
    known = list(named(defaults))
    for key, dimension in space.items():
        if key not in known:
            raise ConfigError("no such parameter", where=where, got=key, hint=nearest(key, known))
        for value in dimension.extremes:
            try:
                convert(overlaid(defaults, {key: value}, where=where))
            except msgspec.ValidationError as error:
                raise ConfigError(str(error), where=f"{where} {key}", got=value) from None


def widened(space: Space, points: list[Named], where: str) -> tuple[dict[str, Dimension], list[str]]:
    """The space with room for some points that are to be tried whatever it says; and sentences on what was widened.

    Raises:
        ConfigError: a point that a logarithmic range cannot hold.
    """
    wide, notes = dict(space), []
    for point in points:
        for key in space:
            if wide[key].holds(point[key]):
                continue
            if wide[key].log and point[key] <= 0:
                hint = "leave out log, or leave out the parameter"
                raise ConfigError("a logarithmic range cannot hold the default", where=where, got=key, hint=hint)
            wide[key] = wide[key].holding(point[key])
            notes.append(f"The range of {key} was widened to {wide[key]}, so that it holds {point[key]}.")
    return wide, notes


def _entries(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted name -> what is written of it; a table of tables is a level of names."""
    found: dict[str, Any] = {}
    for key, value in data.items():
        deeper = isinstance(value, dict) and value and all(isinstance(each, dict) for each in value.values())
        found |= _entries(value, f"{prefix}{key}.") if deeper else {f"{prefix}{key}": value}
    return found


def _dimension(given: Any, where: str) -> Dimension:
    form = "{low = 1, high = 9}, with log = true where that fits, or {choices = [1, 2]}"
    try:
        found = msgspec.convert(given, Dimension)
    except msgspec.ValidationError as error:
        raise ConfigError(str(error), where=where, got=given, hint=f"write {form}") from None
    if bool(found.choices) == (found.low is not None or found.high is not None or found.log):
        raise ConfigError("neither a range nor choices", where=where, got=given, hint=f"write {form}")
    if found.choices:
        return found
    if found.low is None or found.high is None or not (math.isfinite(found.low) and math.isfinite(found.high)):
        raise ConfigError("a range needs both ends", where=where, got=given, hint=f"write {form}")
    if found.low >= found.high:
        raise ConfigError("low must be below high", where=where, got=given)
    if found.log and found.low <= 0:
        raise ConfigError("a logarithmic range must begin above 0", where=where, got=given)
    return found
