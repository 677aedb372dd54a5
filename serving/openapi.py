"""The OpenAPI document, made from the structs that decode the requests and describe the answers.

It names what clients can rely on: every route with its scope, every field with its limits, every refusal with its
headers. What only a shop can know (its pages, channels, purposes) is told by the refusal of an unknown one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from features.kinds import NEEDS_ITEM
from serving import tokens, wire, wire_people
from serving.wire_answers import ANSWERS, ErrorAnswer

EXAMPLES: Mapping[str, tuple[type[msgspec.Struct], str, Mapping[str, Any]]] = {
    "/v1/recommendations": (
        wire.RecommendationsRequest,
        "Ranked items for a customer or a visitor",
        {"userId": "1", "numResults": 5, "filter": {"exclude": ["purchased"]}},
    ),
    "/v1/related-items": (wire.RelatedRequest, "What goes with some items", {"itemIds": ["1082185"], "numResults": 5}),
    "/v1/rankings": (
        wire.RankingsRequest,
        "The shop's own list in a customer's order",
        {"userId": "1", "inputList": ["1082185", "995242"]},
    ),
    "/v1/pages": (wire.PageRequest, "A page with all its slots", {"page": "home", "userId": "1"}),
    "/v1/actions": (
        wire.ActionRequest,
        "The next best action on a channel: now, wait (until) or never",
        {"channel": "email", "userId": "1", "consent": True},
    ),
    "/v1/events": (
        wire.EventsRequest,
        "Record what happened; acknowledged once durable",
        {"events": [{"eventId": "e-1", "type": "wishlist", "userId": "1", "itemId": "1082185"}]},
    ),
    "/v1/browser/visitor": (
        tokens.BrowserVisitorRequest,
        "A token with which a page may write events of one visitor: of a new one, or of the token's for longer",
        {},
    ),
    "/v1/browser/events": (
        tokens.BrowserEventsRequest,
        "Record what a page's own visitor did; for keys of the scope browser",
        {"visitorToken": "(from /v1/browser/visitor)", "events": [{"type": "view", "itemId": "1082185"}]},
    ),
    "/v1/visitors/token": (
        tokens.VisitorTokenRequest,
        "The same token for a visitor whom the shop's backend knows",
        {"visitorId": "v-1"},
    ),
    "/v1/items": (
        wire.ItemsRequest,
        "Upsert, price, stock, withdraw; in force with the next request",
        {"items": [{"itemId": "1082185", "price": 1.29, "inStock": True}]},
    ),
    "/v1/orders": (
        wire_people.OrdersRequest,
        "Report steps of order lines; acknowledged once durable",
        {"orders": [{"orderId": "o-1", "userId": "1", "itemId": "1082185", "shipmentState": "shipped"}]},
    ),
    "/v1/customers/read": (wire.CustomerRequest, "What is known of a customer", {"userId": "1"}),
    "/v1/customers/update": (
        wire_people.UpdateRequest,
        "Change what is known of a customer; null forgets a field",
        {"userId": "1", "name": "Ann", "timeZone": "Asia/Tokyo"},
    ),
    "/v1/customers/answer": (
        wire_people.AnswerRequest,
        "Answer a question, or skip it (null)",
        {"visitorId": "v-1", "question": "pet", "answer": "dog"},
    ),
    "/v1/customers/consent": (
        wire_people.ConsentRequest,
        "Agree to a purpose, or refuse it",
        {"userId": "1", "purpose": "personalization", "granted": True, "wording": "v2", "source": "my page"},
    ),
    "/v1/customers/export": (wire.CustomerRequest, "Everything that is kept of a customer", {"userId": "1"}),
    "/v1/customers/erase": (wire.CustomerRequest, "Forget a customer; answers 202 with a receipt", {"userId": "1"}),
    "/v1/customers/token": (
        tokens.CustomerTokenRequest,
        "The way into the storefront for a customer who has signed in at the shop; good for two minutes",
        {"userId": "1"},
    ),
    "/v1/receipts/read": (wire.ReceiptRequest, "How far an erasure is", {"receiptId": "r-1"}),
    "/v1/stops": (
        wire.StopsRequest,
        "Stop an item, action, module or campaign everywhere, lift a stop, or list them",
        {"add": {"kind": "item", "name": "1082185", "because": "recalled by the maker"}, "by": "quality"},
    ),
}
"""path -> (body, summary, example)."""


_EACH = {
    ("EventsRequest", "events"): wire.EventIn,
    ("OrdersRequest", "orders"): wire_people.OrderIn,
    ("BrowserEventsRequest", "events"): tokens.BrowserEventIn,
}
"""(batch, field) -> what each of the field's entries is."""


def _given(name: str, kind: str = "string") -> dict[str, Any]:
    """A field that may be null elsewhere has to be there."""
    return {"required": [name], "properties": {name: {"type": kind}}}


_SOMEBODY = {"anyOf": [_given("userId"), _given("visitorId")]}
_AN_ITEM = {
    "if": {"required": ["type"], "properties": {"type": {"enum": sorted(NEEDS_ITEM)}}},
    "then": _given("itemId"),
}
_TOGETHER: Mapping[str, Mapping[str, Any]] = {
    "ActionRequest": _SOMEBODY,
    "AnswerRequest": _SOMEBODY,
    "ConsentRequest": _SOMEBODY,
    "EventIn": {**_SOMEBODY, **_AN_ITEM},
    "BrowserEventIn": _AN_ITEM,
    "UpdateRequest": {"minProperties": 2},
    "StopsRequest": {"not": {"allOf": [_given("add", "object"), _given("lift", "integer")]}},
}
"""schema -> what its fields must be together."""


def document(version: str, scopes: Mapping[str, str]) -> dict[str, Any]:
    """OpenAPI 3.1 of all routes.

    Args:
        version: of the program.
        scopes: path -> the scope that a key needs.
    """
    bodies = list(dict.fromkeys(body for body, _, _ in EXAMPLES.values()))
    answers = list(dict.fromkeys(ANSWERS.values()))
    (*schemas,), components = msgspec.json.schema_components(
        [*bodies, *answers, *_EACH.values(), ErrorAnswer], ref_template="#/components/schemas/{name}"
    )
    reference = dict(zip([*bodies, *answers], schemas, strict=False))
    # A batch is decoded one by one, so the batch's own schema does not know what an event looks like.
    for (batch, field), each in _EACH.items():
        components[batch]["properties"][field]["items"] = {"$ref": f"#/components/schemas/{each.__name__}"}
    for name, rule in _TOGETHER.items():
        components[name] |= rule
    return {
        "openapi": "3.1.0",
        "info": {"title": "Kokyaku", "version": version, "description": _ABOUT},
        "tags": [{"name": name, "description": line} for name, line in _TAGS.items()],
        "paths": {
            **{path: {"post": _operation(path, reference, scopes.get(path, "admin"))} for path in EXAMPLES},
            **{path: {"get": _probe(path, line)} for path, line in _PROBES.items()},
        },
        "components": {
            "schemas": components,
            "responses": {code: _refusal(code) for code in _REFUSALS},
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [{"key": []}, {"bearer": []}],
    }


_ABOUT = (
    "Recommendations and pages for one customer. A body is one JSON object in UTF-8 of at most a mebibyte; unknown "
    "fields are refused. Events and orders are taken one by one: a bad entry comes back in `rejected`, with status "
    "200. What else the process answers (`/healthz`, `/v1/floor`) is for whoever runs it, and no promise."
)
_TAGS = {
    "read": "Questions: what to show or send",
    "events": "What happened and what people told",
    "browser": "What a page of the shop may say of its own visitor",
    "admin": "What only the shop's own systems may do",
    "operations": "For whoever runs it",
}
"""Tags are the scopes that keys have, and what needs none."""
_PROBES = {
    "/openapi.json": "This document",
    "/livez": "The process lives",
    "/readyz": "It can answer: a bundle serves",
    "/metrics": "Figures as Prometheus reads them",
}

_UNWELL = {"/livez": "It should be started anew, and why", "/readyz": "Not yet or not any more, and why"}


def _probe(path: str, line: str) -> dict[str, Any]:
    ours = path == "/openapi.json"
    kind = "application/json" if ours else "text/plain"
    told: dict[str, Any] = {"200": {"description": line, "content": {kind: {"schema": _KINDS[kind]}}}}
    told["405"] = {"$ref": "#/components/responses/405"} if ours else _in_plain_words("405")
    if path in _UNWELL:
        told["503"] = {"description": _UNWELL[path], "content": {kind: {"schema": _KINDS[kind]}}}
    name = path.strip("/").removesuffix(".json")
    operation = {"summary": line, "operationId": name, "tags": ["operations"], "responses": told}
    if path == "/metrics":
        told |= {code: {"$ref": f"#/components/responses/{code}"} for code in ("401", "403", "429")}
        return operation | {"description": "Needs a key with the scope `metrics` (or `admin`), if not set otherwise."}
    return operation | {"security": []}


def _in_plain_words(code: str) -> dict[str, Any]:
    """A refusal of the framework's."""
    return _refusal(code) | {"content": {"text/plain": {"schema": _KINDS["text/plain"]}}}


_KINDS = {"application/json": {"type": "object", "required": ["openapi", "paths"]}, "text/plain": {"type": "string"}}


def _operation(path: str, schemas: Mapping[type, Any], scope: str) -> dict[str, Any]:
    body, line, example = EXAMPLES[path]
    done = "202" if path.endswith("erase") else "200"
    refusals = [*_ALWAYS, *_MORE.get(path, ())]
    return {
        "summary": line,
        "description": f"Needs a key with the scope `{scope}` (or `admin`).",
        "operationId": path.removeprefix("/v1/").replace("/", "-"),
        "tags": [scope],
        "requestBody": {
            "required": True, "content": {"application/json": {"schema": schemas[body], "example": example}},
        },
        "responses": {
            done: {
                "description": "The answer", "content": {"application/json": {"schema": schemas[ANSWERS[path]]}},
            },
            **{code: {"$ref": f"#/components/responses/{code}"} for code in sorted(refusals)},
        },
    }  # fmt: skip


_REFUSALS = {
    "400": "The request cannot be understood; `field` names what to change",
    "401": "No API key, or an unknown one",
    "403": "The API key may not do this",
    "404": "Something named is not there",
    "405": "Another method than the route has",
    "409": "The person asked to be forgotten: nothing new is stored of them",
    "413": "The body is too large",
    "415": "The body is compressed, or of a kind that is no JSON",
    "429": "Too many requests of this key, or too many wrong keys from this address; see `Retry-After`",
    "503": "A write cannot be made durable now; try again after `Retry-After` seconds",
}
_ALWAYS = ("400", "401", "403", "405", "413", "415", "429", "503")
_MORE = {
    "/v1/customers/update": ("409",),
    "/v1/customers/answer": ("409",),
    "/v1/customers/consent": ("409",),
    "/v1/customers/export": ("404",),
    "/v1/receipts/read": ("404",),
    "/v1/stops": ("404",),
}
"""path -> refusals that not every route has."""
_HEADERS = {"401": "WWW-Authenticate", "405": "Allow", "429": "Retry-After", "503": "Retry-After"}


def _refusal(code: str) -> dict[str, Any]:
    problem: dict[str, Any] = {
        "description": _REFUSALS[code],
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}},
    }
    if code in _HEADERS:
        problem["headers"] = {_HEADERS[code]: {"required": True, "schema": {"type": "string"}}}
    return problem
