"""The interval of a difference between many and few, where a few customers bring most of the money.

Who is held out was drawn. So the holdout is drawn again, many times, from everybody, and the interval shows how far the
difference moves by the draw alone (Fisher 1935; inverted for a shift, Hodges & Lehmann 1963). An interval of standard
errors does worse here: a small holdout that happens to lack a large purchase has a low mean and a low variance at once,
so personalisation seems to pay too often.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from training.experiments.looks import Difference, Doubles, Mask, adjusted
from training.intervals import Interval

DRAWS: Final = 2000
CELLS: Final = 40_000_000
"""Drawn subjects held in memory at most; with more of them there are fewer draws, and fewer are needed."""
FEWEST: Final = 400
"""Draws at least."""


class Redrawn:
    """Draws of the smaller group, the same for every outcome that is compared.

    Args:
        treated: bool[n], one a subject.
        seed: of the draws.
    """

    def __init__(self, treated: Mask, *, seed: int = 0) -> None:
        self._treated = treated
        self._size = int(min(treated.sum(), (~treated).sum()))
        random = np.random.default_rng(seed)
        draws = min(DRAWS, max(FEWEST, CELLS // max(self._size, 1))) if self._size > 1 else 0
        self._drawn: npt.NDArray[np.int32] = np.empty((draws, self._size), np.int32)
        for row in self._drawn:
            row[:] = random.choice(len(treated), self._size, replace=False, shuffle=False)

    def difference(self, outcome: Doubles, before: Doubles | None = None, *, confidence: float = 0.95) -> Difference:
        """Treated minus held out, a subject; the past taken out as in `looks.difference`.

        Holds where personalisation shifts outcomes and leaves their spread as it is. Where it makes the treated differ
        more among each other, the interval is too wide rather than too narrow.

        Args:
            outcome: float64[n].
            before: float64[n], known before anybody was treated; NaN counts as the mean.
            confidence: of the interval.

        Returns:
            NaN with the counts where a group has fewer than two subjects.
        """
        many, few = int(self._treated.sum()), int((~self._treated).sum())
        nothing = float("nan")
        if not len(self._drawn):
            return Difference(Interval(nothing, nothing, nothing, many + few, 0), many, few, 0.0)
        values, saved = (outcome, 0.0) if before is None else adjusted(outcome, self._treated, before)
        gap = float(values[self._treated].mean() - values[~self._treated].mean())
        tail = 100 * (1 - confidence) / 2
        low, high = np.percentile(self._moved(values), [tail, 100 - tail])
        return Difference(Interval(gap, gap - float(high), gap - float(low), len(values), 0), many, few, saved)

    def _moved(self, values: Doubles) -> Doubles:
        """float64[draws]: differences by the draw alone, of what is left without the means of the two groups."""
        left = np.empty(len(values))
        for group in (self._treated, ~self._treated):
            size = int(group.sum())
            left[group] = (values[group] - values[group].mean()) * np.sqrt(size / (size - 1))
        drawn = np.array([left[row].mean() for row in self._drawn])
        others = -drawn * self._size / (len(values) - self._size)  # all of them together are 0
        found: Doubles = drawn - others
        return found if self._treated.sum() <= (~self._treated).sum() else -found
