"""Filters: each says which candidates must go, and why. They keep the order and touch no score."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from features.compiled import available
from features.errors import RequestError
from features.kinds import EventType
from features.personal import open_wishes
from serving.business import Business
from serving.candidates import Candidates, Rows, among
from serving.candidates_kernel import sift
from serving.matching import check_values, matching, where_of
from serving.query import Filter, Query
from serving.shelf import Shelf

Mask = npt.NDArray[np.bool_]
Named = tuple[str, Callable[[Candidates], Mask]]
"""A filter: why items leave by it, and which of some candidates do."""


COMMON = ("not-in-catalogue", "withdrawn", "stopped", "buried", "out-of-stock", "bought-lately")
"""Why an item leaves whatever was asked for."""
BOUGHT = "purchased"
REASONS = (*COMMON, BOUGHT)
"""All that `serving.candidates_kernel.unite` takes out by."""
_NONE, _NO_CODES = np.empty(0, bool), np.empty(0, np.int32)


def apply_filters(
    shelf: Shelf, query: Query, candidates: Candidates, business: Business | None = None
) -> Candidates:  # fmt: skip
    """All filters in order; `removed` of the result tells what left and why."""
    if available():
        candidates = _common_out(shelf, query, candidates, business)
    else:
        candidates = without(candidates, _common(shelf, query, business))
    return without(candidates, asked(shelf, query))


def common_tables(shelf: Shelf, query: Query, business: Business | None) -> tuple[Any, ...]:
    """What the common filters look at, as the kernels want it."""
    buried = None if business is None else business.buried(query)
    return (
        shelf.away, _NONE if buried is None else buried, shelf.bundle.shared.category,
        np.array(query.barred, np.int32) if query.barred else _NO_CODES, query.filter.in_stock,
    )  # fmt: skip


def told_out(gone: Rows, counts: Sequence[int]) -> tuple[tuple[str, Rows], ...]:
    """What a kernel took out, by reason: so many by each of `REASONS`, which stand one behind the other."""
    told, begin = [], 0
    for reason, count in zip(REASONS, counts, strict=True):
        if count:
            told.append((reason, gone[begin : begin + count]))
            begin += count
    return tuple(told)


def without(candidates: Candidates, filters: Iterable[Named]) -> Candidates:
    """What some filters leave, one after the other."""
    for reason, mask in filters:
        if not len(candidates):
            break
        candidates = candidates.without(mask(candidates), reason)
    return candidates


def _common(shelf: Shelf, query: Query, business: Business | None) -> Iterator[Named]:
    yield COMMON[0], lambda found: ~shelf.bundle.catalogue[found.items]
    yield COMMON[1], lambda found: shelf.withdrawn[found.items]
    yield COMMON[2], lambda found: shelf.stopped[found.items]
    buried = None if business is None else business.buried(query)
    if buried is not None:
        yield COMMON[3], lambda found: buried[found.items]
    if query.filter.in_stock:
        yield COMMON[4], lambda found: ~shelf.in_stock[found.items]
    if query.barred:
        yield COMMON[5], lambda found: np.isin(shelf.bundle.shared.category[found.items], query.barred)


def _common_out(shelf: Shelf, query: Query, found: Candidates, business: Business | None) -> Candidates:
    """The same in one pass."""
    count = len(found)
    items, gone, why = np.empty(count, np.int32), np.empty(count, np.int32), np.empty(count, np.int8)
    scores, opinions = np.empty_like(found.scores), np.empty_like(found.opinions)
    stay = sift(
        found.items, found.scores, found.opinions, *common_tables(shelf, query, business), items, scores, opinions,
        gone, why,
    )  # fmt: skip
    if stay == count:
        return found
    why = why[: count - stay]
    removed = told_out(gone[np.argsort(why, kind="stable")], np.bincount(why, minlength=len(REASONS)).tolist())
    return Candidates(items[:stay], found.sources, scores[:stay], opinions[:stay], (*found.removed, *removed))


def asked(shelf: Shelf, query: Query) -> Iterator[Named]:
    """The filters of what was asked for."""
    wanted = query.filter
    if query.anchors:
        anchors = np.array(sorted(query.anchors), np.int32)
        yield "asked-about", lambda found: among(found.items, anchors)
    for name in wanted.exclude:
        yield name, _EXCLUDE[name](query)
    if wanted.exclude_items:
        rows = np.sort(shelf.bundle.items.rows_of(wanted.exclude_items))
        yield "excluded", lambda found: among(found.items, rows)
    if wanted.within_days is not None:
        soon = np.nan_to_num(shelf.lead_days, nan=np.inf) <= float(wanted.within_days)
        yield "arrives-later", lambda found: ~soon[found.items]
    if wanted.categories:
        allowed = shelf.bundle.categories_under(wanted.categories)
        yield "other-category", lambda found: ~np.isin(shelf.bundle.shared.category[found.items], allowed)
    if wanted.where is not None:  # the dearest comes last: it is asked about what all others left
        yield "does-not-match", lambda found: ~matching(shelf, query, found.items)


def _touched(query: Query, *types: int) -> Callable[[Candidates], Mask]:
    return lambda found: among(found.items, np.sort(query.history.of_types(*types).item))


_EXCLUDE: dict[str, Callable[[Query], Callable[[Candidates], Mask]]] = {
    BOUGHT: lambda query: _touched(query, EventType.PURCHASE),
    "viewed": lambda query: _touched(query, EventType.VIEW),
    "wished": lambda query: lambda found: open_wishes(query.history, found.items)[0],
}


def check_filter(wanted: Filter) -> None:
    """Refuse exclusions that do not exist, and a condition or values that cannot be used.

    Raises:
        RequestError: naming the field, and what would be right.
    """
    where_of(wanted)
    check_values(wanted)
    for name in wanted.exclude:
        if name not in _EXCLUDE:
            hint = f"valid: {', '.join(_EXCLUDE)}"
            raise RequestError("unknown exclusion", where="filter.exclude", got=name, hint=hint)
