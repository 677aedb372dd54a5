"""The OpenAPI document, made from the structs that decode the requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from serving import tokens, wire, wire_people

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


def document(version: str) -> dict[str, Any]:
    """OpenAPI 3.1 of all routes."""
    bodies = list(dict.fromkeys(body for body, _, _ in EXAMPLES.values()))
    (*schemas,), components = msgspec.json.schema_components(
        [*bodies, *_EACH.values()], ref_template="#/components/schemas/{name}"
    )
    reference = dict(zip(bodies, schemas, strict=False))
    # A batch is decoded one by one, so the batch's own schema does not know what an event looks like.
    for (batch, field), each in _EACH.items():
        components[batch]["properties"][field]["items"] = {"$ref": f"#/components/schemas/{each.__name__}"}
    components["Error"] = ERROR
    return {
        "openapi": "3.1.0",
        "info": {"title": "Kokyaku", "version": version, "description": "Recommendations and pages for one customer."},
        "paths": {
            path: {"post": _operation(path, reference[body], line, example)}
            for path, (body, line, example) in EXAMPLES.items()
        },
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [{"key": []}, {"bearer": []}],
    }


ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "field"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "field": {"type": ["string", "null"]},
            },
        }
    },
}


def _operation(path: str, body: Mapping[str, Any], line: str, example: Mapping[str, Any]) -> dict[str, Any]:
    done = "202" if path.endswith("erase") else "200"
    problem = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
    return {
        "summary": line,
        "operationId": path.removeprefix("/v1/").replace("/", "-"),
        "requestBody": {"required": True, "content": {"application/json": {"schema": body, "example": example}}},
        "responses": {
            done: {"description": "The answer", "content": {"application/json": {"schema": {"type": "object"}}}},
            **{code: {"description": text, **problem} for code, text in _PROBLEMS.items()},
        },
    }


_PROBLEMS = {
    "400": "The request cannot be understood; `field` names what to change",
    "401": "No API key, or an unknown one",
    "403": "The API key may not do this",
    "404": "Something named is not there",
    "409": "The person asked to be forgotten: nothing new is stored of them",
    "413": "The body is too large",
    "429": "Too many requests of this key, or too many wrong keys from this address; see `Retry-After`",
    "503": "A write cannot be made durable now; try again after `Retry-After` seconds",
}
