"""Who may call, and how often: keys with scopes, unless this is a developer's machine.

Keys are required unless `KOKYAKU_DEV=1`, which `kokyaku demo` sets and which answers only requests that come to and
from loopback names, so that a page on the internet cannot reach a developer's service through the browser.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from features.errors import ConfigError, KokyakuError
from serving.clock import machine_time
from serving.keys import KeyEntry, KeyRing, checked, digest_of
from serving.limits import MOST, Buckets, Throttle, network

__all__ = ["Access", "AccessError", "KeyEntry", "ScopeError"]

_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]", "testserver.localhost")
_DEVELOPER: Final = KeyEntry("developer", ("admin",))
WRONG_KEYS: Final = 20
"""Wrong keys of an address in a minute before it has to wait."""
BROWSER_RATE, BROWSER_BURST = 10.0, 60
"""A browser key is everybody's, so it always has a limit, for each client address."""


class AccessError(KokyakuError):
    """Not allowed: no key, a wrong key, or a key without the scope."""

    code = "unauthorized"
    status = 401


class ScopeError(AccessError):
    """The key is known but may not do this."""

    code = "forbidden"
    status = 403


class Access:
    """The rule of this process.

    Args:
        dev: answer without keys, to loopback only.
        keys: that hold as long as the process, as the environment gives them.
        ring: those of a file, which may change.
        clock: seconds since 1970, for keys that expire.
    """

    def __init__(
        self,
        dev: bool,
        keys: tuple[KeyEntry, ...] = (),
        ring: KeyRing | None = None,
        clock: Callable[[], float] = machine_time,
    ) -> None:
        self.dev, self._fixed, self._ring, self._clock = dev, keys, ring, clock
        self._wrong, self._buckets = Throttle(most=WRONG_KEYS), Buckets()
        self._proven: OrderedDict[tuple[str, bytes], None] = OrderedDict()

    @property
    def keys(self) -> tuple[KeyEntry, ...]:
        """The keys that are in force now."""
        return self._fixed if self._ring is None else self._fixed + self._ring.current()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Access:
        """`KOKYAKU_DEV=1`, or `KOKYAKU_KEYS=scope+scope:key,...`, or `KOKYAKU_KEY_FILE` (JSON, mode 600), or both.

        Raises:
            ConfigError: neither development nor any key, an unknown scope, or a key file that others can read.
        """
        if environ.get("KOKYAKU_DEV") == "1":
            return cls(dev=True)
        ring = KeyRing(Path(environ["KOKYAKU_KEY_FILE"])) if environ.get("KOKYAKU_KEY_FILE") else None
        parts = [part for part in environ.get("KOKYAKU_KEYS", "").split(",") if part.strip()]
        access = cls(dev=False, keys=checked(tuple(_from_text(part) for part in parts), "KOKYAKU_KEYS"), ring=ring)
        if not access.keys:
            hint = "make one (kokyaku keys make) and name its file in KOKYAKU_KEY_FILE; or --dev on your own machine"
            raise ConfigError("no API key is configured", where="environment", hint=hint)
        return access

    def check(self, scope: str, headers: Mapping[str, str]) -> KeyEntry:
        """Let the request pass or refuse it.

        Returns:
            The key that it came with.

        Raises:
            AccessError: no key or a wrong one; in development a Host or Origin that is not loopback.
            ScopeError: the key lacks the scope.
        """
        if self.dev:
            check_loopback(headers)
            return _DEVELOPER
        given = _given(headers)
        return self._allowed(scope, self._found(given, digest_of(given)))

    def admit(self, scope: str, headers: Mapping[str, str], address: str) -> KeyEntry:
        """`check`, with an eye on how often: what every request with a key goes through.

        An address that sent many wrong keys has to wait, but for keys that it was seen to hold before, and for those
        that we made: behind a common proxy one client's mistake shuts nobody else out.

        Args:
            scope: that the key needs.
            headers: of the request.
            address: of the client.

        Raises:
            AccessError, ScopeError: as `check`.
            TooManyError: too many wrong keys from there, or more requests than the key may make.
        """
        if self.dev:
            return self.check(scope, headers)
        given = _given(headers)
        digest = digest_of(given)
        known = (network(address), digest)
        if self._wrong.blocked(address) and known not in self._proven and not self._made_by_us(digest):
            self._wrong.check(address)
        try:
            key = self._found(given, digest)
        except AccessError:
            if given:
                self._wrong.failed(address)
            raise
        self._remember(known)
        self._allowed(scope, key)
        if "browser" in key.scopes:
            rate, burst = (key.rate, key.burst) if key.rate else (BROWSER_RATE, BROWSER_BURST)
            self._buckets.take(known, rate, burst)
        elif key.rate:
            self._buckets.take(key.digest, key.rate, key.burst)
        return key

    def _found(self, given: str, digest: bytes) -> KeyEntry:
        """The entry of a key. All are looked at, by their digests: neither length nor number nor place shows."""
        found = None
        for entry in self.keys:
            if hmac.compare_digest(entry.digest, digest):
                found = entry
        if not given:
            raise AccessError("an API key is needed", where="X-Api-Key", hint="send it in the header X-Api-Key")
        if found is None:
            raise AccessError("this API key is not known", where="X-Api-Key")
        if found.expires and found.ends <= self._clock():
            raise AccessError("this API key has expired", where="X-Api-Key", hint=f"it ended {found.expires}")
        return found

    def _made_by_us(self, digest: bytes) -> bool:
        """Whether it is one of 256 random bits: nobody guesses such a key, however often it is tried."""
        made = [hmac.compare_digest(entry.digest, digest) for entry in self.keys if entry.created]
        return any(made)

    def _allowed(self, scope: str, key: KeyEntry) -> KeyEntry:
        if scope not in key.scopes and "admin" not in key.scopes:
            raise ScopeError("this API key may not do that", where="X-Api-Key", hint=f"it needs the scope {scope}")
        return key

    def _remember(self, known: tuple[str, bytes]) -> None:
        if known not in self._proven:
            self._proven[known] = None
            if len(self._proven) > MOST:
                self._proven.popitem(last=False)


def check_loopback(headers: Mapping[str, str]) -> None:
    """Refuse what does not come to and from a loopback name.

    Raises:
        ScopeError: Host or Origin is another.
    """
    host = headers.get("host", "")
    if _name(host) not in _LOOPBACK:
        raise ScopeError("in development only loopback is answered", where="Host", got=host)
    origin = headers.get("origin")
    if origin and _name(origin.split("//")[-1]) not in _LOOPBACK:
        raise ScopeError("in development only loopback is answered", where="Origin", got=origin)


def _name(host: str) -> str:
    return host.rsplit(":", 1)[0] if not host.endswith("]") else host


def _given(headers: Mapping[str, str]) -> str:
    return headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ").strip()


def _from_text(part: str) -> KeyEntry:
    scopes, _, key = part.strip().partition(":")
    if not key:
        raise ConfigError("a key without scopes", where="KOKYAKU_KEYS", hint="write read+events:<key>")
    return KeyEntry(key, tuple(scopes.split("+")))
