"""The next best action on a channel: one thing to send or show now, or nothing, drawn as the slots of a page are.

The flow is that of a page: consent, hydrate, what speaks against it (`serving.timing`), decide (by the channel's
policy, null included), keep and count, log. A message that was decided and may still be sent is the answer until it is
sent or its time has passed: asking again decides nothing anew and spends nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property

import msgspec

from features.errors import RequestError
from features.history import History
from features.moments import MINUTE, SECOND, day_start, format_instant, local_time
from serving.asking import note_questions
from serving.caps import SENT, UNCOUNTED, Counts
from serving.counting import counts_on
from serving.decide import POLICY, Decision, in_holdout, new_id
from serving.drawing import UNKEPT, Choice, Draws
from serving.engine import Engine
from serving.filling import first_fillable
from serving.hydrate import hydrate, looked
from serving.keeping import Keep, settled, unless_refused
from serving.live import Live
from serving.occupied import told_of
from serving.pages import draws_of
from serving.person import PERSONALIZATION
from serving.pipeline import Answer, noted, remember
from serving.query import Filter, Query
from serving.settings.channels import SCREENS, Channel
from serving.settings.pages import Slot
from serving.situation import Situation
from serving.strict import nearest
from serving.timing import (
    CAPPED,
    HOLDOUT,
    OPTED_OUT,
    Looked,
    Ruling,
    lead_of,
    look,
    not_before,
    quiet_until,
    refused,
    send_before,
    silent,
    unreachable,
)
from serving.watch import lap
from serving.wire import ActionRequest

NOTHING = "nothing is better now than what could be sent"
DONE = "this contact was sent already"
SOON = MINUTE
"""What cannot be known now is asked again after so long."""
PERSONAL = "no consent to personalization: contacts cannot be counted"


async def next_action(engine: Engine, request: ActionRequest, now: int, keep: Keep) -> Answer:
    """`POST /v1/actions`, from request to answer: `now`, `wait` until an instant, or `never` as things stand.

    Args:
        engine, request, now: the request and its moment.
        keep: how what was drawn is kept and counted: `Store.keep`, in one flush with the events of this moment.

    Raises:
        RequestError: no such channel, or nobody is named.
    """
    case = case_of(engine, request, now)
    lap("fillable")
    kept = None if engine.preview else keep
    body, decisions, unwritten = await settled(case.draws, case.decided, kept, case.counts)
    body = remember(engine, unwritten, body)
    if body.get("logged") is False and unwritten is decisions and case.draws is not None and case.draws.fresh:
        case.draws.again(closed=True)  # what is drawn and not remembered can never be learned from
        again, decisions = case.decided()
        unwritten = decisions
        body |= again
    noted(engine, decisions, unwritten, body)
    kept = unless_refused(kept, case.draws, case.counts)
    await note_questions(case.now.query, [body], body["requestId"], kept)
    return body


def case_of(engine: Engine, request: ActionRequest, now: int) -> Case:
    """All that an answer is decided from; without consent nothing of the subject is read.

    Raises:
        RequestError: no such channel, or nobody is named.
    """
    live = engine.live
    name, channel = request.channel, channel_of(live, request.channel)
    if request.user_id is None and request.visitor_id is None:
        raise RequestError("name a userId or a visitorId", where="userId")
    first = looked(engine, live, request)
    _, consents, trouble = first
    whole = [*unreachable(name, channel, request.user_id)]
    whole += refused(channel, consents, request.consent) if trouble is None else [Ruling(trouble, now + SOON)]
    if channel.policy in live.stops.campaigns:  # the first of its list for everybody is not what was meant
        whole.append(Ruling("the channel's policy is stopped"))
    slot = Slot(name, channel.actions, channel.policy, channel.family, channel.epoch_days)
    if whole:
        # Without consent to personalization the decision names nobody, as everywhere.
        who = (request.user_id, request.visitor_id) if consents.to(PERSONALIZATION) else (None, None)
        query = Query(now, History.empty(), *who, surface=name)
        holdout = in_holdout(engine.shop, request, live.config.shop.holdout)
        return Case(live, channel, slot, Situation(live, query), holdout, whole)
    query, holdout = hydrate(engine, live, request, now, first=first)
    asked = Situation(live, msgspec.structs.replace(query, surface=name, filter=Filter()))
    if query.trouble is not None:
        whole.append(Ruling(query.trouble, now + SOON))
    elif holdout:
        whole.append(Ruling(HOLDOUT, kind=HOLDOUT))
    elif not query.personal and channel.medium_of(name) not in SCREENS:
        whole.append(Ruling(PERSONAL, kind=OPTED_OUT))
    if whole:
        return Case(live, channel, slot, asked, holdout, whole)
    counts = counts_on(engine, name, channel, asked)
    rulings = {action: look(action, name, channel, asked, counts) for action in channel.actions}
    draws = draws_of(engine, live, asked.query, (slot,), holdout)
    return Case(live, channel, slot, asked, holdout, [*silent(name, channel, asked)], counts, rulings, draws)


def channel_of(live: Live, name: str) -> Channel:
    """The channel of that name.

    Raises:
        RequestError: the shop has no such channel.
    """
    found = live.config.channels
    if name not in found:
        hint = nearest(name, list(found)) if found else "declare it in shop.toml: [channels.<name>]"
        raise RequestError("the shop has no such channel", where="channel", got=name, hint=hint)
    return found[name]


@dataclass
class Case:
    """One subject on one channel at one moment.

    Args:
        live, channel, slot: the shop, the way, and the list of its actions as a slot.
        now: who, when.
        holdout: whether the subject permanently gets what is the same for all.
        whole: what speaks against the channel as a whole, in order.
        counts: limits and past messages; None: nothing was read.
        looked: action -> its words and what speaks against it.
        draws: of the channel's policy; None: the first of the list that may be sent.
    """

    live: Live
    channel: Channel
    slot: Slot
    now: Situation
    holdout: bool
    whole: list[Ruling]
    counts: Counts | None = None
    looked: Mapping[str, Looked] = field(default_factory=dict)
    draws: Draws | None = None

    def decided(self) -> tuple[Answer, list[Decision]]:
        """What speaks against it first; then the policy draws, or the first that may be sent is taken."""
        names = self.slot.modules
        barred = {name: found for name in names if (found := self.against(name))}
        vetoed = [(name, "; ".join(each.reason for each in against)) for name in names
                  if (against := [*self.whole, *barred.get(name, ())])]  # fmt: skip
        if len(vetoed) == len(names):
            return self._silent(self.whole, barred, vetoed)
        choice = self._choice(vetoed)
        if self.counts is not None and self.counts.closed:
            choice = self._nothing(UNCOUNTED if self.draws is None else UNKEPT)
        if choice.action is not None:
            return self._answer(choice, vetoed, "now", None, [])
        if choice.fallback is not None:
            return self._answer(choice, vetoed, "wait", None, [choice.fallback])
        if self.draws is not None and self.draws.hopeless(self.slot, barred):
            return self._answer(choice, vetoed, "never", None, [NOTHING])
        return self._answer(choice, vetoed, "wait", self._epoch[1], [NOTHING])

    def _choice(self, vetoed: list[tuple[str, str]]) -> Choice:
        if self.draws is None:
            return first_fillable(self.slot, vetoed, self.holdout, frozenset(name for name, _ in vetoed))
        choice = self.draws.choose(self.slot, 0, vetoed)
        if choice.fallback is None:
            return choice
        # What failed sends nothing; the next request may find it mended.
        return msgspec.structs.replace(choice, action=None, eligible=[(None, 1.0)])

    def against(self, action: str) -> list[Ruling]:
        """All that speaks against an action now, in order."""
        if self.counts is None:
            return []
        stopped = self._stopped.get(action)
        found = [*([Ruling(stopped)] if stopped is not None else []), *self.looked[action].rulings]
        if self._sent(action):
            found.append(Ruling(DONE, self._epoch[1], CAPPED))
        full = None if self.counts.closed else self.counts.why_not(action)
        return found if full is None else [*found, Ruling(full.words, full.until, CAPPED)]

    @cached_property
    def _stopped(self) -> dict[str, str]:
        """What the shop took off, and why."""
        return dict(self.live.stops.vetoes(self.slot.modules, self.slot.name))

    def _sent(self, action: str) -> bool:
        """Whether this epoch's message was sent: the policy's one answer, or without a policy this very action."""
        if self.counts is None or self.counts.hold is None:
            return False
        return any(
            row.state == SENT and row.surface == self.slot.name and row.decided_at >= self._epoch[0]
            and (row.action_id == action or self.slot.policy is not None)
            for row in self.counts.tally.rows
        )  # fmt: skip

    @cached_property
    def _epoch(self) -> tuple[int, int]:
        """Where this epoch begins and ends, by the shop's calendar."""
        zone, days = self.live.config.shop.time_zone, self.slot.epoch_days
        number = local_time(self.now.query.now, zone).day // days
        first, following = (date.fromordinal(max(each * days, 1)) for each in (number, number + 1))
        return day_start(first, zone), day_start(following, zone)

    def _silent(
        self, whole: list[Ruling], barred: Mapping[str, list[Ruling]], vetoed: list[tuple[str, str]]
    ) -> tuple[Answer, list[Decision]]:
        """Nothing may be sent: for how long."""
        ends = [not_before(whole)] if whole else []
        if len(barred) == len(self.slot.modules):
            free = [end for each in barred.values() if (end := not_before(each)) is not None]
            ends.append(min(free, default=None))
        until = None if None in ends else self._awake(max(end for end in ends if end is not None))
        reasons = [each.reason for each in whole] or [each.reason for found in barred.values() for each in found]
        return self._answer(
            self._nothing(), vetoed, "never" if until is None else "wait", until, list(dict.fromkeys(reasons))
        )

    def _nothing(self, fallback: str | None = None) -> Choice:
        policy = HOLDOUT if self.holdout else self.slot.policy or POLICY
        return Choice(None, [(None, 1.0)], 1.0, policy, drawn=False, fallback=fallback)

    def _awake(self, until: int) -> int:
        """An instant at which something may be sent, moved to when quiet hours end."""
        quiet, lead = self.live.config.quiet, lead_of(self.channel)
        if not self.channel.is_quiet(self.slot.name) or quiet.from_ == quiet.until:
            return until
        end = quiet_until(quiet, self.now.zone, until + lead)
        return until if end is None else end - lead

    def _answer(
        self, choice: Choice, vetoed: list[tuple[str, str]], what: str, until: int | None, reasons: list[str],
    ) -> tuple[Answer, list[Decision]]:  # fmt: skip
        waiting = None
        if choice.action is not None and self.counts is not None and self.counts.hold is not None:
            waiting = self.counts.before(choice.action)
        decision = self._decision(choice, vetoed)
        body: Answer = {
            "requestId": decision.request_id,
            "decisionId": decision.decision_id if waiting is None else waiting.decision_id,
            "channel": self.slot.name,
            "decision": what,
            "actionId": choice.action,
            "until": None if until is None else format_instant(until),
            "reasons": reasons,
            "vetoed": [{"actionId": action, "reason": why} for action, why in vetoed],
            "bundleId": self.live.bundle.id,
        }
        if choice.action is not None:
            body |= self._content(choice.action, self.now.query.now if waiting is None else waiting.decided_at)
        # A message that still waits is no new decision; a draw is one even where it draws what waits.
        drawn = self.draws is not None and bool(self.draws.fresh)
        return body, [decision] if waiting is None or drawn else []

    def _content(self, action: str, decided_at: int) -> Answer:
        """The words of a declared action, and of a message from when until when it may be sent."""
        said = self.looked[action].said
        body = {} if said is None else told_of(said)
        if self.counts is not None and self.counts.hold is not None:
            declared = self.live.config.actions.get(action)
            before = send_before(self.slot.name, self.channel, declared, self.now, decided_at)
            after = decided_at - decided_at % SECOND
            body |= {"sendAfter": format_instant(after), "sendBefore": format_instant(before - before % SECOND)}
        return body

    def _decision(self, choice: Choice, vetoed: list[tuple[str, str]]) -> Decision:
        query, live = self.now.query, self.live
        return Decision(
            decision_id=new_id(), request_id=self.request_id, decided_at=query.now,
            surface=query.surface, slot=self.slot.name, position=0, draw_order=0,
            eligible=choice.eligible, vetoed=vetoed, action_id=choice.action, action_propensity=choice.propensity,
            items=[], policy=choice.policy, drawn=choice.drawn, reused_from=choice.reused_from,
            features=choice.features, bundle_id=live.bundle.id, shop_hash=live.shop_hash, holdout=self.holdout,
            customer_id=query.user_id, visitor_id=query.visitor_id, fallback=choice.fallback,
        )  # fmt: skip

    @cached_property
    def request_id(self) -> str:
        """Of the answer; the draws' where there are any."""
        return new_id() if self.draws is None else self.draws.request_id
