"""What a learner's effects are worth before anything is done with them: ranking, gain, calibration, placebo."""

from __future__ import annotations

from dataclasses import dataclass

from training.uplift import metrics
from training.uplift.crossfit import CrossFit
from training.uplift.estimate import Estimate
from training.uplift.options import StudyOptions

TREATED_SHARE = 0.3
"""Share of heads at which a gain beyond random is told."""


@dataclass(frozen=True)
class Measured:
    """What a learner's effects of one action on one reward are worth.

    Args:
        learner, action, reward: of what.
        qini, autoc, gain: per treated, on doubly robust scores, of the best `TREATED_SHARE` beyond random.
        slope: of calibration.
        placebo: percentile of the Qini among permuted treatments; NaN where it was not asked for.
    """

    learner: str
    action: str
    reward: str
    qini: Estimate
    autoc: Estimate
    gain: Estimate
    slope: Estimate
    placebo: float


def measure(fit: CrossFit, options: StudyOptions) -> list[Measured]:
    """What each learner's effects of each action are worth, before anything is done with them."""
    found = []
    for arm, action in enumerate(fit.log.actions[1:]):
        trial = fit.trial(action)
        effect = fit.contrasts[:, arm]
        for learner, effects in fit.effects.items():
            # Models of different folds have different averages: rows are ranked within their fold.
            score = metrics.ranks_in_folds(effects[:, arm], fit.fold)
            here = score[trial.places]
            dealt = metrics.placebo(here, trial, permutations=options.permutations, seed=options.seed)
            slope = fit.calibration(learner)[arm].slope
            found.append(Measured(
                learner, str(action), fit.reward, metrics.qini(here, trial),
                metrics.autoc(score, effect, fit.log.subject),
                metrics.gain_at(score, effect, fit.log.subject, TREATED_SHARE, over_random=True), slope,
                dealt.percentile,
            ))  # fmt: skip
    return found
