"""The rules that no page may break, each looked at by itself in the answer, its log rows and the true state."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
import orjson

from features.shop import Shop
from features.text import unit_hash
from serving.config import ShopConfig
from serving.settings.actions import Action
from serving.settings.pages import Slot
from serving.wire import PageRequest
from training.bench.invariant_fit import SELLING, action_fits, fits
from training.bench.invariant_house import path_of
from training.bench.invariant_truth import DAY, MINUTE, Facts, Showing, Subject

RULES: Final = (
    "empty-slot", "duplicate-item", "duplicate-action", "cap", "capacity", "ineligible", "unfounded-veto", "consent",
    "holdout", "resting", "withdrawn", "propensity", "unlogged", "question", "one-answer", "selling-while-late",
)  # fmt: skip
PERSONAL: Final = ("buy-again", "wishlist", "for-you", "session", "goes-with-order", "viewed")
"""Kinds of modules that cannot be filled for somebody of whom nothing may be used."""
_BY_CONDITION: Final = re.compile(
    r"not at this time$|(region|source|campaign|device) is |it is |the moment is |customers only|visitors only|tier is "
    r"|the answer to |.* is answered$|stage is |no such project|not in |in |\d+ orders so far|.* nothing of "
    r"|has bought something|nothing is late|a delivery is late$|nothing of this kind|no order is on its way"
)
"""What a veto says whose ground is a condition of the file."""
_DAYS: Final = (("day", 1), ("week", 7), ("month", 30), ("ever", 0))
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TINY: Final = 1e-9


class Looked(msgspec.Struct):
    """Of one rule: how often it could have been broken, how often it was, and the first time that it was."""

    number: int = 0
    broken: int = 0
    example: str = ""


class Table(msgspec.Struct):
    """All rules of some decisions."""

    decisions: int = 0
    pages: int = 0
    rules: dict[str, Looked] = msgspec.field(default_factory=lambda: {name: Looked() for name in RULES})

    def add(self, other: Table) -> None:
        """Put another part's counts to these."""
        self.decisions += other.decisions
        self.pages += other.pages
        for name, more in other.rules.items():
            mine = self.rules[name]
            mine.number += more.number
            mine.broken += more.broken
            mine.example = mine.example or more.example


@dataclass
class Shelves:
    """What the shop took away: items that are withdrawn, sold out or stopped, names and campaigns that are stopped."""

    gone: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    campaigns: set[str] = field(default_factory=set)


@dataclass
class Asked:
    """One page, all that is needed to judge it.

    Args:
        request, answer: as they were.
        raw: decision -> the JSON of its log row.
        rows: one a slot of the answer; {} where the log has none.
        who: the subject whom the request names.
        facts: what may be used of him; blank without consent.
        blank: the same moment with nothing of him.
        shelves: what was taken away.
        where: words that reproduce it.
    """

    request: PageRequest
    answer: dict[str, Any]
    raw: Mapping[str, bytes]
    rows: Sequence[dict[str, Any]]
    who: Subject
    facts: Facts
    blank: Facts
    shelves: Shelves
    where: str

    @property
    def slots(self) -> list[dict[str, Any]]:
        """Of the answer."""
        found: list[dict[str, Any]] = self.answer["slots"]
        return found

    @property
    def message(self) -> bool:
        """Whether it is not looked at on a screen."""
        return self.request.surface not in ("page", "web", "app")

    @property
    def personal(self) -> bool:
        """Whether the subject agreed to personal pages."""
        return agreed(self.who, self.request, "personalization")

    @property
    def named(self) -> bool:
        """Whether somebody is known to count for."""
        return self.personal and (self.request.user_id or self.request.visitor_id) is not None

    def pairs(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Each slot with its row."""
        return zip(self.slots, self.rows, strict=True)


def agreed(who: Subject, request: PageRequest, purpose: str) -> bool:
    """Whether somebody agreed to a purpose: as told, else as the request says, which may always refuse."""
    said = (request.consents or {}).get(purpose)
    told = who.consents.now.get(purpose, said)
    return said is not False and told is True


class Checker:
    """Judges pages of one shop, and keeps what stands against its limits.

    Args:
        shop: whose secret decides who is held out.
        config: its file.
        silent: policies that may take nothing where something could be shown.
    """

    def __init__(self, shop: Shop, config: ShopConfig, silent: frozenset[str]) -> None:
        self.shop, self.config, self.silent = shop, config, silent
        self.table = Table()
        self.given: dict[str, set[str]] = {}
        self.spent: dict[str, float] = {}
        self._where = ""

    def judge(self, asked: Asked) -> None:
        """Look at every rule; what was shown counts from now on."""
        self._where = asked.where
        self.table.pages += 1
        self.table.decisions += len(asked.slots)
        checks: tuple[Callable[[Asked], None], ...] = (
            self._filled, self._duplicates, self._eligible, self._consent, self._holdout, self._items,
            self._log, self._chances, self._late, self._questions, self._answers, self._limits,
        )  # fmt: skip
        for check in checks:
            check(asked)

    def _look(self, rule: str, holds: bool, *told: object) -> None:
        found = self.table.rules[rule]
        found.number += 1
        if not holds:
            found.broken += 1
            found.example = found.example or f"{' '.join(map(str, told))} ({self._where})"

    # --- what stands in the slots ----------------------------------------------------------------------------------

    def slot_of(self, asked: Asked, row: Mapping[str, Any], name: str) -> Slot:
        """The slot of the file, as the arm in its row changes it and stopped campaigns leave it."""
        slot = next(each for each in self.config.pages[asked.request.page].slots if each.name == name)
        if row.get("arm"):
            experiment, arm = str(row["arm"]).split("/")
            change = self.config.experiments[experiment].arms[arm].slots.get(name)
            if change is not None:
                policy = slot.policy if change.policy is None else change.policy
                slot = msgspec.structs.replace(
                    slot, policy=None if policy == "first-fillable" else policy, modules=change.modules or slot.modules
                )
        stopped = slot.policy in asked.shelves.campaigns
        return msgspec.structs.replace(slot, policy=None) if stopped else slot

    def _filled(self, asked: Asked) -> None:
        for slot, row in asked.pairs():
            declared = self.slot_of(asked, row, slot["slot"])
            chose = any(each is None for each, _ in row.get("eligible", ())) and row.get("policy") in self.silent
            if declared.may_be_empty or asked.message or chose:
                continue
            module = slot["actionId"] in self.config.modules
            full = slot["actionId"] is not None and (bool(slot["items"]) or not module) and slot["title"]
            self._look("empty-slot", bool(full), "slot", slot["slot"], "of", asked.request.page)

    def _duplicates(self, asked: Asked) -> None:
        items: set[str] = set()
        names: set[str] = set()
        for slot, row in asked.pairs():
            for card in slot["items"]:
                self._look("duplicate-item", card["itemId"] not in items, card["itemId"])
                items.add(card["itemId"])
            name = slot["actionId"]
            if name is None:
                continue
            module = self.config.modules.get(name)
            again = module is not None and bool(module.again)
            drawn = row.get("fallback") is None and row.get("policy") == self.slot_of(asked, row, slot["slot"]).policy
            free = name not in names or (again and not drawn)
            self._look("duplicate-action", free, name, "in", slot["slot"])
            names.add(name)

    def _eligible(self, asked: Asked) -> None:
        for slot, row in asked.pairs():
            name = slot["actionId"]
            if name is not None:
                self._look("ineligible", self._fits(name, asked.facts), name, "in", slot["slot"])
            for vetoed, why in row.get("vetoed", ()):
                if _BY_CONDITION.match(why):
                    found = not self._fits(vetoed, asked.facts) or (bool(row["holdout"]) and self._module(vetoed))
                    self._look("unfounded-veto", found, vetoed, ":", why)

    def _module(self, name: str) -> bool:
        return name in self.config.modules

    def _fits(self, name: str, facts: Facts) -> bool:
        if self._module(name):
            return fits(self.config.modules[name].when, facts, self.config)
        return action_fits(self.config.actions[name], facts, self.config)

    def _consent(self, asked: Asked) -> None:
        for slot in asked.slots:
            action, name = self.config.actions.get(slot["actionId"] or ""), slot["actionId"]
            sells = name is not None and (action is None or action.kind in SELLING)
            wanted = {action.purpose} if action is not None and action.purpose is not None else set()
            wanted |= {"marketing"} if asked.message and sells else set()
            for purpose in wanted:
                self._look("consent", agreed(asked.who, asked.request, purpose), name, "without", purpose)
        if asked.personal:
            return
        kinds = [self.config.modules[slot["actionId"]].kind for slot in asked.slots if self._module(slot["actionId"])]
        hearts = any(card["wished"] for slot in asked.slots for card in slot["items"])
        plain = not set(kinds) & set(PERSONAL) and not hearts and asked.answer["personalized"] is False
        self._look("consent", plain, "a personal page:", kinds)
        words = [each for each in (asked.request.user_id, asked.request.visitor_id, asked.who.name) if each]
        told = [orjson.dumps(asked.answer), *asked.raw.values()]
        clean = not any(word.encode() in text for word in words for text in told)
        self._look("consent", clean, "an id or a name without consent")

    def held_out(self, request: PageRequest) -> bool:
        """Whether the subject is in the permanent holdout, by the hash that DESIGN names."""
        unit = ("customer", request.user_id) if request.user_id else ("visitor", request.visitor_id)
        if unit[1] is None:
            return False
        point = unit_hash("holdout", self.shop.id, self.shop.secret.hex(), unit[0], unit[1])
        return point < self.config.shop.holdout

    def _holdout(self, asked: Asked) -> None:
        held = self.held_out(asked.request)
        for slot, row in asked.pairs():
            if not held:
                continue
            name = slot["actionId"]
            if name is None:
                same = True
            elif self._module(name):
                same = self.config.modules[name].kind == "popular" and self._fits(name, asked.blank)
            else:
                same = self.config.actions[name].kind == "status"
            self._look("holdout", same and row.get("holdout") is True, name, "in", slot["slot"])

    def _items(self, asked: Asked) -> None:
        resting, shelves = asked.facts.resting, asked.shelves
        for slot, row in asked.pairs():
            for card in slot["items"]:
                if resting:
                    self._look("resting", path_of(card["itemId"]) not in resting, card["itemId"])
                if shelves.gone:
                    self._look("withdrawn", card["itemId"] not in shelves.gone, card["itemId"])
            if shelves.names or shelves.campaigns:
                arm = str(row.get("arm") or "").split("/")[0]
                on = slot["actionId"] not in shelves.names and not {arm, row.get("policy")} & shelves.campaigns
                self._look("withdrawn", on, slot["actionId"], "in", slot["slot"])

    def _late(self, asked: Asked) -> None:
        if not (asked.facts.late or asked.facts.returned_lately):
            return
        for slot in asked.slots:
            action = self.config.actions.get(slot["actionId"] or "")
            quiet = action is None or action.kind not in SELLING
            self._look("selling-while-late", quiet, slot["actionId"])

    # --- the log ---------------------------------------------------------------------------------------------------

    def _log(self, asked: Asked) -> None:
        for slot, row in asked.pairs():
            same = (
                row.get("slot") == slot["slot"] and row.get("action_id") == slot["actionId"]
                and row.get("items") == [card["itemId"] for card in slot["items"]]
                and asked.answer.get("logged") is not False
            )  # fmt: skip
            self._look("unlogged", same, "decision", slot["decisionId"])

    def _chances(self, asked: Asked) -> None:
        for slot, row in asked.pairs():
            if not row:
                continue
            chances = dict(row["eligible"])
            vetoed = {name for name, _ in row["vetoed"]}
            listed = {None, *self.slot_of(asked, row, slot["slot"]).modules}
            fresh = row["reused_from"] is None
            holds = (
                abs(sum(chances.values()) - 1) < _TINY and min(chances.values()) >= 0
                and len(chances) == len(row["eligible"])
                and chances.get(row["action_id"], 0) == row["action_propensity"] > 0
                and row["action_id"] not in vetoed
                and (not fresh or (not vetoed & chances.keys() and chances.keys() <= listed))
            )  # fmt: skip
            self._look("propensity", holds, row["action_id"], "of", row["eligible"], ", vetoed", row["vetoed"])

    # --- what must hold over several pages -------------------------------------------------------------------------

    def _questions(self, asked: Asked) -> None:
        who, now = asked.who, asked.facts.now
        put = [slot["question"]["question"] for slot in asked.slots if slot.get("question")]
        for question in put:
            shown, done, start = who.shown.now, {**who.asked.now, **who.answers.now}, asked.facts.session_start
            lately = {name for name, at in (*shown.items(), *who.asked.now.items()) if int(str(at)) >= start}
            first = int(str(shown.get(question, now)))
            holds = asked.named and question not in done and first >= start and lately <= {question} and len(put) == 1
            self._look("question", holds, put, ", shown", shown, ", done", done, ", session from", start)
            if question not in shown:
                who.shown.own[question] = now

    def _answers(self, asked: Asked) -> None:
        places: dict[str, int] = {}
        for slot, row in asked.pairs():
            declared = self.slot_of(asked, row, slot["slot"])
            family = declared.family or declared.name
            place = places.get(family, 0)
            places[family] = place + 1
            if not asked.named or not row or row["policy"] != declared.policy or row["fallback"] is not None:
                continue
            key = (
                family,
                place,
                self._local(asked.facts.now, self.config.shop.time_zone).toordinal() // declared.epoch_days,
            )
            before = asked.who.draws.get(key)
            if before is not None:
                action, vetoed = before[0], {name for name, _ in row["vetoed"]}
                lost = action in vetoed or (
                    action not in declared.modules if action else row["policy"] not in self.silent
                )
                same = action == row["action_id"]
                self._look("one-answer", same or lost, before, "became", row["action_id"], "for", key)
            asked.who.draws[key] = row["action_id"], row["decision_id"]

    def _limits(self, asked: Asked) -> None:
        surface = f"{asked.request.surface}.{asked.request.page}"
        for slot, row in asked.pairs():
            action = self.config.actions.get(slot["actionId"] or "")
            if action is None or not row or not _limited(action):
                continue
            name, at = slot["actionId"], int(row["decided_at"])
            showings = asked.who.showings if asked.named else []
            session = asked.request.session_id
            repeated = any(
                each.action == name and each.surface == surface
                and (at - each.at < 30 * MINUTE or (session is not None and each.session == session))
                for each in showings
            )  # fmt: skip
            if repeated:
                continue
            self._often(asked, action, name, [each.at for each in showings if each.action == name], at)
            self._given_out(asked, action, name)
            if asked.named:
                asked.who.showings.append(Showing(name, surface, at, session))

    def _often(self, asked: Asked, action: Action, name: str, times: list[int], now: int) -> None:
        """Caps and the cool-down, of a showing that is a new one."""
        zone = asked.facts.who.zone or asked.facts.context.time_zone or self.config.shop.time_zone
        today = self._local(now, zone).date()
        for window, days in _DAYS:
            most = getattr(action.caps, window)
            if most is not None:
                first = today - timedelta(days=days - 1) if days else None
                mine = [at for at in times if first is None or self._local(at, zone).date() >= first]
                holds = asked.named and len(mine) < most
                self._look("cap", holds, name, ":", len(mine) + 1, "a", window, "of", most)
        if action.cool_down_days:
            soon = any(now - at < action.cool_down_days * DAY for at in times)
            self._look("cap", asked.named and not soon, name, ": within its cool-down")

    def _given_out(self, asked: Asked, action: Action, name: str) -> None:
        if action.capacity is not None:
            people = self.given.setdefault(name, set())
            people.add(asked.who.id if asked.named else str(asked.answer["requestId"]))
            self._look("capacity", len(people) <= action.capacity, name, "to", len(people), "people")
        if action.budget is not None:
            self.spent[name] = self.spent.get(name, 0.0) + action.cost
            holds = self.spent[name] <= action.budget + _TINY
            self._look("capacity", holds, name, "cost", self.spent[name], "of", action.budget)

    def signed_in(self, visitor: str, customer: str) -> None:
        """From now on two names are one person's."""
        for people in self.given.values():
            if visitor in people:
                people.discard(visitor)
                people.add(customer)

    @staticmethod
    def _local(at: int, zone: str) -> datetime:
        return (_EPOCH + timedelta(microseconds=at)).astimezone(ZoneInfo(zone))


def _limited(action: Action) -> bool:
    caps = any(getattr(action.caps, window) is not None for window, _ in _DAYS)
    return caps or bool(action.cool_down_days) or action.capacity is not None or action.budget is not None
