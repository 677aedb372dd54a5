"""Replenishment: how long until an item is bought again, and whether it is, learned for items with few repeats as well.

Empirical Bayes on the logarithm of intervals: an item's mean is shrunk to its category's and that to the shop's, by how
much items (categories) truly differ beside how much intervals of one item do (moments, as DerSimonian & Laird 1986).
Whether there is a next purchase is a beta-binomial, shrunk the same way; a purchase that has no successor yet counts
as none by the share of intervals that would be over by now (EM).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from features.errors import DataError
from features.history import Histories
from features.kinds import EventType
from features.moments import DAY
from serving.sources.replenishment import elapsed
from training.interactions import Fitted, Progress, silent
from training.known import Known

Doubles = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
LEAST_INTERVALS = 20
"""With fewer there is no cycle to learn from."""
BELIEFS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
"""Tried weights of an item's repeat probability beside a customer's own repeats."""
ROUNDS = 12
"""Of the EM; the share of repeaters moves by less than a thousandth after them."""


class ReplenishmentParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Learned cycles; `horizon_days` serves the request."""

    horizon_days: Annotated[float, Meta(gt=0)] = 28.0
    """A purchase counts as due when it is likely within so many days."""
    spread_prior: Annotated[float, Meta(gt=0)] = 10.0
    """Intervals that the category's spread counts like beside the item's own."""


@dataclass(frozen=True, slots=True)
class Trials:
    """Every purchase day of an item by a customer, and what came after.

    Args:
        item: int64[t].
        pair: int64[t], rising; the same for the days of one customer and item, which lie side by side, oldest first.
        days: float64[t], until the next purchase day; until the moment where there is none.
        followed: bool[t], whether there is one.
        earlier: int64[t], how many such days there were before.
    """

    item: Counts
    pair: Counts
    days: Doubles
    followed: npt.NDArray[np.bool_]
    earlier: Counts

    @classmethod
    def of(cls, known: Histories, as_of: int) -> Trials:
        """From the purchases of all subjects; a day (UTC) counts once."""
        events, n = known.events, max(len(known.items), 1)
        bought = np.flatnonzero((events.type == EventType.PURCHASE) & (events.item >= 0))
        pair = known.subject_rows()[bought].astype(np.int64) * n + events.item[bought]
        lines = np.unique(np.stack([pair, events.time[bought] // DAY], axis=1), axis=0)
        pair, day = lines[:, 0], lines[:, 1]
        followed = np.zeros(len(pair), bool)
        followed[:-1] = pair[1:] == pair[:-1]
        days = np.append(np.diff(day), 0).astype(np.float64)
        days[~followed] = as_of / DAY - day[~followed]
        first = np.searchsorted(pair, pair)
        return cls(pair % n, pair, days, followed, np.arange(len(pair)) - first)


def fit_replenishment(
    known: Known, params: ReplenishmentParams, *, threads: int = 0, progress: Progress = silent
) -> Fitted:
    """Cycles and repeat probabilities of all items.

    Intervals that are still open enter the repeat probability but not the mean of log-intervals, so cycles about as
    long as the past are learned too short.

    Args:
        known: as of the moment of the fit; categories come from its items.
        params: of the fit.
        threads: ignored.
        progress: hears of the start and the end.

    Returns:
        Over all items `log_days` (mean of ln days), `spread` (standard deviation of ln days) and `repeat` (probability
        of a next purchase), float32[n_items]; `shrinkage` float64[2]: the share of the variance of an item's
        log-intervals that lies within customers, and the weight of `repeat` beside a customer's own repeats.

    Raises:
        DataError: too few customers bought anything on two days.
    """
    progress(0, 1)
    trials, n = Trials.of(known.known, known.as_of), len(known.known.items)
    intervals = int(trials.followed.sum())
    if intervals < LEAST_INTERVALS:
        what = f"cycles need {LEAST_INTERVALS} purchases that repeat an earlier one"
        raise DataError(what, where="replenishment", got=intervals)
    group = known.items["shared.category"].view(np.int32).astype(np.int64) + 1  # row 0: unknown
    mean, spread = cycles_of(trials, group, n, params.spread_prior)
    repeat = repeats_of(trials, group, mean, spread)
    within, belief = within_share(trials), belief_of(trials, repeat, mean, spread)
    progress(1, 1)
    arrays = {
        "log_days": mean.astype(np.float32), "spread": spread.astype(np.float32), "repeat": repeat.astype(np.float32),
        "shrinkage": np.array([within, belief]),
    }  # fmt: skip
    days = float(np.exp(np.median(np.log(trials.days[trials.followed]))))
    return Fitted(arrays, {"intervals": float(intervals), "median days": days, "within": within, "belief": belief})


def cycles_of(trials: Trials, group: Counts, n: int, prior: float) -> tuple[Doubles, Doubles]:
    """Mean and standard deviation of ln days of every item, shrunk to its group and to the shop.

    Args:
        trials: of all customers.
        group: int64[n], the category of each item.
        n: how many items there are.
        prior: intervals that the group's variance counts like.
    """
    item, logs = trials.item[trials.followed], np.log(trials.days[trials.followed])
    count, total = np.bincount(item, minlength=n), np.bincount(item, weights=logs, minlength=n)
    groups = int(group.max(initial=0)) + 1
    by_group, sum_group = np.bincount(group, weights=count, minlength=groups), np.bincount(group, weights=total)
    shop = float(logs.mean())
    own = total / np.maximum(count, 1)
    within_item = _pooled(logs - own[item], len(logs) - int((count > 0).sum()))
    within_group = _pooled(logs - (sum_group / np.maximum(by_group, 1))[group[item]], len(logs) - groups)
    middle = shrunk(sum_group, by_group, np.full(groups, shop), within_group)
    mean = shrunk(total, count, middle[group], within_item)
    square = np.bincount(item, weights=(logs - own[item]) ** 2, minlength=n)
    # One degree of freedom goes to each item's own mean.
    free = np.maximum(count - 1, 0)
    shared = (np.bincount(group, weights=square) + prior * within_item) / (np.bincount(group, weights=free) + prior)
    return mean, np.sqrt((square + prior * shared[group]) / (free + prior))


def repeats_of(trials: Trials, group: Counts, mean: Doubles, spread: Doubles) -> Doubles:
    """The probability that a first purchase is followed by another, by item, shrunk to its group and to the shop.

    E step: a first purchase without a successor for t days still gets one with r S(t) / (1 - r F(t)).
    """
    n, groups, first = len(group), int(group.max(initial=0)) + 1, trials.earlier == 0
    trials = Trials(*(getattr(trials, name)[first] for name in Trials.__slots__))
    over = elapsed(trials.days, np.exp(mean[trials.item]), spread[trials.item])
    count = np.bincount(trials.item, minlength=n).astype(np.float64)
    by_group = np.bincount(group, weights=count, minlength=groups)
    repeat = np.full(n, max(trials.followed.mean(), 1e-3))
    for _ in range(ROUNDS):
        r = repeat[trials.item]
        yes = np.where(trials.followed, 1.0, r * (1 - over) / np.maximum(1 - r * over, 1e-9))
        total = np.bincount(trials.item, weights=yes, minlength=n)
        shop = float(np.clip(yes.mean(), 1e-3, 0.999))
        variance = shop * (1 - shop)
        middle = shrunk(np.bincount(group, weights=total, minlength=groups), by_group, np.full(groups, shop), variance)
        repeat = np.clip(shrunk(total, count, middle[group], variance), 1e-4, 0.999)
    return repeat


def shrunk(total: Doubles | Counts, count: Doubles | Counts, centre: Doubles, variance: float) -> Doubles:
    """Means of groups, each drawn to its centre: (total + k centre) / (count + k), k = variance / tau^2.

    tau^2, by how much groups truly differ from their centres, is estimated by moments: Q = sum n (mean - centre)^2 has
    the expectation G variance + N tau^2 over G groups of N observations. Where groups differ no more than chance, each
    is its centre.

    Args:
        total: float64[g], sum of each group's observations.
        count: how many these are.
        centre: float64[g], what each is drawn to.
        variance: of observations within a group.
    """
    seen = count > 0
    away = total[seen] / count[seen] - centre[seen]
    excess = float((count[seen] * away**2).sum()) - variance * int(seen.sum())
    between = excess / max(float(count.sum()), 1.0)
    if between <= 0 or not seen.any():
        return centre
    k = variance / between
    return np.asarray((total + k * centre) / (count + k), np.float64)


def within_share(trials: Trials) -> float:
    """The share of the variance of an item's log-intervals that lies within a customer, from 0.05 to 1; 1/2 unknown."""
    logs, pair, item = np.log(trials.days[trials.followed]), trials.pair[trials.followed], trials.item[trials.followed]
    several, _ = _residuals(logs, pair)
    of_item, items = _residuals(logs, item)
    free = len(logs) - len(np.unique(pair))
    if free < LEAST_INTERVALS or len(logs) <= items:
        return 0.5
    whole = float((of_item**2).sum()) / (len(logs) - items)
    return float(np.clip(float((several**2).sum()) / free / max(whole, 1e-12), 0.05, 1.0))


def belief_of(trials: Trials, repeat: Doubles, mean: Doubles, spread: Doubles) -> float:
    """The K of (K r + earlier repeats) / (K + earlier repeats) that explains best who bought again (beta-geometric).

    A purchase without a successor for t days contributes ln(1 - p F(t)).
    """
    over = elapsed(trials.days, np.exp(mean[trials.item]), spread[trials.item])

    def likelihood(belief: float) -> float:
        p = (belief * repeat[trials.item] + trials.earlier) / (belief + trials.earlier)
        return float(np.log(np.where(trials.followed, p, np.maximum(1 - p * over, 1e-12))).sum())

    return max(BELIEFS, key=likelihood)


def _residuals(values: Doubles, group: Counts) -> tuple[Doubles, int]:
    """Each value less the mean of its group, and how many groups there are."""
    groups, where, count = np.unique(group, return_inverse=True, return_counts=True)
    return values - (np.bincount(where, weights=values) / count)[where], len(groups)


def _pooled(residuals: Doubles, free: int) -> float:
    return max(float((residuals**2).sum()) / max(free, 1), 1e-4)
