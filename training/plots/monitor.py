"""Pictures of health: how far each thing is from well, verdicts over time, what was said beside what came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from training.plots.drawing import COLOURS, INK, LITERAL, Mark, png

VERDICTS: Final[Mapping[str, tuple[str, str]]] = {
    "unknown": ("#e6e9ec", "?"), "ok": ("#9ccdb5", ""), "watch": ("#e8b93c", "w"), "act": ("#b3391f", "A"),
}  # fmt: skip
"""Verdict -> its colour and its letter, which tells it apart in grey as well."""
FARTHEST: Final = 6.0
"""Bars end here: what is worse is no more legible."""


@dataclass(frozen=True, slots=True)
class Level:
    """How far a thing is from well.

    Args:
        name: of the thing.
        verdict: of VERDICTS.
        size: in multiples of the size from which on it is watched; NaN where not known.
        act: the size from which on it is acted upon, in the same multiples.
        told: figures beside the bar.
    """

    name: str
    verdict: str
    size: float
    act: float
    told: str


def levels(several: Sequence[Level], *, title: str) -> bytes:
    """A bar a thing, top to bottom; the line at 1 is where it is watched, its own tick where it is acted upon."""
    with mpl.rc_context(LITERAL):
        figure = Figure(figsize=(11, 1.6 + 0.27 * max(len(several), 1)), layout="constrained")
        axis = figure.subplots()
        for row, level in enumerate(reversed(several)):
            colour = VERDICTS[level.verdict][0]
            size = min(max(level.size, 0.0), FARTHEST) if not np.isnan(level.size) else 0.0
            axis.barh(row, size, color=colour, height=0.62)
            axis.plot([min(level.act, FARTHEST)] * 2, [row - 0.4, row + 0.4], color=INK, linewidth=1.2)
            axis.annotate(level.told, (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=8.5)
        axis.axvline(1, color=INK, linewidth=1, linestyle="--")
        axis.set_yticks(range(len(several)), [level.name for level in reversed(several)], fontsize=8.5)
        axis.set_ylim(-0.7, max(len(several), 1) - 0.3)
        axis.set_xlim(0, FARTHEST)
        axis.grid(visible=False, axis="y")
        axis.tick_params(length=0)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11.5, weight="bold", wrap=True)
        axis.set_xlabel(
            "change beyond chance, in multiples of what is worth a look (dashed); short lines: act", fontsize=9.5
        )
        return png(figure)


def verdict_map(names: Sequence[str], windows: Sequence[str], verdicts: npt.NDArray[np.int64], *, title: str) -> bytes:
    """Verdicts over time: a row a thing, a column a window.

    Args:
        names, windows: of rows and columns.
        verdicts: int64[names, windows], places in VERDICTS.
        title: above.
    """
    with mpl.rc_context(LITERAL):
        size = max(7.0, 4.2 + 0.24 * len(windows)), 1.9 + 0.22 * max(len(names), 1)
        figure = Figure(figsize=size, layout="constrained")
        axis = figure.subplots()
        colours = ListedColormap([colour for colour, _ in VERDICTS.values()])
        axis.imshow(verdicts, cmap=colours, vmin=-0.5, vmax=len(VERDICTS) - 0.5, aspect="auto", interpolation="nearest")
        letters = [letter for _, letter in VERDICTS.values()]
        for row, column in zip(*np.nonzero(verdicts > 1), strict=True):
            axis.annotate(letters[verdicts[row, column]], (column, row), ha="center", va="center", fontsize=7.5)
        axis.set_yticks(range(len(names)), list(names), fontsize=8.5)
        every = max(1, len(windows) // 20)
        axis.set_xticks(range(0, len(windows), every), list(windows)[::every], rotation=60, ha="right", fontsize=8)
        axis.set_xticks(np.arange(-0.5, len(windows)), minor=True)
        axis.set_yticks(np.arange(-0.5, len(names)), minor=True)
        axis.grid(visible=False)
        axis.grid(which="minor", color="white", linewidth=1)
        axis.tick_params(which="both", length=0)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11.5, weight="bold", wrap=True)
        handles = [Patch(color=colour, label=name) for name, (colour, _) in VERDICTS.items()]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
        return png(figure)


def said_and_came(panels: Mapping[str, Sequence[tuple[float, Mark]]]) -> bytes:
    """What was said beside what came, one panel a thing; on the dashed line both are equal.

    Args:
        panels: title -> what was said, and what came with its interval, bin by bin.
    """
    with mpl.rc_context(LITERAL):
        across = min(max(len(panels), 1), 3)
        down = -(-max(len(panels), 1) // across)
        figure = Figure(figsize=(4.3 * across, 3.9 * down), layout="constrained")
        axes = np.atleast_1d(figure.subplots(down, across)).ravel()
        for axis, (title, points) in zip(axes, panels.items(), strict=False):
            ends = [end for at, mark in points for end in (at, mark.value, mark.low, mark.high) if np.isfinite(end)]
            low, high = min(ends, default=0.0), max(ends, default=1.0)
            room = 0.06 * ((high - low) or 1.0)
            axis.plot([low, high], [low, high], "--", color=INK, linewidth=1)
            for at, mark in points:
                axis.plot([at, at], [mark.low, mark.high], "-", color=COLOURS["candidate"], linewidth=2)
                axis.plot(at, mark.value, "o", color=COLOURS["challenger"], markersize=6)
            axis.set_xlim(low - room, high + room)
            axis.set_ylim(low - room, high + room)
            axis.set_title(title, fontsize=9.5, wrap=True)
            axis.set_xlabel("said")
            axis.set_ylabel("came, 95 %")
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
        return png(figure)
