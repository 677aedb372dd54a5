"""Plots of an uplift study: whom an action moves, what a budget brings, what policies are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from training.plots.drawing import COLOURS, GRID, INK, LITERAL, Mark, png, rows, whisker

Doubles = npt.NDArray[np.float64]
LOST = "#c8553d"
Stroke = Literal["-", "--", ":"]
ROLES: Mapping[str, tuple[str, Stroke, float]] = {
    "learner": (COLOURS["challenger"], "-", 2.4),
    "linear-T": ("#3f7cac", "-", 1.4),
    "response": ("#b8860b", "-", 1.4),
    "constant": ("#a23b72", ":", 1.8),
    "random": (INK, "--", 1.2),
}
"""Colour, stroke and width of each role; a line of another role looks like the random one."""
ACROSS = 3
"""Panels side by side."""


@dataclass(frozen=True, slots=True)
class Line:
    """A curve over shares, with its pointwise interval where it has one.

    Args:
        name: as the legend shows it.
        role: of `ROLES`.
        share: float64[m], of what the axis shows.
        value: float64[m].
        low, high: float64[m] or None.
    """

    name: str
    role: str
    share: Doubles
    value: Doubles
    low: Doubles | None = None
    high: Doubles | None = None


def qini_curves(panels: Mapping[str, Sequence[Line]], *, unit: str = "outcomes a customer") -> bytes:
    """What reaching the best first brings, one panel an action and outcome.

    A reader should see whether the thick line bulges above the dashed one, which reaches customers in random order, by
    more than its band is wide, and whether it lies above the simpler rankings beside it. All lines end at the same
    point: everybody is reached.

    Args:
        panels: title -> lines; shares of customers in [0, 1].
        unit: of the upright axis.
    """
    with mpl.rc_context(LITERAL):
        figure, axes = _grid(len(panels), height=4.2)
        for axis, (title, lines) in zip(axes, panels.items(), strict=False):
            for line in lines:
                _stroke(axis, line, 100.0)
            axis.axhline(0, color=GRID, linewidth=1)
            axis.set(title=title, xlim=(0, 100), xlabel="% of customers reached, best first")
            axis.set_ylabel(f"gained {unit}")
        _strokes(figure, [line for lines in panels.values() for line in lines])
        return png(figure)


def gains(lines: Sequence[Line], points: Sequence[tuple[str, float, float]], *, spent: str, gained: str) -> bytes:
    """What each budget brings after its cost, for rankings beside handing the best single action out at random.

    A reader should see where the thick line is highest, which is the budget that pays best, and how far it lies above
    the dashed line there. Where the line bends down, further money is lost.

    Args:
        lines: shares are the budget.
        points: name, budget and gain of what is marked.
        spent, gained: units of the two axes.
    """
    with mpl.rc_context(LITERAL):
        figure = Figure(figsize=(9, 4.8), layout="constrained")
        axis = figure.subplots()
        for line in lines:
            _stroke(axis, line, 1.0)
        for name, x, y in points:
            axis.plot(x, y, "D", color=INK, markersize=6, zorder=5)
            axis.annotate(name, (x, y), xytext=(0, 9), textcoords="offset points", fontsize=9, ha="center", zorder=6)
        axis.axhline(0, color=GRID, linewidth=1)
        axis.margins(x=0.04, y=0.12)
        axis.set_xlabel(spent)
        axis.set_ylabel(gained)
        _strokes(figure, lines)
        return png(figure)


def values(groups: Mapping[str, Sequence[Mark]], *, unit: str, best: float, share: str = "95 %") -> bytes:
    """What each way of deciding is worth, with its interval, under a line at the best single action.

    A reader should see whether the policy's whole interval lies to the right of the line: else one action for
    everybody does as well.

    Args:
        groups: heading -> marks, top to bottom.
        unit: of the axis.
        best: value of the best single action; NaN draws no line.
        share: of the intervals.
    """
    marks = [mark for group in groups.values() for mark in group]
    heights = [len(group) + 0.9 for group in groups.values()]
    with mpl.rc_context(LITERAL):
        figure = Figure(figsize=(9.5, 1.0 + 0.42 * sum(heights)), layout="constrained")
        axes = np.atleast_1d(figure.subplots(len(groups), 1, sharex=True, height_ratios=heights))
        for axis, (title, group) in zip(axes, groups.items(), strict=True):
            for row, mark in enumerate(reversed(group)):
                whisker(axis, mark, row)
            if np.isfinite(best):
                axis.axvline(best, color=LOST, linewidth=1, linestyle="--")
            rows(axis, title, group, _told)
        axes[-1].set_xlabel(f"{unit}, with {share} interval" if marks else unit)
        if np.isfinite(best):
            line = mpl.lines.Line2D([], [], color=LOST, linestyle="--", label="best single action for everybody")
            figure.legend(handles=[line], loc="outside upper left", frameon=False)
        return png(figure)


def effect_tenths(panels: Mapping[str, Sequence[tuple[float, Mark]]], *, unit: str, share: str = "95 %") -> bytes:
    """What was foretold for each tenth of the customers beside what came, one panel an action and outcome.

    A reader should see points along the dashed line, from the lower left to the upper right. Points level in height
    mean that the differences between customers which the model foretells are not there.

    Args:
        panels: title -> forecast and what was observed, for each tenth.
        unit: of both axes.
        share: of the intervals.
    """
    with mpl.rc_context(LITERAL):
        figure, axes = _grid(len(panels), height=4.2)
        for axis, (title, points) in zip(axes, panels.items(), strict=False):
            told = [x for x, _ in points if np.isfinite(x)]
            seen = [end for _, mark in points for end in (mark.low, mark.high, mark.value) if np.isfinite(end)]
            if told and seen:
                ends = [min(min(told), min(seen)), max(max(told), max(seen))]
                axis.plot(ends, ends, "--", color=INK, linewidth=1)
            for x, mark in points:
                axis.plot([x, x], [mark.low, mark.high], "-", color=COLOURS["candidate"], linewidth=1.6)
                axis.plot(x, mark.value, "o", color=COLOURS["challenger"], markersize=6)
            axis.axhline(0, color=GRID, linewidth=1.4)
            axis.margins(x=0.1, y=0.08)
            axis.locator_params(axis="x", nbins=5)
            axis.set(title=title, xlabel=f"foretold {unit}")
            axis.set_ylabel(f"observed, with {share} interval")
        return png(figure)


def _grid(panels: int, *, height: float) -> tuple[Figure, Sequence[Any]]:
    """A figure with so many axes, `ACROSS` side by side; those too many are not shown."""
    across = max(1, min(panels, ACROSS))
    down = max(1, -(-panels // across))
    figure = Figure(figsize=(max(6.5, 4.4 * across), height * down + 0.3), layout="constrained")
    axes = np.atleast_1d(figure.subplots(down, across)).ravel().tolist()
    for axis in axes[max(panels, 1) :]:
        axis.set_visible(False)
    return figure, list(axes)


def _stroke(axis: Any, line: Line, scale: float) -> None:
    colour, stroke, width = ROLES.get(line.role, ROLES["random"])
    if line.low is not None and line.high is not None:
        axis.fill_between(scale * line.share, line.low, line.high, color=colour, alpha=0.16, linewidth=0)
    axis.plot(scale * line.share, line.value, stroke, color=colour, linewidth=width, zorder=3 - (line.role == "random"))


def _strokes(figure: Figure, lines: Sequence[Line]) -> None:
    """Each line's name once, above the figure."""
    handles = []
    for name, role in dict.fromkeys((line.name, line.role) for line in lines):
        colour, stroke, width = ROLES.get(role, ROLES["random"])
        handles.append(mpl.lines.Line2D([], [], color=colour, linestyle=stroke, linewidth=width, label=name))
    if handles:
        figure.legend(handles=handles, loc="outside upper left", ncols=min(len(handles), 3), frameon=False)


def _told(mark: Mark) -> str:
    if not np.isfinite(mark.value):
        return "nobody to judge it on"
    low, value, high = (
        f"{each:,.0f}" if abs(each) >= 1000 else f"{each:.4g}" for each in (mark.low, mark.value, mark.high)
    )
    return f"{value} [{low}, {high}]" if np.isfinite(mark.low) else value
