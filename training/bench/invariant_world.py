"""Simulated days of the house shop: people who look, wish, order, wait, answer and refuse, and a shop that changes.

All that happens goes through the code that the HTTP routes call, and is noted in the true state beside it. Time only
goes forward, so a step of a part is reproduced by running the part again from its seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import orjson

from features.moments import format_instant, parse_instant
from features.shop import Shop
from serving import intake_people, stops
from serving.actions import next_action
from serving.config import load_config
from serving.engine import Engine
from serving.frames import SUFFIX, frames
from serving.intake import read_event, take_items
from serving.keeping import at_once
from serving.pages import page
from serving.query import Context
from serving.wire import ActionRequest, ItemIn, ItemsRequest, PageRequest
from serving.wire_people import AnswerRequest, ConsentRequest, OrdersRequest, ProjectIn, UpdateRequest
from training.bench.invariant_asked import Asked, Shelves, Table, agreed
from training.bench.invariant_house import CATEGORIES, ITEMS, make_shop, path_of, policies
from training.bench.invariant_limits import Checker
from training.bench.invariant_truth import DAY, ENDED, HOUR, MINUTE, Event, Facts, Line, Subject

FIRST: Final = parse_instant("2026-12-01T00:00Z")
_SECOND: Final = 1_000_000
_PAGES: Final = (("home", 0.3), ("eight", 0.25), ("landing", 0.15), ("product", 0.12), ("mail", 0.12),
                 ("order-status", 0.06))  # fmt: skip
_NEXT: Final = {
    "confirmed": ("in_production", "shipped", "cancelled"), "in_production": ("shipped", "shipped", "lost"),
    "shipped": ("delivered", "delivered", "attempted", "lost"), "attempted": ("ready_for_pickup", "delivered"),
    "ready_for_pickup": ("delivered",),
}  # fmt: skip
_STOPPABLE: Final = (
    ("action", "hero-season"), ("action", "tip-day"), ("module", "for-you"), ("module", "related"),
    ("action", "order-status"), ("campaign", "band-1"), ("campaign", "rows"), ("campaign", "hero-1"),
    ("campaign", "push"),
)  # fmt: skip
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


class World:
    """A part of the run.

    Args:
        part: which.
        folder: where its shop is made; it must be empty.
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
        self.customers = [self._customer(number) for number in range(part.people)]
        self.visitors = [Subject(f"visitor-{number:04}", known=False) for number in range(part.people // 2)]

    def run(self, tell: Callable[[int], None] = lambda done: None) -> Table:
        """Live until enough was decided."""
        try:
            while self.checker.table.decisions < self.part.decisions:
                self.day()
                tell(self.checker.table.decisions)
        finally:
            self.engine.close()
        return self.checker.table

    # --- chance ----------------------------------------------------------------------------------------------------

    def chance(self, share: float) -> bool:
        """Whether something happens that happens so often."""
        return bool(self.random.random() < share)

    def pick(self, some: Any) -> Any:
        """One of some things."""
        return some[int(self.random.integers(len(some)))]

    def wait(self, longest: int = 6 * MINUTE) -> int:
        """Let a while pass."""
        self.now += int(self.random.integers(_SECOND, longest))
        return self.now

    # --- days ------------------------------------------------------------------------------------------------------

    def day(self) -> None:
        """The shop's changes, parcels, then visits one after the other, spread over all hours."""
        morning = self.now
        self._shop_changes()
        for who in self.customers:
            self._parcels(who)
        everybody = [*self.customers, *self.visitors]
        visits = [who for who in everybody if self.chance(0.3)]
        self.random.shuffle(visits)  # type: ignore[arg-type]
        for number, who in enumerate(visits, start=1):
            self._visit(who)
            self.now = max(self.now + MINUTE, morning + DAY * number // (len(visits) + 1))
        self.now = max(self.now + HOUR, morning + DAY)
        if self.chance(0.04):
            self.now += int(self.random.integers(5, 60)) * DAY  # a quiet season: people lapse, orders get late

    def _customer(self, number: int) -> Subject:
        who = Subject(f"customer-{number:04}", known=True, name=f"Zenobia{number:04}")
        self.now += _SECOND
        for purpose, yes, no in (("personalization", 0.75, 0.1), ("marketing", 0.5, 0.2)):
            draw = self.random.random()
            if draw < yes + no:
                self._consent(who, purpose, bool(draw < yes))
        self._staff(who)
        return who

    def _staff(self, who: Subject) -> None:
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

    def _consent(self, who: Subject, purpose: str, granted: bool) -> None:
        request = ConsentRequest(**_ids(who), purpose=purpose, granted=granted)
        intake_people.take_consent(self.engine, self.engine.live, request, self.now)
        who.consents.own[purpose] = granted

    def _shop_changes(self) -> None:
        """Stock, withdrawals, stops."""
        changed = {str(item) for item in self.random.choice(ITEMS, 3)}
        for item in changed:
            for kept, field in ((self.sold_out, "in_stock"), (self.withdrawn, "withdraw")):
                if self.chance(0.7 if item in kept else 0.3):
                    kept ^= {item}
                    value = (item in kept) == (field == "withdraw")
                    take_items(self.engine, ItemsRequest(items=(ItemIn(item_id=item, **{field: value}),)), self.now)
        if self.in_force and self.chance(0.35):
            number = self.pick(sorted(self.in_force))
            stops.lift_stop(self.engine.store, number, who="bench", now=self.now)
            del self.in_force[number]
        elif self.chance(0.3):
            kind, name = self.pick((*_STOPPABLE, *(("item", str(item)) for item in self.random.choice(ITEMS, 8))))
            stop = stops.add_stop(self.engine.store, kind, name, because="the bench", who="bench", now=self.now)
            self.in_force[stop.number] = kind, name
        self.engine.refresh_stops()
        held = self.in_force.values()
        self.shelves.gone = self.sold_out | self.withdrawn | {name for kind, name in held if kind == "item"}
        self.shelves.names = {name for kind, name in held if kind in ("action", "module")}
        self.shelves.campaigns = {name for kind, name in held if kind == "campaign"}

    def _parcels(self, who: Subject) -> None:
        """What is on its way goes on, or stays where it is and gets late."""
        for line in who.lines:
            if line.state in ENDED:
                if line.state == "delivered" and self.chance(0.02):
                    self._report(who, line, "returned")
                continue
            if self.chance(0.35):
                self._report(who, line, self.pick(_NEXT[line.state]))

    def _report(self, who: Subject, line: Line, state: str) -> None:
        self.now += _SECOND
        told: dict[str, Any] = {"orderId": line.order_id, "line": line.line, "itemId": line.item, "userId": who.id,
                                "shipmentState": state, "gift": line.gift,
                                "orderedAt": format_instant(line.ordered_at)}  # fmt: skip
        if line.promised_at is not None:
            told["promisedAt"] = format_instant(line.promised_at)
        answer = intake_people.take_orders(self.engine, OrdersRequest(orders=[_raw(told)]), self.now)
        if answer["accepted"] != 1:
            raise RuntimeError(f"an order of the bench was refused: {answer}")
        line.steps.append((self.now, state))

    # --- visits ----------------------------------------------------------------------------------------------------

    def _visit(self, who: Subject) -> None:
        """Some pages with what is done between them; a visitor may sign in on the way."""
        device = None if self.chance(0.6) else who.id
        session = None if self.chance(0.4) else f"session-{self.part.number}-{self.step}"
        context = Context(
            region=self.pick((None, "north", "south")), device=self.pick((None, "phone", "desktop")),
            traffic_source=self.pick((None, "search", "email")), campaign=self.pick((None, "june")),
            locale=self.pick((None, "en", "ja")), time_zone=self.pick((None, None, "Asia/Tokyo", "Europe/London")),
        )  # fmt: skip
        visitor = None if who.known else who
        taste = self.pick(sorted(CATEGORIES))
        for _ in range(int(self.random.integers(1, 6))):
            self.wait(45 * MINUTE if self.chance(0.08) else 6 * MINUTE)
            for _ in range(int(self.random.integers(0, 4))):
                self._do(who, taste)
            if visitor is who and self.chance(0.06):
                who = self._sign_in(who)
            if self.chance(0.2):
                self._contact(who, context, session)
            self._page(who, visitor, msgspec.structs.replace(context, **self._place(taste)), session or device)
        if visitor is not None and who is not visitor:
            self._event(Subject(visitor.id, known=False), "sign_out")

    def _place(self, taste: str) -> dict[str, str]:
        """What the page itself is about."""
        if self.chance(0.25):
            return {"item_id": self._item(taste)}
        return {"category": self.pick((taste, taste.split(" > ")[0]))} if self.chance(0.2) else {}

    def _item(self, taste: str) -> str:
        if self.chance(0.2):
            return str(self.pick(ITEMS))
        return str(self.pick([item for item in ITEMS if path_of(item) == taste]))

    def _do(self, who: Subject, taste: str) -> None:
        """Look, wish, buy, agree, refuse: one thing."""
        draw, item = self.random.random(), self._item(taste)
        wishes = [each.item for each in who.events if each.type == "wishlist"][-3:]
        if draw < 0.55:
            self._event(who, "view", item)
        elif draw < 0.62:
            self._event(who, "search")
        elif draw < 0.70:
            self._event(who, "cart", item)
        elif draw < 0.74 and wishes:
            self._event(who, "wishlist_remove", self.pick(wishes))
        elif draw < 0.82:
            self._event(who, "wishlist", item)
        elif draw < 0.90 and who.known:
            self._buy(who, item)
        elif draw < 0.92:
            self._back(who)
        elif draw < 0.95:
            self._consent(who, self.pick(("personalization", "personalization", "marketing")), self.chance(0.8))
        elif draw < 0.96 and who.known:
            self._staff(who)

    def _event(self, who: Subject, kind: str, item: str | None = None, **told: Any) -> None:
        self.now += _SECOND
        ids = {"userId": who.id} if who.known else {"visitorId": who.id}
        row = {"type": kind, **ids, **told} | ({"itemId": item} if item else {})
        self.engine.store.append_sync([read_event(_raw(row), self.now)])
        if kind not in ("sign_in", "sign_out"):
            who.events.append(Event(self.now, kind, item or "", bool(told.get("properties"))))

    def _buy(self, who: Subject, item: str) -> None:
        """An order of one to three things; often its lines are reported, sometimes late, as a gift, or by phone."""
        owned = [each.item for each in who.events if each.type == "purchase"]
        gift, phone = self.chance(0.15), self.chance(0.05)
        items = {self.pick(owned) if owned and gift and self.chance(0.5) else item}
        items |= {self._item(path_of(item)) for _ in range(int(self.random.integers(0, 3)))}
        self.now += _SECOND
        at, self.orders = self.now, self.orders + 1
        for each in sorted(items):
            if not phone:
                told = {"occurredAt": format_instant(at), "unitPrice": 10.0, "quantity": 1.0}
                ids = {"userId": who.id, "orderId": f"order-{self.orders}"}
                row = {"type": "purchase", "itemId": each, **ids, **told}
                self.engine.store.append_sync([read_event(_raw(row), self.now)])
                who.events.append(Event(at, "purchase", each, gift))
        if phone or gift or self.chance(0.8):
            promised = None if self.chance(0.3) else at + int(self.random.integers(1, 40)) * DAY
            for number, each in enumerate(sorted(items)):
                line = Line(f"order-{self.orders}", str(number), each, at, promised, gift)
                self._report(who, line, "confirmed")
                who.lines.append(line)

    def _back(self, who: Subject) -> None:
        bought = [each for each in who.events if each.type == "purchase"]
        if bought:
            self._event(who, "return", self.pick(bought).item, quantity=1.0)

    def _sign_in(self, visitor: Subject) -> Subject:
        customer: Subject = self.pick(self.customers)
        self.now += _SECOND
        row = {"type": "sign_in", "userId": customer.id, "visitorId": visitor.id}
        self.engine.store.append_sync([read_event(_raw(row), self.now)])
        self.checker.signed_in(visitor, customer)
        visitor.signs_in(customer)
        return customer

    def _page(self, who: Subject, visitor: Subject | None, context: Context, session: str | None) -> None:
        """Ask for a page, judge it, and sometimes answer its question."""
        self.now += _SECOND
        self.step += 1
        name = str(self.random.choice([name for name, _ in _PAGES], p=[share for _, share in _PAGES]))
        said = {"personalization": self.chance(0.6)} if self.chance(0.05) else None
        nobody = not who.known and self.chance(0.05)
        request = PageRequest(
            user_id=who.id if who.known else None, visitor_id=None if visitor is None or nobody else visitor.id,
            session_id=session, context=context, consents=said, page=name,
            surface="email" if name == "mail" else "page",
        )  # fmt: skip
        answer = page(self.engine, request, self.now)
        raw = self.log.rows_of([slot["decisionId"] for slot in answer["slots"]])
        rows = [orjson.loads(raw[slot["decisionId"]]) if slot["decisionId"] in raw else {} for slot in answer["slots"]]
        at = max([self.now, *(int(row["decided_at"]) for row in rows if row)])
        asked_by = Subject("", known=False) if nobody else who
        self.checker.judge(self._asked(request, answer, raw, rows, asked_by, at))
        for slot in answer["slots"]:
            if slot.get("question") and self.chance(0.6) and not nobody:
                self._answer(who, slot["question"]["question"])

    def _contact(self, who: Subject, context: Context, session: str | None) -> None:
        """Ask what to send, judge it, and say what became of it: sent, bounced, or nothing."""
        self.now += _SECOND
        self.step += 1
        name = self.pick(sorted(self.config.channels))
        said = {"marketing": self.chance(0.5)} if self.chance(0.1) else None
        request = ActionRequest(**_ids(who), session_id=session, context=context, consents=said, channel=name)
        found = at_once(next_action(self.engine, request, self.now, self.engine.store.keep_at_once))
        raw = self.log.rows_of([found["decisionId"]])
        row = orjson.loads(raw[found["decisionId"]]) if found["decisionId"] in raw else {}
        waits = [each for each in who.showings if each.decision == found["decisionId"] and each.until is not None]
        slot = {"slot": name, "items": [], "title": "", **found}
        at = int(row["decided_at"]) if row else self.now
        asked = self._asked(request, {**found, "slots": [slot]}, raw, [row], who, at)
        asked.channel, asked.waiting = self.config.channels[name], bool(waits)
        self.checker.judge(asked)
        mine = [each for each in who.showings if each.decision == found["decisionId"] and each.until is not None]
        if mine and self.chance(0.7):
            self.wait(2 * HOUR if self.chance(0.2) else 5 * MINUTE)
            sent = self.chance(0.9)
            self._event(who, "sent" if sent else "bounce", decisionId=found["decisionId"])
            mine[0].failed, mine[0].until, mine[0].at = not sent, None, self.now

    def _asked(
        self, request: PageRequest | ActionRequest, answer: dict[str, Any], raw: dict[str, bytes],
        rows: list[dict[str, Any]], who: Subject, at: int,
    ) -> Asked:  # fmt: skip
        blank = Subject("", known=False)
        used = who if agreed(who, request, "personalization") else blank
        rules = self.config.projects, self.config.repurchase.days, self.config.shop.time_zone
        where = f"seed {self.part.seed}, part {self.part.number}, step {self.step}"
        return Asked(
            request, answer, raw, rows, who, Facts(used, at, request.context, *rules),
            Facts(blank, at, request.context, *rules), self.shelves, where,
        )  # fmt: skip

    def _answer(self, who: Subject, question: str) -> None:
        self.wait(MINUTE)
        given = None if self.chance(0.25) else self.pick(_ANSWERS.get(question, ("Quillon",)))
        request = AnswerRequest(**_ids(who), question=question, answer=given)
        intake_people.take_answer(self.engine, request, self.now)
        who.asked.own[question] = self.now
        if given is not None:
            who.answers.own[question] = given


def _ids(who: Subject) -> dict[str, Any]:
    return {"user_id": who.id} if who.known else {"visitor_id": who.id}


def _raw(told: dict[str, Any]) -> msgspec.Raw:
    return msgspec.Raw(orjson.dumps(told))


def run_part(part: Part, folder: Path, tell: Callable[[int], None] = lambda done: None) -> Table:
    """Live one part in an empty folder."""
    with suppress(FileExistsError):
        folder.mkdir(parents=True)
    return World(part, folder).run(tell)
