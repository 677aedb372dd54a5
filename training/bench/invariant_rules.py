"""The rules that no answer may break, each looked at by itself: in the answer, its log rows and the true state."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import orjson

from features.shop import Shop
from features.text import unit_hash
from serving.config import ShopConfig
from serving.settings.pages import FLOOR, Slot
from serving.wire import ActionRequest, PageRequest
from training.bench.invariant_asked import Asked, Table, agreed
from training.bench.invariant_facts import Facts
from training.bench.invariant_fit import SELLING, action_fits, fits, promised
from training.bench.invariant_house import path_of

PERSONAL: Final = ("buy-again", "wishlist", "for-you", "session", "goes-with-order", "viewed")
"""Kinds of modules that cannot be filled for somebody of whom nothing may be used."""
_BY_CONDITION: Final = re.compile(
    r"not at this time$|(region|source|campaign|device) is |it is |the moment is |customers only|visitors only|tier is "
    r"|the answer to |.* is answered$|stage is |no such project|not in |in |\d+ orders so far|.* nothing of "
    r"|it does not hold that |has bought something|nothing is late|a delivery is late$"
    r"|nothing of this kind|no order is on its way"
)
"""What a veto says whose ground is a condition of the file."""
_TINY: Final = 1e-9


class Rules:
    """Rules of a single answer.

    Args:
        shop: whose secret decides who is held out.
        config: its file.
        silent: policies that may take nothing where something could be shown.
    """

    def __init__(self, shop: Shop, config: ShopConfig, silent: frozenset[str]) -> None:
        self.shop, self.config, self.silent = shop, config, silent
        self.table = Table()
        self._where = ""

    def judge(self, asked: Asked) -> None:
        """Look at every rule; what was shown counts from now on."""
        self._where = asked.where
        self.table.answers += 1
        self.table.decisions += len(asked.slots)
        for check in self.checks:
            check(asked)

    @property
    def checks(self) -> tuple[Callable[[Asked], None], ...]:
        """All rules, in order."""
        return (
            self._filled, self._duplicates, self._eligible, self._consent, self._holdout, self._items, self._late,
            self._log, self._chances,
        )  # fmt: skip

    def _look(self, rule: str, holds: bool, *told: object) -> None:
        found = self.table.rules[rule]
        found.number += 1
        if not holds:
            found.broken += 1
            found.example = found.example or f"{' '.join(map(str, told))} ({self._where})"

    # --- what stands in the slots ----------------------------------------------------------------------------------

    def slot_of(self, asked: Asked, row: Mapping[str, Any], name: str) -> Slot:
        """The slot of the file, as the arm in its row changes it and stopped campaigns leave it."""
        request, channel = asked.request, asked.channel
        if isinstance(request, ActionRequest) or channel is not None:
            assert channel is not None
            return Slot(name, channel.actions, channel.policy, channel.family, channel.epoch_days)
        slot = next(each for each in self.config.pages[request.page].slots if each.name == name)
        if row.get("arm"):
            experiment, arm = str(row["arm"]).split("/")
            change = self.config.experiments[experiment].arms[arm].slots.get(name)
            if change is not None:
                policy = slot.policy if change.policy is None else change.policy
                slot = msgspec.structs.replace(
                    slot, policy=None if policy == "first-fillable" else policy, modules=change.modules or slot.modules
                )
        if slot.policy not in asked.shelves.campaigns:
            return slot
        floor = () if slot.may_be_empty or FLOOR in slot.modules else (FLOOR,)  # like every slot without a policy
        return msgspec.structs.replace(slot, policy=None, modules=(*slot.modules, *floor))

    def _filled(self, asked: Asked) -> None:
        if asked.channel is not None:
            return
        for slot, row in asked.pairs():
            declared = self.slot_of(asked, row, slot["slot"])
            chose = any(each is None for each, _ in row.get("eligible", ())) and row.get("policy") in self.silent
            if declared.may_be_empty or asked.message or chose:
                continue
            module = slot["actionId"] in self.config.modules
            full = slot["actionId"] is not None and (bool(slot["items"]) or not module) and slot["title"]
            self._look("empty-slot", bool(full), "slot", slot["slot"], "of", asked.surface)

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
                if any(_BY_CONDITION.match(each) for each in why.split("; ")):
                    found = not self._fits(vetoed, asked.facts) or (bool(row["holdout"]) and self._module(vetoed))
                    self._look("unfounded-veto", found, vetoed, ":", why)

    def _module(self, name: str) -> bool:
        return name in self.config.modules

    def _fits(self, name: str, facts: Facts) -> bool:
        if self._module(name):
            return fits(self.config.modules[name].when, facts, self.config)
        action = self.config.actions[name]
        return promised(name, action, facts) or action_fits(action, facts, self.config)

    def _consent(self, asked: Asked) -> None:
        for slot in asked.slots:
            action, name = self.config.actions.get(slot["actionId"] or ""), slot["actionId"]
            sells = name is not None and (action is None or action.kind in SELLING)
            wanted = {action.purpose} if action is not None and action.purpose is not None else set()
            wanted |= {"marketing"} if asked.message and sells else set()
            wanted |= {asked.channel.purpose} if asked.channel is not None and name is not None else set()
            for purpose in wanted:
                self._look("consent", agreed(asked.who, asked.request, purpose), name, "without", purpose)
        if asked.personal or asked.waiting:
            return
        if asked.channel is not None and asked.message:
            self._look("consent", not any(slot["actionId"] for slot in asked.slots), "a message that is personal")
        kinds = [self.config.modules[slot["actionId"]].kind for slot in asked.slots if self._module(slot["actionId"])]
        hearts = any(card["wished"] for slot in asked.slots for card in slot["items"])
        plain = not set(kinds) & set(PERSONAL) and not hearts and asked.answer.get("personalized") is not True
        self._look("consent", plain, "a personal page:", kinds)
        words = [each for each in (asked.request.user_id, asked.request.visitor_id, asked.who.name) if each]
        told = [orjson.dumps(asked.answer), *asked.raw.values()]
        clean = not any(word.encode() in text for word in words for text in told)
        self._look("consent", clean, "an id or a name without consent")

    def held_out(self, request: PageRequest | ActionRequest) -> bool:
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
            self._look("holdout", same and (asked.waiting or row.get("holdout") is True), name, "in", slot["slot"])

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
                campaigns = {arm} | ({row.get("policy")} if slot["actionId"] else set())
                campaigns |= set() if asked.channel is None else {slot["slot"]}
                on = slot["actionId"] not in shelves.names and not campaigns & shelves.campaigns
                on = on or (slot["actionId"] is None and asked.channel is not None)
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
        if asked.waiting:
            return
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
            pins = {pin.action for pin in self.config.selection.pins if pin.slot == slot["slot"]}
            listed = {None, *self.slot_of(asked, row, slot["slot"]).modules, *pins}
            fresh = row["reused_from"] is None
            holds = (
                abs(sum(chances.values()) - 1) < _TINY and min(chances.values()) >= 0
                and len(chances) == len(row["eligible"])
                and chances.get(row["action_id"], 0) == row["action_propensity"] > 0
                and row["action_id"] not in vetoed
                and (not fresh or (not vetoed & chances.keys() and chances.keys() <= listed))
            )  # fmt: skip
            self._look("propensity", holds, row["action_id"], "of", row["eligible"], ", vetoed", row["vetoed"])
