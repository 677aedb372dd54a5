"""`[access]`: whose pages may call."""

from __future__ import annotations

from urllib.parse import urlsplit

from features.errors import ConfigError
from serving.strict import Strict


class AccessSettings(Strict, frozen=True):
    """`[access]`: pages of which origins may send events of their visitors, e.g. `["https://shop.example"]`.

    Closed by default, compared exactly, no patterns.
    """

    origins: tuple[str, ...] = ()


def check_origins(origins: tuple[str, ...], where: str) -> frozenset[str]:
    """The origins, if each is one.

    Raises:
        ConfigError: a pattern, a path, or anything else that no browser sends as Origin.
    """
    for origin in origins:
        try:
            parts = urlsplit(origin)
            whole = f"{parts.scheme}://{parts.netloc}" == origin == origin.lower() and bool(parts.hostname)
            fine = whole and parts.scheme in ("http", "https") and "*" not in origin and "@" not in origin
            fine = fine and parts.port not in (80 if parts.scheme == "http" else 443, 0)
        except ValueError:
            fine = False
        if not fine or not origin.isascii() or not origin.isprintable():
            hint = "write scheme and host as the browser's address bar has them, e.g. https://shop.example"
            raise ConfigError("not an origin", where=where, got=origin, hint=hint)
    return frozenset(origins)
