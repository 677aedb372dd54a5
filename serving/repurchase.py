"""For how long what was bought is not offered again: a sofa and dog food differ.

While something is on its way, nothing else of its category is offered, unless people are known to buy that category
again soon. After a purchase its category rests for a window: of the shop's own file, else as training learned it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from features.bought import has_type, not_returned
from features.compiled import available
from features.history import History
from features.journey import RULES
from features.kinds import EventType
from features.moments import DAY, HOUR, Instants
from features.orders import FAILED, OrderLine
from serving.bundle import Bundle
from serving.candidates import Rows
from serving.repurchase_kernel import resting
from serving.settings.shop import RepurchaseSettings

LEARNED = "category.repurchase_days"
"""Array of the bundle: float32[n_categories], days; 0 where people buy again at once, NaN where too little is known."""
ORDERED_WITHIN = 12 * HOUR
"""How far a purchase may lie from the moment at which its order line says that it was ordered."""
Floats = npt.NDArray[np.float32]
_PURCHASE, _RETURN = int(EventType.PURCHASE), int(EventType.RETURN)


class Windows:
    """The windows of a bundle's categories, under the shop's settings.

    Args:
        bundle: whose categories.
        settings: `[repurchase]`.
    """

    def __init__(self, bundle: Bundle, settings: RepurchaseSettings) -> None:
        self._bundle = bundle
        count = len(bundle.categories)
        days = np.full(count + 1, np.nan, np.float32)  # the last one is of items without a category
        if settings.learned and LEARNED in bundle.arrays:
            days[:count] = bundle.arrays[LEARNED]
        for path in sorted(settings.days, key=len):
            days[list(bundle.codes_under((path,)))] = settings.days[path]
        self.days: Floats = days
        self._rest = days.astype(np.float64) * DAY
        self._rests: list[float] = self._rest.tolist()
        self._longest = max((rest for rest in self._rests if rest == rest), default=0.0)

    def barred(self, history: History, orders: tuple[OrderLine, ...], now: int) -> tuple[int, ...]:
        """Codes of the categories of which nothing is offered to a subject now, ascending.

        What was given away does not count: the giver has none. Nor does what came back, was cancelled or got lost.

        Args:
            history, orders: of the subject, as of `now`.
            now: microseconds.
        """
        if not orders and not self._lately(history, now):
            return ()
        found, odd = self._of_lines(orders, now)
        return tuple(sorted(found.union(self._of_events(history, odd, now))))

    def _of_lines(self, orders: tuple[OrderLine, ...], now: int) -> tuple[set[int], list[OrderLine]]:
        """The categories that rest or are awaited by what order lines tell, and the lines that take something away."""
        found, odd = set(), []
        for line in orders:
            if line.gift or line.state in FAILED:
                odd.append(line)
                continue
            if now - line.ordered_at >= self._longest and not line.is_awaited(now):
                continue  # as most of a long past: nobody need know what it was
            code = self._category(line)
            rest = self._rests[code]
            # What is awaited bars its category also where the window is not known.
            if code >= 0 and (now - line.ordered_at < rest or (not rest <= 0 and line.is_awaited(now))):
                found.add(code)
        return found, odd

    def _of_events(self, history: History, odd: list[OrderLine], now: int) -> list[int]:
        """The categories that rest by what was bought, and was not given away, sent back or cancelled."""
        category = self._bundle.shared.category
        if available():
            rows = np.array([self._row(line) for line in odd], np.int32)
            ordered = np.array([line.ordered_at for line in odd], np.int64)
            gifts = np.array([line.gift for line in odd], bool)
            codes = np.empty(len(self._rest), np.int32)
            count = resting(
                history.time, history.item, history.quantity, history.type, _PURCHASE, _RETURN, rows, ordered, gifts,
                ORDERED_WITHIN, RULES.occasion, category, self._rest, now, codes,
            )  # fmt: skip
            found: list[int] = codes[:count].tolist()
            return found
        time, item = self._standing(history, odd)
        codes = category[item]
        rests = (now - time < self._rest[codes]) & (codes >= 0)  # False where the window is not known
        return list(set(codes[rests].tolist()))

    def _lately(self, history: History, now: int) -> bool:
        """Whether anything was bought so lately that any category could still rest."""
        if self._longest <= 0 or not has_type(history.type, EventType.PURCHASE):
            return False
        start = int(history.time.searchsorted(now - self._longest))
        return has_type(history.type[start:], EventType.PURCHASE)

    def _standing(self, history: History, odd: list[OrderLine]) -> tuple[Instants, Rows]:
        """int64[n] and int32[n]: purchases of known items that the subject has, by their moment."""
        places = np.flatnonzero(history.type == _PURCHASE)
        time, item = history.time[places], history.item[places]
        kept = (item >= 0) & not_returned(history, places)
        given = np.zeros(len(places), bool)
        for line in odd:
            if line.gift:
                _take_off(given, time, item, self._row(line), line.ordered_at)
            else:
                of_it = np.flatnonzero((item == self._row(line)) & (time < line.ordered_at + RULES.occasion))
                kept[of_it[-1:]] = False
        kept &= ~given
        return time[kept], item[kept]

    def _row(self, line: OrderLine) -> int:
        row = self._bundle.items.find(line.item_id)
        return -1 if row is None else row

    def _category(self, line: OrderLine) -> int:
        row = self._row(line)
        return -1 if row < 0 else int(self._bundle.shared.category[row])


def _take_off(given: npt.NDArray[np.bool_], time: Instants, item: Rows, row: int, ordered_at: int) -> None:
    """Mark the one purchase that was a gift: the nearest of the item, also where it came back. One's own stays."""
    mine = np.flatnonzero(~given & (item == row) & (row >= 0))
    if len(mine):
        far = np.abs(time[mine] - ordered_at)
        if far.min() < ORDERED_WITHIN:
            given[mine[far.argmin()]] = True
