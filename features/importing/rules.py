"""What each table asks of its rows, beyond the types of its columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features import columns as c
from features.importing.mapping import AMOUNT, Mapping
from features.importing.reasons import (
    BAD_PROPENSITY,
    BAD_VALUE,
    MISSING_ID,
    MISSING_ITEM,
    MISSING_TIME,
    NEGATIVE_DISCOUNT,
    NEGATIVE_PRICE,
    NEGATIVE_QUANTITY,
    UNKNOWN_TYPE,
    ZERO_QUANTITY,
)
from features.importing.sieve import Sieve
from features.importing.values import Mask, mask
from features.kinds import EVENT_TYPES, NEEDS_ITEM, SHIPMENT_STATES

Columns = dict[str, pa.Array]
Rule = Callable[[Columns, Mapping, Sieve], Columns]


def _absent(ours: Columns, *names: str) -> Mask | None:
    """Rows in which all of these columns are null (or not mapped); None when the first is always there."""
    given = [ours[name] for name in names if name in ours]
    if not given:
        return None
    present = np.logical_or.reduce([mask(pc.is_valid(values)) for values in given])
    found: Mask = ~present
    return found


def event_rules(ours: Columns, mapping: Mapping, sieve: Sieve) -> Columns:
    """Events: who, when and what kind; signs of quantities and prices; cancelled lines where a source amends."""
    sieve.reject(_absent(ours, c.CUSTOMER_ID, c.VISITOR_ID), MISSING_ID, "customer_id or visitor_id")
    if mapping.has_id:
        sieve.reject(_absent(ours, c.EVENT_ID), MISSING_ID, c.EVENT_ID)
    sieve.reject(_absent(ours, c.OCCURRED_AT), MISSING_TIME, c.OCCURRED_AT)
    ours = _types(ours, mapping, sieve)
    needs_item = mask(pc.is_in(ours[c.TYPE], pa.array(sorted(NEEDS_ITEM))))
    without = ~mask(pc.is_valid(ours[c.ITEM_ID])) if c.ITEM_ID in ours else np.ones(len(sieve), bool)
    sieve.reject(needs_item & without, MISSING_ITEM, c.ITEM_ID)
    ours = _quantities(ours, mapping, sieve)
    ours = _prices(ours, sieve)
    if c.WITHDRAWN in ours:
        ours[c.WITHDRAWN] = pc.fill_null(ours[c.WITHDRAWN], False)
    return ours


def _types(ours: Columns, mapping: Mapping, sieve: Sieve) -> Columns:
    """Our names in lower case; what the mapping's words did not translate must be one of them."""
    given = ours[c.TYPE]
    lower = pc.utf8_lower(given)
    known = pa.array([*EVENT_TYPES, *mapping.event_types], pa.string())
    ours[c.TYPE] = pc.if_else(pc.is_in(given, known), given, lower)
    sieve.reject(~mask(pc.is_in(ours[c.TYPE], known)), UNKNOWN_TYPE, c.TYPE)
    return ours


def _quantities(ours: Columns, mapping: Mapping, sieve: Sieve) -> Columns:
    if c.QUANTITY not in ours:
        return ours
    quantity = ours[c.QUANTITY]
    below = pc.fill_null(pc.less(quantity, 0), False)
    if mapping.negative_quantity == "return":
        bought = pc.and_(below, pc.equal(ours[c.TYPE], "purchase"))
        ours[c.TYPE] = pc.if_else(bought, "return", ours[c.TYPE])
        ours[c.QUANTITY] = quantity = pc.if_else(bought, pc.negate(quantity), quantity)
        if AMOUNT in ours:
            ours[AMOUNT] = pc.if_else(bought, pc.abs(ours[AMOUNT]), ours[AMOUNT])
        below = pc.fill_null(pc.less(quantity, 0), False)
    sieve.reject(mask(below), NEGATIVE_QUANTITY, c.QUANTITY)
    zero = pc.fill_null(pc.equal(quantity, 0), False)
    if mapping.on_change == "amend":
        ours[c.WITHDRAWN] = pc.or_(pc.fill_null(ours[c.WITHDRAWN], False), zero) if c.WITHDRAWN in ours else zero
    else:
        sieve.reject(mask(zero), ZERO_QUANTITY, c.QUANTITY)
    return ours


def _prices(ours: Columns, sieve: Sieve) -> Columns:
    if AMOUNT in ours:
        amount = ours.pop(AMOUNT)
        units = pc.if_else(pc.greater(ours[c.QUANTITY], 0), ours[c.QUANTITY], 1.0) if c.QUANTITY in ours else 1.0
        each = pc.divide(amount, pc.fill_null(units, 1.0) if c.QUANTITY in ours else units)
        ours[c.UNIT_PRICE] = pc.coalesce(ours[c.UNIT_PRICE], each) if c.UNIT_PRICE in ours else each
    _not_below_zero(ours, c.UNIT_PRICE, NEGATIVE_PRICE, sieve)
    _not_below_zero(ours, c.DISCOUNT, NEGATIVE_DISCOUNT, sieve)
    return ours


def _not_below_zero(ours: Columns, name: str, reason: str, sieve: Sieve) -> None:
    if name in ours:
        sieve.reject(mask(pc.less(ours[name], 0)), reason, name)


def item_rules(ours: Columns, mapping: Mapping, sieve: Sieve) -> Columns:
    """Items: an id, and no negative price."""
    sieve.reject(_absent(ours, c.ITEM_ID), MISSING_ID, c.ITEM_ID)
    for name in (c.PRICE, "unit_cost"):
        _not_below_zero(ours, name, NEGATIVE_PRICE, sieve)
    return ours


def customer_rules(ours: Columns, mapping: Mapping, sieve: Sieve) -> Columns:
    """Customers: an id."""
    sieve.reject(_absent(ours, c.CUSTOMER_ID), MISSING_ID, c.CUSTOMER_ID)
    return ours


def order_rules(ours: Columns, mapping: Mapping, sieve: Sieve) -> Columns:
    """Order lines: the order and the line, and a shipment state that is one of ours."""
    for name in (c.ORDER_ID, c.LINE):
        sieve.reject(_absent(ours, name), MISSING_ID, name)
    if "shipment_state" in ours:
        state = ours["shipment_state"]
        known = mask(pc.is_in(state, pa.array(SHIPMENT_STATES)))
        sieve.reject(mask(pc.is_valid(state)) & ~known, BAD_VALUE, "shipment_state")
    _not_below_zero(ours, c.QUANTITY, NEGATIVE_QUANTITY, sieve)
    return ours


def identity_rules(ours: Columns, mapping: Mapping, sieve: Sieve) -> Columns:
    """Links: both ids and the moment."""
    for name in (c.VISITOR_ID, c.CUSTOMER_ID):
        sieve.reject(_absent(ours, name), MISSING_ID, name)
    sieve.reject(_absent(ours, c.LINKED_AT), MISSING_TIME, c.LINKED_AT)
    return ours


def decision_rules(ours: Columns, mapping: Mapping, sieve: Sieve) -> Columns:
    """Decisions: an id, who, when, and a propensity in (0, 1] or none (nobody recorded it)."""
    sieve.reject(_absent(ours, c.CUSTOMER_ID, c.VISITOR_ID), MISSING_ID, "customer_id or visitor_id")
    sieve.reject(_absent(ours, c.DECISION_ID), MISSING_ID, c.DECISION_ID)
    sieve.reject(_absent(ours, c.DECIDED_AT), MISSING_TIME, c.DECIDED_AT)
    if "action_propensity" in ours:
        chance = ours["action_propensity"]
        outside = pc.or_(pc.less_equal(chance, 0), pc.greater(chance, 1))
        sieve.reject(mask(outside), BAD_PROPENSITY, "action_propensity")
    return ours


RULES: Final[dict[str, Rule]] = {
    "events": event_rules,
    "items": item_rules,
    "customers": customer_rules,
    "orders": order_rules,
    "identities": identity_rules,
    "decisions": decision_rules,
}
