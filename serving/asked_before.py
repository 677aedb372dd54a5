"""Requests for pages and actions as they were logged: who asked, when and from where, the newest first.

Decisions of the store; what sync brought into the dataset is read by `serving.asked_dataset`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from serving import store_sql as sql
from serving.query import Context
from serving.store import Store

LISTS = "api."
"""Surfaces of plain lists begin with this: they are neither pages nor actions."""
_CHUNK = 2_000
_NEWEST = 1 << 62


@dataclass(frozen=True)
class Asked:
    """A page or action that somebody asked for.

    Args:
        request_id: of the request.
        at: microseconds; what was known before it was known to the request.
        surface: `page.home`, `email.order-status`; of an action its channel.
        customer, visitor: who asked; nobody where nothing personal was read.
        context: where from.
        holdout: whether the subject was held out.
        shown: slot -> the action that was logged, as far as it is kept.
        made_by: hash of the file and id of the bundle that decided.
    """

    request_id: str
    at: int
    surface: str
    customer: str | None
    visitor: str | None
    context: Context
    holdout: bool
    shown: Mapping[str, str | None]
    made_by: tuple[str, str]


def asked_in_store(store: Store, last: int) -> list[Asked]:
    """The latest requests whose decisions the store holds.

    Args:
        store: of the shop.
        last: how many at most.
    """
    grouped: dict[str, list[Mapping[str, Any]]] = {}
    for row in _latest(store):
        if row["request_id"] not in grouped and len(grouped) > last:
            break
        grouped.setdefault(row["request_id"], []).append(row)
    return asked_of(grouped.values())[:last]


def asked_of(requests: Iterable[list[Mapping[str, Any]]]) -> list[Asked]:
    """Rows of decisions, grouped by request, as requests; the newest first."""
    made = (_asked(rows) for rows in requests)
    return sorted(made, key=lambda each: (-each.at, each.request_id))


def _latest(store: Store) -> Iterator[Mapping[str, Any]]:
    """Decisions about pages and actions, the newest first."""
    before = _NEWEST
    while rows := store.database.query(sql.LATEST_DECISIONS, (before, _CHUNK)):
        before = rows[-1][0]
        for _, payload in rows:
            decision = orjson.loads(payload)
            if decision.get("request_id") and not decision.get("surface", LISTS).startswith(LISTS):
                yield decision


def _asked(rows: list[Mapping[str, Any]]) -> Asked:
    first = rows[0]
    told: Any = next((row["context"] for row in rows if row.get("context")), None)
    told = orjson.loads(told) if isinstance(told, str) else told
    known = {name: value for name, value in (told or {}).items() if name in Context.__struct_fields__}
    return Asked(
        request_id=first["request_id"], at=int(first["decided_at"]), surface=first["surface"],
        customer=first.get("customer_id"), visitor=first.get("visitor_id"), context=Context(**known),
        holdout=bool(first.get("holdout")), shown={row["slot"]: row.get("action_id") for row in rows},
        made_by=(first.get("shop_hash", ""), first.get("bundle_id", "")),
    )  # fmt: skip
