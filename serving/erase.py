"""Erasure: forgetting a customer, and the receipt that says how far it is.

Within seconds nothing that answers uses the customer: a tombstone stands, the store's rows and the decision logs'
frames are overwritten, and so are the slices of the mapped histories, linked visitors included. The dataset follows
with the next sync. Every step may be repeated; `sweep` finishes what a crash interrupted, from the tombstones alone.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import orjson

from features.errors import BundleError, NotFoundError
from features.history import customer_subject, visitor_subject
from features.moments import format_instant
from features.shop import Shop
from serving import histories
from serving import store_erasure as erasure
from serving.decision_drain import blank_erased, drain
from serving.disk import asked_again
from serving.fields import GUEST, decode
from serving.store import TRUST_SECONDS, Store
from serving.tombstones import token_of
from serving.watch import watching

Result = TypeVar("Result")

ERASING, ERASED, COMPLETE = "erasing", "erased", "complete"
"""States of a receipt: under way; gone from everything that answers; gone from the dataset too."""
_UNDERWAY_SECONDS = 0.1
"""A request of another replica that began before it knew the tombstone has left by then."""
_AGAIN = "ask for it again once it takes writes, or run kokyaku sync: either finishes it"
_IN_THEIR_WORDS = {"name": 4, "answers": 12, "attributes": 12, "projects": 12}
"""Fields -> from how many bytes on a text is looked for. Shorter answers are many people's: alone they name nobody."""

SAYS = {
    "now": "No answer, profile or export uses this customer or the visitors linked to them. The store's rows (events, "
    "fields, answers, consents, orders), the decision logs and the history that serves are overwritten. A keyed hash "
    "stays, so that later events, orders, answers, consents and imports of this customer are refused. Where several "
    "replicas serve, none of them uses the customer, and each overwrites its own copies within a minute.",
    "nextSync": "The dataset's files are rewritten by the next sync, within 24 hours: events, profile, links and "
    "orders go; decisions keep what was shown, how likely it was and what it brought, under a random token.",
    "nextTraining": "Fitted models hold nothing about one person by name; what they learned from this customer goes "
    "with the next training.",
    "backups": "Copies that the operator made (backups, exported files) are the operator's to delete.",
}


@asked_again(_AGAIN)
def erase(
    shop: Shop, store: Store, customer_id: str, *, now: int, on_erased: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Forget a customer and the visitors linked to them. Unknown customers get a tombstone and a receipt as well.

    Args:
        shop: whose customer.
        store: its opened store.
        customer_id: as the shop writes it.
        now: the moment of the request, microseconds.
        on_erased: told the customer's id once nothing of it can be read any more; drops caches.

    Returns:
        The receipt (see `read_receipt`); the same one when the customer was erased before.

    Raises:
        Unavailable: the disk refuses; the tombstone may stand already, and erasing again finishes.
        BundleError: a history is damaged; the tombstone stands, and the next sync finishes.
    """
    token = token_of(shop.secret, customer_subject(customer_id))
    # First: from here on nothing new of this customer is stored or linked, and a sweep may take the old links away.
    visitors = erasure.bury_customer(store, shop.secret, customer_id, _visitors(shop, customer_id), now)
    receipt = _begun(store, token, now)
    buried = time.monotonic()
    words = _words(store, customer_id, visitors)
    counts = _forget_everywhere(shop, store, customer_id, visitors)
    if on_erased is not None:
        on_erased(customer_id)
    store.database.scrub([customer_id, *visitors, *words])
    _await_replicas(store, buried)
    return _finished(store, token, receipt, counts, now)


@asked_again(_AGAIN)
def erase_visitor(shop: Shop, store: Store, visitor_id: str, *, now: int) -> dict[str, Any]:
    """Forget somebody who has not signed in: what the visitor did and told since the last sign-in, if any.

    What went to a customer at a sign-in is the customer's. The id is buried: whoever uses the device next needs
    another.

    Args and errors as of `erase`.
    """
    token = token_of(shop.secret, visitor_subject(visitor_id))
    erasure.bury(store, [token], now)
    buried = time.monotonic()
    receipt = _begun(store, token, now)
    words = _words(store, None, [visitor_id])
    counts = _forget_everywhere(shop, store, None, [visitor_id])
    store.database.scrub([visitor_id, *words])
    _await_replicas(store, buried)
    return _finished(store, token, receipt, counts, now)


def _await_replicas(store: Store, buried: float) -> None:
    """Wait until every replica knows the tombstones that stand since a moment."""
    if store.database.shared:
        time.sleep(max(0.0, buried + TRUST_SECONDS + _UNDERWAY_SECONDS - time.monotonic()))


def _begun(store: Store, token: bytes, now: int) -> dict[str, Any]:
    receipt = erasure.receipt_of(store, token) or _new_receipt(now)
    erasure.put_receipt(store, receipt, token, now)
    watching().count("erasures")
    return receipt


def _finished(
    store: Store, token: bytes, receipt: dict[str, Any], counts: Mapping[str, int], now: int
) -> dict[str, Any]:
    removed = {name: receipt["removed"].get(name, 0) + count for name, count in counts.items()}
    receipt |= {"state": ERASED, "erasedAt": format_instant(now), "removed": removed}
    erasure.put_receipt(store, receipt, token, now)
    return receipt


def read_receipt(store: Store, receipt_id: str) -> dict[str, Any]:
    """A receipt: `receiptId, kind, state, requestedAt, erasedAt, removed` (counts) and `says` (what happens when).

    Raises:
        NotFoundError: there is none of that id.
    """
    receipt = erasure.receipt_by_id(store, receipt_id)
    if receipt is None:
        hint = "the id is the receiptId that erasing answered with"
        raise NotFoundError("no such receipt", where="receiptId", got=receipt_id, hint=hint)
    return receipt


@asked_again(_AGAIN)
def sweep(shop: Shop, store: Store, *, now: int) -> int:
    """Erase, from the tombstones alone, whatever still stands of anybody erased; finish interrupted erasures.

    Reads every id in store and histories, so it belongs into sync and start-up, not into a request.

    Returns:
        How many subjects something was still found of.

    Raises:
        Unavailable: the disk refuses; the next sweep goes on.
    """
    erased = store.erased()
    found = 0
    if erased:
        customers, visitors = erasure.subjects_under(store, erased)
        for customer_id in customers:
            erasure.forget(store, customer_id, [])
        erasure.forget(store, None, visitors)
        found = len(customers) + len(visitors)
        blank_erased(shop.decision_logs, store, erased)
        found += sum(_in_each_history(shop, lambda folder: sweep_history(folder, store), damaged=0))
    for receipt, token in erasure.receipts_in(store, ERASING):
        receipt |= {"state": ERASED, "erasedAt": format_instant(now)}
        erasure.put_receipt(store, receipt, token, now)
    return found


@asked_again(_AGAIN)
def sweep_here(shop: Shop, store: Store) -> None:
    """Overwrite, in the decision logs and histories of this machine, whom another replica erased.

    Raises:
        Unavailable: the disk refuses; the next sweep goes on.
    """
    drain(shop.decision_logs, store)
    blank_erased(shop.decision_logs, store, store.erased())
    _in_each_history(shop, lambda folder: sweep_history(folder, store), damaged=0)


def sweep_history(folder: Path, store: Store) -> int:
    """Overwrite all erased subjects of one history.

    Returns:
        How many there were.
    """
    subjects = histories.erased_subjects(folder, store.erased())
    histories.overwrite(folder, subjects)
    return len(subjects)


def _new_receipt(now: int) -> dict[str, Any]:
    return {
        "receiptId": secrets.token_hex(16),
        "kind": "erase",
        "state": ERASING,
        "requestedAt": format_instant(now),
        "erasedAt": None,
        "removed": {},
        "says": SAYS,
    }


def _visitors(shop: Shop, customer_id: str) -> set[str]:
    """The visitors whom the histories know to be a customer; one that is damaged keeps nobody from being buried."""
    nobody: list[str] = []
    found = _in_each_history(shop, lambda folder: histories.visitors_of(folder, customer_id), damaged=nobody)
    return {visitor for visitors in found for visitor in visitors}


def _forget_everywhere(shop: Shop, store: Store, customer_id: str | None, visitors: Collection[str]) -> dict[str, int]:
    counts = erasure.forget(store, customer_id, visitors)
    subjects = [visitor_subject(visitor) for visitor in visitors]
    subjects += [] if customer_id is None else [customer_subject(customer_id)]
    overwritten = _in_each_history(shop, lambda folder: histories.overwrite(folder, subjects))
    drain(shop.decision_logs, store)  # what was still in the logs arrives without its subject
    blank_erased(shop.decision_logs, store, store.erased())
    return {
        **counts,
        "historyEvents": max((each.events for each in overwritten), default=0),
        "historyProfiles": max((each.profiles for each in overwritten), default=0),
        "visitors": len(visitors),
    }


def _in_each_history(shop: Shop, action: Callable[[Path], Result], damaged: Result | None = None) -> list[Result]:
    """An action on the live history and the one before; a sync may remove a superseded one while we look at it.

    One that cannot be read any more cannot answer either: where `damaged` is given, it counts as that. Where one
    refuses, the other has its turn all the same.
    """
    results: list[Result] = []
    trouble: OSError | BundleError | None = None
    for folder in histories.folders(shop.histories):
        try:
            results.append(action(folder))
        except (OSError, BundleError) as error:
            unreadable = isinstance(error, FileNotFoundError | BundleError)
            if not unreadable or (damaged is None and folder.exists()):
                trouble = trouble or error
            results += [] if damaged is None else [damaged]
    if trouble is not None:
        raise trouble
    return results


def _words(store: Store, customer_id: str | None, visitors: Collection[str]) -> set[str]:
    """What they told in their own words, and where their parcels are, as it stands in the store's bytes."""
    rows = [row for visitor in visitors for row in store.visitor_rows(visitor)]
    rows += [] if customer_id is None else store.customer_rows(customer_id)
    told = [each for row in rows for fields in (decode(row), decode(row).get(GUEST) or {}) for each in _texts(fields)]
    orders = () if customer_id is None else store.orders_of(customer_id)
    steps = (step for line in orders for step in line.steps)
    told += [step.tracking_url for step in steps if step.tracking_url is not None]
    return {orjson.dumps(text).decode()[1:-1] for text in told}


def _texts(fields: Mapping[str, Any]) -> Iterator[str]:
    for name, least in _IN_THEIR_WORDS.items():
        waiting = [fields.get(name)]
        while waiting:
            value = waiting.pop()
            if isinstance(value, str) and len(value.encode()) >= least:
                yield value
            elif isinstance(value, dict | list):
                waiting += value.values() if isinstance(value, dict) else value
