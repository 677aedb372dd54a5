"""The query: all that is known of a request, except its candidates. Immutable."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import msgspec

from features.history import History

T = TypeVar("T")


class Context(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Where a request comes from; none of it is personal."""

    region: str | None = None
    device: str | None = None
    traffic_source: str | None = None
    referrer: str | None = None


class Filter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What an answer must or must not hold."""

    exclude: tuple[str, ...] = ()
    """`purchased`, `viewed` or `wished`."""
    exclude_items: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    """Only items whose category path begins with one of these."""
    in_stock: bool = True


class Notes:
    """What was read of a history so far. They live and die with the query, so nothing of a person outlives it."""

    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found: dict[tuple[int, int, Hashable], tuple[History, Any]] = {}


class Query(msgspec.Struct, frozen=True):
    """One subject, one moment, one wish.

    Args:
        now: the moment of the request, microseconds.
        history: the subject's events as of `now`, in the bundle's item rows.
        user_id, visitor_id, session_id: who asks, as given.
        context: where from.
        filter: what to leave out.
        num_results: how many items at most.
        surface, slot: where the answer will be shown.
        anchors: item rows that the answer should relate to.
        notes: what `once` remembers; queries that are made from this one share it.
    """

    now: int
    history: History
    user_id: str | None = None
    visitor_id: str | None = None
    session_id: str | None = None
    context: Context = Context()
    filter: Filter = Filter()
    num_results: int = 20
    surface: str = "api.recommendations"
    slot: str = "list"
    anchors: tuple[int, ...] = ()
    notes: Notes = msgspec.field(default_factory=Notes)

    def once(self, what: Hashable, read: Callable[[], T]) -> T:
        """What `read` finds in this history at this moment, looked for once however often it is asked for.

        Args:
            what: names it; a source stands for what it alone reads.
            read: depends on `history`, `now` and `what` only. Nobody changes what it returned.
        """
        key = id(self.history), self.now, what
        if key not in self.notes.found:
            # The history is kept beside it: no other one can have its id as long as the notes are there.
            self.notes.found[key] = self.history, read()
        found: T = self.notes.found[key][1]
        return found
