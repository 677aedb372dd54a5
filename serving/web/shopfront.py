"""What the storefront needs of a shop: the one protocol between pages and engine.

Keys are those of the HTTP contract (lowerCamel). Keys marked `NotRequired` may be absent or null; what a card
lacks is not shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, Protocol, TypedDict

Json = dict[str, Any]


class ItemJson(TypedDict):
    """One product as a card or a product page shows it."""

    itemId: str
    title: NotRequired[str | None]
    price: NotRequired[float | None]
    """In units of the shop's currency; null or NaN where unknown."""
    imageUrl: NotRequired[str | None]
    category: NotRequired[str | Sequence[str] | None]
    """The path, widest first; as one string it is split at ` > `."""
    brand: NotRequired[str | None]
    inStock: NotRequired[bool | None]
    reason: NotRequired[str | None]
    """Why it is shown, in plain words and in the shop's language."""
    wished: NotRequired[bool]
    source: NotRequired[str | None]
    """The candidate source it came from; only the operator's panel shows it."""


class SlotJson(TypedDict):
    """One slot of a page as it was decided."""

    slot: str
    decisionId: str
    actionId: NotRequired[str | None]
    kind: NotRequired[str]
    title: NotRequired[str | None]
    text: NotRequired[str | None]
    items: Sequence[ItemJson]
    reason: NotRequired[str | None]


class PageJson(TypedDict):
    """The answer of `POST /v1/pages`."""

    requestId: str
    page: str
    greeting: NotRequired[Mapping[str, Any] | None]
    slots: Sequence[SlotJson]
    bundleId: str
    fallback: NotRequired[Any]


class CustomerJson(TypedDict):
    """A customer in the demo's picker; one who is not known has no events."""

    userId: str
    events: int
    lastSeen: NotRequired[str | None]
    """ISO 8601 in UTC."""


class ShopJson(TypedDict):
    """The shop itself, read anew with every request because bundles swap."""

    name: str
    currency: str
    locale: str
    bundle_id: str
    as_of: str | None
    """Up to when the bundle has seen events, ISO 8601 in UTC."""
    demo: bool
    """Whether anyone may look as any customer: only ever true on loopback."""
    regions: NotRequired[Sequence[str]]
    """Regions that the demo offers for a new visitor."""


class Shopfront(Protocol):
    """The engine as the storefront sees it; exactly one of user and visitor is given.

    Methods may raise `features.errors.KokyakuError`, which becomes an error page with its status.
    """

    async def page(
        self, page: str, user_id: str | None, visitor_id: str | None, session_id: str, context: Json
    ) -> PageJson:
        """Decide, log and return a page. `context` holds `region`, `device`, `trafficSource`, `referrer` if known."""
        ...

    async def send_events(self, events: list[Json]) -> Json:
        """Record events durably; `{accepted, duplicates, rejected: [{index, code, message, field}]}`."""
        ...

    async def customers(self, limit: int, query: str) -> Sequence[CustomerJson]:
        """Customers whose id contains `query`, the most active first. Called in demo mode only."""
        ...

    async def customer(self, user_id: str) -> CustomerJson:
        """One customer; an unknown one has `events` 0. Called in demo mode only."""
        ...

    async def item(self, item_id: str, user_id: str | None, visitor_id: str | None) -> ItemJson | None:
        """A product with `wished` of this subject, or None when there is none of that id."""
        ...

    async def related(
        self, item_id: str, n: int, user_id: str | None, visitor_id: str | None, session_id: str
    ) -> SlotJson:
        """At most `n` products that go with one, as a slot with its decision."""
        ...

    async def shop(self) -> ShopJson:
        """Name, money, language and live bundle."""
        ...
