"""Signatures of artefacts: where a signing key is configured, only what was published with it is taken up.

A checksum finds damage; it does not find somebody who can write into the folder of bundles, as he writes the checksums
too. The signature covers the manifest, and the manifest the checksum of each file. `KOKYAKU_SIGNING_KEY_FILE` names a
private file with a key a line: the first one signs, each of them is accepted, so that a key can be changed.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from features.errors import BundleError, ConfigError
from features.files import read_private, write_atomically

VARIABLE: Final = "KOKYAKU_SIGNING_KEY_FILE"
SIGNATURE: Final = "manifest.sig"
SHORTEST: Final = 32
"""Characters of a key: 128 bits even where it is written in hexadecimal digits."""
_PREFIX: Final = "hmac-sha256:"
MAKE: Final = "openssl rand -hex 32 > FILE && chmod 600 FILE"


def signing_keys(environ: Mapping[str, str]) -> tuple[bytes, ...]:
    """The keys, the one that signs first; empty where none is configured.

    Raises:
        ConfigError: the file is missing, others can read it, it holds no key or one that is too short.
    """
    name = environ.get(VARIABLE, "")
    if not name:
        return ()
    lines = read_private(Path(name), "signing key", hint=MAKE).split()
    if not lines or any(len(line) < SHORTEST for line in lines):
        hint = f"a key a line, each of {SHORTEST} characters or more: {MAKE}"
        raise ConfigError("no signing key, or one that is too short", where=name, hint=hint)
    return tuple(lines)


def sign(folder: Path, manifest: bytes, environ: Mapping[str, str] = os.environ) -> bool:
    """Put the signature of a manifest beside it, if a key is configured.

    Returns:
        Whether there is one now.

    Raises:
        ConfigError: as `signing_keys`.
    """
    keys = signing_keys(environ)
    if keys:
        write_atomically(folder / SIGNATURE, f"{_PREFIX}{_mac(keys[0], manifest)}\n".encode())
    return bool(keys)


def check(folder: Path, manifest: bytes, environ: Mapping[str, str] = os.environ) -> None:
    """Refuse a manifest that nobody who holds a key has signed; without a key everything passes.

    Raises:
        BundleError: there is no signature, or another one.
        ConfigError: as `signing_keys`.
    """
    keys = signing_keys(environ)
    if not keys:
        return
    path = folder / SIGNATURE
    hint = "publish it again with the signing key, or look through it and sign it: kokyaku sign"
    try:
        told = path.read_text("ascii").strip()
    except FileNotFoundError:
        raise BundleError("it is not signed", where=str(folder), hint=hint) from None
    except (OSError, UnicodeDecodeError):
        told = ""
    expected = [f"{_PREFIX}{_mac(key, manifest)}" for key in keys]
    if not any(hmac.compare_digest(each, told) for each in expected):
        raise BundleError("its signature is not of our key", where=str(path), hint=hint)


def _mac(key: bytes, manifest: bytes) -> str:
    """Of this purpose only: a key that signs other things too is not lent to them."""
    return hmac.digest(key, b"kokyaku.artifact\n" + manifest, "sha256").hex()
