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
    leadDays: NotRequired[float | None]
    """Within so many days the shop promises it; null: it promises nothing."""


class StepJson(TypedDict):
    """One step of an order line; `state` is empty where only words were added."""

    at: str
    state: str
    text: NotRequired[str | None]
    imageUrl: NotRequired[str | None]
    trackingUrl: NotRequired[str | None]
    place: NotRequired[str | None]
    hours: NotRequired[str | None]
    confirmedFor: NotRequired[str | None]
    promisedAt: NotRequired[str | None]
    """Where this step changed what is promised, or said it first."""


class OrderJson(TypedDict):
    """An order line with its progress; instants are ISO 8601 in UTC."""

    orderId: str
    line: str
    itemId: str
    title: str
    imageUrl: NotRequired[str | None]
    quantity: float
    orderedAt: str
    state: str
    promisedAt: NotRequired[str | None]
    expected: NotRequired[Mapping[str, Any] | None]
    """`{earliest, latest, day, text}`; `text` is in the language that was asked for."""
    late: bool
    steps: Sequence[StepJson]


class QuestionJson(TypedDict):
    """One question; without options the answer is free text."""

    question: str
    text: str
    why: str
    options: Sequence[Mapping[str, str]]
    """`{value, label}` each."""


class ConsentJson(TypedDict):
    """One purpose, and what the subject chose."""

    purpose: str
    granted: bool
    at: str | None
    """When it was chosen; null: nothing was told."""
    assumed: bool
    """Granted without having been told, on a ground that the shop declared."""


class SlotJson(TypedDict):
    """One slot of a page as it was decided: products, or an action in words."""

    slot: str
    decisionId: str
    actionId: NotRequired[str | None]
    kind: NotRequired[str]
    title: NotRequired[str | None]
    text: NotRequired[str | None]
    items: Sequence[ItemJson]
    reason: NotRequired[str | None]
    imageUrl: NotRequired[str | None]
    alt: NotRequired[str | None]
    url: NotRequired[str | None]
    orders: NotRequired[Sequence[OrderJson]]
    """Of a `status`."""
    question: NotRequired[QuestionJson | None]
    """Of a `question`."""


class PageJson(TypedDict):
    """The answer of `POST /v1/pages`."""

    requestId: str
    page: str
    greeting: NotRequired[Mapping[str, Any] | None]
    slots: Sequence[SlotJson]
    bundleId: str
    fallback: NotRequired[Any]
    basis: NotRequired[Mapping[str, str] | None]
    """`{kind, text}`: what the page is made from."""


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
    now: NotRequired[str]
    """By the shop's clock, ISO 8601 in UTC; absent where only products are shown, as the next two."""
    timeZone: NotRequired[str]
    travels: NotRequired[bool]
    """Whether the demo may let time pass: only where the shop has a clock of its own."""


class Shopfront(Protocol):
    """The engine as the storefront sees it; exactly one of user and visitor is given.

    Methods may raise `features.errors.KokyakuError`, which becomes an error page with its status.
    """

    # ---- pages

    async def page(
        self, page: str, user_id: str | None, visitor_id: str | None, session_id: str, context: Json
    ) -> PageJson:
        """Decide, log and return a page. `context` is that of the wire: `serving.query.Context`."""
        ...

    async def shop(self) -> ShopJson:
        """Name, money, language, clock and live bundle."""
        ...

    # ---- the catalogue

    async def item(self, item_id: str, user_id: str | None, visitor_id: str | None) -> ItemJson | None:
        """A product with `wished` of this subject, or None when there is none of that id."""
        ...

    async def wishlist(self, user_id: str | None, visitor_id: str | None) -> Sequence[ItemJson]:
        """What is wished for, the latest first."""
        ...

    async def departments(self, path: str) -> Sequence[tuple[str, int]]:
        """Category paths one level below a path (empty: the top) with how many products stand in each."""
        ...

    async def listing(self, path: str, n: int, user_id: str | None, visitor_id: str | None) -> Sequence[ItemJson]:
        """At most `n` products of a category, those most bought first."""
        ...

    async def search(self, query: str, n: int, user_id: str | None, visitor_id: str | None) -> Sequence[ItemJson]:
        """At most `n` products whose title holds all words of a query, those most bought first."""
        ...

    # ---- what people do and tell

    async def send_events(self, events: list[Json]) -> Json:
        """Record events durably; `{accepted, duplicates, rejected: [{index, code, message, field}]}`."""
        ...

    async def send_orders(self, orders: list[Json]) -> Json:
        """Record reports of order lines durably, as `POST /v1/orders` takes them; answers as `send_events`."""
        ...

    async def answer(self, user_id: str | None, visitor_id: str | None, question: str, answer: str | None) -> None:
        """Keep an answer, or with None that the question was skipped.

        Raises:
            RequestError: there is no such question, or it has no such answer.
        """
        ...

    async def forget(self, user_id: str | None, visitor_id: str | None, question: str) -> None:
        """Forget an answer; the question stays asked."""
        ...

    async def consent(
        self, user_id: str | None, visitor_id: str | None, granted: Mapping[str, bool], wording: Mapping[str, str]
    ) -> None:
        """Keep what was chosen by purpose, and the words that it was chosen by."""
        ...

    # ---- one's own data

    async def consents(self, user_id: str | None, visitor_id: str | None) -> Sequence[ConsentJson]:
        """Every purpose that can be chosen, with the subject's choice."""
        ...

    async def questions(self, locale: str) -> Mapping[str, QuestionJson]:
        """All questions of the shop in a language."""
        ...

    async def answers(self, user_id: str | None, visitor_id: str | None) -> Mapping[str, str]:
        """Question -> answer of the subject."""
        ...

    async def orders(self, user_id: str, locale: str) -> Sequence[OrderJson]:
        """All order lines of a customer, the latest first."""
        ...

    async def export(self, user_id: str | None, visitor_id: str | None) -> Json:
        """Everything that is kept of the subject."""
        ...

    async def erase(self, user_id: str | None, visitor_id: str | None) -> str:
        """Forget the subject; the id of the receipt."""
        ...

    async def receipt(self, receipt_id: str) -> Json:
        """A receipt: `{receiptId, state, erasedAt, removed, says}`."""
        ...

    # ---- demo only

    async def customers(self, limit: int, query: str) -> Sequence[CustomerJson]:
        """Customers whose id contains `query`, the most active first."""
        ...

    async def customer(self, user_id: str) -> CustomerJson:
        """One customer; an unknown one has `events` 0."""
        ...

    async def later(self, days: int) -> None:
        """Let days pass in the shop, for everybody."""
        ...
