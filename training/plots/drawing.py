"""What all plots share: colours, style, marks with their intervals, and the bytes of a PNG."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

INK, GRID, PAPER = "#22303c", "#dfe4e8", "#ffffff"
COLOURS: Mapping[str, str] = {
    "champion": "#b8860b",
    "challenger": "#0b6e4f",
    "baseline": "#7a8793",
    "candidate": "#3f7cac",
}
"""One colour a role, told apart in grey as well by the marker."""
MARKERS: Mapping[str, str] = {"champion": "D", "challenger": "o", "baseline": "s", "candidate": "o"}
STYLE: dict[Any, Any] = {
    "font.size": 10.5, "font.family": "DejaVu Sans", "axes.edgecolor": GRID, "axes.labelcolor": INK,
    "text.color": INK, "xtick.color": INK, "ytick.color": INK, "axes.spines.top": False,
    "axes.spines.right": False, "axes.titleweight": "bold", "axes.titlesize": 11.5, "axes.titlelocation": "left",
    "axes.grid": True, "grid.color": GRID, "axes.axisbelow": True, "figure.facecolor": PAPER,
}  # fmt: skip

LITERAL: dict[Any, Any] = {**STYLE, "text.parse_math": False}
"""For plots that show names from data: `$100 - $200` is no formula."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A value with its interval, and what it belongs to. NaN ends draw no whisker, a NaN value draws nothing."""

    name: str
    value: float
    low: float
    high: float
    role: str = "candidate"


def whisker(axis: Any, mark: Mark, place: float, *, colour: str | None = None, size: float = 7) -> None:
    """A value with its interval at a place of the other axis; nothing where it is undefined."""
    if not np.isfinite(mark.value):
        return
    colour = colour or COLOURS[mark.role]
    if np.isfinite(mark.low) and np.isfinite(mark.high):
        axis.plot([mark.low, mark.high], [place, place], "-", color=colour, linewidth=2, solid_capstyle="butt")
    axis.plot(mark.value, place, MARKERS[mark.role], color=colour, markersize=size)


def rows(axis: Any, title: str, marks: Sequence[Mark], say: Callable[[Mark], str]) -> None:
    """Names and figures of marks, top to bottom: the frame of a forest plot, into which `whisker` draws at each row."""
    for row, mark in enumerate(reversed(marks)):
        axis.annotate(say(mark), (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=9.5)
    axis.set_title(title)
    axis.set_yticks(range(len(marks)), [mark.name for mark in reversed(marks)])
    axis.set_ylim(-0.6, max(len(marks), 1) - 0.4)
    axis.tick_params(length=0)
    axis.grid(visible=False, axis="y")
    axis.margins(x=0.08)


def label(axis: Any, mark: Mark, place: float, form: str = "{:.3f}") -> None:
    """The value in figures beside its interval."""
    if np.isfinite(mark.value):
        end = mark.high if np.isfinite(mark.high) else mark.value
        axis.annotate(
            form.format(mark.value), (end, place), xytext=(5, 0), textcoords="offset points", va="center", fontsize=9
        )


def legend(figure: Figure, marks: Sequence[Mark]) -> None:
    """The roles that are there, above the figure."""
    present = [role for role in COLOURS if any(mark.role == role for mark in marks)]
    if not present:
        return
    handles = [Line2D([], [], linestyle="", marker=MARKERS[role], color=COLOURS[role], label=role) for role in present]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(present), frameon=False)


def ends(marks: Sequence[Mark]) -> list[float]:
    """Values and upper ends that are defined: what an axis must hold."""
    return [end for mark in marks for end in (mark.value, mark.high) if np.isfinite(end)]


def png(figure: Figure) -> bytes:
    """The bytes of the picture."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=130)
    return out.getvalue()
