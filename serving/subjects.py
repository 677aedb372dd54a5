"""A subject's history up to this second: the mapped slice and what the store received since, under one rule.

The same as `features.build` would give after a sync of this moment, sign-ins included: a visitor's anonymous events
become the customer's whom he signs in as, also those that stand in the mapped history still as the visitor's own.
One thing waits for the next sync: a sign-in or sign-out that arrives so late that it takes events out of a slice.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from features.history import Histories, History, customer_subject, visitor_subject
from features.ids import Vocabulary
from serving.events import to_history
from serving.links import Claim
from serving.store import Store


def subject_history(
    store: Store,
    histories: Histories | None,
    customer_id: str | None,
    visitor_id: str | None,
    *,
    after_seq: int,
    items: Vocabulary,
    translation: npt.NDArray[np.int32],
) -> History:
    """What one subject did, in the item rows of `items`.

    Args:
        store: the live store.
        histories: the mapped histories, or None before the first sync.
        customer_id: the customer, when known; then the visitor adds nothing beyond his sign-ins.
        visitor_id: the visitor of an anonymous request.
        after_seq: the store's sequence number that the histories reach.
        items: the vocabulary of the result.
        translation: int32[items of the histories]: their rows in `items`, -1 where it has none.
    """
    newer = store.events_of(customer_id, visitor_id, after_seq)
    past = History.empty()
    if histories is not None and customer_id is not None:
        past = histories.of(customer_subject(customer_id))
        if any(event.type == "sign_in" for event in newer):
            past = _with_claimed(past, store, histories, customer_id, after_seq)
    elif histories is not None and visitor_id is not None:
        own = histories.of(visitor_subject(visitor_id))
        past = outside(own, store.claims_on(visitor_id, after_seq)) if len(own) else own
    past = past.with_items(translation)
    return past.joined(to_history(newer, items)) if newer else past


def _with_claimed(past: History, store: Store, histories: Histories, customer_id: str, after_seq: int) -> History:
    """A customer's past with what later sign-ins take out of his visitors' slices."""
    for visitor_id in store.links_of(customer_id, after_seq):
        own = histories.of(visitor_subject(visitor_id))
        if len(own):
            claims = [each for each in store.claims_on(visitor_id, after_seq) if each.customer_id == customer_id]
            past = past.joined(within(own, claims))
    return past


def within(history: History, claims: Iterable[Claim]) -> History:
    """The events that some claims take."""
    return history.take(_claimed(history, claims))


def outside(history: History, claims: Iterable[Claim]) -> History:
    """The events that no claim takes."""
    return history.take(~_claimed(history, claims))


def _claimed(history: History, claims: Iterable[Claim]) -> npt.NDArray[np.bool_]:
    mask = np.zeros(len(history), bool)
    for claim in claims:
        mask |= (history.time > claim.after) & (history.time <= claim.until)
    return mask
