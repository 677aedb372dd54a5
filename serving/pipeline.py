"""The flow of a request: hydrate -> gather -> filter -> score -> decide -> fill -> log -> answer.

`recommend` and `serving.pages.page_soon` are the two places where it can be read from end to end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from features.errors import RequestError, Unavailable
from features.history import History
from features.moments import MICROSECOND, is_zone
from serving.context import completed
from serving.decide import Decision, encoded, feature_rows, in_holdout, new_id, told_by
from serving.eligibility import why_not
from serving.engine import Engine, Live, item_card
from serving.filters import check_filter
from serving.person import NOBODY, PERSONALIZATION, Consents, Person
from serving.placing import PIN
from serving.query import Filter, Query
from serving.reasons import WORDS, item_reasons
from serving.scoring import Beside, Trees
from serving.situation import Situation
from serving.slate import Slate
from serving.watch import lap, watching
from serving.wire import RankingsRequest, RecommendationsRequest, RelatedRequest

Answer = dict[str, Any]
LIST = "recommendations"
"""The action of a plain list of items."""
UNREAD = "the store cannot be read now: nothing personal was used"
OUTDATED = "the store cannot be read now: nothing since the last sync was used"
STRANGER = "nothing is known of this subject yet: popular items"
FILLED = "places filled with popular items"
ALONE = "nothing is known to go with these items"
UNKNOWN = "none of these items is known"


def recommend(engine: Engine, request: RecommendationsRequest, now: int) -> Answer:
    """`POST /v1/recommendations`, from request to answer."""
    live = engine.live
    query, holdout = hydrate(engine, live, request, now)
    slate = live.ranker.rank(query, personal=not holdout)
    decision = decide_list(live, query, slate, holdout)
    answer = remember(engine, [decision], fill(live, query, slate, decision))
    noted(engine, [decision], [decision], answer)
    if request.explain:
        answer["explain"] = explain(live, query, slate) | {"milliseconds": watching().milliseconds()}
    return answer


def related(engine: Engine, request: RelatedRequest, now: int) -> Answer:
    """`POST /v1/related-items`: neighbours of the items asked about; unknown ones come back in `missingIds`."""
    live = engine.live
    rows = live.bundle.items.rows_of(request.item_ids)
    missing = [
        text
        for text, row in zip(request.item_ids, rows, strict=True)
        if row < 0 and text not in live.ranker.shelf.unlisted
    ]
    query, holdout = hydrate(engine, live, request, now, anchors=tuple(int(row) for row in rows if row >= 0))
    slate = live.ranker.rank(query, anchor_weights(live)) if query.anchors else live.ranker.rank(query, personal=False)
    decision = decide_list(live, query, slate, holdout, surface="api.related-items")
    answer = {**fill(live, query, slate, decision), "missingIds": missing}
    if not query.anchors or not len(slate.items):
        answer["reason"] = ALONE if query.anchors else UNKNOWN
        watching().fell_back(answer["reason"])
    answer = remember(engine, [decision], answer)
    noted(engine, [decision], [decision], answer)
    return answer


def rank_list(engine: Engine, request: RankingsRequest, now: int) -> Answer:
    """`POST /v1/rankings`: the given items in the customer's order; unsaid ones keep the given order at the end."""
    live = engine.live
    asked = list(dict.fromkeys(request.input_list))
    stopped = [text for text in asked if text in live.stops.items]
    given = [text for text in asked if text not in live.stops.items]
    rows = live.bundle.items.rows_of(given)
    query, holdout = hydrate(engine, live, request, now, num_results=len(given))
    slate = live.ranker.rank_given(query, np.unique(rows[rows >= 0]), personal=not holdout)
    place = {int(row): rank for rank, row in enumerate(slate.items)}
    known = [(text, place.get(int(row))) for text, row in zip(given, rows, strict=True) if row >= 0]
    known += [
        (text, None) for text, row in zip(given, rows, strict=True) if row < 0 and text in live.ranker.shelf.unlisted
    ]
    ordered = sorted(known, key=lambda pair: len(place) if pair[1] is None else pair[1])
    ranking = [{"itemId": text, "score": 0.0 if at is None else float(slate.scores[at])} for text, at in ordered]
    missing = [text for text in given if not live.ranker.shelf.knows(text)]
    answer = {
        "requestId": new_id(), "personalizedRanking": ranking, "missingIds": missing, "bundleId": live.bundle.id,
    }  # fmt: skip
    return answer | ({"stoppedIds": stopped} if stopped else {}) | told_trouble(query)


def hydrate(
    engine: Engine, live: Live, request: Any, now: int, *, anchors: tuple[int, ...] = (), num_results: int | None = None
) -> tuple[Query, bool]:
    """Who asks, what is known of them up to this second, where from; and whether they are in the holdout.

    Consents are read first. Without one to personalization nothing else is: no event, no order, no answer, and the
    decision names nobody. So it is too while they cannot be read: then the query tells of its trouble.

    Raises:
        RequestError: the filter names something that does not exist, or the time zone is none.
    """
    wanted: Filter = getattr(request, "filter", Filter(in_stock=False))
    check_filter(wanted)
    named: str | None = request.context.time_zone
    if named and not is_zone(named):
        raise RequestError("unknown time zone", where="context.timeZone", got=named, hint="such as Asia/Tokyo")
    consents, trouble = readable_consents(engine, live, request)
    query = Query(
        now=now, history=History.empty(), session_id=getattr(request, "session_id", None),
        context=completed(request.context), filter=wanted,
        num_results=num_results or int(getattr(request, "num_results", 20)), anchors=anchors,
        consents=consents, trouble=trouble,
    )  # fmt: skip
    holdout = in_holdout(engine.shop, request, live.config.shop.holdout)
    if not query.consents.to(PERSONALIZATION):
        query = addressed(live, msgspec.structs.replace(query, personal=False), holdout)
        lap("hydrate")
        return query, holdout
    who = request.user_id, request.visitor_id
    now, history, person, trouble = known_of(engine, live, *who, now)
    barred = live.windows.barred(history, person.orders, now)
    query = msgspec.structs.replace(
        query, now=now, history=history, person=person, barred=barred, user_id=who[0], visitor_id=who[1],
        trouble=trouble,
    )  # fmt: skip
    query = addressed(live, query, holdout)
    lap("hydrate")
    return query, holdout


def readable_consents(engine: Engine, live: Live, request: Any) -> tuple[Consents, str | None]:
    """`consents_of`; while the store cannot be read nobody agreed to anything, for he may have taken it back there."""
    try:
        return consents_of(engine, live, request), None
    except Unavailable:
        return Consents(), UNREAD


def known_of(
    engine: Engine, live: Live, user_id: str | None, visitor_id: str | None, now: int
) -> tuple[int, History, Person, str | None]:
    """The moment just after all that a subject did, his past and what was told of him as of then.

    Returns:
        Also the trouble where the store cannot be read: then the past is what the last sync mapped.
    """
    trouble = None
    try:
        history = engine.history_of(live, user_id, visitor_id)
    except Unavailable:
        history, trouble = engine.mapped_history_of(live, user_id), OUTDATED
    # An event that was acknowledged in this very microsecond counts: as-of windows are half-open.
    now = max(now, int(history.recorded.max(initial=0)), int(history.time.max(initial=0))) + MICROSECOND
    try:
        person = engine.person_of(live, user_id, visitor_id, now)
    except Unavailable:
        person, trouble = NOBODY, OUTDATED
    return now, history.as_of(now), person, trouble


def addressed(live: Live, query: Query, holdout: bool) -> Query:
    """The query with the audiences of the shop's wishes that its subject belongs to; the holdout belongs to none."""
    business = live.ranker.business
    if business is None or not business.audiences or holdout:
        return query
    now = Situation(live, query)
    fits = frozenset(number for number, when in enumerate(business.audiences) if why_not(when, now) is None)
    return msgspec.structs.replace(query, fits=fits, asked=frozenset(now.used))


def consents_of(engine: Engine, live: Live, request: Any) -> Consents:
    """What the subject agreed to, as the shop was told; a request may say more, and may always refuse."""
    kept = engine.consents_of(live, request.user_id, request.visitor_id)
    said = getattr(request, "consents", None)
    if not said:
        return kept
    new = {purpose: {"granted": yes} for purpose, yes in said.items() if not yes or purpose not in kept.told}
    return Consents({**kept.told, **new}, kept.assumed)


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
        items=[live.bundle.items[row] for row in slate.items.tolist()],
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
    pinned = slate.placed.pinned if slate.placed else frozenset()
    return [row for row in slate.items.tolist() if row in pinned]


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
    listed = zip(decision.items, slate.scores.tolist(), slate.sources, reasons, strict=True)
    answer: Answer = {
        "requestId": decision.request_id,
        "decisionId": decision.decision_id,
        "itemList": [{"itemId": i, "score": round(s, 6), "source": o, "reason": r} for i, s, o, r in listed],
        "bundleId": decision.bundle_id,
    }
    if decision.fallback:
        answer["reason"] = decision.fallback
    answer |= told_trouble(query)
    lap("fill")
    return answer


def explain(live: Live, query: Query, slate: Slate) -> Answer:
    """Where each item came from, what was removed and why, and which kinds of personal data were read."""
    found = slate.considered
    columns = np.searchsorted(found.items, slate.items) if len(found) else np.empty(0, np.intp)
    return {
        "candidates": {name: int(np.isfinite(found.scores[:, at]).sum()) for at, name in enumerate(found.sources)},
        "removed": [{"reason": why, "count": len(rows), "itemIds": _some(live, rows)} for why, rows in found.removed],
        "filled": slate.filled,
        "sourceScores": [
            {name: _finite(found.scores[at, column]) for column, name in enumerate(found.sources)}
            for at, row in zip(columns, slate.items, strict=False)
            if at < len(found.items) and found.items[at] == row
        ],
        "contributions": contributions(live, query, slate),
        "selection": selection(live, slate),
        "pins": list(slate.placed.pins) if slate.placed else [],
        "quotas": list(slate.placed.quotas) if slate.placed else [],
        "personalData": personal_data(query),
        "asOf": live.bundle.as_of,
    }


def contributions(live: Live, query: Query, slate: Slate) -> list[Answer]:
    """Which features moved each shown item most, where trees ranked it; nothing where a blend did."""
    scorer = live.ranker.scorer(query)
    trees = scorer.base if isinstance(scorer, Beside) else scorer
    if not isinstance(trees, Trees) or slate.considered.sources != scorer.voices:
        return []  # a blend ranked: the recipe has no trees, or they may not be asked about this subject
    told = trees.contributions(query, slate.considered.columns(trees.voices), slate.items)
    return [
        {"itemId": live.bundle.items[row], "features": [
            {"feature": name, "value": value, "adds": adds} for name, value, adds in told[row]
        ]}
        for row in slate.items.tolist() if row in told
    ]  # fmt: skip


def selection(live: Live, slate: Slate) -> list[Answer]:
    """What the selector did to each shown item, places from 1; nothing where nothing is traded off.

    `relevance` x `boost` x `objective` x `novelty` x `diversity` is the value that gave the item its place; filled
    places are traded off among what is popular. `valueKnown` is false where a price or a cost is not known, and the
    shop's median stands for it. A pinned item that nobody proposed has no place before.
    """
    trace = slate.trace
    if trace is None:
        return []
    factors = {
        name: getattr(trace, name).tolist() for name in ("relevance", "boost", "objective", "novelty", "diversity")
    }
    return [
        {
            "itemId": live.bundle.items[row], "placeBefore": int(trace.before[at]) + 1 or None, "placeAfter": at + 1,
            **{name: round(values[at], 6) for name, values in factors.items()}, "valueKnown": bool(trace.known[at]),
        }
        for at, row in enumerate(slate.items.tolist())
    ]  # fmt: skip


def personal_data(query: Query) -> list[str]:
    """The kinds of personal data that the answer used."""
    kinds = []
    if len(query.history):
        kinds.append("own events" if query.user_id else "this visitor's events")
    if query.person.orders and query.barred:
        kinds.append("orders")
    if query.context.region:
        kinds.append("region")
    return kinds + sorted(query.asked - set(kinds))


def remember(engine: Engine, decisions: Sequence[Decision], answer: Answer) -> Answer:
    """Append one subject's decisions before the answer leaves; if that fails, the answer says that it was not logged.

    Who asked to be forgotten is written without a name: nobody waits for the log to be drained.
    """
    if decisions and is_erased(engine, decisions[0].customer_id, decisions[0].visitor_id):
        decisions = [msgspec.structs.replace(each, customer_id=None, visitor_id=None) for each in decisions]
    if decisions and not engine.decisions.append([encoded(each) for each in decisions]):
        answer["logged"] = False
    lap("log")
    return answer


def is_erased(engine: Engine, customer_id: str | None, visitor_id: str | None) -> bool:
    """Whether a subject asked to be forgotten; while nobody can say, it is taken for granted."""
    try:
        return engine.store.is_erased(customer_id, visitor_id)
    except Unavailable:
        return True


def told_trouble(query: Query) -> Answer:
    """What an answer adds where not all could be read."""
    return {} if query.trouble is None else {"degraded": True, "reason": query.trouble}


def noted(engine: Engine, decisions: Sequence[Decision], unwritten: Sequence[Decision], answer: Answer) -> None:
    """Count the decisions that leave with an answer, and those of them that no log has; not where nobody sees it."""
    if not engine.preview:
        unlogged = len(unwritten) if answer.get("logged") is False else 0
        watching().decided(decisions, unlogged=unlogged, trouble=answer["reason"] if "degraded" in answer else None)


def cards(live: Live, query: Query, rows: Any, sources: Sequence[str], wished: Any) -> list[Answer]:
    """What a page shows of items: card, reason, heart."""
    reasons = item_reasons(live.ranker, query, rows, sources, live.language(query.context.locale, WORDS))
    return [
        {**item_card(live, int(row)), "source": source, "reason": reason, "wished": bool(heart)}
        for row, source, reason, heart in zip(rows, sources, reasons, wished, strict=True)
    ]


def _some(live: Live, rows: Any, limit: int = 10) -> list[str]:
    return [live.bundle.items[int(row)] for row in rows[:limit]]


def _finite(value: Any) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None
