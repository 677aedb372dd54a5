"""What takes a slot without a draw: the first of its list, also where a policy has nothing to draw."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from serving.decide import POLICY
from serving.drawing import BLOCKED, Choice
from serving.effects import SlotPolicy
from serving.offered import Offered
from serving.settings.pages import Slot
from serving.taken import Taken

KNOWS_NOTHING = "the policy knows nothing that could be shown"
PASSED = "the first choice could not be filled"


def first_fillable(
    slot: Slot, vetoed: Sequence[tuple[str, str]], holdout: bool, unfit: frozenset[str] = frozenset()
) -> Choice:
    """The first of the list that can be shown, with probability 1; the rule of slots without a policy.

    Args:
        slot, vetoed, holdout: of the request.
        unfit: what is not for this subject now: passing it over is no fallback.
    """
    barred = dict(vetoed)
    chosen = next((name for name in slot.modules if name not in barred), None)
    wanted = next((name for name in slot.modules if name not in unfit), None)
    return Choice(
        chosen, [(chosen, 1.0)], 1.0, "holdout" if holdout else POLICY,
        # Where others are drawn, what is the same for all is not one of the draws.
        drawn=slot.policy is None,
        fallback=None if chosen is not None and chosen == wanted else PASSED,
    )  # fmt: skip


def instead(
    offered: Offered, policy: SlotPolicy, slot: Slot, taken: Taken, choice: Choice, vetoed: list[tuple[str, str]]
) -> tuple[Choice, list[tuple[str, str]]]:
    """What takes a slot that is never empty where its policy knows nothing that can be shown there. It is no draw.

    That is the first of the list that can be shown, on the page once more if need be, but for what does no good.

    Args:
        offered, slot, taken: of the page.
        policy: the slot's.
        choice, vetoed: nothing, as the policy has it.

    Returns:
        The choice with its vetoes; those that were given where the slot may be empty, or nothing at all is left.
    """
    silent = policy.sheet.spec.nothing and choice.fallback is None
    if slot.may_be_empty or offered.message or silent:
        return choice, vetoed
    left = [*offered.vetoes(slot, taken), *(each for each in vetoed if each[1] == BLOCKED)]
    found = first_fillable(slot, left, holdout=False)
    if found.action is None:
        return choice, vetoed
    why = choice.fallback or KNOWS_NOTHING
    return msgspec.structs.replace(found, policy=choice.policy, drawn=False, fallback=why), left
