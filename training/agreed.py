"""Who agreed to be learned from: consent to `training` as a filter on rows, before anything is fitted.

Who refused is left out, always. Of whom nothing is known is left out as well where the shop records this consent of
anybody and declares no other basis (`[consent] assumed`); a shop that records none of it has nothing to go by, and the
run says so. Visitors without a name stay: nobody has asked them yet, and nothing leads to a person.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np

from features import columns as c
from features.dataset import Dataset
from features.history import Histories, customer_subject
from features.shop import Shop
from serving.config import ShopConfig
from serving.fields import plain
from serving.person import TRAINING, Consents
from serving.store import Store
from serving.sync_collect import customers_since
from serving.sync_consents import consents_in
from serving.tombstones import erased_of


def agreed_only(
    dataset: Dataset, histories: Histories, assumed: Collection[str], as_of: int | None
) -> tuple[Histories, tuple[str, ...]]:
    """The histories of those who may be learned from, and what to know about the others, as sentences.

    Args:
        dataset: where consents are recorded.
        histories: of all subjects.
        assumed: purposes with another basis.
        as_of: microseconds; later consents are not known. None: all count.
    """
    outside = not_agreed(dataset, assumed, as_of)
    customers = sum(subject.startswith("c:") for subject in histories.subjects)
    kept = ~np.fromiter(map(outside, histories.subjects), bool, len(histories))
    left = int((~kept).sum())
    if not left:
        return histories, ()
    why = "refused to be learned from" if TRAINING in assumed else "have not agreed to be learned from"
    return histories.where(kept[histories.subject_rows()]), (f"{left:,} of {customers:,} customers {why}: left out.",)


def not_agreed(dataset: Dataset, assumed: Collection[str], as_of: int | None = None) -> Callable[[str], bool]:
    """Says of a subject whether it must not be learned from.

    Args:
        dataset: where consents are recorded.
        assumed: purposes with another basis.
        as_of: microseconds; later consents are not known. None: all count.
    """
    told = consents_to(dataset, TRAINING, as_of)
    known = {customer_subject(customer): granted for customer, granted in told.items()}
    unknown = TRAINING in assumed or not told
    return lambda subject: not known.get(subject, unknown or not subject.startswith("c:"))


def unlearned(shop: Shop, config: ShopConfig, as_of: int | None = None) -> Callable[[str], bool]:
    """Says of a subject whether nothing may be learned from it: erased, or not agreed.

    Args:
        shop: whose.
        config: its file.
        as_of: as for `not_agreed`.
    """
    erased, outside = erased_of(shop), not_agreed(Dataset(shop.dataset), config.consent.assumed, as_of)
    return lambda subject: erased.subject(subject) or outside(subject)


def consents_now(shop: Shop, purpose: str) -> Mapping[str, bool]:
    """`consents_to` with what the service was told since the last sync."""
    dataset = Dataset(shop.dataset)
    found = dict(consents_to(dataset, purpose))
    if not Store.exists(shop):
        return found
    store = Store.of(shop)
    try:
        changes = customers_since(store, dataset)
    finally:
        store.close()
    for customer, change, _ in changes:
        how = (plain(change).get("consents") or {}).get(purpose)
        if how is not None and (purpose in (change.get("consents") or {}) or customer not in found):
            found[customer] = Consents({purpose: how}).to(purpose)
    return found


def recorded_consents(dataset: Dataset) -> int:
    """Customers of whom some consent, or refusal, is recorded."""
    with dataset.connect() as duck:
        asked = f"SELECT count(DISTINCT {c.CUSTOMER_ID}) FROM customers WHERE consents IS NOT NULL"
        found = duck.execute(asked).fetchone()
    return 0 if found is None else int(found[0])


def consents_to(dataset: Dataset, purpose: str, as_of: int | None = None) -> Mapping[str, bool]:
    """customer id -> whether they agreed to a purpose, of all of whom something of it is recorded."""
    told = consents_in(dataset, as_of)
    return {who: Consents(each.now).to(purpose) for who, each in told.items() if purpose in each.now}
