"""API keys: what each may do, and the file that they stand in, which may change while the service runs.

A key is 256 random bits, so its SHA-256 is kept and no slow password hash: nobody can try 2^256 keys, and a slow hash
would cost every request what it costs an attacker. The file holds hashes only; whoever reads it learns no key.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from features.errors import ConfigError, DataError
from features.files import read_private
from features.moments import SECOND, parse_instant

SCOPES: Final = ("read", "events", "admin", "metrics", "browser")
LOOK_SECONDS: Final = 1.0
HASH: Final = "sha256:"
log = logging.getLogger("kokyaku")


class KeyEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, dict=True):
    """One key of the key file: `hash` as `kokyaku keys make` writes it, or the key itself as older files have it.

    Args:
        name: what people call it.
        created, expires: ISO times; from `expires` on the key is worth nothing.
        rate: requests a second, on the average; 0: no limit (a browser key: that of the service, a client address).
        burst: requests at once; 0: one second's worth.
        body: bytes of a body, at most; 0: the limit of the service.
    """

    key: str = ""
    scopes: tuple[str, ...] = ()
    hash: str = ""
    name: str = ""
    created: str = ""
    expires: str = ""
    rate: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    burst: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    body: Annotated[int, Meta(ge=0, le=1 << 24)] = 0

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the key."""
        return bytes.fromhex(self.hash.removeprefix(HASH)) if self.hash else digest_of(self.key)

    @cached_property
    def ends(self) -> float:
        """Seconds since 1970 from which on it is worth nothing."""
        return parse_instant(self.expires, where="expires") / SECOND if self.expires else float("inf")


@lru_cache(maxsize=128)  # a client sends the same key each time; what was sent stays in this process
def digest_of(key: str) -> bytes:
    """What is compared instead of a key: 32 bytes, whatever its length."""
    return hashlib.sha256(key.encode()).digest()


def checked(entries: tuple[KeyEntry, ...], where: str) -> tuple[KeyEntry, ...]:
    """The entries, if each makes sense.

    Raises:
        ConfigError: an unknown scope, neither key nor hash, a time that is none, a browser key that may more.
    """
    for number, entry in enumerate(entries, 1):
        at = f"{where}, key {entry.name if entry.name.isprintable() and entry.name else number}"
        if unknown := set(entry.scopes) - set(SCOPES):
            raise ConfigError("unknown scope", where=at, got=", ".join(unknown), hint=f"scopes: {', '.join(SCOPES)}")
        if not entry.scopes:
            raise ConfigError("a key without scopes", where=at, hint=f"scopes: {', '.join(SCOPES)}")
        if "browser" in entry.scopes and len(entry.scopes) > 1:
            hint = "everybody can read it in the page: give it no other scope"
            raise ConfigError("a browser key that may do more", where=at, got="+".join(entry.scopes), hint=hint)
        if not entry.name.isprintable():
            raise ConfigError("a name that nobody can read", where=at, hint="leave out line ends and the like")
        if bool(entry.key) == bool(entry.hash):
            raise ConfigError("give either hash or key", where=at, hint="kokyaku keys make writes it")
        try:
            if len(entry.digest) != hashlib.sha256().digest_size:
                raise ValueError
            _ = entry.ends
        except ValueError:
            raise ConfigError("not a SHA-256", where=at, hint=f"{HASH} and 64 hex digits") from None
        except DataError as error:
            raise ConfigError(error.what, where=at, hint=error.hint) from None
    return entries


def read_keys(path: Path) -> tuple[KeyEntry, ...]:
    """The keys of a file.

    Raises:
        ConfigError: it is missing, others can read it, it is no key file, or an entry makes no sense.
    """
    raw = read_private(path, "key file", hint="kokyaku keys make")
    try:
        entries = msgspec.json.decode(raw, type=tuple[KeyEntry, ...])
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as error:
        hint = "write it with kokyaku keys make"
        raise ConfigError(f"not a key file: {error}", where=str(path), hint=hint) from None
    return checked(entries, str(path))


class KeyRing:
    """The keys of a file, which may be changed while the service runs.

    Its stamp is looked at once a second at most. A changed file that cannot be taken up is named in the log, once,
    and the keys before it go on: a slip of the hand locks nobody out, and a file that others can read opens nothing.

    Raises:
        ConfigError: at the start, as `read_keys`.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.path, self._clock = path, clock
        self._stamp = _stamp(path)  # before the file is read: a change in between is seen at the next look
        self._keys = read_keys(path)
        self._next = clock() + LOOK_SECONDS

    def current(self) -> tuple[KeyEntry, ...]:
        """The keys that are in force."""
        if self._clock() >= self._next:
            self._next = self._clock() + LOOK_SECONDS
            stamp = _stamp(self.path)
            if stamp != self._stamp:
                self._stamp = stamp
                self._take_up()
        return self._keys

    def _take_up(self) -> None:
        try:
            self._keys = read_keys(self.path)
        except ConfigError as error:
            log.error("the new key file is refused, the %d keys before it go on: %s", len(self._keys), error.line())
        else:
            log.info("the key file was taken up: %d keys", len(self._keys))


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
