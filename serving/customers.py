"""What the service can say of one customer, and the picker of the demo."""

from __future__ import annotations

from typing import Any

import numpy as np

from features.bought import bought_of, told_of
from features.history import History, customer_subject
from features.kinds import EventType
from features.moments import DAY, MICROSECOND, format_instant
from features.order_reports import lines_of
from features.orders import OrderLine
from features.personal import wishlist
from serving.due import due_items
from serving.engine import Engine
from serving.fields import MAPS
from serving.live import Live, check_whole, item_card
from serving.people import told
from serving.query import Query
from serving.situation import Situation

RECENT = 20


def read_customer(engine: Engine, user_id: str) -> dict[str, Any]:
    """`POST /v1/customers/read`: what was told, and what is kept of behaviour, counted, the latest spelt out."""
    live = engine.live
    check_whole(live)
    found = engine.find(live, user_id, None)
    fields, reports = told(engine, live, user_id, found)
    history = engine.history_of(live, user_id, None, found)
    return {
        "userId": user_id,
        "known": len(history) > 0 or bool(fields) or bool(reports),
        "fields": {name: value for name, value in fields.items() if name not in MAPS},
        "attributes": fields.get("attributes", {}),
        "answers": fields.get("answers", {}),
        "consents": fields.get("consents", {}),
        "orders": [_order(line) for line in lines_of(reports)],
        "events": len(history),
        "firstSeen": format_instant(int(history.time[0])) if len(history) else None,
        "lastSeen": format_instant(int(history.time[-1])) if len(history) else None,
        "eventsByType": _by_type(history),
        **profile(engine, live, user_id, history),
        "recent": [_event(live, history, at) for at in range(len(history) - 1, max(len(history) - 1 - RECENT, -1), -1)],
        "links": engine.store.links_of(user_id),
    }


def profile(engine: Engine, live: Live, user_id: str, history: History) -> dict[str, Any]:
    """What follows of a customer's behaviour: stage, wishes with their age, value and rhythm, contacts, projects."""
    now = max(engine.clock.now(), int(history.time.max(initial=0))) + MICROSECOND
    known = history.as_of(now)
    person = engine.person_of(live, user_id, None, now)
    seen = Situation(live, Query(now, known, user_id=user_id, person=person))
    bought = bought_of(known, told_of(person.orders, now), live.config.journey.rules.occasion)
    paid = known.of_types(EventType.PURCHASE).value
    return {
        "stage": {"name": seen.stage.name, "since": format_instant(seen.stage.since), "why": seen.stage.why},
        "wishlist": [live.bundle.items[row] for row, _ in open_since(known)],
        "wishes": [{"itemId": live.bundle.items[row], "since": format_instant(at)} for row, at in open_since(known)],
        "value": {
            "orders": seen.orders, "paid": round(float(np.nansum(paid)), 2), "unpriced": int(np.isnan(paid).sum()),
        },
        "rhythm": {
            "occasions": bought.occasions, "medianGapDays": None if bought.gap is None else round(bought.gap / DAY, 1),
            "due": [{"itemId": live.bundle.items[each.item], "at": format_instant(each.at)}
                    for each in due_items(live, seen.query)[:RECENT]],
        },
        "contacts": [
            {"actionId": row.action_id, "surface": row.surface, "at": format_instant(row.at), "state": row.state}
            for row in engine.store.tally_of(customer_subject(user_id), [], now).rows[-RECENT:][::-1]
        ],
        "projects": [{"kind": each.kind, "since": format_instant(each.since), "source": each.source, "note": each.note}
                     for each in seen.projects],
    }  # fmt: skip


def open_since(history: History) -> list[tuple[int, int]]:
    """Item rows on the wishlist now with the instant since when, latest first."""
    items, since = wishlist(history)
    return list(zip(items.tolist(), since.tolist(), strict=True))


def active_customers(live: Live, limit: int, query: str) -> list[dict[str, Any]]:
    """Customers whose id contains a text, the most active first. For the demo's picker only."""
    if live.histories is None:
        return []
    counts = np.diff(live.histories.offsets)
    out: list[dict[str, Any]] = []
    for row in np.argsort(-counts, kind="stable"):
        subject = live.histories.subjects[int(row)]
        if not subject.startswith("c:") or query not in subject[2:] or not counts[row]:
            continue
        last = live.histories.events.time[live.histories.offsets[row + 1] - 1]
        out.append({"userId": subject[2:], "events": int(counts[row]), "lastSeen": format_instant(int(last))})
        if len(out) >= limit:
            break
    return out


def _by_type(history: History) -> dict[str, int]:
    codes, counts = np.unique(history.type, return_counts=True)
    return {EventType(int(code)).name.lower(): int(count) for code, count in zip(codes, counts, strict=True)}


def _order(line: OrderLine) -> dict[str, Any]:
    def moment(instant: int | None) -> str | None:
        return None if instant is None else format_instant(instant)

    return {
        "orderId": line.order_id,
        "line": line.line,
        "itemId": line.item_id,
        "quantity": line.quantity,
        "state": line.state,
        "orderedAt": moment(line.ordered_at),
        "promisedAt": moment(line.promised_at),
        "confirmedFor": moment(line.confirmed_for),
        "deliveredAt": moment(line.delivered_at),
        "gift": line.gift,
        "subscription": line.subscription,
        "steps": [
            {"at": moment(step.at), "state": step.state, "text": step.text, "imageUrl": step.image_url,
             "trackingUrl": step.tracking_url, "pickupPlace": step.place, "pickupHours": step.hours}
            for step in line.steps
        ],
    }  # fmt: skip


def _event(live: Live, history: History, at: int) -> dict[str, Any]:
    row = int(history.item[at])
    card = item_card(live, row) if row >= 0 else {}
    return {
        "type": EventType(int(history.type[at])).name.lower(),
        "occurredAt": format_instant(int(history.time[at])),
        "itemId": card.get("itemId"),
        "title": card.get("title"),
        "quantity": float(history.quantity[at]),
    }
