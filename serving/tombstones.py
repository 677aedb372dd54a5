"""Tombstones: who was erased, without saying who.

A tombstone is a keyed hash of an id; only this shop's secret can tell whether an id is under one. It stays for good,
so that a late event or a re-import of old files does not bring an erased customer back.

A row belongs to an erased subject when its customer is erased, or when it names no customer and its visitor is
erased. Where a shared device's visitor was erased with one customer, the rows of its other customers stay theirs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from features.history import customer_subject, visitor_subject
from features.shop import Shop

TOKEN_BYTES = 16


def token_of(secret: bytes, subject: str) -> bytes:
    """The tombstone of a subject: BLAKE2b, keyed with the shop's secret, 16 bytes."""
    raw = subject.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(raw, digest_size=TOKEN_BYTES, key=secret, person=b"kokyaku.erased").digest()


class Erased:
    """The set of all tombstones of a shop.

    Args:
        secret: the shop's secret.
        tokens: what `token_of` gave for each erased subject.
    """

    __slots__ = ("_secret", "_tokens")

    def __init__(self, secret: bytes, tokens: Iterable[bytes] = ()) -> None:
        self._secret = secret
        self._tokens = frozenset(tokens)

    def and_also(self, tokens: Iterable[bytes]) -> Erased:
        """These and further ones."""
        both = Erased(self._secret)
        both._tokens = self._tokens.union(tokens)
        return both

    def __len__(self) -> int:
        return len(self._tokens)

    def __bool__(self) -> bool:
        return bool(self._tokens)

    def subject(self, subject: str) -> bool:
        """Whether this subject (`c:...` or `v:...`) was erased."""
        return bool(self._tokens) and token_of(self._secret, subject) in self._tokens

    def customer(self, customer_id: str) -> bool:
        """Whether this customer was erased."""
        return self.subject(customer_subject(customer_id))

    def visitor(self, visitor_id: str) -> bool:
        """Whether this visitor was erased."""
        return self.subject(visitor_subject(visitor_id))

    def anyone(self, text: str) -> bool:
        """Whether a text is the id of anybody who was erased."""
        return self.customer(text) or self.visitor(text)

    def row(self, customer_id: str | None, visitor_id: str | None) -> bool:
        """Whether a row of this customer and visitor belongs to an erased subject."""
        if not self._tokens:
            return False
        if customer_id is not None:
            return self.customer(customer_id)
        return visitor_id is not None and self.visitor(visitor_id)


def erased_of(shop: Shop) -> Erased:
    """All tombstones of a shop, for imports and exports that must honour them; none where nothing was served yet."""
    from serving.store import Store

    if not Store.exists(shop):
        return Erased(b"")
    store = Store.of(shop)
    try:
        return store.erased()
    finally:
        store.close()


def is_erased(shop: Shop, customer_id: str) -> bool:
    """Whether a customer of the shop was erased; for many, ask `erased_of(shop)` once."""
    return erased_of(shop).customer(customer_id)
