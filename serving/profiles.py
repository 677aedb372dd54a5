"""Profiles: what the dataset knows of each customer beside events, mapped by every worker.

They are the `people` part of the history artefact: fields as of the latest version, reports of order lines and the
lines that they make, and each consent that was ever told. Of each subject three pieces of JSON lie one behind the
other: `Shown`, what a request reads; `Told`, most of the bytes, which it does not; and `Agreed`, which it reads first.
It comes last, since erasure writes over a profile from its beginning: a word on consents goes after what it guards.
Where a subject has no profile nothing is decoded.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from features.ids import Array, Vocabulary
from features.order_reports import Report, lines_of
from features.orders import OrderLine

ARRAYS = ("people.offsets", "people.bytes")
REACH = {"customers_seq": "customers", "orders_seq": "orders"}
"""Names in the manifest: up to which change of a table of the store the profiles hold what was told."""


class Profile(msgspec.Struct, frozen=True, omit_defaults=True):
    """One customer.

    Args:
        fields: see `serving.fields.Fields`, nothing of it forgotten or a guest's.
        orders: all reports of his order lines.
        consents: `[purpose, how]` as told, oldest first.
    """

    fields: dict[str, Any] = {}
    orders: tuple[Report, ...] = ()
    consents: tuple[tuple[str, Any], ...] = ()


class Shown(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a request reads of a profile, ready made: else it would be worked out again and again.

    Args:
        fields: those of the profile, without consents.
        lines: what the reports make, all of them.
    """

    fields: dict[str, Any] = {}
    lines: tuple[OrderLine, ...] = ()


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """The rest of it, as of `Profile`."""

    orders: tuple[Report, ...] = ()
    consents: tuple[tuple[str, Any], ...] = ()


class Agreed(msgspec.Struct, frozen=True, omit_defaults=True):
    """What of a profile, or of a change, is decoded to know consents: nothing else of it is."""

    consents: Any = None
    guest: Any = None


class AgreedProfile(msgspec.Struct, frozen=True):
    """A profile of before, of which only the consents are decoded."""

    fields: Agreed = Agreed()


UNREADABLE: Final = object()
PARTS = 3
_SHOWN, _TOLD, _AGREED = range(PARTS)
_profile = msgspec.json.Decoder(Profile)
_agreed_profile = msgspec.json.Decoder(AgreedProfile)
_agreed = msgspec.json.Decoder(Agreed)
_shown = msgspec.json.Decoder(Shown)
_told = msgspec.json.Decoder(Told)


@dataclass(frozen=True, slots=True)
class People:
    """The profiles of all subjects of a history.

    Args:
        subjects: the history's.
        offsets: int64[PARTS x subjects + 1]; part p of subject s is raw[offsets[PARTS s + p]:offsets[PARTS s + p + 1]].
            int64[subjects + 1] where it was written before there were parts: then each is the JSON of a whole profile.
        raw: uint8[bytes].
        after: the store's changes of customers and of orders after these numbers are newer.
    """

    subjects: Vocabulary
    offsets: Array
    raw: Array
    after: tuple[int, int]
    # One value of a view, and a stretch of it, cost a third of what those of an array do.
    _bounds: memoryview = field(init=False, repr=False)
    _bytes: memoryview = field(init=False, repr=False)
    _whole: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_bounds", memoryview(self.offsets))  # type: ignore[arg-type]
        object.__setattr__(self, "_bytes", memoryview(self.raw))  # type: ignore[arg-type]
        object.__setattr__(self, "_whole", are_whole(self.offsets, len(self.subjects)))

    def of(self, subject: str) -> Profile | None:
        """The profile of a subject; None where there is none, or where it is being erased right now."""
        return self.at(self.subjects.find(subject))

    def at(self, row: int | None) -> Profile | None:
        """The profile of the subject in that row, likewise; None also where the row is None."""
        raw = self.shown_at(row)
        if raw is None or row is None:
            return None
        if self._whole:
            found: Profile | None = _decoded(_profile, raw)
            return found
        shown, told, agreed = _decoded(_shown, raw), Told(), Agreed()
        if rest := self._part(row, _TOLD):
            told = _decoded(_told, rest)
        if rest := self._part(row, _AGREED):
            agreed = _decoded(_agreed, rest)
        if shown is None or told is None or agreed is None:
            return None
        consents = {} if agreed.consents is None else {"consents": agreed.consents}
        return Profile(shown.fields | consents, told.orders, told.consents)

    def agreed(self, row: int | None) -> Any:
        """The consents of the profile of the subject in that row; None where there are none, or not any more.

        `UNREADABLE` where there are some and nobody can read them.
        """
        if row is None:
            return None
        raw = self._part(row, _SHOWN if self._whole else _AGREED)
        if not raw or not raw[0]:  # erasure writes zeros, from the beginning
            return None
        found = _decoded(_agreed_profile if self._whole else _agreed, raw)
        if found is None:
            return UNREADABLE
        return found.fields.consents if self._whole else found.consents

    def shown_at(self, row: int | None) -> bytes | None:
        """The JSON of `Shown`, or of the whole profile where it has no parts; None where there is no profile.

        It is copied at this moment: where it is being erased it may be no JSON any more.
        """
        return None if row is None else self._part(row, _SHOWN) or None

    def _part(self, row: int, part: int) -> bytes:
        at = row if self._whole else PARTS * row + part
        return bytes(self._bytes[self._bounds[at] : self._bounds[at + 1]])


class Spooled(NamedTuple):
    """Profiles as they are kept, one behind the other.

    Args:
        subjects: whose, ascending.
        lengths: int64[n, PARTS], bytes of each part.
        raw: uint8[bytes].
    """

    subjects: list[str]
    lengths: npt.NDArray[np.int64]
    raw: Array


def spooled(profiles: Iterable[tuple[str, Profile]], folder: Path) -> Spooled:
    """Write profiles one by one into a file without a name, and map it: all of a large shop fit into no memory.

    Args:
        profiles: by subject, ascending.
        folder: on whose disk the file shall be.

    Raises:
        ValueError: the subjects do not ascend.
    """
    subjects, lengths = [""], array("q")
    with tempfile.TemporaryFile(dir=folder) as file:
        for subject, profile in profiles:
            if subject <= subjects[-1]:
                raise ValueError(f"profiles must ascend: {subject!r} comes after {subjects[-1]!r}")
            subjects.append(subject)
            lengths.extend(file.write(part) for part in _parts(profile))
        file.flush()
        raw: Array = np.memmap(file, np.uint8, "r") if file.tell() else np.empty(0, np.uint8)
    return Spooled(subjects[1:], np.array(lengths, np.int64).reshape(-1, PARTS), raw)


def _parts(profile: Profile) -> Iterator[bytes]:
    """JSON of its parts; nothing of those that say nothing, but for the first, which tells that there is a profile."""
    fields = dict(profile.fields)
    agreed = Agreed(fields.pop("consents", None))
    yield msgspec.json.encode(Shown(fields, lines_of(profile.orders)))
    told = Told(profile.orders, profile.consents)
    yield b"" if told == Told() else msgspec.json.encode(told)
    yield b"" if agreed == Agreed() else msgspec.json.encode(agreed)


def people_arrays(subjects: Vocabulary, told: Spooled) -> dict[str, Array]:
    """The arrays of the history artefact: profiles in the order of the subjects, which ascend as well."""
    lengths = np.zeros((len(subjects), PARTS), np.int64)
    lengths[subjects.rows_of(told.subjects)] = told.lengths
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    return dict(zip(ARRAYS, (offsets, told.raw), strict=True))


def are_whole(offsets: Array, subjects: int) -> bool:
    """Whether profiles were written before they had parts."""
    return len(offsets) <= subjects + 1


def bounds_in(offsets: Array, subjects: int) -> Array:
    """int64[subjects + 1]: between which bytes all parts of each profile lie."""
    return offsets if are_whole(offsets, subjects) else offsets[::PARTS]


def people_in(subjects: Vocabulary, arrays: Mapping[str, Array], manifest: Mapping[str, Any], store: str) -> People:
    """The people of an opened history; numbers of another store mean nothing, then all that this one holds is newer."""
    reach = [int(manifest.get(name, 0)) if manifest.get("store_id") == store else 0 for name in REACH]
    return People(subjects, arrays[ARRAYS[0]], arrays[ARRAYS[1]], (reach[0], reach[1]))


def _decoded(decoder: Any, raw: bytes) -> Any:
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None  # its bytes are being overwritten: as if they were gone
