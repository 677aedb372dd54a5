"""From draws to draws that hold: one write beside the events of this moment, before the answer leaves.

What holds is recalled with the request; then `settled` decides, keeps what was drawn and counts what is limited, all or
none, and decides again where somebody else was first or a limit was reached meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from features.errors import Unavailable
from serving.caps import Counts
from serving.decide import Decision, encoded
from serving.drawing import Draws, Fresh
from serving.held import Held, Kept, Wish, Wishes
from serving.watch import lap

Result = TypeVar("Result")
Keep = Callable[[Wishes], Awaitable[Kept]]
Decided = tuple[Result, list[Decision]]
log = logging.getLogger("kokyaku")
ROUNDS = 5
"""How often an answer is decided again because another process was first; each time it knows more of what holds."""


async def settled(
    draws: Draws | None, decide: Callable[[], Decided[Result]], keep: Keep | None, counts: Counts | None = None,
    first: Decided[Result] | None = None,
) -> tuple[Result, list[Decision], list[Decision]]:  # fmt: skip
    """Decide until what was drawn holds and what is limited is counted.

    Where the store refuses, nothing is drawn and nothing limited is shown, since nobody else could know of it: the
    decision's row says so.

    Args:
        draws: of the request; None: nothing is drawn.
        decide: makes an answer from `draws` and `counts`, with its decisions in order.
        keep: `Store.keep` or `Store.keep_at_once`; None: a preview, of which nothing is kept.
        counts: the limits of the request; None: nothing is limited.
        first: what `decide` made before; None: it is asked here.

    Returns:
        The answer, its decisions, and those of them that are still to be logged.
    """
    for _ in range(ROUNDS):
        answer, decisions = first or decide()
        lap("decide")
        wanted = wishes_of(decisions, draws, counts)
        if keep is None or wanted is None:
            return answer, decisions, decisions
        try:
            kept = await keep(wanted)
        except Unavailable as error:
            log.warning("%s", error.line())
            break
        lap("log")
        if kept.stored:
            stored = {wish.held.decision_id for wish in wanted.each}
            return answer, decisions, [each for each in decisions if each.decision_id not in stored]
        if not kept.found and kept.tally is None:  # asked to be forgotten: logged without a name
            if not wanted.showings:
                return answer, decisions, decisions
            break
        _again(draws, counts, kept)
        first = None
    _again(draws, counts, Kept(False), closed=True)
    answer, decisions = decide()
    lap("decide")
    return answer, decisions, decisions


def unless_refused(keep: Keep | None, draws: Draws | None, counts: Counts | None) -> Keep | None:
    """`keep`, but None where the store has just refused an answer: nobody waits for it twice."""
    refused = (draws is not None and draws.closed) or (counts is not None and counts.closed)
    return None if refused else keep


def _again(draws: Draws | None, counts: Counts | None, kept: Kept, *, closed: bool = False) -> None:
    if draws is not None:
        draws.again(kept.found, anew=kept.tally is not None, closed=closed)
    if counts is not None:
        counts.again(kept.tally, closed=closed)


def at_once(flow: Coroutine[Any, Any, Result]) -> Result:
    """What a flow returns that never suspends (it keeps by `Store.keep_at_once`), for callers without a loop."""
    try:
        flow.send(None)
    except StopIteration as done:
        result: Result = done.value
        return result
    flow.close()
    raise RuntimeError("a flow that waits needs an event loop")


def drawn(decisions: Sequence[Decision], draws: Draws) -> list[tuple[Decision, Fresh]]:
    """The decisions that were drawn now, beside their draws: both are in the order of the slots."""
    by_policy = [each for each in decisions if each.drawn and each.policy in draws.policies]
    return list(zip(by_policy, draws.fresh, strict=True))


def wishes_of(decisions: Sequence[Decision], draws: Draws | None, counts: Counts | None) -> Wishes | None:
    """What shall hold and count from now on; what was drawn stands in the decision's own words. None: nothing."""
    made = drawn(decisions, draws) if draws is not None and draws.fresh and not draws.nobody else []
    showings = () if counts is None else counts.showings(decisions)
    if not made and not showings:
        return None
    each = tuple(
        Wish(fresh.key, draws.epoch_end(fresh.slot), _held(one), encoded(one), fresh.instead_of)
        for one, fresh in made if draws is not None
    )  # fmt: skip
    first = decisions[0]
    return Wishes(first.customer_id, first.visitor_id, first.request_id, first.decided_at, each, showings)


def _held(decision: Decision) -> Held:
    told = decision.features
    block = None if told is None else {name: value for name, value in told.items() if name != "items"}
    return Held(
        decision.decision_id, decision.action_id, decision.eligible, decision.action_propensity, decision.policy, block
    )
