"""The Qini of a ranking when the treatment is dealt out again: what luck alone would give.

A randomisation test of the hypothesis that the effect is the same for everybody (Ding, Feller & Miratrix 2016): under
it the reward that a row would have had with the other treatment is known, so treatments are drawn again as they were
drawn in the trial, and the Qini is measured anew. The average effect stays; only its differences between people go.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.uplift.curves import Trial, qini
from training.uplift.log import Doubles, Mask

_CELLS = 2_000_000
"""Rows x permutations that are held in memory at once."""


@dataclass(frozen=True, slots=True)
class Placebo:
    """A real figure among those of luck.

    Args:
        real: the Qini per treated of the trial as it was.
        drawn: float64[m], Qini per treated of each deal, sorted.
        percentile: 100 x the share of deals that are below the real one (an equal one counts half).
        p: (1 + deals at or above the real one) / (1 + m).
    """

    real: float
    drawn: Doubles
    percentile: float
    p: float


def placebo(score: Doubles, trial: Trial, *, permutations: int = 200, seed: int = 0) -> Placebo:
    """Deal the treatment out again and measure the Qini each time.

    With the same probabilities for all rows treatments are permuted: by subject where each subject always had one, else
    by row. Where probabilities differ they are drawn from them.

    Args:
        score: float64[n]; rows where it is NaN are left out.
        trial: of n rows.
        permutations: how often.
        seed: of the deals.

    Returns:
        NaN where the Qini is undefined.
    """
    kept = np.isfinite(score)
    trial = trial.take(kept)
    real = qini(score[kept], trial).value
    if not np.isfinite(real):
        return Placebo(np.nan, np.full(permutations, np.nan), np.nan, np.nan)
    order = np.argsort(-score[kept], kind="stable").astype(np.int64)
    trial = trial.take(order)
    ends = np.flatnonzero(np.append(np.diff(score[kept][order]) != 0, True))
    random = np.random.default_rng(seed)
    chunk = max(1, _CELLS // len(order))
    sizes = [min(chunk, permutations - done) for done in range(0, permutations, chunk)]
    drawn = np.sort(np.concatenate([_qinis(_dealt(trial, size, random), trial, ends) for size in sizes]))
    below = float((drawn < real).mean() + (drawn == real).mean() / 2)
    return Placebo(real, drawn, 100 * below, float((1 + (drawn >= real).sum()) / (1 + permutations)))


def _dealt(trial: Trial, times: int, random: np.random.Generator) -> Mask:
    """bool[times, n]: treatments drawn again."""
    _, first, place = np.unique(trial.subject, return_index=True, return_inverse=True)
    whole = trial.treated[first]
    if (whole[place] != trial.treated).any():
        whole, first, place = trial.treated, np.arange(len(trial)), np.arange(len(trial))
    share = (trial.chance[:, 1] / trial.chance.sum(axis=1))[first]
    if np.ptp(share) < 1e-9:
        return random.permuted(np.tile(whole, (times, 1)), axis=1)[:, place]
    found: Mask = (random.random((times, len(share))) < share)[:, place]
    return found


def _qinis(dealt: Mask, trial: Trial, ends: npt.NDArray[np.intp]) -> Doubles:
    """float64[times]: Qini per treated of rows sorted by score, for each deal; NaN where all or none were treated."""
    total = _difference(trial)
    reward = trial.reward - total * trial.treated  # of the untreated, if the effect is the same for all
    treated = np.where(dealt, 1 / trial.chance[:, 1], 0.0)
    untreated = np.where(dealt, 0.0, 1 / trial.chance[:, 0])
    sums = [np.cumsum(each, axis=1)[:, ends] for each in (treated, untreated)]
    rewards = [
        np.cumsum(each * of, axis=1)[:, ends] for each, of in ((treated, reward + total), (untreated, reward))
    ]  # fmt: skip
    share = np.cumsum(trial.heads)[ends]
    share = share / share[-1]
    both = (sums[0] > 0) & (sums[1] > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = (rewards[0] - rewards[1] * sums[0] / sums[1]) / sums[0][:, -1:]
    first = np.argmax(both, axis=1)
    start = np.take_along_axis(value, first[:, None], axis=1) / share[first][:, None]
    value = np.where(np.arange(len(ends)) < first[:, None], start * share, value)
    area = np.trapezoid(np.pad(value, ((0, 0), (1, 0))), np.append(0.0, share), axis=1)
    found: Doubles = area - value[:, -1] / 2
    return found


def _difference(trial: Trial) -> float:
    """The average effect: weighted mean reward of treated minus untreated."""
    weight = trial.weight
    sides = [np.where(side, weight, 0.0) for side in (trial.treated, ~trial.treated)]
    return float(sides[0] @ trial.reward / sides[0].sum() - sides[1] @ trial.reward / sides[1].sum())
