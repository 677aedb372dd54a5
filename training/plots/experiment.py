"""The plot of an experiment: what each arm changes, outcome by outcome and group by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from training.plots.drawing import COLOURS, INK, LITERAL, Mark, png, rows, whisker


def differences(panels: Mapping[str, Sequence[Mark]], *, unit: str) -> bytes:
    """Differences with their intervals around a line at no difference, one panel under the other.

    A reader should see which intervals lie wholly to one side of the line: only these are differences.

    Args:
        panels: heading -> marks, top to bottom; a NaN value is named and has no mark.
        unit: of the axis.
    """
    heights = [len(marks) + 0.9 for marks in panels.values()]
    with mpl.rc_context(LITERAL):
        figure = Figure(figsize=(9.5, 1.0 + 0.4 * sum(heights)), layout="constrained")
        axes = np.atleast_1d(figure.subplots(max(len(panels), 1), 1, sharex=True, height_ratios=heights or None))
        for axis, (title, marks) in zip(axes, panels.items(), strict=False):
            for row, mark in enumerate(reversed(marks)):
                clear = mark.low > 0 or mark.high < 0
                whisker(axis, mark, row, colour=COLOURS["challenger"] if clear else COLOURS["baseline"])
            axis.axvline(0, color=INK, linewidth=1, linestyle="--")
            rows(axis, title, marks, told)
        axes[-1].set_xlabel(unit)
        return png(figure)


def told(mark: Mark) -> str:
    """The value and its interval in figures."""
    if not np.isfinite(mark.value):
        return "not defined"
    return f"{mark.value:+.3g} [{mark.low:+.3g}, {mark.high:+.3g}]" if np.isfinite(mark.low) else f"{mark.value:+.3g}"
