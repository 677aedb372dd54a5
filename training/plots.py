"""Plots of a training run: the one module that speaks matplotlib. Each function gives the bytes of a PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from features.moments import to_datetime

mpl.use("Agg")

INK, GRID, PAPER = "#22303c", "#dfe4e8", "#ffffff"
COLOURS: Mapping[str, str] = {
    "champion": "#b8860b",
    "challenger": "#0b6e4f",
    "baseline": "#7a8793",
    "candidate": "#3f7cac",
}
"""One colour a role, told apart in grey as well by the marker."""
MARKERS: Mapping[str, str] = {"champion": "D", "challenger": "o", "baseline": "s", "candidate": "o"}
_STYLE: dict[Any, Any] = {
    "font.size": 10.5, "font.family": "DejaVu Sans", "axes.edgecolor": GRID, "axes.labelcolor": INK,
    "text.color": INK, "xtick.color": INK, "ytick.color": INK, "axes.spines.top": False,
    "axes.spines.right": False, "axes.titleweight": "bold", "axes.titlesize": 11.5, "axes.titlelocation": "left",
    "axes.grid": True, "grid.color": GRID, "axes.axisbelow": True, "figure.facecolor": PAPER,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mark:
    """A value with its interval, and what it belongs to. NaN ends draw no whisker, a NaN value draws nothing."""

    name: str
    value: float
    low: float
    high: float
    role: str = "candidate"


@dataclass(frozen=True, slots=True)
class Spot:
    """A trade-off: what it brings, and what it changes (with its interval, in % of nothing traded off)."""

    name: str
    gain: float
    change: float
    low: float
    high: float
    chosen: bool = False


def comparison(tasks: Mapping[str, Sequence[Mark]], *, metric: str, share: str = "95 %") -> bytes:
    """Recipes side by side, one panel a task, best on the first task at the top.

    Args:
        tasks: panel title -> marks; the same names in each.
        metric: what the axis shows.
        share: of the intervals, for the caption.
    """
    first = next(iter(tasks.values()))
    order = [mark.name for mark in sorted(first, key=lambda mark: np.nan_to_num(mark.value, nan=-1.0))]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(10.5, 1.9 + 0.42 * len(order)), layout="constrained")
        axes = np.atleast_1d(figure.subplots(1, len(tasks), sharey=True))
        for axis, (title, marks) in zip(axes, tasks.items(), strict=True):
            place = {name: row for row, name in enumerate(order)}
            for mark in marks:
                _whisker(axis, mark, place[mark.name])
                _label(axis, mark, place[mark.name])
            axis.set_title(title)
            axis.set_xlabel(f"{metric} with {share} interval")
            axis.set_yticks(range(len(order)), order)
            axis.set_ylim(-0.6, len(order) - 0.4)
            axis.set_xlim(left=0, right=1.18 * max(_ends(marks), default=1.0))
            axis.tick_params(length=0)
            axis.grid(visible=False, axis="y")
        _legend(figure, first)
        return _png(figure)


def forest(groups: Mapping[str, Sequence[Mark]], *, metric: str, share: str = "95 %") -> bytes:
    """Paired differences with their intervals and the line of no difference, one panel a task.

    Args:
        groups: panel title -> marks named by what the challenger is compared with.
        metric: what the differences are of.
        share: of the intervals.
    """
    with mpl.rc_context(_STYLE):
        heights = [0.8 + len(marks) for marks in groups.values()]
        figure = Figure(figsize=(9, 1.3 + 0.48 * sum(heights)), layout="constrained")
        axes = np.atleast_1d(figure.subplots(len(groups), 1, height_ratios=heights))
        for axis, (title, marks) in zip(axes, groups.items(), strict=True):
            for row, mark in enumerate(reversed(marks)):
                _whisker(axis, mark, row, colour=_verdict_colour(mark))
                axis.annotate(
                    _difference(mark), (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=9.5
                )
            axis.axvline(0, color=INK, linewidth=1)
            axis.set_title(title)
            axis.set_yticks(range(len(marks)), [f"against {mark.name}" for mark in reversed(marks)])
            axis.set_ylim(-0.6, max(len(marks), 1) - 0.4)
            axis.tick_params(length=0)
            axis.grid(visible=False, axis="y")
            axis.margins(x=0.1)
            axis.locator_params(axis="x", nbins=6)
        axes[-1].set_xlabel(f"difference in {metric}, paired by customer, with {share} interval; right of 0: better")
        return _png(figure)


def slices(values: Mapping[str, Sequence[Mark]], *, metric: str) -> bytes:
    """A metric by slice, one colour a recipe.

    Args:
        values: recipe -> marks named by slice, the same slices in the same order for each.
        metric: what the axis shows.
    """
    palette = ("#0b6e4f", "#3f7cac", "#b8860b", "#7a8793", "#a23b72", "#5f4b8b", "#c8553d", "#2f4858")
    names = [mark.name for mark in next(iter(values.values()))]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(10, 1.7 + 0.62 * len(names)), layout="constrained")
        axis = figure.subplots()
        gap = 0.72 / max(len(values), 1)
        for number, (recipe, marks) in enumerate(values.items()):
            shift = 0.36 - gap * (number + 0.5)
            colour = palette[number % len(palette)]
            for row, mark in enumerate(marks):
                _whisker(axis, mark, len(names) - 1 - row + shift, colour=colour, size=5)
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
        return _png(figure)


def coverage(marks: Sequence[tuple[Mark, float]], *, metric: str) -> bytes:
    """How much of the catalogue each recipe recommends, against how well.

    Args:
        marks: recipe's accuracy, and its coverage (share of the catalogue that stands in somebody's list).
        metric: the accuracy's name.
    """
    with mpl.rc_context(_STYLE):
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
        _legend(figure, [mark for mark, _ in shown])
        return _png(figure)


def learned(tasks: Mapping[str, Mapping[str, float]], *, most: int = 15) -> bytes:
    """What a ranker's trees split on: the share of the whole gain that each column brought, one panel a task.

    Args:
        tasks: panel title -> column -> share.
        most: columns shown, largest first.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(10.5, 1.2 + 0.32 * most), layout="constrained")
        axes = np.atleast_1d(figure.subplots(1, len(tasks)))
        for axis, (title, shares) in zip(axes, tasks.items(), strict=True):
            top = sorted(shares.items(), key=lambda pair: (-pair[1], pair[0]))[:most][::-1]
            axis.barh([name for name, _ in top], [100 * share for _, share in top], color=COLOURS["challenger"])
            axis.set_title(title)
            axis.set_xlabel("% of the gain of all splits")
            axis.grid(visible=False, axis="y")
        return _png(figure)


def deciles(predicted: Sequence[float], observed: Sequence[Mark], *, unit: str, title: str) -> bytes:
    """Mean forecast beside mean outcome of each tenth of the customers.

    The axis is logarithmic where everything is above zero and the tenths lie far apart.

    Args:
        predicted: mean forecast of each tenth, highest first.
        observed: mean outcome of each with its interval, in the same order, named by the tenth.
        unit: what the axis shows.
        title: of the plot.
    """
    with mpl.rc_context(_STYLE):
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
        return _png(figure)


def reliability(tasks: Mapping[str, Sequence[tuple[float, Mark]]]) -> bytes:
    """The chance that a score says beside the share that was bought, on logarithmic axes, one panel a task.

    Args:
        tasks: panel title -> predicted chance, and what was observed with its interval.
    """
    with mpl.rc_context(_STYLE):
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
        return _png(figure)


def places(slices: Mapping[str, Sequence[Mark]], *, share: str = "95 %") -> bytes:
    """Mean places in lists, one panel a slice: further left is nearer the top of the list.

    Args:
        slices: panel title -> marks named by order, the same orders in each.
        share: of the intervals.
    """
    names = [mark.name for mark in next(iter(slices.values()))]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(10.5, 1.5 + 0.5 * len(names)), layout="constrained")
        axes = np.atleast_1d(figure.subplots(1, len(slices), sharey=True))
        for axis, (title, marks) in zip(axes, slices.items(), strict=True):
            for row, mark in enumerate(reversed(marks)):
                _whisker(axis, mark, row)
                _label(axis, mark, row, "{:.1f}")
            axis.set(title=title, ylim=(-0.6, len(names) - 0.4), xlim=(0, 1.18 * max(_ends(marks), default=1.0)))
            axis.set_xlabel(f"mean place of the bought item, with {share} interval")
            axis.set_yticks(range(len(names)), names[::-1])
            axis.tick_params(length=0)
            axis.grid(visible=False, axis="y")
        return _png(figure)


def variety(
    curves: Mapping[str, Mapping[str, Sequence[Spot]]], *, metric: str, margins: Mapping[str, float]
) -> bytes:  # fmt: skip
    """What variety costs: the change of a metric against what a trade-off brings, one row an axis, one panel a task.

    Args:
        curves: what the x axis shows -> panel title -> spots, the first without any trade-off.
        metric: its name.
        margins: panel title -> share of the metric that the lower end of an interval may lose.
    """
    with mpl.rc_context(_STYLE):
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
        return _png(figure)


def _curve(axis: Any, spots: Sequence[Spot]) -> None:
    axis.plot([spot.gain for spot in spots], [spot.change for spot in spots], "-", color=GRID, linewidth=2, zorder=1)
    for number, spot in enumerate(spots):
        colour = COLOURS["challenger" if spot.chosen else "candidate"]
        if np.isfinite(spot.low):
            axis.plot([spot.gain, spot.gain], [spot.low, spot.high], "-", color=colour, linewidth=1.5)
        axis.plot(spot.gain, spot.change, "o", color=colour, markersize=9 if spot.chosen else 6)
        beside = (5, 7) if number % 2 else (5, -14)  # neighbours often stand close
        axis.annotate(spot.name, (spot.gain, spot.change), xytext=beside, textcoords="offset points", fontsize=9)


def months(counts: Mapping[str, Mapping[int, int]], windows: Mapping[str, tuple[int, int]]) -> bytes:
    """Events a month, stacked by type, with the windows shaded.

    Args:
        counts: event type -> {instant of the month's first moment: events}.
        windows: name -> [start, end) in instants.
    """
    palette = ("#3f7cac", "#0b6e4f", "#b8860b", "#a23b72", "#c8553d", "#7a8793")
    starts = sorted({month for by_month in counts.values() for month in by_month})
    with mpl.rc_context(_STYLE):
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
        return _png(figure)


def _whisker(axis: Any, mark: Mark, place: float, *, colour: str | None = None, size: float = 7) -> None:
    if not np.isfinite(mark.value):
        return
    colour = colour or COLOURS[mark.role]
    if np.isfinite(mark.low) and np.isfinite(mark.high):
        axis.plot([mark.low, mark.high], [place, place], "-", color=colour, linewidth=2, solid_capstyle="butt")
    axis.plot(mark.value, place, MARKERS[mark.role], color=colour, markersize=size)


def _label(axis: Any, mark: Mark, place: float, form: str = "{:.3f}") -> None:
    if np.isfinite(mark.value):
        end = mark.high if np.isfinite(mark.high) else mark.value
        axis.annotate(
            form.format(mark.value), (end, place), xytext=(5, 0), textcoords="offset points", va="center", fontsize=9
        )


def _legend(figure: Figure, marks: Sequence[Mark]) -> None:
    present = [role for role in COLOURS if any(mark.role == role for mark in marks)]
    if not present:
        return
    handles = [
        mpl.lines.Line2D([], [], linestyle="", marker=MARKERS[role], color=COLOURS[role], label=role)
        for role in present
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(present), frameon=False)


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


def _ends(marks: Sequence[Mark]) -> list[float]:
    return [end for mark in marks for end in (mark.value, mark.high) if np.isfinite(end)]


def _next_month(start: int) -> int:
    at = to_datetime(start)
    following = datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)
    return int(following.timestamp()) * 1_000_000


def _day(instant: int) -> Any:
    return to_datetime(instant)


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=130)
    return out.getvalue()
