"""How the key file is changed: a key made, a key revoked, the keys told. A running service takes it up by itself."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from features.errors import ConfigError, NotFoundError
from features.files import exclusive, write_atomically
from features.moments import DAY, SECOND, format_instant
from serving.keys import HASH, KeyEntry, checked, digest_of, read_keys

PREFIX: Final = "kk_"
"""Keys of ours begin so, for programs that look for secrets in places where none should be."""


def asked(name: str, scopes: str, *, days: int, rate: float, burst: int, body: int, now: float) -> KeyEntry:
    """What a new key shall be able to do, as a command line says it.

    Args:
        name: what people call it.
        scopes: with + between.
        days: until it ends; 0: never.
        rate, burst, body: as `KeyEntry`.
        now: seconds since 1970.

    Raises:
        ConfigError: a value out of range, or no name.
    """
    if not name.strip():
        raise ConfigError("a key needs a name", where="NAME", got=name, hint="say who will use it")
    said = {"name": name.strip(), "scopes": scopes.split("+"), "rate": rate, "burst": burst, "body": body}
    if days:
        said["expires"] = format_instant(int(now) * SECOND + days * DAY)
    try:
        return msgspec.convert(said, KeyEntry)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"no key can be so: {error}", where=f"key {name!r}", hint="kokyaku keys make --help"
        ) from None


def new_key(path: Path, entry: KeyEntry) -> str:
    """Add a key to the file, which is made where it is missing; keys that stood in plain text become hashes.

    Returns:
        The key, which is kept nowhere.

    Raises:
        ConfigError: the file cannot be used, the name is taken, or the entry makes no sense.
        DataError: somebody else is changing the file.
    """
    key = PREFIX + secrets.token_urlsafe(32)
    created = format_instant(int(time.time()) * SECOND)
    entry = msgspec.structs.replace(entry, key="", hash=HASH + digest_of(key).hex(), created=created)
    with _changing(path):
        entries = read_keys(path) if path.exists() else ()
        if any(each.name == entry.name for each in entries):
            hint = "choose another name, or revoke that key first"
            raise ConfigError("there is a key of this name", where=str(path), got=entry.name, hint=hint)
        _write(path, (*entries, entry))
    return key


def revoke_key(path: Path, name: str) -> KeyEntry:
    """Take a key out of the file; a running service refuses it within a second.

    Raises:
        NotFoundError: there is none of that name.
        ConfigError: the file cannot be used.
        DataError: somebody else is changing the file.
    """
    read_keys(path)  # where there is none, no folder is made for it
    with _changing(path):
        entries = read_keys(path)
        gone = next((entry for number, entry in enumerate(entries, 1) if name in (entry.name, f"#{number}")), None)
        if gone is None:
            raise NotFoundError("no key of this name", where=str(path), got=name, hint="kokyaku keys list")
        _write(path, tuple(entry for entry in entries if entry is not gone))
    return gone


def told(entries: tuple[KeyEntry, ...], now: float) -> list[dict[str, str]]:
    """A row for each key, with nothing that helps to guess one.

    Args:
        entries: the keys of a file.
        now: seconds since 1970.
    """
    return [
        {
            "name": entry.name or f"#{number}",
            "scopes": "+".join(entry.scopes),
            "created": entry.created,
            "expires": f"{entry.expires} (over)" if entry.ends <= now else entry.expires,
            "limits": ", ".join(_limits(entry)),
        }
        for number, entry in enumerate(entries, 1)
    ]


def _limits(entry: KeyEntry) -> list[str]:
    limits = [f"{entry.rate:g} a second"] if entry.rate else []
    limits += [f"{entry.burst} at once"] if entry.burst else []
    return limits + ([f"{entry.body} bytes a body"] if entry.body else [])


@contextmanager
def _changing(path: Path) -> Iterator[None]:
    try:
        with exclusive(path.with_name(f".{path.name}.lock"), busy="somebody else is changing the key file"):
            yield
    except OSError as error:
        hint = "name another with --file, or give yourself the right to write there"
        raise ConfigError("the key file cannot be written", where=str(path), got=error.strerror, hint=hint) from None


def _write(path: Path, entries: tuple[KeyEntry, ...]) -> None:
    hashed = tuple(
        msgspec.structs.replace(entry, key="", hash=HASH + entry.digest.hex()) if entry.key else entry
        for entry in checked(entries, str(path))
    )
    write_atomically(path, msgspec.json.format(msgspec.json.encode(hashed), indent=2) + b"\n", mode=0o600)
