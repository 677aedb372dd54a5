"""Requests about people as they come over the wire: orders, fields, answers, consents."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from features.kinds import SHIPMENT_STATES
from serving.wire import MAX_BATCH, Body, Id, Moment, Text

Url = Annotated[str, Meta(pattern=r"^https?://\S+$", max_length=2_000)]
Day = Annotated[str, Meta(max_length=64, description="An instant with its zone, or a date: a day of the shop")]
Short = Annotated[str, Meta(min_length=1, max_length=200)]


class OrderIn(Body, frozen=True, kw_only=True):
    """One report of `POST /v1/orders`: a step of an order line. What it does not name stays as it was.

    `at` is when the step was; a report without it is one of now. `confirmedFor` is the moment that the carrier named;
    it and `promisedAt` may be dates: days of the shop.
    """

    order_id: Id
    line: Id = "1"
    user_id: Id
    item_id: Id
    quantity: Annotated[float, Meta(gt=0, le=1e9)] | None = None
    ordered_at: Moment | None = None
    promised_at: Day | None = None
    payment_state: Short | None = None
    shipment_state: Annotated[Id, Meta(extra_json_schema={"enum": list(SHIPMENT_STATES)})] | None = None
    text: Text | None = None
    image_url: Url | None = None
    tracking_url: Url | None = None
    confirmed_for: Day | None = None
    pickup_place: Short | None = None
    pickup_hours: Short | None = None
    gift: bool | None = None
    subscription: Id | None = None
    at: Moment | None = None


class OrdersRequest(Body, frozen=True, kw_only=True):
    """`POST /v1/orders`: each report is decoded on its own, so that one bad report does not refuse the others."""

    orders: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MAX_BATCH)]


class ProjectIn(Body, frozen=True, kw_only=True):
    """Something that a customer is at, such as a room to furnish, as the staff wrote it down."""

    kind: Id
    note: Text = ""
    since: Moment | None = None
    until: Moment | None = None


class UpdateRequest(Body, frozen=True, kw_only=True):
    """`POST /v1/customers/update`: fields that are not named stay, null forgets one; attributes change key by key."""

    user_id: Id
    name: Short | UnsetType | None = UNSET
    region: Short | UnsetType | None = UNSET
    postal_prefix: Short | UnsetType | None = UNSET
    time_zone: Short | UnsetType | None = UNSET
    tier: Short | UnsetType | None = UNSET
    points: Annotated[float, Meta(ge=0, le=1e12)] | UnsetType | None = UNSET
    attributes: Annotated[dict[Short, Any], Meta(max_length=200)] | UnsetType | None = UNSET
    channels: Annotated[tuple[Id, ...], Meta(max_length=50)] | UnsetType | None = UNSET
    projects: Annotated[tuple[ProjectIn, ...], Meta(max_length=50)] | UnsetType | None = UNSET


class AnswerRequest(Body, frozen=True, kw_only=True):
    """`POST /v1/customers/answer`: an answer to a question; null was asked and skipped."""

    user_id: Id | None = None
    visitor_id: Id | None = None
    question: Id
    answer: Short | None


class ConsentRequest(Body, frozen=True, kw_only=True):
    """`POST /v1/customers/consent`: what somebody agreed to or refused, in which words and where."""

    user_id: Id | None = None
    visitor_id: Id | None = None
    purpose: Id
    granted: bool
    wording: Text | None = None
    source: Short | None = None
