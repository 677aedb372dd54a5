"""What all tables of `shop.toml` share: unknown keys are refused, and a typo is told the nearest valid name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import msgspec


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """Base of the file's tables: keys are kebab-case and unknown ones are refused."""


def nearest(name: str, valid: Sequence[str]) -> str:
    """`did you mean "x"?`, or the list when nothing is near."""
    swapped = [known for known in valid if sorted(known) == sorted(name)]  # the commonest typo of all
    close = swapped or difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    return f'did you mean "{close[0]}"?' if close else f"valid names: {', '.join(valid)}"
