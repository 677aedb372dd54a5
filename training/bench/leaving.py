"""Choosing a setting across data sets, judged leave-one-data-set-out.

A setting's share on a data set is its objective divided by the best setting's there, so 1 is as good as tuned on that
very data set. The pick has the highest mean share; each data set judges the pick of the others, which never saw it.
The best of a data set is chosen on the customers that judge it: the difference to it is, if anything, too large.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.errors import DataError
from training.intervals import Interval, compare, mean_interval

Floats = npt.NDArray[np.float64]
LEAST = 2
"""Data sets without which none can be left out."""


@dataclass(frozen=True)
class LeftOut:
    """A data set, and the pick of the others.

    Args:
        data: the one that is left out.
        pick: the others' setting.
        best: its own.
        share: of the pick, here.
        default: the share of the default.
        gain: the pick minus the default, in the metric, paired by customer.
        lack: the pick minus the best.
    """

    data: str
    pick: int
    best: int
    share: float
    default: float
    gain: Interval
    lack: Interval


@dataclass(frozen=True)
class Verdict:
    """What the data sets say together.

    Args:
        shares: data set -> float64[settings]; NaN where a setting cannot be fitted.
        pick: the setting with the highest mean share over all.
        left: each data set left out.
        pooled: mean over data sets of (the others' pick minus the default) as shares of the best, which is taken as
            known; data sets count alike, however many customers they have. NaN where a pick cannot be fitted.
        better: whether the pick of the others beats the default on every data set, and the pooled interval lies
            above 0.
    """

    shares: Mapping[str, Floats]
    pick: int
    left: Sequence[LeftOut]
    pooled: Interval
    better: bool


def leave_one_out(tables: Mapping[str, Floats], resamples: int = 2000) -> Verdict:
    """Judge the choice of a setting.

    Args:
        tables: data set -> float64[settings, customers], what each customer adds to the objective; row 0 is the
            default, and a row of NaN a setting that cannot be fitted.
        resamples: of the bootstrap.

    Raises:
        DataError: fewer than two data sets, or one on which no setting finds anything.
    """
    if len(tables) < LEAST:
        raise DataError("leaving one data set out needs two", got=len(tables))
    shares = {data: shares_of(table, data) for data, table in tables.items()}
    left = [_left_out(data, tables[data], shares, resamples) for data in tables]
    gains = [_spread(tables[each.data], each, sum(len(table[0]) for table in tables.values())) for each in left]
    together = np.concatenate(gains) / len(left)
    pooled = mean_interval(together if np.isfinite(together).all() else together[:0], resamples=resamples)
    better = all(each.gain.value > 0 for each in left) and pooled.low > 0
    return Verdict(shares, picked(list(shares.values())), left, pooled, better)


def shares_of(table: Floats, data: str) -> Floats:
    """float64[settings]: the objective of each as a share of the best.

    Raises:
        DataError: no setting finds anything.
    """
    means = table.mean(axis=1)
    best = float(np.nanmax(means)) if np.isfinite(means).any() else 0.0
    if best <= 0:
        raise DataError("no setting finds anything that was bought", where=data)
    return np.asarray(means / best, np.float64)


def picked(shares: Sequence[Floats]) -> int:
    """The setting with the highest mean share, the first of equal ones; one that fails somewhere is no default."""
    return int(np.nanargmax(np.mean(shares, axis=0)))


def _left_out(data: str, table: Floats, shares: Mapping[str, Floats], resamples: int) -> LeftOut:
    pick = picked([share for other, share in shares.items() if other != data])
    best = int(np.nanargmax(shares[data]))
    gain, lack = (compare(table[pick], table[other], resamples=resamples) for other in (0, best))
    return LeftOut(data, pick, best, float(shares[data][pick]), float(shares[data][0]), gain, lack)


def _spread(table: Floats, left: LeftOut, customers: int) -> Floats:
    """float64[n]: what each customer adds to the gain in shares, so weighed that all data sets count alike.

    The sum over a data set is `customers` times its gain.
    """
    best = table[left.best].mean()
    return np.asarray((table[left.pick] - table[0]) / best * customers / table.shape[1], np.float64)
