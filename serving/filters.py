"""Filters: each says which candidates must go, and why. They keep the order and touch no score."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

import numpy as np
import numpy.typing as npt

from features.compiled import available
from features.errors import RequestError
from features.kinds import EventType
from features.personal import open_wishes
from serving.business import Business
from serving.candidates import Candidates, among
from serving.candidates_kernel import sift
from serving.matching import matching, where_of
from serving.query import Filter, Query
from serving.shelf import Shelf

Mask = npt.NDArray[np.bool_]


def apply_filters(
    shelf: Shelf, query: Query, candidates: Candidates, business: Business | None = None
) -> Candidates:  # fmt: skip
    """All filters in order; `removed` of the result tells what left and why."""
    buried = None if business is None else business.buried(query)
    if available() and buried is None:
        candidates, filters = _common_out(shelf, query, candidates), _asked(shelf, query)
    else:
        filters = chain(_common(shelf, query, buried), _asked(shelf, query))
    for reason, mask in filters:
        if not len(candidates):
            break
        candidates = candidates.without(mask(candidates), reason)
    return candidates


COMMON = ("not-in-catalogue", "withdrawn", "stopped", "out-of-stock", "bought-lately")
"""Why an item leaves whatever was asked for; an item that was buried leaves after those that are stopped."""


def _common(shelf: Shelf, query: Query, buried: Mask | None) -> Iterator[tuple[str, Callable[[Candidates], Mask]]]:
    yield COMMON[0], lambda found: ~shelf.bundle.catalogue[found.items]
    yield COMMON[1], lambda found: shelf.withdrawn[found.items]
    yield COMMON[2], lambda found: shelf.stopped[found.items]
    if buried is not None:
        yield "buried", lambda found: buried[found.items]
    if query.filter.in_stock:
        yield COMMON[3], lambda found: ~shelf.in_stock[found.items]
    if query.barred:
        yield COMMON[4], lambda found: np.isin(shelf.bundle.shared.category[found.items], query.barred)


def _common_out(shelf: Shelf, query: Query, found: Candidates) -> Candidates:
    """The same in one pass, where nothing is buried."""
    count = len(found)
    items, gone, why = np.empty(count, np.int32), np.empty(count, np.int32), np.empty(count, np.int8)
    scores, opinions = np.empty_like(found.scores), np.empty_like(found.opinions)
    stay = sift(
        found.items, found.scores, found.opinions, shelf.bundle.catalogue, shelf.withdrawn, shelf.stopped,
        shelf.in_stock, shelf.bundle.shared.category, np.array(query.barred, np.int32), query.filter.in_stock, items,
        scores, opinions, gone, why,
    )  # fmt: skip
    if stay == count:
        return found
    gone, why = gone[: count - stay], why[: count - stay]
    removed = [(COMMON[first], gone[why == first]) for first in sorted(set(why.tolist()))]
    return Candidates(items[:stay], found.sources, scores[:stay], opinions[:stay], (*found.removed, *removed))


def _asked(shelf: Shelf, query: Query) -> Iterator[tuple[str, Callable[[Candidates], Mask]]]:
    """The filters of what was asked for."""
    wanted = query.filter
    if query.anchors:
        yield "asked-about", lambda found: np.isin(found.items, query.anchors)
    for name in wanted.exclude:
        yield name, _EXCLUDE[name](query)
    if wanted.exclude_items:
        rows = shelf.bundle.items.rows_of(wanted.exclude_items)
        yield "excluded", lambda found: np.isin(found.items, rows)
    if wanted.within_days is not None:
        soon = np.nan_to_num(shelf.lead_days, nan=np.inf) <= float(wanted.within_days)
        yield "arrives-later", lambda found: ~soon[found.items]
    if wanted.categories:
        allowed = shelf.bundle.categories_under(wanted.categories)
        yield "other-category", lambda found: ~np.isin(shelf.bundle.shared.category[found.items], allowed)
    if wanted.where is not None:  # the dearest comes last: it is asked about what all others left
        yield "does-not-match", lambda found: ~matching(shelf, query, found.items)


def _touched(query: Query, *types: int) -> Callable[[Candidates], Mask]:
    return lambda found: among(found.items, np.unique(query.history.of_types(*types).item))


_EXCLUDE: dict[str, Callable[[Query], Callable[[Candidates], Mask]]] = {
    "purchased": lambda query: _touched(query, EventType.PURCHASE),
    "viewed": lambda query: _touched(query, EventType.VIEW),
    "wished": lambda query: lambda found: open_wishes(query.history, found.items)[0],
}


def check_filter(wanted: Filter) -> None:
    """Refuse exclusions that do not exist, and a condition that cannot be used.

    Raises:
        RequestError: naming the field, and what would be right.
    """
    where_of(wanted)
    for name in wanted.exclude:
        if name not in _EXCLUDE:
            hint = f"valid: {', '.join(_EXCLUDE)}"
            raise RequestError("unknown exclusion", where="filter.exclude", got=name, hint=hint)
