"""A shop that walks for four days: drawn pages, purchases, sign-ins, a withdrawn item, a sync in between, clicks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from features.moments import DAY, HOUR, MINUTE
from features.shop import Shop
from serving import pages, wire
from serving.artifact import publish_live
from serving.bundle import write_bundle
from serving.engine import Engine
from serving.events import StoredEvent
from serving.policy_files import write_policy
from serving.query import Context
from serving.sync import sync
from tests.test_serving.conftest import AS_OF, ITEMS, build_toy_bundle
from tests.test_serving.grown import policy, stump

TOML = """[consent]
assumed = ["personalization"]
basis = "they agreed"
[shop]
holdout = 0.1
[modules.buy-again]
kind = "buy-again"
title = {en = "Again"}
minimum = 1
[modules.for-you]
kind = "for-you"
title = {en = "For you"}
minimum = 2
size = 2
[modules.popular]
kind = "popular"
title = {en = "Popular"}
size = 3
minimum = 1
[pages.home]
slots = [
  {name = "first", modules = ["for-you", "popular", "buy-again"], policy = "hero", family = "top"},
  {name = "second", modules = ["for-you", "popular", "buy-again"], policy = "hero", family = "top"},
  {name = "last", modules = ["buy-again", "popular"]},
]
"""
_ASSUMED = 'assumed = ["personalization"]\nbasis = "they agreed"\n'
START = AS_OF + 9 * HOUR
PEOPLE = 30
ROUNDS = 10
LATER = AS_OF + 60 * DAY
"""When all windows have ended."""


def walked(folder: Path, rounds: int = ROUNDS, *, agreed: int | None = None) -> Shop:
    """The shop after it walked: its dataset holds the pages, and for each a click or none.

    Args:
        folder: for its files.
        rounds: how often each of its people comes.
        agreed: how many of them agreed to personalization, where nobody is assumed to.
    """
    shop = Shop("walk", folder / "shop")
    shop.root.mkdir()
    (shop.root / "secret.key").write_bytes(bytes(32))  # the same people in the holdout each time
    shop.config.write_text(TOML if agreed is None else TOML.replace(_ASSUMED, ""))
    write_bundle(shop.bundles / "toy-1", build_toy_bundle())
    publish_live(shop.bundles, "toy-1")
    trees = {"popular": stump(0, 0.5, 0.03, -0.02), "buy-again": stump(2, 0.5, -0.05, 0.06)}
    averages = {"buy-again": 0.01, "for-you": 0.02, "popular": 0.0}
    write_policy(shop.policies, policy("hero", averages, trees=trees, floor=0.1, explore="inverse-gap", gap=50.0))
    write_policy(shop.policies, policy("bold", averages, trees=trees, floor=0.05, explore="inverse-gap", gap=200.0))
    engine = Engine(shop, worker="walk")
    yes = {"consents": {"personalization": {"granted": True, "at": "2020-01-01T00:00:00Z"}}}
    for who in range(agreed or 0):
        engine.store.put_customer(f"c{who}", yes, START - HOUR)
        engine.store.put_visitor(f"v{who}", yes, START - HOUR)
    random = np.random.default_rng(7)
    for number in range(rounds):
        now = START + number * (4 * DAY // rounds)
        engine.store.append_sync(list(_events(random, number, now)))
        if number == rounds // 2:
            engine.store.put_items([("b0", {"withdraw": True}), ("a1", {"price": 9.0})], now)
            sync(shop, now=now)
        engine.refresh()
        clicks = [each for who in range(PEOPLE) for each in _page(engine, random, who, now + who * MINUTE)]
        engine.store.append_sync(clicks)
    last = StoredEvent(event_id="end", occurred_at=LATER, recorded_at=LATER, type="view", customer_id="nobody")
    engine.store.append_sync([last])
    engine.close()
    sync(shop, now=LATER)
    return shop


def subject(who: int, number: int) -> dict[str, str]:
    """A third are visitors, of whom some sign in halfway."""
    known = who % 3 or (who % 2 and number > ROUNDS // 2)
    return {"user_id": f"c{who}", "visitor_id": f"v{who}"} if known else {"visitor_id": f"v{who}"}


def _events(random: np.random.Generator, number: int, now: int) -> Iterator[StoredEvent]:
    for who in range(PEOPLE):
        ids = subject(who, number)
        person = {"customer_id": ids.get("user_id"), "visitor_id": ids["visitor_id"]}
        at = now - int(random.integers(1, 40)) * MINUTE
        if random.random() < 0.3:
            kind = "purchase" if random.random() < 0.5 else "view"
            yield StoredEvent(event_id=f"e{number}-{who}", occurred_at=at, recorded_at=now - 1, type=kind,
                              item_id=str(random.choice(ITEMS)), unit_price=2.0, **person)  # fmt: skip
        if who % 3 == 0 and who % 2 and number == ROUNDS // 2 + 1:
            yield StoredEvent(event_id=f"in{who}", occurred_at=now - 1, recorded_at=now - 1, type="sign_in", **person)


def _page(engine: Engine, random: np.random.Generator, who: int, now: int) -> Iterator[StoredEvent]:
    context = Context(device=("mobile", "desktop", None)[who % 3])
    number = int((now - START) // (4 * DAY // ROUNDS))
    ids = subject(who, number)
    answer = pages.page(engine, wire.PageRequest(page="home", context=context, **ids), now)
    for slot in answer["slots"]:
        chance = {"popular": 0.2, "for-you": 0.35, "buy-again": 0.5, None: 0.0}[slot["actionId"]]
        if random.random() < chance:
            yield StoredEvent(
                event_id=f"k{slot['decisionId']}", occurred_at=now + 1, recorded_at=now + 1, type="click",
                customer_id=ids.get("user_id"), visitor_id=ids["visitor_id"], decision_id=slot["decisionId"],
            )  # fmt: skip
