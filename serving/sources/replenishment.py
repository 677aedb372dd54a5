"""Buy again: what is due, from learned cycles of the items and the customer's own intervals."""

from __future__ import annotations

from typing import cast

import msgspec
import numpy as np
import numpy.typing as npt

from features.by_item import ByItem, bits, by_item
from features.compiled import available
from features.history import History
from features.kinds import EventType
from features.moments import DAY
from features.pace import breathe
from features.rhythm import Purchases
from serving.bundle import Bundle
from serving.candidates import Floats, Opinion, Rows
from serving.query import Query
from serving.recipe import SourceSpec
from serving.sources import kernels
from serving.sources.contract import past_of
from serving.sources.plain import kept_share

Doubles = npt.NDArray[np.float64]
_BOUGHT = bits((EventType.PURCHASE,))


class Cycles(msgspec.Struct, frozen=True):
    """What the next purchase of some items looks like for one customer.

    Args:
        items: int32[m], ascending: what was bought before.
        told: float64[5, m], by row what the properties say.
        scores: float32[m], of the source; -inf where there is no next purchase.
    """

    items: Rows
    told: Doubles
    scores: Floats

    @property
    def since(self) -> Doubles:
        """float64[m]: days since the last purchase day."""
        return cast("Doubles", self.told[0])

    @property
    def median(self) -> Doubles:
        """float64[m]: days; the middle of the next interval."""
        return cast("Doubles", self.told[1])

    @property
    def spread(self) -> Doubles:
        """float64[m]: standard deviation of the logarithm of the next interval."""
        return cast("Doubles", self.told[2])

    @property
    def repeat(self) -> Doubles:
        """float64[m]: the probability that there is a next purchase at all, before looking at `since`."""
        return cast("Doubles", self.told[3])

    @property
    def own(self) -> Doubles:
        """float64[m]: how many intervals of the customer's own this knows of."""
        return cast("Doubles", self.told[4])


_NO_CYCLES = Cycles(np.empty(0, np.int32), np.empty((5, 0)), np.empty(0, np.float32))


class Replenishment:
    """The probability that the customer buys an item again in the next days, as it was not bought for `since` days.

    With F the log-logistic distribution of intervals, F(t) = 1 / (1 + (t / median)^-(pi / (sqrt(3) spread))), whose
    median is the customer's own, shrunk to the item's, which is shrunk to the category's and the shop's, and with r
    the probability that there is a next purchase at all:

        P(bought in the next h days | nothing for t days) = r (F(t + h) - F(t)) / (1 - r F(t))

    It is low just after a purchase, highest where the item is due, and falls where it is long overdue, because then the
    customer has more likely stopped. Own intervals enter the mean of log-intervals: with v the item's variance, n own
    intervals and a share w of the variance within customers,

        mean = (sum of own log-intervals + k x item's) / (n + k),  k = w / (1 - w)
        variance = v (w + (1 - w) k / (n + k))

    and into r as n successes beside the item's prior of weight K: r = (K r_item + n) / (K + n).
    """

    personal = True

    def __init__(self, spec: SourceSpec, bundle: Bundle) -> None:
        arrays = bundle.source_arrays(spec.name)
        self.name = spec.name
        # Side by side: of each item all three are asked for.
        self._rhythm = np.empty((len(arrays["log_days"]), 3), np.float32)
        for place, name in enumerate(("log_days", "spread", "repeat")):
            self._rhythm[:, place] = arrays[name]
            breathe()
        self._within, self._belief = (float(value) for value in arrays["shrinkage"])
        self._horizon = float(spec.params.get("horizon_days", 28.0))

    def opine(self, query: Query) -> Opinion:
        """What was bought before, by the probability that it is bought again in the next days."""
        found = self.due(query)
        return Opinion(found.items, found.scores)

    def due(self, query: Query) -> Cycles:
        """The subject's cycles, worked out once a query."""
        return query.once(self, self._due, query)

    def _due(self, query: Query) -> Cycles:
        return self._worked_out(past_of(query), query.now) if available() else self.cycles(query.history, query.now)

    def cycles(self, history: History, now: int) -> Cycles:
        """The cycle of each item that was bought before: one purchase uses the item's, two and more the own as well."""
        if available():
            return self._worked_out(by_item(history), now)
        past = Purchases.of(history.of_types(EventType.PURCHASE))
        items, start, count = np.unique(past.item, return_index=True, return_counts=True)
        own = count - 1
        logs = np.zeros(len(past.day))
        logs[1:] = np.log(np.maximum(np.diff(past.day), 1))
        logs[past.new] = 0
        place = np.repeat(np.arange(len(items)), count)
        total = np.bincount(place, weights=logs, minlength=len(items))
        k = self._within / max(1 - self._within, 1e-6)
        log_days, spread, repeat = self._rhythm[items].T
        mean = (total + k * log_days) / (own + k)
        share = self._within + (1 - self._within) * k / (own + k)
        told = np.stack([
            now / DAY - past.day[start + own],
            np.exp(mean),
            np.maximum(spread * np.sqrt(share), 0.05),
            (self._belief * repeat + own) / (self._belief + own),
            own,
        ])  # fmt: skip
        kept = kept_share(history.of_types(EventType.PURCHASE, EventType.RETURN), items)
        return Cycles(items, told, self._scores(told, kept))

    def _scores(self, told: Doubles, kept: Doubles) -> Floats:
        """float32[m], of cycles, by the share of each item that was not brought back."""
        since, median, spread, repeat, _ = told
        before, after = elapsed(since, median, spread), elapsed(since + self._horizon, median, spread)
        score = repeat * (after - before) / np.maximum(1 - repeat * before, 1e-9) * kept
        return np.where(score > 0, score, -np.inf).astype(np.float32)

    def _worked_out(self, past: ByItem, now: int) -> Cycles:
        """The same with a kernel."""
        if not past.types & _BOUGHT:
            return _NO_CYCLES
        return Cycles(*kernels.cycles(past.events, now, self._rhythm, self._within, self._belief, self._horizon))

    def causes(self, query: Query, items: Rows) -> Rows:
        """Each item speaks for itself: it was bought."""
        return items


def elapsed(days: Doubles, median: Doubles, spread: Doubles) -> Doubles:
    """F(days): the share of intervals that are over by then, log-logistic with a standard deviation of log-days.

    Its tails are heavier than the log-normal's, so a single late purchase is no proof that the customer has stopped.
    """
    z = (np.log(np.maximum(days, 0.5)) - np.log(median)) / spread
    return cast("Doubles", 1 / (1 + np.exp(np.clip(-np.pi / np.sqrt(3) * z, -700, 700))))
