"""What a service under load is asked: bodies as a shop's web server would send them, about whom and what it has."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson

from features.history import customer_subject, visitor_subject
from features.shop import Shop
from serving.engine import Engine
from training.bench.load import MARK
from training.bench.started import Route

FLOOR, LISTS, PAGES, EVENTS = "floor", "recommendations", "pages", "events"
BATCHES = (20, 200)
"""Events of a request."""
PEOPLE = 4_000
"""Bodies of a route; so many different people are asked for, where the shop has them."""
STRANGE = {"customer": 0.05, "known visitor": 0.1, "visitor": 0.1}
"""Shares of those who are no known customers: ids that nobody has, visitors with a history, new ones."""
IN_SESSION = 300
"""People who have looked at something in this minute."""
DEVICES = ("desktop", "mobile", "tablet")
SOURCES = ("search", "direct", "email", "social", "ads")
LOCALES = ("en", "ja")
_KINDS = ("view", "view", "view", "click", "cart", "purchase")

Body = dict[str, Any]


def routes_of(shop: Shop) -> dict[str, Route]:
    """The routes of the API with bodies that differ: customers and visitors, known and new, in and out of sessions.

    Beside the home page comes the page with the most slots, by their number: `pages-8-slots`. Actions are asked on the
    shop's first channel, where it has one. Events come in batches and under ids of their own.
    """
    engine = Engine(shop, worker=None)
    try:
        return _Asked(engine).routes()
    finally:
        engine.close()


class _Asked:
    """Draws of who asks, from where, and for what."""

    def __init__(self, engine: Engine) -> None:
        self._draw = np.random.default_rng(7)
        self._live = engine.live
        self._regions = engine.live.ranker.regions() or ["elsewhere"]
        bundle = engine.live.bundle
        rows = self._draw.choice(np.flatnonzero(bundle.catalogue), 2_000)
        self._items = [bundle.items[int(row)] for row in rows]
        self._run = secrets.token_hex(4)
        self._who = [self._somebody() for _ in range(PEOPLE)]

    def routes(self) -> dict[str, Route]:
        """Name -> route."""
        config = self._live.config
        fullest, layout = max(config.pages.items(), key=lambda each: len(each[1].slots))
        pages = {PAGES: "home", f"{PAGES}-{len(layout.slots)}-slots": fullest}
        found = {
            LISTS: self._route("/v1/recommendations", lambda: {"numResults": 20}),
            "related-items": self._route("/v1/related-items", lambda: {"itemIds": self._some(1), "numResults": 20}),
            "rankings": self._route("/v1/rankings", lambda: {"inputList": self._some(50)}),
            **{name: self._route("/v1/pages", lambda page=page: {"page": page}) for name, page in pages.items()},  # type: ignore[misc]
        }
        channel = next(iter(config.channels), None)
        if channel is not None:
            found["actions"] = self._route("/v1/actions", lambda: {"channel": channel})
        return found | {f"{EVENTS}-{size}": self._batches(size) for size in BATCHES}

    def _route(self, path: str, asked: Callable[[], Body]) -> Route:
        return Route(path, [_json({**who, **self._place(), **asked()}) for who in self._who])

    def _batches(self, size: int) -> Route:
        """The first ones open sessions of those who are asked for."""
        here = iter([*self._who[:IN_SESSION]] * 3)
        bodies = [
            _json({"events": [self._event(next(here, None), n) for n in range(size)]})
            for _ in range(max(3 * IN_SESSION // size, 20))
        ]
        return Route("/v1/events", bodies, size)

    def _event(self, who: Body | None, number: int) -> Body:
        who = who or self._who[int(self._draw.integers(PEOPLE))]
        kind = str(self._draw.choice(_KINDS))
        priced = {"quantity": 1, "unitPrice": round(float(self._draw.lognormal(3, 1)), 2)}
        return {
            "eventId": f"{self._run}-{number}-{MARK}", "type": kind, "itemId": self._some(1)[0], **who,
            **(priced if kind in ("cart", "purchase") else {}), "context": self._place()["context"],
        }  # fmt: skip

    def _somebody(self) -> Body:
        at, number = float(self._draw.random()), int(self._draw.integers(10**9))
        session = {"sessionId": f"s-{number}"} if number % 2 else {}
        for kind, share in STRANGE.items():
            if at < share:
                known = self._known(visitor_subject("")) if kind == "known visitor" else None
                name = "userId" if kind == "customer" else "visitorId"
                return {name: known or f"nobody-{number}", **session}
            at -= share
        return {"userId": self._known(customer_subject("")) or f"nobody-{number}", **session}

    def _known(self, prefix: str) -> str | None:
        """Somebody whose subject begins so; None where nobody is found soon."""
        histories = self._live.histories
        if histories is None or not len(histories):
            return None
        for _ in range(100):
            subject = histories.subjects[int(self._draw.integers(len(histories)))]
            if subject.startswith(prefix):
                return subject.removeprefix(prefix)
        return None

    def _place(self) -> Body:
        said = {"region": self._regions, "device": DEVICES, "trafficSource": SOURCES, "locale": LOCALES}
        return {"context": {name: str(self._draw.choice(each)) for name, each in said.items()}}

    def _some(self, count: int) -> list[str]:
        return [self._items[int(at)] for at in self._draw.choice(len(self._items), count, replace=False)]


def _json(body: Body) -> str:
    return orjson.dumps(body).decode()
