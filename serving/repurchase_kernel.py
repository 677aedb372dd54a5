"""What `serving.repurchase` does with a customer's events, without an array for every step."""

from __future__ import annotations

from typing import Any

import numpy as np

from features.compiled import kernel


@kernel("i8[1], i4[1], i1[1], i1, i4[1], f8[1], i8, out i4[1]")
def resting(time: Any, item: Any, kind: Any, purchase: int, category: Any, rest: Any, now: int, codes: Any) -> int:
    """Fill in the categories of what was bought so lately that they rest, each once; returns how many there are.

    `rest` is for how many microseconds, by category, NaN where that is not known. Unknown items are left out.
    """
    seen, count = np.zeros(len(rest), np.bool_), 0
    for at in range(len(time)):
        code = category[item[at]] if kind[at] == purchase and item[at] >= 0 else -1
        if code >= 0 and now - time[at] < rest[code] and not seen[code]:
            seen[code], codes[count] = True, code
            count += 1
    return count
