"""What a shop reports of its order lines, one row a report, and the lines that the reports of a customer make.

A set of reports gives the same lines in whatever order and by whatever way they came (files, the service, both): so
rows of the dataset and rows that the service received since then need no history of their arrival.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from features.kinds import SHIPMENT_STATES
from features.orders import OrderLine, Step

_RANK = {state: rank for rank, state in enumerate(SHIPMENT_STATES)}


class Report(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One row of the `orders` table. What a report does not name stays as it was.

    Args:
        order_id, line: the key.
        at: microseconds, from when it is in force.
        state: one of `features.kinds.SHIPMENT_STATES`, or "" where nothing was said of it.
        stamped: the shop named no moment, so `at` is when it was received.
    """

    order_id: str
    line: str
    at: int
    item_id: str | None = None
    quantity: float | None = None
    ordered_at: int | None = None
    promised_at: int | None = None
    payment_state: str | None = None
    state: str = ""
    text: str | None = None
    image_url: str | None = None
    tracking_url: str | None = None
    confirmed_for: int | None = None
    place: str | None = None
    hours: str | None = None
    gift: bool | None = None
    subscription: str | None = None
    stamped: bool = False


_WORDS = ("state", "text", "image_url", "tracking_url", "confirmed_for", "place", "hours", "promised_at")
"""What makes a step: the fields of `Step` but its moment."""
_said_of = attrgetter(*_WORDS)
_NEUTRAL = {"at": 0, "stamped": False}
_encoder = msgspec.json.Encoder()


def same_report(one: Report, other: Report) -> bool:
    """Whether two reports of one line say the same; a moment that the shop left to us does not count."""
    if one.stamped or other.stamped:
        return bool(msgspec.structs.replace(one, **_NEUTRAL) == msgspec.structs.replace(other, **_NEUTRAL))
    return one == other


def lines_of(reports: Iterable[Report]) -> tuple[OrderLine, ...]:
    """The order lines of one customer, in the order of ordering; a line of which nobody named the item is none."""
    grouped: dict[tuple[str, str], list[Report]] = {}
    for report in reports:
        grouped.setdefault((report.order_id, report.line), []).append(report)
    lines = [line for rows in grouped.values() if (line := _line(_in_order(rows))) is not None]
    return tuple(sorted(lines, key=lambda line: (line.ordered_at, line.order_id, line.line)))


def _in_order(rows: list[Report]) -> list[Report]:
    """Reports of one moment stand in the order in which states follow each other, then by what they say."""
    if len(rows) == 1:
        return rows
    if len({row.at for row in rows}) == len(rows):
        return sorted(rows, key=attrgetter("at"))
    return sorted(rows, key=lambda row: (row.at, _RANK.get(row.state, len(_RANK)), _encoder.encode(row)))


def _line(rows: Sequence[Report]) -> OrderLine | None:
    item_id = _last(rows, "item_id")
    if item_id is None:
        return None
    ordered_at, quantity = _last(rows, "ordered_at"), _last(rows, "quantity")
    return OrderLine(
        order_id=rows[0].order_id, line=rows[0].line, item_id=item_id,
        ordered_at=rows[0].at if ordered_at is None else ordered_at, steps=_steps(rows),
        quantity=1.0 if quantity is None else quantity,
        gift=bool(_last(rows, "gift")), subscription=_last(rows, "subscription"),
    )  # fmt: skip


def _last(rows: Sequence[Report], name: str) -> Any:
    """What was said last of a field that has no history."""
    for row in reversed(rows):
        if (said := getattr(row, name)) is not None:
            return said
    return None


def _steps(rows: Sequence[Report]) -> tuple[Step, ...]:
    """A report that says nothing new (the same state each night, or only that it was paid) is no step."""
    known: list[Any] = [None] * len(_WORDS)
    steps: list[Step] = []
    for row in rows:
        said = [None if word == "" else word for word in _said_of(row)]
        new = [word is not None and word != before for word, before in zip(said, known, strict=True)]
        if steps and not any(new):
            continue
        state, text, image_url, tracking_url, confirmed_for, place, hours, promised_at = said
        steps.append(Step(
            row.at, state or "", text, image_url, tracking_url, confirmed_for, place, hours,
            promised_at if new[-1] else None,
        ))  # fmt: skip
        known = [before if word is None else word for word, before in zip(said, known, strict=True)]
    return tuple(steps)
