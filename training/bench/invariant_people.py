"""What people of the house shop do, through the code that the HTTP routes call, noted in the true state beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import orjson

from features.moments import format_instant, parse_instant
from features.shop import Shop
from serving import intake_people
from serving.config import load_config
from serving.engine import Engine
from serving.frames import SUFFIX, frames
from serving.intake import read_event
from serving.wire_people import AnswerRequest, ConsentRequest, OrdersRequest, ProjectIn, UpdateRequest
from training.bench.invariant_asked import Shelves
from training.bench.invariant_facts import DAY, MINUTE
from training.bench.invariant_house import ITEMS, make_shop, path_of, policies
from training.bench.invariant_limits import Checker
from training.bench.invariant_truth import Event, Line, Subject

FIRST: Final = parse_instant("2026-12-01T00:00Z")
SECOND: Final = 1_000_000
_ANSWERS: Final = {"pet": ("dog", "cat"), "urgent": ("yes", "no"), "room": ("living", "child")}


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the run: a shop of its own.

    Args:
        seed, number: what it is reproduced by.
        decisions: how many at least; it ends with the page that reaches them.
        people: customers; half as many visitors come beside them.
    """

    seed: int
    number: int
    decisions: int
    people: int = 60


class Log:
    """Reads the rows of decisions as they were written, the log's from its files and kept draws' from the store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._read: dict[Path, int] = {}

    def rows_of(self, decisions: list[str]) -> dict[str, bytes]:
        """decision id -> the JSON of its row, for those that have one; two rows of one decision are none."""
        found: dict[str, bytes] = {}
        twice: set[str] = set()
        for payload in (*self._new(), *self._kept(decisions)):
            name = str(orjson.loads(payload)["decision_id"])
            twice |= {name} & found.keys()
            found[name] = payload
        return {name: raw for name, raw in found.items() if name not in twice}

    def _new(self) -> Iterator[bytes]:
        for path in sorted(self._engine.shop.decision_logs.glob(f"*{SUFFIX}")):
            start = self._read.get(path, 0)
            with path.open("rb") as file:
                file.seek(start)
                data = file.read()
            end = 0
            for _, stop, payload in frames(data):
                end = stop
                yield payload
            self._read[path] = start + end

    def _kept(self, decisions: list[str]) -> Iterator[bytes]:
        marks = ",".join("?" * len(decisions))
        query = f"SELECT payload FROM decisions WHERE decision_id IN ({marks})"
        yield from (bytes(row[0]) for row in self._engine.store.database.query(query, tuple(decisions)))


class Crowd:
    """A shop with its people, and what they do one by one.

    Args:
        part: which.
        folder: where the shop is made; it must be empty.
    """

    def __init__(self, part: Part, folder: Path) -> None:
        self.part = part
        self.shop: Shop = make_shop(folder / "shop", part.seed * 1_000_003 + part.number)
        self.engine = Engine(self.shop, worker="bench")
        self.config = load_config(self.shop.config)
        silent = frozenset(each.sheet.spec.name for each in policies() if each.sheet.spec.nothing)
        self.checker = Checker(self.shop, self.config, silent)
        self.random = np.random.default_rng((73, part.seed, part.number))
        self.now = FIRST + part.number * 29 % 365 * DAY
        self.step, self.orders = 0, 0
        self.shelves = Shelves()
        self.sold_out: set[str] = set()
        self.withdrawn: set[str] = set()
        self.in_force: dict[int, tuple[str, str]] = {}
        self.log = Log(self.engine)
        self.customers = [self.customer(number) for number in range(part.people)]
        self.visitors = [Subject(f"visitor-{number:04}", known=False) for number in range(part.people // 2)]

    def chance(self, share: float) -> bool:
        """Whether something happens that happens so often."""
        return bool(self.random.random() < share)

    def pick(self, some: Any) -> Any:
        """One of some things."""
        return some[int(self.random.integers(len(some)))]

    def wait(self, longest: int = 6 * MINUTE) -> int:
        """Let a while pass."""
        self.now += int(self.random.integers(SECOND, longest))
        return self.now

    def customer(self, number: int) -> Subject:
        """Somebody with a name, who may have agreed or refused before."""
        who = Subject(f"customer-{number:04}", known=True, name=f"Zenobia{number:04}")
        self.now += SECOND
        for purpose, yes, no in (("personalization", 0.75, 0.1), ("marketing", 0.5, 0.2)):
            draw = self.random.random()
            if draw < yes + no:
                self.consent(who, purpose, bool(draw < yes))
        self.staff(who)
        return who

    def staff(self, who: Subject) -> None:
        """What the shop's people write down."""
        who.region = self.pick((None, "north", "south"))
        who.zone = self.pick((None, None, "America/New_York", "Pacific/Auckland", "Europe/Berlin"))
        who.tier = self.pick((None, "gold", "silver", "plain"))
        until = None if self.chance(0.5) else self.now + int(self.random.integers(1, 60)) * DAY
        who.project = (self.now, until) if self.chance(0.15) else who.project
        fields: dict[str, Any] = {"name": who.name, "region": who.region, "time_zone": who.zone, "tier": who.tier}
        if who.project is not None:
            since, end = who.project
            ends = None if end is None else format_instant(end)
            fields["projects"] = (ProjectIn(kind="teen-room", since=format_instant(since), until=ends),)
        intake_people.take_update(self.engine, UpdateRequest(user_id=who.id, **fields), self.now)

    def consent(self, who: Subject, purpose: str, granted: bool) -> None:
        """Agree to something, or refuse it."""
        request = ConsentRequest(**ids_of(who), purpose=purpose, granted=granted)
        intake_people.take_consent(self.engine, self.engine.live, request, self.now)
        who.consents.own[purpose] = granted

    def report(self, who: Subject, line: Line, state: str) -> None:
        """The shop reports a step of an order line."""
        self.now += SECOND
        told: dict[str, Any] = {"orderId": line.order_id, "line": line.line, "itemId": line.item, "userId": who.id,
                                "shipmentState": state, "gift": line.gift,
                                "orderedAt": format_instant(line.ordered_at)}  # fmt: skip
        if line.promised_at is not None:
            told["promisedAt"] = format_instant(line.promised_at)
        answer = intake_people.take_orders(self.engine, OrdersRequest(orders=[raw(told)]), self.now)
        if answer["accepted"] != 1:
            raise RuntimeError(f"an order of the bench was refused: {answer}")
        line.steps.append((self.now, state))

    def event(self, who: Subject, kind: str, item: str | None = None, **told: Any) -> None:
        """One event, as `POST /v1/events` stores it."""
        self.now += SECOND
        ids = {"userId": who.id} if who.known else {"visitorId": who.id}
        row = {"type": kind, **ids, **told} | ({"itemId": item} if item else {})
        self.engine.store.append_sync([read_event(raw(row), self.now)])
        if kind not in ("sign_in", "sign_out"):
            who.events.append(Event(self.now, kind, item or "", bool(told.get("properties"))))

    def buy(self, who: Subject, item: str) -> None:
        """An order of one to three things; often its lines are reported, sometimes late, as a gift, or by phone."""
        owned = [each.item for each in who.events if each.type == "purchase"]
        gift, phone = self.chance(0.15), self.chance(0.05)
        items = {self.pick(owned) if owned and gift and self.chance(0.5) else item}
        items |= {self.item(path_of(item)) for _ in range(int(self.random.integers(0, 3)))}
        self.now += SECOND
        at, self.orders = self.now, self.orders + 1
        for each in sorted(items):
            if not phone:
                told = {"occurredAt": format_instant(at), "unitPrice": 10.0, "quantity": 1.0}
                ids = {"userId": who.id, "orderId": f"order-{self.orders}"}
                row = {"type": "purchase", "itemId": each, **ids, **told}
                self.engine.store.append_sync([read_event(raw(row), self.now)])
                who.events.append(Event(at, "purchase", each, gift))
        if phone or gift or self.chance(0.8):
            promised = None if self.chance(0.3) else at + int(self.random.integers(1, 40)) * DAY
            for number, each in enumerate(sorted(items)):
                line = Line(f"order-{self.orders}", str(number), each, at, promised, gift)
                self.report(who, line, "confirmed")
                who.lines.append(line)

    def back(self, who: Subject) -> None:
        """Send something back."""
        bought = [each for each in who.events if each.type == "purchase"]
        if bought:
            self.event(who, "return", self.pick(bought).item, quantity=1.0)

    def item(self, taste: str) -> str:
        """An item, most often of the category that is looked at."""
        if self.chance(0.2):
            return str(self.pick(ITEMS))
        return str(self.pick([item for item in ITEMS if path_of(item) == taste]))

    def do(self, who: Subject, taste: str) -> None:
        """Look, wish, buy, agree, refuse: one thing."""
        draw, item = self.random.random(), self.item(taste)
        wishes = [each.item for each in who.events if each.type == "wishlist"][-3:]
        if draw < 0.55:
            self.event(who, "view", item)
        elif draw < 0.62:
            self.event(who, "search")
        elif draw < 0.70:
            self.event(who, "cart", item)
        elif draw < 0.74 and wishes:
            self.event(who, "wishlist_remove", self.pick(wishes))
        elif draw < 0.82:
            self.event(who, "wishlist", item)
        elif draw < 0.90 and who.known:
            self.buy(who, item)
        elif draw < 0.92:
            self.back(who)
        elif draw < 0.95:
            self.consent(who, self.pick(("personalization", "personalization", "marketing")), self.chance(0.8))
        elif draw < 0.96 and who.known:
            self.staff(who)

    def sign_in(self, visitor: Subject) -> Subject:
        """The visitor says who he is; from now on his past is the customer's."""
        customer: Subject = self.pick(self.customers)
        self.now += SECOND
        row = {"type": "sign_in", "userId": customer.id, "visitorId": visitor.id}
        self.engine.store.append_sync([read_event(raw(row), self.now)])
        self.checker.signed_in(visitor, customer)
        visitor.signs_in(customer)
        return customer

    def answer(self, who: Subject, question: str) -> None:
        """Answer a question, or skip it."""
        self.wait(MINUTE)
        given = None if self.chance(0.25) else self.pick(_ANSWERS.get(question, ("Quillon",)))
        request = AnswerRequest(**ids_of(who), question=question, answer=given)
        intake_people.take_answer(self.engine, request, self.now)
        who.asked.own[question] = self.now
        if given is not None:
            who.answers.own[question] = given


def ids_of(who: Subject) -> dict[str, Any]:
    """How a request names somebody."""
    return {"user_id": who.id} if who.known else {"visitor_id": who.id}


def raw(told: dict[str, Any]) -> msgspec.Raw:
    """A part of a body that is decoded by itself."""
    return msgspec.Raw(orjson.dumps(told))
