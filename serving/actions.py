"""The next best action on a channel: one thing to send or show now, or nothing, drawn as the slots of a page are.

The flow is that of a page: consent, hydrate, decide (by the channel's policy, null included), keep, log.
"""

from __future__ import annotations

import msgspec

from features.errors import RequestError
from features.history import History
from features.moments import format_instant
from serving.decide import Decision, in_holdout, new_id
from serving.drawing import Choice, Draws
from serving.engine import Engine, Live
from serving.keeping import Keep, settled
from serving.pages import draws_of
from serving.pipeline import Answer, consents_of, hydrate, remember
from serving.query import Query
from serving.settings.channels import Channel
from serving.settings.pages import Slot
from serving.strict import nearest
from serving.wire import ActionRequest

HOLDOUT = "holdout"
NOTHING = "nothing is better now than what could be sent"


async def next_action(engine: Engine, request: ActionRequest, now: int, keep: Keep) -> Answer:
    """`POST /v1/actions`, from request to answer.

    Without consent nothing is read of the subject and the answer is `never`; so it is for the permanent holdout. Null
    is an answer: `wait` until the epoch ends, when it is decided anew.

    Args:
        engine, request, now: the request and its moment.
        keep: how what was drawn is kept: `Store.keep`, in one flush with the events of this moment.

    Raises:
        RequestError: no such channel, or nobody is named.
    """
    live = engine.live
    channel = channel_of(live, request.channel)
    if request.user_id is None and request.visitor_id is None:
        raise RequestError("name a userId or a visitorId", where="userId")
    slot = Slot(request.channel, channel.actions, channel.policy, channel.family, channel.epoch_days)
    agreed = consents_of(engine, live, request).to(channel.purpose) if request.consent is None else request.consent
    if not agreed:
        query, why = _stranger(request, now), f"no consent to {channel.purpose}"
        return _never(engine, live, query, slot, why, in_holdout(engine.shop, request, live.config.shop.holdout))
    query, holdout = hydrate(engine, live, request, now)
    query = msgspec.structs.replace(query, surface=request.channel)
    draws = draws_of(engine, live, query, (slot,), holdout)
    if draws is None:
        return _never(engine, live, query, slot, HOLDOUT, holdout)

    def decide() -> tuple[Answer, list[Decision]]:
        return _decided(live, query, slot, draws)

    body, decisions, unwritten = await settled(draws, decide, None if engine.preview else keep)
    body = remember(engine, unwritten, body)
    if body.get("logged") is False and unwritten is decisions and draws.fresh:
        draws.again(closed=True)  # what is drawn and not remembered can never be learned from
        body |= decide()[0]
    return body


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


def _stranger(request: ActionRequest, now: int) -> Query:
    """Who asks, and nothing of what he did."""
    return Query(now, History.empty(), request.user_id, request.visitor_id, surface=request.channel)


def _decided(live: Live, query: Query, slot: Slot, draws: Draws) -> tuple[Answer, list[Decision]]:
    vetoed = live.stops.vetoes(slot.modules, slot.name)
    choice = draws.choose(slot, 0, vetoed)
    if choice.fallback is not None:  # what failed sends nothing; the next request may find it mended
        choice = msgspec.structs.replace(choice, action=None, eligible=[(None, 1.0)])
    decision = _decision(live, query, slot, choice, vetoed, draws.request_id)
    until = None if choice.action or choice.fallback else format_instant(draws.epoch_end(slot))
    reasons = [choice.fallback or NOTHING] if choice.action is None else []
    body = _answer(live, decision, "wait" if choice.action is None else "now", until, reasons)
    return body, [decision]


def _never(engine: Engine, live: Live, query: Query, slot: Slot, why: str, holdout: bool) -> Answer:
    vetoed = [(action, why) for action in slot.modules]
    choice = Choice(None, [(None, 1.0)], 1.0, HOLDOUT if holdout else str(slot.policy), drawn=False)
    decision = _decision(live, query, slot, choice, vetoed, new_id(), holdout=holdout)
    return remember(engine, [decision], _answer(live, decision, "never", None, [why]))


def _decision(
    live: Live, query: Query, slot: Slot, choice: Choice, vetoed: list[tuple[str, str]], request_id: str, *,
    holdout: bool = False,
) -> Decision:  # fmt: skip
    return Decision(
        decision_id=new_id(), request_id=request_id, decided_at=query.now,
        surface=query.surface, slot=slot.name, position=0, draw_order=0,
        eligible=choice.eligible, vetoed=vetoed, action_id=choice.action, action_propensity=choice.propensity, items=[],
        policy=choice.policy, drawn=choice.drawn, reused_from=choice.reused_from, features=choice.features,
        bundle_id=live.bundle.id, shop_hash=live.shop_hash, holdout=holdout,
        customer_id=query.user_id, visitor_id=query.visitor_id, fallback=choice.fallback,
    )  # fmt: skip


def _answer(live: Live, decision: Decision, what: str, until: str | None, reasons: list[str]) -> Answer:
    return {
        "requestId": decision.request_id,
        "decisionId": decision.decision_id,
        "channel": decision.surface,
        "decision": what,
        "actionId": decision.action_id,
        "until": until,
        "reasons": reasons,
        "vetoed": [{"actionId": action, "reason": why} for action, why in decision.vetoed],
        "bundleId": live.bundle.id,
    }
