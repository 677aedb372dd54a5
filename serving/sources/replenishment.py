"""Buy again: what is due, from learned cycles of the items and the customer's own intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from features.compiled import available
from features.history import History
from features.kinds import EventType
from features.moments import DAY
from features.rhythm import Purchases
from serving.bundle import Bundle
from serving.candidates import Floats, Opinion, Rows
from serving.query import Query
from serving.recipe import SourceSpec
from serving.sources import kernels
from serving.sources.plain import kept_share, lines_of

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Cycles:
    """What the next purchase of some items looks like for one customer.

    Args:
        items: int32[m], ascending: what was bought before.
        since: float64[m], days since the last purchase day.
        median: float64[m], days; the middle of the next interval.
        spread: float64[m], standard deviation of its logarithm.
        repeat: float64[m], the probability that there is a next purchase at all, before looking at `since`.
        own: int64[m], intervals of the customer's own that this knows of.
        scores: float32[m], of the source, where a kernel worked them out.
    """

    items: Rows
    since: Doubles
    median: Doubles
    spread: Doubles
    repeat: Doubles
    own: npt.NDArray[np.int64]
    scores: Floats | None = None


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
        self._mean = np.asarray(arrays["log_days"], np.float32)
        self._spread = np.asarray(arrays["spread"], np.float32)
        self._repeat = np.asarray(arrays["repeat"], np.float32)
        self._within, self._belief = (float(value) for value in arrays["shrinkage"])
        self._horizon = float(spec.params.get("horizon_days", 28.0))

    def opine(self, query: Query) -> Opinion:
        """What was bought before, by the probability that it is bought again in the next days."""
        found = self.due(query)
        if found.scores is not None:
            return Opinion(found.items, found.scores)
        before = elapsed(found.since, found.median, found.spread)
        after = elapsed(found.since + self._horizon, found.median, found.spread)
        score = found.repeat * (after - before) / np.maximum(1 - found.repeat * before, 1e-9)
        score *= kept_share(lines_of(query), found.items)
        return Opinion(found.items, np.where(score > 0, score, -np.inf).astype(np.float32))

    def due(self, query: Query) -> Cycles:
        """The subject's cycles, worked out once a query."""
        return query.once(self, lambda: self.cycles(query.history if available() else lines_of(query), query.now))

    def cycles(self, history: History, now: int) -> Cycles:
        """The cycle of each item that was bought before: one purchase uses the item's, two and more the own as well."""
        if available():
            return self._worked_out(history, now)
        past = Purchases.of(history.of_types(EventType.PURCHASE))
        items, start, count = np.unique(past.item, return_index=True, return_counts=True)
        own = count - 1
        logs = np.zeros(len(past.day))
        logs[1:] = np.log(np.maximum(np.diff(past.day), 1))
        logs[past.new] = 0
        place = np.repeat(np.arange(len(items)), count)
        total = np.bincount(place, weights=logs, minlength=len(items))
        k = self._within / max(1 - self._within, 1e-6)
        mean = (total + k * self._mean[items]) / (own + k)
        share = self._within + (1 - self._within) * k / (own + k)
        return Cycles(
            items=items,
            since=now / DAY - past.day[start + own],
            median=np.exp(mean),
            spread=np.maximum(self._spread[items] * np.sqrt(share), 0.05),
            repeat=(self._belief * self._repeat[items] + own) / (self._belief + own),
            own=own,
        )

    def _worked_out(self, history: History, now: int) -> Cycles:
        """The same with a kernel."""
        most = len(history)
        items, own, scores = np.empty(most, np.int32), np.empty(most, np.int64), np.empty(most, np.float32)
        told = np.empty((4, most))
        count = kernels.cycles(
            history.time, history.item, history.type, history.quantity, now, self._mean, self._spread, self._repeat,
            self._within, self._belief, self._horizon, items, own, told, scores,
        )  # fmt: skip
        since, median, spread, repeat = told[:, :count]
        return Cycles(items[:count], since, median, spread, repeat, own[:count], scores[:count])

    def causes(self, query: Query, items: Rows) -> Rows:
        """Each item speaks for itself: it was bought."""
        return items


def elapsed(days: Doubles, median: Doubles, spread: Doubles) -> Doubles:
    """F(days): the share of intervals that are over by then, log-logistic with a standard deviation of log-days.

    Its tails are heavier than the log-normal's, so a single late purchase is no proof that the customer has stopped.
    """
    z = (np.log(np.maximum(days, 0.5)) - np.log(median)) / spread
    return cast("Doubles", 1 / (1 + np.exp(np.clip(-np.pi / np.sqrt(3) * z, -700, 700))))
