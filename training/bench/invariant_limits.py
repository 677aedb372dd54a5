"""The rules that hold over all answers to one person, or to everybody: questions, draws, limits, the night."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from features.shop import Shop
from serving.config import ShopConfig
from serving.settings.actions import Action, Caps
from serving.settings.channels import QUIET
from serving.wire import ActionRequest
from training.bench.invariant_asked import Asked
from training.bench.invariant_facts import DAY, HOUR, MINUTE, Facts
from training.bench.invariant_fit import promised
from training.bench.invariant_rules import Rules
from training.bench.invariant_truth import Showing, Subject

_WINDOWS: Final = (("day", 1), ("week", 7), ("month", 30), ("ever", 0))
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TINY: Final = 1e-9


class Checker(Rules):
    """All rules, with what stands against the limits of one shop.

    Args:
        shop, config, silent: as `Rules` has them.
    """

    def __init__(self, shop: Shop, config: ShopConfig, silent: frozenset[str]) -> None:
        super().__init__(shop, config, silent)
        self.given: dict[str, list[tuple[Subject, Showing, float]]] = {}
        """Action -> to whom it was given, by which showing, and what that cost."""

    @property
    def checks(self) -> tuple[Callable[[Asked], None], ...]:
        """All rules, in order."""
        return (*super().checks, self._questions, self._answers, self._limits, self._night)

    def signed_in(self, visitor: Subject, customer: Subject) -> None:
        """From now on what was given to a visitor was given to a customer."""
        for name, each in self.given.items():
            self.given[name] = [(customer if who is visitor else who, *rest) for who, *rest in each]  # type: ignore[misc]

    def _questions(self, asked: Asked) -> None:
        who, now = asked.who, asked.facts.now
        put = [slot["question"]["question"] for slot in asked.slots if slot.get("question")]
        for question in put:
            shown, done, start = who.shown.now, {**who.asked.now, **who.answers.now}, asked.facts.session_start
            lately = {name for name, at in (*shown.items(), *who.asked.now.items()) if int(str(at)) >= start}
            first = int(str(shown.get(question, now)))
            holds = asked.named and question not in done and first >= start and lately <= {question} and len(put) == 1
            self._look("question", holds, put, "shown", shown, "done", done, "session from", start)
            if question not in shown:
                who.shown.own[question] = now

    def _answers(self, asked: Asked) -> None:
        """What was drawn holds for its epoch, wherever the family stands, until it cannot be shown any more."""
        places: dict[str, int] = {}
        for slot, row in asked.pairs():
            declared = self.slot_of(asked, row, slot["slot"])
            family = declared.family or declared.name
            place = places.get(family, 0)
            places[family] = place + 1
            if not asked.named or not row or row["policy"] != declared.policy:
                continue
            if not row["drawn"] and row["reused_from"] is None:
                continue
            day = local(asked.facts.now, self.config.shop.time_zone).toordinal()
            key = family, place, day // declared.epoch_days
            before = asked.who.draws.get(key)
            if before is not None:
                action, vetoed = before[0], {name for name, _ in row["vetoed"]}
                gone = row["policy"] not in self.silent if action is None else action not in declared.modules
                holds = action == row["action_id"] or action in vetoed or gone
                self._look("one-answer", holds, before, "became", row["action_id"], "for", key)
            asked.who.draws[key] = row["action_id"], row["decision_id"]

    def _limits(self, asked: Asked) -> None:
        for slot, row in asked.pairs():
            name = slot["actionId"]
            action = self.config.actions.get(name or "")
            if action is None or not row or asked.waiting:
                continue
            on = asked.channel
            counted = _limited(action) or (on is not None and (asked.message or on.caps != Caps()))
            at = int(row["decided_at"])
            standing = [each for each in asked.who.showings if each.counts(at)] if asked.named else []
            if not counted or _repeated(asked, name, standing, at):
                continue
            lead = 0 if asked.channel is None else int(asked.channel.lead_hours * HOUR)
            until = at + lead + DAY if asked.channel is not None and asked.message else None
            new = Showing(name, asked.surface, at, asked.request.session_id, until, slot["decisionId"])
            mine = [each.at for each in standing if each.action == name]
            kept = promised(name, action, asked.facts)
            self._often(asked, name, Caps() if kept else action.caps, mine, at)
            if action.cool_down_days and not kept:
                soon = any(at - each < action.cool_down_days * DAY for each in mine)
                self._look("cap", asked.named and not soon, name, "within its cool-down")
            if asked.channel is not None:
                here = [each.at for each in standing if each.surface == asked.surface]
                self._often(asked, asked.surface, asked.channel.caps, here, at)
            self._given_out(asked, action, name, new)
            if asked.named:
                asked.who.showings.append(new)

    def _often(self, asked: Asked, name: str, caps: Caps, times: list[int], now: int) -> None:
        """The caps of an action or a channel, of a showing that is a new one."""
        zone = zone_of(asked.facts)
        today = local(now, zone).date()
        for window, days in _WINDOWS:
            most = getattr(caps, window)
            if most is None:
                continue
            first = today - timedelta(days=days - 1) if days else None
            mine = [at for at in times if first is None or local(at, zone).date() >= first]
            self._look("cap", asked.named and len(mine) < most, name, len(mine) + 1, "a", window, "of", most)

    def _given_out(self, asked: Asked, action: Action, name: str, new: Showing) -> None:
        if action.capacity is None and action.budget is None:
            return
        price = action.cost + (0.0 if asked.channel is None else asked.channel.cost)
        # Who is nobody is somebody else each time.
        who = asked.who if asked.named else Subject(new.decision, known=False)
        given = self.given.setdefault(name, [])
        given.append((who, new, price))
        standing = [each for each in given if each[1].counts(new.at)]
        if action.capacity is not None:
            people = len({id(each) for each, _, _ in standing})
            self._look("capacity", people <= action.capacity, name, "to", people, "people")
        if action.budget is not None:
            spent = sum(cost for _, _, cost in standing)
            self._look("capacity", spent <= action.budget + _TINY, name, "cost", spent, "of", action.budget)

    def _night(self, asked: Asked) -> None:
        """Nothing reaches a person in quiet hours on a way that wakes him."""
        if not isinstance(asked.request, ActionRequest) or asked.channel is None or asked.slots[0]["actionId"] is None:
            return
        name, channel = asked.request.channel, asked.channel
        quiet = channel.medium_of(name) in QUIET if channel.quiet is None else channel.quiet
        if quiet:
            arrives = local(asked.facts.now + int(channel.lead_hours * HOUR), zone_of(asked.facts)).time()
            begin, end = self.config.quiet.from_, self.config.quiet.until
            self._look("quiet-hours", not _between(begin, arrives, end), name, "at", arrives)


def zone_of(facts: Facts) -> str:
    """Whose days count."""
    return facts.who.zone or facts.context.time_zone or facts.shop_zone


def local(at: int, zone: str) -> datetime:
    """An instant on a wall clock."""
    return (_EPOCH + timedelta(microseconds=at)).astimezone(ZoneInfo(zone))


def _between(begin: time, at: time, end: time) -> bool:
    return begin <= at < end if begin <= end else at >= begin or at < end


def _repeated(asked: Asked, name: Any, standing: list[Showing], at: int) -> bool:
    """Whether it is on this screen already: a page that is drawn again shows nothing anew."""
    session = asked.request.session_id
    return not (asked.channel is not None and asked.message) and any(
        each.action == name and each.surface == asked.surface and each.until is None
        and (at - each.at < 30 * MINUTE or (session is not None and each.session == session))
        for each in standing
    )  # fmt: skip


def _limited(action: Action) -> bool:
    finite = action.capacity is not None or action.budget is not None
    return finite or bool(action.promise_days) or action.caps != Caps() or bool(action.cool_down_days)
