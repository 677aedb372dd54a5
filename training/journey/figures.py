"""What spells come to: sizes, transitions, time in stage, and where people are lost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.journey import STAGES
from features.moments import DAY
from training.intervals import Interval, share_interval
from training.journey.spells import CODE, Counts, Spells

Doubles = npt.NDArray[np.float64]
LEAST = 20
"""Spells of a stage below which nothing is told of how long they last or how they end."""
SILENT = 30 * DAY
"""Who only ever was aware for so long has fallen silent."""
QUARTILES = (0.25, 0.5, 0.75)
_NONE = Interval(np.nan, np.nan, np.nan, 0, 0)


@dataclass(frozen=True, slots=True)
class Figures:
    """Journeys of some subjects within a window. Rows and columns of seven are in the order of `STAGES`.

    Args:
        subjects: who was known by its end.
        customers, visitors: int64[7], how many are in each stage at its end.
        moves: int64[7, 7], changes within it from a stage (row) to another (column).
        move_days: float64[7, 7], median days in the stage before such a change; NaN without one.
        begun: int64[7], spells that began within it.
        days: float64[7, 3], quartiles of the days in a stage of spells that began within it (Kaplan & Meier 1958; those
            that last are censored); NaN where fewer than `LEAST` began, inf where the data do not reach so far.
        drops: of each stage, the share of its spells that ended within the window in *lapsed* or in silence, with a
            Wilson interval over subjects; NaN where fewer than `LEAST` ended.
    """

    subjects: int
    customers: Counts
    visitors: Counts
    moves: Counts
    move_days: Doubles
    begun: Counts
    days: Doubles
    drops: tuple[Interval, ...]

    @property
    def sizes(self) -> Counts:
        """int64[7], subjects in each stage at the end."""
        return self.customers + self.visitors


def figures_of(spells: Spells, customer: npt.NDArray[np.bool_], since: int, until: int) -> Figures:
    """Count spells.

    Args:
        spells: of the subjects in question, known as of `until`.
        customer: bool[subjects], whether each row is a customer and not a visitor.
        since, until: the window, microseconds.
    """
    lasting = spells.following < 0
    at_end, known = spells.stage[lasting], customer[spells.subject[lasting]]
    moved = spells.take(~lasting & (spells.end >= since))
    begun = spells.take(spells.start >= since)
    n = len(STAGES)
    pair = moved.stage.astype(np.int64) * n + moved.following
    return Figures(
        subjects=int(lasting.sum()),
        customers=np.bincount(at_end[known], minlength=n),
        visitors=np.bincount(at_end[~known], minlength=n),
        moves=np.bincount(pair, minlength=n * n).reshape(n, n),
        move_days=np.array([_median(moved, pair == each) for each in range(n * n)]).reshape(n, n),
        begun=np.bincount(begun.stage, minlength=n),
        days=np.array([_quartiles(begun.take(begun.stage == stage)) for stage in range(n)]),
        drops=tuple(_drop(spells, stage, since, until) for stage in range(n)),
    )


def kaplan_meier(days: Doubles, ended: npt.NDArray[np.bool_]) -> tuple[Doubles, Doubles]:
    """Times at which spells ended, and the share that lasts beyond each (Kaplan & Meier 1958, the product limit).

    Args:
        days: float64[n], how long each was seen.
        ended: bool[n], whether it ended then; else it was still lasting (censored).
    """
    times, deaths = np.unique(days[ended], return_counts=True)
    at_risk = len(days) - np.searchsorted(np.sort(days), times)
    return times, np.asarray(np.cumprod(1 - deaths / at_risk), np.float64)


def _quartiles(spells: Spells) -> list[float]:
    """The time by which a quarter, a half, and three quarters have left; inf where that is not seen."""
    if len(spells) < LEAST:
        return [np.nan] * len(QUARTILES)
    times, lasting = kaplan_meier((spells.end - spells.start) / DAY, spells.following >= 0)
    found = [np.flatnonzero(lasting <= 1 - share + 1e-12) for share in QUARTILES]
    return [float(times[places[0]]) if len(places) else np.inf for places in found]


def _median(spells: Spells, which: npt.NDArray[np.bool_]) -> float:
    return float(np.median((spells.end - spells.start)[which]) / DAY) if which.any() else np.nan


def _drop(spells: Spells, stage: int, since: int, until: int) -> Interval:
    """How many leave a stage for *lapsed* or for *awareness*; in awareness, how many stay there for `SILENT`.

    Awareness is decided once it was left or lasted that long; its end is the earlier of both.
    """
    mine = spells.take(spells.stage == stage)
    gone = np.isin(mine.following, [CODE["lapsed"], CODE["awareness"]])
    decided, at = mine.following >= 0, mine.end
    if stage == CODE["lapsed"]:
        return _NONE  # who is lost already cannot be lost again
    if stage == CODE["awareness"]:
        gone = mine.end - mine.start >= SILENT
        decided, at = decided | gone, np.minimum(mine.end, mine.start + SILENT)
    counted = decided & (at >= since) & (at <= until)
    if int(counted.sum()) < LEAST:
        return _NONE
    return share_interval(gone[counted], mine.subject[counted])
