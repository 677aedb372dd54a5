"""Clients of a service that is killed under them, and what each of them was told before it was."""

from __future__ import annotations

import contextlib
import http.client
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from features.shop import Shop
from serving.decision_drain import drain
from serving.store import Store

WRITERS = 3
READERS = 2
PATIENCE_SECONDS = 30


class NotNow(Exception):  # noqa: N818 - what happened, and no error of the service
    """The service asked the client to come again."""


DIED = (OSError, http.client.HTTPException, orjson.JSONDecodeError)
NOTHING_CAME = (*DIED, NotNow)


@dataclass
class Told:
    """What left the service and reached a client."""

    acknowledged: list[str] = field(default_factory=list)
    """Ids of events that were accepted, or known already from a sending whose answer was lost."""
    decisions: list[str] = field(default_factory=list)
    """Ids of the decisions of pages that were to be logged."""
    resent: int = 0
    """Batches that were sent again, because the first answer never came."""
    odd: list[Any] = field(default_factory=list)
    """Answers that no client should get."""


@dataclass
class Losses:
    """The store beside what clients were told."""

    lost: list[str]
    doubled: list[str]
    """Events and decisions that stand there twice, and people for whom a slot was drawn twice."""
    explored: int
    """Of the stored decisions of pages those that were drawn among several."""


class Traffic:
    """Clients that write events and ask for pages until they are told to stop; those who get no answer ask again.

    Args:
        port: of the service on this machine.
        name: makes the event ids of this traffic its own.
        told: what reached them is added here.
    """

    def __init__(self, port: int, name: str, told: Told) -> None:
        self._port, self._name, self._told = port, name, told
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self.flowing = threading.Event()
        """Set with the first acknowledged event."""
        clients = [(self._write, number) for number in range(WRITERS)] + [(self._read, n) for n in range(READERS)]
        self._threads = [threading.Thread(target=self._run, args=client) for client in clients]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let everybody end; a request on its way is answered or broken first."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self, client: Callable[[http.client.HTTPConnection, int], None], number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_SECONDS)
        with contextlib.closing(connection):
            client(connection, number)

    def _write(self, connection: http.client.HTTPConnection, client: int) -> None:
        sizes = np.random.default_rng([client, *self._name.encode()])
        sent = 0
        while not self._stopping.is_set():
            ids = [f"{self._name}-{client}-{sent + n}" for n in range(int(sizes.integers(1, 6)))]
            body = {"events": [
                {"eventId": each, "type": "view", "itemId": "a1", "userId": f"writer-{client}"} for each in ids
            ]}  # fmt: skip
            answer = self._insists(connection, "/v1/events", body)
            if answer is None:
                return
            sent += len(ids)
            with self._lock:
                if answer.get("accepted", 0) + answer.get("duplicates", 0) == len(ids):
                    self._told.acknowledged += ids
                    self.flowing.set()
                else:
                    self._told.odd.append(answer)

    def _read(self, connection: http.client.HTTPConnection, client: int) -> None:
        asked = 0
        while not self._stopping.is_set():
            body = {"page": "home", "userId": f"{self._name}-{client}-{asked // 2}"}  # each of them comes back once
            with contextlib.suppress(*NOTHING_CAME):
                answer = _asked(connection, "/v1/pages", body)
                slots = [slot["decisionId"] for slot in answer.get("slots", ())]
                with self._lock:
                    (self._told.decisions if slots and answer.get("logged", True) else self._told.odd).extend(
                        slots or [answer]
                    )
            asked += 1

    def _insists(self, connection: http.client.HTTPConnection, path: str, body: Any) -> dict[str, Any] | None:
        while True:
            try:
                return _asked(connection, path, body)
            except NOTHING_CAME:
                if self._stopping.wait(0.02):
                    return None
                with self._lock:
                    self._told.resent += 1


def losses(shop: Shop, told: Told) -> Losses:
    """Open the store as the next service would, and hold it against what clients were told.

    Raises:
        AssertionError: the store's file is damaged.
    """
    store = Store.open(shop.store, shop.secret)
    drain(shop.decision_logs, store)
    store.close()
    with contextlib.closing(sqlite3.connect(shop.store)) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        events = [row[0] for row in file.execute("SELECT event_id FROM events")]
        rows = [orjson.loads(row[0]) for row in file.execute("SELECT payload FROM decisions")]
    decisions = [row["decision_id"] for row in rows]
    lost = [*set(told.acknowledged).difference(events), *set(told.decisions).difference(decisions)]
    explored = [row for row in rows if row["drawn"] and row["action_propensity"] < 1]
    draws = [f"{row['customer_id']} at {row['slot']}" for row in explored]  # one a day, and the day does not end
    doubled = [each for ids in (events, decisions, draws) for each in _twice(ids)]
    return Losses(lost, doubled, len(explored))


def _asked(connection: http.client.HTTPConnection, path: str, body: Any) -> dict[str, Any]:
    try:
        connection.request("POST", path, orjson.dumps(body))
        answer = connection.getresponse()
        told = orjson.loads(answer.read())
    except DIED:
        connection.close()
        raise
    if answer.status == 503:
        raise NotNow
    return told


def _twice(ids: list[str]) -> list[str]:
    seen: set[str] = set()
    return [each for each in ids if each in seen or seen.add(each)]  # type: ignore[func-returns-value]


def log_of(folder: Path) -> str:
    """The last lines of a service's log."""
    return (folder / "service.log").read_text()[-3000:]
