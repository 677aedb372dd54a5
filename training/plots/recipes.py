"""Plots of recipes beside each other: figures, differences, slices, coverage, what trees look at, the windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from features.moments import to_datetime
from training.plots.drawing import COLOURS, GRID, INK, MARKERS, STYLE, Mark, ends, label, legend, png, whisker


def comparison(tasks: Mapping[str, Sequence[Mark]], *, metric: str, share: str = "95 %") -> bytes:
    """Recipes side by side, one panel a task, best on the first task at the top.

    Args:
        tasks: panel title -> marks; the same names in each.
        metric: what the axis shows.
        share: of the intervals, for the caption.
    """
    first = next(iter(tasks.values()))
    order = [mark.name for mark in sorted(first, key=lambda mark: np.nan_to_num(mark.value, nan=-1.0))]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10.5, 1.9 + 0.42 * len(order)), layout="constrained")
        axes = np.atleast_1d(figure.subplots(1, len(tasks), sharey=True))
        for axis, (title, marks) in zip(axes, tasks.items(), strict=True):
            place = {name: row for row, name in enumerate(order)}
            for mark in marks:
                whisker(axis, mark, place[mark.name])
                label(axis, mark, place[mark.name])
            axis.set_title(title)
            axis.set_xlabel(f"{metric} with {share} interval")
            axis.set_yticks(range(len(order)), order)
            axis.set_ylim(-0.6, len(order) - 0.4)
            axis.set_xlim(left=0, right=1.18 * max(ends(marks), default=1.0))
            axis.tick_params(length=0)
            axis.grid(visible=False, axis="y")
        legend(figure, first)
        return png(figure)


def forest(groups: Mapping[str, Sequence[Mark]], *, metric: str, share: str = "95 %", beside: str = "against") -> bytes:
    """Paired differences with their intervals and the line of no difference, one panel a task.

    Args:
        groups: panel title -> marks named by what the challenger is compared with.
        metric: what the differences are of.
        share: of the intervals.
        beside: what stands before the names.
    """
    with mpl.rc_context(STYLE):
        heights = [0.8 + len(marks) for marks in groups.values()]
        figure = Figure(figsize=(9, 1.3 + 0.48 * sum(heights)), layout="constrained")
        axes = np.atleast_1d(figure.subplots(len(groups), 1, height_ratios=heights))
        for axis, (title, marks) in zip(axes, groups.items(), strict=True):
            for row, mark in enumerate(reversed(marks)):
                whisker(axis, mark, row, colour=_verdict_colour(mark))
                axis.annotate(
                    _difference(mark), (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=9.5
                )
            axis.axvline(0, color=INK, linewidth=1)
            axis.set_title(title)
            axis.set_yticks(range(len(marks)), [f"{beside} {mark.name}" for mark in reversed(marks)])
            axis.set_ylim(-0.6, max(len(marks), 1) - 0.4)
            axis.tick_params(length=0)
            axis.grid(visible=False, axis="y")
            axis.margins(x=0.1)
            axis.locator_params(axis="x", nbins=6)
        axes[-1].set_xlabel(f"difference in {metric}, paired by customer, with {share} interval; right of 0: better")
        return png(figure)


def slices(values: Mapping[str, Sequence[Mark]], *, metric: str) -> bytes:
    """A metric by slice, one colour a recipe.

    Args:
        values: recipe -> marks named by slice, the same slices in the same order for each.
        metric: what the axis shows.
    """
    palette = ("#0b6e4f", "#3f7cac", "#b8860b", "#7a8793", "#a23b72", "#5f4b8b", "#c8553d", "#2f4858")
    names = [mark.name for mark in next(iter(values.values()))]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 1.7 + 0.62 * len(names)), layout="constrained")
        axis = figure.subplots()
        gap = 0.72 / max(len(values), 1)
        for number, (recipe, marks) in enumerate(values.items()):
            shift = 0.36 - gap * (number + 0.5)
            colour = palette[number % len(palette)]
            for row, mark in enumerate(marks):
                whisker(axis, mark, len(names) - 1 - row + shift, colour=colour, size=5)
            axis.plot([], [], "o", color=colour, label=recipe, markersize=6)
        for row in range(1, len(names)):
            axis.axhline(row - 0.5, color=GRID, linewidth=1)
        axis.set_yticks(range(len(names)), names[::-1])
        axis.set_ylim(-0.5, len(names) - 0.5)
        axis.set_xlim(left=0)
        axis.tick_params(length=0)
        axis.grid(visible=False, axis="y")
        axis.set_xlabel(metric)
        figure.legend(loc="outside upper left", ncols=min(len(values), 4), frameon=False)
        return png(figure)


def coverage(marks: Sequence[tuple[Mark, float]], *, metric: str) -> bytes:
    """How much of the catalogue each recipe recommends, against how well.

    Args:
        marks: recipe's accuracy, and its coverage (share of the catalogue that stands in somebody's list).
        metric: the accuracy's name.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 5), layout="constrained")
        axis = figure.subplots()
        shown = [(mark, share) for mark, share in marks if np.isfinite(mark.value) and np.isfinite(share)]
        for mark, share in shown:
            axis.plot(100 * share, mark.value, MARKERS[mark.role], color=COLOURS[mark.role], markersize=9)
        axis.set_xlabel("catalogue coverage: % of items that stand in somebody's list")
        axis.set_ylabel(metric)
        axis.set_xlim(-1, 1.35 * max((100 * share for _, share in shown), default=1.0))
        axis.set_ylim(0, 1.12 * max((mark.value for mark, _ in shown), default=1.0))
        _name_points(axis, [(100 * share, mark.value, mark.name) for mark, share in shown])
        axis.set_title("The upper right is where one wants to be")
        legend(figure, [mark for mark, _ in shown])
        return png(figure)


def learned(tasks: Mapping[str, Mapping[str, float]], *, most: int = 15) -> bytes:
    """What a ranker's trees split on: the share of the whole gain that each column brought, one panel a task.

    Args:
        tasks: panel title -> column -> share.
        most: columns shown, largest first.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10.5, 1.2 + 0.32 * most), layout="constrained")
        axes = np.atleast_1d(figure.subplots(1, len(tasks)))
        for axis, (title, shares) in zip(axes, tasks.items(), strict=True):
            top = sorted(shares.items(), key=lambda pair: (-pair[1], pair[0]))[:most][::-1]
            axis.barh([name for name, _ in top], [100 * share for _, share in top], color=COLOURS["challenger"])
            axis.set_title(title)
            axis.set_xlabel("% of the gain of all splits")
            axis.grid(visible=False, axis="y")
        return png(figure)


def months(counts: Mapping[str, Mapping[int, int]], windows: Mapping[str, tuple[int, int]]) -> bytes:
    """Events a month, stacked by type, with the windows shaded.

    Args:
        counts: event type -> {instant of the month's first moment: events}.
        windows: name -> [start, end) in instants.
    """
    palette = ("#3f7cac", "#0b6e4f", "#b8860b", "#a23b72", "#c8553d", "#7a8793")
    starts = sorted({month for by_month in counts.values() for month in by_month})
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 4), layout="constrained")
        axis = figure.subplots()
        base = np.zeros(len(starts))
        ends = [_next_month(start) for start in starts]
        width = [(end - start) / 86_400e6 * 0.94 for start, end in zip(starts, ends, strict=True)]
        left: Any = [to_datetime(start) for start in starts]
        for number, (kind, by_month) in enumerate(counts.items()):
            height = np.array([by_month.get(start, 0) for start in starts], float)
            colour = palette[number % len(palette)]
            axis.bar(left, height, width, bottom=base, align="edge", color=colour, label=kind.replace("_", " "))
            base = base + height
        axis.set_ylim(0, 1.22 * max(base.max(initial=1.0), 1.0))
        for number, (name, (start, end)) in enumerate(windows.items()):
            colour = ("#b8860b", "#c8553d")[number % 2]
            axis.axvspan(_day(start), _day(end), color=colour, alpha=0.16, linewidth=0, zorder=0)
            axis.vlines([_day(start), _day(end)], 0, axis.get_ylim()[1], color=colour, linewidth=1, linestyle=":")
            middle = _day((start + end) // 2)
            axis.text(middle, axis.get_ylim()[1] * 0.985, name.replace(" ", "\n"), ha="center", va="top", fontsize=9)
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axis.set_ylabel("events a month")
        axis.grid(visible=False, axis="x")
        if counts:
            figure.legend(loc="outside upper left", ncols=6, frameon=False)
        return png(figure)


def _name_points(axis: Any, points: Sequence[tuple[float, float, str]]) -> None:
    """Names to the right of their points; one that would stand on something moves down, with a line to its point."""
    (left, right), (bottom, top) = axis.get_xlim(), axis.get_ylim()
    line, letter = 0.05 * (top - bottom), 0.014 * (right - left)
    used = [(x - letter, x + letter, y) for x, y, _ in points]
    for x, y, name in sorted(points, key=lambda point: (-point[1], -point[0])):
        start, level = x + 1.6 * letter, y
        end = start + letter * len(name)
        while any(abs(level - other) < line and start < stop and begin < end for begin, stop, other in used):
            level -= 0.2 * line
        used.append((start, end, level))
        if level != y:
            axis.plot([x, start], [y, level], color="#9aa5ae", linewidth=1, zorder=1)
        axis.text(start, level, name, va="center", fontsize=9.5)


def _difference(mark: Mark) -> str:
    if not np.isfinite(mark.value):
        return "nobody to judge it on"
    interval = f" [{mark.low:+.4f}, {mark.high:+.4f}]" if np.isfinite(mark.low) else ""
    return f"{mark.value:+.4f}{interval}"


def _verdict_colour(mark: Mark) -> str:
    if np.isfinite(mark.low) and mark.low > 0:
        return "#0b6e4f"
    return "#c8553d" if np.isfinite(mark.high) and mark.high < 0 else "#7a8793"


def _next_month(start: int) -> int:
    at = to_datetime(start)
    following = datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)
    return int(following.timestamp()) * 1_000_000


def _day(instant: int) -> Any:
    return to_datetime(instant)
