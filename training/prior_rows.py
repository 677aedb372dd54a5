"""What a contextual prior is learned from: one row a try of one arm, with what was told of the visit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from features.errors import DataError
from serving.prior import Codes, Doubles

Mask = npt.NDArray[np.bool_]
_ROWS = ("arm", "outcome", "weight", "time", "person", "codes", "offset")


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen: one row a try of one arm.

    Args:
        arm: int64[n], place among `arms`.
        outcome: float64[n], from 0 to 1.
        weight: float64[n], 1 / propensity of the arm; 1 where nobody drew.
        time: int64[n], microseconds, or any number that rises with time.
        person: int64[n].
        codes: int64[n, dimensions], -1 where not told.
        arms: ids.
        names: dimensions.
        words: the values of each dimension.
        offset: float64[n], what is expected of each row anyway; a prior then is of what arms add to it. None: nothing.
    """

    arm: Codes
    outcome: Doubles
    weight: Doubles
    time: Codes
    person: Codes
    codes: Codes
    arms: tuple[str, ...]
    names: tuple[str, ...]
    words: tuple[tuple[str, ...], ...]
    offset: Doubles | None = None

    @property
    def beyond(self) -> Doubles:
        """float64[n]: the outcome beyond what was expected anyway."""
        return self.outcome if self.offset is None else self.outcome - self.offset

    def __len__(self) -> int:
        return len(self.arm)

    def take(self, rows: Mask | Codes) -> Seen:
        """Some of the rows."""
        own = {name: getattr(self, name)[rows] for name in _ROWS if getattr(self, name) is not None}
        return replace(self, **own)

    def about(self, names: Sequence[str]) -> Seen:
        """Only some dimensions, in their order.

        Raises:
            DataError: one that was not seen.
        """
        for name in names:
            if name not in self.names:
                raise DataError("no such dimension", got=name, hint=f"there are: {', '.join(self.names)}")
        at = [self.names.index(name) for name in names]
        return replace(
            self, codes=self.codes[:, at], names=tuple(names), words=tuple(self.words[place] for place in at)
        )


def joined(parts: Sequence[Seen]) -> Seen:
    """The rows of several, of the same arms and dimensions, one after the other."""
    names = [name for name in _ROWS if getattr(parts[0], name) is not None]
    rows: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return replace(parts[0], **rows)
