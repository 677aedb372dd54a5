"""Requests as they come over the wire: lowerCamel JSON, unknown fields refused, errors that name the field."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from features.errors import RequestError
from features.kinds import EVENT_TYPES
from features.text import MAX_ID_LENGTH
from serving.query import Context, Filter
from serving.strict import nearest

Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH)]
Text = Annotated[str, Meta(max_length=2_000)]
Moment = Annotated[str, Meta(max_length=64, extra_json_schema={"format": "date-time"})]
"""An instant with its zone, ISO 8601."""
Count = Annotated[int, Meta(ge=1, le=200)]
MAX_BATCH = 1_000


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """Base of all request bodies."""


class Asking(Body, frozen=True, kw_only=True):
    """What every question says of who asks.

    `consents` is what the shop knows of the subject's consents, purpose -> yes or no. What the service was told before
    counts first; a refusal counts always.
    """

    user_id: Id | None = None
    visitor_id: Id | None = None
    session_id: Id | None = None
    context: Context = Context()
    consents: Annotated[dict[Id, bool], Meta(max_length=50)] | None = None


class RecommendationsRequest(Asking, frozen=True, kw_only=True):
    """`POST /v1/recommendations`: ranked items for a customer or a visitor."""

    num_results: Count = 20
    filter: Filter = Filter()
    explain: bool = False


class RelatedRequest(Asking, frozen=True, kw_only=True):
    """`POST /v1/related-items`: what goes with some items."""

    item_ids: Annotated[tuple[Id, ...], Meta(min_length=1, max_length=100)]
    num_results: Count = 20
    filter: Filter = Filter()
    explain: bool = False


class RankingsRequest(Asking, frozen=True, kw_only=True):
    """`POST /v1/rankings`: the shop's own list, ordered for a customer; what the filter takes out comes last."""

    input_list: Annotated[tuple[Id, ...], Meta(min_length=1, max_length=500)]
    filter: Filter = Filter(in_stock=False)


class PageRequest(Asking, frozen=True, kw_only=True):
    """`POST /v1/pages`: a whole page with its slots.

    `surface` says where it will be shown: `page` or `app`, or a message such as `email`, which tells facts first and
    sells at most one thing.
    """

    page: Id = "home"
    surface: Id = "page"
    explain: bool = False


class ActionRequest(Asking, frozen=True, kw_only=True):
    """`POST /v1/actions`: the next best action on a channel.

    `consent` is what the shop knows of the subject's consent to the channel's purpose. Where it is not told, what the
    service was told of the customer before counts; what nobody told is no. A refusal counts always, whoever told it.
    """

    channel: Id
    consent: bool | None = None


class EventIn(Body, frozen=True, kw_only=True):
    """One event of `POST /v1/events`."""

    type: Annotated[Id, Meta(extra_json_schema={"enum": list(EVENT_TYPES)})]
    event_id: Id | None = None
    item_id: Id | None = None
    user_id: Id | None = None
    visitor_id: Id | None = None
    session_id: Id | None = None
    occurred_at: Moment | None = None
    quantity: Annotated[float, Meta(gt=0, le=1e9)] | None = None
    unit_price: Annotated[float, Meta(ge=0, le=1e12)] | None = None
    discount: Annotated[float, Meta(ge=0, le=1e12)] | None = None
    coupon: Id | None = None
    order_id: Id | None = None
    line: Id | None = None
    channel: Id | None = None
    decision_id: Id | None = None
    context: Context = Context()
    properties: dict[str, Any] | None = None


class EventsRequest(Body, frozen=True, kw_only=True):
    """`POST /v1/events`: each event is decoded on its own, so that one bad event does not refuse the others."""

    events: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MAX_BATCH)]


class ItemIn(Body, frozen=True, kw_only=True):
    """One change of `POST /v1/items`; fields that are not named stay as they are."""

    item_id: Id
    title: Text | None = None
    price: Annotated[float, Meta(ge=0, le=1e12)] | None = None
    in_stock: bool | None = None
    withdraw: bool | None = None
    image_url: Text | None = None
    category: Annotated[tuple[Text, ...], Meta(max_length=10)] | None = None
    brand: Text | None = None


class ItemsRequest(Body, frozen=True, kw_only=True):
    """`POST /v1/items`: upsert, price, stock, withdraw."""

    items: Annotated[tuple[ItemIn, ...], Meta(min_length=1, max_length=MAX_BATCH)]


class CustomerRequest(Body, frozen=True, kw_only=True):
    """`POST /v1/customers/read` and `/v1/customers/erase`."""

    user_id: Id


class StopIn(Body, frozen=True, kw_only=True):
    """What shall be stopped everywhere, and why."""

    kind: Literal["item", "action", "module", "campaign"]
    name: Id
    because: Annotated[str, Meta(min_length=1, max_length=500)]


class StopsRequest(Body, frozen=True, kw_only=True):
    """`POST /v1/stops`: stop something, lift a stop by its number, or (with neither) list what is stopped.

    `by` says who does it.
    """

    add: StopIn | None = None
    lift: int | None = None
    by: Annotated[str, Meta(min_length=1, max_length=200)] = "api"


class ReceiptRequest(Body, frozen=True, kw_only=True):
    """`POST /v1/receipts/read`: how far an erasure is."""

    receipt_id: Id


Request = TypeVar("Request", bound=msgspec.Struct)
_PATH = re.compile(r" - at `\$\.?([^`]*)`$")
_UNKNOWN = re.compile(r"unknown field `([^`]*)`")
_MISSING = re.compile(r"missing required field `([^`]*)`")
_SAID = 80
"""Characters of a field's name that a refusal repeats: a name may be as long as the body."""


def decode(raw: bytes | msgspec.Raw, kind: type[Request]) -> Request:
    """A request body as its struct.

    Raises:
        RequestError: not JSON, not UTF-8, an unknown or missing field, a wrong type, a value out of range; `where`
            names the field.
    """
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        raise _refusal(str(error), kind) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError("the body is not JSON", where="body", got=str(error), hint="send a JSON object") from None


def _refusal(text: str, kind: type[msgspec.Struct]) -> RequestError:
    path = _PATH.search(text)
    where = path.group(1) if path else ""
    what = _PATH.sub("", text)
    unknown = _UNKNOWN.search(what)
    if unknown:
        name = _told(unknown.group(1))
        fields = [field.encode_name for field in msgspec.structs.fields(kind)]
        return RequestError(f"unknown field '{name}'", where=_joined(where, name), hint=nearest(name, fields))
    missing = _MISSING.search(what)
    if missing:
        return RequestError("a required field is missing", where=_joined(where, missing.group(1)))
    return RequestError(what[:1].lower() + what[1:], where=where or "body")


def _told(name: str) -> str:
    """A client's word on one printable line, which a log can hold."""
    short = name[:_SAID]
    return short if short.isprintable() else ascii(short)[1:-1]


def _joined(path: str, name: str) -> str:
    return (f"{path}.{name}" if path else name) or "body"
