"""How an index over item vectors is made: grouped, turned, put in blocks and rounded to bytes."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from serving.candidates import Floats
from serving.sources.index import LEAST_ITEMS, Codes, Index, marks
from serving.sources.vector_kernels import LANES, LARGEST

Doubles = npt.NDArray[np.float64]
IN_GROUP, MOST_GROUPS = 320, 400
"""Items of a group, about, and how many groups at most: of more items one says less, and each is looked at."""
JUDGED, FOUND = 100, 0.995
"""Of so many of the best of each subject who is asked this share lies in groups that are not left."""
_ROUNDED = 1e-5
"""As a share of lengths: by how much sums of single precision can be off."""
_PASSES = 8
_LARGEST_CODE = 127
_TINY = float(np.finfo(np.float32).tiny)


def index_of(
    vectors: Floats, listed: npt.NDArray[np.bool_], *, grouped: bool = True, asked: Floats | None = None
) -> Index | None:  # fmt: skip
    """An index over a source's vectors; None where few items are listed, or where their products may be no numbers.

    Args:
        vectors, listed, asked: as for `indexed`.
        grouped: False leaves them in one group, which takes no time to find: a bundle is opened at once.
    """
    rows = np.flatnonzero(listed)
    if len(rows) < LEAST_ITEMS or not np.abs(vectors[rows]).sum(axis=1, dtype=np.float64).max() < LARGEST:
        return None
    return indexed(vectors, listed, min(len(rows) // IN_GROUP, MOST_GROUPS) if grouped else 1, asked=asked)


def indexed(
    vectors: Floats, listed: npt.NDArray[np.bool_], groups: int = 1, seed: int = 0, *, asked: Floats | None = None
) -> Index:  # fmt: skip
    """Index the vectors of the listed items.

    Args:
        vectors: float32[n_items, k].
        listed: bool[n_items], what is ever looked for.
        groups: of k-means, at most as many as there are items.
        seed: of the first centres.
        asked: float32[m, k], what is looked for as a rule: then groups are left by how far their items usually are from
            their centre, so that of the best of these the share `FOUND` is found. Default: nothing is ever missed.
    """
    rows = np.flatnonzero(listed).astype(np.int32)
    mine = np.ascontiguousarray(vectors[rows])
    turn = principal_axes(mine)
    turned = mine.astype(np.float64) @ turn.T
    lengths = np.linalg.norm(turned, axis=1)
    centres, group = _longest_first(*grouped_by(mine, max(min(groups, len(rows)), 1), seed), lengths)
    order = np.lexsort((-lengths, group))
    starts, places = _in_blocks(np.bincount(group, minlength=len(centres)))
    spread = np.maximum(np.sqrt((turned**2).mean(axis=0)), _TINY) if len(rows) else np.ones(len(turn))
    wide = np.zeros((int(starts[-1]) * LANES, len(turn)))
    wide[places] = turned[order]
    items = np.full(len(wide), -1, np.int32)
    items[places] = rows[order]
    codes, scales = coded(wide / spread)
    axes = np.vstack([turn, spread, centres]).astype(np.float32)
    rest = np.column_stack([rest_of(wide), scales])
    reach = reach_of(mine, centres, group)
    if asked is not None:
        reach = np.minimum(reach, usual_reach(mine, centres, group, asked))
    return Index(axes, reach, starts, items, laned(codes), rest, vectors)


def grouped_by(vectors: Floats, groups: int, seed: int) -> tuple[Floats, npt.NDArray[np.intp]]:
    """float32[groups, k] and int64[n]: centres of k-means (Lloyd 1982), and the nearest one of each vector."""
    if groups == 1 or not len(vectors):
        return np.zeros((1, vectors.shape[1]), np.float32), np.zeros(len(vectors), np.intp)
    centres = vectors[np.random.default_rng(seed).choice(len(vectors), groups, replace=False)]
    for _ in range(_PASSES):
        group = _nearest(vectors, centres)
        size = np.bincount(group, minlength=groups)
        sums = np.zeros_like(centres)
        np.add.at(sums, group, vectors)
        centres = np.where(size[:, None] > 0, sums / np.maximum(size, 1)[:, None], centres).astype(np.float32)
    return centres, _nearest(vectors, centres)


def reach_of(vectors: Floats, centres: Floats, group: npt.NDArray[np.intp]) -> Floats:
    """float32[groups]: the largest distance of a vector from the centre of its group, and what rounding can add."""
    wide = centres.astype(np.float64)
    found = np.zeros(len(centres))
    np.maximum.at(found, group, np.linalg.norm(vectors - wide[group], axis=1))
    far: Floats = ((found + _ROUNDED * np.linalg.norm(wide, axis=1)) * (1 + _ROUNDED)).astype(np.float32)
    return np.nextafter(far, np.float32(np.inf))


def usual_reach(vectors: Floats, centres: Floats, group: npt.NDArray[np.intp], asked: Floats) -> Floats:
    """float32[groups]: from the usual distance of its vectors, how far a group has to be thought to reach.

    A group of centre c is read where c'q + |q| r is at least t, the last of the best products with q. With its reach r
    a times the root mean square of its distances, s, an item among the best is found where a >= (t - c'q) / (|q| s).
    For all that are among the best of all that is asked, a is the quantile `FOUND` of that.

    Args:
        vectors, centres, group: float32[n, k], float32[groups, k], int64[n].
        asked: float32[m, k], m >= 1.
    """
    squares = ((vectors - centres[group]) ** 2).sum(axis=1, dtype=np.float64)
    size = np.bincount(group, minlength=len(centres))
    usual = np.sqrt(np.bincount(group, squares, len(centres)) / np.maximum(size, 1))
    wanted, needed = min(JUDGED, len(vectors)), []
    for vector in asked:
        products, length = vectors @ vector, max(float(np.linalg.norm(vector)), _TINY)
        last = np.partition(products, -wanted)[-wanted]
        best = group[products >= last]
        needed.append((last - centres[best] @ vector) / (length * np.maximum(usual[best], _TINY)))
    least = max(np.quantile(np.concatenate(needed), FOUND, method="higher"), 0.0)
    reach: Floats = (usual * least * (1 + _ROUNDED)).astype(np.float32)
    return reach


def _longest_first(
    centres: Floats, group: npt.NDArray[np.intp], lengths: Doubles
) -> tuple[Floats, npt.NDArray[np.intp]]:  # fmt: skip
    """The same groups in the order of the longest vector of each."""
    longest = np.zeros(len(centres))
    np.maximum.at(longest, group, lengths)
    order = np.argsort(-longest, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return centres[order], place[group]


def principal_axes(vectors: Floats) -> Doubles:
    """float64[k, k]: the directions of vectors, one a row, from the one that says most of their lengths on."""
    wide = vectors.astype(np.float64)
    _, axes = np.linalg.eigh(wide.T @ wide)
    return np.ascontiguousarray(axes[:, ::-1].T)


def rest_of(vectors: Doubles) -> Floats:
    """float32[blocks, marks]: of each block the largest length of what vectors are from each mark on."""
    behind = np.cumsum((vectors**2)[:, ::-1], axis=1)[:, ::-1]
    lengths = np.sqrt(np.ascontiguousarray(behind[:, marks(vectors.shape[1])]))
    largest: Floats = lengths.reshape(-1, LANES, lengths.shape[1]).max(axis=1).astype(np.float32)
    return np.nextafter(largest, np.float32(np.inf))


def coded(vectors: Doubles) -> tuple[Codes, Floats]:
    """int8[n, k] and float32[blocks]: vectors as whole numbers up to 127, and what those of a block are times."""
    most = np.abs(vectors).reshape(-1, LANES * vectors.shape[1]).max(axis=1, initial=0)
    scales = (np.maximum(most, _TINY) / _LARGEST_CODE).astype(np.float32)
    each = np.repeat(scales, LANES)[:, None]
    return np.clip(np.rint(vectors / each), -_LARGEST_CODE, _LARGEST_CODE).astype(np.int8), scales


def laned(codes: Codes) -> Codes:
    """int8[blocks x places x LANES] of int8[blocks x LANES, k], as `Index` says: rows side by side, mark by mark."""
    count, places = codes.shape
    wide = np.zeros((count, places + places % 2), np.int8)
    wide[:, :places] = codes
    beside = wide.reshape(-1, LANES, wide.shape[1] // 2, 2).transpose(0, 2, 1, 3)
    ends = [mark // 2 for mark in (*marks(places), wide.shape[1])]
    return np.concatenate([beside[:, first:last].ravel() for first, last in itertools.pairwise(ends)])


def _in_blocks(sizes: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.intp]]:
    """At which block the others of each group begin, and the places of its items, one group after the other.

    The first block of each group stands before all others.
    """
    blocks = np.maximum(-(-sizes // LANES), 1)
    starts = np.cumsum([len(sizes), *(blocks - 1)]).astype(np.int64)
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    first, later = np.arange(len(sizes)) * LANES, (starts[:-1] - 1) * LANES
    return starts, within + np.where(within < LANES, np.repeat(first, sizes), np.repeat(later, sizes))


def _nearest(vectors: Floats, centres: Floats) -> npt.NDArray[np.intp]:
    """int64[n]: the centre at the smallest distance of each vector."""
    half = 0.5 * (centres * centres).sum(axis=1)
    blocks = [vectors[start : start + 8192] for start in range(0, len(vectors), 8192)]
    return np.concatenate([np.argmax(block @ centres.T - half, axis=1) for block in blocks])
