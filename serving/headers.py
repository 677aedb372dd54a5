"""The headers of a request, read once for all the layers that it goes through."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Final

_READ: Final = "kokyaku.headers"
"""Where they stand in the scope of a request, once they are read."""


def headers_of(scope: MutableMapping[str, Any]) -> dict[str, str]:
    """The headers: name in small letters -> value; of a header that comes twice the first.

    Args:
        scope: of the request, as the server gives it.
    """
    found: dict[str, str] | None = scope.get(_READ)
    if found is None:
        pairs = reversed(list(scope["headers"]))
        found = scope[_READ] = {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}
    return found
