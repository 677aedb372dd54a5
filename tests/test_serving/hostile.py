"""Hostile requests: what a careless, broken or evil client may send, drawn from a seed so that each run is the same.

    for attack in attacks(seed, 500):
        client.request(attack.method, attack.path, content=attack.body, headers=attack.headers)

Nobody here ever asks for a canary (`Canaries`): a marker in an answer or in the log is somebody else's data.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from serving.openapi import EXAMPLES, document
from tests.test_serving.hostile_words import BEYOND, MARKUP, PEOPLE, VALUES

TOKEN = "@token@"
"""Stands for the token of a page's visitor, which only the attacked shop can seal."""
_KINDS = (
    "view", "purchase", "wishlist", "cart", "search", "sign_in", "sign_out", "click", "sent", "rating", "unsubscribe",
)  # fmt: skip
_ITEMS = ("a0", "a1", "b3", "gone", MARKUP, "\U0001f4a5")
_ROUTES = tuple(EXAMPLES)
_READS = (
    "/openapi.json", "/v1/nothing", "/v1/../secret.key", "/v1/%2e%2e/%2e%2e/etc/passwd", "/v1/events/%00",
    "/v1/events?x=%ff",
)  # fmt: skip
_KEYS = ("", "wrong", "reader", "page", "\xff" * 40, "x" * 9_000, "' OR '1'='1")
_METHODS = ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW")
_TYPES = (
    "application/json", "application/json; charset=utf-16", "text/plain", "application/xml",
    "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "*/*", "application/json, text/html",
    "a" * 5_000,
)  # fmt: skip


@dataclass(frozen=True)
class Attack:
    """One request."""

    method: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    """`X-Send` is for who sends it: `chunked`, or `cut` in the middle of the body."""
    sees_all: bool = False
    """Whether it comes from somebody who may see everybody's data."""


class Canaries:
    """Customers of whom everything is known and who are never asked for.

    Args:
        seed: makes the markers, each 24 random characters.
    """

    def __init__(self, seed: int) -> None:
        draw = random.Random(f"canaries {seed}")
        self.markers = [f"canary-{draw.getrandbits(96):024x}" for _ in range(12)]

    def plant(self, post: Any) -> None:
        """Tell the shop all about them.

        Args:
            post: `post(path, body) -> (status, answer)`.
        """
        user, visitor, name, answer, order, track, step, told, coupon, decision, area, event = self.markers
        fields = {"name": name, "attributes": {"club": area}, "timeZone": "Asia/Tokyo", "tier": area}
        plan = [
            ("/v1/customers/update", {"userId": user, **fields}),
            ("/v1/customers/answer", {"userId": user, "question": "pet", "answer": answer}),
            ("/v1/customers/consent", {"userId": user, "purpose": "personalization", "granted": True, "wording": told}),
            ("/v1/orders", {"orders": [{
                "orderId": order, "userId": user, "itemId": "a1", "shipmentState": "shipped", "text": step,
                "trackingUrl": f"https://carrier.example/{track}",
            }]}),
            ("/v1/events", {"events": [
                {"type": "view", "visitorId": visitor, "itemId": "b0", "properties": {"note": told}},
                {"type": "sign_in", "userId": user, "visitorId": visitor},
                {"type": "purchase", "userId": user, "itemId": "b2", "eventId": event, "coupon": coupon,
                 "decisionId": decision, "orderId": order, "properties": {"gift": answer}},
                {"type": "wishlist", "userId": user, "itemId": "a3"},
            ]}),
            ("/v1/recommendations", {"userId": user}),
            ("/v1/pages", {"userId": user}),
        ]  # fmt: skip
        for path, body in plan:
            status, told_back = post(path, body)
            assert status == 200 and not told_back.get("rejected"), (path, told_back)

    def leaked(self, raw: bytes) -> list[str]:
        """Markers that stand in some bytes."""
        return [marker for marker in self.markers if marker.encode() in raw]


def attacks(seed: int, count: int) -> Iterator[Attack]:
    """So many requests; every family of malice is among any few dozen of them."""
    draw = random.Random(seed)
    for number in range(count):
        yield _FAMILIES[number % len(_FAMILIES)](draw)


def valid(draw: random.Random, path: str) -> dict[str, Any]:
    """A body that the route understands, of somebody with an odd id."""
    body = orjson.loads(orjson.dumps(EXAMPLES[path][2]))
    person, item = draw.choice(PEOPLE), draw.choice(_ITEMS)
    if "userId" in body:
        body["userId"] = person
    if path == "/v1/events":
        body["events"] = [_event(draw, person, item) for _ in range(draw.randint(1, 3))]
    elif path == "/v1/browser/events":
        body |= {"visitorToken": TOKEN, "events": [{"type": draw.choice(_KINDS), "itemId": item}]}
    elif path == "/v1/orders":
        body["orders"][0] |= {"orderId": f"o{draw.randrange(50)}", "userId": person, "itemId": item}
    elif path == "/v1/items":
        body["items"] = [{"itemId": draw.choice(_ITEMS), "title": draw.choice(PEOPLE), "price": draw.random() * 100}]
    elif path == "/v1/customers/update":
        body |= {"name": draw.choice(PEOPLE)[:200], "attributes": {draw.choice(PEOPLE)[:200]: draw.choice(PEOPLE)}}
    elif path == "/v1/stops":
        body = {} if draw.random() < 0.5 else {"lift": draw.randrange(9)}
    elif path == "/v1/rankings":
        body["inputList"] = [draw.choice(_ITEMS) for _ in range(4)]
    elif path in ("/v1/recommendations", "/v1/pages"):
        body["explain"] = draw.random() < 0.5
    return body


def _event(draw: random.Random, person: str, item: str) -> dict[str, Any]:
    return {
        "type": draw.choice(_KINDS), "userId": person, "visitorId": f"v{draw.randrange(20)}", "itemId": item,
        "properties": {"note": draw.choice(PEOPLE)},
    }  # fmt: skip


def _plain(draw: random.Random) -> Attack:
    """Nothing wrong but the ids."""
    path = draw.choice(_ROUTES)
    return Attack("POST", path, written(valid(draw, path)))


def _one_value(draw: random.Random) -> Attack:
    """One value anywhere in the body is hostile."""
    path = draw.choice(_ROUTES)
    body = valid(draw, path)
    holder, key = draw.choice(list(_places(body)) or [(body, "lift")])
    holder[key] = draw.choice(VALUES)
    return Attack("POST", path, written(body))


def _optional_field(draw: random.Random) -> Attack:
    """A field that the route knows and the example has not."""
    path = draw.choice(_ROUTES)
    body = valid(draw, path)
    target = body
    for batch in ("events", "orders", "items"):
        if batch in body:
            target = body[batch][0]
    names = [
        *KNOWN[path],
        "context",
        "filter",
        "consents",
        "constructor",
        "__proto__",
        "x" * draw.choice((1, 400, 90_000)),
    ]
    target[draw.choice(names)] = draw.choice(VALUES)
    return Attack("POST", path, written(body))


def _inside(draw: random.Random) -> Attack:
    """Hostile words where a request may say anything, or says who asks from where."""
    path = draw.choice(_ROUTES)
    body = valid(draw, path)
    value, name = draw.choice(VALUES), draw.choice(("region", "device", "locale", "timeZone", "referrer", "nonsense"))
    body |= draw.choice((
        {"context": {name: value}}, {"filter": {"exclude": [value]}}, {"filter": {"categories": [value]}},
        {"attributes": {"k": value}}, {"consents": {"personalization": value}}, {"filter": value},
        {"projects": [{"kind": value}]},
    ))  # fmt: skip
    if "events" in body:
        body = {"events": [{**body["events"][0], "properties": {"deep": value}, "context": {name: value}}]}
    return Attack("POST", path, written(body))


def _keys(draw: random.Random) -> Attack:
    """The same key twice, a hostile key, a key in another case."""
    path = draw.choice(_ROUTES)
    raw = written(valid(draw, path))
    key = draw.choice(
        (b'"userId":"ann",', b'"USERID":"ann",', b'"__proto__":{"a":1},', b'"\\u0000":0,', b'"":1,', b'"a`b":1,')
    )
    return Attack("POST", path, raw.replace(b"{", b"{" + key, draw.choice((1, 2))))


_EVENT = b'{"events":[{"type":"view","itemId":"a0","userId":"ann","properties":'


def _raw_body(draw: random.Random) -> Attack:
    """Bytes that are no JSON, or JSON of another encoding, or deeper or larger than anybody needs."""
    path = draw.choice(_ROUTES)
    good = written(valid(draw, path))
    text = good.decode()
    cut = draw.randrange(len(good))
    body = draw.choice((
        lambda: b"", lambda: b"\x00" * 100, lambda: b"[" * 100_000, lambda: b'{"a":' * 100_000,
        lambda: b"[" * 100_000 + b"]" * 100_000, lambda: good[:cut], lambda: good[:cut] + b"\xff" + good[cut:],
        lambda: text.encode("utf-16"), lambda: text.encode("utf-32"), lambda: b"\xef\xbb\xbf" + good,
        lambda: b'{"userId":"caf\xe9"}', lambda: b'{"userId":"\xed\xa0\x80"}', lambda: gzip.compress(good),
        lambda: good + good, lambda: good + b"\x00", lambda: b"null", lambda: b'"' + b"a" * 900_000 + b'"',
        lambda: b'{"userId":"' + b"a" * 1_000_000 + b'"}', lambda: b"1" * 300_000, lambda: b"-", lambda: b"<xml/>",
        lambda: b'{"events":[' + b"{}," * 999 + b"{}]}", lambda: b'{"events":[' + b"1," * 2_000 + b"1]}",
        lambda: b" " * (2 << 20), lambda: b'{"attributes":' + b"[" * 900 + b"]" * 900 + b',"userId":"ann"}',
        lambda: _EVENT + b'{"a":' * 900 + b"1" + b"}" * 902 + b"]}",
    ))()  # fmt: skip
    return Attack("POST", path, body)


def _envelope(draw: random.Random) -> Attack:
    """The body is fine; what is said around it is not."""
    path = draw.choice(_ROUTES)
    body = written(valid(draw, path))
    name, value = draw.choice((
        ("Content-Type", draw.choice(_TYPES)), ("Content-Encoding", draw.choice(("gzip", "br", "identity", "x" * 200))),
        ("X-Request-Id", "a" * 5_000), ("Authorization", "Bearer " + "a" * 5_000), ("Accept", "text/html"),
        ("Content-Length", draw.choice(("\xb2", "9" * 5_000, "-1", "0x10", "1_0"))),
        ("X-Send", draw.choice(("chunked", "cut"))), ("Expect", "200-maybe"), ("Cookie", "a=" + "b" * 3_000),
        ("X-Forwarded-For", "' OR 1=1 --"), ("Range", "bytes=0-1"),
        ("Origin", draw.choice(("https://evil.example", "https://shop.example", "null", "http://[", "\xff"))),
        ("If-None-Match", "*"), ("Accept-Language", "x;q=nan," * 300),
    ))  # fmt: skip
    if (name, value) == ("Content-Encoding", "gzip"):
        body = gzip.compress(body)
    return Attack("POST", path, body, {name: value})


def _stranger(draw: random.Random) -> Attack:
    """Without a key, with a wrong one, or with one that may do something else."""
    path = draw.choice(_ROUTES)
    return Attack("POST", path, written(valid(draw, path)), {"X-Api-Key": draw.choice(_KEYS)})


def _method(draw: random.Random) -> Attack:
    """Another method than the route has, or another path than there is."""
    path = draw.choice((*_ROUTES, *_READS))
    return Attack(draw.choice(_METHODS), path, draw.choice((b"", b"{}")))


_FAMILIES = (
    _plain, _one_value, _optional_field, _inside, _one_value, _keys, _raw_body, _one_value, _optional_field, _envelope,
    _inside, _method, _stranger,
)  # fmt: skip


def written(body: Any) -> bytes:
    """A body as JSON that holds what no other writer would write: NaN, infinity, halves of pairs, huge numbers."""
    return json.dumps(body).replace(f'"{BEYOND}"', "1e400").encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(pairs):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


def _known() -> dict[str, list[str]]:
    schemas = document("0", {})["components"]["schemas"]
    batches = {
        "/v1/events": "EventIn",
        "/v1/orders": "OrderIn",
        "/v1/items": "ItemIn",
        "/v1/browser/events": "BrowserEventIn",
    }
    return {
        path: list(schemas[batches.get(path, kind.__name__)]["properties"]) for path, (kind, *_) in EXAMPLES.items()
    }


KNOWN = _known()
"""Route -> the fields that it knows; of a batch those of its entries."""
