"""The shelf: what the shop changed since the bundle was trained (price, stock, withdrawal), item by item."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from serving.bundle import Bundle

AWAY = {"catalogue": 1, "withdrawn": 2, "stopped": 4, "in_stock": 16}
"""Bits of `Shelf.away`, by the places of their reasons in `serving.filters.COMMON`."""


class Shelf:
    """Live state of a bundle's items; changes are in force with the next request.

    Attributes:
        bundle: what was learned.
        withdrawn, in_stock, stopped: bool[n_items].
        away: uint8[n_items], these and what is not in the catalogue in one byte: a bit for each of `AWAY`.
        price: float32[n_items], NaN where unknown.
        lead_days: float32[n_items], days from an order to its delivery, NaN where unknown.
        texts: item row -> live title and the like.
        unlisted: live items that the bundle does not know yet.
        kept: what was worked out of this state and of nothing personal; a change begins another one.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        count = len(bundle.items)
        self.withdrawn = np.zeros(count, bool)
        self.stopped = np.zeros(count, bool)
        self.in_stock: npt.NDArray[np.bool_] = np.array(bundle.arrays.get("item.in_stock", np.ones(count, bool)), bool)
        listed = bundle.arrays.get("item.price", bundle.shared.price)
        self.price: npt.NDArray[np.float32] = np.array(listed, np.float32)
        unknown = np.full(count, np.nan, np.float32)
        self.lead_days = cast("npt.NDArray[np.float32]", bundle.arrays.get("item.lead_days", unknown))
        self.texts: dict[int, Mapping[str, Any]] = {}
        self.unlisted: dict[str, Mapping[str, Any]] = {}
        self.away = self._sum(slice(None))
        self.kept: dict[Hashable, Any] = {}

    def apply(self, changes: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Take over upserts (item id, its fields as on the wire), oldest first."""
        changed = False
        for item_id, fields in changes:
            changed = True
            row = self.bundle.items.find(item_id)
            if row is None:
                self.unlisted[item_id] = {**self.unlisted.get(item_id, {}), **fields}
                continue
            if fields.get("withdraw") is not None:
                self.withdrawn[row] = bool(fields["withdraw"])
            if fields.get("inStock") is not None:
                self.in_stock[row] = bool(fields["inStock"])
            if fields.get("price") is not None:
                self.price[row] = np.float32(fields["price"])
            self.texts[row] = {**self.texts.get(row, {}), **fields}
            self.away[row] = self._sum(np.array([row]))[0]
        if changed:
            # Last, and a new one: who worked on while this changed keeps what was found in the old one, with that.
            self.kept = {}

    def stop(self, item_ids: Collection[str]) -> None:
        """From now on these items are stopped, and no others."""
        stopped = np.zeros(len(self.bundle.items), bool)
        rows = self.bundle.items.rows_of(list(item_ids))
        stopped[rows[rows >= 0]] = True
        self.stopped = stopped
        self.away = self._sum(slice(None))
        self.kept = {}

    def _sum(self, rows: npt.NDArray[np.intp] | slice) -> npt.NDArray[np.uint8]:
        """`away` of some items: a request that looks at hundreds waits for one line of memory each, not for four."""
        gone = (
            ~self.bundle.catalogue[rows], self.withdrawn[rows], self.stopped[rows], ~self.in_stock[rows],
        )  # fmt: skip
        found = np.zeros(len(gone[0]), np.uint8)
        for bit, which in zip(AWAY.values(), gone, strict=True):
            found[which] |= bit
        return found

    def knows(self, item_id: str) -> bool:
        """Whether the item stands in the bundle or was upserted since."""
        return item_id in self.unlisted or item_id in self.bundle.items

    def price_of(self, row: int) -> float | None:
        """The price now; None where unknown."""
        return self.prices_of(np.array([row], np.int32))[0]

    def prices_of(self, rows: npt.NDArray[np.int32]) -> list[float | None]:
        """`price_of` of several items.

        Ten thousand times a float32 is exact as a double, so all at once they get the digits that `round` gives each.
        """
        told = self.price[rows].astype(np.float64).round(4).tolist()
        return [None if price != price else price for price in told]
