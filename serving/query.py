"""The query: all that is known of a request, except its candidates. Immutable."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Annotated, Any, TypeVar

import msgspec

from features.history import History
from serving.expressions import MAX_TEXT
from serving.person import NOBODY, Consents, Person

T = TypeVar("T")


Short = Annotated[str, msgspec.Meta(max_length=300)]
Long = Annotated[str, msgspec.Meta(max_length=4_000)]
_OF_ONE_KIND = {"anyOf": [{"items": {"type": "string"}}, {"items": {"type": "number"}}]}
Listed = Annotated[tuple[Short | float, ...], msgspec.Meta(max_length=1_000, extra_json_schema=_OF_ONE_KIND)]
Given = Short | float | bool | Listed
Condition = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
Exclusion = Annotated[str, msgspec.Meta(extra_json_schema={"enum": ["purchased", "viewed", "wished"]})]
NAME = "^[A-Za-z][A-Za-z0-9_]{0,63}$"


class Context(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Where a request comes from; none of it is personal. What it does not say is derived in `serving.context`.

    Args:
        region, device, traffic_source, campaign: as the shop names them.
        referrer, url, user_agent: as the browser sent them; source, campaign and device are read off them.
        time_zone: IANA name, for the local hour; default: the shop's.
        locale: language of the words; default: the shop's.
        category: path of the category whose page it is.
        item_id: the product whose page it is.
    """

    region: Short | None = None
    device: Short | None = None
    traffic_source: Short | None = None
    referrer: Long | None = None
    campaign: Short | None = None
    url: Long | None = None
    user_agent: Long | None = None
    time_zone: Short | None = None
    locale: Short | None = None
    category: Long | None = None
    item_id: Short | None = None


class Filter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What an answer must or must not hold."""

    exclude: Annotated[tuple[Exclusion, ...], msgspec.Meta(max_length=10)] = ()
    """`purchased`, `viewed` or `wished`."""
    exclude_items: Annotated[tuple[str, ...], msgspec.Meta(max_length=5_000)] = ()
    categories: Annotated[tuple[str, ...], msgspec.Meta(max_length=500)] = ()
    """Only items whose category path begins with one of these."""
    in_stock: bool = True
    within_days: Annotated[float, msgspec.Meta(ge=0, le=366)] | None = None
    """Only items that arrive within so many days."""
    where: Condition | None = None
    """Only items that this condition holds for, such as `price < $most and brand in $brands`."""
    values: Annotated[dict[Annotated[str, msgspec.Meta(pattern=NAME)], Given], msgspec.Meta(max_length=50)] = (
        msgspec.field(default_factory=dict)
    )
    """What `$name` stands for in `where`."""


class Notes:
    """What was read so far of one history at one moment. It lives and dies with the query: no longer than a request.

    Those of other histories and moments, where queries that were made from one have other ones, stand beside it.
    """

    __slots__ = ("found", "history", "now", "others")

    def __init__(self, history: History | None = None, now: int = 0) -> None:
        self.history, self.now = history, now
        self.found: dict[Hashable, Any] = {}
        self.others: dict[tuple[int, int], Notes] = {}

    def of(self, history: History, now: int) -> Notes:
        """Those of a history at a moment: these, where nothing was noted before."""
        if self.history is None:
            self.history, self.now = history, now
            return self
        # Each keeps its history, so that no other one can have the same id.
        return self.others.setdefault((id(history), now), Notes(history, now))


_UNREAD: Any = object()


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
        person: what the shop was told of the subject; NOBODY without consent.
        consents: what the subject agreed to.
        barred: codes of categories of which nothing is offered (`serving.repurchase`).
        fits: numbers of the audiences of the shop's wishes that the subject belongs to (`serving.business`).
        asked: kinds of personal data that were looked at to find that out.
        personal: whether what is personal may be used; without it history and person are empty.
        trouble: why not all that is known of the subject could be read; None: all was.
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
    person: Person = NOBODY
    consents: Consents = Consents()
    barred: tuple[int, ...] = ()
    fits: frozenset[int] = frozenset()
    asked: frozenset[str] = frozenset()
    personal: bool = True
    trouble: str | None = None
    notes: Notes = msgspec.field(default_factory=Notes)

    def once(self, what: Hashable, read: Callable[..., T], *given: Any) -> T:
        """What `read` finds in this history at this moment, looked for once however often it is asked for.

        Args:
            what: names it; a source stands for what it alone reads.
            read, given: the function and its arguments; what it finds depends on `history`, `now` and `what` only.
                Nobody changes what it returned.
        """
        notes = self.notes
        if notes.history is not self.history or notes.now != self.now:
            notes = notes.of(self.history, self.now)
        found: T = notes.found.get(what, _UNREAD)
        if found is _UNREAD:
            found = notes.found[what] = read(*given)
        return found
