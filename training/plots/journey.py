"""The journey map: stages as squares by how many people are there, arrows by how many go from one to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from training.plots.drawing import INK, LITERAL, PAPER, png

Spot = tuple[float, float]
PLACES: Final[Mapping[str, Spot]] = {
    "awareness": (0, 1.9), "consideration": (1.75, 1.9), "purchase": (3.5, 1.9), "waiting": (5.25, 1.9),
    "use": (5.25, 0), "repeat": (3.5, 0), "lapsed": (1.75, 0),
}  # fmt: skip
"""Where each stage stands: out along the top, back along the bottom."""
STAGE_COLOURS: Final[Mapping[str, str]] = {
    "awareness": "#9fb3c2", "consideration": "#3f7cac", "purchase": "#b8860b", "waiting": "#7d5ba6",
    "use": "#0b6e4f", "repeat": "#4f9d69", "lapsed": "#a8321c",
}  # fmt: skip
"""One colour a stage."""
_LARGEST, _SMALLEST = 0.92, 0.05
_THICKEST, _THINNEST = 9.0, 0.8
_WORDS = (0.42, 0.17)
"""Room that the words of an arrow take."""


@dataclass(frozen=True, slots=True)
class Box:
    """A stage: its name, how many people are in it, and the lines below its name."""

    name: str
    people: int
    told: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Flow:
    """A change from one stage to another: how many, and the words on the arrow."""

    start: str
    end: str
    many: int
    told: str


def journey_map(boxes: Sequence[Box], flows: Sequence[Flow], *, title: str, note: str) -> bytes:
    """Who is where, and where people go.

    Args:
        boxes: stages of `PLACES`; the area of a square is its share of the people.
        flows: changes between them; the width of an arrow is its share of the most frequent change.
        title: above.
        note: small, below.
    """
    most = max((box.people for box in boxes), default=0)
    sides = {box.name: _side(box.people, most) for box in boxes}
    with mpl.rc_context(LITERAL):
        figure = Figure(figsize=(13, 7.4), layout="constrained")
        axis = figure.subplots()
        axis.set_axis_off()
        axis.set_aspect("equal")
        axis.set_xlim(-0.75, 6.1)
        axis.set_ylim(-1.3, 2.95)
        axis.set_title(title)
        widest = max((flow.many for flow in flows), default=1)
        taken: list[Spot] = []
        for flow in sorted(flows, key=lambda flow: -flow.many):
            _arrow(axis, flow, sides, widest, taken)
        for box in boxes:
            _square(axis, box, sides[box.name])
        axis.annotate(note, (-0.75, -1.25), fontsize=9, color="#5c6b78", va="bottom")
        return png(figure)


def _side(people: int, most: int) -> float:
    return max(_SMALLEST, _LARGEST * float(np.sqrt(people / most))) if most else _SMALLEST


def _square(axis: Any, box: Box, side: float) -> None:
    x, y = PLACES[box.name]
    axis.add_patch(
        Rectangle((x - side / 2, y - side / 2), side, side, color=STAGE_COLOURS[box.name], linewidth=0, zorder=3)
    )
    upper = y > 1
    heading = y + side / 2 + 0.06 + 0.13 * len(box.told) if upper else y - side / 2 - 0.06
    style = {"ha": "center", "va": "bottom" if upper else "top", "zorder": 5}
    plate = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.85, "pad": 0.8}
    axis.annotate(box.name, (x, heading), fontsize=11.5, weight="bold", bbox=plate, **style)
    for row, line in enumerate(box.told):
        place = heading - 0.13 * (row + 1) if upper else heading - 0.03 - 0.13 * (row + 1)
        axis.annotate(line, (x, place), fontsize=9, bbox=plate, **style)


def _arrow(axis: Any, flow: Flow, sides: Mapping[str, float], widest: int, taken: list[Spot]) -> None:
    """An arc from the edge of one square to the edge of the other, with its words on it, where none are yet."""
    begin, end, bend = _ends(flow, sides)
    width = _THINNEST + (_THICKEST - _THINNEST) * flow.many / widest
    axis.add_patch(FancyArrowPatch(
        begin, end, connectionstyle=f"arc3,rad={bend}", linewidth=width, color=STAGE_COLOURS[flow.start], alpha=0.55,
        arrowstyle="-|>", mutation_scale=11 + 1.5 * width, shrinkA=1, shrinkB=2, zorder=2, capstyle="butt",
    ))  # fmt: skip
    across, along = end[1] - begin[1], end[0] - begin[0]
    control = (begin[0] + end[0]) / 2 + bend * across, (begin[1] + end[1]) / 2 - bend * along
    middle = _free(begin, control, end, taken)
    taken.append(middle)
    plate = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 0.6}
    axis.annotate(flow.told, middle, fontsize=8, ha="center", va="center", color=INK, zorder=6, bbox=plate)


def _free(begin: Spot, control: Spot, end: Spot, taken: Sequence[Spot]) -> Spot:
    """The place on an arc (a quadratic Bezier curve) nearest its middle at which words cover no others."""
    places = [
        ((1 - t) ** 2 * begin[0] + 2 * t * (1 - t) * control[0] + t * t * end[0],
         (1 - t) ** 2 * begin[1] + 2 * t * (1 - t) * control[1] + t * t * end[1])
        for t in (0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74)
    ]  # fmt: skip
    free = [(x, y) for x, y in places if all(abs(x - u) > _WORDS[0] or abs(y - v) > _WORDS[1] for u, v in taken)]
    return free[0] if free else places[0]


def _ends(flow: Flow, sides: Mapping[str, float]) -> tuple[Spot, Spot, float]:
    """Where an arrow begins and ends, and how it is bent: more where it passes over another stage."""
    (ax, ay), (bx, by) = PLACES[flow.start], PLACES[flow.end]
    away = np.hypot(bx - ax, by - ay)
    far = ay == by and abs(bx - ax) > 2
    bend = 0.3 if ay == by else 0.16
    if far and (bx > ax) != (ay > 1):  # within the ring, where no words stand
        bend = -0.3
    ux, uy = (bx - ax) / away, (by - ay) / away
    reach = max(abs(ux), abs(uy))
    start, stop = sides[flow.start] / 2 / reach + 0.03, sides[flow.end] / 2 / reach + 0.03
    return (ax + ux * start, ay + uy * start), (bx - ux * stop, by - uy * stop), bend
