"""The flow of a request: hydrate -> gather -> filter -> score -> decide -> fill -> log -> answer.

`recommending` and `serving.pages.page_soon` are the two places where it can be read from end to end. It pauses between
two stages, so that several requests can go through them side by side (`serving.steps`).
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from features.compiled import available
from features.errors import Unavailable
from serving.answer_kernel import rounded as round_off
from serving.candidates import Floats, Rows
from serving.decide import Decision, encoded, feature_rows, new_id, told_by
from serving.decision_log import Batch
from serving.engine import Engine
from serving.explain import explain
from serving.hydrate import hydrate, told_trouble
from serving.live import Live, item_cards
from serving.placing import PIN
from serving.query import Query
from serving.reasons import WORDS, item_reasons
from serving.slate import Slate
from serving.steps import Steps, finished
from serving.watch import lap, watching
from serving.wire import RankingsRequest, RecommendationsRequest, RelatedRequest

Answer = dict[str, Any]
LIST = "recommendations"
"""The action of a plain list of items."""
STRANGER = "nothing is known of this subject yet: popular items"
FILLED = "places filled with popular items"
ALONE = "nothing is known to go with these items"
UNKNOWN = "none of these items is known"


def recommend(engine: Engine, request: RecommendationsRequest, now: int) -> Answer:
    """`recommending`, in one go."""
    return finished(recommending(engine, request, now))


def recommending(engine: Engine, request: RecommendationsRequest, now: int) -> Steps[Answer]:
    """`POST /v1/recommendations`, from request to answer."""
    live = engine.live
    query, holdout = hydrate(engine, live, request, now)
    yield
    slate = yield from live.ranker.ranking(query, personal=not holdout)
    yield
    decision = decide_list(live, query, slate, holdout)
    yield
    answer = fill(live, query, slate, decision)
    batch = offered(engine, [decision])
    yield
    answer = kept(engine, batch, answer)
    noted(engine, [decision], [decision], answer)
    if request.explain:
        answer["explain"] = explain(live, query, slate) | {"milliseconds": watching().milliseconds()}
    return answer


def related(engine: Engine, request: RelatedRequest, now: int) -> Steps[Answer]:
    """`POST /v1/related-items`: neighbours of the items asked about; unknown ones come back in `missingIds`."""
    live = engine.live
    rows = live.bundle.items.rows_of(request.item_ids)
    missing = [
        text
        for text, row in zip(request.item_ids, rows, strict=True)
        if row < 0 and text not in live.ranker.shelf.unlisted
    ]
    query, holdout = hydrate(engine, live, request, now, anchors=tuple(int(row) for row in rows if row >= 0))
    yield
    ranker, voice = live.ranker, anchor_weights(live) if query.anchors else None
    slate = yield from ranker.ranking(query, voice, personal=voice is not None)
    yield
    decision = decide_list(live, query, slate, holdout, surface="api.related-items")
    if query.trouble is None and not (query.anchors and len(slate.items)):
        decision = msgspec.structs.replace(decision, fallback=ALONE if query.anchors else UNKNOWN)
    yield
    answer = {**fill(live, query, slate, decision), "missingIds": missing}
    batch = offered(engine, [decision])
    yield
    answer = kept(engine, batch, answer)
    noted(engine, [decision], [decision], answer)
    return answer


def rank_list(engine: Engine, request: RankingsRequest, now: int) -> Steps[Answer]:
    """`POST /v1/rankings`: the given items in the customer's order; unsaid ones keep the given order at the end."""
    live = engine.live
    asked = list(dict.fromkeys(request.input_list))
    stopped = [text for text in asked if text in live.stops.items]
    given = [text for text in asked if text not in live.stops.items]
    rows = live.bundle.items.rows_of(given)
    query, holdout = hydrate(engine, live, request, now, num_results=len(given))
    yield
    slate = live.ranker.rank_given(query, np.unique(rows[rows >= 0]), personal=not holdout)
    yield
    place = {int(row): rank for rank, row in enumerate(slate.items)}
    known = [(text, place.get(int(row))) for text, row in zip(given, rows, strict=True) if row >= 0]
    known += [
        (text, None) for text, row in zip(given, rows, strict=True) if row < 0 and text in live.ranker.shelf.unlisted
    ]
    ordered = sorted(known, key=lambda pair: len(place) if pair[1] is None else pair[1])
    ranking = [{"itemId": text, "score": 0.0 if at is None else float(slate.scores[at])} for text, at in ordered]
    missing = [text for text in given if not live.ranker.shelf.knows(text)]
    watching().decided((), trouble=query.trouble)  # no decision tells of it: an order is nothing that is logged
    answer = {
        "requestId": new_id(), "personalizedRanking": ranking, "missingIds": missing, "bundleId": live.bundle.id,
    }  # fmt: skip
    return answer | ({"stoppedIds": stopped} if stopped else {}) | told_trouble(query)


def anchor_weights(live: Live) -> Mapping[str, float]:
    """The sources that know what goes with what, equally."""
    return {spec.name: 1.0 for spec in live.bundle.recipe.sources if spec.kind == "neighbours"}


def decide_list(
    live: Live, query: Query, slate: Slate, holdout: bool, surface: str = "api.recommendations"
) -> Decision:
    """A list is one decision over one eligible action, so its propensity is 1.

    With a pinned item it is not what the ranker wanted: `pin` decided it, it is no draw, and the log names the items.
    """
    pinned = [live.bundle.items[row] for row in pinned_rows(slate)]
    decision = Decision(
        decision_id=new_id(), request_id=new_id(), decided_at=query.now,
        surface=surface, slot="list", position=0, draw_order=0,
        eligible=[(LIST, 1.0)], vetoed=[], action_id=LIST, action_propensity=1.0,
        items=live.bundle.ids_of(slate.items),
        policy=PIN if pinned else "holdout" if holdout else live.bundle.recipe.name, drawn=not pinned,
        bundle_id=live.bundle.id, shop_hash=live.shop_hash, holdout=holdout,
        customer_id=query.user_id, visitor_id=query.visitor_id,
        features=feature_rows(live.bundle, query, slate.items, slate.features) | ({"pinned": pinned} if pinned else {}),
        context=told_by(query.context), fallback=why_filled(query, slate),
    )  # fmt: skip
    lap("decide")
    return decision


def pinned_rows(slate: Slate) -> list[int]:
    """The items that stand where a pin wants them, in the order of the list."""
    if slate.placed is None or not slate.placed.pinned:
        return []
    return [row for row in slate.items.tolist() if row in slate.placed.pinned]


def why_filled(query: Query, slate: Slate) -> str | None:
    """Why places were filled by what is popular, or what went wrong; None where all is as it should be."""
    if query.trouble is not None:
        return query.trouble
    if not slate.filled:
        return None
    if not len(query.history):
        return STRANGER
    return f"{slate.filled} of {len(slate.items)} {FILLED}"


def fill(live: Live, query: Query, slate: Slate, decision: Decision) -> Answer:
    """The answer's body: each item with its score, source and reason."""
    reasons = item_reasons(live.ranker, query, slate.items, slate.sources, live.language(query.context.locale, WORDS))
    listed = zip(decision.items, rounded(slate.scores), slate.sources, reasons, strict=True)
    answer: Answer = {
        "requestId": decision.request_id,
        "decisionId": decision.decision_id,
        "itemList": [{"itemId": i, "score": s, "source": o, "reason": r} for i, s, o, r in listed],
        "bundleId": decision.bundle_id,
    }
    if decision.fallback:
        answer["reason"] = decision.fallback
    answer |= told_trouble(query)
    lap("fill")
    return answer


def rounded(scores: Floats) -> list[float]:
    """Scores as an answer tells them: with six digits after the point.

    A million times a float32 is exact as a double, so all at once they get the digits that `round` gives each.
    """
    told = np.empty(len(scores))
    if available():
        round_off(np.ascontiguousarray(scores), told)
    else:
        np.round(scores.astype(np.float64), 6, told)
    found: list[float] = told.tolist()
    return found


def remember(engine: Engine, decisions: Sequence[Decision], answer: Answer) -> Answer:
    """`offered` and `kept`, in one go."""
    return kept(engine, offered(engine, decisions) if decisions else None, answer)


def offered(engine: Engine, decisions: Sequence[Decision]) -> Batch:
    """One subject's decisions, given to the log: it writes them with those of answers that are made beside this one.

    Who asked to be forgotten is written without a name: nobody waits for the log to be drained.
    """
    if is_erased(engine, decisions[0].customer_id, decisions[0].visitor_id):
        decisions = [msgspec.structs.replace(each, customer_id=None, visitor_id=None) for each in decisions]
    batch = engine.decisions.offer([encoded(each) for each in decisions])
    lap("log")
    return batch


def kept(engine: Engine, batch: Batch | None, answer: Answer) -> Answer:
    """Write what was offered before the answer leaves; if that fails, the answer says that it was not logged."""
    if batch is not None and not engine.decisions.keep(batch):
        answer["logged"] = False
    lap("log")
    return answer


def is_erased(engine: Engine, customer_id: str | None, visitor_id: str | None) -> bool:
    """Whether a subject asked to be forgotten; while nobody can say, it is taken for granted."""
    try:
        return engine.store.is_erased(customer_id, visitor_id)
    except Unavailable:
        return True


def noted(engine: Engine, decisions: Sequence[Decision], unwritten: Sequence[Decision], answer: Answer) -> None:
    """Count the decisions that leave with an answer, and those of them that no log has; not where nobody sees it."""
    if not engine.preview:
        unlogged = len(unwritten) if answer.get("logged") is False else 0
        watching().decided(decisions, unlogged=unlogged, trouble=answer["reason"] if "degraded" in answer else None)


def cards(
    live: Live, rows: Rows, ids: Sequence[str], sources: Sequence[str], reasons: Sequence[str], hearts: Container[int]
) -> list[Answer]:
    """What a page shows of items: card, source, reason, heart."""
    told = zip(item_cards(live, rows, ids), rows.tolist(), sources, reasons, strict=True)
    return [{**card, "source": source, "reason": reason, "wished": row in hearts} for card, row, source, reason in told]
