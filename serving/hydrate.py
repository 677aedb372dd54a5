"""Who asks: what is known of a subject up to this second, read in the order that consent asks for.

One look at the store tells what the subject agreed to, and whether the store holds events and orders that history and
profiles lack; there is none where nothing newer is known of a customer (`serving.news`). Only what is there, and may be
used, is read then.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec

from features.errors import BundleError, RequestError, Unavailable
from features.history import History
from features.moments import MICROSECOND, is_zone
from serving.context import completed
from serving.decide import in_holdout
from serving.eligibility import why_not
from serving.engine import Engine
from serving.filters import check_filter
from serving.live import Live
from serving.newer import Found
from serving.person import NOBODY, PERSONALIZATION, Consents, Person
from serving.query import Filter, Query
from serving.situation import Situation
from serving.watch import lap

UNREAD = "the store cannot be read now: nothing personal was used"
OUTDATED = "the store cannot be read now: nothing since the last sync was used"
UNMAPPED = "the history cannot be read now: nothing personal was used"
STORED = "the history cannot be read now: only events that the store holds were used"
NO_EVENTS = History.empty()
Looked = tuple[Found, Consents, str | None]
"""Where a subject stands, what he agreed to, and the trouble where that cannot be read."""
_EVERYTHING = Filter(in_stock=False)


def hydrate(
    engine: Engine, live: Live, request: Any, now: int, *, anchors: tuple[int, ...] = (),
    num_results: int | None = None, first: Looked | None = None,
) -> tuple[Query, bool]:  # fmt: skip
    """Who asks, what is known of them up to this second, where from; and whether they are in the holdout.

    Consents are read first. Without one to personalization nothing else is: no event, no order, no answer, and the
    decision names nobody. So it is too while they cannot be read: then the query tells of its trouble.

    Args:
        engine, live: the shop, and the state that the request holds.
        request: of the wire.
        now: the moment, microseconds.
        anchors: item rows that the answer should relate to.
        num_results: how many items; default: as the request says.
        first: what `looked` found, where that was asked for before.

    Raises:
        RequestError: the filter names something that does not exist, or the time zone is none.
    """
    wanted: Filter = getattr(request, "filter", _EVERYTHING)
    check_filter(wanted)
    named: str | None = request.context.time_zone
    if named and not is_zone(named):
        raise RequestError("unknown time zone", where="context.timeZone", got=named, hint="such as Asia/Tokyo")
    found, consents, trouble = first or looked(engine, live, request)
    holdout = in_holdout(engine.shop, request, live.config.shop.holdout)
    user_id, visitor_id, history, person = None, None, NO_EVENTS, NOBODY
    personal = consents.to(PERSONALIZATION)
    if personal:
        user_id, visitor_id = request.user_id, request.visitor_id
        now, history, person, trouble = known_of(engine, live, user_id, visitor_id, now, found)
    query = Query(
        now=now, history=history, user_id=user_id, visitor_id=visitor_id,
        session_id=getattr(request, "session_id", None), context=completed(request.context), filter=wanted,
        num_results=num_results or int(getattr(request, "num_results", 20)), anchors=anchors, person=person,
        consents=consents, barred=live.windows.barred(history, person.orders, now), personal=personal, trouble=trouble,
    )  # fmt: skip
    query = addressed(live, query, holdout)
    lap("hydrate")
    return query, holdout


def looked(engine: Engine, live: Live, request: Any) -> Looked:
    """Where the subject stands and what he agreed to, in one look at the store.

    While that cannot be read nobody agreed to anything, for he may have taken it back there: that is the trouble. So it
    is with a customer while no history can be read.
    """
    if live.blind and request.user_id is not None:
        return Found(), Consents(), UNMAPPED
    try:
        found = engine.find(live, request.user_id, request.visitor_id)
    except Unavailable:
        return Found(), Consents(), UNREAD
    return found, consents_of(engine, live, request, found), None


def consents_of(engine: Engine, live: Live, request: Any, found: Found | None = None) -> Consents:
    """What the subject agreed to, as the shop was told; a request may say more, and may always refuse."""
    kept = engine.consents_of(live, request.user_id, request.visitor_id, found)
    said = getattr(request, "consents", None)
    if not said or (live.blind and request.user_id is not None):  # whom it would overrule is not known
        return kept
    new = {purpose: {"granted": yes} for purpose, yes in said.items() if not yes or purpose not in kept.told}
    return Consents({**kept.told, **new}, kept.assumed)


def known_of(
    engine: Engine, live: Live, user_id: str | None, visitor_id: str | None, now: int, found: Found
) -> tuple[int, History, Person, str | None]:
    """The moment just after all that a subject did, his past and what was told of him as of then.

    Returns:
        Also the trouble where the store or the history cannot be read: then the past is what the other one knows.
    """
    history, trouble = _past_of(engine, live, user_id, visitor_id, found)
    # An event that was acknowledged in this very microsecond counts: as-of windows are half-open. All of it is past.
    now = max(now, history.last) + MICROSECOND
    try:
        person = engine.person_of(live, user_id, visitor_id, now, found)
    except Unavailable:
        person, trouble = NOBODY, OUTDATED
    return now, history, person, trouble


def _past_of(
    engine: Engine, live: Live, user_id: str | None, visitor_id: str | None, found: Found
) -> tuple[History, str | None]:
    try:
        history = engine.history_of(live, user_id, visitor_id, found)
        return history, STORED if live.blind and visitor_id is not None else None
    except Unavailable:
        with suppress(BundleError):
            return engine.mapped_history_of(live, user_id), OUTDATED
        return NO_EVENTS, OUTDATED
    except BundleError as error:
        engine.note_unread(live, error)
        with suppress(Unavailable):
            return engine.stored_history_of(live, user_id, visitor_id), STORED
        return NO_EVENTS, STORED


def addressed(live: Live, query: Query, holdout: bool) -> Query:
    """The query with the audiences of the shop's wishes that its subject belongs to; the holdout belongs to none."""
    business = live.ranker.business
    if business is None or not business.audiences or holdout:
        return query
    now = Situation(live, query)
    fits = frozenset(number for number, when in enumerate(business.audiences) if why_not(when, now) is None)
    return msgspec.structs.replace(query, fits=fits, asked=frozenset(now.used))


def told_trouble(query: Query) -> dict[str, Any]:
    """What an answer adds where not all could be read."""
    return {} if query.trouble is None else {"degraded": True, "reason": query.trouble}
