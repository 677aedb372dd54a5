"""The plot of a search, in the style of the plots of a training run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from training.plots.drawing import COLOURS, STYLE, png


@dataclass(frozen=True, slots=True)
class Point:
    """A trial of a search: what it reached, and how it ended (`complete`, `pruned`, ...)."""

    number: int
    value: float
    state: str


def history(points: Sequence[Point], default: float, *, metric: str) -> bytes:
    """The trials of a search in their order, the best so far as a line, and the default as another.

    Args:
        points: one a trial.
        default: its value.
        metric: what the axis shows.
    """
    styles = {"complete": ("o", COLOURS["candidate"]), "pruned": ("x", COLOURS["baseline"])}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 4.2), layout="constrained")
        axis = figure.subplots()
        for state, (marker, colour) in styles.items():
            shown = [point for point in points if point.state == state and np.isfinite(point.value)]
            if shown:
                where = [point.number for point in shown], [point.value for point in shown]
                axis.plot(
                    *where,
                    marker,
                    color=colour,
                    label="stopped early, over some customers" if state == "pruned" else state,
                )
        judged = [point for point in points if point.state == "complete"]
        best = np.maximum.accumulate([point.value for point in judged])
        numbers = [point.number for point in judged]
        axis.step(numbers, best, where="post", color=COLOURS["challenger"], linewidth=2, label="best so far")
        axis.axhline(default, color=COLOURS["champion"], linewidth=1, linestyle="--", label="default")
        axis.locator_params(axis="x", integer=True)
        axis.set_xlabel("trial")
        axis.set_ylabel(metric)
        figure.legend(loc="outside upper left", ncols=4, frameon=False)
        return png(figure)
