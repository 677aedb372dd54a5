"""What the service knew at a past moment: events, sign-ins and changed items up to it, and nothing later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from features import columns as c
from features.build import histories_as_of
from features.dataset import Dataset
from features.history import Histories, History, customer_subject, visitor_subject
from serving.links import Timeline
from serving.subjects import outside, within
from serving.sync_rows import SOURCE

Change = tuple[int, str, Mapping[str, Any]]
"""The moment from which it is in force, the item, its fields as on the wire."""


@dataclass(frozen=True, slots=True)
class Pasts:
    """A shop's past, to be looked at as of any moment.

    Args:
        histories: the events of each customer and visitor as they were sent, no visitor joined to a customer.
        signs: visitor -> (customer, or None for a sign-out, moment) of all his sign-ins and sign-outs.
        visitors: customer -> the visitors that ever signed in as this customer.
        changes: of items, as the shop sent them to the service, oldest first.
    """

    histories: Histories
    signs: Mapping[str, tuple[tuple[str | None, int], ...]]
    visitors: Mapping[str, tuple[str, ...]]
    changes: tuple[Change, ...]

    def of(self, customer: str | None, visitor: str | None, now: int) -> History:
        """What one subject had done and the service had received before a moment, in the rows of `histories.items`.

        The rule is that of `serving.subjects`, with the sign-ins of that moment.

        Args:
            customer: the customer, where known; then the visitor adds nothing beyond his sign-ins.
            visitor: the visitor of an anonymous request.
            now: microseconds.
        """
        past = History.empty()
        if customer is not None:
            past = self.histories.of(customer_subject(customer))
            for each in self.visitors.get(customer, ()):
                claims = [claim for claim in self._timeline(each, now).claims(0) if claim.customer_id == customer]
                past = past.joined(within(self.histories.of(visitor_subject(each)), claims))
        elif visitor is not None:
            past = outside(self.histories.of(visitor_subject(visitor)), self._timeline(visitor, now).claims(0))
        return past.take((past.time < now) & (past.recorded < now))

    def _timeline(self, visitor: str, now: int) -> Timeline:
        signs = self.signs.get(visitor, ())
        return Timeline(visitor, [(1, customer, at) for customer, at in signs if at < now])


def read_pasts(dataset: Dataset) -> Pasts:
    """Read a dataset's past.

    Args:
        dataset: with events; nothing is written.
    """
    histories = histories_as_of(dataset, linked=False)
    signs: dict[str, list[tuple[str | None, int]]] = {}
    visitors: dict[str, set[str]] = {}
    with dataset.connect() as duck:
        ins = f"SELECT {c.VISITOR_ID}, {c.CUSTOMER_ID}, epoch_us({c.LINKED_AT}) FROM identities"
        outs = f"""SELECT {c.VISITOR_ID}, epoch_us({c.OCCURRED_AT}) FROM events
                   WHERE {c.TYPE} = 'sign_out' AND {c.VISITOR_ID} IS NOT NULL AND NOT {c.WITHDRAWN}"""
        for visitor, customer, at in duck.execute(ins).fetchall():
            signs.setdefault(visitor, []).append((customer, at))
            visitors.setdefault(customer, set()).add(visitor)
        for visitor, at in duck.execute(outs).fetchall():
            signs.setdefault(visitor, []).append((None, at))
        found = duck.execute(f"""
            SELECT epoch_us({c.VALID_FROM}) AS "at", {c.ITEM_ID} AS item, {c.PRICE} AS price, in_stock,
                   available_until IS NOT NULL AND available_until <= {c.VALID_FROM} AS gone
            FROM items WHERE {c.SOURCE} = '{SOURCE}' ORDER BY "at", item""").fetchall()
    return Pasts(
        histories, {visitor: tuple(each) for visitor, each in signs.items()},
        {customer: tuple(sorted(each)) for customer, each in visitors.items()}, tuple(_changes(found)),
    )  # fmt: skip


def _changes(rows: list[Any]) -> Iterator[Change]:
    for at, item, price, in_stock, gone in rows:
        yield at, item, {"price": price, "inStock": in_stock, "withdraw": gone}
