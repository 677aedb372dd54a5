"""`tuned.toml`: what tuning found, one table a source or ranker, used by the next training instead of the defaults.

Each table carries as comments where its parameters come from. Deleting a table goes back to the defaults.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson

from features.errors import ConfigError
from features.files import write_atomically
from serving.strict import nearest
from training.params import Named, named

Tuned = Mapping[str, Named]
"""Source or ranker -> its tuned parameters by dotted name; what is not there has its default."""
_HEAD = """\
# What `kokyaku tune` found better than the defaults; `kokyaku train` uses it. Delete a table to go back to them.
"""
_TABLE = re.compile(r'^\s*\[\s*"?([^\]."\s]+)"?[^\]]*\]', re.MULTILINE)


def read_tuned(path: Path, valid: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The tuned parameters of a shop; nothing where nothing was tuned.

    Args:
        path: of `tuned.toml`.
        valid: names of all sources and rankers; whether each has such parameters is seen where they are used.

    Raises:
        ConfigError: not TOML, or a table that is none of them.
    """
    if not path.exists():
        return {}
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        hint = "mend or delete it, then run kokyaku tune again"
        raise ConfigError(f"not valid TOML: {error}", where=str(path), hint=hint) from None
    for name, params in data.items():
        if name not in valid:
            raise ConfigError("no such source or ranker", where=str(path), got=name, hint=nearest(name, list(valid)))
        if not isinstance(params, dict):
            raise ConfigError("parameters must stand in a table", where=f"{path} {name}", got=params, hint=f"[{name}]")
    return {name: named(params) for name, params in data.items()}


def write_tuned(path: Path, name: str, params: Named | None, told: Sequence[str] = ()) -> None:
    """Replace one table; the others stay as they are, with their comments.

    Args:
        path: of `tuned.toml`.
        name: of the table.
        params: its parameters; None takes the table away.
        told: sentences that stand in it as comments.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    kept = [block for of, block in _blocks(text) if of != name]
    mine = [] if params is None else [table_of(name, params, told)]
    if text or mine:
        write_atomically(path, "\n".join([_HEAD, *kept, *mine]).encode())


def table_of(name: str, params: Named, told: Sequence[str] = ()) -> str:
    """One table as TOML, with comments."""
    lines = [f"[{name}]", *(f"# {sentence}" for sentence in told)]
    lines += [f"{key} = {_value(value)}" for key, value in params.items()]
    return "\n".join(lines) + "\n"


def _blocks(text: str) -> list[tuple[str, str]]:
    """Each table with all that belongs to it, its inner tables included; what stands before the first is left out."""
    starts = [(found.group(1), found.start()) for found in _TABLE.finditer(text)]
    whole = pairwise([*starts, ("", len(text))])
    return [(name, text[start:end].strip() + "\n") for (name, start), (_, end) in whole]


def _value(value: Any) -> str:
    """Strings, whole numbers, numbers and truth values are written in TOML as in JSON; so are lists of them."""
    return orjson.dumps(value).decode()
