"""Filters: each says which candidates must go, and why. They keep the order and touch no score."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from features.errors import RequestError
from features.personal import open_wishes
from features.schemas import EventType
from serving.business import Business
from serving.candidates import Candidates
from serving.matching import matching, where_of
from serving.query import Filter, Query
from serving.shelf import Shelf

Mask = npt.NDArray[np.bool_]


def apply_filters(
    shelf: Shelf, query: Query, candidates: Candidates, business: Business | None = None
) -> Candidates:  # fmt: skip
    """All filters in order; `removed` of the result tells what left and why."""
    for reason, mask in _filters(shelf, query, business):
        if not len(candidates):
            break
        candidates = candidates.without(mask(candidates), reason)
    return candidates


def _filters(
    shelf: Shelf, query: Query, business: Business | None
) -> Iterable[tuple[str, Callable[[Candidates], Mask]]]:  # fmt: skip
    wanted = query.filter
    buried = None if business is None else business.buried(query)
    yield "not-in-catalogue", lambda found: ~shelf.bundle.catalogue[found.items]
    yield "withdrawn", lambda found: shelf.withdrawn[found.items]
    yield "stopped", lambda found: shelf.stopped[found.items]
    if buried is not None:
        yield "buried", lambda found: buried[found.items]
    if wanted.in_stock:
        yield "out-of-stock", lambda found: ~shelf.in_stock[found.items]
    if query.barred:
        yield "bought-lately", lambda found: np.isin(shelf.bundle.shared.category[found.items], query.barred)
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
    return lambda found: np.isin(found.items, query.history.of_types(*types).item)


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
