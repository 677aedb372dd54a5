"""Histories: what each customer (or visitor) did, as flat arrays sorted by subject and time.

The same arrays feed training (all subjects at once) and serving (one slice, mapped from disk, joined with what
the store has received since). A *subject* is the unit of decision: `customer_subject(id)` or `visitor_subject(id)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from features.ids import Array, Vocabulary

Instants = npt.NDArray[np.int64]


def customer_subject(customer_id: str) -> str:
    """The subject of a known customer."""
    return f"c:{customer_id}"


def visitor_subject(visitor_id: str) -> str:
    """The subject of an anonymous visitor."""
    return f"v:{visitor_id}"


class History(msgspec.Struct, frozen=True, eq=False):
    """Events of one subject (or of many, one after the other), oldest first. All arrays have the same length.

    Ties in time are ordered by `key`, so that two builds of the same events are equal to the byte.
    """

    time: Instants
    """occurred_at, microseconds."""
    recorded: Instants
    """recorded_at, microseconds."""
    item: npt.NDArray[np.int32]
    """Row in the item vocabulary; -1 where the event has no item (or one that the vocabulary lacks)."""
    type: npt.NDArray[np.int8]
    """`EventType` codes."""
    quantity: npt.NDArray[np.float32]
    value: npt.NDArray[np.float32]
    """unit_price x quantity - discount; NaN where the price is unknown."""
    key: npt.NDArray[np.uint64]
    """Hash of event_id, for deduplication."""
    known_by: Any = None  # an int; of any type, so that seven columns can be given as a sequence
    """The instant at which all of them were known, where whoever read them has looked already."""

    def __len__(self) -> int:
        return len(self.time)

    def take(self, which: npt.NDArray[np.bool_] | npt.NDArray[np.intp] | slice) -> History:
        """A selection of events."""
        return History(
            self.time[which], self.recorded[which], self.item[which], self.type[which], self.quantity[which],
            self.value[which], self.key[which],
        )  # fmt: skip

    @property
    def last(self) -> int:
        """The instant of the latest that happened or was received; 0 without any."""
        if self.known_by is None:
            return max(self.time.item(-1), self.recorded.item(self.recorded.argmax())) if len(self) else 0
        known_by: int = self.known_by
        return known_by

    def as_of(self, now: int) -> History:
        """What was known at `now`: `time < now and recorded <= now`."""
        if self.known_by is not None and self.known_by < now:
            return self
        if not len(self) or (self.time.max() < now and self.recorded.max() <= now):
            return self
        return self.take((self.time < now) & (self.recorded <= now))

    def of_types(self, *types: int) -> History:
        """Only events of these types."""
        return self.take(_table_of(types)[self.type])

    def with_items(self, translation: npt.NDArray[np.int32]) -> History:
        """Item rows moved to another vocabulary (`translation[old row] -> new row or -1`)."""
        if not len(translation):
            moved = np.full(len(self.item), -1, np.int32)
        else:
            moved = translation.take(self.item)  # -1 takes the last one's: that is put right where there is any
            if self.item.min(initial=0) < 0:
                moved[self.item < 0] = -1
        return msgspec.structs.replace(self, item=moved)

    def joined(self, later: History) -> History:
        """Both in order of time, an event that stands in both kept once."""
        if not len(later):
            return self
        new = later.take(~np.isin(later.key, self.key)) if len(self) else later
        both = [np.concatenate([getattr(self, name), getattr(new, name)]) for name in FIELDS]
        return History(*(column[np.lexsort((both[-1], both[0]))] for column in both))

    @staticmethod
    def empty() -> History:
        """No events."""
        return History(*(np.empty(0, dtype) for dtype in DTYPES.values()))


@lru_cache(maxsize=256)
def _table_of(types: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """bool[128]: whether a code is one of some types."""
    table = np.zeros(128, bool)
    table[list(types)] = True
    return table


DTYPES: Mapping[str, type[np.generic]] = {
    "time": np.int64,
    "recorded": np.int64,
    "item": np.int32,
    "type": np.int8,
    "quantity": np.float32,
    "value": np.float32,
    "key": np.uint64,
}
FIELDS = tuple(DTYPES)


@dataclass(frozen=True, slots=True)
class Histories:
    """The histories of all subjects.

    Args:
        subjects: their ids, sorted.
        items: the item vocabulary that `events.item` points into.
        offsets: int64[len(subjects) + 1]; subject s owns events[offsets[s]:offsets[s + 1]].
        events: all events, sorted by subject, time and key.
        read: gives a slice of them in another way, such as from a file, with item rows moved as `History.with_items`
            does where a translation is given; None: they are sliced.
    """

    subjects: Vocabulary
    items: Vocabulary
    offsets: Instants
    events: History
    read: Callable[[int, int, npt.NDArray[np.int32] | None], History] | None = None

    def __len__(self) -> int:
        return len(self.subjects)

    def of(self, subject: str) -> History:
        """The history of one subject; empty when unknown."""
        row = self.subjects.find(subject)
        return History.empty() if row is None else self.at(row)

    def at(self, row: int, translation: npt.NDArray[np.int32] | None = None) -> History:
        """The history of the subject in that row; with a translation as `History.with_items` gives it."""
        start, stop = self.offsets[row : row + 2].tolist()
        if self.read is not None:
            return self.read(start, stop, translation)
        found = self.events.take(slice(start, stop))
        return found if translation is None else found.with_items(translation)

    def subject_rows(self) -> npt.NDArray[np.int32]:
        """int32[events]: the subject's row of each event."""
        return np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.offsets))

    def as_of(self, now: int) -> Histories:
        """Only what was known at `now`; subjects keep their rows."""
        known = (self.events.time < now) & (self.events.recorded <= now)
        return self if known.all() else self.where(known)

    def where(self, mask: npt.NDArray[np.bool_]) -> Histories:
        """Only the events under the mask; subjects keep their rows."""
        kept = np.concatenate([np.zeros(1, np.int64), np.cumsum(mask, dtype=np.int64)])
        return replace(self, offsets=kept[self.offsets], events=self.events.take(mask), read=None)

    def with_subjects(self, names: Iterable[str]) -> Histories:
        """The same events and further subjects that have none; ids stay sorted, so rows may move."""
        names = list(names)
        if all(name in self.subjects for name in names):
            return self
        subjects = Vocabulary.of(sorted({*self.subjects, *names}))
        counts = np.zeros(len(subjects), np.int64)
        counts[subjects.rows_of(self.subjects)] = np.diff(self.offsets)
        return replace(self, subjects=subjects, offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]))

    def arrays(self) -> dict[str, Array]:
        """Everything as named flat arrays, ready to be saved and mapped."""
        columns: dict[str, Array] = {name: getattr(self.events, name) for name in FIELDS}
        return {
            **columns,
            "offsets": self.offsets,
            **self.subjects.arrays("subjects"),
            **self.items.arrays("items"),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Histories:
        """Read what `arrays()` gave."""
        return cls(
            Vocabulary.from_arrays(arrays, "subjects"),
            Vocabulary.from_arrays(arrays, "items"),
            arrays["offsets"].view(np.int64),
            History(*(arrays[name] for name in FIELDS)),  # type: ignore[arg-type]
        )
