"""Which candidates a condition of the request or of a module holds for: `filter.where`, read item by item."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from features.errors import RequestError
from features.kinds import EventType
from features.moments import DAY
from features.personal import open_wishes
from serving.candidates import Rows
from serving.expressions import Expression, ExpressionError, bound, compiled, type_of
from serving.query import Filter, Query
from serving.questions import STEP
from serving.shelf import Shelf
from serving.terms import ITEM

Mask = npt.NDArray[np.bool_]
WHERE, VALUES = "filter.where", "filter.values"
SECONDS = 0.2
"""Of one thread's work, for one list: what costs more is refused. 500 candidates cost about a hundredth of it."""
_AT_ONCE = 8


def where_of(wanted: Filter) -> Expression | None:
    """The condition of a filter; None where it has none.

    Raises:
        RequestError: it cannot be used; `where` is `filter.where`, and the place in it is said.
    """
    if wanted.where is None:
        return None
    try:
        return compiled(wanted.where, ITEM, wanted.values)
    except ExpressionError as error:
        raise _refusal(error, wanted.where) from None


def check_values(wanted: Filter) -> None:
    """Refuse values that no condition could read, also where there is none.

    Raises:
        RequestError: `where` is `filter.values`.
    """
    for name, value in wanted.values.items():
        try:
            type_of(name, value)
        except ExpressionError as error:
            raise RequestError(error.place, where=VALUES, got=value, hint=error.hint) from None


def matching(shelf: Shelf, query: Query, items: Rows) -> Mask:
    """bool[m]: the items that the condition of a query's filter holds for; all where there is none.

    Args:
        shelf: what is known of items now.
        query: the filter, and whose wishes and purchases count.
        items: int32[m].

    Raises:
        RequestError: as `where_of`; or it takes too long.
    """
    asked = where_of(query.filter)
    held = np.ones(len(items), bool)
    if asked is None or not len(items):
        return held
    columns = [_COLUMNS[name](shelf, query, items) for name in asked.names]
    values = bound(query.filter.values)
    begun = time.thread_time()
    try:
        for at, row in enumerate(zip(*columns, strict=True) if columns else [()] * len(items)):
            held[at] = asked.holds(dict(zip(asked.names, row, strict=True), **values))
            if at % _AT_ONCE == 0 and time.thread_time() - begun > SECONDS:
                raise ExpressionError(f"it takes longer than {SECONDS} s", hint="make it simpler")
    except ExpressionError as error:
        raise _refusal(error, asked.text) from None
    return held


def _refusal(error: ExpressionError, text: str) -> RequestError:
    return RequestError(error.place, where=WHERE, got=text, hint=error.hint)


def _column(read: Callable[[Shelf], npt.NDArray[Any]]) -> Callable[[Shelf, Query, Rows], Sequence[Any]]:
    """Of an array over all items."""
    return lambda shelf, query, items: read(shelf)[items].tolist()


def _number(read: Callable[[Shelf], npt.NDArray[Any]]) -> Callable[[Shelf, Query, Rows], Sequence[Any]]:
    return lambda shelf, query, items: read(shelf)[items].astype(np.float64).tolist()


def _text(column: str) -> Callable[[Shelf, Query, Rows], Sequence[Any]]:
    """The live text where the shop changed it, else the bundle's."""

    def read(shelf: Shelf, query: Query, items: Rows) -> Sequence[str]:
        changed = shelf.texts
        return [changed.get(row, {}).get(column) or shelf.bundle.text(column, row) for row in items.tolist()]

    return read


def _paths(shelf: Shelf, items: Rows) -> list[str]:
    paths = shelf.bundle.categories
    return [paths[code] if code >= 0 else "" for code in shelf.bundle.shared.category[items].tolist()]


def _touched(*types: int) -> Callable[[Shelf, Query, Rows], Sequence[Any]]:
    return lambda shelf, query, items: np.isin(items, query.history.of_types(*types).item).tolist()


_COLUMNS: Mapping[str, Callable[[Shelf, Query, Rows], Sequence[Any]]] = {
    "itemId": lambda shelf, query, items: [shelf.bundle.items[row] for row in items.tolist()],
    "title": _text("title"),
    "brand": _text("brand"),
    "category": lambda shelf, query, items: _paths(shelf, items),
    "department": lambda shelf, query, items: [path.partition(STEP)[0] for path in _paths(shelf, items)],
    "price": _number(lambda shelf: shelf.price),
    "inStock": _column(lambda shelf: shelf.in_stock),
    "leadDays": _number(lambda shelf: shelf.lead_days),
    "ageDays": lambda shelf, query, items: (
        shelf.bundle.shared.age_days[items].astype(np.float64) + (query.now - shelf.bundle.as_of) / DAY
    ).tolist(),
    "buyers": _number(lambda shelf: shelf.bundle.shared.buyers),
    "buyers7Days": _number(lambda shelf: shelf.bundle.shared.buyers_7d),
    "buyers28Days": _number(lambda shelf: shelf.bundle.shared.buyers_28d),
    "buyers91Days": _number(lambda shelf: shelf.bundle.shared.buyers_91d),
    "sales28Days": _number(lambda shelf: shelf.bundle.shared.sales_28d),
    "wished": lambda shelf, query, items: open_wishes(query.history, items)[0].tolist(),
    "bought": _touched(EventType.PURCHASE),
    "viewed": _touched(EventType.VIEW),
}
"""One a name of `serving.terms.ITEM`: what it is of some items."""
