"""Export: everything that the service keeps of one person, as one JSON.

From the store (decision logs drained first) and from the history that serves. What only the dataset holds (all fields
of events that a sync has taken over, decisions older than that) is the operator's to add; the answer says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import orjson

from features.errors import NotFoundError
from features.history import Histories, customer_subject
from features.kinds import EventType
from features.moments import format_instant
from features.order_reports import Report
from features.text import event_key
from serving import histories as history_files
from serving import store_sql as sql
from serving.decision_drain import drain
from serving.disk import asked_again
from serving.engine import Engine
from serving.events import StoredEvent
from serving.fields import GUEST, MAPS, camel, decode
from serving.links import BEGINNING, Timeline
from serving.live import Live, check_whole
from serving.logged_rows import readable
from serving.people import told
from serving.subjects import subject_history

SAYS = (
    "All that the service keeps of this person: its store and the history that serves. Events that a sync has taken "
    "over are here with their moment, type, item, quantity and value; their further fields, and decisions from before "
    "the last sync, are in the dataset."
)
_AGAIN = "ask again once it takes writes"
_INSTANTS = {"occurred_at", "recorded_at", "at", "ordered_at", "promised_at", "confirmed_for", "decided_at"}


def export_customer(engine: Engine, user_id: str) -> dict[str, Any]:
    """`POST /v1/customers/export`: fields, answers, consents, orders, decisions, showings, links, events.

    Raises:
        NotFoundError: nothing is known of this person, or not any more.
        Unavailable: the store, the disk or the history refuses: half of it would pass for all.
    """
    live = engine.live
    check_whole(live)
    with asked_again(_AGAIN):
        drain(engine.shop.decision_logs, engine.store)
    fields, reports = told(engine, live, user_id, engine.find(live, user_id, None))
    links = links_of(engine, live, user_id)
    found = {
        "fields": {name: value for name, value in fields.items() if name not in MAPS},
        **{name: fields.get(name, {}) for name in MAPS},
        "consentHistory": consent_history(engine, live, user_id),
        "orders": [_readable(report) for report in reports],
        "events": _events(engine, live, user_id, None),
        "decisions": _decisions(engine, user_id, links),
        "shown": _shown(engine, user_id),
        "links": links,
    }
    if not any(found.values()):
        raise NotFoundError("nothing is known of this person", where="userId")
    return {"userId": user_id, **found, "says": SAYS}


def export_visitor(engine: Engine, visitor_id: str) -> dict[str, Any]:
    """The same of somebody who has not signed in: what the visitor told and did since the last sign-in, if any.

    Raises:
        NotFoundError: nothing is known of this visitor, or not any more.
        Unavailable: as of `export_customer`.
    """
    live = engine.live
    check_whole(live)
    with asked_again(_AGAIN):
        drain(engine.shop.decision_logs, engine.store)
    fields = engine.store.read_visitor(visitor_id) or {}
    rows = engine.store.database.query(sql.ANONYMOUS_DECISIONS, (visitor_id,))
    found = {
        "fields": {name: value for name, value in fields.items() if name not in MAPS},
        **{name: fields.get(name, {}) for name in MAPS},
        "events": _events(engine, live, None, visitor_id),
        "decisions": [_decision(orjson.loads(payload)) for _, payload in rows],
    }
    if not any(found.values()):
        raise NotFoundError("nothing is known of this person", where="visitorId")
    return {"visitorId": visitor_id, **found, "says": SAYS}


def consent_history(engine: Engine, live: Live, user_id: str) -> list[dict[str, Any]]:
    """Each consent that was told, oldest first, equal ones once."""
    profile = live.people.of(customer_subject(user_id)) if live.people else None
    said = [(purpose, how) for purpose, how in profile.consents] if profile else []
    for row in engine.store.customer_rows(user_id):
        change = decode(row)
        said += [*_consents(change.get(GUEST)), *_consents(change)]
    found: list[dict[str, Any]] = []
    for purpose, how in said:
        entry = {"purpose": purpose, **(how if isinstance(how, Mapping) else {"told": how})}
        if entry not in found:
            found.append(entry)
    return found


def _shown(engine: Engine, user_id: str) -> list[dict[str, Any]]:
    """What is counted of this person against limits, and the messages to them."""
    rows = engine.store.tally_of(customer_subject(user_id), (), 0).rows
    return [{"actionId": row.action_id, "surface": row.surface, "decisionId": row.decision_id, "state": row.state,
             "at": format_instant(row.at)} for row in rows]  # fmt: skip


def links_of(engine: Engine, live: Live, user_id: str) -> list[str]:
    """The visitors that signed in as this customer, as far as store or history know them."""
    found = set(engine.store.links_of(user_id))
    if live.history_name is not None:
        found.update(history_files.visitors_of(engine.shop.histories / live.history_name, user_id))
    return sorted(found)


def _consents(change: Any) -> list[tuple[str, Any]]:
    told = change.get("consents") if isinstance(change, Mapping) else None
    return list(told.items()) if isinstance(told, Mapping) else []


def _events(engine: Engine, live: Live, user_id: str | None, visitor_id: str | None) -> list[dict[str, Any]]:
    """Those of the history without what the store knows better, then those of the store."""
    stored = engine.store.events_of(user_id, visitor_id)
    kept = [] if live.histories is None else _mapped(engine, live, live.histories, (user_id, visitor_id), stored)
    return kept + [_readable(event) for event in stored]


def _mapped(
    engine: Engine, live: Live, histories: Histories, who: tuple[str | None, str | None], stored: list[StoredEvent]
) -> list[dict[str, Any]]:
    own = np.arange(len(histories.items), dtype=np.int32)
    past = subject_history(
        engine.store, histories, *who, after_seq=live.history_seq, items=histories.items, translation=own
    )
    known = np.array([event_key(event.event_id) for event in stored], np.uint64)
    past = past.take(~np.isin(past.key, known))
    columns = (past.time, past.recorded, past.type, past.item, past.quantity, past.value)
    return [
        {
            "occurredAt": format_instant(time),
            "recordedAt": format_instant(recorded),
            "type": EventType(kind).name.lower(),
            "itemId": histories.items[item] if item >= 0 else None,
            "quantity": quantity,
            "value": None if value != value else value,
        }
        for time, recorded, kind, item, quantity, value in zip(*(each.tolist() for each in columns), strict=True)
    ]


def _decisions(engine: Engine, user_id: str, links: list[str]) -> list[dict[str, Any]]:
    query = engine.store.database.query
    found = [orjson.loads(payload) for _, payload in query(sql.DECISIONS_OF_CUSTOMER, (user_id,))]
    for visitor_id in links:
        timeline = Timeline(visitor_id, query(sql.LINKS_OF_VISITOR, (visitor_id, BEGINNING)))
        anonymous = [orjson.loads(payload) for _, payload in query(sql.ANONYMOUS_DECISIONS, (visitor_id,))]
        found += [each for each in anonymous if timeline.owner(int(each["decided_at"])) == user_id]
    return [_decision(each) for each in found]


def _decision(row: Mapping[str, Any]) -> dict[str, Any]:
    features = row.get("features")
    return _renamed({**row, "features": readable(features)} if isinstance(features, Mapping) else row)


def _readable(row: Report | StoredEvent) -> dict[str, Any]:
    return _renamed(msgspec.to_builtins(row))


def _renamed(row: Mapping[str, Any]) -> dict[str, Any]:
    """In the words of the wire, without what was not said."""
    said = {name: format_instant(each) if name in _INSTANTS else each for name, each in row.items() if each is not None}
    return {camel(name): each for name, each in said.items()}
