"""The plot of predicted deliveries: how often intervals hold what came, and how wide they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from training.plots.drawing import COLOURS, INK, LITERAL, MARKERS, Mark, png, whisker


def intervals(methods: Mapping[str, Sequence[tuple[Mark, float]]], *, meant: float) -> bytes:
    """Coverage with its interval at the left, mean width at the right, one line a slice, one mark a method.

    A reader should see whose marks stand on the line, and what width that takes.

    Args:
        methods: name -> coverage of slices with the mean width in days; a method may lack a slice.
        meant: the coverage that is claimed.
    """
    names = list(dict.fromkeys(mark.name for marks in methods.values() for mark, _ in marks))
    with mpl.rc_context(LITERAL):
        figure = Figure(figsize=(10.5, 1.6 + 0.55 * len(names)), layout="constrained")
        covered, wide = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
        handles = []
        for number, (method, marks) in enumerate(methods.items()):
            colour = (COLOURS["challenger"], COLOURS["baseline"], COLOURS["candidate"])[number % 3]
            shape = (MARKERS["challenger"], MARKERS["baseline"], "^")[number % 3]
            for mark, width in marks:
                row = len(names) - 1 - names.index(mark.name) + 0.22 * (1 - number)
                whisker(covered, mark, row, colour=colour, size=0)
                for axis, value in ((covered, mark.value), (wide, width)):
                    axis.plot(value, row, shape, color=colour, markersize=6)
            handles.append(mpl.lines.Line2D([], [], linestyle="", marker=shape, color=colour, label=method))
        covered.axvline(meant, color=INK, linewidth=1, linestyle="--")
        covered.set(xlim=(0, 1.02), xlabel=f"share of deliveries inside the interval, 95 % (meant: {meant:.0%})")
        covered.set_yticks(range(len(names)), names[::-1])
        wide.set(xlabel="mean width, days")
        wide.set_xlim(left=0)
        for axis in (covered, wide):
            axis.tick_params(length=0)
            axis.grid(visible=False, axis="y")
        figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), frameon=False)
        return png(figure)
