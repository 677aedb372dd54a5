"""Small texts that only this shop can have written: cookies, tokens of forms, of visitors and of customers.

Every purpose has a key of its own, derived from the shop's secret, so nothing sealed for one is taken for another.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from functools import cached_property
from typing import Final

import msgspec

from features.errors import ConfigError

BROWSER_VISITOR: Final = "browser-visitor"
"""Purpose of a token with which a page writes events of one visitor."""
ENTRY: Final = "entry"
"""Purpose of a token that opens the storefront as one customer."""


class Signer:
    """Seals small texts with keys of one shop, a key a purpose.

    Args:
        secret: gives at least 16 bytes that only this shop's processes know; asked for once, at the first request.
    """

    def __init__(self, secret: Callable[[], bytes]) -> None:
        self._source = secret

    @cached_property
    def _secret(self) -> bytes:
        secret = self._source()
        if len(secret) < 16:
            raise ConfigError("the shop's secret is too short", where="secret", got=len(secret), hint="16 bytes")
        return secret

    @cached_property
    def _prefix(self) -> str:
        return self._mac("cookie-names", b"").hex()[:6]

    def cookie(self, purpose: str) -> str:
        """Name of a cookie, different in every shop."""
        return f"kokyaku_{self._prefix}_{purpose}"

    def seal(self, purpose: str, payload: bytes) -> str:
        """The payload and its signature, in characters that cookies may hold."""
        return f"{_encode(payload)}.{_encode(self._mac(purpose, payload))}"

    def open(self, purpose: str, sealed: str | None) -> bytes | None:
        """The payload, or None when it is missing or not ours."""
        payload, _, mac = (sealed or "").partition(".")
        try:
            raw, claimed = _decode(payload), _decode(mac)
        except (binascii.Error, ValueError):  # not base64, or not ASCII
            return None
        return raw if hmac.compare_digest(claimed, self._mac(purpose, raw)) else None

    def lend(self, purpose: str, text: str, ends: int) -> str:
        """A text that is ours until `ends`, in seconds since 1970."""
        return self.seal(purpose, msgspec.json.encode((ends, text)))

    def lent(self, purpose: str, sealed: str | None, now: float) -> tuple[str, int] | None:
        """The text and when it ends, or None when it is missing, not ours, or over."""
        raw = self.open(purpose, sealed)
        if raw is None:
            return None
        try:
            ends, text = msgspec.json.decode(raw, type=tuple[int, str])
        except msgspec.DecodeError:  # ours, but of another version
            return None
        return (text, ends) if now < ends else None

    def token(self, visitor: str) -> str:
        """The token that forms of this visitor carry."""
        return _encode(self._mac("form", visitor.encode()))

    def _mac(self, purpose: str, payload: bytes) -> bytes:
        return hmac.digest(self._secret, f"web.{purpose}:".encode() + payload, hashlib.sha256)[:16]


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
