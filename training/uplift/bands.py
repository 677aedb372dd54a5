"""The Qini curve at chosen shares, each height with its interval: the band of the report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.uplift.curves import Trial, included
from training.uplift.estimate import Estimate, estimated, unknown
from training.uplift.log import Doubles


def qini_at(score: Doubles, trial: Trial, shares: Sequence[float], *, confidence: float = 0.95) -> list[Estimate]:
    """Heights of the Qini curve per treated (`curves`): Q(x) = u(x) N_t(x) / N_T.

    With weights w of rows, means m_t, m_c and sums N_t, N_c of those inside the share, the derivative by the weight of
    a row is (inside (y - m_c) - Q) / N_T where it was treated, and -inside (y - m_c) N_t / (N_c N_T) where not. Who is
    inside is taken as given. Intervals are pointwise: a whole curve leaves its band more often than a point does.

    Args:
        score: float64[n], NaN where unknown: such rows are left out.
        trial: of n rows.
        shares: of heads, each above 0 and at most 1.
        confidence: of the intervals.

    Returns:
        One a share; NaN where one of the two was never taken among those inside.

    Raises:
        ConfigError: a share that is none.
    """
    kept = np.isfinite(score)
    some = trial.take(kept)
    treated = np.where(some.treated, some.weight, 0.0)
    untreated = np.where(some.treated, 0.0, some.weight)
    total = float(treated.sum())
    found = []
    for share in shares:
        inside = included(score[kept], share, some.heads)
        sums = float(treated @ inside), float(untreated @ inside)
        if not min(sums) > 0:
            found.append(unknown(trial.subject))
            continue
        means = [
            float((side * inside) @ some.reward) / size for side, size in zip((treated, untreated), sums, strict=True)
        ]
        height = (means[0] - means[1]) * sums[0] / total
        away = inside * (some.reward - means[1]) / total
        pull = treated * (away - height / total) - untreated * away * sums[0] / sums[1]
        found.append(estimated(height, pull, trial.subject, kept=kept, confidence=confidence))
    return found
