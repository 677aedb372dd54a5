"""Why an answer is as it is: sources, removals, features that moved it, what the selector did, what data was used."""

from __future__ import annotations

from typing import Any

import numpy as np

from serving.live import Live
from serving.query import Query
from serving.scoring import Beside, Trees
from serving.slate import Slate

Answer = dict[str, Any]


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


def _some(live: Live, rows: Any, limit: int = 10) -> list[str]:
    return [live.bundle.items[int(row)] for row in rows[:limit]]


def _finite(value: Any) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None
