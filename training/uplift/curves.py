"""Curves over shares treated, from outcomes of a trial: Qini, AUUC and uplift@k, with one definition each.

Rows are sorted by score, highest first. At a cut with the share x of the heads above it, let N_t, N_c be the summed
weights of treated and untreated rows above it, S_t, S_c their summed weighted rewards, N_T and N the totals; a row
weighs 1 / (probability of what was taken), so with constant probabilities all weights of an arm cancel.

- uplift at the cut: u(x) = S_t / N_t - S_c / N_c
- Qini curve: Q(x) = (S_t - S_c N_t / N_c) / N_T = u(x) N_t / N_T     (Radcliffe 2007, per treated)
- gain curve: G(x) = u(x) x                                             (Gutierrez & Gerardy 2016, per head)
- Qini per treated: integral of Q(x) dx - Q(1) / 2
- Qini per head: the same with the number of all heads below the line, which is per treated x (treated rows / rows)
- AUUC: integral of G(x) dx
- uplift@k: u(k)

Integrals are trapezoids between the cuts where the score changes: rows of one score come in together, at the average
order, so the order of a file decides nothing. Before the first cut that has both arms the curve is a line from 0.

The same predictions get other figures elsewhere. With q our Qini per treated, n = rows, n_t = treated rows, constant
probabilities:

- scikit-uplift, area under `qini_curve`: n n_t (q + Q(1) / 2); under `uplift_curve`: n^2 AUUC
- scikit-uplift `qini_auc_score`: n n_t q / (the same area for the best order that knows outcomes)
- causalml `qini_score(normalize=False)`: n_t q n / (n + 1), by default also / (n_t |Q(1)|)
- causalml `auuc_score(normalize=False)`: n AUUC but for terms of one row, by default also / (n |G(1)|)
- EconML `DRTester`, "qini": on doubly robust scores, x (mean of the top x - mean of all) over shares from 5 % to 95 %,
  an estimate of integral G(x) dx - G(1) / 2; its "toc" is that over x, whose mean over all shares is our AUTOC

`tests/test_uplift/test_peers.py` holds the exact formulas against what these packages answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from features.errors import ConfigError, DataError
from training.uplift.estimate import Estimate, estimated, unknown
from training.uplift.log import NULL, DecisionLog, Doubles, Mask, Whole

Kind = Literal["qini", "gain"]


@dataclass(frozen=True)
class Trial:
    """One action against null.

    Args:
        treated: bool[n], whether the action was taken.
        reward: float64[n], all known.
        chance: float64[n, 2], probability of null and of the action.
        subject: int64[n].
        places: int64[n], rows of the log that these are.
    """

    treated: Mask
    reward: Doubles
    chance: Doubles
    subject: Whole
    places: Whole

    def __len__(self) -> int:
        return len(self.treated)

    def take(self, rows: Mask | Whole) -> Trial:
        """Some of the rows, by mask or by place."""
        return Trial(
            self.treated[rows], self.reward[rows], self.chance[rows], self.subject[rows], self.places[rows]
        )  # fmt: skip

    @property
    def weight(self) -> Doubles:
        """float64[n]: 1 / probability of what was taken."""
        found: Doubles = 1.0 / np.where(self.treated, self.chance[:, 1], self.chance[:, 0])
        return found

    @property
    def heads(self) -> Doubles:
        """float64[n]: how many heads a row stands for: 1 / probability that it would be one of the two."""
        found: Doubles = 1.0 / self.chance.sum(axis=1)
        return found


def trial_of(
    log: DecisionLog, reward: str, action: str | None, *, chance: Doubles | None = None, rows: Mask | None = None
) -> Trial:  # fmt: skip
    """The usable decisions of known reward in which one action or null was taken and either could have been.

    Args:
        log: decisions.
        reward: name of a reward.
        action: one of the log's actions, not null.
        chance: float64[n, k], probabilities; default those of the log.
        rows: bool[n], further limits.

    Raises:
        DataError: no such reward or action.
    """
    if action not in log.actions[1:]:
        raise DataError("the log has no such action", got=action, hint=f"it has: {log.actions[1:]}")
    pair = [NULL, log.actions.index(action)]
    both = (log.propensity if chance is None else chance)[:, pair]
    value = log.reward(reward)
    kept = np.isin(log.action, pair) & (both > 0).all(axis=1) & log.usable & np.isfinite(value)
    places = np.flatnonzero(kept if rows is None else kept & rows)
    return Trial(log.action[places] == pair[1], value[places], both[places], log.subject[places], places)


@dataclass(frozen=True)
class Curve:
    """Points of a curve, from (0, 0): the share treated, and the value there."""

    share: Doubles
    value: Doubles

    @property
    def area(self) -> float:
        """Under the curve."""
        return float(np.trapezoid(self.value, self.share))


@dataclass(frozen=True)
class _Cuts:
    """Cumulated sums at the cuts, and of each row (in the order given) its cut."""

    at: npt.NDArray[np.int64]
    heads: Doubles
    treated: Doubles
    untreated: Doubles
    mean_treated: Doubles
    mean_untreated: Doubles

    @property
    def share(self) -> Doubles:
        found: Doubles = self.heads / self.heads[-1]
        return found

    @property
    def uplift(self) -> Doubles:
        return self.mean_treated - self.mean_untreated

    def slope(self, kind: Kind) -> Doubles:
        """What the uplift is multiplied by: the share of the treated, or of the heads."""
        return self.treated / self.treated[-1] if kind == "qini" else self.share


def curve(score: Doubles, trial: Trial, kind: Kind = "qini") -> Curve:
    """The Qini curve per treated, or the gain curve per head.

    Args:
        score: float64[n], NaN where unknown: such rows are left out.
        trial: of n rows.
        kind: of the curve.

    Raises:
        DataError: one of the two was never taken.
    """
    kept = _known(score, trial)
    cuts = _cuts(score, trial, kept)
    if cuts is None:
        raise DataError("a curve needs rows of both", got=int(trial.treated.sum()), hint="treated and untreated ones")
    return Curve(np.append(0.0, cuts.share), np.append(0.0, cuts.slope(kind) * cuts.uplift))


def qini(
    score: Doubles, trial: Trial, *, per: Literal["treated", "head"] = "treated", confidence: float = 0.95
) -> Estimate:
    """Area between the Qini curve and the line to its end; 0 for a score that is the same for all.

    Args:
        score: float64[n], NaN where unknown.
        trial: of n rows.
        per: what rewards are divided by: the treated (what the population gains per head if all of it can be treated),
            or all heads of the trial (Radcliffe's per head; half of it where half were treated).
        confidence: of the interval.

    Returns:
        NaN where one of the two was never taken.
    """
    kept = _known(score, trial)
    cuts = _cuts(score, trial, kept)
    if cuts is None:
        return unknown(trial.subject)
    area, of_area = _area(cuts, trial, kept, "qini")
    total, of_total = _average(cuts, trial, kept)
    factor = 1.0 if per == "treated" else float(trial.treated[kept].mean())
    return estimated(
        factor * (area - total / 2), factor * (of_area - of_total / 2), trial.subject, kept=kept, confidence=confidence
    )


def auuc(score: Doubles, trial: Trial, *, confidence: float = 0.95) -> Estimate:
    """Area under the gain curve; half the average effect for a score that is the same for all. NaN as for `qini`."""
    kept = _known(score, trial)
    cuts = _cuts(score, trial, kept)
    if cuts is None:
        return unknown(trial.subject)
    return estimated(*_area(cuts, trial, kept, "gain"), trial.subject, kept=kept, confidence=confidence)


def uplift_at(score: Doubles, trial: Trial, share: float, *, confidence: float = 0.95) -> Estimate:
    """Mean reward of treated minus untreated among the heads of highest score.

    Where the border cuts through rows of one score each of them counts in part: the mean over all orders of them. The
    border is taken as given in the interval.

    Args:
        score: float64[n], NaN where unknown.
        trial: of n rows.
        share: of heads, above 0 and at most 1.
        confidence: of the interval.

    Returns:
        NaN where one of the two was never taken in that part.

    Raises:
        ConfigError: a share that is none.
    """
    kept = _known(score, trial)
    inside = np.zeros(len(trial))
    inside[kept] = included(score[kept], share, trial.heads[kept])
    weight = trial.weight * inside
    sides = [np.where(side, weight, 0.0) for side in (trial.treated, ~trial.treated)]
    if not all(side.sum() > 0 for side in sides):
        return unknown(trial.subject)
    means = [float(side @ trial.reward) / float(side.sum()) for side in sides]
    pulls = [side * (trial.reward - mean) / side.sum() for side, mean in zip(sides, means, strict=True)]
    return estimated(
        means[0] - means[1], (pulls[0] - pulls[1])[kept], trial.subject, kept=kept, confidence=confidence
    )  # fmt: skip


def included(score: Doubles, share: float, heads: Doubles | None = None) -> Doubles:
    """float64[n]: how much of each row lies in the top share; in part where a border cuts through equal scores.

    Raises:
        ConfigError: a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise ConfigError("a share of heads lies above 0 and at most at 1", where="share", got=share)
    heads = np.ones(len(score)) if heads is None else heads
    _, group = np.unique(-score, return_inverse=True)
    size = np.bincount(group, weights=heads)
    above = np.cumsum(size) - size
    found: Doubles = np.clip((share * size.sum() - above) / size, 0.0, 1.0)[group]
    return found


def _known(score: Doubles, trial: Trial) -> Mask:
    if len(score) != len(trial):
        raise ConfigError("each row needs its score", got=(len(score), len(trial)))
    return np.isfinite(score)


def _cuts(score: Doubles, trial: Trial, kept: Mask) -> _Cuts | None:
    """None where one of the two was never taken."""
    treated, weight = trial.treated[kept], trial.weight[kept]
    if not treated.any() or treated.all():
        return None
    group: Whole = np.unique(-score[kept], return_inverse=True)[1].astype(np.int64)
    each = [weight * treated, weight * ~treated]
    sums = [_cumulated(group, one) for one in each]
    rewards = [_cumulated(group, one * trial.reward[kept]) for one in each]
    heads = _cumulated(group, trial.heads[kept])
    first = int(np.argmax((sums[0] > 0) & (sums[1] > 0)))  # rows above the first cut with both come in with it
    means = [reward[first:] / one[first:] for reward, one in zip(rewards, sums, strict=True)]
    return _Cuts(np.maximum(group - first, 0), heads[first:], sums[0][first:], sums[1][first:], means[0], means[1])


def _area(cuts: _Cuts, trial: Trial, kept: Mask, kind: Kind) -> tuple[float, Doubles]:
    """The area under a curve and its derivative by the weight of each row.

    The weight of a row moves the mean of its arm at every cut below it, the slope, and the width of its own step.
    """
    treated, weight, reward = trial.treated[kept], trial.weight[kept], trial.reward[kept]
    share, slope, uplift, at = cuts.share, cuts.slope(kind), cuts.uplift, cuts.at
    heads = trial.heads[kept] / cuts.heads[-1]
    value = slope * uplift
    step = np.diff(share, prepend=0.0)
    height = (value + np.append(0.0, value[:-1])) / 2
    area = float(height @ step)
    width = (step + np.append(step[1:], 0.0)) / 2  # derivative by the value at each cut
    pulls = [
        sign * weight * (reward * _below(width * slope / total)[at] - _below(width * slope * mean / total)[at])
        for sign, total, mean in (
            (1.0, cuts.treated, cuts.mean_treated), (-1.0, cuts.untreated, cuts.mean_untreated)
        )
    ]  # fmt: skip
    part = weight * treated / cuts.treated[-1] if kind == "qini" else heads
    steeper = part * (_below(width * uplift)[at] - float(width @ value))
    return area, np.where(treated, pulls[0], pulls[1]) + steeper + heads * (height[at] - area)


def _average(cuts: _Cuts, trial: Trial, kept: Mask) -> tuple[float, Doubles]:
    """The uplift over all rows and its derivative by the weight of each."""
    treated, weight, reward = trial.treated[kept], trial.weight[kept], trial.reward[kept]
    pull = np.where(
        treated,
        (reward - cuts.mean_treated[-1]) / cuts.treated[-1],
        (cuts.mean_untreated[-1] - reward) / cuts.untreated[-1],
    )
    return float(cuts.uplift[-1]), weight * pull


def _cumulated(group: Whole, values: Doubles) -> Doubles:
    """Of each cut the sum over it and all cuts above it."""
    return np.cumsum(np.bincount(group, weights=values)).astype(np.float64, copy=False)


def _below(values: Doubles) -> Doubles:
    """Of each cut the sum over it and all cuts below it."""
    return np.cumsum(values[::-1])[::-1]
