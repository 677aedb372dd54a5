"""Who may call: keys with scopes, unless this is a developer's machine.

Keys are required unless `KOKYAKU_DEV=1`, which `kokyaku demo` sets and which answers only requests that come to and
from loopback names, so that a page on the internet cannot reach a developer's service through the browser.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from features.errors import ConfigError, KokyakuError

SCOPES = ("read", "events", "admin")
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "testserver.localhost")


class AccessError(KokyakuError):
    """Not allowed: no key, a wrong key, or a key without the scope."""

    code = "unauthorized"
    status = 401


class ScopeError(AccessError):
    """The key is known but may not do this."""

    code = "forbidden"
    status = 403


class KeyEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One key of the key file."""

    key: str
    scopes: tuple[str, ...]


@dataclass(frozen=True)
class Access:
    """The rule of this process.

    Args:
        dev: answer without keys, to loopback only.
        keys: what each key may do.
    """

    dev: bool
    keys: tuple[KeyEntry, ...] = ()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Access:
        """`KOKYAKU_DEV=1`, or `KOKYAKU_KEYS=scope+scope:key,...`, or `KOKYAKU_KEY_FILE` (JSON, mode 600).

        Raises:
            ConfigError: neither development nor any key, an unknown scope, or a key file that others can read.
        """
        if environ.get("KOKYAKU_DEV") == "1":
            return cls(dev=True)
        keys = _from_file(environ["KOKYAKU_KEY_FILE"]) if environ.get("KOKYAKU_KEY_FILE") else ()
        keys += tuple(_from_text(part) for part in environ.get("KOKYAKU_KEYS", "").split(",") if part.strip())
        if not keys:
            hint = "set KOKYAKU_KEYS=read+events:<key>,admin:<key>, or KOKYAKU_DEV=1 on your own machine"
            raise ConfigError("no API key is configured", where="environment", hint=hint)
        for entry in keys:
            if unknown := set(entry.scopes) - set(SCOPES):
                raise ConfigError("unknown scope", got=", ".join(unknown), hint=f"scopes: {', '.join(SCOPES)}")
        return cls(dev=False, keys=keys)

    def check(self, scope: str, headers: Mapping[str, str]) -> None:
        """Let the request pass or refuse it.

        Raises:
            AccessError: no key or a wrong one; in development a Host or Origin that is not loopback.
            ScopeError: the key lacks the scope.
        """
        if self.dev:
            _check_loopback(headers)
            return
        given = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ").strip()
        if not given:
            raise AccessError("an API key is needed", where="X-Api-Key", hint="send it in the header X-Api-Key")
        found = [entry for entry in self.keys if hmac.compare_digest(entry.key.encode(), given.encode())]
        if not found:
            raise AccessError("this API key is not known", where="X-Api-Key")
        if scope not in found[0].scopes and "admin" not in found[0].scopes:
            raise ScopeError("this API key may not do that", where="X-Api-Key", hint=f"it needs the scope {scope}")


def _check_loopback(headers: Mapping[str, str]) -> None:
    host = headers.get("host", "")
    if _name(host) not in _LOOPBACK:
        raise ScopeError("in development only loopback is answered", where="Host", got=host)
    origin = headers.get("origin")
    if origin and origin != "null" and _name(origin.split("//")[-1]) not in _LOOPBACK:
        raise ScopeError("in development only loopback is answered", where="Origin", got=origin)


def _name(host: str) -> str:
    return host.rsplit(":", 1)[0] if not host.endswith("]") else host


def _from_text(part: str) -> KeyEntry:
    scopes, _, key = part.strip().partition(":")
    if not key:
        raise ConfigError("a key without scopes", where="KOKYAKU_KEYS", hint="write read+events:<key>")
    return KeyEntry(key, tuple(scopes.split("+")))


def _from_file(name: str) -> tuple[KeyEntry, ...]:
    path = Path(name)
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigError("others can read the key file", where=name, hint=f"chmod 600 {name}")
        return msgspec.json.decode(path.read_bytes(), type=tuple[KeyEntry, ...])
    except FileNotFoundError:
        raise ConfigError("no such key file", where=name) from None
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        hint = 'write [{"key": "...", "scopes": ["read"]}]'
        raise ConfigError(f"not a key file: {error}", where=name, hint=hint) from None
