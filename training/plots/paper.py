"""A report on one sheet of A4, as PDF: words, an account, and marks with their intervals."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from training.plots.drawing import GRID, INK, LITERAL, Mark, whisker

WIDE, HIGH = 8.27, 11.69
"""Inches of A4."""
LEFT, RIGHT = 0.08, 0.94
POINT: Final = 1 / 72 / HIGH
"""A typographic point as a share of the height."""


def sheet(
    *, title: str, headline: str, reasons: Sequence[str], account: Sequence[tuple[str, str, bool]],
    groups: Mapping[str, Sequence[Mark]], unit: str, facts: Sequence[str],
) -> bytes:  # fmt: skip
    """The bytes of a PDF of one page.

    Args:
        title: above all.
        headline: the answer.
        reasons: why, as sentences.
        account: name, figure, and whether it is a sum.
        groups: heading -> marks, top to bottom.
        unit: of the marks.
        facts: small, at the bottom.
    """
    with mpl.rc_context(LITERAL):
        figure = Figure(figsize=(WIDE, HIGH))
        top = _words(figure, 0.955, [title], size=15, weight="bold")
        top = _words(figure, top - 6 * POINT, [headline], size=11.5, weight="bold")
        top = _words(figure, top - 4 * POINT, reasons, size=8.5)
        if account:
            top = _table(figure, top - 8 * POINT, account)
        foot = _height(facts, size=7) + 0.03
        if groups:
            _marks(figure, top - 14 * POINT, foot + 0.055, groups, unit)
            top = foot
        _words(figure, min(top - 12 * POINT, 1.0) if not groups else foot, facts, size=7, colour="#5c6b78")
        out = io.BytesIO()
        with PdfPages(out, metadata={"Title": title, "CreationDate": None}) as pages:
            pages.savefig(figure)
        return out.getvalue()


def _wrapped(sentences: Sequence[str], size: float) -> list[str]:
    """Lines that fit between the margins (DejaVu Sans is about 0.56 of its size wide)."""
    room = int((RIGHT - LEFT) * WIDE * 72 / (0.56 * size))
    return [line for each in sentences for line in textwrap.wrap(each, room) or [""]]


def _height(sentences: Sequence[str], *, size: float) -> float:
    return len(_wrapped(sentences, size)) * 1.4 * size * POINT


def _words(figure: Figure, top: float, sentences: Sequence[str], *, size: float, **style: str) -> float:
    """Sentences from a height down; where they end."""
    for line in _wrapped(sentences, size):
        top -= 1.4 * size * POINT
        colour, weight = style.get("colour", INK), style.get("weight", "normal")
        figure.text(LEFT, top, line, fontsize=size, color=colour, weight=weight)
    return top


def _table(figure: Figure, top: float, account: Sequence[tuple[str, str, bool]], *, size: float = 8.5) -> float:
    """Names on the left, figures beside them, a line above each sum; where it ends."""
    for name, told, total in account:
        top -= 1.55 * size * POINT
        weight = "bold" if total else "normal"
        figure.text(LEFT, top, name, fontsize=size, weight=weight)
        figure.text(0.42, top, told, fontsize=size, weight=weight)
        if total:
            height = top + 1.15 * size * POINT
            figure.add_artist(mpl.lines.Line2D([LEFT, RIGHT], [height, height], color=GRID, linewidth=0.8))
    return top


def _marks(figure: Figure, top: float, bottom: float, groups: Mapping[str, Sequence[Mark]], unit: str) -> None:
    """All groups on one axis: headings, marks with whiskers, figures on the right."""
    rows: list[Mark | str] = []
    for title, marks in groups.items():
        rows += [title, *marks]
    axis = figure.add_axes((0.40, bottom, 0.30, max(top - bottom, 0.05)))
    size = min(8.0, max(4.0, 0.62 * max(top - bottom, 0.05) / POINT / len(rows)))
    for place, each in enumerate(rows):
        height = len(rows) - 1 - place
        if isinstance(each, str):
            _beside(axis, height, each, "", size, "bold")
            continue
        whisker(axis, each, height, size=4)
        told = f"{each.value:+,.0f}"
        told += f" [{each.low:+,.0f}, {each.high:+,.0f}]" if np.isfinite(each.low) else " (too few for an interval)"
        _beside(axis, height, each.name, told, size, "normal")
    axis.axvline(0, color=INK, linewidth=0.8)
    axis.set_ylim(-0.8, len(rows) - 0.2)
    axis.set_yticks([])
    axis.tick_params(labelsize=7)
    axis.locator_params(axis="x", nbins=4)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axis.set_xlabel(unit, fontsize=7.5)


def _beside(axis: Any, height: float, name: str, told: str, size: float, weight: str) -> None:
    where = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": size}
    axis.annotate(name, (-0.04, height), ha="right", weight=weight, **where)
    axis.annotate(told, (1.04, height), ha="left", **where)
