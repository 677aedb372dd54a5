"""What `serving.selecting` does place by place, without an array for every step."""

from __future__ import annotations

from typing import Any

import numpy as np

from features.compiled import helper, kernel


@helper
def _fall(left: Any, codes: Any, code: int, keep: float) -> None:
    """One more of a kind stands above: what is like it falls. Code -1 is like nothing."""
    for at in range(len(left) if code >= 0 and keep != 1.0 else 0):
        if codes[at] == code:
            left[at] *= keep


@kernel("i4[1], f4[1], f4[1], f8, i4[1], f8, i4[1], f8, i4[1], f8[1], f8[1], out i8[1], out f4[2]")
def give_places(
    items: Any, scores: Any, buyers: Any, novelty: float, category: Any, of_category: float, brand: Any,
    of_brand: float, above: Any, boost: Any, objective: Any, places: Any, told: Any,
) -> None:  # fmt: skip
    """`Selector.select`: fill `places` and, column by column, what `selecting.TOLD` names of each item in them.

    `buyers`, `category` and `brand` are of all items; `of_category` and `of_brand` are what an item of the same kind
    above leaves of a value. `boost` and `objective` are of the candidates, empty where nothing is wished.
    """
    positive = 0
    while positive < len(scores) and scores[positive] > 0:
        positive += 1
    worth, left, rare = np.empty(positive), np.empty(positive), np.ones(positive)
    category_of, brand_of = np.empty(positive, np.int32), np.empty(positive, np.int32)
    for at in range(positive):
        row = items[at]
        category_of[at], brand_of[at] = category[row], brand[row]
        if novelty != 0 and buyers[row] > 1:
            rare[at] = np.float64(buyers[row]) ** -novelty
        worth[at] = scores[at] * rare[at]
        if len(boost):
            worth[at] *= boost[at] * objective[at]
        left[at] = worth[at]
    for row in above:
        _fall(left, category_of, category[row], of_category)
        _fall(left, brand_of, brand[row], of_brand)
    told[1:5] = 1.0
    for place in range(len(places)):
        if place >= positive:  # what is worth nothing keeps its place behind the others
            places[place], told[0, place], told[5, place] = place, scores[place], scores[place]
            continue
        best = 0
        for at in range(1, positive):
            best = at if left[at] > left[best] else best
        places[place], told[0, place], told[3, place] = best, scores[best], rare[best]
        if len(boost):
            told[1, place], told[2, place] = boost[best], objective[best]
        if worth[best] > 0:
            told[4, place] = left[best] / worth[best]
        told[5, place], left[best] = left[best], -np.inf  # it stands; a factor leaves minus infinity as it is
        _fall(left, category_of, category_of[best], of_category)
        _fall(left, brand_of, brand_of[best], of_brand)
