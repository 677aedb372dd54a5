"""Tokens for what happens in a browser: which visitor a page's events are of, and which customer has signed in.

Both are sealed with the shop's secret. A visitor token lets a page write events of one visitor, with a browser key,
and read nothing. A customer token opens the storefront as one customer, so only the shop's backend gets one, for a
person whom it knows, and it is worth nothing two minutes later.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Annotated, Any, Final
from urllib.parse import quote

import msgspec
from msgspec import Meta

from features.errors import RequestError
from features.moments import SECOND, format_instant
from serving.access import AccessError
from serving.clock import machine_time
from serving.engine import Engine
from serving.events import StoredEvent
from serving.intake import stored_event, take_events
from serving.query import Context
from serving.sealed_texts import BROWSER_VISITOR, ENTRY, Signer
from serving.wire import MAX_BATCH, Body, EventIn, EventsRequest, Id, Moment, decode

BROWSER: Final = "/v1/browser/"
"""Paths that pages of other origins may call, where the shop lists those."""
TYPES: Final = ("view", "search", "click", "cart", "cart_remove", "wishlist", "wishlist_remove")
"""What a page may say of its visitor. What costs or brings money, or speaks for others, a shop's backend tells."""
VISITOR_AGE: Final = 30 * 86_400
ENTRY_AGE: Final = 120
"""Seconds: enough for a redirect."""
Token = Annotated[str, Meta(max_length=2_048)]


class BrowserVisitorRequest(Body, frozen=True, kw_only=True):
    """`POST /v1/browser/visitor`: a token for a new visitor, or a fresh one for the visitor of `visitor_token`."""

    visitor_token: Token | None = None


class VisitorTokenRequest(Body, frozen=True, kw_only=True):
    """`POST /v1/visitors/token`: a token for a visitor whom the shop's backend knows."""

    visitor_id: Id


class CustomerTokenRequest(Body, frozen=True, kw_only=True):
    """`POST /v1/customers/token`: the way into the storefront for a customer who has signed in at the shop."""

    user_id: Id


class BrowserEventIn(Body, frozen=True, kw_only=True):
    """One event of a page: it cannot say whose it is, what was paid, or which order it belongs to."""

    type: Annotated[Id, Meta(extra_json_schema={"enum": list(TYPES)})]
    event_id: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    item_id: Id | None = None
    session_id: Id | None = None
    occurred_at: Moment | None = None
    quantity: Annotated[float, Meta(gt=0, le=1e9)] | None = None
    decision_id: Id | None = None
    context: Context = Context()
    properties: dict[str, Any] | None = None


class BrowserEventsRequest(Body, frozen=True, kw_only=True):
    """`POST /v1/browser/events`: events of the visitor of `visitor_token`, and of nobody else."""

    visitor_token: Token
    events: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MAX_BATCH)]


def signer_of(engine: Engine) -> Signer:
    """Seals with the secret of the engine's shop."""
    return Signer(lambda: engine.shop.secret)


def browser_visitor(engine: Engine, request: BrowserVisitorRequest) -> dict[str, Any]:
    """A token for a visitor of 128 random bits, or the same visitor's with a new end.

    Raises:
        AccessError: the token that came is none of ours, or over.
    """
    token = request.visitor_token
    return visitor_token(engine, secrets.token_hex(16) if token is None else _visitor_of(engine, token))


def visitor_token(engine: Engine, visitor_id: str) -> dict[str, Any]:
    """A token with which a page may write events of this visitor."""
    ends = int(machine_time()) + VISITOR_AGE
    token = signer_of(engine).lend(BROWSER_VISITOR, visitor_id, ends)
    return {"visitorId": visitor_id, "visitorToken": token, "expiresAt": format_instant(ends * SECOND)}


def customer_token(engine: Engine, user_id: str) -> dict[str, Any]:
    """A token that opens the storefront as this customer, and the address to send the browser to."""
    ends = int(machine_time()) + ENTRY_AGE
    token = signer_of(engine).lend(ENTRY, user_id, ends)
    return {"token": token, "path": f"/web/enter?token={quote(token)}", "expiresAt": format_instant(ends * SECOND)}


async def take_browser_events(engine: Engine, request: BrowserEventsRequest, now: int) -> dict[str, Any]:
    """Take up events of a page's visitor.

    Raises:
        AccessError: the visitor token is none of ours, or over.
    """
    visitor = _visitor_of(engine, request.visitor_token)

    def read(raw: msgspec.Raw, at: int) -> StoredEvent:
        return stored_event(_event_of(decode(raw, BrowserEventIn), visitor), at)

    return await take_events(engine, EventsRequest(events=request.events), now, read)


def _event_of(event: BrowserEventIn, visitor: str) -> EventIn:
    """The event as a backend would send it.

    Its id is the visitor's own: nobody can take the id of somebody else's event before that comes.

    Raises:
        RequestError: a type that pages may not tell.
    """
    if event.type not in TYPES:
        hint = f"a page tells {', '.join(TYPES)}; the shop's backend tells the rest with a key of scope events"
        raise RequestError("a browser key may not send this type", where="type", got=event.type, hint=hint)
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    if event.event_id is not None:
        fields["event_id"] = f"{hashlib.sha256(visitor.encode()).hexdigest()[:16]}:{event.event_id}"
    return EventIn(**fields, visitor_id=visitor)


def _visitor_of(engine: Engine, token: str) -> str:
    found = signer_of(engine).lent(BROWSER_VISITOR, token, machine_time())
    if found is None:
        hint = "ask /v1/browser/visitor for a new one"
        raise AccessError("this visitor token is not ours, or is over", where="visitorToken", hint=hint)
    return found[0]
