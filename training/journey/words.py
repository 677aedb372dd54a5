"""The journey report in words: headline, tables, and how it was counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from features.journey import STAGES
from features.moments import DAY, to_datetime
from training import plots
from training.intervals import Interval
from training.journey.figures import LEAST, SILENT, Figures
from training.journey.spells import CODE
from training.plots import Box, Flow

FEW = "too few"
OTHER, UNKNOWN = "(others)", "(not known)"
"""Groups of the rest, and of those of whom it is not told."""
SEEN = 0.02
"""Share of all changes below which an arrow is not drawn."""


@dataclass(frozen=True)
class Report:
    """Journeys of a shop within a window.

    Args:
        shop: its id.
        since, until: the window, microseconds.
        everybody: of all subjects.
        by: what the groups are told apart by; None: nobody asked.
        groups: name -> of its subjects, largest first.
        gone: subjects that were erased.
    """

    shop: str
    since: int
    until: int
    everybody: Figures
    by: str | None = None
    groups: Mapping[str, Figures] = field(default_factory=dict)
    gone: int = 0


def headline(report: Report) -> str:
    """Where most people are, and where most are lost."""
    found = report.everybody
    most = int(np.argmax(found.sizes))
    said = f"Of {found.subjects:,} people known on {day(report.until - 1)}, {found.sizes[most]:,} are in {STAGES[most]}"
    said += f" ({found.sizes[most] / max(found.subjects, 1):.0%})"
    told = [place for place, drop in enumerate(found.drops) if np.isfinite(drop.value) and drop.value > 0]
    if not told:
        return f"{said}; no stage has ended {LEAST} times with anybody lost, so nothing is said of drop-off."
    worst = max(told, key=lambda place: found.drops[place].value)
    return f"{said}; the largest drop-off is from {STAGES[worst]}: {share(found.drops[worst])}."


def facts(report: Report) -> list[str]:
    """How it was counted."""
    said = [
        f"Changes from {day(report.since)} to {day(report.until - 1)}; sizes are those at the end.",
        "A stage is what was known at each moment; signs of a visitor who signed in later count for the customer.",
        f"Days in a stage are those of spells that began in the window; spells that last still are censored "
        f"(Kaplan-Meier). With fewer than {LEAST} spells nothing is said.",
        f"Drop-off is the share of ended spells that led to lapsed or back to awareness; in awareness itself, of "
        f"spells that lasted {SILENT / DAY:.0f} days. Intervals: 95 %, Wilson, over people.",
    ]
    if report.gone:
        said.append(f"Left out as erased: {report.gone:,}.")
    return said


def notes(report: Report) -> list[str]:
    """What the data cannot tell."""
    found = report.everybody
    said = [
        f"{name}: {found.begun[place]:,} spells began, too few to say how long they last."
        for place, name in enumerate(STAGES) if 0 < found.begun[place] < LEAST
    ]  # fmt: skip
    never = [
        name for place, name in enumerate(STAGES)
        if not found.begun[place] and not found.sizes[place] and not found.moves[place].any()
    ]  # fmt: skip
    if never:
        said.append(f"Nobody was in {', '.join(never)}: the data have no events or orders that make it.")
    if report.groups and set(report.groups) == {UNKNOWN}:
        said.append(f"The {report.by} is not known of anybody, so there is nothing to compare.")
    said += [
        f"{report.by} {name}: {group.subjects:,} people, too few for a comparison."
        for name, group in report.groups.items() if group.subjects < LEAST
    ]  # fmt: skip
    return said


STAGE_HEADS = ("stage", "customers", "visitors", "share", "begun", "days in it: median (quartiles)", "drop-off, 95 %")


def stage_rows(found: Figures) -> list[tuple[str, ...]]:
    """A row a stage."""
    return [
        (name, f"{found.customers[place]:,}", f"{found.visitors[place]:,}",
         f"{found.sizes[place] / max(found.subjects, 1):.1%}", f"{found.begun[place]:,}",
         lasting(found, place) if found.begun[place] else "",
         share(found.drops[place], silent=place == CODE["lapsed"] or not found.begun[place]))
        for place, name in enumerate(STAGES)
    ]  # fmt: skip


MOVE_HEADS = ("from \\ to", *STAGES)


def move_rows(found: Figures) -> list[tuple[str, ...]]:
    """From each stage to each other: how many, and their share of all that left it."""
    rows = []
    for name, moves in zip(STAGES, found.moves, strict=True):
        left = int(moves.sum())
        rows.append((name, *(f"{many:,} ({many / left:.0%})" if many else "" for many in moves.tolist())))
    return rows


GROUP_HEADS = ("people", *STAGES)


def group_rows(report: Report) -> list[tuple[str, ...]]:
    """Share of each group's people in each stage at the end."""
    return [
        (name, f"{found.subjects:,}", *(f"{many / max(found.subjects, 1):.1%}" for many in found.sizes.tolist()))
        for name, found in report.groups.items()
    ]  # fmt: skip


def group_days(report: Report) -> list[tuple[str, ...]]:
    """Median days in each stage by group."""
    return [
        (name, f"{found.subjects:,}", *(span(float(found.days[place, 1])) for place in range(len(STAGES))))
        for name, found in report.groups.items()
    ]  # fmt: skip


def group_drops(report: Report) -> list[tuple[str, ...]]:
    """Drop-off from each stage by group."""
    return [
        (name, f"{found.subjects:,}",
         *(share(drop, silent=place == CODE["lapsed"]) for place, drop in enumerate(found.drops)))
        for name, found in report.groups.items()
    ]  # fmt: skip


def draw(report: Report) -> bytes:
    """The journey map."""
    found = report.everybody
    boxes = []
    for place, name in enumerate(STAGES):
        people = f"{found.sizes[place]:,} people, {found.sizes[place] / max(found.subjects, 1):.0%}"
        middle = float(found.days[place, 1])
        told = (people,) if np.isnan(middle) else (people, f"median {span(middle)}")
        boxes.append(Box(name, int(found.sizes[place]), told))
    least = max(1, SEEN * float(found.moves.sum()))
    flows = [
        Flow(STAGES[a], STAGES[b], int(found.moves[a, b]),
             f"{found.moves[a, b]:,}\nafter {span(float(found.move_days[a, b]))}")
        for a, b in np.argwhere(found.moves >= least).tolist()
    ]  # fmt: skip
    note = (
        f"Squares: people at the end. Arrows: changes of stage, with the median time before each. "
        f"Changes that are fewer than {SEEN:.0%} of all are not drawn."
    )
    title = f"{report.shop}: journeys from {day(report.since)} to {day(report.until - 1)}"
    return plots.journey_map(boxes, flows, title=title, note=note)


def lasting(found: Figures, place: int) -> str:
    """Median and quartiles of the time in a stage."""
    low, middle, high = found.days[place].tolist()
    return FEW if np.isnan(middle) else f"{span(middle)} ({span(low)} to {span(high)})"


def span(days: float) -> str:
    """A time in the unit that fits.

    >>> span(0.01), span(0.5), span(12.0), span(float("inf"))
    ('14 min', '12.0 h', '12.0 d', 'not reached')
    """
    if np.isnan(days):
        return FEW
    if np.isinf(days):
        return "not reached"
    if days < 1 / 24:
        return f"{days * 24 * 60:.0f} min"
    return f"{days * 24:.1f} h" if days < 1 else f"{days:.1f} d"


def share(found: Interval, *, silent: bool = False) -> str:
    """A share with its interval; nothing at all where it is not defined and nobody would expect it."""
    if np.isnan(found.value):
        return "" if silent else FEW
    return f"{found.value:.1%}" + (f" [{found.low:.1%}, {found.high:.1%}]" if np.isfinite(found.low) else "")


def day(instant: int) -> str:
    """The day (UTC) of an instant."""
    return f"{to_datetime(instant):%Y-%m-%d}"
