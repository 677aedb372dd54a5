"""Metrics of effects by name, in one place. Definitions in formulas, with their sources, stand in the two modules.

`curves` measures on the outcomes of a trial: Qini per treated and per head, AUUC, uplift@k. `ranked` measures on doubly
robust scores: AUTOC, gain at a budget, value of treating the top share, calibration by decile.
"""

from __future__ import annotations

from training.uplift.curves import Curve, Trial, auuc, curve, qini, trial_of, uplift_at
from training.uplift.estimate import Estimate, difference, mean_of
from training.uplift.placebo import Placebo, placebo
from training.uplift.ranked import Tenth, autoc, by_decile, gain_at, ranks_in_folds, value_at

__all__ = [
    "Curve", "Estimate", "Placebo", "Tenth", "Trial", "autoc", "auuc", "by_decile", "curve", "difference", "gain_at",
    "mean_of", "placebo", "qini", "ranks_in_folds", "trial_of", "uplift_at", "value_at",
]  # fmt: skip
