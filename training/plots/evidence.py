"""Plots of what backs a model: calibration, places in lists, forecasts by tenth, what variety costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from training.plots.drawing import COLOURS, GRID, INK, STYLE, Mark, ends, label, png, whisker


@dataclass(frozen=True, slots=True)
class Spot:
    """A trade-off: what it brings, and what it changes (with its interval, in % of nothing traded off)."""

    name: str
    gain: float
    change: float
    low: float
    high: float
    chosen: bool = False


def deciles(predicted: Sequence[float], observed: Sequence[Mark], *, unit: str, title: str) -> bytes:
    """Mean forecast beside mean outcome of each tenth of the customers.

    The axis is logarithmic where everything is above zero and the tenths lie far apart.

    Args:
        predicted: mean forecast of each tenth, highest first.
        observed: mean outcome of each with its interval, in the same order, named by the tenth.
        unit: what the axis shows.
        title: of the plot.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 4.8), layout="constrained")
        axis = figure.subplots()
        for place, mark in enumerate(observed):
            axis.plot([place, place], [mark.low, mark.high], "-", color=COLOURS["challenger"], linewidth=2)
        axis.plot(
            [mark.value for mark in observed], "o", color=COLOURS["challenger"], markersize=8, label="observed, 95 %"
        )
        axis.plot(predicted, "D", color=COLOURS["champion"], markersize=6, label="forecast")
        ends = [*predicted, *(end for mark in observed for end in (mark.value, mark.low) if np.isfinite(end))]
        if ends and min(ends) > 0 and max(ends) > 20 * min(ends):
            axis.set_yscale("log")
            axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.5g}")
        axis.set_xticks(range(len(observed)), [mark.name for mark in observed])
        axis.set_xlabel("tenths of the customers, those with the highest forecasts first")
        axis.set_ylabel(f"mean {unit} a customer")
        axis.set_title(title)
        axis.legend(frameon=False)
        return png(figure)


def reliability(tasks: Mapping[str, Sequence[tuple[float, Mark]]]) -> bytes:
    """The chance that a score says beside the share that was bought, on logarithmic axes, one panel a task.

    Args:
        tasks: panel title -> predicted chance, and what was observed with its interval.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10.5, 4.6), layout="constrained")
        axes = np.atleast_1d(figure.subplots(1, max(len(tasks), 1)))
        for axis, (title, points) in zip(axes, tasks.items(), strict=False):
            values = [v for said, mark in points for v in (said, mark.value, mark.high) if np.isfinite(v) and v > 0]
            # nothing bought has no place on a logarithm: it stands on the lower edge, with its upper end
            floor, top = min(values, default=0.001) / 2, min(1.0, 1.6 * max(values, default=0.5))
            axis.plot([floor, top], [floor, top], "--", color=INK, linewidth=1)
            for said, mark in points:
                axis.plot([said, said], np.maximum([mark.low, mark.high], floor), "-", color=COLOURS["candidate"])
                axis.plot(said, max(mark.value, floor), "o", color=COLOURS["challenger"], markersize=6)
            axis.set(xscale="log", yscale="log", xlim=(floor, top), ylim=(floor, top), title=title)
            axis.set_xlabel("chance that the score says (mean of a tenth)")
            for side in (axis.xaxis, axis.yaxis):
                side.set_major_formatter(lambda value, _: f"{value:.3g}" if value < 0.001 else f"{100 * value:.3g} %")
        axes[0].set_ylabel("share that was bought")
        return png(figure)


def places(slices: Mapping[str, Sequence[Mark]], *, share: str = "95 %") -> bytes:
    """Mean places in lists, one panel a slice: further left is nearer the top of the list.

    Args:
        slices: panel title -> marks named by order, the same orders in each.
        share: of the intervals.
    """
    names = [mark.name for mark in next(iter(slices.values()))]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10.5, 1.5 + 0.5 * len(names)), layout="constrained")
        axes = np.atleast_1d(figure.subplots(1, len(slices), sharey=True))
        for axis, (title, marks) in zip(axes, slices.items(), strict=True):
            for row, mark in enumerate(reversed(marks)):
                whisker(axis, mark, row)
                label(axis, mark, row, "{:.1f}")
            axis.set(title=title, ylim=(-0.6, len(names) - 0.4), xlim=(0, 1.18 * max(ends(marks), default=1.0)))
            axis.set_xlabel(f"mean place of the bought item, with {share} interval")
            axis.set_yticks(range(len(names)), names[::-1])
            axis.tick_params(length=0)
            axis.grid(visible=False, axis="y")
        return png(figure)


def variety(
    curves: Mapping[str, Mapping[str, Sequence[Spot]]], *, metric: str, margins: Mapping[str, float]
) -> bytes:  # fmt: skip
    """What variety costs: the change of a metric against what a trade-off brings, one row an axis, one panel a task.

    Args:
        curves: what the x axis shows -> panel title -> spots, the first without any trade-off.
        metric: its name.
        margins: panel title -> share of the metric that the lower end of an interval may lose.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10.5, 0.9 + 3.4 * len(curves)), layout="constrained")
        axes = figure.subplots(len(curves), len(margins), squeeze=False)
        for line, (gained, tasks) in zip(axes, curves.items(), strict=True):
            for axis, (title, spots) in zip(line, tasks.items(), strict=True):
                _curve(axis, [spot for spot in spots if np.isfinite(spot.change)])
                axis.axhline(-100 * margins[title], color="#c8553d", linewidth=1, linestyle="--")
                axis.set_title(title)
                axis.set_xlabel(gained)
                axis.set_ylabel(f"change of {metric}, %")
                axis.margins(x=0.12, y=0.15)
        marks = [
            mpl.lines.Line2D([], [], linestyle="", marker="o", color=COLOURS[role], label=label)
            for role, label in (("challenger", "chosen"), ("candidate", "tried, by its weight"))
        ]
        limit = mpl.lines.Line2D([], [], color="#c8553d", linestyle="--", label="no interval may reach below")
        figure.legend(handles=[*marks, limit], loc="outside upper left", ncols=3, frameon=False)
        return png(figure)


def _curve(axis: Any, spots: Sequence[Spot]) -> None:
    axis.plot([spot.gain for spot in spots], [spot.change for spot in spots], "-", color=GRID, linewidth=2, zorder=1)
    for number, spot in enumerate(spots):
        colour = COLOURS["challenger" if spot.chosen else "candidate"]
        if np.isfinite(spot.low):
            axis.plot([spot.gain, spot.gain], [spot.low, spot.high], "-", color=colour, linewidth=1.5)
        axis.plot(spot.gain, spot.change, "o", color=colour, markersize=9 if spot.chosen else 6)
        beside = (5, 7) if number % 2 else (5, -14)  # neighbours often stand close
        axis.annotate(spot.name, (spot.gain, spot.change), xytext=beside, textcoords="offset points", fontsize=9)
