"""What is told of the scores of a list, in one go."""

from __future__ import annotations

from typing import Any

import numpy as np

from features.compiled import kernel

DIGITS = 1e6
"""All constants stand here: see `features.compiled`."""


@kernel("f4[1], out f8[1]")
def rounded(scores: Any, told: Any) -> None:
    """Fill in scores with six digits after the point, as numpy's `round` has them."""
    for at in range(len(scores)):
        told[at] = np.rint(np.float64(scores[at]) * DIGITS) / DIGITS
