"""Simulated days of the house shop: visits one after the other, parcels on their way, and a shop that changes.

Time only goes forward, so a step of a part is reproduced by running the part again from its seed.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import msgspec
import numpy as np
import orjson

from serving import decide, stops
from serving.actions import next_action
from serving.intake import take_items
from serving.keeping import at_once
from serving.pages import page
from serving.query import Context
from serving.wire import ActionRequest, ItemIn, ItemsRequest, PageRequest
from training.bench.invariant_asked import Asked, Table, agreed
from training.bench.invariant_facts import DAY, ENDED, HOUR, MINUTE, Facts
from training.bench.invariant_house import CATEGORIES, ITEMS
from training.bench.invariant_people import SECOND, Crowd, Part, ids_of
from training.bench.invariant_truth import Subject

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


class World(Crowd):
    """A part of the run, lived day by day; every answer is judged."""

    def run(self, tell: Callable[[int], None] = lambda done: None) -> Table:
        """Live until enough was decided."""
        try:
            while self.checker.table.decisions < self.part.decisions:
                self.day()
                tell(self.checker.table.decisions)
        finally:
            self.engine.close()
        return self.checker.table

    def day(self) -> None:
        """The shop's changes, parcels, then visits one after the other, spread over all hours."""
        morning = self.now
        self._shop_changes()
        for who in self.customers:
            self._parcels(who)
        everybody = [*self.customers, *self.visitors]
        visits = [who for who in everybody if self.chance(0.3)]
        self.random.shuffle(visits)
        for number, who in enumerate(visits, start=1):
            self._visit(who)
            self.now = max(self.now + MINUTE, morning + DAY * number // (len(visits) + 1))
        self.now = max(self.now + HOUR, morning + DAY)
        if self.chance(0.04):
            self.now += int(self.random.integers(5, 60)) * DAY  # a quiet season: people lapse, orders get late

    def _shop_changes(self) -> None:
        """Stock, withdrawals, stops."""
        changed = {str(item) for item in self.random.choice(ITEMS, 3)}
        for item in changed:
            for kept in (self.sold_out, self.withdrawn):
                if self.chance(0.7 if item in kept else 0.3):
                    kept ^= {item}
            change = ItemIn(item_id=item, in_stock=item not in self.sold_out, withdraw=item in self.withdrawn)
            take_items(self.engine, ItemsRequest(items=(change,)), self.now)
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
                    self.report(who, line, "returned")
                continue
            if self.chance(0.35):
                self.report(who, line, self.pick(_NEXT[line.state]))

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
                self.do(who, taste)
            if visitor is who and self.chance(0.06):
                who = self.sign_in(who)
            if self.chance(0.2):
                self._contact(who, context, session)
            self._page(who, visitor, msgspec.structs.replace(context, **self._place(taste)), session or device)
        if visitor is not None and who is not visitor:
            self.event(Subject(visitor.id, known=False), "sign_out")

    def _place(self, taste: str) -> dict[str, str]:
        """What the page itself is about."""
        if self.chance(0.25):
            return {"item_id": self.item(taste)}
        return {"category": self.pick((taste, taste.split(" > ")[0]))} if self.chance(0.2) else {}

    def _page(self, who: Subject, visitor: Subject | None, context: Context, session: str | None) -> None:
        """Ask for a page, judge it, and sometimes answer its question."""
        self.now += SECOND
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
                self.answer(who, slot["question"]["question"])

    def _contact(self, who: Subject, context: Context, session: str | None) -> None:
        """Ask what to send, judge it, and say what became of it: sent, bounced, or nothing."""
        self.now += SECOND
        self.step += 1
        name = self.pick(sorted(self.config.channels))
        said = {"marketing": self.chance(0.5)} if self.chance(0.1) else None
        request = ActionRequest(**ids_of(who), session_id=session, context=context, consents=said, channel=name)
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
            self.event(who, "sent" if sent else "bounce", decisionId=found["decisionId"])
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


@contextmanager
def numbered_ids(part: Part) -> Iterator[None]:
    """Ids of decisions and events that come of the seed: where a draw is made anew, its point hangs on such an id."""
    random, names = np.random.default_rng((79, part.seed, part.number)), vars(decide)
    before = {name: names[name] for name in ("os", "time", "_chance")}
    numbers = itertools.count()
    names["os"], names["_chance"] = SimpleNamespace(urandom=random.bytes), deque()
    names["time"] = SimpleNamespace(time_ns=lambda: next(numbers) << 20)
    try:
        yield
    finally:
        names.update(before)


def run_part(part: Part, folder: Path, tell: Callable[[int], None] = lambda done: None) -> Table:
    """Live one part in an empty folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with numbered_ids(part):
        return World(part, folder).run(tell)
