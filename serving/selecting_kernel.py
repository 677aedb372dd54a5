"""What `serving.selecting` does place by place, without an array for every step."""

from __future__ import annotations

from typing import Any

import numpy as np

from features.compiled import kernel


@kernel("i4[2], f8[1], out f8[1], out i8[1], out f8[1]")
def give_places(codes: Any, keeps: Any, left: Any, places: Any, values: Any) -> None:
    """`selecting.greedy`: fill `places` and the value that each had when it was chosen.

    `left` is what each item is worth at first, and is used up. By row of `codes` are the codes of the items in one way
    of being alike, and in `keeps` what an item of the same code above leaves of a value.
    """
    for place in range(len(places)):
        best = 0
        for at in range(1, len(left)):
            best = at if left[at] > left[best] else best
        places[place], values[place] = best, left[best]
        left[best] = -np.inf  # it stands; a factor leaves minus infinity as it is
        for way in range(len(keeps)):
            code = codes[way, best]
            for at in range(len(left) if code >= 0 else 0):
                if codes[way, at] == code:
                    left[at] *= keeps[way]
