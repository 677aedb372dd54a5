"""An index over item vectors: the best inner products without looking at all items.

Training groups the vectors of large catalogues by k-means (an inverted file, as Jegou et al. 2011 call it) and keeps
those of a group side by side, each number as one byte: a request reads as little as can be. It looks at the groups
whose centre speaks most for it, until it has seen enough items, and asks the whole vectors of the best of those. It may
miss some that a full scan would find; `recall` says how many, training finds out how many items are enough
(`training.indexing`), and a small catalogue has no index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from features.compiled import available, scratch
from features.errors import BundleError
from features.ids import Array
from serving.candidates import Floats, Proposals, Rows, best
from serving.sources.vector_kernels import LANES, search, search_down

Codes = npt.NDArray[np.int8]
LEAST_ITEMS = 20_000
"""In a smaller catalogue a full scan costs less than a tenth of a request."""
LOOKED_AT = 24
"""Items that are looked at for each one that is wanted, where an index does not say that fewer will do."""
_PASSES = 8
_SPARE = 8
"""One in so many is looked up beyond those that are wanted: codes are not exact."""
_LARGEST = 127
_NO_LENGTHS: Floats = np.empty(0, np.float32)


@dataclass(frozen=True, slots=True)
class Index:
    """Vectors by group.

    Args:
        centres: float32[groups, k].
        starts: int64[groups + 1], where the vectors of each begin.
        items: int32[n], the item of each vector.
        codes: int8[n, k], the vectors, each divided by its scale and rounded; of a single group side by side (`laned`).
        scales: float32[n].
        vectors: float32[n_items, k], of all items.
        looked_at: so many items are looked at for each one that is wanted, at least; of a single group it is all.
        least: and so many in all.
        lengths: float32[n], of the vectors, where there is one group and they descend by it: then as many are looked at
            as can be among the best. Else empty.
    """

    centres: Floats
    starts: npt.NDArray[np.int64]
    items: Rows
    codes: Codes
    scales: Floats
    vectors: Floats
    looked_at: int = LOOKED_AT
    least: int = 0
    lengths: Floats = field(default_factory=lambda: _NO_LENGTHS)

    @classmethod
    def of(cls, arrays: Mapping[str, Array], vectors: Floats) -> Index | None:
        """The index among a source's arrays, over the vectors of all items; None where it has none.

        Raises:
            BundleError: codes that do not fit the items and their vectors.
        """
        if "index.centres" not in arrays:
            return None
        if "index.codes" not in arrays:  # a bundle of before there were codes
            codes, scales = coded(vectors[arrays["index.items"]])
            arrays = {**arrays, "index.codes": codes, "index.scales": scales}
        named: dict[str, Any] = {name: arrays[f"index.{name}"] for name in NAMES}
        if len(named["centres"]) == 1:
            named["codes"] = _side_by_side(named["codes"], len(named["items"]), vectors.shape[1])
        looked_at, least = arrays.get("index.looks", (LOOKED_AT, 0))  # older ones do not say
        lengths = cast("Floats", arrays.get("index.lengths", _NO_LENGTHS))  # in a bundle of before there are none
        return cls(**named, vectors=vectors, looked_at=int(looked_at), least=int(least), lengths=lengths)

    def arrays(self) -> dict[str, Array]:
        """Named as arrays of a source."""
        named = {f"index.{name}": getattr(self, name) for name in NAMES}
        told = {"index.lengths": self.lengths} if len(self.lengths) else {}
        return {**named, **told, "index.looks": np.array([self.looked_at, self.least])}

    def best(self, vector: Floats, count: int) -> Proposals:
        """The items with the `count` highest inner products among those looked at, best first, ties by item."""
        found = self.near(vector, count)
        return best(found.scores, found.items, count)

    def near(self, vector: Floats, count: int) -> Proposals:
        """A few more than `count` items, in any order, among which those with the highest inner products are."""
        wanted, near = max(self.looked_at * count, self.least), count + count // _SPARE
        if not available():
            close = best(*self._looked_at(vector, wanted), near).items
            return Proposals(close, cast("Floats", self.vectors[close] @ vector))
        room = len(self.items)
        top, values = np.empty(min(near, room), np.int32), np.empty(min(near, room), np.float32)
        places = scratch("index_item", room, np.int32), scratch("index_number", room, np.int32)
        if len(self.centres) == 1:
            count = search_down(
                self.items, self.codes, self.scales, self.lengths, self.vectors, vector, *places, top, values
            )  # fmt: skip
        else:
            count = search(
                self.centres, self.starts, self.items, self.codes, self.scales, self.vectors, vector, wanted, places[0],
                scratch("index_score", room, np.float32), places[1], top, values,
            )  # fmt: skip
        return Proposals(top, values) if count == len(top) else Proposals(top[:count], values[:count])

    def _looked_at(self, vector: Floats, wanted: int) -> tuple[Floats, Rows]:
        """At least so many items in the groups that speak most for a vector, with their products nearly."""
        codes = self.codes if self.codes.ndim == 2 else in_rows(self.codes, len(self.items), len(vector))
        order = np.argsort(-(self.centres @ vector), kind="stable")
        seen = np.cumsum(np.diff(self.starts)[order])
        groups = order[: int(np.searchsorted(seen, wanted)) + 1]
        spans = [slice(int(self.starts[group]), int(self.starts[group + 1])) for group in groups]
        nearly = [(codes[span] @ vector).astype(np.float32) * self.scales[span] for span in spans]
        return np.concatenate(nearly), np.concatenate([self.items[span] for span in spans])


NAMES = ("centres", "starts", "items", "codes", "scales")


def coded(vectors: Floats) -> tuple[Codes, Floats]:
    """int8[n, k] and float32[n]: vectors as whole numbers up to 127, and what each is to be multiplied by."""
    scales = np.maximum(np.abs(vectors).max(axis=1, initial=0), np.finfo(np.float32).tiny) / np.float32(_LARGEST)
    return np.rint(vectors / scales[:, None]).astype(np.int8), scales.astype(np.float32)


def laned(codes: Codes) -> Codes:
    """int8[blocks, pairs, LANES, 2] of int8[n, k]: rows side by side, for `features.lanes`; what is missing is 0."""
    count, places = codes.shape
    blocks, pairs = -(-count // LANES), -(-places // 2)
    wide = np.zeros((blocks * LANES, 2 * pairs), np.int8)
    wide[:count, :places] = codes
    return np.ascontiguousarray(wide.reshape(blocks, LANES, pairs, 2).transpose(0, 2, 1, 3))


def _side_by_side(codes: Codes, count: int, places: int) -> Codes:
    """Codes of a single group as they are kept now: a bundle of before has them in rows."""
    found = laned(codes) if codes.ndim == 2 else codes
    wanted = (-(-count // LANES), -(-places // 2), LANES, 2)
    if found.shape != wanted:
        hint = "train again with this program"
        raise BundleError("codes of an index do not fit its items", where="index.codes", got=codes.shape, hint=hint)
    return found


def in_rows(codes: Codes, count: int, places: int) -> Codes:
    """int8[count, places]: what `laned` was given."""
    return codes.transpose(0, 2, 1, 3).reshape(-1, 2 * codes.shape[1])[:count, :places]


def indexed(vectors: Floats, listed: npt.NDArray[np.bool_], seed: int = 0, groups: int = 0) -> Index:
    """Group the vectors of the listed items by k-means, from a seed.

    Args:
        vectors: float32[n_items, k].
        listed: bool[n_items], what is ever looked for.
        seed: of the first centres.
        groups: so many; 0: as many as each has items.
    """
    rows = np.flatnonzero(listed).astype(np.int32)
    mine = np.ascontiguousarray(vectors[rows])
    groups = groups or max(int(np.sqrt(len(rows))), 1)
    random = np.random.default_rng(seed)
    centres = mine[random.choice(len(mine), groups, replace=False)]
    for _ in range(_PASSES):
        group = _nearest(mine, centres)
        size = np.bincount(group, minlength=groups)
        sums = np.zeros_like(centres)
        np.add.at(sums, group, mine)
        centres = np.where(size[:, None] > 0, sums / np.maximum(size, 1)[:, None], centres).astype(np.float32)
    group = _nearest(mine, centres)
    lengths = _NO_LENGTHS if groups > 1 else np.linalg.norm(mine, axis=1).astype(np.float32)
    order = np.argsort(group if groups > 1 else -lengths, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(group, minlength=groups))]).astype(np.int64)
    ordered = lengths[order] if len(lengths) else lengths
    codes, scales = coded(mine[order])
    return Index(centres, starts, rows[order], codes if groups > 1 else laned(codes), scales, vectors, lengths=ordered)


def index_of(vectors: Floats, listed: npt.NDArray[np.bool_], groups: int = 0) -> Index | None:
    """An index over a source's vectors; None where few items are listed: looking at all is cheap.

    Args:
        vectors, listed, groups: as for `indexed`.
    """
    return indexed(vectors, listed, groups=groups) if int(listed.sum()) >= LEAST_ITEMS else None


def scanned(index: Index, subjects: Floats, count: int) -> list[Rows]:
    """For each subject the `count` best items of an index, ascending, as a full scan finds them.

    Args:
        subjects: float32[m, k], folded-in customers.
        count: proposals of each.
    """
    rows = np.sort(index.items)
    mine = index.vectors[rows]
    return [np.sort(best(mine @ subject, rows, count).items) for subject in subjects]


def recall(index: Index, subjects: Floats, wanted: Sequence[Rows]) -> float:
    """The share of the best items that an index finds, in the mean over subjects; NaN where there are none.

    Args:
        subjects: as for `scanned`.
        wanted: what that says of them.
    """
    found = [
        np.isin(index.best(subject, len(rows)).items, rows).mean()
        for subject, rows in zip(subjects, wanted, strict=True)
    ]
    return float(np.mean(found)) if found else float("nan")


def _nearest(vectors: Floats, centres: Floats) -> npt.NDArray[np.intp]:
    """int64[n]: the centre at the smallest distance of each vector."""
    half = 0.5 * (centres * centres).sum(axis=1)
    blocks = [vectors[start : start + 8192] for start in range(0, len(vectors), 8192)]
    return np.concatenate([np.argmax(block @ centres.T - half, axis=1) for block in blocks])
