"""Text and ids: matched NFKC-folded, shown as written."""

from __future__ import annotations

import hashlib
import re
import struct
import unicodedata
from hashlib import blake2b

_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
MAX_ID_LENGTH = 512
"""Ids are non-empty strings of any characters; longer ones are rejected, not cut."""
_LENGTH, _NUMBER = struct.Struct("<I").pack, struct.Struct("<Q").unpack
"""A length as four bytes, and eight bytes as a number; the smallest first."""
_UNITS = float(1 << 53)
"""So many numbers a hash can be in [0, 1)."""


def fold(text: str) -> str:
    """The form in which text is compared: NFKC, case-folded, white space collapsed.

    >>> fold("ｿﾌｧｰ  ABC") == fold("ソファー abc")
    True
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())  # case folding can leave decomposed letters


def printable(text: str) -> str:
    """The text on one line, with what nobody sees written out: it can begin no line and steer no terminal.

    >>> printable("a\\nb\\x1b[2J") == "a" + r"\\u000a" + "b" + r"\\u001b" + "[2J"
    True
    """
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def stable_hash(*parts: str) -> int:
    """An unsigned 64-bit hash of strings: the same on every machine and in every run.

    Each part is prefixed by its length, so ("ab", "c") and ("a", "bc") differ.
    """
    return _hashed(_laid_out(parts))


def hash_of(raw: bytes) -> int:
    """`stable_hash` of one string, given as its UTF-8."""
    return _hashed(_LENGTH(len(raw)) + raw)


def _hashed(laid: bytes) -> int:
    found: int = _NUMBER(blake2b(laid, digest_size=8).digest())[0]
    return found


def unit_hash(*parts: str) -> float:
    """A hash of strings as a number in [0, 1), for assignment and draws."""
    return (stable_hash(*parts) >> 11) / _UNITS


class UnitHash:
    """`unit_hash` of strings that begin alike: what they share is hashed once.

    >>> UnitHash("a", "b")("c") == unit_hash("a", "b", "c")
    True
    """

    __slots__ = ("_begun",)

    def __init__(self, *parts: str) -> None:
        self._begun = blake2b(_laid_out(parts), digest_size=8)

    def __call__(self, *parts: str) -> float:
        """The number of the strings that it was made with and these."""
        hashed = self._begun.copy()
        hashed.update(_laid_out(parts))
        found: float = (_NUMBER(hashed.digest())[0] >> 11) / _UNITS
        return found


def _laid_out(parts: tuple[str, ...]) -> bytes:
    told = b""
    for part in parts:  # few and short
        raw = part.encode("utf-8", "surrogatepass")
        told += _LENGTH(len(raw)) + raw
    return told


def event_key(event_id: str) -> int:
    """The 64-bit key under which a history remembers an event.

    Half of an MD5, because DuckDB computes the same (`md5_number_lower`) while it builds histories.
    """
    raw = event_id.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.md5(raw, usedforsecurity=False).digest()[8:], "little")
