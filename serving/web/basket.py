"""The basket of a visit: lines in a signed cookie, so it needs no table and no sign-in."""

from __future__ import annotations

from typing import Final

import msgspec

from features.errors import RequestError

MAX_QUANTITY: Final = 99
MAX_BYTES: Final = 2600
"""Of the encoded basket: sealed it stays below the 4096 bytes that browsers allow a cookie."""


class Line(msgspec.Struct, frozen=True, array_like=True):
    """One product in the basket and the decision that led to it (empty where none did)."""

    item_id: str
    quantity: int
    decision_id: str = ""


class Basket(msgspec.Struct, frozen=True, array_like=True):
    """Lines in the order they were added; one line a product."""

    lines: tuple[Line, ...] = ()

    def __len__(self) -> int:
        """Pieces, not lines."""
        return sum(line.quantity for line in self.lines)

    def added(self, line: Line) -> Basket:
        """With one more line, or more of a line that is there.

        Raises:
            RequestError: it would no longer fit into its cookie.
        """
        old = next((old for old in self.lines if old.item_id == line.item_id), None)
        if old is None:
            basket = Basket((*self.lines, line))
        else:
            more = min(old.quantity + line.quantity, MAX_QUANTITY)
            grown = Line(old.item_id, more, line.decision_id or old.decision_id)
            basket = Basket(tuple(grown if known is old else known for known in self.lines))
        if len(basket.encode()) > MAX_BYTES:
            raise RequestError("the basket is full", where="basket", got=len(self.lines), hint="buy or remove a line")
        return basket

    def without(self, item_id: str) -> Basket:
        """Without the line of a product."""
        return Basket(tuple(line for line in self.lines if line.item_id != item_id))

    def line(self, item_id: str) -> Line | None:
        """The line of a product, if it is in the basket."""
        return next((line for line in self.lines if line.item_id == item_id), None)

    def encode(self) -> bytes:
        """As the cookie's payload."""
        return msgspec.json.encode(self)


def decode_basket(payload: bytes | None) -> Basket:
    """The basket of a cookie; none, or one of another version, is empty."""
    try:
        return msgspec.json.decode(payload or b"[]", type=Basket)
    except msgspec.DecodeError:
        return Basket()
