"""Plots of how a log was drawn: whether those who got an action were like the others, and how rows weigh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from training.plots.drawing import COLOURS, INK, LITERAL, png

Doubles = npt.NDArray[np.float64]
PALETTE = ("#7a8793", "#0b6e4f", "#3f7cac", "#b8860b", "#a23b72", "#5f4b8b", "#c8553d", "#2f4858")


@dataclass(frozen=True, slots=True)
class Gap:
    """How far two groups lie apart in something, in standard deviations, before weighting and after it."""

    name: str
    before: float
    after: float


def love(gaps: Sequence[Gap], *, limit: float) -> bytes:
    """How far those who got an action lay from those who did not, in everything that was known before.

    A reader should see all filled points between the dashed lines: the groups were alike, so that what came after is
    the action's doing. A point outside says in what they differed.

    Args:
        gaps: top to bottom.
        limit: beyond which a difference is imbalance.
    """
    ends = [abs(end) for gap in gaps for end in (gap.before, gap.after) if np.isfinite(end)]
    wide = 1.15 * max([1.2 * limit, *ends])
    with mpl.rc_context(LITERAL):
        figure = Figure(figsize=(9, 1.5 + 0.3 * max(len(gaps), 2)), layout="constrained")
        axis = figure.subplots()
        for row, gap in enumerate(reversed(gaps)):
            before, after = np.clip([gap.before, gap.after], -wide, wide)
            axis.plot([before, after], [row, row], "-", color="#9aa5ae", linewidth=1)
            axis.plot(before, row, "o", markerfacecolor="white", markeredgecolor=COLOURS["candidate"], markersize=6)
            axis.plot(after, row, "o", color=COLOURS["challenger"], markersize=6)
        axis.axvline(0, color=INK, linewidth=1)
        for side in (-limit, limit):
            axis.axvline(side, color="#c8553d", linewidth=1, linestyle="--")
        axis.set_yticks(range(len(gaps)), [gap.name for gap in reversed(gaps)], fontsize=9)
        axis.set(xlim=(-wide, wide), ylim=(-0.7, max(len(gaps), 1) - 0.3))
        axis.set_xlabel("difference of means in standard deviations")
        axis.tick_params(length=0)
        handles = [
            mpl.lines.Line2D([], [], linestyle="", marker="o", markerfacecolor="white", markersize=6,
                             markeredgecolor=COLOURS["candidate"], label="as they were"),
            mpl.lines.Line2D([], [], linestyle="", marker="o", color=COLOURS["challenger"], label="as weighed"),
            mpl.lines.Line2D([], [], color="#c8553d", linestyle="--", label=f"beyond {limit:g} they differ"),
        ]  # fmt: skip
        figure.legend(handles=handles, loc="outside upper left", ncols=3, frameon=False)
        return png(figure)


def weights(of_actions: Mapping[str, Doubles], *, effective: float) -> bytes:
    """How many decisions each decision stands for: 1 / the probability of what was done.

    A reader should see short bars that stand close together. Bars far to the right are single decisions on which the
    whole answer hangs; the effective number in the title says how many equal ones they are all worth.

    Args:
        of_actions: action -> float64[m], weights of the decisions in which it was taken.
        effective: (sum of weights)^2 / sum of their squares, over all.
    """
    every = np.concatenate([*of_actions.values(), np.zeros(0)])
    low, high = (float(every.min()), float(every.max())) if len(every) else (1.0, 2.0)
    if high - low < 0.05 * high:  # one width for all: bins around it
        low, high = 0.5 * low, 1.5 * high
    edges = np.geomspace(low, high, 31) if high > 20 * low else np.linspace(low, high, 31)
    with mpl.rc_context(LITERAL):
        figure = Figure(figsize=(9, 4.2), layout="constrained")
        axis = figure.subplots()
        base = np.zeros(len(edges) - 1)
        for number, (name, mine) in enumerate(of_actions.items()):
            count = np.histogram(np.clip(mine, edges[0], edges[-1]), edges)[0].astype(np.float64)
            colour = PALETTE[number % len(PALETTE)]
            axis.bar(edges[:-1], count, np.diff(edges), bottom=base, align="edge", color=colour, label=name)
            base += count
        if high > 20 * low:
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.4g}")
            axis.xaxis.set_minor_formatter("")
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axis.set_title(f"{len(every):,} decisions that are worth {effective:,.0f} equal ones")
        axis.set_xlabel("weight: 1 / probability of what was done")
        axis.set_ylabel("decisions")
        if of_actions:
            figure.legend(loc="outside upper left", ncols=min(len(of_actions), 4), frameon=False)
        return png(figure)
