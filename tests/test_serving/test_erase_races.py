"""Erasure while everybody asks at once: from the receipt on nothing holds the customer, whoever was quicker.

Over both stores: a file, and a PostgreSQL that the two workers share.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pytest

from features.dataset import Dataset
from features.errors import DataError
from serving.access import Access
from serving.clock import set_clock
from serving.decision_drain import drain
from serving.engine import Engine
from serving.store import Store
from serving.sync import sync
from tests.test_serving.conftest import AS_OF
from tests.test_serving.fuzzing import TOML, Answer, application, ask
from tests.test_serving.hostile import Attack

OTHER_WORKER_SECONDS = 0.3
"""So soon another process knows of an erasure."""
PER_VICTIM = 6
"""Tasks that ask about each victim without pause."""


@dataclass
class Victim:
    """A customer of whom everything is known, each fact with words of its own."""

    number: int
    marks: dict[str, str] = field(default_factory=dict)
    receipt_at: float = float("inf")
    asked_after: int = 0

    def __post_init__(self) -> None:
        draw = random.Random(f"victim {self.number}")
        names = ("user", "visitor", "device", "name", "answer", "club", "order", "track", "session", "note", "project")
        self.marks = {name: f"{name}-{draw.getrandbits(80):020x}" for name in names}

    @property
    def user(self) -> str:
        """The customer's id."""
        return self.marks["user"]

    def told(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Everything that the shop is told, and what is asked, once around."""
        mark, number = self.marks, time.monotonic_ns()
        user, who = {"userId": self.user}, {"userId": self.user, "sessionId": mark["session"]}
        visitor = {"visitorId": mark["visitor"]}
        project = {"kind": "room", "note": mark["project"]}
        yield "/v1/customers/update", {**user, "name": mark["name"], "attributes": {"club": mark["club"]}}
        yield (
            "/v1/customers/update",
            {**user, "projects": [project]} if self.number % 2 else {**user, "tier": mark["club"]},
        )
        yield "/v1/customers/answer", {**user, "question": "pet", "answer": mark["answer"]}
        yield "/v1/customers/answer", {**visitor, "question": "pet", "answer": mark["answer"]}
        yield "/v1/customers/consent", {**user, "purpose": "training", "granted": True, "wording": mark["note"]}
        yield "/v1/orders", {"orders": [{
            "orderId": mark["order"], "userId": self.user, "itemId": "a1", "shipmentState": "shipped",
            "trackingUrl": f"https://carrier.example/{mark['track']}",
        }]}  # fmt: skip
        yield "/v1/events", {"events": [
            {**visitor, "type": "view", "itemId": "b1", "properties": {"note": mark["note"]}},
            {**user, **visitor, "type": "sign_in"},
            {**user, "visitorId": mark["device"] + str(number % 5), "type": "sign_in"},
            {**who, "type": "purchase", "itemId": "b2", "orderId": mark["order"], "coupon": mark["note"]},
            {**who, "type": "wishlist", "itemId": "a3", "eventId": f"{mark['order']}-{number}"},
        ]}  # fmt: skip
        for path in ("/v1/recommendations", "/v1/pages", "/v1/customers/read", "/v1/customers/export"):
            yield path, user
        yield "/v1/pages", visitor
        yield "/v1/rankings", {**who, "inputList": ["a0", "b2"]}
        yield "/v1/actions", {**user, "channel": "email", "consent": True}

    def words(self) -> list[bytes]:
        """What was told, without the ids that a request repeats."""
        return [text.encode() for name, text in self.marks.items() if name not in ("user", "visitor", "device")]


class Race:
    """Two workers of one shop, people who ask, a watch that drains, a sync that comes and goes, and erasures.

    Args:
        shop: whose.
        workers: engines over it.
        victims: who is erased.
    """

    def __init__(self, shop: Any, workers: list[Engine], victims: list[Victim]) -> None:
        self.shop, self.workers, self.victims = shop, workers, victims
        self.apps = [application(worker, Access(dev=True)) for worker in workers]
        self.over = threading.Event()
        self.broken: list[str] = []
        self.syncs = 0

    async def run(self, seconds: float) -> None:
        """Plant everybody, sync, race, erase one after the other, go on for a moment."""
        for victim in self.victims:
            for path, body in victim.told():
                assert (await self._post(0, path, body)).status in (200, 409), path
        await asyncio.to_thread(sync, self.shop, now=AS_OF + 1)
        asking = [asyncio.create_task(self._ask(victim, number))
                  for victim in self.victims for number in range(PER_VICTIM)]  # fmt: skip
        behind = [asyncio.create_task(asyncio.to_thread(each)) for each in (self._watch, self._sync)]
        for victim in self.victims:
            await asyncio.sleep(seconds)
            answer = await self._post(0, "/v1/customers/erase", {"userId": victim.user})
            assert answer.status == 202
            victim.receipt_at = time.monotonic()
        await asyncio.sleep(seconds + 2 * OTHER_WORKER_SECONDS)
        self.over.set()
        await asyncio.gather(*asking, *behind)

    async def _ask(self, victim: Victim, number: int) -> None:
        worker = number % len(self.apps)
        grace = OTHER_WORKER_SECONDS if worker else 0.0
        draw = random.Random(number)
        while not self.over.is_set():
            asked = list(victim.told())
            draw.shuffle(asked)
            for path, body in asked:
                begun = time.monotonic()
                answer = await self._post(worker, path, body)
                if begun > victim.receipt_at + grace:
                    victim.asked_after += 1
                    self._judge(victim, path, body, answer)
                    if path == "/v1/pages":
                        stranger = await self._post(worker, path, {"userId": "nobody at all"})
                        self._compare(answer, stranger)
                await asyncio.sleep(0)

    def _judge(self, victim: Victim, path: str, body: dict[str, Any], answer: Answer) -> None:
        told = orjson.loads(answer.body)
        if any(word in answer.body for word in victim.words()):
            self.broken.append(f"{path} {answer.status} tells {answer.body[:300]!r}")
        if path == "/v1/customers/read" and (told["known"] or told["events"] or told["links"]):
            self.broken.append(f"read knows {answer.body[:300]!r}")
        if path == "/v1/customers/export" and answer.status != 404:
            self.broken.append(f"export gave {answer.body[:300]!r}")
        if path == "/v1/events" and any(each["code"] != "erased" for each in told["rejected"]):
            self.broken.append(f"events: {answer.body[:300]!r}")
        if path == "/v1/events" and told["accepted"]:
            self.broken.append(f"an event was taken: {body} {answer.body[:300]!r}")

    def _compare(self, *pages: Answer) -> None:
        """The erased are shown what a stranger is shown."""
        first, second = ([[item["itemId"] for item in slot["items"]] for slot in orjson.loads(page.body)["slots"]]
                         for page in pages)  # fmt: skip
        if first != second:
            self.broken.append(f"a page of {first}, a stranger's has {second}")

    async def _post(self, worker: int, path: str, body: dict[str, Any]) -> Answer:
        answer = await ask(self.apps[worker], Attack("POST", path, orjson.dumps(body)))
        if answer.status >= 500:
            self.broken.append(f"{path}: {answer.status}")
        return answer

    def _watch(self) -> None:
        while not self.over.is_set():
            for worker in self.workers:
                worker.refresh()
                drain(self.shop.decision_logs, worker.store)
            time.sleep(0.02)

    def _sync(self) -> None:
        while not self.over.is_set():
            try:
                sync(self.shop, now=AS_OF + 2 + self.syncs)
                self.syncs += 1
            except DataError as error:
                self.broken.append(f"sync: {error}")
            self.over.wait(0.2)

    def marks(self) -> list[str]:
        """Every word and id of those who are erased."""
        return [text for victim in self.victims for text in victim.marks.values()]

    def traces(self, *, with_dataset: bool) -> list[tuple[str, str]]:
        """Files of the shop that hold a word or an id of somebody erased."""
        marks, found = self.marks(), []
        for path in self.shop.root.rglob("*"):
            if path.is_file() and (with_dataset or self.shop.dataset not in path.parents):
                raw = path.read_bytes()
                found += [(path.name, mark) for mark in marks if mark.encode() in raw]
        return found


@contextmanager
def racing(shop: Any, victims: int) -> Iterator[Race]:
    """A race over a shop."""
    set_clock(shop, AS_OF)
    shop.config.write_text(TOML)
    workers = [Engine(shop, worker=f"w{number}") for number in range(2)]
    try:
        yield Race(shop, workers, [Victim(number) for number in range(victims)])
    finally:
        for worker in workers:
            worker.close()


def race(shop: Any, caplog: Any, *, victims: int, seconds: float) -> None:
    """Race, then look everywhere: in the answers, the files, the tables of a server, the dataset, and what was said."""
    caplog.set_level(logging.INFO)
    with racing(shop, victims) as run:
        asyncio.run(run.run(seconds))
        assert not run.broken, run.broken[:5]
        assert run.syncs and all(victim.asked_after > PER_VICTIM for victim in run.victims)
        drain(shop.decision_logs, run.workers[0].store)
        if shop.store_url is None:
            run.workers[0].store.database.checkpoint()
        assert run.traces(with_dataset=False) == []
        rows = rows_of(run.workers[0].store)
        assert rows and [row for row in rows if any(mark in row for mark in run.marks())] == []
        sync(shop, now=AS_OF + 10_000)
        assert run.traces(with_dataset=True) == []
        dataset = Dataset(shop.dataset)
        synced = {table: dataset.read(table).to_pylist() for table in ("events", "decisions", "customers", "orders")}
        marks = run.marks()
        assert synced["decisions"] and not any(mark in repr(synced) for mark in marks)
    assert not any(mark in caplog.text for mark in marks)


def rows_of(store: Store) -> list[str]:
    """Every row of every table of a store, whatever it runs on, as text; bytes as they read."""
    tables = ("SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()" if store.database.shared
              else "SELECT name FROM sqlite_master WHERE type = 'table'")  # fmt: skip
    named = [name for (name,) in store.database.query(tables)]
    return [f"{name} {row}" for name in named for row in store.database.query(f'SELECT * FROM "{name}"')]


@pytest.fixture(params=["sqlite", "postgres"])
def raced_shop(request, toy_shop):
    """The toy shop, with its store in a file or on a server."""
    if request.param == "sqlite":
        return toy_shop
    server = request.getfixturevalue("postgres")
    return replace(toy_shop, id=server.shop_id(toy_shop.root), store_url=server.url)


def test_requests_that_race_an_erasure_find_nothing_after_the_receipt(raced_shop, caplog):
    """Questions, words, orders and sign-ins on two workers, beside the watch and a sync."""
    race(raced_shop, caplog, victims=1 if raced_shop.store_url else 3, seconds=0.5)


@pytest.mark.soak
def test_many_erasures_that_race_with_requests(raced_shop, caplog):
    """The same, for longer."""
    race(raced_shop, caplog, victims=6 if raced_shop.store_url else 12, seconds=1.0)
