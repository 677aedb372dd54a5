"""Profiles: what the dataset knows of each customer beside events, as one JSON blob a subject, mapped by every worker.

They are the `people` part of the history artefact: fields as of the latest version, reports of order lines and the
lines that they make, and each consent that was ever told. Where a subject has no blob nothing is decoded.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

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


class Kept(Profile, frozen=True, omit_defaults=True):
    """A profile as it is written: with what a request would otherwise work out again and again.

    Args:
        lines: what the reports make, all of them.
    """

    lines: tuple[OrderLine, ...] = ()


class Agreed(msgspec.Struct, frozen=True):
    """What of a profile, or of a change, is decoded to know consents: nothing else of it is."""

    consents: Any = None
    guest: Any = None


class AgreedProfile(msgspec.Struct, frozen=True):
    """A profile of which only the consents are decoded."""

    fields: Agreed = Agreed()


_profile = msgspec.json.Decoder(Profile)
_agreed = msgspec.json.Decoder(AgreedProfile)


@dataclass(frozen=True, slots=True)
class People:
    """The profiles of all subjects of a history.

    Args:
        subjects: the history's.
        offsets: int64[subjects + 1]; subject s owns raw[offsets[s]:offsets[s + 1]].
        raw: uint8[bytes], JSON of `Kept`, or of `Profile` where it was written before there were lines.
        after: the store's changes of customers and of orders after these numbers are newer.
    """

    subjects: Vocabulary
    offsets: Array
    raw: Array
    after: tuple[int, int]
    # One value of a view, and a stretch of it, cost a third of what those of an array do.
    _bounds: memoryview = field(init=False, repr=False)
    _told: memoryview = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_bounds", memoryview(self.offsets))  # type: ignore[arg-type]
        object.__setattr__(self, "_told", memoryview(self.raw))  # type: ignore[arg-type]

    def of(self, subject: str) -> Profile | None:
        """The profile of a subject; None where there is none, or where it is being erased right now."""
        return self.at(self.subjects.find(subject))

    def at(self, row: int | None) -> Profile | None:
        """The profile of the subject in that row, likewise; None also where the row is None."""
        raw = self.json_at(row)
        return None if raw is None else _decoded(_profile, raw)

    def agreed(self, row: int | None) -> Any:
        """The consents of the profile of the subject in that row; None where there are none."""
        raw = self.json_at(row)
        found = None if raw is None else _decoded(_agreed, raw)
        return None if found is None else found.fields.consents

    def json_at(self, row: int | None) -> bytes | None:
        """That profile as it is kept, copied at this moment: where it is being erased it may be no JSON any more."""
        if row is None:
            return None
        start, end = self._bounds[row], self._bounds[row + 1]
        return bytes(self._told[start:end]) if start < end else None


class Spooled(NamedTuple):
    """Profiles as they are kept, one behind the other.

    Args:
        subjects: whose, ascending.
        lengths: int64[n], bytes of each.
        raw: uint8[bytes], JSON of `Kept`.
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
            kept = Kept(profile.fields, profile.orders, profile.consents, lines_of(profile.orders))
            subjects.append(subject)
            lengths.append(file.write(msgspec.json.encode(kept)))
        file.flush()
        raw: Array = np.memmap(file, np.uint8, "r") if file.tell() else np.empty(0, np.uint8)
    return Spooled(subjects[1:], np.array(lengths, np.int64), raw)


def people_arrays(subjects: Vocabulary, told: Spooled) -> dict[str, Array]:
    """The arrays of the history artefact: profiles in the order of the subjects, which ascend as well."""
    lengths = np.zeros(len(subjects), np.int64)
    lengths[subjects.rows_of(told.subjects)] = told.lengths
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    return dict(zip(ARRAYS, (offsets, told.raw), strict=True))


def people_in(subjects: Vocabulary, arrays: Mapping[str, Array], manifest: Mapping[str, Any], store: str) -> People:
    """The people of an opened history; numbers of another store mean nothing, then all that this one holds is newer."""
    reach = [int(manifest.get(name, 0)) if manifest.get("store_id") == store else 0 for name in REACH]
    return People(subjects, arrays[ARRAYS[0]], arrays[ARRAYS[1]], (reach[0], reach[1]))


def _decoded(decoder: Any, raw: bytes) -> Any:
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None  # its bytes are being overwritten: as if they were gone
