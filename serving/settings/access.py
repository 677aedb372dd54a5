"""`[access]`: whose pages may call."""

from __future__ import annotations

import re
from typing import Final

from features.errors import ConfigError
from serving.strict import Strict

_ORIGIN: Final = re.compile(r"(https?)://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::([1-9][0-9]{0,4}))?")
_USUAL: Final = {("http", "80"), ("https", "443")}


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
        parts = _ORIGIN.fullmatch(origin)
        if parts is None or parts.groups() in _USUAL:  # browsers leave the usual port out
            hint = "write scheme and host as the browser's address bar has them, e.g. https://shop.example"
            raise ConfigError("not an origin", where=where, got=origin, hint=hint)
    return frozenset(origins)
