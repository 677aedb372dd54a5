"""Deciding: the row that remembers which action took a slot, with which probability.

A slot without a policy is deterministic: the first module of its list that can be filled takes it, with probability
1; a learned policy draws (`serving.drawing`). What could not be filled is vetoed before, with its reason.
"""

from __future__ import annotations

import os
import time
from collections import deque
from typing import Any, Protocol

import msgspec
import numpy as np

from features.assemble import FINGERPRINT, assemble
from features.shop import Shop
from serving.bundle import Bundle
from serving.candidates import Floats, Rows
from serving.logged_rows import packed
from serving.query import Context, Query

LOGGED_CONTEXT = (
    "region", "device", "traffic_source", "campaign", "time_zone", "locale", "category", "item_id",
)  # fmt: skip
"""The fields of a request's context that decisions keep."""
POLICY = "first-fillable"
_UNTOLD = Context()
_AT_ONCE = 64
"""Ids."""


class Decision(msgspec.Struct, frozen=True):
    """One slot decided for one subject: a row of `decisions`, as the log keeps it."""

    decision_id: str
    request_id: str
    decided_at: int
    surface: str
    slot: str
    position: int
    draw_order: int
    eligible: list[tuple[str | None, float]]
    vetoed: list[tuple[str, str]]
    action_id: str | None
    items: list[str]
    action_propensity: float
    policy: str
    bundle_id: str
    shop_hash: str
    holdout: bool
    customer_id: str | None = None
    visitor_id: str | None = None
    features: dict[str, Any] | None = None
    """`{"fingerprint", "as_of", "rows"}`: the feature rows of the items shown, in their order. Where a policy drew:
    `{"names", "rows", "items"}`, the one row of the subject that it read, and those of the items. In JSON the rows of
    items are as `serving.logged_rows` says."""
    drawn: bool = True
    reused_from: str | None = None
    arm: str | None = None
    """`<experiment>/<arm>` where an experiment is about this slot and the subject stands in it."""
    fallback: str | None = None
    logged: bool = True
    context: dict[str, str] | None = None
    """Where the request came from, as far as it told: nothing of it is personal."""


def told_by(context: Context) -> dict[str, str] | None:
    """What a request told of where it comes from, for the log: no address, no referrer, no user agent."""
    if context == _UNTOLD:
        return None
    told = {name: getattr(context, name) for name in LOGGED_CONTEXT}
    return {name: value for name, value in told.items() if value} or None


def encoded(decision: Decision) -> bytes:
    """A decision as the log and the store keep it."""
    return _encoder.encode(decision)


def _written(value: Any) -> Any:
    """What JSON has no word for: numbers and arrays of numpy."""
    if isinstance(value, np.ndarray):
        return packed(value) if value.dtype == np.float32 and value.ndim == 2 else value.tolist()
    if isinstance(value, np.generic):
        return value.tolist()
    raise TypeError(f"a decision holds a {type(value).__name__}")


_encoder = msgspec.json.Encoder(enc_hook=_written)


_chance: deque[str] = deque()
"""Random bits that no id has yet. The system is asked for those of many ids at once: a call of it costs as much as all
else that is to do for an id."""
os.register_at_fork(after_in_child=_chance.clear)  # else a child would give its parent's ids a second time


def new_id() -> str:
    """A fresh id for a request, a decision or an event: the moment in milliseconds or so, then 80 random bits.

    In the order of time, so that the store's indexes grow at their ends and not all over the disk.
    """
    try:
        bits = _chance.popleft()
    except IndexError:
        drawn = os.urandom(10 * _AT_ONCE).hex()
        bits, *rest = (drawn[at : at + 20] for at in range(0, len(drawn), 20))
        _chance.extend(rest)
    return f"{time.time_ns() >> 20:012x}{bits}"


class Asking(Protocol):
    """A query or a request: who asks."""

    @property
    def user_id(self) -> str | None:
        """The customer."""
        ...

    @property
    def visitor_id(self) -> str | None:
        """The visitor."""
        ...


def unit_of(query: Asking) -> tuple[str, str] | None:
    """The kind and id of who is assigned: the customer when known, else the visitor; None where nobody is named."""
    if query.user_id:
        return "customer", query.user_id
    return ("visitor", query.visitor_id) if query.visitor_id else None


def in_holdout(shop: Shop, query: Asking, share: float) -> bool:
    """Whether the subject permanently gets what is the same for all; by hash of the customer when known."""
    unit = unit_of(query)
    if unit is None or share <= 0:
        return False
    return shop.holdout(*unit) < share


def feature_rows(bundle: Bundle, query: Query, items: Rows, rows: Floats | None = None) -> dict[str, Any]:
    """What was known of the shown items when they were shown, stored beside them and never computed again.

    Args:
        bundle, query: that they were chosen from and for.
        items: int32[k], those that are shown.
        rows: float32[k, features], where they were made already.
    """
    if rows is None:
        rows = assemble(query.history, items, bundle.shared, bundle.as_of, query.now)
    return {"fingerprint": FINGERPRINT, "as_of": bundle.as_of, "rows": rows}
