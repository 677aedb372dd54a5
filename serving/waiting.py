"""What a customer who waits is told: each order line with its progress, and when it is expected.

A single day is named only where the carrier has confirmed it; else an interval, or what was promised.
"""

from __future__ import annotations

from typing import Any

from features.moments import format_instant
from features.orders import OrderLine, Step
from serving.delivery import Expected
from serving.delivery_words import LANGUAGES, in_words
from serving.live import item_card
from serving.situation import Situation


def order_cards(now: Situation, limit: int = 50, since: int | None = None) -> list[dict[str, Any]]:
    """The order lines that are on their way, those that were ordered last first, as on the wire.

    Args:
        now: of the request.
        limit: how many at most.
        since: of a message: steps after this instant are marked as fresh.
    """
    return [order_card(now, line, since) for line in now.awaited[:limit]]


def order_card(now: Situation, line: OrderLine, since: int | None = None) -> dict[str, Any]:
    """One order line: what it is, how far it is, when it comes."""
    row = now.row_of(line.item_id)
    card = item_card(now.live, row) if row >= 0 else {"itemId": line.item_id, "title": line.item_id, "imageUrl": None}
    expected = now.expected(line)
    return {
        "orderId": line.order_id,
        "line": line.line,
        "itemId": line.item_id,
        "title": card["title"],
        "imageUrl": card["imageUrl"],
        "quantity": line.quantity,
        "orderedAt": format_instant(line.ordered_at),
        "state": line.state,
        "promisedAt": _instant(line.promised_at),
        "expected": None if expected is None else _expected(now, expected),
        "late": line.is_late(now.query.now),
        "steps": [_step(step, since) for step in line.steps],
    }


def expected_text(now: Situation, line: OrderLine) -> str | None:
    """When a line is expected, in the subject's language and days; None where nothing is known."""
    expected = now.expected(line)
    return None if expected is None else _in_words(now, expected)


def _expected(now: Situation, expected: Expected) -> dict[str, Any]:
    return {
        "earliest": format_instant(expected.earliest),
        "latest": format_instant(expected.latest),
        "day": _instant(expected.day),
        "text": _in_words(now, expected),
    }


def _in_words(now: Situation, expected: Expected) -> str:
    """In the request's language where there are words for it, else in the shop's."""
    language = now.live.language(now.query.context.locale, LANGUAGES)
    return in_words(expected, now.query.now, now.zone, language)


def _step(step: Step, since: int | None) -> dict[str, Any]:
    told = {
        "fresh": True if since is not None and step.at > since else None,
        "text": step.text, "imageUrl": step.image_url, "trackingUrl": step.tracking_url, "place": step.place,
        "hours": step.hours, "confirmedFor": _instant(step.confirmed_for), "promisedAt": _instant(step.promised_at),
    }  # fmt: skip
    return {"at": format_instant(step.at), "state": step.state} | {k: v for k, v in told.items() if v is not None}


def _instant(at: int | None) -> str | None:
    return None if at is None else format_instant(at)
