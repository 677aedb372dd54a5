"""Parameters by dotted name, as people write them: `confidence.half_life_days = 60.0`."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from features.errors import ConfigError
from serving.strict import nearest

Named = Mapping[str, Any]
"""Dotted name -> value."""


def named(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested parameters by their dotted names.

    >>> named({"factors": 64, "confidence": {"damped": True}})
    {'factors': 64, 'confidence.damped': True}
    """
    flat: dict[str, Any] = {}
    for key, value in params.items():
        flat |= named(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def overlaid(params: Mapping[str, Any], changes: Named, *, where: str) -> dict[str, Any]:
    """The nested parameters with some of them changed; the given ones stay as they are.

    Args:
        params: all parameters that there are.
        changes: those to change.
        where: they come from, for the error.

    Raises:
        ConfigError: a name that is not among the parameters.

    >>> overlaid({"l2": 1.0, "confidence": {"damped": True}}, {"confidence.damped": False}, where="here")
    {'l2': 1.0, 'confidence': {'damped': False}}
    """
    known, changed = named(params), copy.deepcopy(dict(params))
    for name, value in changes.items():
        if name not in known:
            raise ConfigError("no such parameter", where=where, got=name, hint=nearest(name, list(known)))
        *path, last = name.split(".")
        inner = changed
        for step in path:
            inner = inner[step]
        inner[last] = value
    return changed
