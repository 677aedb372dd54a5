"""Answers as they leave over the wire: what the OpenAPI document promises of each route.

The pipeline writes answers as plain JSON objects; these structs are their description, and a test holds every answer
against it. A field that is UNSET may be missing; clients pass over fields that they do not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

Moment = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
"""An instant in UTC, such as `2024-10-04T00:00:00Z`."""
Json = dict[str, Any]
Answered = Annotated[bool, Meta(description="False: the decision could not be logged, and nothing was drawn")]


class Answer(msgspec.Struct, rename="camel"):
    """Base of all answers."""


class Error(Answer):
    """What was wrong: `code` for programs, `message` for people, `field` names what to change."""

    code: str
    message: str
    field: str | None


class ErrorAnswer(Answer):
    """Every refusal; the log knows it by `requestId`."""

    error: Error
    request_id: str


class Listed(Answer):
    """One ranked item."""

    item_id: str
    score: float
    source: str
    reason: str | None


class RecommendationsAnswer(Answer):
    """Ranked items; `reason` says why places were filled with popular ones."""

    request_id: str
    decision_id: str
    item_list: list[Listed]
    bundle_id: str
    reason: str | UnsetType = UNSET
    logged: Answered | UnsetType = UNSET
    explain: Json | UnsetType = UNSET


class RelatedAnswer(RecommendationsAnswer, kw_only=True):
    """What goes with the items asked about; `missingIds` are those that nobody knows."""

    missing_ids: list[str]


class Ranked(Answer):
    """One item of the given list; 0 where nothing is said of it."""

    item_id: str
    score: float


class RankingsAnswer(Answer):
    """The given list in the customer's order."""

    request_id: str
    personalized_ranking: list[Ranked]
    missing_ids: list[str]
    bundle_id: str
    stopped_ids: list[str] | UnsetType = UNSET


class Card(Answer):
    """An item as a page shows it."""

    item_id: str
    title: str
    price: float | None
    image_url: str | None
    category: str | None
    source: str
    reason: str | None
    wished: bool


class Said(Answer):
    """The words and media of an action; missing where there is none."""

    kind: str | UnsetType | None = UNSET
    title: str | UnsetType | None = UNSET
    text: str | UnsetType | None = UNSET
    image_url: str | UnsetType | None = UNSET
    alt: str | UnsetType | None = UNSET
    url: str | UnsetType | None = UNSET
    orders: list[Json] | UnsetType = UNSET
    question: Json | UnsetType = UNSET
    expires_at: Moment | UnsetType = UNSET


class SlotAnswer(Said, kw_only=True):
    """One slot of a page: an action, a module with its items, or nothing and why."""

    slot: str
    decision_id: str
    action_id: str | None
    items: list[Card]
    reason: str | None


class Greeting(Answer):
    """A sentence for the top of the page."""

    text: str | None


class Basis(Answer):
    """What the page was made from."""

    kind: str
    text: str


class PageAnswer(Answer):
    """A page with all its slots."""

    page: str
    greeting: Greeting
    request_id: str
    slots: list[SlotAnswer]
    bundle_id: str
    personalized: bool
    basis: Basis
    logged: Answered | UnsetType = UNSET
    explain: Json | UnsetType = UNSET


class Veto(Answer):
    """An action that cannot be sent now, and why."""

    action_id: str
    reason: str


class ActionAnswer(Said, kw_only=True):
    """The next best action on a channel; `actionId` null is an answer."""

    request_id: str
    decision_id: str
    channel: str
    decision: Literal["now", "wait", "never"]
    action_id: str | None
    until: Moment | None
    reasons: list[str]
    vetoed: list[Veto]
    bundle_id: str
    send_after: Moment | UnsetType = UNSET
    send_before: Moment | UnsetType = UNSET
    logged: Answered | UnsetType = UNSET


class Rejected(Error):  # noqa: N818  (an entry of an answer, nothing that is raised)
    """An entry of a batch that was not taken; the others were."""

    index: int


class EventsAnswer(Answer):
    """What was stored durably; `eventIds` are those of the accepted and the known."""

    accepted: int
    duplicates: int
    rejected: list[Rejected]
    event_ids: list[str]


class OrdersAnswer(Answer):
    """What was stored durably."""

    accepted: int
    duplicates: int
    rejected: list[Rejected]


class ItemsAnswer(Answer):
    """How many changes are in force, from when."""

    accepted: int
    in_force_at: Moment


class ChangedAnswer(Answer):
    """The fields that were changed, in force from when."""

    accepted: list[str]
    in_force_at: Moment


class Known(Answer):
    """What a person told, by kind."""

    fields: Json
    attributes: Json
    answers: Json
    consents: Json
    orders: list[Json]
    links: list[str]


class CustomerAnswer(Known):
    """What is known of a customer: told, done, and what follows of it."""

    user_id: str
    known: bool
    events: int
    first_seen: Moment | None
    last_seen: Moment | None
    events_by_type: dict[str, int]
    stage: Json
    wishlist: list[str]
    wishes: list[Json]
    value: Json
    rhythm: Json
    contacts: list[Json]
    projects: list[Json]
    recent: list[Json]


class ExportAnswer(Known):
    """Everything that is kept of a customer."""

    user_id: str
    asked: Json
    shown: list[Json]
    consent_history: list[Json]
    events: list[Json]
    decisions: list[Json]
    says: str


class ReceiptAnswer(Answer):
    """How far an erasure is: `erasing`, `erased` from everything that answers, `complete` with the dataset."""

    receipt_id: str
    kind: str
    state: Literal["erasing", "erased", "complete"]
    requested_at: Moment
    erased_at: Moment | None
    removed: dict[str, int]
    says: dict[str, str]


class StopTold(Answer):
    """Something that was taken off everywhere."""

    number: int
    kind: str
    name: str
    because: str
    by: str
    at: Moment
    lifted_by: str | None
    lifted_at: Moment | None


class StopsAnswer(Answer):
    """The stops in force, and the one that was just made or lifted."""

    stops: list[StopTold]
    stop: StopTold | UnsetType = UNSET


class VisitorTokenAnswer(Answer):
    """With this token a page writes events of this visitor, until it ends."""

    visitor_id: str
    visitor_token: str
    expires_at: Moment


class CustomerTokenAnswer(Answer):
    """Where to send the browser of a customer who has signed in at the shop."""

    token: str
    path: str
    expires_at: Moment


ANSWERS: Mapping[str, type[Answer]] = {
    "/v1/recommendations": RecommendationsAnswer,
    "/v1/related-items": RelatedAnswer,
    "/v1/rankings": RankingsAnswer,
    "/v1/pages": PageAnswer,
    "/v1/actions": ActionAnswer,
    "/v1/events": EventsAnswer,
    "/v1/browser/visitor": VisitorTokenAnswer,
    "/v1/browser/events": EventsAnswer,
    "/v1/visitors/token": VisitorTokenAnswer,
    "/v1/items": ItemsAnswer,
    "/v1/orders": OrdersAnswer,
    "/v1/customers/read": CustomerAnswer,
    "/v1/customers/update": ChangedAnswer,
    "/v1/customers/answer": ChangedAnswer,
    "/v1/customers/consent": ChangedAnswer,
    "/v1/customers/export": ExportAnswer,
    "/v1/customers/erase": ReceiptAnswer,
    "/v1/customers/token": CustomerTokenAnswer,
    "/v1/receipts/read": ReceiptAnswer,
    "/v1/stops": StopsAnswer,
}
"""path -> what it answers when it could."""
