"""Requests that schemathesis makes of the OpenAPI document, with all its checks on.

run = generate(world, examples=10)
assert not run.broken
"""

from __future__ import annotations

import collections
import copy
import itertools
from collections.abc import Mapping
from typing import Any

import orjson
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.http import HANDLERS, VERSION
from serving.openapi import document
from tests.test_serving.fuzzing import KEYED, World, answer_of
from tests.test_serving.hostile import Attack

BATCHES = ("/v1/events", "/v1/orders", "/v1/browser/events")
"""Paths whose entries are refused one by one, within an answer of 200."""
NAMES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("ActionRequest", "channel"): ("email",),
    ("AnswerRequest", "question"): ("pet",),
    ("ConsentRequest", "purpose"): ("personalization", "marketing", "training"),
    ("PageRequest", "page"): ("home",),
    ("StopIn", "kind"): ("item",),
    ("Filter", "where"): ("price < 5", 'brand == "x" and price >= 1'),
    ("UpdateRequest", "timeZone"): ("Asia/Tokyo", "Europe/Paris", "UTC"),
    ("Context", "timeZone"): ("Asia/Tokyo", "America/New_York"),
}
"""(schema, field) -> names that the attacked shop knows: what the document cannot tell, for every shop has its own."""


class Run:
    """What came of it: the checks that failed, each with its first case."""

    def __init__(self) -> None:
        self.broken: dict[tuple[str, str], str] = {}
        self.checks: collections.Counter[str] = collections.Counter()

    def take(self, event: Any) -> None:
        """Look at what the engine tells."""
        if isinstance(event, events.NonFatalError | events.FatalError):
            self.broken.setdefault(("error", type(event).__name__), repr(event))
        if not isinstance(event, events.ScenarioFinished | events.FuzzScenarioFinished):
            return
        for case, checks in event.recorder.checks.items():
            for check in checks:
                self.checks[check.name] += 1
                if check.failure_info is not None:
                    self._failed(event, case, check)

    def _failed(self, event: Any, case: str, check: Any) -> None:
        with_it = event.recorder.interactions.get(case)
        sent = with_it.request.body if with_it else b""
        got = with_it.response.content if with_it and with_it.response else b""
        if check.name == "negative_data_rejection" and _refused_one_by_one(with_it.request.uri, got):
            return
        case_told = f"{check.failure_info.failure}\nsent {sent!r:.600}\ngot {got!r:.400}"
        self.broken.setdefault((check.name, str(getattr(event, "label", ""))), case_told)


def _refused_one_by_one(uri: str, got: bytes) -> bool:
    return uri.endswith(BATCHES) and bool(orjson.loads(got).get("rejected"))


def generate(world: World, *, examples: int, seed: int = 1) -> Run:
    """Let schemathesis attack a shop; the world counts and holds the answers to its own rules as well.

    Args:
        world: the shop.
        examples: random requests a route, beside those of the coverage of each field.
        seed: of them.
    """
    run = Run()
    schema = schemathesis.openapi.from_dict(_of_this_shop(world), config=_config(examples, seed))
    schema.app, schema.location = _watched(world), "/openapi.json"
    for event in from_schema(schema).execute():
        run.take(event)
    return run


def _config(examples: int, seed: int) -> SchemathesisConfig:
    generation = {"deterministic": True, "max-examples": examples, "no-shrink": True, "database": "none"}
    probes = [{"include-path": path, "enabled": False} for path in ("/livez", "/readyz", "/metrics")]  # the framework's
    return SchemathesisConfig.from_dict(
        {
            "seed": seed, "headers": dict(KEYED), "generation": generation, "continue-on-failure": True,
            "phases": {"stateful": {"enabled": False}}, "operations": probes,
        }
    )  # fmt: skip


def _of_this_shop(world: World) -> dict[str, Any]:
    told = copy.deepcopy(document(VERSION, {path: scope for path, (scope, _) in HANDLERS.items()}))
    schemas = told["components"]["schemas"]
    schemas["ContextOfEvent"] = copy.deepcopy(schemas["Context"])  # of an event any time zone is kept as it came
    for each in ("EventIn", "BrowserEventIn"):
        schemas[each]["properties"]["context"] = {"$ref": "#/components/schemas/ContextOfEvent"}
    token = {
        (kind, "visitorToken"): (world.token.decode(),) for kind in ("BrowserVisitorRequest", "BrowserEventsRequest")
    }
    for (schema, name), values in {**NAMES, **token}.items():
        field = schemas[schema]["properties"][name]
        nullable = any(each.get("type") == "null" for each in field.get("anyOf", ()))
        field.pop("anyOf", None)
        field["enum"] = [*values, None] if nullable else list(values)
    return told


def _watched(world: World) -> ASGIApp:
    """The application of a world, whose answers the world looks at."""
    numbers = itertools.count()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        sent, got = bytearray(), []

        async def receiving() -> Message:
            message = await receive()
            sent.extend(message.get("body", b""))
            return message

        async def sending(message: Message) -> None:
            got.append(message)
            await send(message)

        # Each from an address of its own: they are many who try, not one who has to wait after twenty wrong keys.
        number = next(numbers)
        await world.app(scope | {"client": (f"10.0.{number // 250 % 250}.{number % 250}", 5)}, receiving, sending)
        world.count(Attack(scope["method"], scope["path"], bytes(sent)), answer_of(got))

    return app
