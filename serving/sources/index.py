"""An index over item vectors: the best inner products, without reading most of what is known of the items.

A request reads as little as can be, for what it waits for is the memory. So vectors stand as bytes, in blocks of 32
side by side, and turned so that their first places say most (the principal axes): after a few of those it is known by
how much the others can add at most (Cauchy-Schwarz, as Teflioudi et al. 2015 and Li et al. 2017 bound inner products),
and a block that cannot reach what was found before is read no further. Blocks are of one of the k-means groups of the
vectors, and no item of a group can say more than its centre and the largest distance from that do: the groups that can
say most come first, those that cannot say enough are not read. Whoever can be among the best by all that is asked again
by its whole vector: nothing that a full scan finds is missed.

Where all vectors are as long and say as much in each place, bounds that always hold leave out little. So training may
let a group reach only as far as the best usually lie (`indexing.usual_reach`): then all is found but a share that is
known, a few in a thousand, for a quarter of the time. Nothing else of this differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from features.compiled import available, scratch
from features.errors import BundleError
from features.ids import Array
from serving.candidates import NOTHING, Floats, Proposals, Rows, best
from serving.sources.vector_kernels import LANES, LARGEST, MARK, search

Codes = npt.NDArray[np.int8]
LEAST_ITEMS = 3_000
"""Fewer are asked in full as quickly."""
NAMES = ("axes", "reach", "starts", "items", "codes", "rest")
_KINDS = (np.float32, np.float32, np.int64, np.int32, np.int8, np.float32)


@dataclass(frozen=True, slots=True)
class Index:
    """Vectors in blocks.

    Args:
        axes: float32[k + 1 + groups, k]: the principal axes, one a row; then about how large the numbers of each place
            are, their spread; then the centre of each group.
        reach: float32[groups], the largest distance of a vector of the group from its centre, or how far those usually
            are that are among the best.
        starts: int64[groups + 1], at which block each group goes on; the first blocks of all stand before.
        items: int32[blocks x 32], whose vectors stand in them; -1 where a group leaves room.
        codes: int8[blocks x places x 32], for `features.lanes`: the vectors, turned, each place divided by its spread
            and by the scale of its block, and rounded. First those places of all blocks that stand before the first
            mark, then those before the second; what is missing to an even number of places is 0.
        rest: float32[blocks, marks + 1]: the largest length of its turned vectors from each mark on, and its scale. The
            first mark is 0, so that is their length, by which the first blocks descend, and those of a group.
        vectors: float32[n_items, k], of all items.
    """

    axes: Floats
    reach: Floats
    starts: npt.NDArray[np.int64]
    items: Rows
    codes: Codes
    rest: Floats
    vectors: Floats

    @classmethod
    def of(cls, arrays: Mapping[str, Array], vectors: Floats) -> Index | None:
        """The index among a source's arrays, over the vectors of all items; None where it has none that is usable.

        Raises:
            BundleError: arrays that do not fit each other or the vectors.
        """
        if "index.axes" not in arrays:
            return None
        named: dict[str, Any] = {name: arrays[f"index.{name}"] for name in NAMES}
        if (wrong := _misfit(named, *vectors.shape)) is not None:
            hint = "train again with this program"
            raise BundleError("an index does not fit its items", where=f"index.{wrong}", hint=hint)
        return cls(**named, vectors=vectors)

    def arrays(self) -> dict[str, Array]:
        """Named as arrays of a source."""
        return {f"index.{name}": getattr(self, name) for name in NAMES}

    def best(self, vector: Floats, count: int) -> Proposals:
        """The items with the `count` highest inner products, best first, ties by item."""
        found = self.near(vector, count)
        return best(found.scores, found.items, count)

    def near(self, vector: Floats, count: int, beside: Rows = NOTHING) -> Proposals:
        """Items in any order, among which those with the `count` highest inner products are.

        Args:
            vector: float32[k].
            count: of the best.
            beside: items that do not count as such; those before the last of the best are found as well.
        """
        if count <= 0:
            return Proposals.none()
        if not available() or not float(vector @ vector) < LARGEST * LARGEST:
            rows = self.items[self.items >= 0]
            return best(cast("Floats", self.vectors @ vector)[rows], rows, count + len(beside))
        room = scratch("index", 3 * len(self.items), np.int32).reshape(3, -1)
        marks = scratch("bought_mark", len(self.vectors) // 64 + 1, np.uint64)
        return Proposals(*search(
            self.axes, self.reach, self.starts, self.items, self.codes, self.rest, self.vectors, vector, count, beside,
            marks, room,
        ))  # fmt: skip


def _misfit(named: Mapping[str, Array], count: int, places: int) -> str | None:
    """Which of an index's arrays fits neither the others nor `count` vectors; None where all do."""
    for name, kind in zip(NAMES, _KINDS, strict=True):
        if named[name].dtype != kind:
            return name
    starts, items, blocks = named["starts"].view(np.int64), named["items"].view(np.int32), len(named["rest"])
    shapes = {
        "codes": (blocks * (places + places % 2) * LANES,), "items": (blocks * LANES,),
        "rest": (blocks, len(marks(places)) + 1), "axes": (places + len(starts), places),
        "reach": (len(starts) - 1,),
    }  # fmt: skip
    for name, wanted in shapes.items():
        if named[name].shape != wanted:
            return name
    if len(starts) < 2 or int(starts[0]) != len(starts) - 1 or int(starts[-1]) != blocks:
        return "starts"
    if (starts[:-1] > starts[1:]).any():
        return "starts"
    return "items" if int(items.max(initial=-1)) >= count else None


def marks(places: int) -> list[int]:
    """So many places of a vector are read before it is asked whether the others can matter; the first is 0."""
    return [mark for mark in range(0, places, 2 * MARK) if mark == 0 or mark + MARK <= places]
