"""Which lines of the pinned requirements a Bento needs: `python -m serving.deploy.pins PINNED WANTED`.

A worker takes a third of what training takes. What it wants names packages (`env/python/requirements.txt` of a Bento);
what these need in turn is asked of the environment that built it; versions and hashes are those that were tested.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from features.errors import DataError

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==")


def pinned(requirements: str, wanted: Iterable[str]) -> str:
    """The blocks of a requirements file, hashes and all, that some packages and what they need stand in.

    Args:
        requirements: the text of a file with every version pinned.
        wanted: requirements such as `bentoml>=1.4`; other lines of such files are passed over.

    Raises:
        DataError: something needed is not installed here, or not pinned.
    """
    blocks = [(_name(block), block) for block in _blocks(requirements)]  # a name may have one a version of Python
    needed = closure(wanted)
    if missing := sorted(needed - {name for name, _ in blocks}):
        hint = "pin all that is needed, then build again"
        raise DataError("not pinned", where="requirements", got=", ".join(missing), hint=hint)
    return "".join(block for name, block in blocks if name in needed)


def closure(wanted: Iterable[str]) -> set[str]:
    """Names of some packages and of all that they need on this machine, as PyPI spells them.

    Raises:
        DataError: one of them is not installed here.
    """
    waiting = [parsed for line in wanted if (parsed := _parsed(line)) is not None]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        asked = waiting.pop()
        key = (canonicalize_name(asked.name), frozenset(asked.extras))
        if key not in seen:
            seen.add(key)
            waiting += _needs(asked)
    return {name for name, _ in seen}


def _needs(asked: Requirement) -> Iterator[Requirement]:
    try:
        lines = distribution(asked.name).requires or ()
    except PackageNotFoundError:
        raise DataError("not installed here", where="requirements", got=asked.name, hint="install it first") from None
    for line in lines:
        needed = Requirement(line)
        if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *asked.extras)):
            yield needed


def _parsed(line: str) -> Requirement | None:
    """The requirement of a line; None for comments, options and those of other machines."""
    text = line.partition(" #")[0].strip()
    if not text or text.startswith(("#", "-")):
        return None
    try:
        found = Requirement(text)
    except InvalidRequirement as error:
        raise DataError("not a requirement", where="requirements", got=line, hint=str(error)) from None
    return found if found.marker is None or found.marker.evaluate() else None


def _blocks(requirements: str) -> Iterator[str]:
    """Each pin with the lines that belong to it."""
    block = ""
    for line in requirements.splitlines(keepends=True):
        if _PIN.match(line) and block:
            yield block
            block = ""
        if block or _PIN.match(line):
            block += line
    if block:
        yield block


def _name(block: str) -> str:
    found = _PIN.match(block)
    return canonicalize_name(found[1]) if found else ""


def main(arguments: Sequence[str]) -> int:
    """Print the lines; 2 on an error."""
    try:
        requirements, wanted = (Path(name).read_text() for name in arguments)
        sys.stdout.write(pinned(requirements, wanted.splitlines()))
    except (DataError, OSError, ValueError) as error:
        sys.stderr.write(f"error: {error.line() if isinstance(error, DataError) else error}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
