"""Effects brought to their true size: slope and intercept on held-out doubly robust scores, shrunk to the average.

Trees on noisy differences rank better than they measure. For each arm the doubly robust scores are regressed on the
out-of-fold effects; the slope says how much of the predicted differences is there. It is shrunk towards 0, which is one
effect for everybody, by how well it is known (positive-part James & Stein): where nothing was learned, the calibrated
effect is the average effect.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.uplift.estimate import Estimate, estimated, unknown
from training.uplift.log import Codes, Doubles, Whole


@dataclass(frozen=True, slots=True)
class ArmCalibration:
    """How the effects of one arm are brought to size.

    Args:
        slope: of scores on effects; 1 is right, below 1 the differences are exaggerated.
        intercept: of the same, 0 is right.
        average: the average effect, mean of the scores.
        centre: mean of the effects.
        kept: the slope that is used: slope x max(0, 1 - (error / slope)^2), and 0 for a slope at or below 0.
    """

    slope: Estimate
    intercept: Estimate
    average: Estimate
    centre: float
    kept: float

    def apply(self, effect: Doubles) -> Doubles:
        """float64[n]: average + kept x (effect - centre); the average alone where nothing is kept."""
        return self.average.value + self.kept * (effect - self.centre)


def calibrated(effect: Doubles, score: Doubles, subject: Whole, *, confidence: float = 0.95) -> ArmCalibration:
    """Calibrate the effects of one arm.

    Args:
        effect: float64[n], out-of-fold effects, NaN where unknown.
        score: float64[n], doubly robust scores, NaN where unknown.
        subject: int64[n], clusters of the standard errors (sandwich, Liang & Zeger 1986).
        confidence: of the intervals.

    Returns:
        An undefined slope, of which nothing is kept, where all effects are equal; all undefined without rows.
    """
    kept = np.isfinite(effect) & np.isfinite(score)
    n = int(kept.sum())
    if not n:
        return ArmCalibration(unknown(subject), unknown(subject), unknown(subject), np.nan, 0.0)
    x, y = effect[kept], score[kept]
    centre, mean = float(x.mean()), float(y.mean())
    average = estimated(mean, (y - mean) / n, subject, kept=kept, confidence=confidence)
    spread = float(((x - centre) ** 2).mean())
    if spread <= (1e-9 * max(1.0, float(np.abs(x).max()))) ** 2:
        return ArmCalibration(unknown(subject), unknown(subject), average, centre, 0.0)
    value = float(((x - centre) * (y - mean)).mean()) / spread
    left = y - mean - value * (x - centre)
    slope = estimated(value, left * (x - centre) / spread / n, subject, kept=kept, confidence=confidence)
    base = left * (1 - centre * (x - centre) / spread) / n
    intercept = estimated(mean - value * centre, base, subject, kept=kept, confidence=confidence)
    return ArmCalibration(slope, intercept, average, centre, shrunk(value, slope.error))


def shrunk(slope: float, error: float) -> float:
    """The slope times its reliability, 1 - (error / slope)^2 where that is positive, else 0."""
    return max(0.0, slope - error * error / slope) if slope > 0 and np.isfinite(error) else 0.0


def calibrations_of(effects: Doubles, contrasts: Doubles, subject: Whole) -> tuple[ArmCalibration, ...]:
    """Of each arm, from float64[n, k-1] out-of-fold effects and doubly robust scores: what serving applies."""
    return tuple(calibrated(effects[:, arm], contrasts[:, arm], subject) for arm in range(effects.shape[1]))


def applied(found: tuple[ArmCalibration, ...], effects: Doubles) -> Doubles:
    """float64[n, k-1]: calibrated effects."""
    return np.column_stack([each.apply(effects[:, arm]) for arm, each in enumerate(found)])


def out_of_fold(effects: Doubles, contrasts: Doubles, subject: Whole, fold: Codes) -> Doubles:
    """float64[n, k-1]: effects calibrated on the other folds, for judging thresholds on the same log."""
    calm = np.full(effects.shape, np.nan)
    for j in np.unique(fold):
        others, here = fold != j, fold == j
        found = calibrations_of(effects[others], contrasts[others], subject[others])
        calm[here] = applied(found, effects[here])
    return calm
