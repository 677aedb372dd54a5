"""Ids as a bijection: string ids outside, dense row numbers inside, and never a silent -1.

A `Vocabulary` is four flat arrays, so it maps from disk: a million ids cost a worker no private memory.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from features.errors import DataError, NotFoundError
from features.pace import breathe
from features.text import hash_of

Array = npt.NDArray[np.generic]
ARRAYS = ("blob", "offsets", "hashes", "rows")
_PIECE = 2048
"""Ids that are translated at once: what that takes stays in the cache, and takes a fraction of a request."""


class Vocabulary(Sequence[str]):
    """An ordered set of string ids; `vocabulary[row]` is the id, `row(id)` the number.

    Args:
        blob: uint8[bytes], the UTF-8 ids one after the other.
        offsets: int64[n + 1], where each begins.
        hashes: uint64[n], sorted hashes of the ids.
        rows: int32[n], the row of each hash.
    """

    __slots__ = ("_bounds", "_bytes", "_hashes", "blob", "hashes", "offsets", "rows")

    def __init__(self, blob: Array, offsets: Array, hashes: Array, rows: Array) -> None:
        self.blob, self.offsets, self.hashes, self.rows = blob, offsets, hashes, rows
        # One value of a view costs a tenth of what one of an array does.
        self._bytes, self._bounds, self._hashes = memoryview(blob), memoryview(offsets), memoryview(hashes)  # type: ignore[arg-type]

    def __reduce__(self) -> tuple[type[Vocabulary], tuple[Array, ...]]:
        return Vocabulary, (self.blob, self.offsets, self.hashes, self.rows)  # views do not travel

    @classmethod
    def of(cls, ids: Iterable[str]) -> Vocabulary:
        """Build from distinct ids, keeping their order.

        Raises:
            DataError: an id is empty or occurs twice.
        """
        listed = list(ids)
        encoded = [text.encode("utf-8", "surrogatepass") for text in listed]
        lengths = np.fromiter((len(raw) for raw in encoded), np.int64, len(encoded))
        if (lengths == 0).any():
            raise DataError("an empty id", where=f"row {int(np.argmin(lengths))}")
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        hashes = np.fromiter((hash_of(raw) for raw in encoded), np.uint64, len(listed))
        rows = np.argsort(hashes, kind="stable").astype(np.int32)
        vocabulary = cls(np.frombuffer(b"".join(encoded), np.uint8), offsets, hashes[rows], rows)
        if len(set(listed)) != len(listed):
            raise DataError("an id occurs twice in a vocabulary")
        return vocabulary

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], prefix: str) -> Vocabulary:
        """Read the arrays that `arrays(prefix)` wrote."""
        return cls(*(arrays[f"{prefix}.{name}"] for name in ARRAYS))

    def arrays(self, prefix: str) -> dict[str, Array]:
        """The flat arrays under `prefix.<name>`, ready to be saved."""
        return {f"{prefix}.{name}": getattr(self, name) for name in ARRAYS}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> str:  # type: ignore[override]  # no slices: ids are looked up one by one
        if not 0 <= row < len(self.rows):
            raise IndexError(row)
        raw = self._bytes[self._bounds[row] : self._bounds[row + 1]]
        return str(raw, "utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        raw = self.blob.tobytes()
        bounds = self.offsets.tolist()
        for start, end in itertools.pairwise(bounds):
            yield raw[start:end].decode("utf-8", "surrogatepass")

    def __contains__(self, value: object) -> bool:
        return isinstance(value, str) and self.find(value) is not None

    def find(self, text: str) -> int | None:
        """The row of an id, or None when it is unknown."""
        raw = text.encode("utf-8", "surrogatepass")
        wanted = hash_of(raw)
        at = bisect_left(self._hashes, wanted)
        while at < len(self._hashes) and self._hashes[at] == wanted:
            row: int = self.rows.item(at)
            if self._bytes[self._bounds[row] : self._bounds[row + 1]] == raw:
                return row
            at += 1
        return None

    def row(self, text: str) -> int:
        """The row of an id.

        Raises:
            NotFoundError: the id is unknown.
        """
        found = self.find(text)
        if found is None:
            raise NotFoundError("unknown id", got=text)
        return found

    def rows_of(self, ids: Iterable[str]) -> npt.NDArray[np.int32]:
        """The rows of many ids; unknown ones are -1, which the caller must drop before indexing."""
        return np.fromiter((-1 if (r := self.find(text)) is None else r for text in ids), np.int32)

    def translate_to(self, other: Vocabulary) -> npt.NDArray[np.int32]:
        """int32[len(self)]: the row in `other` of each of our ids, -1 where it has none.

        Both are in the order of their hashes, so nothing is looked up one by one but where hashes collide.
        """
        found = np.full(len(self), -1, np.int32)
        for start in range(0, len(self) if len(other) else 0, _PIECE):
            self._translate(slice(start, start + _PIECE), other, found)
            breathe()
        return found

    def _translate(self, piece: slice, other: Vocabulary, found: npt.NDArray[np.int32]) -> None:
        """Fill in the rows of those ids whose hashes are a piece of ours."""
        hashes = self.hashes[piece]
        at = np.minimum(np.searchsorted(other.hashes, hashes), len(other) - 1)
        met = other.hashes[at] == hashes
        mine, theirs = self.rows[piece][met].astype(np.intp), other.rows[at[met]].astype(np.int32)
        alike = _same_text(self, mine, other, theirs)
        found[mine[alike]] = theirs[alike]
        for row in mine[~alike].tolist():
            found[row] = -1 if (it := other.find(self[row])) is None else it


def _same_text(
    one: Vocabulary, rows: npt.NDArray[np.intp], other: Vocabulary, others: npt.NDArray[np.int32]
) -> npt.NDArray[np.bool_]:
    """bool[k]: whether each id of `one` is, letter by letter, the id of `other` beside it."""
    starts = one.offsets[rows].view(np.int64), other.offsets[others].view(np.int64)
    lengths = one.offsets[rows + 1].view(np.int64) - starts[0]
    alike = lengths == other.offsets[others + 1].view(np.int64) - starts[1]
    first, second, long = starts[0][alike], starts[1][alike], lengths[alike]
    if len(long):
        ends = np.cumsum(long)
        within = np.arange(ends[-1]) - np.repeat(ends - long, long)
        differs = one.blob[np.repeat(first, long) + within] != other.blob[np.repeat(second, long) + within]
        alike[alike] = ~np.logical_or.reduceat(differs, ends - long)  # no id is empty, so no segment is
    return np.asarray(alike)
