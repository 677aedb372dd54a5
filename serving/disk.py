"""The disk beside the store: whoever asked for what it refuses is told to ask again, as the store tells it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from features.errors import Unavailable


@contextmanager
def asked_again(hint: str) -> Iterator[None]:
    """Around what can be done again as a whole, also where it was done by half: an error of the disk becomes a 503.

    Args:
        hint: what to do once the disk takes it.

    Raises:
        Unavailable: the disk refuses: it is full, read-only, or fails.
    """
    try:
        yield
    except OSError as error:
        raise Unavailable(
            "the disk refuses", where=str(error.filename or ""), got=error.strerror or str(error), hint=hint
        ) from error  # fmt: skip
