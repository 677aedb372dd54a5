"""What stands in the slots of a page once they are decided: rows for the log, words and cards for the screen.

All slots are made at once. What an item costs is little beside what it costs to begin: ids, feature rows, cards and
reasons of eight short lists take several times what those of one long list do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

import msgspec
import numpy as np

from features.moments import format_instant
from serving.candidates import Rows
from serving.decide import Decision, feature_rows, new_id, told_by
from serving.drawing import Choice
from serving.modules import Filled
from serving.pipeline import Answer, cards
from serving.placing import PIN
from serving.query import Query
from serving.reasons import WORDS, item_reasons, title_of
from serving.saying import Said, in_language
from serving.settings.pages import Slot
from serving.situation import Situation

UNFILLED = "no module could be filled"
NOTHING = "nothing is better here than what could be shown"


class Occupied(msgspec.Struct, frozen=True):
    """A slot and what takes it.

    Args:
        slot: the place.
        choice: how it was decided.
        vetoed: what could not take it, and why.
        content: what is shown; None: nothing.
        rows, sources: its items, and the source of each.
        once_more: whether it stands further up on the page already.
    """

    slot: Slot
    choice: Choice
    vetoed: list[tuple[str, str]]
    content: Filled | Said | None
    rows: list[int]
    sources: list[str]
    once_more: bool


@dataclass(frozen=True)
class Occasion:
    """What the decisions of one page have in common.

    Args:
        now: who, when, where.
        request_id: of the answer.
        holdout: whether the subject gets what is the same for all.
        arms: slot -> the subject's arm, for the slots that an experiment is about.
    """

    now: Situation
    request_id: str
    holdout: bool = False
    arms: Mapping[str, str] = field(default_factory=dict)


def shown(occasion: Occasion, page: Sequence[Occupied]) -> tuple[list[Answer], list[Decision]]:
    """The slots of a page as the answer has them, and the decision of each.

    Args:
        occasion: whose page, and when.
        page: its slots from the top. No item stands in two of them.
    """
    now = occasion.now
    rows = np.fromiter(chain.from_iterable(each.rows for each in page), np.int32)
    ids, context = now.live.bundle.ids_of(rows), told_by(now.query.context)
    block, listed = feature_rows(now.live.bundle, now.query, rows), iter(_cards(now, page, rows, ids))
    slots, decisions, start = [], [], 0
    for position, each in enumerate(page):
        mine = slice(start, start := start + len(each.rows))
        features = _features(each, {**block, "rows": block["rows"][mine]}, ids[mine])
        decision = _decision(occasion, position, each, ids[mine], features, context)
        slots.append(_slot(now, each, decision, [*islice(listed, len(each.rows))]))
        decisions.append(decision)
    return slots, decisions


def _features(each: Occupied, items: dict[str, Any], ids: list[str]) -> dict[str, Any] | None:
    """What a decision keeps of what it was made from.

    Beside what a policy read of the subject (`names` and one row) the rows of its items stand under `items`. Items that
    stand where a pin wants them are named under `pinned`.
    """
    read = each.choice.features
    if not each.rows:
        return read
    features = items if read is None else {**read, "items": items}
    if PIN in each.sources:
        features["pinned"] = [item for item, source in zip(ids, each.sources, strict=True) if source == PIN]
    return features


def _decision(
    occasion: Occasion, position: int, each: Occupied, items: list[str], features: dict[str, Any] | None,
    context: dict[str, str] | None,
) -> Decision:  # fmt: skip
    live, query, choice = occasion.now.live, occasion.now.query, each.choice
    return Decision(
        decision_id=new_id(), request_id=occasion.request_id, decided_at=query.now,
        surface=query.surface, slot=each.slot.name, position=position, draw_order=position,
        eligible=choice.eligible, vetoed=each.vetoed, action_id=choice.action, action_propensity=choice.propensity,
        items=items, policy=choice.policy, drawn=choice.drawn, reused_from=choice.reused_from, features=features,
        bundle_id=live.bundle.id, shop_hash=live.shop_hash, holdout=occasion.holdout,
        customer_id=query.user_id, visitor_id=query.visitor_id, context=context,
        arm=occasion.arms.get(each.slot.name), fallback=choice.fallback,
    )  # fmt: skip


def _cards(now: Situation, page: Sequence[Occupied], rows: Rows, ids: list[str]) -> list[Answer]:
    """What the page shows of its items, in their order."""
    sources = [*chain.from_iterable(each.sources for each in page)]
    reasons = [*chain.from_iterable(_reasons(now, page))]
    return cards(now.live, rows, ids, sources, reasons, now.hearts)


def _reasons(now: Situation, page: Sequence[Occupied]) -> list[list[str]]:
    """Slot by slot, why its items are shown. Those that relate to the same items are asked about together."""
    alike: dict[tuple[int, ...], tuple[Query, list[int]]] = {}
    for at, each in enumerate(page):
        if isinstance(each.content, Filled):
            query = each.content.query
            alike.setdefault(query.anchors, (query, []))[1].append(at)
    told: list[list[str]] = [[] for _ in page]
    locale = now.live.language(now.query.context.locale, WORDS)
    for query, places in alike.values():
        rows = np.fromiter(chain.from_iterable(page[at].rows for at in places), np.int32)
        sources = [*chain.from_iterable(page[at].sources for at in places)]
        found = iter(item_reasons(now.live.ranker, query, rows, sources, locale))
        for at in places:
            told[at] = [*islice(found, len(page[at].rows))]
    return told


def _slot(now: Situation, each: Occupied, decision: Decision, items: list[Answer]) -> Answer:
    content, reason = each.content, decision.fallback
    head = {"slot": decision.slot, "decisionId": decision.decision_id, "actionId": decision.action_id}
    if content is None:
        return {**head, "kind": None, "title": None, "items": [], "reason": NOTHING if reason is None else UNFILLED}
    if isinstance(content, Said):
        return {**head, **told_of(content), "items": [], "reason": reason}
    about = "" if content.about is None else title_of(now.live.ranker, content.about)
    heading = content.module.again if each.once_more else content.module.title
    title = in_language(heading, now.locale).replace("{item}", about)
    return {**head, "kind": content.module.kind, "title": title, "items": items, "reason": reason}


def told_of(content: Said) -> Answer:
    """An action's words and media, as on the wire."""
    told: Answer = {
        "kind": content.action.kind, "title": content.title, "text": content.text, "imageUrl": content.image_url,
        "alt": content.alt, "url": content.url,
    }  # fmt: skip
    if content.orders:
        told["orders"] = list(content.orders)
    if content.question is not None:
        told["question"] = content.question
    if content.expires_at is not None:
        told["expiresAt"] = format_instant(content.expires_at)
    return told
