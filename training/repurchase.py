"""For how long a category rests after a purchase: until one customer in ten has bought of it again.

The time from one purchase of a category to the next one of the same customer is estimated with those who have not come
back yet counted as censored (Kaplan & Meier 1958). What few have bought is drawn to its department, and that to the
whole shop, by mixing the hazards as if so many more customers had been seen. Where one in ten comes back within
`FREELY` days people buy the category freely, and it does not rest at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from features.history import Histories
from features.kinds import EventType
from features.moments import DAY

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int32]
AGAIN: Final = 0.10
"""The share of customers who have come back when a category may be offered again."""
FREELY: Final = 60.0
"""Days; a category that so many buy again within them does not rest."""
LONGEST: Final = 730.0
LEAST: Final = 30
"""With fewer purchases in the whole shop nothing is learned."""
STRENGTH: Final = 50.0
"""How many customers of the group above a category is mixed with."""
GRID: Final = np.arange(1, int(LONGEST) + 1, dtype=np.float64)


def repurchase_days(histories: Histories, category: Rows, paths: Sequence[str], as_of: int) -> Floats:
    """float32[categories]: how many days each rests; 0 where people buy it freely, NaN where too little is known.

    Args:
        histories: as of `as_of`.
        category: int32[n_items], code of each item, -1 unknown.
        paths: of the categories, by code.
        as_of: microseconds; who has not come back by then may do so later.
    """
    code, days, again = spells(histories, category, as_of)
    if len(code) < LEAST:
        return np.full(len(paths), np.nan, np.float32)
    whole = hazards(days, again)
    departments = {path: at for at, path in enumerate(dict.fromkeys(path.split(" > ")[0] for path in paths))}
    of = np.array([departments[path.split(" > ")[0]] for path in paths], np.int64)
    above = [hazards(days[of[code] == each], again[of[code] == each], whole) for each in range(len(departments))]
    seen = np.bincount(code, minlength=len(paths))
    longest = float(days.max())
    found = [
        rest(hazards(days[code == each], again[code == each], above[of[each]])[0], longest) if seen[each] else np.nan
        for each in range(len(paths))
    ]
    return np.array(found, np.float32)


def spells(
    histories: Histories, category: Rows, as_of: int
) -> tuple[npt.NDArray[np.int64], Doubles, npt.NDArray[np.bool_]]:
    """From each purchase of a category to the same customer's next one of another day.

    Returns:
        int64[n] the category, float64[n] days, and bool[n] whether it came; else the days until `as_of`.
    """
    events = histories.events
    bought = np.flatnonzero((events.type == EventType.PURCHASE) & (events.item >= 0))
    code = category[events.item[bought]].astype(np.int64)
    bought, code = bought[code >= 0], code[code >= 0]
    day = events.time[bought] // DAY
    triples = np.unique(np.stack([histories.subject_rows()[bought].astype(np.int64), code, day]), axis=1)
    subject, code, day = triples
    last = np.append((subject[1:] != subject[:-1]) | (code[1:] != code[:-1]), True)
    following = np.where(last, as_of / DAY, np.append(day[1:], 0))
    return code, np.maximum(following - day, 0.5), ~last


def hazards(
    days: Doubles, again: npt.NDArray[np.bool_], above: tuple[Doubles, Doubles] | None = None
) -> tuple[Doubles, Doubles]:
    """float64[grid] each: the chance to come back on a day among those who have not, and how many they are.

    With `above`, the hazards of the group above, `STRENGTH` customers of it are mixed in.
    """
    place = np.minimum(np.ceil(days).astype(np.int64) - 1, len(GRID) - 1)
    came = np.bincount(place[again], minlength=len(GRID)).astype(np.float64)
    left = np.bincount(place, minlength=len(GRID))[::-1].cumsum()[::-1].astype(np.float64)
    if above is None:
        return np.divide(came, left, out=np.zeros(len(GRID)), where=left > 0), left
    alive = STRENGTH * np.append(1.0, np.cumprod(1 - above[0])[:-1])
    return (came + alive * above[0]) / np.maximum(left + alive, 1e-12), left + alive


def rest(hazard: Doubles, longest: float) -> float:
    """Days until the share that has come back reaches AGAIN: 0 where that is soon, at most as long as was seen."""
    back = 1 - np.cumprod(1 - hazard)
    reached = np.flatnonzero(back >= AGAIN)
    days = float(GRID[reached[0]]) if len(reached) else min(longest, LONGEST)
    return 0.0 if days <= FREELY else days
